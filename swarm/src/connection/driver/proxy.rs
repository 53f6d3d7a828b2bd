//! What the swarm has in place of a muxer that a pump has.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::task::AtomicWaker;
use libp2p_core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent, SubstreamBox};
use parking_lot::Mutex;

use super::Pump;
use crate::connection::streams::{Run, Signals};

/// Runs a future on a task of its own.
type Spawn = fn(BoxFuture<'static, ()>);

/// A muxer as the swarm has it.
pub(crate) struct Pumped {
    /// Until a pump has it.
    muxer: Option<StreamMuxerBox>,
    spawn: Spawn,
    desk: Arc<Desk>,
}

/// Where the swarm leaves what it wants of the muxer, and finds what it got.
#[derive(Default)]
pub(super) struct Desk {
    pub(super) papers: Mutex<Papers>,
    /// Who asks.
    swarm: AtomicWaker,
}

/// What lies on a desk.
#[derive(Default)]
pub(super) struct Papers {
    pub(super) wants_outbound: bool,
    pub(super) wants_close: bool,
    pub(super) inbound: Option<SubstreamBox>,
    pub(super) outbound: Option<SubstreamBox>,
    pub(super) event: Option<StreamMuxerEvent>,
    /// The swarm is to have a look: a stream has ended, or a request has begun.
    pub(super) changed: bool,
    /// How it ended.
    pub(super) over: Option<io::Result<()>>,
    /// What wakes the pump, once there is one.
    pump: Option<Arc<Signals>>,
}

impl Papers {
    /// Has the pump look.
    fn left(&self) {
        if let Some(pump) = &self.pump {
            pump.wake(Signals::SWARM);
        }
    }
}

impl Desk {
    /// Leaves something for the swarm.
    pub(super) fn put(&self, put: impl FnOnce(&mut Papers)) {
        put(&mut self.papers.lock());
        self.swarm.wake();
    }
}

impl Pumped {
    pub(crate) fn wrap(muxer: StreamMuxerBox, spawn: Spawn) -> StreamMuxerBox {
        StreamMuxerBox::new(Self { muxer: Some(muxer), spawn, desk: Arc::default() })
    }

    /// Once the streams of its connection are found, a pump has the muxer.
    fn pump(&mut self) {
        if self.muxer.is_some()
            && let Some(run) = Run::take_last()
            && let Some(muxer) = self.muxer.take()
        {
            self.desk.papers.lock().pump = Some(run.signals.clone());
            (self.spawn)(Box::pin(Pump::new(muxer, run, self.desk.clone())));
        }
    }

    /// Looks for something on the desk, and asks for it if it is not there.
    fn look<T>(
        &self,
        cx: &Context<'_>,
        look: impl FnOnce(&mut Papers) -> Option<T>,
    ) -> Poll<io::Result<T>> {
        self.desk.swarm.register(cx.waker());
        let mut papers = self.desk.papers.lock();
        if let Some(found) = look(&mut papers) {
            return Poll::Ready(Ok(found));
        }
        let Some(over) = &mut papers.over else { return Poll::Pending };
        let gone = Err(io::ErrorKind::ConnectionAborted.into());
        let over = std::mem::replace(over, gone).err();
        Poll::Ready(Err(over.unwrap_or_else(|| io::ErrorKind::ConnectionAborted.into())))
    }
}

impl StreamMuxer for Pumped {
    type Substream = SubstreamBox;
    type Error = io::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<SubstreamBox>> {
        if let Some(muxer) = &mut self.muxer {
            return Pin::new(muxer).poll_inbound(cx);
        }
        self.look(cx, |papers| {
            let stream = papers.inbound.take()?;
            // There is room for another.
            papers.left();
            Some(stream)
        })
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<SubstreamBox>> {
        if let Some(muxer) = &mut self.muxer {
            return Pin::new(muxer).poll_outbound(cx);
        }
        self.look(cx, |papers| {
            let stream = papers.outbound.take();
            if stream.is_none() && !std::mem::replace(&mut papers.wants_outbound, true) {
                papers.left();
            }
            stream
        })
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(muxer) = &mut self.muxer {
            return Pin::new(muxer).poll_close(cx);
        }
        self.look(cx, |papers| {
            if !std::mem::replace(&mut papers.wants_close, true) {
                papers.left();
            }
            // An error is told, once.
            papers.over.as_ref()?.as_ref().ok().copied()
        })
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        // The handler has been polled right before this.
        self.pump();
        if let Some(muxer) = &mut self.muxer {
            return Pin::new(muxer).poll(cx);
        }
        self.look(cx, |papers| {
            if std::mem::take(&mut papers.changed) {
                cx.waker().wake_by_ref();
            }
            papers.event.take()
        })
    }
}

impl Drop for Pumped {
    fn drop(&mut self) {
        let mut papers = self.desk.papers.lock();
        papers.over.get_or_insert(Ok(()));
        papers.left();
    }
}
