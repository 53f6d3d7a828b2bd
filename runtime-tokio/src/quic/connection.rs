//! A connection, which shares itself among streams.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, ready};
use libp2p_core::muxing::{StreamMuxer, StreamMuxerEvent};
use parking_lot::Mutex;
use quinn::{ConnectionError, RecvStream, SendStream, VarInt};
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use super::stream::{Stream, Unfinished};

/// There is nothing to say about the end of a connection.
const NOTHING: VarInt = VarInt::from_u32(0);
/// How long streams that were closed may take to get through before their QUIC connection ends.
const LINGER: Duration = Duration::from_secs(30);
/// How often it is looked whether the peer was told of the end.
const LOOK: Duration = Duration::from_millis(1);
/// How often at most: a socket that takes nothing for so long takes nothing.
const LOOKS: u32 = 1000;
/// How long after its last words a stream is reset, beside two round trips.
const AFTER_LAST_WORDS: Duration = Duration::from_millis(100);
/// So many streams that were closed are kept in mind before it is looked whether they got through.
const FEW: usize = 16;

type Halves = (SendStream, RecvStream);
type Opened = BoxStream<'static, Result<Halves, ConnectionError>>;

/// A QUIC connection.
///
/// Closing it lets streams get through that were closed before, for up to 30 s, and is done when the
/// peer was told. Dropping it tells the peer too, shortly afterwards, and gives up on all streams.
pub struct Connection {
    inbound: Opened,
    outbound: Opened,
    closing: Option<BoxFuture<'static, ()>>,
    shared: Arc<Shared>,
}

/// What a connection's streams know of it.
pub(super) struct Shared {
    connection: quinn::Connection,
    runtime: Option<Handle>,
    closed: Mutex<Closed>,
}

/// Streams that were closed.
#[derive(Default)]
struct Closed {
    /// Each is there until the peer has all of its stream. Some are.
    acknowledged: Vec<BoxFuture<'static, ()>>,
    /// With how many it is looked which are.
    look_at: usize,
}

impl Connection {
    pub(super) fn new(connection: quinn::Connection) -> Self {
        let accept = |connection: quinn::Connection| async {
            Some((connection.accept_bi().await, connection))
        };
        let open = |connection: quinn::Connection| async {
            Some((connection.open_bi().await, connection))
        };
        Self {
            inbound: futures::stream::unfold(connection.clone(), accept).boxed(),
            outbound: futures::stream::unfold(connection.clone(), open).boxed(),
            closing: None,
            shared: Arc::new(Shared {
                connection,
                runtime: Handle::try_current().ok(),
                closed: Mutex::default(),
            }),
        }
    }
}

impl Shared {
    /// Does not let a connection be closed, in good order, before `acknowledged`.
    pub(super) fn wait_for(&self, acknowledged: BoxFuture<'static, ()>) {
        let mut closed = self.closed.lock();
        if closed.acknowledged.len() >= closed.look_at {
            let mut cx = Context::from_waker(Waker::noop());
            closed.acknowledged.retain_mut(|stream| stream.poll_unpin(&mut cx).is_pending());
            closed.look_at = FEW.max(2 * closed.acknowledged.len());
        }
        closed.acknowledged.push(acknowledged);
    }

    /// Gives the peer the time to read what was written last.
    pub(super) fn drop_later(&self, stream: Unfinished) {
        let Some(runtime) = &self.runtime else { return };
        let time = AFTER_LAST_WORDS + 2 * self.connection.rtt();
        runtime.spawn(async move {
            sleep(time).await;
            drop(stream);
        });
    }

    /// Datagrams in which there was nothing that could get lost and be sent again. There is one when
    /// the connection ends, and none as long as it lasts.
    fn last_datagrams(&self) -> u64 {
        let stats = self.connection.stats();
        stats.udp_tx.datagrams.wrapping_sub(stats.path.sent_packets)
    }

    async fn close(self: Arc<Self>) {
        let all = async {
            loop {
                // More may be closed meanwhile.
                let closed = std::mem::take(&mut self.closed.lock().acknowledged);
                if closed.is_empty() {
                    return;
                }
                futures::future::join_all(closed).await;
            }
        };
        let _in_time = timeout(LINGER, all).await;
        if self.connection.close_reason().is_some() {
            return;
        }
        let before = self.last_datagrams();
        self.connection.close(NOTHING, b"");
        for _ in 0..LOOKS {
            if self.last_datagrams() != before {
                return;
            }
            sleep(LOOK).await;
        }
    }
}

fn lost(error: ConnectionError) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, error)
}

impl StreamMuxer for Connection {
    type Substream = Stream;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        let halves = ready!(self.inbound.poll_next_unpin(cx));
        Poll::Ready(self.stream(halves))
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        let halves = ready!(self.outbound.poll_next_unpin(cx));
        Poll::Ready(self.stream(halves))
    }

    /// The connection is driven by a task of its own.
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        Poll::Pending
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let closing = this.closing.get_or_insert_with(|| this.shared.clone().close().boxed());
        ready!(closing.poll_unpin(cx));
        this.closing = Some(futures::future::ready(()).boxed());
        Poll::Ready(Ok(()))
    }
}

impl Connection {
    fn stream(&self, halves: Option<Result<Halves, ConnectionError>>) -> io::Result<Stream> {
        let halves = halves.ok_or(io::ErrorKind::ConnectionAborted)?;
        Ok(Stream::new(halves.map_err(lost)?, self.shared.clone()))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.connection.close(NOTHING, b"");
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let remote = self.shared.connection.remote_address();
        f.debug_struct("Connection").field("remote", &remote).finish_non_exhaustive()
    }
}
