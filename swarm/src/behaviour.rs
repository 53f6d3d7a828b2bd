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
    CloseConnection, ConnectionDenied, ConnectionId, NetworkBehaviour, NotifyHandler, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use pointsub_core::{ClientConfig, ConfigError, ServerConfig, StreamError, Verdict};

use crate::activity::Activity;
use crate::address_book::AddressBook;
use crate::client::Client;
use crate::client::hub::{ClientHub, OpenCommand};
use crate::client::ticket::{OpenTicket, Wanted};
use crate::clock::Clock;
use crate::handler::{Handler, Judged, ToHandler};
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
    clock: Clock,
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
    /// Its peer does not answer a probe.
    suspect: bool,
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
            clock,
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
        if let Some(&Connection { id, relayed, suspect: false, .. }) = self.best_connection(&peer) {
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
        self.dial(peer, vec![ticket]);
    }

    /// Dials a peer for those who wait for a connection to it.
    fn dial(&mut self, peer: PeerId, waiting: Vec<OpenTicket>) {
        let opts = DialOpts::peer_id(peer).condition(PeerCondition::Always);
        let opts = opts.allocate_new_port().build();
        self.dialing.insert(peer, Dial { id: opts.connection_id(), waiting });
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

    /// The best of a peer's connections: one that is not suspect before one that is, a direct one
    /// before a relayed one; among equals the newest.
    fn best_connection(&self, peer: &PeerId) -> Option<&Connection> {
        let connections = self.connections.get(peer)?;
        connections.iter().rev().min_by_key(|found| (found.suspect, found.relayed))
    }

    /// Nothing new goes over a connection beside which there is a better one. Its streams end with
    /// the requests that they have. A peer that has made another connection may have lost this one
    /// without a word, and one that is suspect is not waited for.
    fn retire_others(&mut self, peer: PeerId) {
        let Some(best) = self.best_connection(&peer).map(|best| best.id) else { return };
        let connections = self.connections.get(&peer).map_or(&[][..], Vec::as_slice);
        let direct = connections.iter().any(|c| c.id == best && !c.relayed);
        let others: Vec<(ConnectionId, bool)> = connections
            .iter()
            .filter(|found| found.id != best)
            .map(|found| (found.id, found.suspect))
            .collect();
        for (connection, suspect) in others {
            if suspect {
                self.end_dead(peer, connection);
            } else if direct {
                self.notify(peer, connection, ToHandler::Retire);
                self.notify(peer, connection, ToHandler::Probe);
            }
        }
    }

    /// Ends a connection whose peer does not answer.
    fn end_dead(&mut self, peer_id: PeerId, connection: ConnectionId) {
        tracing::debug!(peer = %peer_id, ?connection, "ending a connection whose peer is silent");
        // Its pump drops it without a word. Where there is none, libp2p has to close it.
        self.notify(peer_id, connection, ToHandler::Abort);
        let connection = CloseConnection::One(connection);
        self.events.push_back(ToSwarm::CloseConnection { peer_id, connection });
    }

    /// What a connection says of its peer's silence.
    fn judge(&mut self, peer: PeerId, id: ConnectionId, verdict: Verdict) {
        let connections = self.connections.get_mut(&peer);
        let found = connections.and_then(|all| all.iter_mut().find(|found| found.id == id));
        let Some(connection) = found else { return };
        match verdict {
            Verdict::Probe => {}
            Verdict::Suspect => {
                connection.suspect = true;
                self.notify(peer, id, ToHandler::Retire);
                if self.best_connection(&peer).is_some_and(|best| !best.suspect) {
                    self.end_dead(peer, id);
                } else if !self.dialing.contains_key(&peer) {
                    self.dial(peer, Vec::new());
                }
            }
            Verdict::Recovered => {
                connection.suspect = false;
                if self.best_connection(&peer).is_some_and(|best| best.id == id) {
                    self.notify(peer, id, ToHandler::Resume);
                }
                for ticket in self.stop_waiting(&peer) {
                    self.open(ticket);
                }
            }
            Verdict::Dead => self.end_dead(peer, id),
        }
    }

    /// What runs the streams of a new connection.
    fn handler(&self, peer: PeerId) -> Handler {
        let activity = Arc::new(Activity::new(self.clock));
        Handler::new(peer, self.client.clone(), self.server.clone(), activity)
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
    /// Without a swarm no request can come to an end by itself, and none can arrive.
    fn drop(&mut self) {
        self.client.abandon();
        self.server.abandon();
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
        Ok(self.handler(peer))
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
        Ok(self.handler(peer))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            }) => {
                let relayed = endpoint.is_relayed();
                let connection = Connection { id: connection_id, relayed, suspect: false };
                let connections = self.connections.entry(peer_id).or_default();
                connections.push(connection);
                if connections.len() == 1 {
                    self.set_online(&peer_id, true);
                }
                self.retire_others(peer_id);
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
                    } else if let Some(best) = self.best_connection(&peer_id).map(|best| best.id) {
                        self.notify(peer_id, best, ToHandler::Resume);
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
        peer: PeerId,
        connection: ConnectionId,
        Judged(verdict): THandlerOutEvent<Self>,
    ) {
        self.judge(peer, connection, verdict);
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
