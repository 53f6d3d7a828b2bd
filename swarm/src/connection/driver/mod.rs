//! Runs the muxer of a connection and its streams in one task of their own.
//!
//! libp2p polls all handlers of a connection, then its muxer, in the connection's task. There, all
//! of them are polled for every byte that the muxer reads for a stream and for every byte that a
//! stream writes, although only the stream and the muxer have anything to do. The
//! [`ConnectionDriver`] is a task that has only these two. It notes which of them was woken. It
//! polls the streams for which the muxer has read right after the muxer, and then the muxer again.
//! The swarm has a [`MuxerProxy`] in place of the muxer.
//!
//! The proxy finds the streams of its connection when the swarm polls it for the first time:
//! [`StreamSet::claim`]. In a swarm without a [`Behaviour`](crate::Behaviour) it finds none, and the
//! swarm's calls go straight to the muxer. Streams whose muxer has no proxy run in their handler.

mod proxy;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::FutureExt;
use libp2p_core::muxing::{StreamMuxer, StreamMuxerBox};

pub(crate) use self::proxy::MuxerProxy;
use self::proxy::Shared;
use super::streams::StreamSet;
use super::streams::signals::Signals;
use crate::clock::Sleep;

/// How often a connection and its streams are polled in a row before other tasks are.
const ROUNDS: u32 = 4;

/// How long a connection may take to send all that was written and to tell its peer that it closes.
const CLOSING: Duration = Duration::from_secs(10);

/// The task that has the muxer and the streams.
struct ConnectionDriver {
    muxer: StreamMuxerBox,
    streams: Arc<StreamSet>,
    shared: Arc<Shared>,
    /// Wakes for the muxer.
    waker: Waker,
    /// The swarm takes another stream of the peer's.
    takes_inbound: bool,
    wants_outbound: bool,
    /// The connection is to be closed, and this is when that has taken too long.
    closing: Option<Sleep>,
}

impl ConnectionDriver {
    fn new(muxer: StreamMuxerBox, streams: Arc<StreamSet>, shared: Arc<Shared>) -> Self {
        // The swarm may have asked for something before there was a driver.
        streams.signals.wake(Signals::SWARM);
        Self {
            muxer,
            shared,
            waker: streams.signals.waker(Signals::MUXER),
            streams,
            takes_inbound: false,
            wants_outbound: false,
            closing: None,
        }
    }

    /// Polls the muxer for everything that the swarm wants. Ready when the connection is over.
    fn poll_muxer(&mut self) -> Poll<io::Result<()>> {
        if self.streams.signals.take(Signals::MUXER | Signals::SWARM) & Signals::SWARM != 0 {
            self.read_wishes();
        }
        if self.streams.is_aborted() {
            let text = "nothing was heard of the peer for too long";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)));
        }
        let mut cx = Context::from_waker(&self.waker);
        let mut muxer = Pin::new(&mut self.muxer);
        if let Some(limit) = &mut self.closing {
            if limit.poll_unpin(&mut cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            return muxer.poll_close(&mut cx);
        }
        // The muxer asks whose it is.
        self.streams.announce(&cx);
        if self.takes_inbound
            && let Poll::Ready(stream) = muxer.as_mut().poll_inbound(&mut cx)?
        {
            self.takes_inbound = false;
            self.shared.update(|state| state.inbound = Some(stream));
        }
        if self.wants_outbound
            && let Poll::Ready(stream) = muxer.as_mut().poll_outbound(&mut cx)?
        {
            self.wants_outbound = false;
            self.shared.update(|state| {
                state.wants_outbound = false;
                state.outbound = Some(stream);
            });
        }
        // Last, because a call that returned a stream did not arrange a wake-up for the next one.
        while let Poll::Ready(event) = muxer.as_mut().poll(&mut cx)? {
            self.shared.update(|state| state.event = Some(event));
        }
        Poll::Pending
    }

    /// Takes over what the swarm wants.
    fn read_wishes(&mut self) {
        let state = self.shared.state.lock();
        self.takes_inbound = state.inbound.is_none();
        self.wants_outbound = state.wants_outbound;
        // When the swarm is gone nobody waits for the end. But the peer is to get everything that was
        // written, and to be told that no more comes.
        if state.wants_close || state.over.is_some() {
            let clock = &self.streams.clock;
            self.closing.get_or_insert_with(|| clock.sleep(CLOSING));
        }
    }
}

impl Future for ConnectionDriver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let signals = this.streams.signals.clone();
        signals.start(cx.waker());
        let mut ended = this.streams.resume();
        for _ in 0..ROUNDS {
            if let Poll::Ready(over) = this.poll_muxer() {
                this.shared.update(|state| state.over = Some(over));
                return Poll::Ready(());
            }
            if signals.any(Signals::STREAMS) {
                ended |= this.streams.advance();
            } else if !signals.any(u8::MAX) {
                break;
            }
        }
        signals.rest();
        if ended || signals.begins_to_be_due() {
            // The swarm closes connections that are idle, and watches those on which something is due.
            this.shared.update(|state| state.changed = true);
        }
        Poll::Pending
    }
}

impl Drop for ConnectionDriver {
    fn drop(&mut self) {
        let gone = || Err(io::ErrorKind::ConnectionAborted.into());
        self.shared.update(|state| _ = state.over.get_or_insert_with(gone));
    }
}

#[cfg(test)]
mod tests;
