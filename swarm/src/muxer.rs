//! Yamux, tuned.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use futures::{AsyncRead, AsyncWrite};
use libp2p_core::muxing::{StreamMuxer, StreamMuxerEvent};
use yamux::{Config, Connection, Mode};

/// The largest piece of a stream in one frame. With its header it fits into one Noise record.
const FRAME: usize = 65_000;
/// How many streams a connection has at most, as Yamux has it by itself.
const STREAMS: usize = 512;
/// What each of them may have on its way, as the protocol has it.
const WINDOW: usize = 256 * 1024;
/// How much more streams may have on their way, all of a connection together, where the way is long.
/// Yamux takes a queue for a long way and would give them 900 MiB, behind which everything else on
/// the connection waits.
const GROWTH: usize = 4 * 1024 * 1024;
/// The same where the way is short. Within a machine a body that is alone moves as fast with that, and
/// small messages beside large ones wait half as long.
const SHORT_GROWTH: usize = 256 * 1024;
/// Streams that the peer has opened and nobody has asked for yet. Yamux has the peer wait before
/// there are more.
const INBOUND: usize = 256;

/// How far it is to the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// A round trip takes a few milliseconds at most.
    Short,
    Long,
}

impl Way {
    /// How much more than [`WINDOW`] for each of them a connection's streams may have on their way,
    /// all together.
    fn growth(self) -> usize {
        match self {
            Self::Short => SHORT_GROWTH,
            Self::Long => GROWTH,
        }
    }
}

/// The Yamux of libp2p with larger frames, and with one flush for all of them.
///
/// The stock upgrade flushes behind every frame, so that each frame becomes an encrypted record
/// and a system call. This one writes what there is, and flushes when there is no more. To peers
/// it is the same protocol.
pub(crate) struct Muxer<C> {
    connection: Connection<Held<C>>,
    flush: Arc<Flush>,
    inbound: VecDeque<yamux::Stream>,
    /// Who waits for a stream from the peer.
    waiting: Option<Waker>,
}

/// Whether to flush, and whether there is something to flush. Both sides belong to one task.
#[derive(Debug, Default)]
struct Flush {
    now: AtomicBool,
    written: AtomicBool,
}

impl<C> Muxer<C>
where
    C: AsyncRead + AsyncWrite + Unpin + 'static,
{
    pub(crate) fn new(io: C, mode: Mode, way: Way) -> Self {
        let mut config = Config::default();
        config.set_split_send_size(FRAME);
        config.set_max_num_streams(STREAMS);
        config.set_max_connection_receive_window(Some(STREAMS * WINDOW + way.growth()));
        let flush = Arc::<Flush>::default();
        let connection = Connection::new(Held { io, flush: flush.clone() }, config, mode);
        Self { connection, flush, inbound: VecDeque::new(), waiting: None }
    }

    /// Moves bytes both ways, until the peer opens a stream.
    fn poll_connection(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<yamux::Stream>> {
        let mut polled = self.connection.poll_next_inbound(cx);
        if polled.is_pending() && self.flush.written.load(Ordering::Relaxed) {
            self.flush.now.store(true, Ordering::Relaxed);
            polled = self.connection.poll_next_inbound(cx);
            self.flush.now.store(false, Ordering::Relaxed);
        }
        polled.map(|stream| match stream {
            Some(stream) => stream.map_err(io::Error::other),
            None => Err(io::Error::other(yamux::ConnectionError::Closed)),
        })
    }
}

impl<C> StreamMuxer for Muxer<C>
where
    C: AsyncRead + AsyncWrite + Unpin + 'static,
{
    type Substream = yamux::Stream;
    type Error = io::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<yamux::Stream>> {
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
    ) -> Poll<io::Result<yamux::Stream>> {
        self.connection.poll_new_outbound(cx).map_err(io::Error::other)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flush.now.store(true, Ordering::Relaxed);
        self.connection.poll_close(cx).map_err(io::Error::other)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        match self.poll_connection(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            // Dropped if there are too many, which resets it.
            Poll::Ready(Ok(stream)) => {
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

/// A connection that is flushed when it is told to, and not whenever it is asked to.
#[derive(Debug)]
struct Held<C> {
    io: C,
    flush: Arc<Flush>,
}

impl<C: AsyncRead + Unpin> AsyncRead for Held<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Held<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.flush.written.store(true, Ordering::Relaxed);
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.flush.now.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        if flushed.is_ready() {
            self.flush.written.store(false, Ordering::Relaxed);
        }
        flushed
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}
