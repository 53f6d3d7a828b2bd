package native

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Window is how much of what a call receives may wait for the application. With 0 of both the application
// wants no messages; otherwise there are at least 8192 bytes, so that half of them is above the least balance
// of section 2.9, and one message.
type Window struct{ Bytes, Messages uint32 }

const (
	minWindow = 8192
	maxWindow = 1 << 30
)

func (w Window) check() error {
	if w == (Window{}) || w.Bytes >= minWindow && w.Bytes <= maxWindow && w.Messages >= 1 {
		return nil
	}
	return fmt.Errorf("a window needs at least %d bytes and 1 message, or 0 of both", minWindow)
}

// Message is a message of a call. A server may put a cursor on it.
type Message struct{ Body, Cursor []byte }

// Call is one end of a call (section 2.9). One goroutine may send while another receives.
type Call struct {
	// Meta is what the server has said in ACCEPT.
	Meta []Meta

	id       uint64
	writer   *writer
	lane     lane
	limits   limits      // Ours.
	peer     *peerLimits // The other side's.
	compress bool
	draining chan struct{}
	cancel   func()     // nil at a server.
	sending  sync.Mutex // Held from the first part of a message to the last.

	mutex   sync.Mutex
	changed *sync.Cond
	credit  balance // What this end may send.
	done    bool    // This end has finished.
	inbox   inbox
	ended   chan struct{} // Closed when the call has ended.
	answer  *Answer
	err     error // Why it has ended without an answer.
}

func newCall(id uint64, w *writer, ours limits, peer *peerLimits, window Window) *Call {
	c := &Call{id: id, writer: w, limits: ours, peer: peer, ended: make(chan struct{})}
	c.draining = make(chan struct{})
	c.changed = sync.NewCond(&c.mutex)
	c.inbox = inbox{window: window, granted: balance(window), maxBody: ours.maxBody}
	return c
}

// Draining is closed when the server takes no further requests on the stream of this call.
func (c *Call) Draining() <-chan struct{} { return c.draining }

// Send sends a message as soon as there is credit for it. It returns when it is written, or when the call ends.
func (c *Call) Send(message Message) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	if limits, _ := c.peer.get(); uint64(len(message.Body)) > uint64(limits.maxBody) {
		return fmt.Errorf("a message of %d bytes, and the peer takes %d", len(message.Body), limits.maxBody)
	}
	if len(message.Cursor) > maxCursor {
		return fmt.Errorf("a cursor of %d bytes", len(message.Cursor))
	}
	var first fieldWriter
	rest, flags := first.packed(message.Body, c.compress)
	if message.Cursor != nil {
		first.put(tagCursor, message.Cursor)
	}
	for begun := false; !begun || len(rest) > 0; begun = true {
		size, err := c.spend(len(rest), !begun)
		if err != nil {
			return err
		}
		part := &frame{kind: Data, id: c.id, body: rest[:size]}
		if size < len(rest) {
			part.flags |= More
		}
		if !begun {
			if size < len(rest) {
				first.number(tagLength, uint32(len(rest)))
			}
			part.flags |= flags
			part.fields = first.Bytes()
		}
		if err := <-c.writer.part(&c.lane, part); err != nil {
			return c.sendError(err)
		}
		rest = rest[size:]
	}
	return nil
}

// spend waits for credit for the next part of a message, and says how long the part is.
func (c *Call) spend(rest int, first bool) (int, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for {
		if c.done {
			return 0, errors.New("a message after FINISH")
		}
		if c.isOver() {
			return 0, c.errOr(errEnded)
		}
		if size, ok := c.credit.spend(rest, first); ok {
			return size, nil
		}
		c.changed.Wait()
	}
}

// sendError says why a part was not written.
func (c *Call) sendError(err error) error {
	if !errors.Is(err, errEnded) {
		return err
	}
	<-c.ended // At once: whoever closes a lane ends the call.
	return c.errOr(err)
}

// Receive returns the next message. The error is io.EOF when the peer has sent the last one.
func (c *Call) Receive() (Message, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for {
		if message, ok := c.inbox.take(); ok {
			c.grant()
			return message, nil
		}
		if c.inbox.finished {
			return Message{}, io.EOF
		}
		if c.isOver() {
			return Message{}, c.errOr(io.EOF)
		}
		c.changed.Wait()
	}
}

// grant sends the credit that is due.
func (c *Call) grant() {
	if bytes, messages := c.inbox.grant(); bytes > 0 || messages > 0 {
		var w fieldWriter
		w.credit(bytes, messages)
		c.writer.put(&c.lane, &frame{kind: Credit, id: c.id, fields: w.Bytes()})
	}
}

// Finish says that this end sends no more messages.
func (c *Call) Finish() error {
	c.sending.Lock()
	defer c.sending.Unlock()
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.done {
		return nil
	}
	c.done = true
	if c.isOver() {
		return c.errOr(errEnded)
	}
	c.writer.put(&c.lane, &frame{kind: Finish, id: c.id})
	return nil
}

// Result waits for the end of the call. Messages that were not received stay in front of it.
func (c *Call) Result(ctx context.Context) (*Answer, error) {
	select {
	case <-c.ended:
		return c.answer, c.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Cancel ends a call that the client does not want any more.
func (c *Call) Cancel() {
	if c.cancel != nil {
		c.cancel()
	}
}

// receive takes a frame of this call from the other end. A failure is of this call alone.
func (c *Call) receive(f *frame) (*Failure, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	defer c.changed.Broadcast()
	switch f.kind {
	case Finish:
		return nil, c.inbox.finish()
	case Credit:
		read, err := readFields(f)
		if err != nil || c.done {
			return nil, err
		}
		return nil, c.credit.add(read.bytes, read.messages)
	}
	failure, err := c.inbox.receive(f)
	if failure == nil && err == nil {
		c.grant()
	}
	return failure, err
}

// end is called once at most, for the first thing that ends the call.
func (c *Call) end(answer *Answer, err error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.isOver() {
		return
	}
	c.answer, c.err = answer, err
	close(c.ended)
	c.changed.Broadcast()
}

func (c *Call) isOver() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

func (c *Call) errOr(other error) error {
	if c.err != nil {
		return c.err
	}
	return other
}

// discard ends a call whose messages nobody wants any more. What is still on its way is checked against the
// credit, and dropped.
func (c *Call) discard(err error) {
	c.end(nil, err)
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.inbox.discards = true
	c.inbox.whole = nil
}

// isWhole says whether no message lacks parts.
func (c *Call) isWhole() bool {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.inbox.partial == nil
}

// accept takes the credit that the server gives to begin with.
func (c *Call) accept(read *fields) error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	defer c.changed.Broadcast()
	return c.credit.add(read.bytes, read.messages)
}

// drain tells the owner of the call.
func (c *Call) drain() {
	select {
	case <-c.draining:
	default:
		close(c.draining)
	}
}
