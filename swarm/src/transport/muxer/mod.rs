//! Yamux, tuned.

mod ends;
mod headers;
mod socket;
mod unread;

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker, ready};

use futures::{AsyncRead, AsyncWrite};
use libp2p_core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p_core::upgrade::NegotiationError;
use yamux::{Config, Connection, Mode};

use self::ends::Ends;
pub(crate) use self::ends::{MuxedStream, NotAccepted};
use self::socket::{Control, Socket};
use crate::clock::Clock;
use crate::connection::streams;

/// The most bytes of a stream in one frame of Yamux. With its header, a frame of this size fits into
/// one record of Noise.
const FRAME: usize = 65_000;
/// How many streams a connection on Yamux has at most, of both ends together.
const STREAMS: usize = 512;
/// What each of them may have on its way, as the protocol has it.
const WINDOW: usize = 256 * 1024;
/// How far the receive windows of a connection on Yamux may grow, all together, where round trips are
/// long. Yamux takes a queue for a long round trip, and without this limit would let them grow to 900
/// MiB. Everything else on the connection would wait behind these bytes.
const GROWTH: usize = 4 * 1024 * 1024;
/// How far the receive windows of a connection on Yamux may grow, all together, where round trips are
/// short. Within a machine, a single large body is as fast with this limit, and small messages beside
/// large ones wait half as long.
const SHORT_GROWTH: usize = 256 * 1024;
/// How many streams that the peer has opened may wait on a connection until the node takes them.
const INBOUND: usize = 256;

/// How long a round trip to the peer takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RttClass {
    /// A few milliseconds at most.
    Short,
    Long,
}

impl RttClass {
    /// How far windows may grow beyond [`WINDOW`] for each stream, all together.
    fn growth(self) -> usize {
        match self {
            Self::Short => SHORT_GROWTH,
            Self::Long => GROWTH,
        }
    }
}

/// The Yamux of libp2p with larger frames, with one flush for all of them, with streams that tell an
/// end from a break, and without the deadlock of two ends that both wait to answer a ping.
///
/// The stock upgrade flushes behind every frame, so that each frame becomes an encrypted record
/// and a system call. This one writes what there is, and flushes when there is no more. To peers
/// it is the same protocol.
pub(crate) struct Muxer<C> {
    connection: Connection<Socket<C>>,
    control: Arc<Control>,
    ends: Arc<Ends>,
    inbound: VecDeque<MuxedStream>,
    /// Who waits for a stream from the peer.
    waiting: Option<Waker>,
    /// The signs of life of its connection are found.
    linked: bool,
}

impl<C> Muxer<C>
where
    C: AsyncRead + AsyncWrite + Unpin + 'static,
{
    pub(crate) fn new(io: C, mode: Mode, rtt: RttClass, clock: Clock) -> Self {
        let mut config = Config::default();
        config.set_split_send_size(FRAME);
        config.set_max_num_streams(STREAMS);
        config.set_max_connection_receive_window(Some(STREAMS * WINDOW + rtt.growth()));
        let (control, ends) = (Arc::<Control>::default(), Arc::<Ends>::default());
        let socket = Socket::new(io, control.clone(), ends.clone(), clock);
        let connection = Connection::new(socket, config, mode);
        let inbound = VecDeque::new();
        Self { connection, control, ends, inbound, waiting: None, linked: false }
    }

    /// Moves bytes both ways, until the peer opens a stream.
    fn poll_connection(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<yamux::Stream>> {
        self.control.blocked.store(false, Ordering::Relaxed);
        self.control.read.store(false, Ordering::Relaxed);
        let mut polled = self.connection.poll_next_inbound(cx);
        if polled.is_pending() && self.control.is_stuck() {
            // Yamux reads nothing while the answer to a ping waits to be written. If the peer does the
            // same, neither end ever reads again (libp2p/rust-yamux#227). So the answer is taken.
            self.control.overflow.store(true, Ordering::Relaxed);
            polled = self.connection.poll_next_inbound(cx);
            self.control.overflow.store(false, Ordering::Relaxed);
        }
        if polled.is_pending() && self.control.written.load(Ordering::Relaxed) {
            self.control.flush.store(true, Ordering::Relaxed);
            polled = self.connection.poll_next_inbound(cx);
            self.control.flush.store(false, Ordering::Relaxed);
        }
        polled.map(|stream| match stream {
            Some(stream) => stream.map_err(why),
            None => Err(io::Error::other(yamux::ConnectionError::Closed)),
        })
    }

    /// Finds where to note when the peer was last heard of.
    fn link(&mut self, cx: &Context<'_>) {
        if !self.linked
            && let Some(activity) = streams::activity_of_task(cx)
        {
            self.linked = true;
            *self.control.activity.lock() = Some(activity);
        }
    }
}

/// Why a connection ended. A peer without Yamux says so when the first of it has gone out already.
fn why(error: yamux::ConnectionError) -> io::Error {
    let inner = match &error {
        yamux::ConnectionError::Io(error)
        | yamux::ConnectionError::Decode(yamux::FrameDecodeError::Io(error)) => error.get_ref(),
        _ => None,
    };
    if let Some(NegotiationError::Failed) = inner.and_then(|e| e.downcast_ref()) {
        let text = "the peer does not support Yamux, the one muxer of this library";
        return io::Error::new(io::ErrorKind::Unsupported, text);
    }
    io::Error::other(error)
}

impl<C> StreamMuxer for Muxer<C>
where
    C: AsyncRead + AsyncWrite + Unpin + 'static,
{
    type Substream = MuxedStream;
    type Error = io::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<MuxedStream>> {
        if let Some(stream) = self.inbound.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        // `poll` brings them, and has to be called in any case.
        self.waiting = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<MuxedStream>> {
        let stream = ready!(self.connection.poll_new_outbound(cx)).map_err(io::Error::other)?;
        Poll::Ready(Ok(self.ends.outbound(stream)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.control.flush.store(true, Ordering::Relaxed);
        self.connection.poll_close(cx).map_err(io::Error::other)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        self.link(cx);
        match self.poll_connection(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(error)) => {
                self.ends.over(&error.to_string());
                return Poll::Ready(Err(error));
            }
            // Dropped if there are too many, which resets it.
            Poll::Ready(Ok(stream)) => {
                let stream = self.ends.inbound(stream);
                if self.inbound.len() < INBOUND {
                    self.inbound.push_back(stream);
                }
            }
        }
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
        // There may be more, but others have their turn first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests;
