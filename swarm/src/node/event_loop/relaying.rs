//! Places at relays, those that the application has named and those that were found; and the file with
//! the addresses of peers.

use std::io;
use std::path::PathBuf;
use std::thread;

use futures::channel::oneshot;
use futures::future::select;
use libp2p_core::Multiaddr;
use libp2p_core::multiaddr::Protocol;
use libp2p_core::transport::ListenerId;
use libp2p_identify as identify;
use libp2p_identity::PeerId;
use libp2p_swarm::StreamProtocol;
use pointsub_core::Timestamp;

use super::{EventLoop, SAVING, peer_of, relay_of};
use crate::node::addresses::ip::{direct_ip, is_public};
use crate::node::addresses::multiaddr;
use crate::node::events::NodeEvent;
use crate::node::peers::Path;
use crate::node::stored::addresses::{load, save};
use crate::random::random;

/// What a peer says that relays (circuit relay v2).
const HOP: StreamProtocol = StreamProtocol::new("/libp2p/circuit/relay/0.2.0/hop");

impl EventLoop {
    /// When a relay is to be asked for a place.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let named = self.reservations.next_deadline();
        named.into_iter().chain(self.finder.next_deadline()).min()
    }

    /// A peer has told what it is and does.
    pub(super) fn on_identified(&mut self, peer: PeerId, info: identify::Info) {
        if !info.protocols.contains(&HOP) {
            self.finder.withdrawn(&crate::peer::to_core(&peer));
        } else if let Some(circuit) = self.circuit(peer, &info.listen_addrs) {
            let circuit = multiaddr::to_core(&circuit);
            self.finder.offered(crate::peer::to_core(&peer), circuit, self.clock.now());
        }
        let protocols = info.protocols.iter().map(ToString::to_string).collect();
        let (agent, observed) = (info.agent_version, info.observed_addr);
        self.teller.tell(NodeEvent::Identified { peer, protocols, agent, observed });
    }

    /// Where a relay is asked for a place: where this node has dialled it, or at a public address that it
    /// names.
    fn circuit(&self, relay: PeerId, named: &[Multiaddr]) -> Option<Multiaddr> {
        let dialled = self.peers.dialled(&relay, Path::Direct);
        let public = || named.iter().find(|at| direct_ip(at).is_some_and(is_public)).cloned();
        let mut address = dialled.or_else(public)?;
        if peer_of(&address).is_some() {
            address.pop();
        }
        Some(address.with(Protocol::P2p(relay)).with(Protocol::P2pCircuit))
    }

    /// Asks relays that were found for places, if the node needs some.
    pub(super) fn find_relays(&mut self) {
        let now = self.clock.now();
        while let Some((peer, circuit)) = self.finder.due(now) {
            let address = multiaddr::to_libp2p(&circuit);
            self.swarm.behaviour_mut().pointsub.watch(crate::peer::to_libp2p(&peer));
            let listener = self.swarm.listen_on(address.clone()).ok();
            if let Some(id) = listener {
                self.listening.add(id, address, None);
            }
            self.finder.asked(&peer, listener, now, random());
        }
    }

    /// Whether others reach the node directly may have changed.
    pub(super) fn release_relays(&mut self, reachable: bool) {
        for id in self.finder.reachable(reachable, self.clock.now()) {
            self.listening.closed(id);
            self.swarm.remove_listener(id);
        }
    }

    /// A listener has an address. If it is one at a relay, that keeps a place for this node.
    pub(super) fn on_reserved(&mut self, id: ListenerId) {
        self.reservations.up(id, self.clock.now());
        self.finder.up(id);
        if let Some(relay) = self.finder.relay(id) {
            let relay = crate::peer::to_libp2p(&relay);
            self.teller.tell(NodeEvent::RelayReserved { relay, named: false });
        } else if let Some(relay) = self.named_relay(id) {
            self.teller.tell(NodeEvent::RelayReserved { relay, named: true });
        }
    }

    /// A listener has ended. If it was one at a relay, that keeps no place for this node.
    pub(super) fn on_reservation_lost(&mut self, id: ListenerId, reason: &str) {
        let (now, named) = (self.clock.now(), self.named_relay(id));
        let found = self.finder.down(id, now, random()).map(|peer| crate::peer::to_libp2p(&peer));
        self.reservations.down(id, now, random());
        let Some(relay) = named.or(found) else { return };
        tracing::info!(target: "pointsub::relay", %relay, reason, "no place at the relay");
        self.teller.tell(NodeEvent::RelayLost { relay, reason: reason.to_owned() });
    }

    fn named_relay(&self, id: ListenerId) -> Option<PeerId> {
        relay_of(&multiaddr::to_libp2p(&self.reservations.address(id)?))
    }

    /// Reads the file with the addresses of peers. Without it, a node still works.
    pub(in crate::node) fn load_addresses(&mut self) {
        let Some(path) = &self.address_book else { return };
        match load(path) {
            Ok((stored, skipped)) => {
                if skipped > 0 {
                    tracing::warn!(
                        target: "pointsub::storage",
                        path = %path.display(),
                        skipped,
                        "addresses that are no use"
                    );
                }
                let pointsub = &mut self.swarm.behaviour_mut().pointsub;
                stored.into_iter().for_each(|one| pointsub.restore(one));
            }
            Err(error) => {
                tracing::warn!(
                    target: "pointsub::storage",
                    path = %path.display(),
                    %error,
                    "no addresses of peers are known"
                );
            }
        }
    }

    /// Writes that file, on a thread of its own: a disk may take long.
    pub(super) fn save_addresses(
        &self,
        path: PathBuf,
        done: Option<oneshot::Sender<io::Result<()>>>,
    ) {
        let text = self.swarm.behaviour().pointsub.addresses_as_text();
        thread::spawn(move || {
            let saved = save(&path, &text);
            if let Err(error) = &saved {
                tracing::warn!(
                    target: "pointsub::storage",
                    path = %path.display(),
                    %error,
                    "the addresses cannot be saved"
                );
            }
            let _nobody = done.map(|done| done.send(saved));
        });
    }

    /// The same, before the node ends.
    pub(super) fn save_at_last(&self) -> impl Future<Output = ()> + use<> {
        let saving = self.address_book.clone().map(|path| {
            let (done, saved) = oneshot::channel();
            self.save_addresses(path, Some(done));
            select(saved, self.clock.sleep(SAVING))
        });
        async move {
            if let Some(saving) = saving {
                let _late = saving.await;
            }
        }
    }
}
