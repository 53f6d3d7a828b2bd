//! Raw duplex streams: bytes in a format of the application's, between two peers.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use futures::FutureExt;
use futures::task::AtomicWaker;
use futures::{AsyncRead, AsyncWrite};
use libp2p_identity::PeerId;
use libp2p_swarm::Stream;
use pointsub_core::ProtocolName;

use crate::clock::{Clock, Wait};

/// A raw stream between two peers, the counterpart of Go's `net.Conn`: made by
/// [`Client::dial`](crate::Client::dial) on one side and
/// [`Listener::accept`](crate::Listener::accept) on the other.
///
/// It implements the `AsyncRead` and `AsyncWrite` of the `futures` crate, and with feature `tokio`
/// also those of tokio. Closing it (`close`, in tokio `shutdown`) ends this direction and leaves
/// the other one open.
/// Dropping it without that resets it: the peer sees the stream break, or end, since Yamux shows
/// a reset as an end where all that was sent has been read. Over QUIC it breaks in any case, and a
/// close is done when the peer's end of the connection has everything.
///
/// Writes go to libp2p's buffers: `flush` before waiting for an answer. A peer that does not read
/// makes writes wait (libp2p's flow control, 256 KiB and more on Yamux).
pub struct RawStream {
    // Dropped first: only then is the place free.
    io: Stream,
    place: Place,
    local: PeerId,
    peer: PeerId,
    protocol: ProtocolName,
    cancel: Arc<CancelHandle>,
    read_deadline: Deadline,
    write_deadline: Deadline,
}

impl RawStream {
    pub(crate) fn new(
        io: Stream,
        place: Place,
        local: PeerId,
        peer: PeerId,
        protocol: ProtocolName,
        cancel: Arc<CancelHandle>,
    ) -> Self {
        let (read_deadline, write_deadline) = (Deadline::default(), Deadline::default());
        Self { io, place, local, peer, protocol, cancel, read_deadline, write_deadline }
    }

    /// This end's peer id.
    #[must_use]
    pub fn local_peer_id(&self) -> PeerId {
        self.local
    }

    /// The other end's peer id, authenticated by the connection.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.peer
    }

    /// The protocol that was dialled.
    #[must_use]
    pub fn protocol(&self) -> &ProtocolName {
        &self.protocol
    }

    /// From then on reads fail with [`io::ErrorKind::TimedOut`], until the deadline is moved; also
    /// one that waits already. `None`, the default: never.
    pub fn set_read_deadline(&mut self, deadline: Option<Instant>) {
        self.read_deadline.set(deadline);
    }

    /// From then on writes, flushes and closes fail with [`io::ErrorKind::TimedOut`], until the
    /// deadline is moved; also one that waits already. `None`, the default: never.
    pub fn set_write_deadline(&mut self, deadline: Option<Instant>) {
        self.write_deadline.set(deadline);
    }

    /// Aborts both directions.
    pub fn reset(self) {
        drop(self);
    }

    fn may_write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.cancel.check(&self.cancel.writer, cx)?;
        self.write_deadline.check(&self.place.clock, cx)
    }
}

impl AsyncRead for RawStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.cancel.check(&self.cancel.reader, cx)?;
        let this = &mut *self;
        this.read_deadline.check(&this.place.clock, cx)?;
        let read = Pin::new(&mut this.io).poll_read(cx, buf);
        this.cancel.note(read.is_ready());
        read
    }
}

impl AsyncWrite for RawStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.may_write(cx)?;
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.cancel.note(written.is_ready());
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.may_write(cx)?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.may_write(cx)?;
        Pin::new(&mut self.io).poll_close(cx)
    }
}

impl fmt::Debug for RawStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawStream")
            .field("peer", &self.peer)
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}

/// How a stream's owner hears that the node ends it.
#[derive(Debug, Default)]
pub(crate) struct CancelHandle {
    hung_up: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
    /// Bytes came or went since somebody last looked.
    moved: AtomicBool,
    /// How often nothing had moved, one time after the other.
    idle: AtomicU32,
}

impl CancelHandle {
    /// Ends the stream: whoever reads or writes is told.
    pub(crate) fn hang_up(&self) {
        self.hung_up.store(true, Ordering::SeqCst);
        self.reader.wake();
        self.writer.wake();
    }

    /// Notes whether bytes came or went.
    fn note(&self, moved: bool) {
        if moved {
            self.moved.store(true, Ordering::Relaxed);
        }
    }

    /// How often the stream was found idle, one time after the other, with this time.
    pub(crate) fn looked_idle(&self) -> u32 {
        if self.moved.swap(false, Ordering::Relaxed) {
            self.idle.store(0, Ordering::Relaxed);
            return 0;
        }
        self.idle.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn check(&self, waker: &AtomicWaker, cx: &Context<'_>) -> io::Result<()> {
        waker.register(cx.waker());
        if self.hung_up.load(Ordering::SeqCst) {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "this node has ended the stream",
            ));
        }
        Ok(())
    }
}

/// What a stream takes up. Dropping it gives that back.
pub(crate) struct Place {
    clock: Clock,
    release: Option<Box<dyn FnOnce() + Send>>,
    /// Of its connection, where the stream counts for as long as this is held.
    #[expect(dead_code, reason = "counts")]
    share: Arc<()>,
}

impl Place {
    pub(crate) fn new(
        clock: Clock,
        share: Arc<()>,
        release: impl FnOnce() + Send + 'static,
    ) -> Self {
        Self { clock, release: Some(Box::new(release)), share }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(release) = self.release.take() {
            release();
        }
    }
}

/// A time after which one direction fails.
#[derive(Debug, Default)]
struct Deadline {
    at: Option<Instant>,
    /// Made at the first wait.
    timer: Option<Wait>,
}

impl Deadline {
    fn set(&mut self, at: Option<Instant>) {
        *self = Self { at, timer: None };
    }

    fn check(&mut self, clock: &Clock, cx: &mut Context<'_>) -> io::Result<()> {
        let Some(at) = self.at.map(|at| clock.timestamp(at)) else { return Ok(()) };
        let timer = self.timer.get_or_insert_with(|| clock.wait_until(at));
        if at <= clock.now() || timer.poll_unpin(cx).is_ready() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the deadline has passed"));
        }
        Ok(())
    }
}
