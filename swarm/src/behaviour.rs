//! The network behaviour: connects, picks the connection for each new stream.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};

use libp2p_core::transport::PortUse;
use libp2p_core::{Endpoint, Multiaddr};
use libp2p_identity::PeerId;
use libp2p_swarm::behaviour::{ConnectionClosed, ConnectionEstablished, DialFailure, FromSwarm};
use libp2p_swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p_swarm::{
    ConnectionDenied, ConnectionId, NetworkBehaviour, NotifyHandler, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use pointsub_core::{ClientConfig, ConfigError, ServerConfig, StreamError};

use crate::address_book::AddressBook;
use crate::client::Client;
use crate::client::hub::{ClientHub, OpenCommand};
use crate::client::ticket::{OpenTicket, Wanted};
use crate::clock::Clock;
use crate::handler::{Handler, ToHandler};
use crate::peer;
use crate::pointsub::PointSub;
use crate::runtime::Executor;
use crate::server::Server;
use crate::server::hub::ServerHub;
use crate::timer::Timer;
use crate::upgrade::{Names, WireName};

/// PointSub as a part of any libp2p swarm: put it into a `#[derive(NetworkBehaviour)]` struct,
/// keep the [`client`](Self::client) and [`server`](Self::server) handles, and poll the swarm.
pub struct Behaviour {
    client: Arc<ClientHub>,
    server: Arc<ServerHub>,
    timer: Timer,
    connections: HashMap<PeerId, Vec<Connection>>,
    /// Peers that are being dialled for the sake of opens.
    dialing: HashMap<PeerId, Dial>,
    addresses: AddressBook,
    listening: Arc<[WireName]>,
    events: VecDeque<ToSwarm<std::convert::Infallible, ToHandler>>,
}

#[derive(Debug)]
struct Connection {
    id: ConnectionId,
    relayed: bool,
}

#[derive(Debug)]
struct Dial {
    id: ConnectionId,
    waiting: Vec<OpenTicket>,
}

impl Behaviour {
    /// A behaviour for the peer `local`. Handlers that do not end at once run on `executor`.
    ///
    /// # Errors
    /// [`ConfigError`] if an option is outside its range.
    pub fn new(
        local: PeerId,
        client: ClientConfig,
        server: ServerConfig,
        executor: Executor,
    ) -> Result<Self, ConfigError> {
        client.validate()?;
        server.validate()?;
        let clock = Clock::start();
        let server = ServerHub::new(server, local, clock, executor);
        Ok(Self {
            client: ClientHub::new(client, local, clock),
            listening: server.names(),
            server,
            timer: Timer::new(clock),
            connections: HashMap::new(),
            dialing: HashMap::new(),
            addresses: AddressBook::default(),
            events: VecDeque::new(),
        })
    }

    /// The handle that sends requests.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.client.clone())
    }

    /// The handle that registers protocols.
    #[must_use]
    pub fn server(&self) -> Server {
        Server::new(self.server.clone())
    }

    /// Both handles as one.
    #[must_use]
    pub fn pointsub(&self) -> PointSub {
        PointSub::new(self.client(), self.server())
    }

    /// Remembers an address of a peer for dialling it. At most 16 are kept per peer, and 4096
    /// peers; the oldest go first.
    pub fn add_address(&mut self, peer: PeerId, address: Multiaddr) {
        self.addresses.add(peer, address);
    }

    fn open(&mut self, mut ticket: OpenTicket) {
        let peer = peer::to_libp2p(&ticket.peer);
        if let Some(&Connection { id, relayed }) = self.best_connection(&peer) {
            ticket.relayed = relayed;
            self.notify(peer, id, ToHandler::Open(ticket));
            return;
        }
        if let Some(dial) = self.dialing.get_mut(&peer) {
            dial.waiting.push(ticket);
            return;
        }
        // Even if somebody else is dialling the peer: a hole that is being punched, for one, takes
        // long to fail. From a port of its own: if two peers dial each other at once from the ports
        // they listen on, TCP makes one connection of it, on which both believe to have dialled.
        let opts = DialOpts::peer_id(peer).condition(PeerCondition::Disconnected);
        let opts = opts.allocate_new_port().build();
        let dial = Dial { id: opts.connection_id(), waiting: vec![ticket] };
        self.dialing.insert(peer, dial);
        self.events.push_back(ToSwarm::Dial { opts });
    }

    /// Whoever chooses among servers looks at this.
    fn set_online(&self, peer: &PeerId, online: bool) {
        let peer = peer::to_core(peer);
        self.client.with_dispatcher(|dispatcher| dispatcher.set_online(peer, online));
    }

    /// Whoever waits for a connection to the peer, which is there or cannot be had.
    fn stop_waiting(&mut self, peer: &PeerId) -> Vec<OpenTicket> {
        self.dialing.remove(peer).map_or_else(Vec::new, |dial| dial.waiting)
    }

    fn abandon(&mut self, wanted: Wanted) {
        // The dial goes on, and serves whoever asks next.
        for dial in self.dialing.values_mut() {
            dial.waiting.retain(|ticket| ticket.wanted != wanted);
        }
    }

    /// A direct connection if there is one; among equals the newest.
    fn best_connection(&self, peer: &PeerId) -> Option<&Connection> {
        let connections = self.connections.get(peer)?;
        connections.iter().rev().min_by_key(|connection| connection.relayed)
    }

    /// Once there is a direct connection, nothing further goes through a relay.
    fn retire_relayed(&mut self, peer: PeerId) {
        let connections = self.connections.get(&peer).map_or(&[][..], Vec::as_slice);
        if connections.iter().all(|connection| connection.relayed) {
            return;
        }
        let relayed: Vec<ConnectionId> =
            connections.iter().filter(|found| found.relayed).map(|found| found.id).collect();
        for connection in relayed {
            self.notify(peer, connection, ToHandler::Retire);
        }
    }

    fn notify(&mut self, peer_id: PeerId, connection: ConnectionId, event: ToHandler) {
        let handler = NotifyHandler::One(connection);
        self.events.push_back(ToSwarm::NotifyHandler { peer_id, handler, event });
    }

    fn announce(&mut self) {
        let names = self.server.names();
        if Arc::ptr_eq(&names, &self.listening) {
            return;
        }
        self.listening = names;
        let all: Vec<(PeerId, ConnectionId)> = self
            .connections
            .iter()
            .flat_map(|(peer, connections)| connections.iter().map(|c| (*peer, c.id)))
            .collect();
        for (peer, connection) in all {
            let names = Names(self.listening.clone());
            self.notify(peer, connection, ToHandler::Listen(names));
        }
    }
}

impl Drop for Behaviour {
    /// Without a swarm no request can come to an end by itself.
    fn drop(&mut self) {
        self.client.abandon();
    }
}

impl std::fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Behaviour")
            .field("peers", &self.connections.len())
            .field("dialing", &self.dialing.len())
            .finish_non_exhaustive()
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = std::convert::Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(peer, self.client.clone(), self.server.clone()))
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        Ok(peer.map(|peer| self.addresses.get(&peer)).unwrap_or_default())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(peer, self.client.clone(), self.server.clone()))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            }) => {
                let connection = Connection { id: connection_id, relayed: endpoint.is_relayed() };
                let connections = self.connections.entry(peer_id).or_default();
                connections.push(connection);
                if connections.len() == 1 {
                    self.set_online(&peer_id, true);
                }
                self.retire_relayed(peer_id);
                for ticket in self.stop_waiting(&peer_id) {
                    self.open(ticket);
                }
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, .. }) => {
                if let Some(connections) = self.connections.get_mut(&peer_id) {
                    connections.retain(|connection| connection.id != connection_id);
                    if connections.is_empty() {
                        self.connections.remove(&peer_id);
                        self.set_online(&peer_id, false);
                    }
                }
            }
            FromSwarm::DialFailure(DialFailure { peer_id: Some(peer), error, connection_id })
                if self.dialing.get(&peer).is_some_and(|dial| dial.id == connection_id) =>
            {
                for ticket in self.stop_waiting(&peer) {
                    ticket.fail(StreamError::Unreachable(Arc::from(error.to_string())));
                }
            }
            FromSwarm::NewExternalAddrOfPeer(found) => {
                self.addresses.add(found.peer_id, found.addr.clone());
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.server.register_swarm(cx.waker());
        self.announce();
        loop {
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(event);
            }
            match self.client.poll_open(&mut self.timer, cx) {
                Poll::Ready(OpenCommand::Open(ticket)) => self.open(ticket),
                Poll::Ready(OpenCommand::Abandon(wanted)) => self.abandon(wanted),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
