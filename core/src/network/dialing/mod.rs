//! Dials peers for all who wait for a connection.
//!
//! Each address is a dial of its own, and a [`Race`] decides when it begins. So a peer that answers
//! in place of another spoils one address and no other, each address has the same time, and one that
//! is learned meanwhile takes part.

pub(crate) mod failure;
pub(crate) mod race;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use self::failure::{ConnectFailure, DialError, Failure, OpenFailure};
use self::race::{AttemptId, Prospect, Race, Step, Turn};
use super::addresses::address::Address;
use super::addresses::book::{AddressBook, Hint};
use super::order::{Change, ConnectId, OpenId, Order, Place, Target};
use crate::id::PeerId;
use crate::rng::Rng;
use crate::time::Timestamp;

/// How many dials there may be at a time, of all peers.
const DIALS: usize = 256;
/// When there are so many, each peer has one at a time.
const CROWDED: usize = 128;
/// When there are so many, none begins for which nobody waits.
const BUSY: usize = 64;
/// How long an address that has failed is left alone, unless somebody asks for it. Doubled with each
/// failure in a row.
const FIRST_REST: Duration = Duration::from_millis(100);
/// The longest of these times.
const LONGEST_REST: Duration = Duration::from_secs(2);

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
    /// Its place in the line of those that would dial if there were fewer dials.
    in_line: Option<u64>,
}

impl Waiting {
    /// How many dials there may be at most when a further one of this race begins.
    fn share(&self) -> usize {
        match self.waiters.is_empty() {
            true => BUSY,
            false if self.race.running() > 0 => CROWDED,
            false => DIALS,
        }
    }
}

/// Those who have waited for a connection.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    pub(super) opens: Vec<OpenId>,
    pub(super) connects: Vec<Connect>,
}

impl Waiters {
    fn is_empty(&self) -> bool {
        self.opens.is_empty() && self.connects.is_empty()
    }
}

/// Whose dial this is.
#[derive(Debug)]
struct Dial {
    target: Target,
    place: Place,
    began: Timestamp,
    /// That it took too long is known already.
    late: bool,
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
    /// Races that would dial if there were fewer dials, the first in line first.
    line: BTreeMap<u64, Target>,
    lined_up: u64,
    rng: Rng,
}

type Orders<K> = VecDeque<Order<K>>;

impl Dialing {
    pub(super) fn new(limit: Duration, seed: u64) -> Self {
        Self {
            limit,
            book: AddressBook::default(),
            races: BTreeMap::new(),
            due: BTreeSet::new(),
            dials: BTreeMap::new(),
            next: AttemptId::default(),
            line: BTreeMap::new(),
            lined_up: 0,
            rng: Rng::new(seed),
        }
    }

    /// What has failed before is no reason to wait, and those who have slept have time anew.
    pub(super) fn forgive<K>(&mut self, change: Change, now: Timestamp, orders: &mut Orders<K>) {
        self.book.forgive(now);
        self.races.values_mut().for_each(|one| one.race.refresh(change, now));
        let targets: Vec<Target> = self.races.keys().cloned().collect();
        targets.into_iter().for_each(|target| self.drive(target, now, orders));
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
            add(&mut waiting.race, address, Prospect::default());
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
    pub(super) fn succeeded(
        &mut self,
        attempt: AttemptId,
        peer: &PeerId,
        now: Timestamp,
    ) -> Option<Address> {
        let Dial { target, place, began, .. } = self.dials.remove(&attempt)?;
        if let Place::At(address) = &place {
            self.book.measured(peer, address, now.since(began));
        }
        match target {
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
        if let Some(place) = waiting.in_line {
            self.line.remove(&place);
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
        if waiters.is_empty() {
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
        let dial = self.dials.remove(&attempt)?;
        self.note_failure(&dial, why.as_ref(), now);
        let found = self.fail(attempt, &dial.target, why, orders);
        // Who stands in line has waited longer.
        self.move_up(now, orders);
        if found.is_none() {
            self.drive(dial.target, now, orders);
        }
        found
    }

    /// What a failure says of the address, whether or not anybody waits for it still.
    fn note_failure(&mut self, dial: &Dial, why: Option<&DialError>, now: Timestamp) {
        let (Target::Peer(peer), Place::At(address), Some(why)) = (&dial.target, &dial.place, why)
        else {
            return;
        };
        match why {
            // The peer is there, although it was reached elsewhere before.
            DialError::Surplus(_) => self.book.connected(*peer, Some(address), now),
            DialError::Denied(_) | DialError::Aborted | DialError::InProgress => {}
            _ if dial.late => {}
            why => self.book.failed(peer, address, why.is_wrong(), now),
        }
        if let DialError::WrongPeer(other) = why {
            self.book.learn(*other, address.clone(), now);
        }
    }

    fn fail<K>(
        &mut self,
        attempt: AttemptId,
        target: &Target,
        why: Option<DialError>,
        orders: &mut Orders<K>,
    ) -> Option<Found> {
        let waiting = self.races.get_mut(target)?;
        // Of an attempt that was late or came second, nothing more can be said.
        if !waiting.race.failed(attempt, why.clone()) {
            return None;
        }
        match (target, why) {
            (Target::Address(address), Some(DialError::Surplus(peer))) => {
                return Some(Found::At(address.clone(), peer));
            }
            (Target::Peer(_), Some(DialError::Surplus(peer))) => {
                return Some(Found::Connected(peer));
            }
            (Target::Address(_), Some(DialError::OwnPeer)) => {
                for connect in self.stop(target).connects {
                    orders.push_back(Order::ConnectFailed(connect.id, ConnectFailure::SelfDial));
                }
            }
            _ => {}
        }
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
        let (limit, book, rng) = (self.limit, &self.book, &mut self.rng);
        self.races.entry(target.clone()).or_insert_with(|| {
            let mut race = Race::new(limit);
            if let Target::Peer(peer) = target {
                for (address, hint) in book.to_dial(peer) {
                    add(&mut race, address, prospect(hint, limit, rng));
                }
                race.add(Place::Elsewhere, Turn::Last);
            }
            Waiting { race, waiters: Waiters::default(), due: None, in_line: None }
        })
    }

    /// Carries out what a race wants.
    fn drive<K>(&mut self, target: Target, now: Timestamp, orders: &mut Orders<K>) {
        let Some(waiting) = self.races.get_mut(&target) else { return };
        loop {
            waiting.race.hold(self.dials.len() >= waiting.share());
            let step = waiting.race.poll(now, &mut self.next);
            for late in waiting.race.take_late() {
                note_late(&mut self.dials, &mut self.book, late, now);
            }
            match step {
                Some(Step::Start(attempt, place)) => {
                    let (target, began) = (target.clone(), now);
                    let dial = Dial { target, place: place.clone(), began, late: false };
                    let target = dial.target.clone();
                    self.dials.insert(attempt, dial);
                    orders.push_back(Order::Dial { attempt, target, place });
                }
                Some(Step::Lost(failures)) => return self.lost(&target, failures, orders),
                None => break,
            }
        }
        match (waiting.in_line, waiting.race.wants_to_start(now)) {
            (None, true) => {
                self.lined_up += 1;
                waiting.in_line = Some(self.lined_up);
                self.line.insert(self.lined_up, target.clone());
            }
            (Some(_), false) => {
                self.line.remove(&waiting.in_line.take().unwrap_or_default());
            }
            _ => {}
        }
        let due = waiting.race.next_deadline();
        if let Some(due) = core::mem::replace(&mut waiting.due, due) {
            self.due.remove(&(due, target.clone()));
        }
        self.due.extend(due.map(|due| (due, target)));
    }

    /// There are fewer dials: whoever stands in line may dial.
    pub(super) fn move_up<K>(&mut self, now: Timestamp, orders: &mut Orders<K>) {
        let mut after = 0;
        while self.dials.len() < DIALS
            && let Some((place, target)) = self.line.range(after..).next()
        {
            let target = target.clone();
            after = place + 1;
            self.drive(target, now, orders);
        }
    }

    /// No address is left.
    fn lost<K>(&mut self, target: &Target, failures: Vec<Failure>, orders: &mut Orders<K>) {
        let Waiters { opens, connects } = self.stop(target);
        let known = matches!(target, Target::Peer(peer) if self.book.knows(peer));
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

fn add(race: &mut Race<Place>, address: Address, prospect: Prospect) {
    let turn = if address.is_relayed() { Turn::Last } else { Turn::InOrder };
    race.add_known(Place::At(address), turn, prospect);
}

/// An address that has failed rests for a moment, each time another one, so that those who have lost
/// the same peer do not all come back at once.
fn prospect(hint: Hint, limit: Duration, rng: &mut Rng) -> Prospect {
    let rest = |(failed, failures): (Timestamp, u32)| {
        let doubled = FIRST_REST * 2_u32.pow(failures.saturating_sub(1).min(16));
        let rest = doubled.min(LONGEST_REST).min(limit / 2);
        failed + rng.between(rest * 4 / 5, rest * 6 / 5)
    };
    Prospect { not_before: hint.failed.map_or(Timestamp::ZERO, rest), took: hint.took }
}

/// Nobody waits for this dial any more, which goes on.
fn note_late(
    dials: &mut BTreeMap<AttemptId, Dial>,
    book: &mut AddressBook,
    attempt: AttemptId,
    now: Timestamp,
) {
    let Some(dial) = dials.get_mut(&attempt) else { return };
    dial.late = true;
    if let (Target::Peer(peer), Place::At(address)) = (&dial.target, &dial.place) {
        book.failed(peer, address, false, now);
    }
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
