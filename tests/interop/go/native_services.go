package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"sync"
	"time"

	"interop/native"
)

// window is what the calls of this peer have unless the Rust side asks for another.
var window = native.Window{Bytes: 16384, Messages: 8}

// services are what the peer serves in the native format, by the middle of a protocol's name. The Rust side
// serves the same.
func services() map[string]*native.Server {
	unary := func(handler native.Handler) *native.Server {
		return &native.Server{Handlers: map[string]native.Handler{"": handler}}
	}
	call := func(handle func(context.Context, *native.Asked, *native.Call) (*native.Answer, error)) *native.Server {
		return &native.Server{Calls: map[string]native.CallHandler{"": {Window: window, Handle: handle}}}
	}
	gathering := &gathering{here: map[int]chan struct{}{}}
	compressing := unary(packed)
	compressing.Compress = true
	packedTalk := call(talk)
	packedTalk.Compress = true
	return map[string]*native.Server{
		"echo":        unary(nativeEcho),
		"packed":      compressing,
		"fail":        unary(nativeFail),
		"slow":        unary(nativeSlow),
		"status":      unary(status),
		"gather":      unary(gathering.handle),
		"mirror":      {Handlers: map[string]native.Handler{"": mirror, "named": mirror}},
		"count":       call(count),
		"sum":         call(sum),
		"talk":        call(talk),
		"packed-talk": packedTalk,
		"breaks":      call(breaks),
		"hold":        call(hold),
		"flood":       call(flood),
	}
}

func nativeEcho(_ context.Context, asked *native.Asked) (*native.Answer, error) {
	return &native.Answer{Body: asked.Body}, nil
}

// packed says whether the request came compressed. Its answer is.
func packed(_ context.Context, asked *native.Asked) (*native.Answer, error) {
	meta := []native.Meta{{Key: "packed", Value: fmt.Append(nil, asked.Packed)}}
	return &native.Answer{Body: asked.Body, Meta: meta}, nil
}

// nativeFail is a handler with an error of its own.
func nativeFail(context.Context, *native.Asked) (*native.Answer, error) {
	return nil, &native.Failure{
		Status:  native.Application,
		Code:    7,
		Message: "no",
		Detail:  []byte{1, 2, 3},
	}
}

// nativeSlow answers after as many milliseconds as the request says.
func nativeSlow(ctx context.Context, asked *native.Asked) (*native.Answer, error) {
	say("event begun")
	select {
	case <-time.After(time.Duration(number(string(asked.Body))) * time.Millisecond):
		return &native.Answer{Body: asked.Body}, nil
	case <-ctx.Done():
		say("event given-up")
		return nil, ctx.Err()
	}
}

// status fails with the status that the request names.
func status(_ context.Context, asked *native.Asked) (*native.Answer, error) {
	return nil, &native.Failure{Status: native.Status(number(string(asked.Body))), Message: "asked for"}
}

// mirror returns the metadata of the request, and its method.
func mirror(_ context.Context, asked *native.Asked) (*native.Answer, error) {
	meta := append(asked.Meta, native.Meta{Key: "method", Value: []byte(asked.Method)})
	return &native.Answer{Meta: meta, Body: asked.Body}, nil
}

// gathering answers its requests, 64 of them, from the last to the first, when all are here.
type gathering struct {
	mutex sync.Mutex
	here  map[int]chan struct{}
}

const gathered = 64

// answered is closed behind the answer to one request.
func (g *gathering) answered(request int) chan struct{} {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if g.here[request] == nil {
		g.here[request] = make(chan struct{})
	}
	return g.here[request]
}

func (g *gathering) handle(_ context.Context, asked *native.Asked) (*native.Answer, error) {
	request := number(string(asked.Body))
	if request+1 < gathered {
		<-g.answered(request + 1)
	}
	close(g.answered(request))
	return &native.Answer{Body: asked.Body}, nil
}

// count sends as many messages as the argument says, of the size that it says.
func count(_ context.Context, asked *native.Asked, call *native.Call) (*native.Answer, error) {
	var messages, size int
	if _, err := fmt.Sscanf(string(asked.Body), "%d/%d", &messages, &size); err != nil {
		return nil, &native.Failure{Status: native.BadRequest, Message: err.Error()}
	}
	if err := push(call, messages, size, "count,"); err != nil {
		return nil, err
	}
	return &native.Answer{Body: asked.Body, Meta: asked.Meta}, nil
}

// sum says what it has received.
func sum(_ context.Context, _ *native.Asked, call *native.Call) (*native.Answer, error) {
	received := newReceipts()
	if err := received.pull(call, 0); !errors.Is(err, io.EOF) {
		return nil, err
	}
	return &native.Answer{Body: []byte(received.String())}, nil
}

// talk sends back what it receives.
func talk(_ context.Context, asked *native.Asked, call *native.Call) (*native.Answer, error) {
	for {
		message, err := call.Receive()
		if errors.Is(err, io.EOF) {
			return &native.Answer{Body: asked.Body}, nil
		}
		if err != nil {
			return nil, err
		}
		if err := call.Send(message); err != nil {
			return nil, err
		}
	}
}

// breaks fails behind three messages.
func breaks(ctx context.Context, asked *native.Asked, call *native.Call) (*native.Answer, error) {
	if err := push(call, 3, 10, "breaks,"); err != nil {
		return nil, err
	}
	_, err := nativeFail(ctx, asked)
	return nil, err
}

// hold says that it has begun by a message, and ends when it is told to: by a message, by a cancellation, or
// by the end of the server.
func hold(ctx context.Context, _ *native.Asked, call *native.Call) (*native.Answer, error) {
	if err := call.Send(native.Message{Body: []byte("begun")}); err != nil {
		return nil, err
	}
	told := make(chan string, 1)
	go func() {
		if _, err := call.Receive(); err == nil {
			told <- "told"
		}
	}()
	select {
	case why := <-told:
		return &native.Answer{Body: []byte(why)}, nil
	case <-call.Draining():
		if err := call.Send(native.Message{Body: []byte("drains")}); err != nil {
			return nil, err
		}
		return &native.Answer{Body: []byte("drained")}, nil
	case <-ctx.Done():
		say("event cancelled")
		return nil, ctx.Err()
	}
}

// flood sends messages until the call ends.
func flood(ctx context.Context, _ *native.Asked, call *native.Call) (*native.Answer, error) {
	for {
		if err := call.Send(native.Message{Body: make([]byte, 1000)}); err != nil {
			say("event cancelled")
			return nil, ctx.Err()
		}
	}
}

// push sends messages that the Rust side can make as well.
func push(call *native.Call, messages, size int, seed string) error {
	for i := range messages {
		message := native.Message{Body: body(size, fmt.Sprintf("%d%s", i, seed))}
		if err := call.Send(message); err != nil {
			return err
		}
	}
	return nil
}

// receipts tell the messages of a call without sending them through a pipe.
type receipts struct {
	messages int
	hash     hash.Hash
}

func newReceipts() *receipts { return &receipts{hash: sha256.New()} }

// pull receives so many messages; with 0, until there is an error.
func (r *receipts) pull(call *native.Call, messages int) error {
	for wanted := messages; messages == 0 || wanted > 0; wanted-- {
		message, err := call.Receive()
		if err != nil {
			return err
		}
		r.messages++
		r.hash.Write(binary.BigEndian.AppendUint32(nil, uint32(len(message.Body))))
		r.hash.Write(message.Body)
	}
	return nil
}

func (r *receipts) String() string { return fmt.Sprintf("%d %x", r.messages, r.hash.Sum(nil)) }

// describe makes words of an answer.
func describe(answer *native.Answer) string {
	words := fmt.Sprintf("%d %x%s", len(answer.Body), sha256.Sum256(answer.Body), describeMeta(answer.Meta))
	if answer.Packed {
		words += " packed"
	}
	return words
}

func describeMeta(meta []native.Meta) string {
	var words strings.Builder
	for _, m := range meta {
		fmt.Fprintf(&words, " %s=%x", m.Key, m.Value)
	}
	return words.String()
}

// explain makes words of an error.
func explain(err error) string {
	var failure *native.Failure
	if !errors.As(err, &failure) {
		return err.Error()
	}
	delivery := "unknown"
	if failure.Unprocessed {
		delivery = "unprocessed"
	}
	message := string(bytes.ReplaceAll([]byte(failure.Message), []byte(" "), []byte("-")))
	return fmt.Sprintf("status %d code %d %s detail %x%s message %s", failure.Status, failure.Code, delivery,
		failure.Detail, describeMeta(failure.Meta), message)
}
