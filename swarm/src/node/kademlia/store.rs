//! What this node keeps of the table, as libp2p's Kademlia asks for it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::iter::{Empty, empty};

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use libp2p_kad::store::{Error, RecordStore, Result};
use libp2p_kad::{ProviderRecord, Record, RecordKey};
use pointsub_core::network::kademlia::{Providers, ServiceKey};

use crate::clock::Clock;
use crate::node::addresses::ip::{network, no_nearer};
use crate::node::addresses::multiaddr::{of_peer, to_libp2p};
use crate::peer;
use crate::random::random;

/// Who serves something, and nothing else: values are not kept.
pub(in crate::node) struct Store {
    local: PeerId,
    clock: Clock,
    /// What this node itself is listed under.
    own: HashSet<RecordKey>,
    pub(super) providers: Providers,
}

impl Store {
    pub(super) fn new(local: PeerId, clock: Clock) -> Self {
        Self { local, clock, own: HashSet::new(), providers: Providers::new(random()) }
    }

    /// Somebody wants to be listed, who is connected from `remote`.
    pub(super) fn list(&mut self, record: &ProviderRecord, remote: &Multiaddr) {
        let Some(key) = ServiceKey::from_bytes(record.key.as_ref()) else { return };
        let believed = record.addresses.iter().filter(|address| no_nearer(address, remote));
        let addresses = believed.filter_map(|address| of_peer(&record.provider, address)).collect();
        let (provider, now) = (peer::to_core(&record.provider), self.clock.now());
        let listed = self.providers.add(key, provider, network(remote), addresses, now);
        tracing::trace!(target: "pointsub::kademlia", peer = %record.provider, ?key, listed);
    }
}

impl RecordStore for Store {
    type RecordsIter<'a> = Empty<Cow<'a, Record>>;
    type ProvidedIter<'a> = Empty<Cow<'a, ProviderRecord>>;

    fn get(&self, _: &RecordKey) -> Option<Cow<'_, Record>> {
        None
    }

    fn put(&mut self, _: Record) -> Result<()> {
        Err(Error::ValueTooLarge)
    }

    fn remove(&mut self, _: &RecordKey) {}

    fn records(&self) -> Self::RecordsIter<'_> {
        empty()
    }

    /// Only this node lists itself in this way: others are listed by [`list`](Self::list).
    fn add_provider(&mut self, record: ProviderRecord) -> Result<()> {
        if record.provider == self.local {
            self.own.insert(record.key);
        }
        Ok(())
    }

    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        // Where it is, the behaviour knows.
        let own = self.own.contains(key);
        let own = own.then(|| ProviderRecord::new(key.clone(), self.local, Vec::new()));
        let Some(service) = ServiceKey::from_bytes(key.as_ref()) else { return Vec::new() };
        let others = self.providers.of(&service, self.clock.now()).into_iter();
        let others = others.map(|(peer, addresses)| {
            let addresses = addresses.iter().map(to_libp2p).collect();
            ProviderRecord::new(key.clone(), peer::to_libp2p(&peer), addresses)
        });
        own.into_iter().chain(others).collect()
    }

    /// When this node is listed, [`Kademlia`](pointsub_core::network::kademlia::Kademlia) decides.
    fn provided(&self) -> Self::ProvidedIter<'_> {
        empty()
    }

    fn remove_provider(&mut self, key: &RecordKey, provider: &PeerId) {
        if *provider == self.local {
            self.own.remove(key);
        } else if let Some(key) = ServiceKey::from_bytes(key.as_ref()) {
            self.providers.remove(&key, &peer::to_core(provider));
        }
    }
}
