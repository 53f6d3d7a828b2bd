package native

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// session is a stream at the server.
type session struct {
	server *Server
	limits limits
	writer *writer
	reader *bufio.Reader
	peer   peerLimits

	mutex    sync.Mutex
	last     uint64 // The greatest id that a request had.
	tasks    map[uint64]*task
	requests uint32 // Handlers at work; those of calls are in the other count.
	calls    uint32
	draining chan struct{}
	drained  bool
	ending   bool // Nothing more is read.
	closing  *time.Timer
}

// task is a request at work.
type task struct {
	id       uint64
	call     *Call // nil if it is none.
	cancel   context.CancelCauseFunc
	answered bool
}

// Why the context of a handler ends.
var (
	errCancelled = errors.New("the client has cancelled the request")
	errDeadline  = errors.New("the client's time is over")
	errGone      = errors.New("the client is gone")
	errStopping  = errors.New("the server waits no longer")
)

func newSession(server *Server, stream Transport) *session {
	s := &session{
		server:   server,
		limits:   server.limits(),
		writer:   newWriter(stream),
		reader:   bufio.NewReader(stream),
		peer:     newPeerLimits(),
		tasks:    map[uint64]*task{},
		draining: make(chan struct{}),
	}
	s.writer.put(nil, s.limits.frame())
	return s
}

// run reads frames until the stream ends.
func (s *session) run() error {
	err := s.read()
	switch {
	case err == nil:
		// A request was too large, and nothing is read behind its header.
		s.drain()
		s.finish()
	case errors.Is(err, io.EOF):
		s.finish()
		err = nil
	default:
		s.writer.reset(err)
		s.stop(errGone)
	}
	// What is at work is answered, and then this half ends.
	<-s.writer.done
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.closing != nil {
		s.closing.Stop()
	}
	return err
}

// read handles frames. It returns nil behind the header of a request that is too large.
func (s *session) read() error {
	for {
		h, err := readHeader(s.reader, s.limits.maxBody)
		var large *tooLarge
		if errors.As(err, &large) && h.kind == Request {
			return s.refuseTooLarge(h.id)
		}
		if err != nil {
			return err
		}
		f, err := h.readRest(s.reader)
		if err != nil {
			return err
		}
		if err := s.handle(&f); err != nil {
			return err
		}
	}
}

func (s *session) refuseTooLarge(id uint64) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	ignored, err := s.see(id)
	if err == nil && !ignored {
		s.writer.put(nil, refused(TooLarge, "the request is too long").frame(id))
	}
	return err
}

func (s *session) handle(f *frame) error {
	switch f.kind {
	case Settings:
		return s.peer.read(f)
	case Request:
		return s.request(f)
	case Cancel:
		s.cancel(f.id)
		return nil
	case Data, Credit, Finish:
		return s.message(f)
	case Response, Drain, Accept:
		return broken("a frame of kind %#02x from a client", f.kind)
	}
	return nil // A kind that may be ignored.
}

// cancel tells a handler to stop, and sends no further message. The handler's end is the answer.
func (s *session) cancel(id uint64) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	t := s.tasks[id]
	if t == nil {
		return
	}
	if t.call != nil {
		s.writer.mute(&t.call.lane)
	}
	t.cancel(errCancelled)
}

// message takes a frame of a call.
func (s *session) message(f *frame) error {
	s.mutex.Lock()
	t, beyond := s.tasks[f.id], f.id > s.last
	over := t != nil && t.answered
	s.mutex.Unlock()
	if beyond {
		return broken("a frame of kind %#02x that belongs to no call", f.kind)
	}
	if t == nil || t.call == nil || over {
		return nil // It has crossed the end of the call.
	}
	failure, err := t.call.receive(f)
	if failure != nil {
		s.answer(t, nil, failure)
		t.cancel(failure)
	}
	return err
}

// see takes the id of a request, and says whether the request is to be ignored. It needs the lock.
func (s *session) see(id uint64) (ignored bool, err error) {
	if id <= s.last {
		return false, broken("request %d after request %d", id, s.last)
	}
	s.last = id
	return s.drained, nil
}

// request takes a request: it starts a handler, or answers why it does not.
func (s *session) request(f *frame) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	ignored, err := s.see(f.id)
	if err != nil {
		return err
	}
	read, err := readFields(f)
	if err != nil {
		return err
	}
	if err := checkPacked(f, read.size); err != nil {
		return err
	}
	var credit balance
	if err := credit.add(read.bytes, read.messages); err != nil {
		return err
	}
	if ignored {
		return nil
	}
	if failure := s.admit(f, &read, credit); failure != nil {
		s.writer.put(nil, failure.frame(f.id))
	}
	return nil
}

// admit starts the handler of a request.
func (s *session) admit(f *frame, read *fields, credit balance) *Failure {
	opens := f.flags&Stream != 0
	understood := Compressed | Stream
	if opens {
		understood |= Silent
	}
	if read.unknown || f.flags&mandatory&^understood != 0 {
		return refused(Unimplemented, "the request uses what this server does not know")
	}
	if read.hasMethod && !validMethod(read.method) || len(read.resume) > maxCursor {
		return refused(BadRequest, "this is no name of a method, or no cursor")
	}
	if read.timeout != nil && *read.timeout == 0 {
		return refused(DeadlineExceeded, "the time was over")
	}
	handler, hasHandler := s.server.Handlers[read.method]
	call, hasCall := s.server.Calls[read.method]
	if opens && !hasCall || !opens && !hasHandler {
		return refused(Unimplemented, "there is no such method")
	}
	if opens && s.calls >= s.limits.maxCalls || !opens && s.requests >= s.limits.maxInFlight {
		return refused(Busy, "too many requests are at work")
	}
	asked := &Asked{
		Method:   read.method,
		Meta:     read.meta,
		Body:     f.body,
		Packed:   read.size != nil,
		Resume:   read.resume,
		Draining: s.draining,
	}
	if read.size != nil {
		body, failure := inflate(f.body, *read.size, s.limits.maxBody)
		if failure != nil {
			return failure
		}
		asked.Body = body
	}
	if !opens {
		t, ctx := s.start(f.id, read.timeout)
		s.requests++
		go s.work(t, &s.requests, func() (*Answer, error) { return handler(ctx, asked) })
		return nil
	}
	return s.open(f, read, asked, credit, call)
}

// open starts the handler of a call. It needs the lock.
func (s *session) open(f *frame, read *fields, asked *Asked, credit balance, handler CallHandler) *Failure {
	if max(len(f.body), len(asked.Body)) > maxArgument {
		return refused(TooLarge, "the argument is too long")
	}
	if err := handler.Window.check(); err != nil {
		return &Failure{Status: Internal, Message: err.Error()}
	}
	silent := f.flags&Silent != 0
	if silent {
		handler.Window = Window{}
	}
	call := newCall(f.id, s.writer, s.limits, &s.peer, handler.Window)
	call.draining, call.compress = s.draining, s.server.Compress
	call.credit, call.inbox.finished = credit, silent
	t, ctx := s.start(f.id, read.timeout)
	t.call = call
	s.calls++
	// The call's own methods return when its handler is to stop.
	context.AfterFunc(ctx, func() { call.end(nil, context.Cause(ctx)) })
	var w fieldWriter
	w.credit(handler.Window.Bytes, handler.Window.Messages)
	s.writer.put(&call.lane, &frame{kind: Accept, id: f.id, fields: w.Bytes()})
	go s.work(t, &s.calls, func() (*Answer, error) { return handler.Handle(ctx, asked, call) })
	return nil
}

// start makes a task, with the context of its handler. It needs the lock.
func (s *session) start(id uint64, timeout *uint32) (*task, context.Context) {
	ctx, cancel := context.WithCancelCause(context.Background())
	t := &task{id: id, cancel: cancel}
	s.tasks[id] = t
	if timeout != nil {
		timer := time.AfterFunc(time.Duration(*timeout)*time.Millisecond, func() {
			s.answer(t, nil, &Failure{Status: DeadlineExceeded, Message: "the time is over"})
			cancel(errDeadline)
		})
		context.AfterFunc(ctx, func() { timer.Stop() })
	}
	return t, ctx
}

// work runs a handler, and sends its answer.
func (s *session) work(t *task, count *uint32, handle func() (*Answer, error)) {
	answer, err := protected(handle)
	t.cancel(context.Canceled) // No effect if the handler was told to stop before.
	if written := s.answer(t, answer, err); written != nil {
		<-written // What waits for a slow client counts as work.
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	delete(s.tasks, t.id)
	*count--
	s.closeIfIdle()
}

// protected makes an error of a panic.
func protected(handle func() (*Answer, error)) (answer *Answer, err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("the handler panicked: %v", panicked)
		}
	}()
	return handle()
}

// answer sends the one answer that a request gets.
func (s *session) answer(t *task, answer *Answer, err error) <-chan error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.answerLocked(t, answer, err)
}

func (s *session) answerLocked(t *task, answer *Answer, err error) <-chan error {
	if t.answered {
		return nil
	}
	t.answered = true
	response := s.response(t, answer, err)
	if t.call == nil {
		return s.writer.put(nil, response)
	}
	return s.writer.last(&t.call.lane, response)
}

func (s *session) response(t *task, answer *Answer, err error) *frame {
	if err != nil {
		return failureOf(err).frame(t.id)
	}
	if answer == nil {
		answer = &Answer{}
	}
	limits, _ := s.peer.get()
	limit := limits.maxBody
	if t.call != nil {
		limit = min(limit, maxArgument)
	}
	if uint64(len(answer.Body)) > uint64(limit) {
		return (&Failure{Status: ResponseTooLarge, Message: "the answer is too long"}).frame(t.id)
	}
	var w fieldWriter
	body, flags := w.packed(answer.Body, s.server.Compress)
	if err := w.meta(answer.Meta); err != nil {
		return refusedMeta.frame(t.id)
	}
	return &frame{kind: Response, flags: flags, id: t.id, fields: w.Bytes(), body: body}
}

func failureOf(err error) *Failure {
	var failure *Failure
	switch {
	case errors.As(err, &failure):
		return failure
	case errors.Is(err, errCancelled), errors.Is(err, context.Canceled):
		return &Failure{Status: Cancelled, Message: "the request was cancelled"}
	}
	return &Failure{Status: Internal, Message: err.Error()}
}

// drain takes no further requests.
func (s *session) drain() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if !s.drained {
		s.drained = true
		s.writer.put(nil, &frame{kind: Drain, id: s.last})
		close(s.draining)
	}
	s.closeIfIdle()
}

// finish closes this half of the stream as soon as everything is answered. Calls end whose client has more to
// say, because nothing more is read.
func (s *session) finish() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.ending = true
	for _, t := range s.tasks {
		if t.call != nil {
			t.cancel(errGone)
		}
	}
	s.closeIfIdle()
}

// closeIfIdle needs the lock.
func (s *session) closeIfIdle() {
	if (s.drained || s.ending) && len(s.tasks) == 0 && s.closing == nil {
		s.writer.close()
		s.closing = time.AfterFunc(closeTime, func() { s.writer.reset(errUnread) })
	}
}

// stop tells all handlers to stop.
func (s *session) stop(why error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, t := range s.tasks {
		t.cancel(why)
	}
}

// endAll answers everything that is at work, and tells all handlers to stop.
func (s *session) endAll() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, t := range s.tasks {
		s.answerLocked(t, nil, &Failure{Status: Draining, Message: "the server waits no longer"})
		t.cancel(errStopping)
	}
}
