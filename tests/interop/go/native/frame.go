// Package native is a peer of PointSub's native format, written from WIRE.md alone. It is a reference for
// whoever writes one in another language: it prefers what is easy to follow to what is fast. The sections in
// the comments are those of WIRE.md.
//
// It lacks what the format leaves to each side: time limits for idle streams and calls, a budget of memory,
// and defences against peers that send thousands of frames without effect.
package native

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Prefix is in front of an application's name (section 2.1). By itself it is a name that says that the
// others mean what section 2.1 says.
const Prefix = "/pointsub/1"

// Kind says what a frame is (section 2.3).
type Kind uint8

// The kinds of version 1.
const (
	Settings Kind = 1 + iota
	Request
	Response
	Cancel
	Drain
	Data
	Accept
	Credit
	Finish
)

// optional is the first of the values that whoever does not know them may ignore (section 2.12).
const optional = 0x80

// Flags of a frame (section 2.2).
type Flags uint8

// The flags of version 1.
const (
	Compressed  Flags = 0x01
	Stream      Flags = 0x02
	More        Flags = 0x04
	Silent      Flags = 0x08
	Unprocessed Flags = 0x40
)

// mandatory are the flags that whoever does not know them must not ignore.
const mandatory Flags = 0x3f

// Sizes that the format itself fixes (section 3).
const (
	headerLen   = 16
	headerRest  = 12 // What the length counts of the header.
	maxFields   = 16384
	maxPart     = 32768
	minPart     = 1024
	maxArgument = 65536
	maxMeta     = 12288
	maxMessage  = 1024
	maxCursor   = 1024
	maxBalance  = 1<<31 - 1

	defaultMaxBody     = 32 << 20
	defaultMaxInFlight = 128
	defaultMaxCalls    = 128
)

// ErrBroken is in the chain of every error that says which rule the peer has broken. The stream is reset.
var ErrBroken = errors.New("the peer has broken the stream")

func broken(format string, arguments ...any) error {
	return fmt.Errorf("%w: %s", ErrBroken, fmt.Sprintf(format, arguments...))
}

// frame is a whole frame.
type frame struct {
	kind   Kind
	flags  Flags
	id     uint64
	fields []byte
	body   []byte
}

// append adds the frame's bytes.
func (f *frame) append(to []byte) []byte {
	to = binary.BigEndian.AppendUint32(to, uint32(headerRest+len(f.fields)+len(f.body)))
	to = append(to, byte(f.kind), byte(f.flags))
	to = binary.BigEndian.AppendUint16(to, uint16(len(f.fields)))
	to = binary.BigEndian.AppendUint64(to, f.id)
	to = append(to, f.fields...)
	return append(to, f.body...)
}

// header is a frame of which nothing but the first 16 bytes was read.
type header struct {
	kind      Kind
	flags     Flags
	id        uint64
	fieldsLen int
	bodyLen   int
}

// tooLarge is what a server answers where it is a request whose body is longer than the limit.
type tooLarge struct {
	header header
	limit  uint32
}

func (e *tooLarge) Error() string {
	return fmt.Sprintf("a body of %d bytes where %d are accepted", e.header.bodyLen, e.limit)
}

func (*tooLarge) Unwrap() error { return ErrBroken }

// readHeader reads 16 bytes and checks, in the order of section 2.2, what can be checked of them. The error
// is io.EOF if the stream ends in front of them.
func readHeader(from io.Reader, maxBody uint32) (header, error) {
	var bytes [headerLen]byte
	if _, err := io.ReadFull(from, bytes[:]); err != nil {
		return header{}, err
	}
	length := int64(binary.BigEndian.Uint32(bytes[0:]))
	h := header{
		kind:      Kind(bytes[4]),
		flags:     Flags(bytes[5]),
		fieldsLen: int(binary.BigEndian.Uint16(bytes[6:])),
		id:        binary.BigEndian.Uint64(bytes[8:]),
	}
	body := length - headerRest - int64(h.fieldsLen)
	if body < 0 || h.fieldsLen > maxFields {
		return h, broken("length %d, with %d bytes of fields", length, h.fieldsLen)
	}
	h.bodyLen = int(body)
	if body > int64(maxBody) {
		return h, &tooLarge{h, maxBody}
	}
	if h.kind == Data && body > maxPart {
		return h, &tooLarge{h, maxPart}
	}
	if (h.kind < Settings || h.kind > Finish) && h.kind < optional {
		return h, broken("kind %#02x", h.kind)
	}
	return h, nil
}

// readRest reads what follows the header. It takes memory for what has arrived, not for what was announced.
func (h header) readRest(from io.Reader) (frame, error) {
	f := frame{kind: h.kind, flags: h.flags, id: h.id}
	rest, err := io.ReadAll(io.LimitReader(from, int64(h.fieldsLen+h.bodyLen)))
	if err != nil {
		return f, err
	}
	if len(rest) < h.fieldsLen+h.bodyLen {
		return f, io.ErrUnexpectedEOF
	}
	f.fields, f.body = rest[:h.fieldsLen:h.fieldsLen], rest[h.fieldsLen:]
	return f, nil
}
