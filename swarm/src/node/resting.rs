//! Lets the parts of a connection rest that have nothing to do.
//!
//! libp2p polls all handlers of a connection whenever one of them is woken: for every request, those
//! that ping and identify, relay and punch holes too. This polls them if something has happened to
//! them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::task::AtomicWaker;
use libp2p_core::transport::PortUse;
use libp2p_core::{Endpoint, Multiaddr};
use libp2p_identity::PeerId;
use libp2p_swarm::handler::ConnectionEvent;
use libp2p_swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
    NetworkBehaviour, SubstreamProtocol, THandlerInEvent, THandlerOutEvent, ToSwarm,
};

/// A behaviour whose handlers are polled if they were woken or told something, and not otherwise.
#[derive(Debug)]
pub(super) struct Resting<B>(pub(super) B);

/// A handler that rests.
pub(super) struct Handler<H> {
    handler: H,
    signal: Arc<Signal>,
    waker: Waker,
}

/// What has woken a handler.
#[derive(Debug)]
struct Signal {
    /// The connection's.
    task: AtomicWaker,
    /// There is something to do.
    awake: AtomicBool,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.awake.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl<H> Handler<H> {
    fn new(handler: H) -> Self {
        let signal = Arc::new(Signal { task: AtomicWaker::new(), awake: AtomicBool::new(true) });
        Self { handler, waker: signal.clone().into(), signal }
    }

    /// The handler, to be told something.
    fn rouse(&mut self) -> &mut H {
        self.signal.awake.store(true, Ordering::Release);
        &mut self.handler
    }
}

impl<H: ConnectionHandler> ConnectionHandler for Handler<H> {
    type FromBehaviour = H::FromBehaviour;
    type ToBehaviour = H::ToBehaviour;
    type InboundProtocol = H::InboundProtocol;
    type OutboundProtocol = H::OutboundProtocol;
    type InboundOpenInfo = H::InboundOpenInfo;
    type OutboundOpenInfo = H::OutboundOpenInfo;

    fn listen_protocol(&self) -> SubstreamProtocol<H::InboundProtocol, H::InboundOpenInfo> {
        self.handler.listen_protocol()
    }

    fn connection_keep_alive(&self) -> bool {
        self.handler.connection_keep_alive()
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<H::OutboundProtocol, H::OutboundOpenInfo, H::ToBehaviour>>
    {
        self.signal.task.register(cx.waker());
        if !self.signal.awake.swap(false, Ordering::Acquire) {
            return Poll::Pending;
        }
        let polled = self.handler.poll(&mut Context::from_waker(&self.waker));
        if polled.is_ready() {
            // There may be more.
            self.signal.awake.store(true, Ordering::Release);
        }
        polled
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Option<H::ToBehaviour>> {
        self.handler.poll_close(cx)
    }

    fn on_behaviour_event(&mut self, event: H::FromBehaviour) {
        self.rouse().on_behaviour_event(event);
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<
            '_,
            H::InboundProtocol,
            H::OutboundProtocol,
            H::InboundOpenInfo,
            H::OutboundOpenInfo,
        >,
    ) {
        self.rouse().on_connection_event(event);
    }
}

impl<H> fmt::Debug for Handler<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler").field("signal", &self.signal).finish_non_exhaustive()
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for Resting<B> {
    type ConnectionHandler = Handler<B::ConnectionHandler>;
    type ToSwarm = B::ToSwarm;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.0.handle_pending_inbound_connection(id, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<Self::ConnectionHandler, ConnectionDenied> {
        self.0.handle_established_inbound_connection(id, peer, local, remote).map(Handler::new)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.0.handle_pending_outbound_connection(id, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<Self::ConnectionHandler, ConnectionDenied> {
        let handler = self.0.handle_established_outbound_connection(id, peer, address, role, port);
        handler.map(Handler::new)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.0.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.0.on_connection_handler_event(peer, id, event);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.0.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::AtomicUsize;

    use libp2p_core::upgrade::DeniedUpgrade;

    use super::*;

    /// Counts its polls and has something to say in some of them.
    #[derive(Default)]
    struct Counts {
        polls: usize,
        to_say: usize,
        waker: Option<Waker>,
    }

    impl ConnectionHandler for Counts {
        type FromBehaviour = ();
        type ToBehaviour = ();
        type InboundProtocol = DeniedUpgrade;
        type OutboundProtocol = DeniedUpgrade;
        type InboundOpenInfo = ();
        type OutboundOpenInfo = Infallible;

        fn listen_protocol(&self) -> SubstreamProtocol<DeniedUpgrade> {
            SubstreamProtocol::new(DeniedUpgrade, ())
        }

        fn poll(
            &mut self,
            cx: &mut Context<'_>,
        ) -> Poll<ConnectionHandlerEvent<DeniedUpgrade, Infallible, ()>> {
            self.polls += 1;
            self.waker = Some(cx.waker().clone());
            match self.to_say.checked_sub(1) {
                None => Poll::Pending,
                Some(left) => {
                    self.to_say = left;
                    Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(()))
                }
            }
        }

        fn on_behaviour_event(&mut self, (): ()) {}

        fn on_connection_event(
            &mut self,
            _: ConnectionEvent<'_, DeniedUpgrade, DeniedUpgrade, (), Infallible>,
        ) {
        }
    }

    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_handler_is_polled_when_it_was_woken_or_told_something_and_until_it_is_done() {
        let task = Arc::<Task>::default();
        let waker = Waker::from(task.clone());
        let mut handler = Handler::new(Counts::default());
        let pass = |handler: &mut Handler<Counts>| {
            while handler.poll(&mut Context::from_waker(&waker)).is_ready() {}
            std::mem::take(&mut handler.handler.polls)
        };
        assert_eq!(pass(&mut handler), 1, "it has never been polled");
        assert_eq!(pass(&mut handler), 0, "nothing has happened to it");
        handler.on_behaviour_event(());
        assert_eq!(pass(&mut handler), 1, "it was told something");
        handler.handler.to_say = 2;
        assert_eq!(pass(&mut handler), 0, "it does not know yet");
        handler.handler.waker.take().expect("it was polled").wake();
        assert_eq!(task.0.load(Ordering::SeqCst), 1, "so was the connection");
        assert_eq!(pass(&mut handler), 3, "two things to say, and nothing more");
        assert_eq!(pass(&mut handler), 0);
    }
}
