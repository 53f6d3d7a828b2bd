//! What libp2p asks the behaviour and tells it, as its trait [`NetworkBehaviour`] has it.

use std::task::{Context, Poll};

use libp2p_core::transport::PortUse;
use libp2p_core::{Endpoint, Multiaddr};
use libp2p_identity::PeerId;
use libp2p_swarm::behaviour::{ConnectionClosed, ConnectionEstablished, DialFailure, FromSwarm};
use libp2p_swarm::{
    ConnectionDenied, ConnectionId, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm,
};
use pointsub_core::network::{Address, Fact, Source, Up};

use super::Behaviour;
use crate::api::client::shared::OpenCommand;
use crate::connection::handler::{FromHandler, Handler};
use crate::node::addresses::ip::seen_from;
use crate::node::addresses::multiaddr::{self, of_peer};
use crate::node::dialing::{Surplus, reason};
use crate::node::event_loop::SILENT;
use crate::node::gate::{BehaviourEvent, origin};
use crate::node::telemetry;
use crate::peer;

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = BehaviourEvent;

    fn handle_pending_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.server.admit_address(remote).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let admitted = self.server.admit_peer(&peer, remote, origin(&peer, remote));
        admitted.map_err(ConnectionDenied::new)?;
        Ok(self.handler(peer, remote))
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        let (Some(peer), None) = (peer, self.attempts.get(connection)) else {
            return Ok(Vec::new());
        };
        // Others may use what is known beyond what they have.
        let already: Vec<Address> = addresses.iter().filter_map(|a| of_peer(&peer, a)).collect();
        let known = self.network.addresses(&peer::to_core(&peer)).into_iter();
        let further = known.filter(|address| !already.contains(address));
        Ok(further.map(|address| multiaddr::to_libp2p(&address)).collect())
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let attempt = self.attempts.get(connection);
        match self.network.keeps(attempt, &peer::to_core(&peer), &multiaddr::to_core(address)) {
            true => Ok(self.handler(peer, address)),
            false => Err(ConnectionDenied::new(Surplus(peer))),
        }
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.note_addresses(&event);
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            }) => {
                telemetry::connected(&self.client.telemetry, &peer_id, endpoint);
                self.gate.connected(connection_id, peer_id, endpoint);
                self.connected(peer_id, endpoint);
                let dialled = endpoint.is_dialer().then(|| endpoint.get_remote_address());
                let attempt = self.attempts.end(connection_id).map(|(attempt, _)| attempt);
                self.tell(Fact::Up(Up {
                    connection: connection_id,
                    peer: peer::to_core(&peer_id),
                    relayed: endpoint.is_relayed(),
                    from: seen_from(endpoint),
                    dialled: dialled.map(|address| {
                        of_peer(&peer_id, address).unwrap_or_else(|| multiaddr::to_core(address))
                    }),
                    attempt,
                }));
            }
            FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id,
                connection_id,
                endpoint,
                cause,
                ..
            }) => {
                self.ended_silent = self.aborted.remove(&connection_id).then_some(connection_id);
                self.gate.closed(connection_id);
                let why = cause.map(|error| reason::root(error));
                let told = if self.ended_silent.is_some() { Some(SILENT) } else { why.as_deref() };
                telemetry::closed(&self.client.telemetry, &peer_id, endpoint, told);
                let why = why.map(Into::into);
                self.tell(Fact::Down(connection_id, why));
            }
            FromSwarm::DialFailure(DialFailure { error, connection_id, .. }) => {
                if let Some((attempt, place)) = self.attempts.end(connection_id) {
                    self.tell(Fact::DialFailed(attempt, reason::of_dial(error, &place)));
                }
            }
            FromSwarm::NewExternalAddrOfPeer(found) => {
                self.named(found.peer_id, found.addr, Source::Stranger);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {
            FromHandler::Judged(verdict) => self.tell(Fact::Judged(connection, verdict)),
            FromHandler::Assessed(work) => self.tell(Fact::Assessed(connection, work)),
            FromHandler::Lists(names) => self.identified_as(peer, names),
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.server.register_swarm(cx.waker());
        self.look_at_connections();
        self.announce();
        self.find(cx);
        // Before the client looks at its deadlines: who waits hears of these, and not of a dial that
        // has failed since.
        let now = self.clock.now();
        loop {
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(event);
            }
            match self.client.poll_open(&mut self.timer, cx) {
                Poll::Ready(OpenCommand::Open(ticket)) => self.open(ticket),
                Poll::Ready(OpenCommand::Abandon(wanted)) => self.abandon(wanted),
                Poll::Pending => break,
            }
        }
        self.network.handle(Fact::Tick, now);
        self.carry_out();
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(event);
        }
        if self.network_timer.poll_due(self.network.next_deadline(), cx) {
            // Since then. Those who wait have to be looked at first.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}
