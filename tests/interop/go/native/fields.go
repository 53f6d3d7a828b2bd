package native

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

type tag uint8

const (
	tagTimeout     tag = 0x01
	tagSize        tag = 0x02
	tagStatus      tag = 0x03
	tagAppCode     tag = 0x04
	tagMessage     tag = 0x05
	tagRetryAfter  tag = 0x06
	tagMethod      tag = 0x07
	tagBytes       tag = 0x08
	tagMessages    tag = 0x09
	tagLength      tag = 0x0a
	tagResume      tag = 0x0b
	tagMaxBody     tag = 0x11
	tagMaxInFlight tag = 0x12
	tagMaxCalls    tag = 0x13
	tagLoad        tag = 0x81
	tagMeta        tag = 0x82
	tagCursor      tag = 0x83
	tagFeatures    tag = 0x91
)

// Bits of FEATURES (section 2.5).
const (
	featureCalls   = 1 << 0
	featureMethods = 1 << 1
)

// Meta is a key of metadata and its value (section 2.10). Keys are lowercase ASCII without spaces.
type Meta struct {
	Key   string
	Value []byte
}

// fields are what was read. A pointer is nil where the field is absent.
type fields struct {
	timeout, size, length          *uint32
	bytes, messages                *uint32
	maxBody, maxInFlight, maxCalls *uint32
	features                       *uint32
	status                         Status
	appCode, retryAfter            uint32
	message, method                string
	hasMethod                      bool
	resume, cursor                 []byte
	meta                           []Meta
	unknown                        bool // One that must be understood.
}

// known are the fields of each kind of frame whose fields are looked at (section 2.3). Those of calls, on a
// request that opens none, are taken out by the server.
var known = map[Kind][]tag{
	Settings: {tagMaxBody, tagMaxInFlight, tagMaxCalls, tagFeatures},
	Request:  {tagTimeout, tagSize, tagMethod, tagMeta},
	Response: {tagStatus, tagAppCode, tagMessage, tagRetryAfter, tagSize, tagLoad, tagMeta},
	Data:     {tagSize, tagLength, tagCursor},
	Accept:   {tagBytes, tagMessages, tagLoad, tagMeta},
	Credit:   {tagBytes, tagMessages},
}

// ofCalls are the further fields of a request with flag STREAM.
var ofCalls = []tag{tagBytes, tagMessages, tagResume}

// readFields reads the fields of a frame.
func readFields(f *frame) (fields, error) {
	var read fields
	understood := known[f.kind]
	if f.kind == Request && f.flags&Stream != 0 {
		understood = slices.Concat(understood, ofCalls)
	}
	for rest := f.fields; len(rest) > 0; {
		if len(rest) < 3 {
			return read, broken("a field of %d bytes", len(rest))
		}
		t, length := tag(rest[0]), int(binary.BigEndian.Uint16(rest[1:]))
		if length > len(rest)-3 {
			return read, broken("field %#02x ends beyond the fields", t)
		}
		value := rest[3 : 3+length]
		rest = rest[3+length:]
		if !slices.Contains(understood, t) {
			read.unknown = read.unknown || t < optional
		} else if !read.set(t, value) {
			return read, broken("field %#02x with %d bytes", t, length)
		}
	}
	return read, nil
}

// set takes one field. It says whether the value has the right size.
func (r *fields) set(t tag, value []byte) bool {
	switch t {
	case tagTimeout:
		return number(&r.timeout, value)
	case tagSize:
		return number(&r.size, value)
	case tagStatus:
		if len(value) != 1 {
			return false
		}
		r.status = Status(value[0])
	case tagAppCode:
		return plainNumber(&r.appCode, value)
	case tagMessage:
		r.message = strings.ToValidUTF8(string(value), "\uFFFD")
	case tagRetryAfter:
		return plainNumber(&r.retryAfter, value)
	case tagMethod:
		r.method, r.hasMethod = string(value), true
	case tagBytes:
		return number(&r.bytes, value)
	case tagMessages:
		return number(&r.messages, value)
	case tagLength:
		return number(&r.length, value)
	case tagResume:
		r.resume = value
	case tagMaxBody:
		return number(&r.maxBody, value)
	case tagMaxInFlight:
		return number(&r.maxInFlight, value)
	case tagMaxCalls:
		return number(&r.maxCalls, value)
	case tagFeatures:
		return number(&r.features, value)
	case tagLoad:
		return len(value) == 2 // A hint that this peer has no use for.
	case tagMeta:
		r.addMeta(value)
	case tagCursor:
		if len(value) <= maxCursor {
			r.cursor = value
		}
	}
	return true
}

func number(to **uint32, value []byte) bool {
	*to = new(uint32)
	return plainNumber(*to, value)
}

func plainNumber(to *uint32, value []byte) bool {
	if len(value) != 4 {
		return false
	}
	*to = binary.BigEndian.Uint32(value)
	return true
}

// addMeta ignores what is malformed inside.
func (r *fields) addMeta(value []byte) {
	if len(value) == 0 || len(value) < 1+int(value[0]) {
		return
	}
	key, rest := value[1:1+int(value[0])], value[1+int(value[0]):]
	if validKey(string(key)) {
		r.meta = append(r.meta, Meta{string(key), rest})
	}
}

func validKey(key string) bool {
	outside := func(c rune) bool { return c <= ' ' || c >= 0x7f || ('A' <= c && c <= 'Z') }
	return len(key) >= 1 && len(key) <= 255 && !strings.ContainsFunc(key, outside)
}

func validMethod(method string) bool {
	control := func(c rune) bool { return c < ' ' || (0x7f <= c && c < 0xa0) }
	fits := len(method) >= 1 && len(method) <= 255
	return fits && utf8.ValidString(method) && !strings.ContainsFunc(method, control)
}

// fieldWriter collects the fields of a frame.
type fieldWriter struct{ bytes.Buffer }

func (w *fieldWriter) put(t tag, value []byte) {
	w.WriteByte(byte(t))
	w.Write(binary.BigEndian.AppendUint16(nil, uint16(len(value))))
	w.Write(value)
}

func (w *fieldWriter) number(t tag, value uint32) {
	w.put(t, binary.BigEndian.AppendUint32(nil, value))
}

// credit leaves out what adds nothing.
func (w *fieldWriter) credit(bytes, messages uint32) {
	if bytes > 0 {
		w.number(tagBytes, bytes)
	}
	if messages > 0 {
		w.number(tagMessages, messages)
	}
}

// milliseconds are rounded up, and cut to what the field can say.
func (w *fieldWriter) milliseconds(t tag, value time.Duration) {
	whole := (max(value, 0) + time.Millisecond - 1) / time.Millisecond
	w.number(t, uint32(min(whole, 1<<32-1)))
}

func (w *fieldWriter) meta(meta []Meta) error {
	total := 0
	for _, m := range meta {
		if !validKey(m.Key) {
			return &Failure{Status: BadRequest, Message: "not a key of metadata: " + m.Key}
		}
		total += 3 + 1 + len(m.Key) + len(m.Value)
		if total > maxMeta {
			return &Failure{Status: BadRequest, Message: "more than 12288 bytes of metadata"}
		}
		w.put(tagMeta, slices.Concat([]byte{byte(len(m.Key))}, []byte(m.Key), m.Value))
	}
	return nil
}

// cut shortens a text to as many bytes as it may have, at a character's end.
func cut(text string, length int) string {
	if len(text) <= length {
		return text
	}
	for !utf8.RuneStart(text[length]) {
		length--
	}
	return text[:length]
}
