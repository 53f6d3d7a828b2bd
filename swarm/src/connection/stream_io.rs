//! Moves bytes between a libp2p stream and a wire machine.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use std::{io, mem};

use bytes::{Buf, Bytes, BytesMut};
use futures::{AsyncRead, AsyncWrite, FutureExt};
use libp2p_core::upgrade::NegotiationError;
use libp2p_swarm::Stream;
use pointsub_core::connection::{IoFailure, Stage};
use pointsub_core::{StreamError, StreamEvent, StreamOp};

use crate::clock::{Clock, Sleep};
use crate::telemetry::{Recorder, Side, Transferred};
use crate::transport::muxer::NotAccepted;

/// How many bytes one read of a stream takes at most.
const BLOCK: usize = 64 * 1024;
/// A block with less space than this is replaced.
const ROOM: usize = 4 * 1024;

/// How often one stream reads before other streams of its connection do.
pub(crate) const READS_PER_POLL: u32 = 64;

thread_local! {
    /// Where reads go. What was read is sliced off the front, so that idle streams hold no buffers.
    static READ: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

/// The part of a wire machine that moving bytes needs.
pub(crate) trait Machine {
    fn wants_read(&self) -> bool;
    fn space(&mut self) -> Option<&mut [u8]>;
    fn poll_op(&mut self) -> Option<StreamOp>;
}

/// A stream with the write that is under way on it, and how the stream is to end.
#[derive(Debug)]
pub(crate) struct StreamIo {
    stream: Stream,
    writing: Bytes,
    /// Written bytes may be in buffers between the stream and the connection.
    unflushed: bool,
    finishing: bool,
    /// How long to wait for the peer to end the stream too, once this end has.
    confirm: Option<(Duration, Clock)>,
    /// That is being waited for, until then.
    confirming: Option<Sleep>,
    /// Writing has failed. What the peer sent before that can still be read.
    write_error: Option<StreamError>,
    /// Bytes that have travelled, and that nobody was told of.
    sent: u64,
    received: u64,
}

/// The result of moving bytes.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Tell the machine.
    Event(StreamEvent),
    /// The machine's last operation is done: drop the stream.
    Ended,
}

impl StreamIo {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            writing: Bytes::new(),
            unflushed: false,
            finishing: false,
            confirm: None,
            confirming: None,
            write_error: None,
            sent: 0,
            received: 0,
        }
    }

    /// From now on, the stream has ended when the peer has ended it too, or after `limit`. Only the
    /// peer's end says that it has got everything.
    pub(crate) fn confirm_within(&mut self, limit: Duration, clock: Clock) {
        self.confirm = Some((limit, clock));
    }

    /// Whether the last bytes are still being written.
    pub(crate) fn is_ending(&self) -> bool {
        self.finishing && self.write_error.is_none()
    }

    /// Whether the peer has not said that it has got everything, although it is waited for. The connection
    /// may have ended in the moment in which the peer said so: what came before that is still looked at.
    pub(crate) fn is_unconfirmed(&mut self) -> bool {
        if self.confirming.is_some() && self.finishing {
            let _ended = self.poll_end(&mut Context::from_waker(Waker::noop()));
        }
        self.is_ending()
    }

    /// Writes what the machine has. Ready when there is something to tell the machine.
    pub(crate) fn poll_write(
        &mut self,
        machine: &mut impl Machine,
        cx: &mut Context<'_>,
    ) -> Poll<Progress> {
        loop {
            while !self.writing.is_empty() && self.write_error.is_none() {
                match Pin::new(&mut self.stream).poll_write(cx, &self.writing) {
                    Poll::Pending => {
                        // A peer that does not read cannot keep the stream from being reset.
                        return match machine.poll_op() {
                            Some(StreamOp::Reset) => Poll::Ready(Progress::Ended),
                            _ => Poll::Pending,
                        };
                    }
                    Poll::Ready(Ok(0)) => self.fail_write(&io::ErrorKind::WriteZero.into()),
                    Poll::Ready(Ok(n)) => {
                        self.unflushed = true;
                        self.sent += n as u64;
                        self.writing.advance(n);
                        if self.writing.is_empty() {
                            // An empty slice would keep the body alive that it is a slice of.
                            self.writing = Bytes::new();
                            return Poll::Ready(Progress::Event(StreamEvent::Written));
                        }
                    }
                    Poll::Ready(Err(error)) => self.fail_write(&error),
                }
            }
            if self.write_error.is_some() {
                return Poll::Pending;
            }
            if self.finishing {
                return self.poll_end(cx).map(|()| Progress::Ended);
            }
            match machine.poll_op() {
                Some(StreamOp::Write(bytes)) => self.writing = bytes,
                Some(StreamOp::Finish) => self.finishing = true,
                Some(StreamOp::Reset) => return Poll::Ready(Progress::Ended),
                None => break,
            }
        }
        if self.unflushed {
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(error)) => self.fail_write(&error),
            }
        }
        Poll::Pending
    }

    /// Reads what the machine wants. Ready when there is something to tell the machine.
    pub(crate) fn poll_read(
        &mut self,
        machine: &mut impl Machine,
        cx: &mut Context<'_>,
    ) -> Poll<Progress> {
        if !machine.wants_read() {
            // Nothing is read any more, so a failed write shows in no other way.
            return match self.write_error.take() {
                Some(error) => Poll::Ready(Progress::Event(StreamEvent::Failed(error))),
                None => Poll::Pending,
            };
        }
        let read = match machine.space() {
            Some(space) => Pin::new(&mut self.stream)
                .poll_read(cx, space)
                .map_ok(|n| (n > 0).then_some(StreamEvent::Filled(n))),
            None => READ.with_borrow_mut(|block| {
                if block.len() < ROOM {
                    *block = BytesMut::zeroed(BLOCK);
                }
                Pin::new(&mut self.stream)
                    .poll_read(cx, block)
                    .map_ok(|n| (n > 0).then(|| StreamEvent::Received(block.split_to(n).freeze())))
            }),
        };
        let event = match read {
            Poll::Pending => match self.write_error.take() {
                Some(error) => StreamEvent::Failed(error),
                None => return Poll::Pending,
            },
            Poll::Ready(Ok(Some(event))) => event,
            Poll::Ready(Ok(None)) => match self.write_error.take() {
                Some(error) => StreamEvent::Failed(error),
                None => StreamEvent::Finished,
            },
            Poll::Ready(Err(error)) => StreamEvent::Failed(stream_error(&error)),
        };
        match &event {
            StreamEvent::Filled(n) => self.received += *n as u64,
            StreamEvent::Received(bytes) => self.received += bytes.len() as u64,
            _ => {}
        }
        Poll::Ready(Progress::Event(event))
    }

    /// Tells how many bytes have travelled since this was last called.
    pub(crate) fn tell(&mut self, recorder: &dyn Recorder, protocol: &str, side: Side) {
        let (sent, received) = (mem::take(&mut self.sent), mem::take(&mut self.received));
        if sent + received > 0 {
            recorder.transferred(&Transferred { protocol, side, sent, received });
        }
    }

    /// Closes this direction of the stream, and waits for the other one if that is wanted.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.confirming.is_none() {
            let closed = ready!(Pin::new(&mut self.stream).poll_close(cx));
            let Some((limit, clock)) = self.confirm.take().filter(|_| closed.is_ok()) else {
                self.finishing = closed.is_err();
                return Poll::Ready(());
            };
            self.confirming = Some(clock.sleep(limit));
        }
        let Some(limit) = &mut self.confirming else { return Poll::Ready(()) };
        let mut nowhere = [0; 1024];
        for _ in 0..READS_PER_POLL {
            if limit.poll_unpin(cx).is_ready() {
                return Poll::Ready(());
            }
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut nowhere)) {
                Ok(0) => {
                    self.finishing = false;
                    return Poll::Ready(());
                }
                Ok(_) => {}
                Err(_) => return Poll::Ready(()),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn fail_write(&mut self, error: &io::Error) {
        self.writing = Bytes::new();
        self.write_error = Some(stream_error(error));
    }
}

/// What an I/O error on an open stream means. A refused optimistic negotiation shows only here.
pub(crate) fn stream_error(error: &io::Error) -> StreamError {
    io_failure(error).into_error(Stage::Open, Arc::from(error.to_string()))
}

/// How a stream failed, as far as its transport says.
pub(crate) fn io_failure(error: &io::Error) -> IoFailure {
    let inner = error.get_ref();
    if let Some(NegotiationError::Failed) = inner.and_then(|inner| inner.downcast_ref()) {
        IoFailure::Refused
    } else if inner.is_some_and(|inner| inner.is::<NotAccepted>()) {
        IoFailure::NotAccepted
    } else if error.kind() == io::ErrorKind::ConnectionReset {
        IoFailure::Reset
    } else {
        IoFailure::Broken
    }
}
