package native

import (
	"context"
	"sync"
	"time"
)

// Asked is what a handler gets.
type Asked struct {
	Method string
	Meta   []Meta
	Body   []byte // Of a call, its argument.
	Packed bool   // The body has travelled compressed.
	// Resume is the cursor behind which a call is to go on, or nil.
	Resume []byte
	// Draining is closed when the server takes no further requests on the stream.
	Draining <-chan struct{}
}

// Answer is what a handler returns; of a call, its result.
type Answer struct {
	Meta []Meta
	Body []byte
	// Packed says, at the client, that the body has travelled compressed.
	Packed bool
}

// Handler answers a request. Its context ends when nobody waits for the answer any more. An error that is no
// Failure is an internal error.
type Handler func(context.Context, *Asked) (*Answer, error)

// CallHandler has a call until it returns. All messages must be sent by then.
type CallHandler struct {
	Window Window
	Handle func(context.Context, *Asked, *Call) (*Answer, error)
}

// Server serves one protocol, on any number of streams. Its fields do not change once it serves.
type Server struct {
	// Handlers and Calls are by method; the default has an empty name.
	Handlers map[string]Handler
	Calls    map[string]CallHandler
	// Compress says whether answers and messages are compressed.
	Compress bool
	// 0 stands for what the peer assumes until it is told.
	MaxBody, MaxInFlight, MaxCalls uint32

	mutex    sync.Mutex
	sessions map[*session]struct{}
	shutdown bool
}

// closeTime is how long a client may take to end its half of a stream on which it has every answer.
const closeTime = 10 * time.Second

func orDefault(value, other uint32) uint32 {
	if value == 0 {
		return other
	}
	return value
}

func (s *Server) limits() limits {
	l := limits{
		maxBody:     orDefault(s.MaxBody, defaultMaxBody),
		maxInFlight: orDefault(s.MaxInFlight, defaultMaxInFlight),
		maxCalls:    orDefault(s.MaxCalls, defaultMaxCalls),
		features:    featureMethods,
	}
	if len(s.Calls) > 0 {
		l.features |= featureCalls
	}
	return l
}

// Serve answers what comes on a stream, until it ends. The error says why it did not end in good order.
func (s *Server) Serve(stream Transport) error {
	defer stream.Close()
	here := newSession(s, stream)
	if s.add(here) {
		here.drain()
	}
	defer s.remove(here)
	return here.run()
}

// add says whether the server shuts down.
func (s *Server) add(here *session) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.sessions == nil {
		s.sessions = map[*session]struct{}{}
	}
	s.sessions[here] = struct{}{}
	return s.shutdown
}

func (s *Server) remove(here *session) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	delete(s.sessions, here)
}

// Drain takes no further requests on the streams that there are. When the context ends, it ends what is still
// at work on them.
func (s *Server) Drain(ctx context.Context) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for here := range s.sessions {
		here.drain()
		context.AfterFunc(ctx, here.endAll)
	}
}

// Shutdown is Drain, also of streams to come.
func (s *Server) Shutdown(ctx context.Context) {
	s.mutex.Lock()
	s.shutdown = true
	s.mutex.Unlock()
	s.Drain(ctx)
}
