//! Dials peers for all who wait for a connection.
//!
//! Each address is a dial of its own, and a [`Race`] decides when it begins. So a peer that answers
//! in place of another spoils one address and no other, each address has the same time, and one that
//! is learned meanwhile takes part.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::address::Address;
use super::book::AddressBook;
use super::failure::{ConnectFailure, DialError, Failure, OpenFailure};
use super::order::{ConnectId, OpenId, Order, Place, Target};
use super::race::{AttemptId, Race, Step, Turn};
use crate::id::PeerId;
use crate::time::Timestamp;

/// Somebody who wants to be connected.
#[derive(Debug)]
pub(super) struct Connect {
    pub(super) id: ConnectId,
    /// What was named, if that can be dialled.
    pub(super) address: Option<Address>,
}

impl Connect {
    /// Whether a connection through a relay is good enough.
    pub(super) fn takes_relayed(&self) -> bool {
        self.address.as_ref().is_some_and(Address::is_relayed)
    }
}

/// All who wait for one connection.
#[derive(Debug)]
struct Waiting {
    race: Race<Place>,
    waiters: Waiters,
    due: Option<Timestamp>,
}

/// Those who have waited for a connection.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    pub(super) opens: Vec<OpenId>,
    pub(super) connects: Vec<Connect>,
}

/// Whose dial this is.
#[derive(Debug)]
struct Dial {
    target: Target,
    place: Place,
}

/// What a failed dial has shown.
#[derive(Debug)]
pub(super) enum Found {
    /// This peer is at the address.
    At(Address, PeerId),
    /// The peer is connected already.
    Connected(PeerId),
}

#[derive(Debug)]
pub(super) struct Dialing {
    /// How long one address may take.
    limit: Duration,
    pub(super) book: AddressBook,
    races: BTreeMap<Target, Waiting>,
    /// By when they have to be looked at.
    due: BTreeSet<(Timestamp, Target)>,
    /// Each dial until it has succeeded or failed, also when nobody waits for it any more.
    dials: BTreeMap<AttemptId, Dial>,
    next: AttemptId,
}

type Orders<K> = VecDeque<Order<K>>;

impl Dialing {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            book: AddressBook::default(),
            races: BTreeMap::new(),
            due: BTreeSet::new(),
            dials: BTreeMap::new(),
            next: AttemptId::default(),
        }
    }

    /// How many races run, how many wait for their ends, and how many dials there are.
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        let waiters = |one: &Waiting| one.waiters.opens.len() + one.waiters.connects.len();
        (self.races.len(), self.races.values().map(waiters).sum(), self.dials.len())
    }

    /// Whether this dial has neither succeeded nor failed.
    pub(super) fn is_dialling(&self, attempt: AttemptId) -> bool {
        self.dials.contains_key(&attempt)
    }

    /// A stream waits for a connection.
    pub(super) fn open<K>(
        &mut self,
        peer: PeerId,
        open: OpenId,
        now: Timestamp,
        orders: &mut Orders<K>,
    ) {
        self.race(&Target::Peer(peer)).waiters.opens.push(open);
        self.drive(Target::Peer(peer), now, orders);
    }

    /// Another connection to the peer is wanted, although nobody waits for it yet.
    pub(super) fn seek<K>(&mut self, peer: PeerId, now: Timestamp, orders: &mut Orders<K>) {
        self.race(&Target::Peer(peer));
        self.drive(Target::Peer(peer), now, orders);
    }

    /// Somebody wants to be connected.
    pub(super) fn connect<K>(
        &mut self,
        target: Target,
        connect: Connect,
        now: Timestamp,
        orders: &mut Orders<K>,
    ) {
        let named = connect.address.clone();
        let waiting = self.race(&target);
        waiting.waiters.connects.push(connect);
        if let Some(address) = named {
            waiting.race.add(Place::At(address), Turn::Now);
        }
        self.drive(target, now, orders);
    }

    /// An address takes part in the race that runs, if one does.
    pub(super) fn join<K>(
        &mut self,
        peer: PeerId,
        address: Address,
        now: Timestamp,
        orders: &mut Orders<K>,
    ) {
        if let Some(waiting) = self.races.get_mut(&Target::Peer(peer)) {
            add(&mut waiting.race, address);
            self.drive(Target::Peer(peer), now, orders);
        }
    }

    /// Nobody waits any more. The dial goes on, and serves whoever asks next.
    pub(super) fn abandon_open(&mut self, open: OpenId) {
        self.races.values_mut().for_each(|one| one.waiters.opens.retain(|other| *other != open));
    }

    /// Likewise.
    pub(super) fn abandon_connect(&mut self, connect: ConnectId) {
        let waiting = self.races.values_mut();
        waiting.for_each(|one| one.waiters.connects.retain(|other| other.id != connect));
    }

    /// A dial has led to a connection. Returns the address if it was one to whoever is there.
    pub(super) fn succeeded(&mut self, attempt: AttemptId) -> Option<Address> {
        match self.dials.remove(&attempt)?.target {
            Target::Address(address) => Some(address),
            Target::Peer(_) => None,
        }
    }

    /// There is a connection that serves. Returns who waits for it.
    pub(super) fn stop(&mut self, target: &Target) -> Waiters {
        let Some(waiting) = self.races.remove(target) else { return Waiters::default() };
        if let Some(due) = waiting.due {
            self.due.remove(&(due, target.clone()));
        }
        waiting.waiters
    }

    /// Who waits for a peer. The race goes on; [`put_back`](Self::put_back) has to follow.
    pub(super) fn take_waiters(&mut self, peer: PeerId) -> Waiters {
        let waiting = self.races.get_mut(&Target::Peer(peer));
        waiting.map(|waiting| core::mem::take(&mut waiting.waiters)).unwrap_or_default()
    }

    /// These still wait. Without any, the race is over.
    pub(super) fn put_back<K>(
        &mut self,
        peer: PeerId,
        waiters: Waiters,
        now: Timestamp,
        orders: &mut Orders<K>,
    ) {
        let target = Target::Peer(peer);
        if waiters.opens.is_empty() && waiters.connects.is_empty() {
            self.stop(&target);
        } else if let Some(waiting) = self.races.get_mut(&target) {
            waiting.waiters = waiters;
            self.drive(target, now, orders);
        }
    }

    /// A dial has failed. What that shows of a peer is still to be made use of.
    pub(super) fn failed<K>(
        &mut self,
        attempt: AttemptId,
        why: Option<DialError>,
        now: Timestamp,
        orders: &mut Orders<K>,
    ) -> Option<Found> {
        let Dial { target, place } = self.dials.remove(&attempt)?;
        let waiting = self.races.get_mut(&target)?;
        // Of an attempt that was late or came second, nothing more can be said.
        if !waiting.race.failed(attempt, why.clone()) {
            return None;
        }
        match (&target, &place, why) {
            (Target::Address(address), _, Some(DialError::Surplus(peer))) => {
                return Some(Found::At(address.clone(), peer));
            }
            (Target::Peer(_), _, Some(DialError::Surplus(peer))) => {
                return Some(Found::Connected(peer));
            }
            (Target::Address(_), _, Some(DialError::OwnPeer)) => {
                for connect in self.stop(&target).connects {
                    orders.push_back(Order::ConnectFailed(connect.id, ConnectFailure::SelfDial));
                }
            }
            (Target::Peer(peer), Place::At(address), Some(why)) => {
                self.book.failed(peer, address, why.is_wrong(), now);
            }
            _ => {}
        }
        self.drive(target, now, orders);
        None
    }

    /// Time has passed.
    pub(super) fn tick<K>(&mut self, now: Timestamp, orders: &mut Orders<K>) {
        self.book.expire(now);
        while let Some((due, target)) = self.due.first()
            && *due <= now
        {
            self.drive(target.clone(), now, orders);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let due = self.due.first().map(|(due, _)| *due);
        due.into_iter().chain(self.book.next_deadline()).min()
    }

    /// The race that runs, or a new one of all that is known.
    fn race(&mut self, target: &Target) -> &mut Waiting {
        let (limit, book) = (self.limit, &self.book);
        self.races.entry(target.clone()).or_insert_with(|| {
            let mut race = Race::new(limit);
            if let Target::Peer(peer) = target {
                book.of(peer).into_iter().for_each(|address| add(&mut race, address));
                race.add(Place::Elsewhere, Turn::Last);
            }
            Waiting { race, waiters: Waiters::default(), due: None }
        })
    }

    /// Carries out what a race wants.
    fn drive<K>(&mut self, target: Target, now: Timestamp, orders: &mut Orders<K>) {
        let Some(waiting) = self.races.get_mut(&target) else { return };
        while let Some(step) = waiting.race.poll(now, &mut self.next) {
            match step {
                Step::Start(attempt, place) => {
                    let dial = Dial { target: target.clone(), place: place.clone() };
                    self.dials.insert(attempt, dial);
                    orders.push_back(Order::Dial { attempt, target: target.clone(), place });
                }
                Step::Lost(failures) => return self.lost(&target, failures, now, orders),
            }
        }
        let due = waiting.race.next_deadline();
        if let Some(due) = core::mem::replace(&mut waiting.due, due) {
            self.due.remove(&(due, target.clone()));
        }
        self.due.extend(due.map(|due| (due, target)));
    }

    /// No address is left.
    fn lost<K>(
        &mut self,
        target: &Target,
        failures: Vec<Failure>,
        now: Timestamp,
        orders: &mut Orders<K>,
    ) {
        let Waiters { opens, connects } = self.stop(target);
        let mut known = false;
        if let Target::Peer(peer) = target {
            known = self.book.knows(peer);
            for Failure { address, why } in &failures {
                if let (Place::At(address), DialError::TimedOut(_)) = (address, why) {
                    self.book.failed(peer, address, false, now);
                }
            }
        }
        for connect in connects {
            let why = connect_failure(connect.address, &failures);
            orders.push_back(Order::ConnectFailed(connect.id, why));
        }
        if opens.is_empty() {
            return;
        }
        let why = match failures.is_empty() {
            true if !known => OpenFailure::NoAddress,
            true => OpenFailure::Gone,
            false => OpenFailure::Unreachable(Arc::from(failures)),
        };
        orders.extend(opens.into_iter().map(|open| Order::OpenFailed(open, why.clone())));
    }
}

fn add(race: &mut Race<Place>, address: Address) {
    let turn = if address.is_relayed() { Turn::Last } else { Turn::InOrder };
    race.add(Place::At(address), turn);
}

/// What is told to somebody who named an address: first of that one, then of the others.
fn connect_failure(address: Option<Address>, failures: &[Failure]) -> ConnectFailure {
    let place = address.map(Place::At);
    let (named, others): (Vec<_>, Vec<_>) =
        failures.iter().cloned().partition(|failure| Some(&failure.address) == place.as_ref());
    let named = named.into_iter().next().map(|failure| failure.why);
    let is_late = |failure: &Failure| matches!(failure.why, DialError::TimedOut(_));
    match named {
        Some(DialError::TimedOut(after)) if others.iter().all(is_late) => {
            ConnectFailure::TimedOut(after)
        }
        named => ConnectFailure::Unreachable { named, others },
    }
}
