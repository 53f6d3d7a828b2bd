//! libp2p's Kademlia, with what a node has to know and to decide around it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p_core::transport::PortUse;
use libp2p_core::{Endpoint, Multiaddr};
use libp2p_identify as identify;
use libp2p_identity::PeerId;
use libp2p_kad as kad;
use libp2p_swarm::behaviour::{
    ConnectionClosed, ConnectionEstablished, DialFailure, ExternalAddrConfirmed,
    ExternalAddrExpired, FromSwarm,
};
use libp2p_swarm::{
    ConnectionDenied, ConnectionId, DialError, NetworkBehaviour, StreamProtocol, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use pointsub_core::network::kademlia::{Kademlia as Machine, KademliaFact, QueryId};

use super::options::{Kademlia, named};
use super::own::Own;
use super::store::Store;
use crate::clock::Clock;
use crate::discovery::Finder;
use crate::node::addresses::ip::no_nearer;
use crate::node::addresses::multiaddr::{of_peer, to_libp2p};
use crate::peer;
use crate::random::random;
use crate::timer::Timer;

/// How long a query may take.
const QUERY: Duration = Duration::from_secs(30);
/// The longest message.
const MESSAGE: usize = 64 * 1024;
/// How many addresses of a node that keeps a part of the table are known there.
const ADDRESSES: usize = 8;
/// How long such an address may be, in bytes.
const ADDRESS_LENGTH: usize = 192;

/// A node's part in the table.
pub(in crate::node) struct Table {
    pub(super) kad: kad::Behaviour<Store>,
    pub(super) machine: Machine,
    pub(super) finder: Finder,
    pub(super) options: Kademlia,
    pub(super) local: PeerId,
    pub(super) clock: Clock,
    timer: Timer,
    protocol: StreamProtocol,
    own: Own,
    /// Queries that are under way.
    pub(super) queries: HashMap<kad::QueryId, QueryId>,
    /// Where each connected peer is seen, and whether it was dialled there.
    pub(super) remotes: HashMap<PeerId, (Multiaddr, bool)>,
    /// Dials of those who are known from the beginning.
    pub(super) dials: HashSet<ConnectionId>,
    /// There was somebody all the time.
    pub(super) rejoined: bool,
    pub(super) events: VecDeque<ToSwarm<(), THandlerInEvent<kad::Behaviour<Store>>>>,
}

impl Table {
    pub(in crate::node) fn new(
        local: PeerId,
        options: Kademlia,
        finder: Finder,
        clock: Clock,
    ) -> Self {
        let protocol = StreamProtocol::try_from_owned(options.secret.protocol())
            .expect("the name begins with a slash");
        let mut config = kad::Config::new(protocol.clone());
        config
            .set_query_timeout(QUERY)
            .set_max_packet_size(MESSAGE)
            .set_record_filtering(kad::StoreInserts::FilterBoth)
            .set_caching(kad::Caching::Disabled)
            // When this node is listed, the machine decides; values are not kept.
            .set_replication_interval(None)
            .set_publication_interval(None)
            .set_provider_publication_interval(None)
            .set_provider_record_ttl(None);
        let store = Store::new(local, clock.clone());
        let mut kad = kad::Behaviour::with_config(local, store, config);
        kad.set_mode(Some(kad::Mode::Client));
        let machine = Machine::new(options.secret.clone(), peer::to_core(&local), random());
        let mut table = Self {
            kad,
            machine,
            finder,
            options,
            local,
            timer: Timer::new(clock.clone()),
            clock,
            protocol,
            own: Own::default(),
            queries: HashMap::new(),
            remotes: HashMap::new(),
            dials: HashSet::new(),
            rejoined: false,
            events: VecDeque::new(),
        };
        table.choose_part();
        table
    }

    /// A peer has said what it is. If it keeps a part of the table, others can be told where it is.
    pub(in crate::node) fn identified(&mut self, peer: PeerId, info: &identify::Info) {
        let Some((remote, dialled)) = self.remotes.get(&peer).cloned() else { return };
        if !info.protocols.contains(&self.protocol) {
            return;
        }
        let believed = info.listen_addrs.iter().filter(|address| no_nearer(address, &remote));
        let of_it = dialled.then_some(&remote).into_iter().chain(believed);
        let of_it = of_it.filter_map(|address| of_peer(&peer, address));
        let of_it = of_it.filter(|address| address.as_bytes().len() <= ADDRESS_LENGTH);
        let now: Vec<_> = of_it.take(ADDRESSES).map(|address| to_libp2p(&address)).collect();
        for address in &now {
            self.kad.add_address(&peer, address.clone());
        }
        if now.is_empty() {
            return;
        }
        for old in self.known(&peer).into_iter().filter(|address| !now.contains(address)) {
            self.kad.remove_address(&peer, &old);
        }
    }

    /// The addresses of a peer in the table.
    fn known(&mut self, peer: &PeerId) -> Vec<Multiaddr> {
        let Some(bucket) = self.kad.kbucket(*peer) else { return Vec::new() };
        let entry = bucket.iter().find(|entry| entry.node.key.preimage() == peer);
        entry.map(|entry| entry.node.value.iter().cloned().collect()).unwrap_or_default()
    }

    /// Whether a connected peer is in the table.
    pub(super) fn any_connected(&mut self) -> bool {
        let remotes = &self.remotes;
        let mut buckets = self.kad.kbuckets();
        buckets.any(|bucket| {
            bucket.iter().any(|entry| remotes.contains_key(entry.node.key.preimage()))
        })
    }

    /// Begins to keep a part of the table, or gives it up, as the node is reached.
    fn choose_part(&mut self) {
        let reachable = self.own.reachable(self.options.on_internet());
        let mode = match self.options.part.keeps(reachable) {
            true => kad::Mode::Server,
            false => kad::Mode::Client,
        };
        if mode != self.kad.mode() {
            tracing::debug!(target: "pointsub::kademlia", %mode, "this node's part is another one");
            self.kad.set_mode(Some(mode));
        }
    }

    /// This node is reached elsewhere. libp2p's Kademlia tells others only of addresses that are confirmed.
    fn note_addresses(&mut self, event: &FromSwarm<'_>) {
        let Some(changes) = self.own.on_swarm_event(event) else { return };
        for addr in &changes.gone {
            let expired = FromSwarm::ExternalAddrExpired(ExternalAddrExpired { addr });
            self.kad.on_swarm_event(expired);
        }
        for addr in &changes.new {
            let confirmed = FromSwarm::ExternalAddrConfirmed(ExternalAddrConfirmed { addr });
            self.kad.on_swarm_event(confirmed);
        }
        self.choose_part();
        if !changes.new.is_empty() || !changes.gone.is_empty() {
            self.tell(KademliaFact::Moved);
        }
    }

    /// A peer cannot be reached. Others are not told of it any more, and it is not asked.
    fn unreachable(&mut self, peer: PeerId, error: &DialError) {
        let is_its = matches!(
            error,
            DialError::Transport(_) | DialError::NoAddresses | DialError::WrongPeerId { .. }
        );
        let stays = self.options.bootstrap.iter().any(|address| named(address) == Some(peer));
        if is_its && !stays && !self.remotes.contains_key(&peer) {
            self.kad.remove_peer(&peer);
        }
    }
}

impl NetworkBehaviour for Table {
    type ConnectionHandler = <kad::Behaviour<Store> as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = ();

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.kad.handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let kad = &mut self.kad;
        kad.handle_established_outbound_connection(connection, peer, address, role, port_use)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if self.dials.contains(&connection) {
            return Ok(Vec::new());
        }
        let known = self.kad.handle_pending_outbound_connection(connection, peer, addresses, role);
        known.map(|known| self.admitted(known))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::NewListenAddr(_)
            | FromSwarm::ExpiredListenAddr(_)
            | FromSwarm::ExternalAddrConfirmed(_)
            | FromSwarm::ExternalAddrExpired(_) => self.note_addresses(&event),
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            }) => {
                self.dials.remove(&connection_id);
                let remote = (endpoint.get_remote_address().clone(), endpoint.is_dialer());
                self.remotes.insert(peer_id, remote);
                self.kad.on_swarm_event(event);
                if !self.known(&peer_id).is_empty() {
                    self.tell(KademliaFact::Joined);
                }
            }
            FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id,
                remaining_established,
                ..
            }) => {
                if remaining_established == 0 {
                    self.remotes.remove(&peer_id);
                }
                self.kad.on_swarm_event(event);
            }
            FromSwarm::DialFailure(DialFailure { peer_id, error, connection_id }) => {
                self.dials.remove(&connection_id);
                self.kad.on_swarm_event(event);
                if let Some(peer) = peer_id {
                    self.unreachable(peer, error);
                }
            }
            event => self.kad.on_swarm_event(event),
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.kad.on_connection_handler_event(peer, connection, event);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            while let Poll::Ready(Some(task)) = self.finder.poll_task(cx) {
                self.on_task(task);
            }
            if std::mem::take(&mut self.rejoined) {
                self.tell(KademliaFact::Joined);
            }
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(event);
            }
            match self.kad.poll(cx) {
                Poll::Ready(ToSwarm::GenerateEvent(event)) => self.on_event(event),
                Poll::Ready(event) => return Poll::Ready(event.map_out(drop)),
                Poll::Pending => {
                    if !self.timer.poll_due(self.machine.next_deadline(), cx) {
                        return Poll::Pending;
                    }
                    self.expire();
                    self.tell(KademliaFact::Tick);
                }
            }
        }
    }
}
