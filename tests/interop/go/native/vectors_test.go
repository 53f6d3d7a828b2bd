package native

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// vector is a block of section 4 of WIRE.md.
type vector map[string]string

// vectors reads all of those of the native format.
func vectors(t *testing.T) []vector {
	t.Helper()
	text, err := os.ReadFile("../../../../WIRE.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	for _, block := range strings.Split(string(text), "```vector\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		v := vector{}
		for line := range strings.Lines(block) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			v[name] = value
		}
		if v["format"] == "native" {
			all = append(all, v)
		}
	}
	if len(all) < 80 {
		t.Fatalf("%d vectors", len(all))
	}
	return all
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	if text == "-" {
		return nil
	}
	decoded, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return decoded
}

func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v["name"], func(t *testing.T) {
			f, err := decode(t, v)
			if strings.HasPrefix(v["error"], "decoder") {
				checkDecoder(t, v["error"], err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if v["frame"] != "" {
				checkFrame(t, v, &f)
			}
			switch {
			case v["error"] == "server":
				_, s, _ := startSession(t)
				if err := s.handle(&f); !errors.Is(err, ErrBroken) {
					t.Fatalf("the server says %v", err)
				}
			case v["error"] == "client":
				if err := clientWith(t, 1048576).handle(&f); !errors.Is(err, ErrBroken) {
					t.Fatalf("the client says %v", err)
				}
			case v["answer"] != "":
				checkAnswer(t, v["answer"], &f)
			default:
				checkRead(t, v, &f)
			}
		})
	}
}

func decode(t *testing.T, v vector) (frame, error) {
	limit := uint32(defaultMaxBody)
	if v["limit"] != "" {
		limit = uint32(parse(t, v["limit"], 10))
	}
	input := bytes.NewReader(unhex(t, v["hex"]))
	h, err := readHeader(input, limit)
	if err != nil {
		return frame{}, err
	}
	f, err := h.readRest(input)
	if input.Len() > 0 {
		t.Fatalf("%d bytes are left", input.Len())
	}
	return f, err
}

func parse(t *testing.T, text string, base int) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(text, base, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func checkDecoder(t *testing.T, expected string, err error) {
	var large *tooLarge
	if !errors.Is(err, ErrBroken) {
		t.Fatalf("%v", err)
	}
	if errors.As(err, &large) != (expected == "decoder too large") {
		t.Fatalf("%v where the vector says %q", err, expected)
	}
}

var kinds = []string{"", "settings", "request", "response", "cancel", "drain", "data", "accept", "credit", "finish"}

// checkFrame compares the parts of a frame, and writes it again.
func checkFrame(t *testing.T, v vector, f *frame) {
	for word := range strings.FieldsSeq(v["frame"]) {
		name, value, _ := strings.Cut(word, "=")
		var same bool
		switch name {
		case "kind":
			known := slices.Index(kinds, value)
			same = known == int(f.kind) || known < 0 && parse(t, value, 16) == uint64(f.kind)
		case "flags":
			same = parse(t, value, 16) == uint64(f.flags)
		case "id":
			same = parse(t, value, 10) == f.id
		case "body":
			same = bytes.Equal(unhex(t, value), f.body)
		case "fields":
			var w fieldWriter
			for field := range strings.SplitSeq(strings.Trim(value, "-"), ",") {
				if tagged, bytes, ok := strings.Cut(field, ":"); ok {
					w.put(tag(parse(t, tagged, 16)), unhex(t, bytes))
				}
			}
			same = bytes.Equal(w.Bytes(), f.fields)
		}
		if !same {
			t.Fatalf("%s is not in %+v", word, f)
		}
	}
	if written := f.append(nil); !bytes.Equal(written, unhex(t, v["hex"])) {
		t.Fatalf("written as %x", written)
	}
}

// checkAnswer lets a server answer.
func checkAnswer(t *testing.T, expected string, f *frame) {
	out, s, server := startSession(t)
	server.Handlers = map[string]Handler{"": func(_ context.Context, asked *Asked) (*Answer, error) {
		t.Errorf("a handler gets %+v", asked)
		return nil, nil
	}}
	if err := s.handle(f); err != nil {
		t.Fatal(err)
	}
	statuses := map[string]Status{"unimplemented": Unimplemented, "bad request": BadRequest, "too large": TooLarge}
	var response frame
	for response.kind != Response {
		response = out.read(t)
	}
	read, err := readFields(&response)
	if err != nil || read.status != statuses[expected] || response.flags != Unprocessed || response.id != f.id {
		t.Fatalf("%+v, %v", response, err)
	}
}

// checkRead reads the fields, and what the vector says of them.
func checkRead(t *testing.T, v vector, f *frame) {
	if f.kind >= optional {
		return
	}
	read, err := readFields(f)
	if err != nil {
		t.Fatal(err)
	}
	if read.unknown && f.kind != Settings && f.kind != Credit {
		t.Fatalf("unknown: %x", f.fields)
	}
	if v["method"] != "" && v["method"] != read.method {
		t.Fatalf("method %q", read.method)
	}
	if v["metadata"] != "" {
		var words []string
		for _, m := range read.meta {
			words = append(words, m.Key+"="+hex.EncodeToString(m.Value))
		}
		if got := strings.Join(words, ","); got != v["metadata"] {
			t.Fatalf("metadata %s", got)
		}
	}
	if v["inflated"] != "" {
		body, failure := inflate(f.body, *read.size, defaultMaxBody)
		if failure != nil || !bytes.Equal(body, unhex(t, v["inflated"])) {
			t.Fatalf("%x, %v", body, failure)
		}
	}
}

// startSession is a server's end of a stream whose frames come from the test.
func startSession(t *testing.T) (*end, *session, *Server) {
	server := &Server{}
	ours, theirs := streams()
	t.Cleanup(func() { _ = ours.Reset() })
	return theirs, newSession(server, ours), server
}

// clientWith is a client with one request in flight.
func clientWith(t *testing.T, id uint64) *Client {
	ours, theirs := streams()
	t.Cleanup(func() { _ = ours.Reset() })
	go func() { _, _ = io.Copy(io.Discard, theirs) }()
	c := NewClient(ours, 0)
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.last = id - 1
	c.start(&frame{kind: Request}, &Ask{}, nil)
	return c
}
