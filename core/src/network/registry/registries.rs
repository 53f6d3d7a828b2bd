//! A node that knows registries: when it asks them, and what it makes of what they say.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use super::named::NamedServers;
use super::order::{RegistriesFact, RegistriesOrder, RegistryEvent, RegistryId, RegistryRefusal};
use crate::id::{PeerId, ProtocolName};
use crate::rng::Rng;
use crate::time::Timestamp;

/// How many protocols are watched at a time.
const SERVICES: usize = 256;
/// How long after a call has failed it is opened again. Doubled each time, and half of it is random.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest of these times.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Within which time a call is opened again that was accepted and is lost. If its registry has ended, all other
/// nodes have lost theirs at the same time.
const SPREAD: Duration = Duration::from_secs(5);
/// As if it had failed so often before: what follows is spread as well.
const FAILURES: u32 = 4;
/// How long those are kept whom a registry has listed that is lost. Those that are not there any more cost a
/// dial now and then.
const KEPT: Duration = Duration::from_secs(600);
/// How long those are kept whom a registry has listed before it was lost, and does not list when it is back.
/// Servers need half of that to come back to it. And how long after somebody else has announced the same peer it
/// is announced again.
const MINUTE: Duration = Duration::from_secs(60);

/// The registries that a node knows: see the [module](super).
#[derive(Debug)]
pub struct Registries<A> {
    local: Option<PeerId>,
    serves: bool,
    announcing: Vec<Call>,
    services: BTreeMap<ProtocolName, Service<A>>,
    orders: VecDeque<RegistriesOrder<A>>,
    rng: Rng,
}

/// A call to a registry, and how it is with it.
#[derive(Debug)]
struct Call {
    registry: RegistryId,
    state: State,
    failures: u32,
    /// The registry has answered since it was opened.
    accepted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Open,
    /// It is opened again then.
    Pausing(Timestamp),
}

#[derive(Debug)]
struct Service<A> {
    named: NamedServers<A>,
    watches: Vec<Watch>,
}

/// A protocol at a registry.
#[derive(Debug)]
struct Watch {
    call: Call,
    doubt: Option<Doubt>,
    /// The registry has begun to name all that it lists, and goes on.
    telling: bool,
}

/// Whether those are still there whom a registry has named. They are kept until then.
#[derive(Debug, Clone, Copy)]
enum Doubt {
    /// The registry is lost.
    Lost(Timestamp),
    /// It is back, and servers come back to it.
    Back(Timestamp),
}

impl Watch {
    const fn new(registry: RegistryId) -> Self {
        Self { call: Call::new(registry), doubt: None, telling: false }
    }

    /// When those are forgotten whom the registry does not name. What it has begun to say it says first.
    const fn forgets(&self) -> Option<Timestamp> {
        match self.doubt {
            Some(Doubt::Lost(until)) => Some(until),
            Some(Doubt::Back(until)) if !self.telling => Some(until),
            _ => None,
        }
    }
}

impl Call {
    const fn new(registry: RegistryId) -> Self {
        Self { registry, state: State::Idle, failures: 0, accepted: false }
    }

    const fn answered(&mut self) {
        (self.failures, self.accepted) = (0, true);
    }

    fn ended(&mut self, now: Timestamp, rng: &mut Rng) {
        if core::mem::take(&mut self.accepted) {
            self.failures = FAILURES;
            self.state = State::Pausing(now + rng.between(FIRST_PAUSE / 2, SPREAD));
            return;
        }
        let doubled = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(self.failures.min(16)));
        let longest = doubled.min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        self.state = State::Pausing(now + rng.between(longest / 2, longest));
    }

    const fn due(&self) -> Option<Timestamp> {
        match self.state {
            State::Idle => Some(Timestamp::ZERO),
            State::Open => None,
            State::Pausing(until) => Some(until),
        }
    }

    fn is_due(&self, now: Timestamp) -> bool {
        self.due().is_some_and(|due| due <= now)
    }
}

impl<A: Clone + PartialEq> Registries<A> {
    /// So many registries, numbered from 0. `local` is the own peer, which is not found. The seed spreads
    /// what many nodes do at the same time.
    #[must_use]
    pub fn new(count: usize, local: Option<PeerId>, seed: u64) -> Self {
        Self {
            local,
            serves: false,
            announcing: (0..count).map(|n| Call::new(RegistryId(n))).collect(),
            services: BTreeMap::new(),
            orders: VecDeque::new(),
            rng: Rng::new(seed),
        }
    }

    /// Takes in what has happened.
    pub fn handle(&mut self, fact: RegistriesFact<A>, now: Timestamp) {
        match fact {
            RegistriesFact::LookUp(service) => self.look_up(service),
            RegistriesFact::Forget(service) => self.forget(&service),
            RegistriesFact::Serves(serves) => self.serves(serves),
            RegistriesFact::Accepted(registry) => {
                if let Some(call) = self.announcing.get_mut(registry.0) {
                    call.answered();
                }
            }
            RegistriesFact::AnnounceEnded(registry, why) => {
                self.announce_ended(registry, why, now);
            }
            RegistriesFact::Told(registry, service, event) => {
                self.told(registry, &service, event, now);
            }
            RegistriesFact::WatchEnded(registry, service) => {
                self.watch_ended(registry, &service, now);
            }
            RegistriesFact::Tick => {}
        }
        self.go_on(now);
    }

    /// What to do next; `None` if there is nothing more to do now.
    pub fn poll_order(&mut self) -> Option<RegistriesOrder<A>> {
        self.orders.pop_front()
    }

    /// When to tell it [`RegistriesFact::Tick`] if nothing happens before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let announcing = self.announcing.iter().filter(|_| self.serves).filter_map(Call::due);
        let watches = self.services.values().flat_map(|service| &service.watches);
        let watches = watches.flat_map(|watch| watch.call.due().into_iter().chain(watch.forgets()));
        announcing.chain(watches).min()
    }

    /// Whom registries list for this.
    pub fn servers(&self, service: &str) -> impl Iterator<Item = &PeerId> {
        self.services.get(service).into_iter().flat_map(|service| service.named.peers())
    }

    fn look_up(&mut self, name: ProtocolName) {
        if let Some(service) = self.services.get_mut(&name) {
            let found = service.named.next_turn().into_iter();
            let found =
                found.map(|(peer, about)| RegistriesOrder::Found(peer, name.clone(), about));
            return self.orders.extend(found);
        }
        if self.services.len() < SERVICES {
            let watches = self.announcing.iter().map(|call| Watch::new(call.registry));
            let service = Service { named: NamedServers::new(), watches: watches.collect() };
            self.services.insert(name, service);
        }
    }

    fn forget(&mut self, name: &ProtocolName) {
        let Some(service) = self.services.remove(name) else { return };
        let open = service.watches.iter().filter(|watch| watch.call.state == State::Open);
        let ended = open.map(|watch| RegistriesOrder::Unwatch(watch.call.registry, name.clone()));
        self.orders.extend(ended);
    }

    fn serves(&mut self, serves: bool) {
        self.serves = serves;
        if serves {
            return;
        }
        for call in &mut self.announcing {
            if call.state == State::Open {
                call.state = State::Idle;
                self.orders.push_back(RegistriesOrder::Withdraw(call.registry));
            }
        }
    }

    fn announce_ended(
        &mut self,
        registry: RegistryId,
        why: Option<RegistryRefusal>,
        now: Timestamp,
    ) {
        let Some(call) = self.announcing.get_mut(registry.0) else { return };
        if call.state != State::Open {
            return;
        }
        call.ended(now, &mut self.rng);
        if why == Some(RegistryRefusal::Replaced) {
            call.state = State::Pausing(now + MINUTE);
        }
    }

    fn told(
        &mut self,
        registry: RegistryId,
        name: &ProtocolName,
        event: RegistryEvent<A>,
        now: Timestamp,
    ) {
        let Some(service) = self.services.get_mut(name) else { return };
        let Some(watch) = service.watches.get_mut(registry.0) else { return };
        if watch.call.state != State::Open {
            return;
        }
        match event {
            RegistryEvent::Begin => {
                watch.telling = true;
                service.named.doubt(registry);
            }
            RegistryEvent::Here(peer, about) => {
                if self.local != Some(peer) && service.named.here(registry, peer, about.clone()) {
                    let found = RegistriesOrder::Found(peer, name.clone(), about);
                    self.orders.push_back(found);
                }
            }
            RegistryEvent::Gone(peer) => {
                if service.named.gone(registry, &peer) {
                    self.orders.push_back(RegistriesOrder::Lost(peer, name.clone()));
                }
            }
            RegistryEvent::Complete => {
                watch.call.answered();
                watch.telling = false;
                watch.doubt = match watch.doubt {
                    // It may have begun anew, and list nobody yet.
                    Some(Doubt::Lost(_)) => Some(Doubt::Back(now + MINUTE)),
                    Some(Doubt::Back(until)) if now < until => watch.doubt,
                    _ => {
                        let lost = service.named.sweep(registry).into_iter();
                        let lost = lost.map(|peer| RegistriesOrder::Lost(peer, name.clone()));
                        self.orders.extend(lost);
                        None
                    }
                };
            }
        }
    }

    fn watch_ended(&mut self, registry: RegistryId, name: &ProtocolName, now: Timestamp) {
        let Some(service) = self.services.get_mut(name) else { return };
        let Some(watch) = service.watches.get_mut(registry.0) else { return };
        if watch.call.state == State::Open {
            watch.call.ended(now, &mut self.rng);
            watch.telling = false;
            if !matches!(watch.doubt, Some(Doubt::Lost(_))) {
                watch.doubt = Some(Doubt::Lost(now + KEPT));
            }
            service.named.doubt(registry);
        }
    }

    /// Opens the calls that are due, and forgets whom a registry has listed and does not any more.
    fn go_on(&mut self, now: Timestamp) {
        for call in self.announcing.iter_mut().filter(|call| self.serves && call.is_due(now)) {
            call.state = State::Open;
            self.orders.push_back(RegistriesOrder::Announce(call.registry));
        }
        for (name, service) in &mut self.services {
            for watch in &mut service.watches {
                if watch.call.is_due(now) {
                    watch.call.state = State::Open;
                    let order = RegistriesOrder::Watch(watch.call.registry, name.clone());
                    self.orders.push_back(order);
                }
                if watch.forgets().is_some_and(|until| until <= now) {
                    watch.doubt = None;
                    let lost = service.named.sweep(watch.call.registry).into_iter();
                    let lost = lost.map(|peer| RegistriesOrder::Lost(peer, name.clone()));
                    self.orders.extend(lost);
                }
            }
        }
    }
}
