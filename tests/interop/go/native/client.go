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

// Ask is a request. The deadline of the context that comes with it travels as TIMEOUT.
type Ask struct {
	// Timeout stands for the deadline if the context has none. The server alone keeps it.
	Timeout time.Duration
	Method  string // Empty for the default method.
	Meta    []Meta
	Body    []byte // Of a call, its argument.
	// Compress says whether the body and the client's messages are compressed.
	Compress bool
	// Resume is for calls: the cursor behind which the handler is to go on.
	Resume []byte
	// Silent is for calls: the client sends no messages.
	Silent bool
}

// ErrLost is in the chain of an error after which nobody knows what became of the request.
var ErrLost = errors.New("the stream ended before the answer came")

// cancelTime is how long the answer may take after CANCEL.
const cancelTime = 10 * time.Second

// Client sends requests on one stream. All methods may be used by many goroutines at once.
type Client struct {
	limits   limits
	writer   *writer
	reader   *bufio.Reader
	peer     peerLimits
	draining chan struct{}

	mutex    sync.Mutex
	changed  *sync.Cond
	last     uint64
	pending  map[uint64]*pending
	requests uint32 // Without an answer; calls, without ACCEPT.
	calls    uint32
	closed   bool
	err      error // Why the stream has ended.
}

// pending is a request without an answer.
type pending struct {
	id       uint64
	call     *Call         // nil if it is none.
	accepted chan struct{} // Closed by ACCEPT.
	counted  bool          // In requests.
	overdue  *time.Timer   // Runs after CANCEL.
	done     chan struct{}
	answer   *Answer
	err      error
}

// NewClient takes a stream for which the native name was agreed on. 0 stands for 32 MiB.
func NewClient(stream Transport, maxBody uint32) *Client {
	c := &Client{
		limits:   limits{maxBody: orDefault(maxBody, defaultMaxBody)},
		writer:   newWriter(stream),
		reader:   bufio.NewReader(stream),
		peer:     newPeerLimits(),
		draining: make(chan struct{}),
		pending:  map[uint64]*pending{},
	}
	c.changed = sync.NewCond(&c.mutex)
	// Limits of requests and calls say nothing from a client, and are left out.
	var w fieldWriter
	w.number(tagMaxBody, c.limits.maxBody)
	c.writer.put(nil, &frame{kind: Settings, fields: w.Bytes()})
	go c.run(stream)
	return c
}

// Draining is closed when the stream takes no further requests.
func (c *Client) Draining() <-chan struct{} { return c.draining }

// Ask sends a request and waits for its answer. When the context ends, it cancels the request.
func (c *Client) Ask(ctx context.Context, ask *Ask) (*Answer, error) {
	p, err := c.send(ctx, ask, nil)
	if err != nil {
		return nil, err
	}
	select {
	case <-p.done:
		return p.answer, p.err
	case <-ctx.Done():
		c.cancel(p.id, ctx.Err())
		return nil, ctx.Err()
	}
}

// Open opens a call, and waits until a handler has it. The call is cancelled when the context ends.
func (c *Client) Open(ctx context.Context, ask *Ask, window Window) (*Call, error) {
	if err := window.check(); err != nil {
		return nil, err
	}
	p, err := c.send(ctx, ask, &window)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { c.cancel(p.id, ctx.Err()) })
	go func() {
		<-p.done
		stop()
	}()
	select {
	case <-p.accepted:
		return p.call, nil
	case <-p.done:
		if p.err == nil {
			// The handler has ended the call at once, and there was nothing to accept.
			return p.call, nil
		}
		return nil, p.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Close sends no further requests. The stream ends when everything is answered.
func (c *Client) Close() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.closed = true
	c.closeIfIdle()
}

// closeIfIdle needs the lock.
func (c *Client) closeIfIdle() {
	if c.closed && len(c.pending) == 0 {
		c.writer.close()
	}
}

// send sends a request as soon as the server has room for it.
func (c *Client) send(ctx context.Context, ask *Ask, window *Window) (*pending, error) {
	f, err := c.frame(ctx, ask, window)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() {
		c.mutex.Lock()
		defer c.mutex.Unlock()
		c.changed.Broadcast()
	})
	defer stop()
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for {
		limits, _ := c.peer.get()
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case c.err != nil:
			return nil, refused(Draining, c.err.Error())
		case c.closed:
			return nil, refused(Draining, "the stream takes no further requests")
		case c.requests < limits.maxInFlight && (window == nil || c.calls < limits.maxCalls):
			return c.start(f, ask, window), nil
		}
		c.changed.Wait()
	}
}

// start needs the lock, so that requests are written in the order of their ids.
func (c *Client) start(f *frame, ask *Ask, window *Window) *pending {
	c.last++
	f.id = c.last
	p := &pending{id: f.id, accepted: make(chan struct{}), done: make(chan struct{}), counted: true}
	c.requests++
	if window != nil {
		p.call = newCall(f.id, c.writer, c.limits, &c.peer, *window)
		p.call.compress, p.call.done = ask.Compress, ask.Silent
		p.call.cancel = func() { c.cancel(p.id, context.Canceled) }
		c.calls++
	}
	c.pending[f.id] = p
	c.writer.put(nil, f)
	return p
}

// frame is the REQUEST without its id. Its errors are of what the server is known not to take.
func (c *Client) frame(ctx context.Context, ask *Ask, window *Window) (*frame, error) {
	var w fieldWriter
	body, flags := w.packed(ask.Body, ask.Compress)
	f := &frame{kind: Request, flags: flags, body: body}
	limits, known := c.peer.get()
	if uint64(len(ask.Body)) > uint64(limits.maxBody) || window != nil && len(ask.Body) > maxArgument {
		return nil, refused(TooLarge, fmt.Sprintf("a body of %d bytes", len(ask.Body)))
	}
	needs := uint32(0)
	if window != nil {
		needs = featureCalls
		f.flags |= Stream
		if ask.Silent {
			f.flags |= Silent
		}
		w.credit(window.Bytes, window.Messages)
		if ask.Resume != nil {
			w.put(tagResume, ask.Resume)
		}
	} else if ask.Method != "" || len(ask.Meta) > 0 {
		needs = featureMethods
	}
	if known && limits.features&needs != needs {
		return nil, refused(Unimplemented, "the server has not announced what the request needs")
	}
	if deadline, ok := ctx.Deadline(); ok {
		w.milliseconds(tagTimeout, time.Until(deadline))
	} else if ask.Timeout > 0 {
		w.milliseconds(tagTimeout, ask.Timeout)
	}
	if ask.Method != "" {
		w.put(tagMethod, []byte(ask.Method))
	}
	if err := w.meta(ask.Meta); err != nil {
		return nil, err
	}
	f.fields = w.Bytes()
	return f, nil
}

// cancel says that the answer to a request is not wanted any more.
func (c *Client) cancel(id uint64, why error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	p := c.pending[id]
	if p == nil || p.overdue != nil {
		return
	}
	p.overdue = time.AfterFunc(cancelTime, func() { c.writer.reset(ErrLost) })
	cancel := &frame{kind: Cancel, id: id}
	if p.call == nil {
		c.writer.put(nil, cancel)
		return
	}
	c.writer.last(&p.call.lane, cancel)
	p.call.discard(why)
}

// run reads frames until the stream ends.
func (c *Client) run(stream Transport) {
	err := c.read()
	if !errors.Is(err, io.EOF) {
		c.writer.reset(err)
	}
	c.mutex.Lock()
	c.err = fmt.Errorf("%w: %w", ErrLost, err)
	c.closed = true
	for id := range c.pending {
		c.settle(id, nil, c.err)
	}
	c.closeIfIdle()
	c.changed.Broadcast()
	c.mutex.Unlock()
	// A request that the server does not read any more keeps the writer.
	timer := time.AfterFunc(cancelTime, func() { c.writer.reset(ErrLost) })
	<-c.writer.done
	timer.Stop()
	_ = stream.Close()
}

func (c *Client) read() error {
	for {
		h, err := readHeader(c.reader, c.limits.maxBody)
		if err != nil {
			return err
		}
		f, err := h.readRest(c.reader)
		if err != nil {
			return err
		}
		if err := c.handle(&f); err != nil {
			return err
		}
	}
}

func (c *Client) handle(f *frame) error {
	switch f.kind {
	case Settings:
		defer c.changed.Broadcast()
		return c.peer.read(f)
	case Response:
		return c.response(f)
	case Drain:
		c.drain(f.id)
		return nil
	case Accept:
		return c.accept(f)
	case Data, Credit, Finish:
		return c.message(f)
	case Request, Cancel:
		return broken("a frame of kind %#02x from a server", f.kind)
	}
	return nil // A kind that may be ignored.
}

// accept takes ACCEPT.
func (c *Client) accept(f *frame) error {
	read, err := readFields(f)
	if err != nil {
		return err
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	p := c.pending[f.id]
	if p == nil || p.call == nil || read.unknown || !p.counted {
		return broken("ACCEPT %d", f.id)
	}
	p.counted = false
	c.requests--
	c.changed.Broadcast()
	p.call.Meta = read.meta
	if err := p.call.accept(&read); err != nil {
		return err
	}
	close(p.accepted)
	return nil
}

// message takes a frame of a call.
func (c *Client) message(f *frame) error {
	c.mutex.Lock()
	p := c.pending[f.id]
	belongs := p != nil && p.call != nil && !p.counted
	c.mutex.Unlock()
	if !belongs {
		return broken("a frame of kind %#02x that belongs to no call", f.kind)
	}
	failure, err := p.call.receive(f)
	if failure != nil {
		c.cancel(f.id, failure)
	}
	return err
}

// response takes the answer to a request.
func (c *Client) response(f *frame) error {
	read, err := readFields(f)
	if err != nil {
		return err
	}
	if read.unknown || f.flags&mandatory&^Compressed != 0 {
		return broken("a RESPONSE with what this version does not know")
	}
	if err := checkPacked(f, read.size); err != nil {
		return err
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	p := c.pending[f.id]
	if p == nil {
		return broken("a RESPONSE to %d, which is not in flight", f.id)
	}
	if read.status != OK {
		if f.flags&Compressed != 0 {
			return broken("a detail that is compressed")
		}
		c.settle(f.id, nil, readFailure(f, &read))
		return nil
	}
	if p.call != nil && (len(f.body) > maxArgument || !p.call.isWhole()) {
		return broken("a result that is too long, or between the parts of a message")
	}
	answer := &Answer{Meta: read.meta, Body: f.body, Packed: read.size != nil}
	if read.size != nil {
		body, failure := inflate(f.body, *read.size, c.limits.maxBody)
		if failure != nil {
			failure.Unprocessed = false
			c.settle(f.id, nil, failure)
			return nil
		}
		answer.Body = body
	}
	c.settle(f.id, answer, nil)
	return nil
}

// settle ends a request. It needs the lock.
func (c *Client) settle(id uint64, answer *Answer, err error) {
	p := c.pending[id]
	delete(c.pending, id)
	p.answer, p.err = answer, err
	if p.overdue != nil {
		p.overdue.Stop()
	}
	if p.counted {
		c.requests--
	}
	if p.call != nil {
		c.calls--
		c.writer.mute(&p.call.lane)
		p.call.end(answer, err)
	}
	close(p.done)
	c.changed.Broadcast()
	c.closeIfIdle()
}

// drain takes DRAIN: requests behind the last one that the server has looked at were surely not processed.
func (c *Client) drain(last uint64) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	select {
	case <-c.draining:
	default:
		close(c.draining)
	}
	c.closed = true
	c.writer.withdraw()
	for id, p := range c.pending {
		if id > last {
			c.settle(id, nil, refused(Draining, "the server takes no further requests"))
		} else if p.call != nil {
			p.call.drain()
		}
	}
	c.closeIfIdle()
	c.changed.Broadcast()
}
