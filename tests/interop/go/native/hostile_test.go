package native

import (
	"context"
	"errors"
	"testing"
)

func fieldsOf(put func(*fieldWriter)) []byte {
	var w fieldWriter
	put(&w)
	return w.Bytes()
}

// Each row is what a client must not send in a call that has credit for 8192 bytes and 2 messages.
func TestServerBreaksTheStream(t *testing.T) {
	length := func(n uint32) []byte { return fieldsOf(func(w *fieldWriter) { w.number(tagLength, n) }) }
	part := func(flags Flags, size int, fields []byte) *frame {
		return &frame{kind: Data, flags: flags, id: 1, body: make([]byte, size), fields: fields}
	}
	finish := &frame{kind: Finish, id: 1}
	credit := fieldsOf(func(w *fieldWriter) { w.number(tagBytes, maxBalance) })
	rows := map[string][]*frame{
		"bytes without credit":       {part(0, 8193, nil)},
		"messages without credit":    {part(0, 0, nil), part(0, 0, nil), part(0, 0, nil)},
		"a part of 1023 bytes":       {part(More, 1023, length(2000))},
		"MORE without LENGTH":        {part(More, 1024, nil)},
		"LENGTH without MORE":        {part(0, 5, length(5))},
		"LENGTH on a later part":     {part(More, 1024, length(3000)), part(More, 1024, length(3000))},
		"fewer bytes than LENGTH":    {part(More, 1024, length(2000)), part(0, 5, nil)},
		"more bytes than LENGTH":     {part(More, 1024, length(1500)), part(0, 1000, nil)},
		"a last part without bytes":  {part(More, 1024, length(1024)), part(0, 0, nil)},
		"COMPRESSED without SIZE":    {part(Compressed, 10, nil)},
		"FINISH between parts":       {part(More, 1024, length(2000)), finish},
		"DATA after FINISH":          {finish, part(0, 1, nil)},
		"FINISH after FINISH":        {finish, finish},
		"credit above the greatest":  {{kind: Credit, id: 1, fields: credit}, {kind: Credit, id: 1, fields: credit}},
		"DATA of a call that is not": {{kind: Data, id: 2}},
		"a mandatory flag":           {part(0x10, 1, nil)},
		"a request with the same id": {{kind: Request, id: 1}},
	}
	for name, frames := range rows {
		t.Run(name, func(t *testing.T) {
			server := serveCall(small, func(call *Call) (*Answer, error) {
				<-call.ended
				return nil, context.Canceled
			})
			ours, theirs := streams()
			served := make(chan error, 1)
			go func() { served <- server.Serve(theirs) }()
			ours.read(t) // SETTINGS.
			ours.write(t, &frame{kind: Request, flags: Stream, id: 1})
			if f := ours.read(t); f.kind != Accept {
				t.Fatalf("%+v", f)
			}
			go func() { _ = ours.ends(t) }()
			for _, f := range frames {
				_, _ = ours.Write(f.append(nil))
			}
			if err := <-served; !errors.Is(err, ErrBroken) {
				t.Fatal(err)
			}
		})
	}
}

// What a client says of a call that has ended, or of a request that is none, is ignored.
func TestServerIgnoresWhatHasCrossed(t *testing.T) {
	server := serveCall(small, func(*Call) (*Answer, error) { return &Answer{}, nil })
	ours, theirs := streams()
	served := make(chan error, 1)
	go func() { served <- server.Serve(theirs) }()
	ours.read(t) // SETTINGS.
	ours.write(t, &frame{kind: Request, id: 1}, &frame{kind: Request, flags: Stream, id: 2})
	for _, kind := range []Kind{Response, Accept, Response} {
		if f := ours.read(t); f.kind != kind {
			t.Fatalf("%+v", f)
		}
	}
	for id := range uint64(2) {
		for _, kind := range []Kind{Data, Credit, Finish, Cancel} {
			ours.write(t, &frame{kind: kind, id: id + 1})
		}
	}
	ours.write(t, &frame{kind: Kind(0x90), id: 7})
	if err := ours.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := <-served; err != nil {
		t.Fatal(err)
	}
}

// A request that is too large is answered on sight of its header, and what is at work goes on.
func TestRequestThatIsTooLarge(t *testing.T) {
	begun, done := make(chan struct{}), make(chan struct{})
	server := &Server{MaxBody: 10, Handlers: map[string]Handler{"": func(_ context.Context, asked *Asked) (*Answer, error) {
		close(begun)
		<-done
		return &Answer{}, nil
	}}}
	ours, theirs := streams()
	go func() { _ = server.Serve(theirs) }()
	ours.read(t)
	ours.write(t, &frame{kind: Request, id: 1})
	<-begun
	whole := (&frame{kind: Request, id: 2, body: make([]byte, 11)}).append(nil)
	if _, err := ours.Write(whole[:headerLen]); err != nil {
		t.Fatal(err)
	}
	refusal := ours.read(t)
	read, err := readFields(&refusal)
	if err != nil || refusal.id != 2 || read.status != TooLarge || refusal.flags != Unprocessed {
		t.Fatalf("%+v, %v", refusal, err)
	}
	if f := ours.read(t); f.kind != Drain || f.id != 2 {
		t.Fatalf("%+v", f)
	}
	close(done)
	if f := ours.read(t); f.kind != Response || f.id != 1 {
		t.Fatalf("%+v", f)
	}
	if err := ours.ends(t); err != nil {
		t.Fatal(err)
	}
}
