//! The network behaviour: connects, picks the connection for each new stream.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};

use libp2p_core::transport::PortUse;
use libp2p_core::{Endpoint, Multiaddr};
use libp2p_identity::PeerId;
use libp2p_swarm::behaviour::{ConnectionClosed, ConnectionEstablished, DialFailure, FromSwarm};
use libp2p_swarm::{
    CloseConnection, ConnectionDenied, ConnectionError, ConnectionId, NetworkBehaviour,
    NotifyHandler, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use pointsub_core::{ClientConfig, ConfigError, ServerConfig, Verdict};

use super::ConnectError;
use super::addresses::book::is_relayed;
use super::confirmation::{Confirmation, Confirmations, Origin};
use super::dialing::{Connect, Dialing, reason};
use crate::api::client::Client;
use crate::api::client::shared::{ClientHub, OpenCommand};
use crate::api::client::ticket::OpenTicket;
use crate::api::pointsub::PointSub;
use crate::api::server::Server;
use crate::api::server::shared::ServerHub;
use crate::clock::Clock;
use crate::connection::activity::Activity;
use crate::connection::handler::{Handler, Judged, ToHandler};
use crate::connection::negotiation::{Names, WireName};
use crate::peer;
use crate::runtime::Executor;
use crate::timer::Timer;

/// PointSub as a part of any libp2p swarm: put it into a `#[derive(NetworkBehaviour)]` struct,
/// keep the [`client`](Self::client) and [`server`](Self::server) handles, and poll the swarm.
pub struct Behaviour {
    client: Arc<ClientHub>,
    server: Arc<ServerHub>,
    timer: Timer,
    clock: Clock,
    connections: HashMap<PeerId, Vec<Connection>>,
    dialing: Dialing,
    confirmations: Confirmations,
    /// Peers whose connections are looked after although nothing is due on them.
    watched: HashSet<PeerId>,
    listening: Arc<[WireName]>,
    events: VecDeque<ToSwarm<std::convert::Infallible, ToHandler>>,
}

#[derive(Debug)]
struct Connection {
    id: ConnectionId,
    relayed: bool,
    /// Its peer does not answer a probe.
    suspect: bool,
    /// Its peer was not quick to answer somebody who wants to be connected.
    doubtful: bool,
}

impl Connection {
    fn is_alive(&self) -> bool {
        !self.suspect && !self.doubtful
    }
}

impl Behaviour {
    /// A behaviour for the peer `local`. The driver of each connection runs on `executor`, and so do
    /// handlers that do not end at once.
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
        let dialing = Dialing::new(client.connect_timeout(), clock);
        let server = ServerHub::new(server, local, clock, executor);
        Ok(Self {
            client: ClientHub::new(client, local, clock),
            listening: server.names(),
            server,
            timer: Timer::new(clock),
            clock,
            connections: HashMap::new(),
            dialing,
            confirmations: Confirmations::new(clock),
            watched: HashSet::new(),
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

    /// Remembers an address of a peer for dialling it, with or without `/p2p/PEER` at its end. What
    /// other peers say pushes out none of them. At most 16 are kept per peer, of which the least
    /// promising goes first, and 16 384 peers, of which the one named longest ago goes first.
    pub fn add_address(&mut self, peer: PeerId, address: Multiaddr) {
        self.dialing.pin(peer, address);
    }

    /// Remembers an address that a peer says is its own.
    pub(crate) fn learn_address(&mut self, peer: PeerId, address: Multiaddr) {
        self.dialing.learn(peer, address);
    }

    /// From now on, the silence of this peer is noticed although it owes nothing: it does something for
    /// this node, as a relay does.
    pub(crate) fn watch(&mut self, peer: PeerId) {
        self.watched.insert(peer);
        let connections = self.connections.get(&peer).into_iter().flatten();
        for id in connections.map(|one| one.id).collect::<Vec<_>>() {
            self.notify(peer, id, ToHandler::Watch);
        }
    }

    /// Connects to `peer` at an address, to whoever is there if that is `None`. If there is a
    /// connection that serves as well, nothing is dialled.
    pub(crate) fn connect(&mut self, peer: Option<PeerId>, connect: Connect) {
        let relayed = is_relayed(&connect.address);
        let connected = match peer {
            Some(peer) => {
                self.dialing.pin(peer, connect.address.clone());
                let mut connections = self.connections.get(&peer).into_iter().flatten();
                let serves = |one: &&Connection| (relayed || !one.relayed) && one.is_alive();
                connections.rfind(serves).map(|one| (peer, one.id))
            }
            None => self.dialing.who_is_at(&connect.address),
        };
        let alive = connected.filter(|(peer, id)| self.is_alive(peer, *id));
        let Some((found, id)) = alive else { return self.dialing.connect(peer, connect) };
        // A connection may be dead although nobody has said so.
        self.confirm(found, id, connect, Origin::Found);
    }

    /// Asks the peer for a sign of life, for somebody who wants to be connected.
    fn confirm(&mut self, peer: PeerId, id: ConnectionId, connect: Connect, origin: Origin) {
        self.confirmations.add(peer, id, connect, origin, self.clock.now());
        self.notify(peer, id, ToHandler::Probe);
    }

    /// A peer did not give a sign of life in time.
    fn unconfirmed(&mut self, waiting: Confirmation) {
        match waiting.origin {
            // It is slow; a moment ago it was there.
            Origin::Dialled => drop(waiting.connect.done.send(Ok(waiting.peer))),
            Origin::Found => self.dial_anyway(waiting),
        }
    }

    /// A connection has ended on which a sign of life was waited for.
    fn ended(&mut self, waiting: Confirmation, why: Option<&ConnectionError>) {
        let Confirmation { peer, connect, origin, .. } = waiting;
        if origin == Origin::Found || self.connections.contains_key(&peer) {
            return self.connect(Some(peer), connect);
        }
        // A further dial would lead to the same.
        let closed = || "the peer closed the connection at once".to_owned();
        let reason = why.map_or_else(closed, |error| reason::root(error));
        let address = connect.address;
        let _gone = connect.done.send(Err(ConnectError::Unreachable { address, reason }));
    }

    fn connection(&self, peer: &PeerId, id: ConnectionId) -> Option<&Connection> {
        self.connections.get(peer)?.iter().find(|connection| connection.id == id)
    }

    /// A connection is not what somebody hopes for who wants to be connected.
    fn dial_anyway(&mut self, waiting: Confirmation) {
        let connections = self.connections.get_mut(&waiting.peer).into_iter().flatten();
        connections.filter(|c| c.id == waiting.connection).for_each(|c| c.doubtful = true);
        self.dialing.connect(Some(waiting.peer), waiting.connect);
    }

    /// Whether a connection may be relied on.
    fn is_alive(&self, peer: &PeerId, id: ConnectionId) -> bool {
        self.connection(peer, id).is_some_and(Connection::is_alive)
    }

    fn open(&mut self, mut ticket: OpenTicket) {
        let peer = peer::to_libp2p(&ticket.peer);
        if let Some(&Connection { id, relayed, suspect: false, .. }) = self.best_connection(&peer) {
            ticket.relayed = relayed;
            ticket.connection = Some(id);
            self.notify(peer, id, ToHandler::Open(ticket));
            return;
        }
        self.dialing.open(peer, ticket);
    }

    /// Whoever chooses among servers looks at this.
    fn set_online(&self, peer: &PeerId, online: bool) {
        let peer = peer::to_core(peer);
        self.client.with_dispatcher(|dispatcher| dispatcher.set_online(peer, online));
    }

    /// The best of a peer's connections: one that is not suspect before one that is, a direct one
    /// before a relayed one; among equals the newest.
    fn best_connection(&self, peer: &PeerId) -> Option<&Connection> {
        let connections = self.connections.get(peer)?;
        connections.iter().rev().min_by_key(|found| (found.suspect, found.relayed))
    }

    /// There are too many connections to a peer. One that is suspect makes room before one that is
    /// not, the oldest of them.
    pub(crate) fn make_room(&mut self, peer_id: PeerId) {
        let connections = self.connections.get(&peer_id).into_iter().flatten();
        let Some(&Connection { id, suspect, .. }) = connections.min_by_key(|found| !found.suspect)
        else {
            return;
        };
        if suspect {
            self.end_dead(peer_id, id);
        } else {
            let connection = CloseConnection::One(id);
            self.events.push_back(ToSwarm::CloseConnection { peer_id, connection });
        }
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
                self.retire(peer, connection);
                self.notify(peer, connection, ToHandler::Probe);
            }
        }
    }

    /// From now on, requests go elsewhere.
    fn retire(&mut self, peer: PeerId, connection: ConnectionId) {
        self.client.retire_connection(connection);
        // For streams that are being opened.
        self.notify(peer, connection, ToHandler::Retire);
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
            Verdict::Answered => {
                connection.doubtful = false;
                for waiting in self.confirmations.resolve(id) {
                    let _gone = waiting.connect.done.send(Ok(peer));
                }
            }
            Verdict::Suspect => {
                connection.suspect = true;
                self.retire(peer, id);
                for waiting in self.confirmations.resolve(id) {
                    self.dial_anyway(waiting);
                }
                if self.best_connection(&peer).is_some_and(|best| !best.suspect) {
                    self.end_dead(peer, id);
                } else {
                    self.dialing.seek(peer);
                }
            }
            Verdict::Recovered => {
                (connection.suspect, connection.doubtful) = (false, false);
                if self.best_connection(&peer).is_some_and(|best| best.id == id) {
                    self.notify(peer, id, ToHandler::Resume);
                }
                let waiting = self.dialing.stop_waiting(peer);
                waiting.opens.into_iter().for_each(|ticket| self.open(ticket));
                for connect in waiting.connects {
                    let _gone = connect.done.send(Ok(peer));
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

    /// The names that peers are told, two for each protocol.
    pub(crate) fn announced(&self) -> Arc<[WireName]> {
        self.listening.clone()
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
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        let known = |peer| self.dialing.known(connection, &peer, addresses);
        Ok(peer.map(known).unwrap_or_default())
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let connections = self.connections.get(&peer);
        let is_alive = |other| {
            let mut all = connections.into_iter().flatten();
            all.any(|one| one.id == other && one.is_alive())
        };
        self.dialing.admit(connection, peer, address, is_alive)?;
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
                let (id, suspect, doubtful) = (connection_id, false, false);
                let connection = Connection { id, relayed, suspect, doubtful };
                let connections = self.connections.entry(peer_id).or_default();
                connections.push(connection);
                if connections.len() == 1 {
                    self.set_online(&peer_id, true);
                }
                if self.watched.contains(&peer_id) {
                    self.notify(peer_id, connection_id, ToHandler::Watch);
                }
                self.retire_others(peer_id);
                let dialled = endpoint.is_dialer().then(|| endpoint.get_remote_address());
                let waiting = self.dialing.connected(peer_id, connection_id, dialled);
                waiting.opens.into_iter().for_each(|ticket| self.open(ticket));
                let origin = if dialled.is_some() { Origin::Dialled } else { Origin::Found };
                for connect in waiting.connects {
                    self.confirm(peer_id, connection_id, connect, origin);
                }
            }
            FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id, connection_id, cause, ..
            }) => {
                if let Some(connections) = self.connections.get_mut(&peer_id) {
                    connections.retain(|connection| connection.id != connection_id);
                    if connections.is_empty() {
                        self.connections.remove(&peer_id);
                        self.set_online(&peer_id, false);
                    } else if let Some(best) = self.best_connection(&peer_id).map(|best| best.id) {
                        self.notify(peer_id, best, ToHandler::Resume);
                    }
                }
                for waiting in self.confirmations.resolve(connection_id) {
                    self.ended(waiting, cause);
                }
                let last = !self.connections.contains_key(&peer_id);
                self.dialing.closed(peer_id, connection_id, last);
            }
            FromSwarm::DialFailure(DialFailure { error, connection_id, .. }) => {
                self.dialing.failed(connection_id, error);
            }
            FromSwarm::NewExternalAddrOfPeer(found) => {
                self.learn_address(found.peer_id, found.addr.clone());
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
        // Before the client looks at its deadlines: who waits hears of these, and not of a dial that
        // has failed since.
        let now = self.clock.now();
        loop {
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(event);
            }
            match self.client.poll_open(&mut self.timer, cx) {
                Poll::Ready(OpenCommand::Open(ticket)) => self.open(ticket),
                Poll::Ready(OpenCommand::Abandon(wanted)) => self.dialing.abandon(wanted),
                Poll::Pending => break,
            }
        }
        for waiting in self.confirmations.poll(now, cx) {
            self.unconfirmed(waiting);
        }
        self.dialing.poll(now, cx).map(|opts| ToSwarm::Dial { opts })
    }
}
