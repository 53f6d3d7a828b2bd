package native

import (
	"errors"
	"io"
	"sync"
	"testing"
)

// end is one end of a stream that lies in memory.
type end struct {
	*io.PipeReader
	*io.PipeWriter
	once sync.Once
}

var errReset = errors.New("the stream was reset")

func streams() (*end, *end) {
	r1, w1 := io.Pipe()
	r2, w2 := io.Pipe()
	return &end{PipeReader: r1, PipeWriter: w2}, &end{PipeReader: r2, PipeWriter: w1}
}

func (e *end) CloseWrite() error { return e.PipeWriter.Close() }

func (e *end) Close() error { return e.PipeWriter.Close() }

func (e *end) Reset() error {
	e.once.Do(func() {
		e.PipeReader.CloseWithError(errReset)
		e.PipeWriter.CloseWithError(errReset)
	})
	return nil
}

// read reads a frame.
func (e *end) read(t *testing.T) frame {
	t.Helper()
	h, err := readHeader(e, defaultMaxBody)
	if err != nil {
		t.Fatal(err)
	}
	f, err := h.readRest(e)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// write writes frames as a peer that follows no rule.
func (e *end) write(t *testing.T, frames ...*frame) {
	t.Helper()
	for _, f := range frames {
		if _, err := e.Write(f.append(nil)); err != nil {
			t.Fatal(err)
		}
	}
}

// ends waits until the other end has closed its half, or reset the stream.
func (e *end) ends(t *testing.T) error {
	t.Helper()
	_, err := io.Copy(io.Discard, e)
	return err
}
