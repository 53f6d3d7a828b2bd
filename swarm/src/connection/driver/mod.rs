//! Runs the streams of a connection where their bytes are, without detours.
//!
//! libp2p polls a connection's handlers, all of them, then its muxer. Left to itself, whatever the
//! muxer reads for a stream and whatever a stream writes goes round through all of these, though none
//! but the stream and the muxer has anything to do. The [`Pump`] is a task that has the two to itself:
//! wake-ups from within are noted and not passed on, and streams that have something to read are
//! polled right behind the muxer, and the muxer again behind them. The swarm has a [`Pumped`] in place
//! of the muxer, and its task is woken for what it asked for.
//!
//! Nothing depends on it: with a muxer that is not wrapped, streams run all the same.

mod proxy;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::FutureExt;
use futures_timer::Delay;
use libp2p_core::muxing::{StreamMuxer, StreamMuxerBox};

use self::proxy::Desk;
pub(crate) use self::proxy::Pumped;
use super::streams::{Run, Signals};

/// How often muxer and streams take turns before other tasks do.
const ROUNDS: u32 = 4;

/// How long a connection may take to close in good order.
const CLOSING: Duration = Duration::from_secs(10);

/// The task that has the muxer and the streams.
struct Pump {
    muxer: StreamMuxerBox,
    run: Arc<Run>,
    desk: Arc<Desk>,
    /// Wakes for the muxer.
    waker: Waker,
    /// There is room on the desk for a stream of the peer's.
    takes_inbound: bool,
    wants_outbound: bool,
    /// It is to be closed, and this is when that has taken too long.
    closing: Option<Delay>,
}

impl Pump {
    fn new(muxer: StreamMuxerBox, run: Arc<Run>, desk: Arc<Desk>) -> Self {
        // What the swarm has left before there was a pump.
        run.signals.wake(Signals::SWARM);
        Self {
            muxer,
            desk,
            waker: run.signals.waker(Signals::MUXER),
            run,
            takes_inbound: false,
            wants_outbound: false,
            closing: None,
        }
    }

    /// Polls the muxer for everything that the swarm wants, until it is over.
    fn poll_muxer(&mut self) -> Poll<io::Result<()>> {
        if self.run.signals.take(Signals::MUXER | Signals::SWARM) & Signals::SWARM != 0 {
            let papers = self.desk.papers.lock();
            self.takes_inbound = papers.inbound.is_none();
            self.wants_outbound = papers.wants_outbound;
            // Without the swarm there is nobody to wait for it, but the peer is to get everything that
            // was written, and to hear that no more comes.
            if papers.wants_close || papers.over.is_some() {
                self.closing.get_or_insert_with(|| Delay::new(CLOSING));
            }
        }
        if self.run.is_dead() {
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
        // For a muxer that wants to know whose it is.
        self.run.announce();
        if self.takes_inbound
            && let Poll::Ready(stream) = muxer.as_mut().poll_inbound(&mut cx)?
        {
            self.takes_inbound = false;
            self.desk.put(|papers| papers.inbound = Some(stream));
        }
        if self.wants_outbound
            && let Poll::Ready(stream) = muxer.as_mut().poll_outbound(&mut cx)?
        {
            self.wants_outbound = false;
            self.desk.put(|papers| {
                papers.wants_outbound = false;
                papers.outbound = Some(stream);
            });
        }
        // Last: what has given a stream has not seen to it that it is woken for more.
        while let Poll::Ready(event) = muxer.as_mut().poll(&mut cx)? {
            self.desk.put(|papers| papers.event = Some(event));
        }
        Poll::Pending
    }
}

impl Future for Pump {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let signals = this.run.signals.clone();
        signals.start(cx.waker());
        let mut ended = this.run.turn();
        for _ in 0..ROUNDS {
            if let Poll::Ready(over) = this.poll_muxer() {
                this.desk.put(|papers| papers.over = Some(over));
                return Poll::Ready(());
            }
            if signals.any(Signals::STREAMS) {
                ended |= this.run.advance();
            } else if !signals.any(u8::MAX) {
                break;
            }
        }
        signals.rest();
        if ended || signals.begins_to_be_due() {
            // The swarm closes connections that are idle, and watches those on which something is due.
            this.desk.put(|papers| papers.changed = true);
        }
        Poll::Pending
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        let gone = || Err(io::ErrorKind::ConnectionAborted.into());
        self.desk.put(|papers| _ = papers.over.get_or_insert_with(gone));
    }
}

#[cfg(test)]
mod tests;
