package native

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
	"sync"
	"testing"
)

// connect is a client on a stream to a server.
func connect(t *testing.T, server *Server) (*Client, <-chan error) {
	ours, theirs := streams()
	served := make(chan error, 1)
	go func() { served <- server.Serve(theirs) }()
	client := NewClient(ours, 0)
	t.Cleanup(client.Close)
	return client, served
}

func serveCall(window Window, handle func(*Call) (*Answer, error)) *Server {
	return &Server{Calls: map[string]CallHandler{"": {window, func(_ context.Context, _ *Asked, call *Call) (*Answer, error) {
		return handle(call)
	}}}}
}

func open(t *testing.T, client *Client, ask *Ask, window Window) *Call {
	t.Helper()
	call, err := client.Open(t.Context(), ask, window)
	if err != nil {
		t.Fatal(err)
	}
	return call
}

var small = Window{minWindow, 2}

func echoCall(call *Call) (*Answer, error) {
	for {
		message, err := call.Receive()
		if errors.Is(err, io.EOF) {
			return &Answer{Body: []byte("done")}, nil
		}
		if err != nil {
			return nil, err
		}
		if err := call.Send(message); err != nil {
			return nil, err
		}
	}
}

// Messages of all sizes pass through a window that is smaller than most of them, in both directions.
func TestMessagesPassThroughASmallWindow(t *testing.T) {
	for _, compress := range []bool{false, true} {
		server := serveCall(small, echoCall)
		server.Compress = compress
		client, _ := connect(t, server)
		call := open(t, client, &Ask{Compress: compress}, small)
		sizes := []int{0, 1, 1023, 1024, 1025, 8191, 8192, 8193, 32768, 32769, 100_000, 1 << 20}
		go func() {
			for _, size := range sizes {
				if err := call.Send(Message{Body: pattern(size)}); err != nil {
					t.Errorf("%d bytes: %v", size, err)
				}
			}
			if err := call.Finish(); err != nil {
				t.Error(err)
			}
		}()
		for _, size := range sizes {
			message, err := call.Receive()
			if err != nil || !bytes.Equal(message.Body, pattern(size)) {
				t.Fatalf("%d bytes came back as %d, %v", size, len(message.Body), err)
			}
		}
		if _, err := call.Receive(); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if answer, err := call.Result(t.Context()); err != nil || string(answer.Body) != "done" {
			t.Fatal(answer, err)
		}
	}
}

func pattern(size int) []byte {
	body := make([]byte, size)
	for i := range body {
		body[i] = byte(i * i >> 7)
	}
	return body
}

// Many calls and requests share a stream.
func TestCallsAndRequestsShareAStream(t *testing.T) {
	server := serveCall(small, echoCall)
	server.Handlers = map[string]Handler{"": func(_ context.Context, asked *Asked) (*Answer, error) {
		return &Answer{Body: asked.Body}, nil
	}}
	client, served := connect(t, server)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			answer, err := client.Ask(t.Context(), &Ask{Body: []byte(strconv.Itoa(i))})
			if err != nil || string(answer.Body) != strconv.Itoa(i) {
				t.Error(answer, err)
			}
		})
		all.Go(func() {
			call, err := client.Open(t.Context(), &Ask{}, small)
			if err != nil {
				t.Error(err)
				return
			}
			for range 20 {
				err := call.Send(Message{Body: pattern(3000)})
				message, receiveErr := call.Receive()
				if err != nil || receiveErr != nil || !bytes.Equal(message.Body, pattern(3000)) {
					t.Error(err, receiveErr)
				}
			}
			if err := call.Finish(); err != nil {
				t.Error(err)
			}
			if _, err := call.Result(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	client.Close()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
}

// A call is cancelled while its handler waits for credit.
func TestCancelReachesAHandlerWithoutCredit(t *testing.T) {
	ended := make(chan error, 1)
	client, served := connect(t, serveCall(small, func(call *Call) (*Answer, error) {
		for {
			if err := call.Send(Message{Body: pattern(1000)}); err != nil {
				ended <- err
				return nil, err
			}
		}
	}))
	call := open(t, client, &Ask{Silent: true}, small)
	if _, err := call.Receive(); err != nil {
		t.Fatal(err)
	}
	call.Cancel()
	if err := <-ended; !errors.Is(err, errCancelled) {
		t.Fatal(err)
	}
	if _, err := call.Receive(); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	client.Close()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
}

// A request is cancelled, and the stream goes on.
func TestCancelReachesAHandlerOfARequest(t *testing.T) {
	begun, stopped := make(chan struct{}), make(chan struct{})
	client, served := connect(t, &Server{Handlers: map[string]Handler{"": func(ctx context.Context, _ *Asked) (*Answer, error) {
		close(begun)
		<-ctx.Done()
		close(stopped)
		return nil, ctx.Err()
	}}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-begun
		cancel()
	}()
	if _, err := client.Ask(ctx, &Ask{}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	<-stopped
	client.Close()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
}

// When a server waits no longer, calls end that do not heed it.
func TestDrainEndsWhatIsLeft(t *testing.T) {
	server := serveCall(small, func(call *Call) (*Answer, error) {
		_, err := call.Receive()
		return nil, err
	})
	client, served := connect(t, server)
	call := open(t, client, &Ask{}, small)
	ctx, cancel := context.WithCancel(t.Context())
	server.Drain(ctx)
	cancel()
	var failure *Failure
	_, err := call.Result(t.Context())
	if !errors.As(err, &failure) || failure.Status != Draining || failure.Unprocessed {
		t.Fatal(err)
	}
	if err := <-served; err != nil {
		t.Fatal(err)
	}
}

// Messages in front of a failure arrive, and then the failure.
func TestMessagesBeforeAFailureArrive(t *testing.T) {
	client, _ := connect(t, serveCall(small, func(call *Call) (*Answer, error) {
		for range 2 {
			if err := call.Send(Message{Body: []byte("x")}); err != nil {
				return nil, err
			}
		}
		return nil, &Failure{Status: Application, Code: 42, Message: "broke"}
	}))
	call := open(t, client, &Ask{}, small)
	for range 2 {
		if _, err := call.Receive(); err != nil {
			t.Fatal(err)
		}
	}
	var failure *Failure
	if _, err := call.Receive(); !errors.As(err, &failure) || failure.Code != 42 {
		t.Fatal(err)
	}
}

// A drained stream answers what is at work, tells calls of it, and takes nothing new.
func TestDrainLosesNothing(t *testing.T) {
	begun := make(chan struct{})
	server := serveCall(small, func(call *Call) (*Answer, error) {
		<-call.Draining()
		return &Answer{Body: []byte("drained")}, nil
	})
	server.Handlers = map[string]Handler{"": func(_ context.Context, asked *Asked) (*Answer, error) {
		close(begun)
		<-asked.Draining
		return &Answer{Body: asked.Body}, nil
	}}
	client, served := connect(t, server)
	call := open(t, client, &Ask{}, small)
	answered := make(chan error, 1)
	go func() {
		_, err := client.Ask(t.Context(), &Ask{})
		answered <- err
	}()
	<-begun
	server.Drain(t.Context())
	<-call.Draining()
	if answer, err := call.Result(t.Context()); err != nil || string(answer.Body) != "drained" {
		t.Fatal(answer, err)
	}
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	var failure *Failure
	if _, err := client.Ask(t.Context(), &Ask{}); !errors.As(err, &failure) || !failure.Unprocessed {
		t.Fatal(err)
	}
	if err := <-served; err != nil {
		t.Fatal(err)
	}
}
