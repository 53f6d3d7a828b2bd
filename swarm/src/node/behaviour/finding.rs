//! The behaviour's part in finding servers: it dials candidates, and tells what peers say of themselves.

use std::collections::HashMap;
use std::task::Context;

use libp2p_core::connection::ConnectedPoint;
use libp2p_identity::{Keypair, PeerId};
use libp2p_swarm::{ExternalAddresses, FromSwarm, ListenAddresses};
use pointsub_core::ProtocolName;
use pointsub_core::network::candidates::{CandidateFact, Source as FoundBy};
use pointsub_core::network::{ConnectId, Goal};

use super::Behaviour;
use crate::clock::Clock;
use crate::discovery::{Discover, Finder, Found};
use crate::node::addresses::ip::network;
use crate::peer;
use crate::timer::Timer;

/// What the behaviour remembers for it.
#[derive(Debug)]
pub(super) struct Finding {
    /// Candidates that are being dialled.
    pub(super) dials: HashMap<ConnectId, pointsub_core::PeerId>,
    /// Whether anybody is being dialled, as callers that wait for a server know it.
    dialling: bool,
    listens: ListenAddresses,
    external: ExternalAddresses,
    /// Wakes for the deadlines of the machine.
    timer: Timer,
}

impl Finding {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            dials: HashMap::new(),
            dialling: false,
            listens: ListenAddresses::default(),
            external: ExternalAddresses::default(),
            timer: Timer::new(clock),
        }
    }
}

impl Behaviour {
    /// Looks for servers that nobody has named in these places, and in no others: see [`Discover`].
    /// Default: among connected peers, as far as identify is a part of the swarm.
    pub fn discover(&mut self, discover: Discover) {
        self.client.discover(discover.sources());
        for (source, run) in discover.finders() {
            self.clock.spawn("pointsub finder", run(self.finder(source)));
        }
    }

    /// A further source of servers, until it is dropped.
    #[must_use]
    pub fn finder(&self, source: FoundBy) -> Finder {
        Finder::new(self.client.clone(), self.server(), source)
    }

    /// Signs with this key what sources tell others of this node: a registry takes nothing that is not signed.
    /// A node has its key from the beginning. Returns `false` if it is not the key of the local peer.
    pub fn set_keypair(&mut self, keypair: Keypair) -> bool {
        let is_its = keypair.public().to_peer_id() == self.client.local;
        if is_its {
            self.client.discovery.set_keypair(keypair);
        }
        is_its
    }

    /// A source of the swarm's own, such as its Kademlia, has found somebody. Without a
    /// [`finder`](Self::finder) nobody asks such a source.
    pub fn found(&self, source: FoundBy, found: Found) {
        self.client.found(source, found);
    }

    /// Does what the machine has ordered, and lets time pass for it.
    pub(super) fn find(&mut self, cx: &mut Context<'_>) {
        while let Some((peer, address, by)) = self.client.discovery.take_address() {
            self.named(peer, &address, by);
        }
        loop {
            while let Some(peer) = self.client.discovery.take_verification() {
                let peer = peer::to_core(&peer);
                let id = self.network.connect(Goal::Peer(peer, None), self.clock.now());
                self.finding.dials.insert(id, peer);
                self.carry_out();
            }
            if !self.finding.timer.poll_due(self.client.discovery.next_deadline(), cx) {
                return;
            }
            self.client.tick_discovery();
        }
    }

    pub(super) fn connected(&self, peer: PeerId, endpoint: &ConnectedPoint) {
        let network = network(endpoint.get_remote_address());
        self.client.tell_discovery(CandidateFact::Connected(peer::to_core(&peer), network));
    }

    pub(super) fn disconnected(&self, peer: pointsub_core::PeerId) {
        let known = !self.network.addresses(&peer).is_empty();
        self.client.tell_discovery(CandidateFact::Disconnected(peer, known));
    }

    pub(super) fn identified_as(&self, peer: PeerId, names: Vec<ProtocolName>) {
        self.client.tell_discovery(CandidateFact::Identified(peer::to_core(&peer), names));
    }

    pub(super) fn unreachable(&self, peer: Option<pointsub_core::PeerId>) {
        if let Some(peer) = peer {
            self.client.tell_discovery(CandidateFact::Unreachable(peer));
        }
    }

    /// Whoever waits for a server waits while anybody is being dialled.
    pub(super) fn note_dials(&mut self) {
        let dialling = self.network.sizes().races > 0;
        if dialling != self.finding.dialling {
            self.finding.dialling = dialling;
            self.client.set_dialling(dialling);
        }
    }

    pub(super) fn note_addresses(&mut self, event: &FromSwarm<'_>) {
        let listens = self.finding.listens.on_swarm_event(event);
        let external = self.finding.external.on_swarm_event(event);
        if listens || external {
            let (listens, external) = (self.finding.listens.iter(), self.finding.external.iter());
            self.client.discovery.set_addresses(external.chain(listens).cloned().collect());
        }
    }
}
