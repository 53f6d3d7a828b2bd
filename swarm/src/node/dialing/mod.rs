//! Dials peers for all who wait for a connection.
//!
//! libp2p would dial all addresses of a peer as one thing: it begins their time limits together,
//! gives up all of them if somebody else answers at one, and takes none in while it is at work. So
//! each address is a dial of its own here, and a [`Race`] decides when it begins.

mod race;
pub(crate) mod reason;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::channel::oneshot;
use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use libp2p_swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p_swarm::{ConnectionDenied, ConnectionId, DialError};
use pointsub_core::{StreamError, Timestamp};
use thiserror::Error;

use super::ConnectError;
use super::addresses::book::{AddressBook, is_relayed, of_peer};
use crate::api::client::ticket::{OpenTicket, Wanted};
use crate::clock::Clock;
use crate::timer::Timer;
use race::{AttemptId, Failure, Race, Step, Turn, Why};

/// What a race tries.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    At(Multiaddr),
    /// What the other behaviours of the swarm know, if there are any that know addresses.
    Elsewhere,
}

/// Somebody who has called `connect`.
#[derive(Debug)]
pub(crate) struct Connect {
    pub(crate) address: Multiaddr,
    pub(crate) done: oneshot::Sender<Result<PeerId, ConnectError>>,
}

/// Whom a race leads to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Target {
    Peer(PeerId),
    /// Whoever is there.
    Address(Multiaddr),
}

/// All who wait for one connection.
#[derive(Debug)]
struct Waiting {
    /// Which of all races this is.
    number: u64,
    race: Race<Place>,
    opens: Vec<OpenTicket>,
    connects: Vec<Connect>,
    due: Option<Timestamp>,
}

/// Those who have waited for a connection.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    pub(crate) opens: Vec<OpenTicket>,
    pub(crate) connects: Vec<Connect>,
}

/// Whose dial this is.
#[derive(Debug)]
struct Dial {
    target: Target,
    /// Its number: it may be over, and another one have begun.
    race: u64,
    attempt: AttemptId,
    place: Place,
}

/// There is a connection to the peer already, which was dialled from here.
#[derive(Debug, Error)]
#[error("there is a connection to the peer already")]
struct Surplus(PeerId);

#[derive(Debug)]
pub(crate) struct Dialing {
    clock: Clock,
    timer: Timer,
    /// How long one address may take.
    limit: Duration,
    book: AddressBook,
    races: HashMap<Target, Waiting>,
    /// How many there were.
    begun: u64,
    /// By when they have to be looked at.
    due: BTreeSet<(Timestamp, Target)>,
    /// Each dial until it has succeeded or failed, also when nobody waits for it any more.
    dials: HashMap<ConnectionId, Dial>,
    wanted: VecDeque<DialOpts>,
    /// Connections that this node has dialled.
    ours: HashMap<PeerId, Vec<Ours>>,
    /// Who was found at an address that one of them leads to.
    found: HashMap<Multiaddr, PeerId>,
}

/// A connection that this node has dialled.
#[derive(Debug)]
struct Ours {
    id: ConnectionId,
    address: Multiaddr,
}

impl Dialing {
    /// Each address may take `limit`.
    pub(crate) fn new(limit: Duration, clock: Clock) -> Self {
        Self {
            clock,
            timer: Timer::new(clock),
            limit,
            book: AddressBook::default(),
            races: HashMap::new(),
            begun: 0,
            due: BTreeSet::new(),
            dials: HashMap::new(),
            wanted: VecDeque::new(),
            ours: HashMap::new(),
            found: HashMap::new(),
        }
    }

    /// How many peers are being dialled.
    pub(crate) fn len(&self) -> usize {
        self.races.len()
    }

    /// The application knows an address of a peer.
    pub(crate) fn pin(&mut self, peer: PeerId, address: Multiaddr) {
        if let Some(address) = of_peer(&peer, address) {
            self.book.pin(peer, address.clone());
            self.join(peer, address);
        }
    }

    /// A stranger says that this is an address of a peer, or the peer itself.
    pub(crate) fn learn(&mut self, peer: PeerId, address: Multiaddr) {
        if let Some(address) = of_peer(&peer, address) {
            self.book.learn(peer, address.clone(), self.clock.now());
            self.join(peer, address);
        }
    }

    /// What a dial of somebody else may use beyond what it has.
    pub(crate) fn known(
        &self,
        id: ConnectionId,
        peer: &PeerId,
        already: &[Multiaddr],
    ) -> Vec<Multiaddr> {
        if self.dials.contains_key(&id) {
            return Vec::new();
        }
        let already: Vec<_> = already.iter().filter_map(|a| of_peer(peer, a.clone())).collect();
        let mut known = self.book.of(peer);
        known.retain(|address| !already.contains(address));
        known
    }

    /// A stream waits for a connection.
    pub(crate) fn open(&mut self, peer: PeerId, ticket: OpenTicket) {
        let target = Target::Peer(peer);
        self.race(&target).opens.push(ticket);
        self.drive(target);
    }

    /// Another connection to the peer is wanted, although nobody waits for it yet.
    pub(crate) fn seek(&mut self, peer: PeerId) {
        let target = Target::Peer(peer);
        self.race(&target);
        self.drive(target);
    }

    /// Somebody wants to be connected to the peer at the address, to whoever is there if that is
    /// `None`.
    pub(crate) fn connect(&mut self, peer: Option<PeerId>, connect: Connect) {
        let target = peer.map_or_else(|| Target::Address(connect.address.clone()), Target::Peer);
        let place = target.place(&connect.address);
        let waiting = self.race(&target);
        waiting.connects.retain(|other| !other.done.is_canceled());
        waiting.connects.push(connect);
        if let Some(place) = place {
            waiting.race.add(place, Turn::Now);
        }
        self.drive(target);
    }

    /// Who is at an address, by the connections that lead there.
    pub(crate) fn who_is_at(&self, address: &Multiaddr) -> Option<(PeerId, ConnectionId)> {
        let peer = self.found.get(address)?;
        let ours = self.ours.get(peer)?.iter().find(|ours| ours.address == *address)?;
        Some((*peer, ours.id))
    }

    /// Nobody waits any more. The dial goes on, and serves whoever asks next.
    pub(crate) fn abandon(&mut self, wanted: Wanted) {
        for waiting in self.races.values_mut() {
            waiting.opens.retain(|ticket| ticket.wanted != wanted);
        }
    }

    /// Whether a connection that was dialled is to be kept. It is not if the peer was reached before
    /// it: at another address, or before it was known who is at this one.
    ///
    /// Only connections that were dialled from here and are `alive` count: if two peers dial each
    /// other at once and each kept that of the other, both would be closed.
    pub(crate) fn admit(
        &self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        alive: impl Fn(ConnectionId) -> bool,
    ) -> Result<(), ConnectionDenied> {
        let as_good = |ours: &Ours| is_relayed(address) || !is_relayed(&ours.address);
        let mut ours = self.ours.get(&peer).into_iter().flatten();
        if self.dials.contains_key(&id) && ours.any(|ours| as_good(ours) && alive(ours.id)) {
            return Err(ConnectionDenied::new(Surplus(peer)));
        }
        Ok(())
    }

    /// There is a connection, whoever has dialled. Returns who waits for it.
    pub(crate) fn connected(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        dialled: Option<&Multiaddr>,
    ) -> Waiters {
        let dialled = dialled.and_then(|address| of_peer(&peer, address.clone()));
        self.book.connected(peer, dialled.as_ref(), self.clock.now());
        let mut connects = Vec::new();
        if let Some(Target::Address(address)) = self.dials.remove(&id).map(|dial| dial.target) {
            connects = self.found(address, peer);
        }
        if let Some(address) = dialled {
            self.found.insert(address.clone(), peer);
            self.ours.entry(peer).or_default().push(Ours { id, address });
        }
        let mut waiters = self.stop_waiting(peer);
        waiters.connects.extend(connects);
        waiters
    }

    /// There is a connection to the peer that serves. Returns who waits for it.
    pub(crate) fn stop_waiting(&mut self, peer: PeerId) -> Waiters {
        let waiting = self.end(&Target::Peer(peer));
        waiting
            .map(|Waiting { opens, connects, .. }| Waiters { opens, connects })
            .unwrap_or_default()
    }

    /// A connection has ended; `last` if there is no other one to the peer.
    pub(crate) fn closed(&mut self, peer: PeerId, id: ConnectionId, last: bool) {
        if let Some(ours) = self.ours.get_mut(&peer) {
            for gone in ours.extract_if(.., |ours| ours.id == id) {
                if self.found.get(&gone.address) == Some(&peer) {
                    self.found.remove(&gone.address);
                }
            }
            for left in &*ours {
                self.found.insert(left.address.clone(), peer);
            }
            if ours.is_empty() {
                self.ours.remove(&peer);
            }
        }
        if last {
            self.book.disconnected(peer, self.clock.now());
        }
    }

    /// A dial has failed, one of these or that of somebody else.
    pub(crate) fn failed(&mut self, id: ConnectionId, error: &DialError) {
        let Some(Dial { target, race, attempt, place }) = self.dials.remove(&id) else { return };
        // Of an attempt that was late or came second, nothing more can be said.
        let Some(waiting) = self.races.get_mut(&target) else { return };
        let why = reason::of_dial(error, &place);
        if waiting.number != race || !waiting.race.failed(attempt, why) {
            return;
        }
        match (&target, &place, error, surplus(error)) {
            (Target::Address(address), .., Some(peer)) => {
                for connect in self.found(address.clone(), peer) {
                    let _gone = connect.done.send(Ok(peer));
                }
            }
            (Target::Address(_), _, DialError::LocalPeerId { .. }, _) => {
                for connect in self.end(&target).into_iter().flat_map(|waiting| waiting.connects) {
                    let _gone = connect.done.send(Err(ConnectError::SelfDial));
                }
            }
            (Target::Peer(peer), Place::At(address), _, None) => {
                self.book.failed(peer, address, is_wrong(error), self.clock.now());
            }
            _ => {}
        }
        self.drive(target);
    }

    /// It is known who is at an address. Returns who waits for that.
    fn found(&mut self, address: Multiaddr, peer: PeerId) -> Vec<Connect> {
        let target = Target::Address(address.clone());
        self.pin(peer, address);
        self.end(&target).map(|waiting| waiting.connects).unwrap_or_default()
    }

    /// What to dial next. `now` is a time at which nobody who waits was late.
    pub(crate) fn poll(&mut self, now: Timestamp, cx: &mut Context<'_>) -> Poll<DialOpts> {
        self.book.expire(now);
        loop {
            if let Some(opts) = self.wanted.pop_front() {
                return Poll::Ready(opts);
            }
            match self.due.first() {
                Some((due, target)) if *due <= now => self.drive_at(target.clone(), now),
                _ => break,
            }
        }
        let due = self.due.first().map(|(due, _)| *due);
        if self.timer.poll_due(due.into_iter().chain(self.book.next_deadline()).min(), cx) {
            // Since then. Those who wait have to be looked at first.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// The race that runs, or a new one of all that is known.
    fn race(&mut self, target: &Target) -> &mut Waiting {
        let (limit, book, begun) = (self.limit, &self.book, &mut self.begun);
        self.races.entry(target.clone()).or_insert_with(|| {
            let mut race = Race::new(limit);
            if let Target::Peer(peer) = target {
                book.of(peer).into_iter().for_each(|address| add(&mut race, address));
                race.add(Place::Elsewhere, Turn::Last);
            }
            *begun += 1;
            Waiting { number: *begun, race, opens: Vec::new(), connects: Vec::new(), due: None }
        })
    }

    /// An address takes part in the race that runs, if one does.
    fn join(&mut self, peer: PeerId, address: Multiaddr) {
        if let Some(waiting) = self.races.get_mut(&Target::Peer(peer)) {
            add(&mut waiting.race, address);
            self.drive(Target::Peer(peer));
        }
    }

    fn drive(&mut self, target: Target) {
        self.drive_at(target, self.clock.now());
    }

    /// Carries out what a race wants.
    fn drive_at(&mut self, target: Target, now: Timestamp) {
        let Some(waiting) = self.races.get_mut(&target) else { return };
        while let Some(step) = waiting.race.poll(now) {
            match step {
                Step::Start(attempt, place) => {
                    let opts = target.dial(&place);
                    let race = waiting.number;
                    let dial = Dial { target: target.clone(), race, attempt, place };
                    self.dials.insert(opts.connection_id(), dial);
                    self.wanted.push_back(opts);
                }
                Step::Lost(failures) => return self.lost(&target, &failures),
            }
        }
        let due = waiting.race.next_deadline();
        if let Some(due) = std::mem::replace(&mut waiting.due, due) {
            self.due.remove(&(due, target.clone()));
        }
        self.due.extend(due.map(|due| (due, target)));
    }

    fn end(&mut self, target: &Target) -> Option<Waiting> {
        let waiting = self.races.remove(target)?;
        if let Some(due) = waiting.due {
            self.due.remove(&(due, target.clone()));
        }
        Some(waiting)
    }

    fn lost(&mut self, target: &Target, failures: &[Failure<Place>]) {
        let Some(waiting) = self.end(target) else { return };
        let mut known = false;
        if let Target::Peer(peer) = target {
            known = self.book.knows(peer);
            for failure in failures {
                if let (Place::At(address), Why::TimedOut(_)) = (&failure.address, &failure.why) {
                    self.book.failed(peer, address, false, self.clock.now());
                }
            }
        }
        let error = match failures {
            [] if !known => StreamError::NoAddress,
            [] => StreamError::Unreachable(Arc::from("it has gone, and no address of it is known")),
            _ => StreamError::Unreachable(Arc::from(reason::of_race(failures))),
        };
        for ticket in waiting.opens {
            ticket.fail(error.clone());
        }
        for connect in waiting.connects {
            let error = connect_error(target, connect.address, failures);
            let _gone = connect.done.send(Err(error));
        }
    }
}

impl Target {
    /// What is tried if somebody names this address.
    fn place(&self, address: &Multiaddr) -> Option<Place> {
        match self {
            Self::Peer(peer) => of_peer(peer, address.clone()).map(Place::At),
            Self::Address(address) => Some(Place::At(address.clone())),
        }
    }

    /// From a port of its own: if two peers dial each other at once from the ports they listen on,
    /// TCP makes one connection of it, on which both believe to have dialled.
    fn dial(&self, place: &Place) -> DialOpts {
        match (self, place) {
            (Self::Peer(peer), place) => {
                // Even if somebody else is dialling the peer: a hole that is being punched, for one,
                // takes long to fail.
                let opts = DialOpts::peer_id(*peer).condition(PeerCondition::Always);
                match place {
                    Place::At(address) => {
                        opts.addresses(vec![address.clone()]).allocate_new_port().build()
                    }
                    Place::Elsewhere => opts.allocate_new_port().build(),
                }
            }
            (Self::Address(address), _) => {
                DialOpts::unknown_peer_id().address(address.clone()).allocate_new_port().build()
            }
        }
    }
}

fn add(race: &mut Race<Place>, address: Multiaddr) {
    let turn = if is_relayed(&address) { Turn::Last } else { Turn::InOrder };
    race.add(Place::At(address), turn);
}

/// What is told to somebody who named an address: first of that one, then of the others.
fn connect_error(target: &Target, address: Multiaddr, failures: &[Failure<Place>]) -> ConnectError {
    let own = target.place(&address);
    let (own, others): (Vec<_>, Vec<_>) =
        failures.iter().cloned().partition(|failure| Some(&failure.address) == own.as_ref());
    let mut all_late = failures.iter();
    if let Some(Failure { why: Why::TimedOut(after), .. }) = own.first()
        && all_late.all(|failure| matches!(failure.why, Why::TimedOut(_)))
    {
        return ConnectError::TimedOut { address, after: *after };
    }
    let mut lines: Vec<String> = own.iter().map(|own| reason::of_attempt(&own.why)).collect();
    if lines.is_empty() {
        lines.push("no transport leads there".to_owned());
    }
    if !others.is_empty() {
        lines.push(reason::of_race(&others));
    }
    ConnectError::Unreachable { address, reason: lines.join("\n") }
}

/// Whether an address has proved to be none of the peer's.
fn is_wrong(error: &DialError) -> bool {
    matches!(
        error,
        DialError::WrongPeerId { .. }
            | DialError::LocalPeerId { .. }
            | DialError::NoAddresses
            | DialError::Transport(_)
    )
}

fn surplus(error: &DialError) -> Option<PeerId> {
    match error {
        DialError::Denied { cause } => cause.downcast_ref::<Surplus>().map(|Surplus(peer)| *peer),
        _ => None,
    }
}
