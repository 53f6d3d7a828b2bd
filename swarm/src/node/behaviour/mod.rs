//! The behaviour: tells the network machine of the core what happens in the swarm, and carries out
//! what it orders. It decides nothing itself.

mod network_behaviour;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use libp2p_swarm::{CloseConnection, ConnectionId, NotifyHandler, ToSwarm};
use pointsub_core::network::{
    Act, Change, Fact, Goal, KnownAddress, Network, NetworkEvent, OpenId, Order, Source,
};
use pointsub_core::{ClientConfig, ConfigError, ServerConfig};

use super::addresses::multiaddr::{self, of_peer};
use super::dialing::{Attempts, Connect, Connects, reason};
use super::finding::Finding;
use super::gate::{BehaviourEvent, Gate, Step, origin};
use super::stored::addresses::{Stored, text};
use crate::api::client::Client;
use crate::api::client::shared::ClientShared;
use crate::api::client::ticket::{OpenTicket, Wanted};
use crate::api::pointsub::PointSub;
use crate::api::server::Server;
use crate::api::server::shared::ServerShared;
use crate::clock::Clock;
use crate::connection::activity::Activity;
use crate::connection::handler::{Handler, ToHandler};
use crate::connection::negotiation::WireName;
use crate::peer;
use crate::random::random;
use crate::runtime::Runtime;
use crate::telemetry::Telemetry;
use crate::timer::Timer;

/// PointSub as a part of any libp2p swarm: put it into a `#[derive(NetworkBehaviour)]` struct,
/// keep the [`client`](Self::client) and [`server`](Self::server) handles, and poll the swarm.
pub struct Behaviour {
    pub(super) client: Arc<ClientShared>,
    server: Arc<ServerShared>,
    pub(super) clock: Clock,
    /// Wakes for the deadlines of calls.
    timer: Timer,
    pub(super) network: Network<ConnectionId>,
    /// Wakes for the deadlines of the network machine.
    network_timer: Timer,
    /// Dials under way.
    attempts: Attempts,
    /// Those who have called `connect` and wait.
    connects: Connects,
    /// Streams that wait for a connection.
    tickets: HashMap<OpenId, OpenTicket>,
    listening: Arc<[WireName]>,
    /// Connections that are being ended since their peers are silent.
    aborted: HashSet<ConnectionId>,
    /// The connection that has ended last, if it was one of these.
    ended_silent: Option<ConnectionId>,
    gate: Gate,
    /// Servers that nobody has named.
    pub(super) finding: Finding,
    pub(super) events: VecDeque<ToSwarm<BehaviourEvent, ToHandler>>,
}

impl Behaviour {
    /// A behaviour for the peer `local`. The driver of each connection runs on `runtime`, and so do
    /// handlers that do not end at once. An [`Executor`](crate::Executor) is one.
    ///
    /// # Errors
    /// [`ConfigError`] if an option is outside its range.
    pub fn new(
        local: PeerId,
        client: ClientConfig,
        server: ServerConfig,
        runtime: impl Runtime,
    ) -> Result<Self, ConfigError> {
        Self::on(local, client, server, Clock::new(Arc::new(runtime)))
    }

    /// The same on the runtime of a clock.
    pub(super) fn on(
        local: PeerId,
        client: ClientConfig,
        server: ServerConfig,
        clock: Clock,
    ) -> Result<Self, ConfigError> {
        client.validate()?;
        server.validate()?;
        let network = Network::with_seed(client.connect_timeout(), random());
        let server = ServerShared::new(server, local, clock.clone());
        Ok(Self {
            client: ClientShared::new(client, local, clock.clone()),
            listening: server.names(),
            server,
            timer: Timer::new(clock.clone()),
            network,
            network_timer: Timer::new(clock.clone()),
            attempts: Attempts::default(),
            connects: Connects::default(),
            tickets: HashMap::new(),
            aborted: HashSet::new(),
            ended_silent: None,
            gate: Gate::default(),
            finding: Finding::new(clock.clone()),
            clock,
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

    /// Who is told of calls: of those of the client, and of those of the server.
    pub(super) fn telemetry(&self) -> (&Telemetry, &Telemetry) {
        (&self.client.telemetry, &self.server.telemetry)
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
        self.named(peer, &address, Source::Application);
    }

    /// A peer has listed its own addresses on this connection.
    pub(crate) fn identified(&mut self, id: ConnectionId, peer: PeerId, named: &[Multiaddr]) {
        let named = named.iter().filter_map(|address| of_peer(&peer, address)).collect();
        self.tell(Fact::Identified(id, peer::to_core(&peer), named));
    }

    /// From now on, the silence of this peer is noticed although it owes nothing: it does something for
    /// this node, as a relay does.
    pub(crate) fn watch(&mut self, peer: PeerId) {
        self.tell(Fact::Watched(peer::to_core(&peer)));
    }

    /// Connects to `peer` at an address, to whoever is there if that is `None`. If there is a
    /// connection that serves as well, nothing is dialled.
    pub(crate) fn connect(&mut self, peer: Option<PeerId>, connect: Connect) {
        for gone in self.connects.sweep() {
            self.tell(Fact::ConnectAbandoned(gone));
        }
        let goal = match peer {
            Some(peer) => Goal::Peer(peer::to_core(&peer), of_peer(&peer, &connect.address)),
            None => Goal::Address(multiaddr::to_core(&connect.address)),
        };
        let id = self.network.connect(goal, self.clock.now());
        self.connects.insert(id, connect);
        self.carry_out();
    }

    /// The way to a peer and back takes so long.
    pub(crate) fn measured(&mut self, id: ConnectionId, peer: PeerId, rtt: Duration) {
        self.events.push_back(notify(peer, id, ToHandler::Measured(rtt)));
        self.tell(Fact::Measured(id, rtt));
    }

    /// The network is another one, or the machine has slept: see
    /// [`Node::network_changed`](crate::Node::network_changed). A node notices by itself.
    pub fn network_changed(&mut self) {
        self.changed(Change::Network);
    }

    /// All connections may be dead, and all addresses that have failed may lead somewhere.
    pub(crate) fn changed(&mut self, change: Change) {
        self.tell(Fact::Changed(change));
    }

    /// There are too many connections to a peer.
    pub(crate) fn make_room(&mut self, peer: PeerId) {
        self.tell(Fact::Crowded(peer::to_core(&peer)));
    }

    /// The addresses that are known of a peer, the most promising first.
    pub(crate) fn known(&self, peer: PeerId) -> Vec<KnownAddress> {
        self.network.book().known(&peer::to_core(&peer))
    }

    /// All that is worth keeping of addresses.
    pub(crate) fn addresses_as_text(&self) -> String {
        text(self.network.book(), self.clock.now())
    }

    /// What was kept of an address.
    pub(crate) fn restore(&mut self, (peer, known): Stored) {
        self.network.restore(peer, known, self.clock.now());
    }

    /// Whether a connection that has just ended was ended here since its peer was silent.
    pub(crate) fn was_silent(&self, id: ConnectionId) -> bool {
        self.ended_silent == Some(id)
    }

    pub(crate) fn named(&mut self, peer: PeerId, address: &Multiaddr, source: Source) {
        if let Some(address) = of_peer(&peer, address) {
            self.tell(Fact::Named(peer::to_core(&peer), address, source));
        }
    }

    fn open(&mut self, ticket: OpenTicket) {
        let id = self.network.open(ticket.peer, self.clock.now());
        self.tickets.insert(id, ticket);
        self.carry_out();
    }

    fn abandon(&mut self, wanted: Wanted) {
        let found = self.tickets.iter().find(|(_, ticket)| ticket.wanted == wanted);
        if let Some(id) = found.map(|(id, _)| *id) {
            self.tickets.remove(&id);
            self.tell(Fact::OpenAbandoned(id));
        }
    }

    fn tell(&mut self, fact: Fact<ConnectionId>) {
        self.network.handle(fact, self.clock.now());
        self.carry_out();
    }

    pub(super) fn carry_out(&mut self) {
        while let Some(order) = self.network.poll_order() {
            match order {
                Order::Dial { attempt, target, place } => {
                    let opts = self.attempts.begin(attempt, target, place);
                    self.events.push_back(ToSwarm::Dial { opts });
                }
                Order::Connection(peer, id, act) => self.act(peer::to_libp2p(&peer), id, act),
                Order::Connected(id, peer) => {
                    self.finding.dials.remove(&id);
                    self.connects.succeed(id, peer::to_libp2p(&peer));
                }
                Order::ConnectFailed(id, why) => {
                    self.unreachable(self.finding.dials.get(&id).copied());
                    self.finding.dials.remove(&id);
                    self.connects.fail(id, &why);
                }
                Order::OpenFailed(id, why) => {
                    if let Some(ticket) = self.tickets.remove(&id) {
                        self.unreachable(Some(ticket.peer));
                        ticket.fail(reason::of_open(&why));
                    }
                }
                Order::Event(event) => self.note(event),
            }
        }
        self.note_dials();
    }

    fn act(&mut self, peer: PeerId, id: ConnectionId, act: Act) {
        let event = match act {
            Act::Open { open, relayed } => {
                let Some(mut ticket) = self.tickets.remove(&open) else { return };
                (ticket.relayed, ticket.connection) = (relayed, Some(id));
                ToHandler::Open(ticket)
            }
            Act::Retire => {
                self.client.retire_connection(id);
                // For streams that are being opened.
                ToHandler::Retire
            }
            Act::Resume => ToHandler::Resume,
            Act::Probe => ToHandler::Probe,
            Act::Recheck => ToHandler::Recheck,
            Act::Watch => ToHandler::Watch,
            Act::Assess => ToHandler::Assess,
            Act::Close => return self.events.push_back(close(peer, id)),
            Act::Abort => {
                tracing::debug!(
                    target: "pointsub::connection",
                    %peer,
                    ?id,
                    "ending a connection whose peer is silent"
                );
                self.aborted.insert(id);
                // Its driver drops it without a word. Where there is none, libp2p has to close it.
                self.events.push_back(notify(peer, id, ToHandler::Abort));
                return self.events.push_back(close(peer, id));
            }
        };
        self.events.push_back(notify(peer, id, event));
    }

    /// Ends connections that may not stay. Those of whoever is kept out end at once: in good order, they
    /// could take longer than that.
    fn look_at_connections(&mut self) {
        for step in self.gate.look(&self.server) {
            match step {
                Step::Close(peer, id) => self.events.push_back(close(peer, id)),
                Step::KeepOut(peer, event) => {
                    for id in self.network.connections(&peer::to_core(&peer)) {
                        self.events.push_back(notify(peer, id, ToHandler::Abort));
                        self.events.push_back(close(peer, id));
                    }
                    self.events.push_back(ToSwarm::GenerateEvent(event));
                }
            }
        }
    }

    /// Whoever chooses among servers looks at this.
    fn note(&self, event: NetworkEvent) {
        let (peer, online) = match event {
            NetworkEvent::PeerConnected(peer) => (peer, true),
            NetworkEvent::PeerDisconnected(peer) => (peer, false),
            _ => return,
        };
        self.client.set_online(peer, online);
        if !online {
            self.disconnected(peer);
        }
    }

    /// What runs the streams of a new connection.
    fn handler(&self, peer: PeerId, address: &Multiaddr) -> Handler {
        let activity = Arc::new(Activity::new(self.clock.clone()));
        let whose = (peer, origin(&peer, address));
        Handler::new(whose, self.client.clone(), self.server.clone(), activity)
    }

    /// The names that peers are told, two for each protocol.
    pub(crate) fn announced(&self) -> Arc<[WireName]> {
        self.listening.clone()
    }

    fn announce(&mut self) {
        if self.server.take_withdrawn() {
            self.client.discovery.set_served(self.server.served());
        }
        let names = self.server.names();
        if Arc::ptr_eq(&names, &self.listening) {
            return;
        }
        self.listening = names;
        self.client.discovery.set_served(self.server.served());
        self.events.push_back(ToSwarm::GenerateEvent(BehaviourEvent::ServesOthers));
        for peer in self.network.peers() {
            for connection in self.network.connections(peer) {
                let event = notify(peer::to_libp2p(peer), connection, ToHandler::Listen);
                self.events.push_back(event);
            }
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
        f.debug_struct("Behaviour").field("network", &self.network.sizes()).finish_non_exhaustive()
    }
}

fn notify(
    peer_id: PeerId,
    connection: ConnectionId,
    event: ToHandler,
) -> ToSwarm<BehaviourEvent, ToHandler> {
    ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::One(connection), event }
}

fn close(peer_id: PeerId, connection: ConnectionId) -> ToSwarm<BehaviourEvent, ToHandler> {
    ToSwarm::CloseConnection { peer_id, connection: CloseConnection::One(connection) }
}
