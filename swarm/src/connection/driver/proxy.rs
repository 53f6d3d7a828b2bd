//! What the swarm holds in place of a muxer that a connection driver has.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::task::AtomicWaker;
use libp2p_core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent, SubstreamBox};
use parking_lot::Mutex;

use super::ConnectionDriver;
use crate::connection::streams::StreamSet;
use crate::connection::streams::signals::Signals;

/// A muxer as the swarm has it. It asks the connection driver for what the swarm asks of it.
pub(crate) struct MuxerProxy {
    /// Until a connection driver has it.
    muxer: Option<StreamMuxerBox>,
    shared: Arc<Shared>,
}

/// What the proxy and the connection driver share.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    /// The swarm's task.
    swarm: AtomicWaker,
}

/// What the swarm wants of the muxer, and what it is to get.
#[derive(Default)]
pub(super) struct State {
    pub(super) wants_outbound: bool,
    pub(super) wants_close: bool,
    pub(super) inbound: Option<SubstreamBox>,
    pub(super) outbound: Option<SubstreamBox>,
    pub(super) event: Option<StreamMuxerEvent>,
    /// The swarm is to poll the handler: a stream has ended, or a request has begun.
    pub(super) changed: bool,
    /// How the connection ended.
    pub(super) over: Option<io::Result<()>>,
    /// What wakes the connection driver, once there is one.
    driver: Option<Arc<Signals>>,
}

impl State {
    fn wake_driver(&self) {
        if let Some(driver) = &self.driver {
            driver.wake(Signals::SWARM);
        }
    }
}

impl Shared {
    /// Changes something that the swarm is to see.
    pub(super) fn update(&self, update: impl FnOnce(&mut State)) {
        update(&mut self.state.lock());
        self.swarm.wake();
    }
}

impl MuxerProxy {
    pub(crate) fn wrap(muxer: StreamMuxerBox) -> StreamMuxerBox {
        StreamMuxerBox::new(Self { muxer: Some(muxer), shared: Arc::default() })
    }

    /// Starts a connection driver once the streams of the connection are found. The handler has been
    /// polled right before.
    fn start_driver(&mut self, cx: &Context<'_>) {
        if self.muxer.is_some()
            && let Some(set) = StreamSet::claim(cx)
            && let Some(muxer) = self.muxer.take()
        {
            self.shared.state.lock().driver = Some(set.signals.clone());
            let clock = set.clock.clone();
            clock.spawn(
                "pointsub connection",
                Box::pin(ConnectionDriver::new(muxer, set, self.shared.clone())),
            );
        }
    }

    /// What `find` finds in the shared state. The swarm's task is woken when that changes.
    fn poll_for<T>(
        &self,
        cx: &Context<'_>,
        find: impl FnOnce(&mut State) -> Option<T>,
    ) -> Poll<io::Result<T>> {
        self.shared.swarm.register(cx.waker());
        let mut state = self.shared.state.lock();
        if let Some(found) = find(&mut state) {
            return Poll::Ready(Ok(found));
        }
        let Some(over) = &mut state.over else { return Poll::Pending };
        let gone = Err(io::ErrorKind::ConnectionAborted.into());
        let over = std::mem::replace(over, gone).err();
        Poll::Ready(Err(over.unwrap_or_else(|| io::ErrorKind::ConnectionAborted.into())))
    }
}

impl StreamMuxer for MuxerProxy {
    type Substream = SubstreamBox;
    type Error = io::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<SubstreamBox>> {
        if let Some(muxer) = &mut self.muxer {
            return Pin::new(muxer).poll_inbound(cx);
        }
        self.poll_for(cx, |state| {
            let stream = state.inbound.take()?;
            // There is room for another one.
            state.wake_driver();
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
        self.poll_for(cx, |state| {
            let stream = state.outbound.take();
            if stream.is_none() && !std::mem::replace(&mut state.wants_outbound, true) {
                state.wake_driver();
            }
            stream
        })
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(muxer) = &mut self.muxer {
            return Pin::new(muxer).poll_close(cx);
        }
        self.poll_for(cx, |state| {
            if !std::mem::replace(&mut state.wants_close, true) {
                state.wake_driver();
            }
            // An error is told, once.
            state.over.as_ref()?.as_ref().ok().copied()
        })
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        self.start_driver(cx);
        if let Some(muxer) = &mut self.muxer {
            return Pin::new(muxer).poll(cx);
        }
        self.poll_for(cx, |state| {
            if std::mem::take(&mut state.changed) {
                cx.waker().wake_by_ref();
            }
            state.event.take()
        })
    }
}

impl Drop for MuxerProxy {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.over.get_or_insert(Ok(()));
        state.wake_driver();
    }
}
