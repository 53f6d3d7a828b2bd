package native

import (
	"errors"
	"io"
	"slices"
	"sync"
)

// Transport is a stream of libp2p.
type Transport interface {
	io.ReadWriter
	// CloseWrite ends the half that this peer writes.
	CloseWrite() error
	// Close frees the stream when both halves have ended.
	Close() error
	// Reset ends both halves at once.
	Reset() error
}

// maxWaiting is how many frames wait for a peer that does not read.
const maxWaiting = 8192

var (
	errEnded  = errors.New("the call has ended")
	errUnread = errors.New("the peer does not read")
)

// writer sends the frames of a stream. Parts of messages go behind everything else (section 2.9: no waiting).
// A call has one part in the queue at a time, so calls take turns.
type writer struct {
	stream  Transport
	mutex   sync.Mutex
	changed *sync.Cond
	urgent  []*written
	parts   []*written
	closing bool
	err     error
	// done is closed when nothing is written any more.
	done chan struct{}
}

// written is a frame on its way.
type written struct {
	*frame
	lane *lane
	// done gets what became of the frame.
	done chan error
}

// lane is what one call sends. Its fields belong to the writer.
type lane struct{ closed bool }

func newWriter(stream Transport) *writer {
	w := &writer{stream: stream, done: make(chan struct{})}
	w.changed = sync.NewCond(&w.mutex)
	go w.run()
	return w
}

// put sends a frame in front of all parts of messages. Frames of a lane are dropped once it is closed.
func (w *writer) put(l *lane, f *frame) <-chan error {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return w.push(&w.urgent, l, f)
}

// part sends a part of a message.
func (w *writer) part(l *lane, f *frame) <-chan error {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return w.push(&w.parts, l, f)
}

// mute closes a lane. A part that waits is not sent.
func (w *writer) mute(l *lane) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	l.closed = true
	w.parts = slices.DeleteFunc(w.parts, func(p *written) bool { return p.drop(p.lane == l) })
}

// last closes a lane, and sends its last frame.
func (w *writer) last(l *lane, f *frame) <-chan error {
	w.mute(l)
	return w.put(nil, f)
}

// withdraw takes back all requests that were not begun.
func (w *writer) withdraw() {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.urgent = slices.DeleteFunc(w.urgent, func(p *written) bool { return p.drop(p.kind == Request) })
}

func (p *written) drop(drop bool) bool {
	if drop {
		p.done <- errEnded
	}
	return drop
}

// push needs the lock.
func (w *writer) push(queue *[]*written, l *lane, f *frame) <-chan error {
	p := &written{f, l, make(chan error, 1)}
	switch {
	case w.err != nil:
		p.done <- w.err
	case w.closing || l != nil && l.closed:
		p.done <- errEnded
	case len(*queue) == maxWaiting:
		w.fail(errUnread)
		p.done <- errUnread
	default:
		*queue = append(*queue, p)
		w.changed.Signal()
	}
	return p.done
}

// close ends this half of the stream behind the frames that wait.
func (w *writer) close() {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.closing = true
	w.changed.Signal()
}

// reset ends the stream because of an error.
func (w *writer) reset(err error) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.fail(err)
}

// fail needs the lock.
func (w *writer) fail(err error) {
	if w.err != nil {
		return
	}
	w.err = err
	for _, p := range slices.Concat(w.urgent, w.parts) {
		p.done <- err
	}
	w.urgent, w.parts = nil, nil
	w.changed.Signal()
	// It may fail if the connection is gone, and then there is nothing to do.
	_ = w.stream.Reset()
}

func (w *writer) run() {
	defer close(w.done)
	for {
		next := w.next()
		if next == nil {
			return
		}
		_, err := w.stream.Write(next.append(nil))
		next.done <- err
		if err != nil {
			w.reset(err)
		}
	}
}

// next waits for a frame. It returns none when the stream has ended.
func (w *writer) next() *written {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	for {
		for _, queue := range []*[]*written{&w.urgent, &w.parts} {
			if len(*queue) > 0 {
				next := (*queue)[0]
				*queue = (*queue)[1:]
				return next
			}
		}
		if w.err != nil {
			return nil
		}
		if w.closing {
			if err := w.stream.CloseWrite(); err != nil {
				w.fail(err)
			}
			return nil
		}
		w.changed.Wait()
	}
}
