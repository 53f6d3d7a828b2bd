//! A node that knows registries: where it is announced, and where it looks for servers.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::StreamExt;
use futures::channel::mpsc::{Receiver, channel};
use futures::future::{AbortHandle, Abortable, BoxFuture};
use futures::stream::FuturesUnordered;
use pointsub_core::Timestamp;
use pointsub_core::network::registry::{Registries, RegistriesFact, RegistriesOrder, RegistryId};
use pointsub_swarm::{
    Discover, Finder, FinderTask, Found, Multiaddr, PeerId, Protocol, ProtocolName, Source,
};
use thiserror::Error;

use super::calls::{Fact, Facts, Said, announce, to_core, watch};
use super::types::{Announcement, MAX_ADDRESSES};
use super::{MESSAGE, RegistryClient};

/// How many registries a node knows.
const REGISTRIES: usize = 16;
/// How many protocols a node announces.
const PROTOCOLS: usize = 128;
/// How long a server stands as found before it is told of again.
const FOUND: Duration = Duration::from_secs(60);
/// How often it is looked whether the load has changed.
const LOOK: Duration = Duration::from_secs(5);
/// By how many thousandths the load has to change to be announced.
const STEP: u32 = 100;
/// How many things that calls have told wait for the task.
const FACTS: usize = 64;

/// Why registries cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RegistryAddressError {
    /// An address does not say who is there.
    #[error("{address} does not end in /p2p/PEER: a registry has to be known by its Peer ID")]
    NoPeer {
        /// The address.
        address: Multiaddr,
    },
    /// There are too many.
    #[error("{count} registries are too many: name {REGISTRIES} at most")]
    TooMany {
        /// How many there are.
        count: usize,
    },
}

/// Among the servers that registries list, and among connected peers. This node is listed there too, with all
/// that it serves, for as long as it serves it. Each address ends in `/p2p/PEER`. Several of one registry
/// may be named.
///
/// Addresses that lead to somewhere nearer than the registry is are neither announced nor dialled: what a
/// registry on the internet lists is dialled on the internet alone.
///
/// A node that serves a registry itself does not announce itself there.
///
/// # Errors
/// [`RegistryAddressError`] if an address does not say who is there, or there are more than 16 registries.
pub fn discover(
    addresses: impl IntoIterator<Item = Multiaddr>,
) -> Result<Discover, RegistryAddressError> {
    let mut known: BTreeMap<PeerId, Vec<Multiaddr>> = BTreeMap::new();
    for address in addresses {
        let Some(Protocol::P2p(peer)) = address.iter().last() else {
            return Err(RegistryAddressError::NoPeer { address });
        };
        known.entry(peer).or_default().push(address);
    }
    if known.len() > REGISTRIES {
        return Err(RegistryAddressError::TooMany { count: known.len() });
    }
    Ok(Discover::source(Source::Registry, move |finder| Task::new(finder, known.clone())))
}

/// A registry that this node knows.
struct Known {
    peer: PeerId,
    addresses: Vec<Multiaddr>,
    said: Arc<Said>,
}

/// Which call: one that announces, or one that watches a protocol.
type Which = (RegistryId, Option<ProtocolName>);

struct Task {
    finder: Finder,
    known: Vec<Known>,
    registries: Registries<Vec<Multiaddr>>,
    calls: FuturesUnordered<BoxFuture<'static, ()>>,
    /// Those that are open, each with its number.
    open: BTreeMap<Which, (u64, AbortHandle)>,
    numbered: u64,
    facts: (Facts, Receiver<(u64, Fact)>),
    began: Instant,
    /// For the next deadline of the machine.
    waiting: Option<(Timestamp, BoxFuture<'static, ()>)>,
    /// Until the load is looked at.
    looking: BoxFuture<'static, ()>,
    load: u32,
}

impl Task {
    fn new(finder: Finder, known: BTreeMap<PeerId, Vec<Multiaddr>>) -> Self {
        let local = finder.local_peer_id();
        let others = known.into_iter().filter(|(peer, _)| *peer != local);
        let known = others.map(|(peer, addresses)| Known { peer, addresses, said: Arc::default() });
        let known: Vec<Known> = known.collect();
        // Nodes have different ids, and so do not all come at the same time.
        let seed = local
            .to_bytes()
            .iter()
            .fold(0_u64, |seed, byte| seed.wrapping_mul(0x0100_0000_01b3) ^ u64::from(*byte));
        Self {
            registries: Registries::new(known.len(), to_core(local), seed),
            known,
            calls: FuturesUnordered::new(),
            open: BTreeMap::new(),
            numbered: 0,
            facts: channel(FACTS),
            began: finder.now(),
            waiting: None,
            looking: finder.sleep(LOOK).boxed(),
            load: 0,
            finder,
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::ZERO + self.finder.now().saturating_duration_since(self.began)
    }

    fn handle(&mut self, fact: Fact) {
        self.registries.handle(fact, self.now());
        while let Some(order) = self.registries.poll_order() {
            match order {
                RegistriesOrder::Announce(registry) => self.open(registry, None),
                RegistriesOrder::Watch(registry, protocol) => self.open(registry, Some(protocol)),
                RegistriesOrder::Withdraw(registry) => self.end(&(registry, None)),
                RegistriesOrder::Unwatch(registry, protocol) => {
                    self.end(&(registry, Some(protocol)));
                }
                RegistriesOrder::Found(peer, protocol, addresses) => {
                    if let Ok(peer) = PeerId::from_bytes(peer.as_bytes()) {
                        let found = Found::new(peer).serving(&protocol).at(addresses);
                        self.finder.found(found.lasting(FOUND));
                    }
                }
                RegistriesOrder::Lost(peer, protocol) => {
                    if let Ok(peer) = PeerId::from_bytes(peer.as_bytes()) {
                        self.finder.lost(peer, Some(&protocol));
                    }
                }
            }
        }
    }

    fn open(&mut self, registry: RegistryId, protocol: Option<ProtocolName>) {
        let Some(known) = self.known.get(registry.0) else { return };
        for address in &known.addresses {
            self.finder.add_address(known.peer, address.clone());
        }
        self.numbered += 1;
        let told = (self.numbered, self.facts.0.clone());
        let client = RegistryClient::peer(self.finder.client(), known.peer).with_limits(MESSAGE);
        let of = (registry, known.peer);
        let call = match protocol.clone() {
            None => announce(client, of, known.said.clone(), told).boxed(),
            Some(protocol) => watch(client, of, protocol, told).boxed(),
        };
        let (abort, registration) = AbortHandle::new_pair();
        self.calls.push(Abortable::new(call, registration).map(|_| ()).boxed());
        self.open.insert((registry, protocol), (self.numbered, abort));
    }

    fn end(&mut self, which: &Which) {
        if let Some((_, abort)) = self.open.remove(which) {
            abort.abort();
        }
    }

    /// A call says what has happened. What one has said that is ended since does not count.
    fn happened(&mut self, call: u64, mut fact: Fact) {
        let (registry, protocol, is_over) = match &fact {
            RegistriesFact::Told(registry, protocol, _) => (*registry, Some(protocol), false),
            RegistriesFact::WatchEnded(registry, protocol) => (*registry, Some(protocol), true),
            RegistriesFact::AnnounceEnded(registry, _) => (*registry, None, true),
            RegistriesFact::Accepted(registry) => (*registry, None, false),
            _ => return,
        };
        let which = (registry, protocol.cloned());
        if self.open.get(&which).is_none_or(|(number, _)| *number != call) {
            return;
        }
        if is_over {
            self.open.remove(&which);
        }
        if let RegistriesFact::Told(_, _, event) = &mut fact
            && let pointsub_core::network::registry::RegistryEvent::Here(_, addresses) = event
        {
            *addresses = self.towards(registry, std::mem::take(addresses));
        }
        self.handle(fact);
    }

    /// Those of some addresses that lead no nearer than a registry.
    fn towards(&self, registry: RegistryId, addresses: Vec<Multiaddr>) -> Vec<Multiaddr> {
        let of_registry = self.known.get(registry.0).into_iter().flat_map(|known| &known.addresses);
        let found = Found::new(self.finder.local_peer_id()).at(addresses);
        let found = of_registry.fold(found, |found, address| found.no_nearer_than(address));
        found.addresses().to_vec()
    }

    /// What this node serves, where it is reached, or how much it has to do is something else now.
    fn say(&mut self) {
        let mut protocols = self.finder.served();
        if protocols.len() > PROTOCOLS {
            let left_out = protocols.len() - PROTOCOLS;
            tracing::warn!(target: "pointsub::registry", left_out, "too many protocols to announce");
            protocols.truncate(PROTOCOLS);
        }
        let protocols: Vec<_> = protocols.iter().map(|name| name.as_str().to_owned()).collect();
        let addresses = self.finder.addresses();
        for n in 0..self.known.len() {
            let mut near = self.towards(RegistryId(n), addresses.clone());
            near.truncate(MAX_ADDRESSES);
            let record = self.finder.sign(near);
            let said = record
                .map(|record| Announcement::new(protocols.clone(), &record).with_load(self.load));
            self.known[n].said.set(said);
        }
        let serves = !protocols.is_empty() && !addresses.is_empty();
        self.handle(Fact::Serves(serves));
    }

    fn look_at_load(&mut self) {
        let load = self.finder.server().stats().load;
        if load.abs_diff(self.load) >= STEP {
            self.load = load;
            self.say();
        }
    }

    fn poll_tasks(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Poll::Ready(task) = self.finder.poll_task(cx) {
            match task {
                Some(FinderTask::LookUp(protocol)) => self.handle(Fact::LookUp(protocol)),
                Some(FinderTask::Forget(protocol)) => self.handle(Fact::Forget(protocol)),
                Some(FinderTask::Changed) => self.say(),
                Some(_) => {}
                None => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    /// Lets time pass for the machine.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) {
        while let Some(due) = self.registries.next_deadline() {
            let now = self.now();
            if due <= now {
                self.handle(Fact::Tick);
                continue;
            }
            if self.waiting.as_ref().is_none_or(|(until, _)| *until != due) {
                self.waiting = Some((due, self.finder.sleep(due.since(now)).boxed()));
            }
            let Some((_, sleep)) = &mut self.waiting else { return };
            if sleep.poll_unpin(cx).is_pending() {
                return;
            }
            self.waiting = None;
        }
    }
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.poll_tasks(cx).is_ready() {
            return Poll::Ready(());
        }
        loop {
            while this.looking.poll_unpin(cx).is_ready() {
                this.looking = this.finder.sleep(LOOK).boxed();
                this.look_at_load();
            }
            this.poll_deadline(cx);
            while let Poll::Ready(Some(())) = this.calls.poll_next_unpin(cx) {}
            match this.facts.1.poll_next_unpin(cx) {
                Poll::Ready(Some((call, fact))) => this.happened(call, fact),
                _ => return Poll::Pending,
            }
        }
    }
}
