//! The machine: facts in, orders out.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Debug;
use core::time::Duration;

use super::addresses::address::{Address, Reach};
use super::addresses::book::AddressBook;
use super::addresses::known::KnownAddress;
use super::connections::confirmation::{Confirmation, Confirmations, Origin};
use super::connections::crowd::Crowds;
use super::connections::{Connection, Connections};
use super::dialing::failure::ConnectFailure;
use super::dialing::race::AttemptId;
use super::dialing::{Connect, Dialing, Found, Waiters};
use super::order::{
    Act, Change, ConnectId, Fact, Goal, NetworkEvent, OpenId, Order, Source, Target, Up,
};
use crate::connection::Verdict;
use crate::id::PeerId;
use crate::time::Timestamp;

/// How many addresses are looked at, of those that a peer names at a time.
const LOOKED_AT: usize = 64;

/// Decides which connection is used, when a peer is dialled and where, and when a connection is no
/// longer used: see the [module](super).
///
/// `K` is the driver's own key of a connection. It is never used for another one.
#[derive(Debug)]
pub struct Network<K> {
    pub(super) connections: Connections<K>,
    dialing: Dialing,
    confirmations: Confirmations<K>,
    pub(super) crowds: Crowds<K>,
    /// Peers whose connections are looked after although nothing is due on them.
    watched: BTreeSet<PeerId>,
    orders: VecDeque<Order<K>>,
    connects: u64,
    opens: u64,
}

/// How full the tables of a [`Network`] are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Connections.
    pub connections: usize,
    /// Peers that are being dialled.
    pub races: usize,
    /// Dials that have neither succeeded nor failed.
    pub dials: usize,
    /// Connects and opens without an outcome.
    pub waiting: usize,
    /// Peers of which the application has named addresses.
    pub pinned_peers: usize,
    /// Peers of which anything else is kept.
    pub learned_peers: usize,
    /// Bytes of addresses that strangers have named.
    pub learned_bytes: usize,
}

impl<K: Copy + Ord + Debug> Network<K> {
    /// A machine that knows nobody. Each address that is dialled may take `limit`.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self::with_seed(limit, 0)
    }

    /// The same with a seed for the random parts of pauses, which differs from node to node.
    #[must_use]
    pub fn with_seed(limit: Duration, seed: u64) -> Self {
        Self {
            connections: Connections::new(),
            dialing: Dialing::new(limit, seed),
            confirmations: Confirmations::new(),
            crowds: Crowds::new(),
            watched: BTreeSet::new(),
            orders: VecDeque::new(),
            connects: 0,
            opens: 0,
        }
    }

    /// Somebody wants to be connected. [`Order::Connected`] or [`Order::ConnectFailed`] follows, once.
    /// If there is a connection that serves, its peer is asked for a sign of life, and nothing is
    /// dialled.
    pub fn connect(&mut self, goal: Goal, now: Timestamp) -> ConnectId {
        let id = ConnectId(self.connects);
        self.connects += 1;
        match goal {
            Goal::Peer(peer, address) => {
                if let Some(address) = &address {
                    self.pin(peer, address.clone(), now);
                }
                self.connect_to(peer, Connect { id, address }, now);
            }
            Goal::Address(address) => {
                let connect = Connect { id, address: Some(address.clone()) };
                match self.connections.at(&address) {
                    Some((peer, key)) => self.confirm(peer, key, connect, Origin::Found, now),
                    None => {
                        let target = Target::Address(address);
                        self.dialing.connect(target, connect, now, &mut self.orders);
                    }
                }
            }
        }
        id
    }

    /// A stream to a peer is wanted. [`Act::Open`] or [`Order::OpenFailed`] follows, once.
    pub fn open(&mut self, peer: PeerId, now: Timestamp) -> OpenId {
        let open = OpenId(self.opens);
        self.opens += 1;
        self.open_on_best(peer, open, now);
        open
    }

    /// Something has happened.
    pub fn handle(&mut self, fact: Fact<K>, now: Timestamp) {
        match fact {
            Fact::Named(peer, address, Source::Application) => self.pin(peer, address, now),
            Fact::Named(peer, address, source) => self.learn(peer, address, source, now),
            Fact::Identified(key, peer, named) => self.identified(key, peer, named, now),
            Fact::ConnectAbandoned(connect) => {
                self.dialing.abandon_connect(connect);
                self.confirmations.abandon(connect);
            }
            Fact::OpenAbandoned(open) => self.dialing.abandon_open(open),
            Fact::Watched(peer) => self.watch(peer),
            Fact::Up(up) => self.up(up, now),
            Fact::Down(key, why) => self.down(key, why, now),
            Fact::Judged(key, verdict) => self.judge(key, verdict, now),
            Fact::DialFailed(attempt, why) => {
                match self.dialing.failed(attempt, why, now, &mut self.orders) {
                    Some(Found::At(address, peer)) => self.found(address, peer, now),
                    Some(Found::Connected(peer)) => self.serve_some(peer, now),
                    None => {}
                }
            }
            Fact::Crowded(peer) => self.make_room(peer, now),
            Fact::Assessed(key, work) => self.assessed(key, work, now),
            Fact::Measured(key, rtt) => {
                if let Some(connection) = self.connections.get_mut(key) {
                    connection.rtt = rtt;
                }
            }
            Fact::Changed(change) => self.changed(change, now),
            Fact::Tick => {
                for waiting in self.confirmations.expire(now) {
                    self.unconfirmed(waiting, now);
                }
                while let Some(peer) = self.crowds.due(now) {
                    self.trim(peer, now);
                }
                self.dialing.tick(now, &mut self.orders);
            }
        }
    }

    /// What to do next; `None` if there is nothing more to do now.
    pub fn poll_order(&mut self) -> Option<Order<K>> {
        self.orders.pop_front()
    }

    /// When to tell it [`Fact::Tick`] if nothing happens before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let confirmations = self.confirmations.next_deadline().into_iter();
        let crowds = self.crowds.next_deadline();
        confirmations.chain(crowds).chain(self.dialing.next_deadline()).min()
    }

    /// Whether a connection that is about to come up is kept. It is not if it was dialled by this
    /// attempt and the peer was reached before it: at another address, or before it was known who is
    /// at this one. The attempt has failed then, with
    /// [`DialError::Surplus`](super::DialError::Surplus).
    #[must_use]
    pub fn keeps(&self, attempt: Option<AttemptId>, peer: &PeerId, address: &Address) -> bool {
        let ours = attempt.is_some_and(|attempt| self.dialing.is_dialling(attempt));
        !(ours && self.connections.is_surplus(peer, address))
    }

    /// The addresses of a peer, the most promising first.
    #[must_use]
    pub fn addresses(&self, peer: &PeerId) -> Vec<Address> {
        self.dialing.book.of(peer)
    }

    /// All addresses that are known.
    #[must_use]
    pub fn book(&self) -> &AddressBook {
        &self.dialing.book
    }

    /// What was known of an address in an earlier life of the node. Returns whether it is kept.
    pub fn restore(&mut self, peer: PeerId, known: KnownAddress, now: Timestamp) -> bool {
        self.dialing.book.restore(peer, known, now)
    }

    /// The peers to which there are connections.
    pub fn peers(&self) -> impl Iterator<Item = &PeerId> {
        self.connections.peers()
    }

    /// The connections to a peer, the oldest first.
    pub fn connections(&self, peer: &PeerId) -> impl Iterator<Item = K> {
        self.connections.of(peer).iter().map(|connection| connection.key)
    }

    /// How full its tables are.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        let (races, waiting, dials) = self.dialing.sizes();
        let (pinned_peers, learned_peers, learned_bytes) = self.dialing.book.sizes();
        let connections = self.connections.len();
        let waiting = waiting + self.confirmations.len();
        Sizes { connections, races, dials, waiting, pinned_peers, learned_peers, learned_bytes }
    }

    /// The application knows an address of a peer.
    fn pin(&mut self, peer: PeerId, address: Address, now: Timestamp) {
        self.dialing.book.pin(peer, address.clone());
        self.dialing.join(peer, address, now, &mut self.orders);
    }

    /// A stranger says that this is an address of a peer, or the peer itself.
    fn learn(&mut self, peer: PeerId, address: Address, source: Source, now: Timestamp) {
        let book = &mut self.dialing.book;
        let kept = match source {
            Source::Peer => book.learn_from_peer(peer, address.clone(), now),
            Source::Application | Source::Stranger => book.learn(peer, address.clone(), now),
        };
        if kept {
            self.dialing.join(peer, address, now, &mut self.orders);
        }
    }

    /// Whoever dials what a peer names must not be led into networks that the peer itself is not in:
    /// who is seen on the internet has no say about the local network or this machine.
    fn identified(&mut self, key: K, peer: PeerId, named: Vec<Address>, now: Timestamp) {
        let from = self.connections.get(key).map_or(Reach::Internet, |connection| connection.from);
        for address in named.into_iter().take(LOOKED_AT) {
            if address.reach().is_none_or(|reach| reach >= from) {
                self.learn(peer, address, Source::Peer, now);
            }
        }
    }

    /// What has failed may succeed, what works may not, and what was waited for has time anew.
    fn changed(&mut self, change: Change, now: Timestamp) {
        if change == Change::Woke {
            self.confirmations.restart(now);
        }
        let act = if change == Change::Woke { Act::Recheck } else { Act::Probe };
        for (peer, key) in self.connections.all() {
            self.orders.push_back(Order::Connection(peer, key, act));
        }
        self.dialing.forgive(change, now, &mut self.orders);
    }

    fn watch(&mut self, peer: PeerId) {
        self.watched.insert(peer);
        for connection in self.connections.of(&peer) {
            self.orders.push_back(Order::Connection(peer, connection.key, Act::Watch));
        }
    }

    pub(super) fn act(&mut self, peer: PeerId, key: K, act: Act) {
        if matches!(act, Act::Close | Act::Abort)
            && let Some(connection) = self.connections.get_mut(key)
        {
            connection.ending = true;
        }
        self.orders.push_back(Order::Connection(peer, key, act));
    }

    fn connect_to(&mut self, peer: PeerId, connect: Connect, now: Timestamp) {
        match self.connections.serving(&peer, connect.takes_relayed()) {
            // It may be dead although nobody has said so.
            Some(key) => self.confirm(peer, key, connect, Origin::Found, now),
            None => self.dialing.connect(Target::Peer(peer), connect, now, &mut self.orders),
        }
    }

    /// Asks the peer for a sign of life, for somebody who wants to be connected.
    fn confirm(&mut self, peer: PeerId, key: K, connect: Connect, origin: Origin, now: Timestamp) {
        let rtt = self.connections.get(key).map_or(Duration::ZERO, |connection| connection.rtt);
        self.confirmations.add(Confirmation { peer, connection: key, connect, origin }, rtt, now);
        self.act(peer, key, Act::Probe);
    }

    /// A peer did not give a sign of life in time.
    fn unconfirmed(&mut self, waiting: Confirmation<K>, now: Timestamp) {
        match waiting.origin {
            // It is slow; a moment ago it was there.
            Origin::Dialled => {
                self.orders.push_back(Order::Connected(waiting.connect.id, waiting.peer));
            }
            Origin::Found | Origin::Reached => self.dial_anyway(waiting, now),
        }
    }

    /// A connection is not what somebody hopes for who wants to be connected.
    fn dial_anyway(&mut self, waiting: Confirmation<K>, now: Timestamp) {
        if let Some(connection) = self.connections.get_mut(waiting.connection) {
            connection.doubtful = true;
            self.use_best(waiting.peer);
        }
        let target = Target::Peer(waiting.peer);
        self.dialing.connect(target, waiting.connect, now, &mut self.orders);
    }

    fn open_on_best(&mut self, peer: PeerId, open: OpenId, now: Timestamp) {
        match self.connections.best(&peer) {
            Some(&Connection { key, relayed, suspect: false, .. }) => {
                self.act(peer, key, Act::Open { open, relayed });
            }
            _ => self.dialing.open(peer, open, now, &mut self.orders),
        }
    }

    /// It is known who is at an address.
    fn found(&mut self, address: Address, peer: PeerId, now: Timestamp) {
        let waiters = self.dialing.stop(&Target::Address(address.clone()));
        self.pin(peer, address, now);
        // The peer is connected already. That connection has to show that it works.
        for connect in waiters.connects {
            match self.connections.serving(&peer, connect.takes_relayed()) {
                Some(key) => self.confirm(peer, key, connect, Origin::Reached, now),
                None => self.dialing.connect(Target::Peer(peer), connect, now, &mut self.orders),
            }
        }
    }

    /// A dial came second: a connection is there that is as good as this one. It need not be what all
    /// are waiting for.
    fn serve_some(&mut self, peer: PeerId, now: Timestamp) {
        let Waiters { mut opens, mut connects } = self.dialing.take_waiters(peer);
        if self.connections.best(&peer).is_some_and(|best| !best.suspect) {
            opens.drain(..).for_each(|open| self.open_on_best(peer, open, now));
        }
        for connect in core::mem::take(&mut connects) {
            match self.connections.serving(&peer, connect.takes_relayed()) {
                Some(key) => self.confirm(peer, key, connect, Origin::Reached, now),
                None => connects.push(connect),
            }
        }
        self.dialing.put_back(peer, Waiters { opens, connects }, now, &mut self.orders);
    }

    /// There is a connection to the peer that has just shown that it works.
    fn serve(&mut self, peer: PeerId, now: Timestamp) {
        let Waiters { opens, connects } = self.dialing.stop(&Target::Peer(peer));
        opens.into_iter().for_each(|open| self.open_on_best(peer, open, now));
        let connected = connects.into_iter();
        self.orders.extend(connected.map(|connect| Order::Connected(connect.id, peer)));
    }

    fn up(&mut self, up: Up<K>, now: Timestamp) {
        let Up { connection: key, peer, relayed, from, dialled, attempt } = up;
        let dialled_at = dialled.clone();
        let connection = Connection::new(key, relayed, from, dialled_at);
        let Some(first) = self.connections.add(peer, connection) else { return };
        if first {
            self.orders.push_back(Order::Event(NetworkEvent::PeerConnected(peer)));
        }
        if self.watched.contains(&peer) {
            self.act(peer, key, Act::Watch);
        }
        self.retire_others(peer);
        let mut connects = Vec::new();
        let found = attempt.and_then(|attempt| self.dialing.succeeded(attempt, &peer, now));
        if let Some(address) = found {
            connects = self.dialing.stop(&Target::Address(address.clone())).connects;
            self.pin(peer, address, now);
        }
        self.dialing.book.connected(peer, dialled.as_ref(), now);
        let waiters = self.dialing.stop(&Target::Peer(peer));
        waiters.opens.into_iter().for_each(|open| self.open_on_best(peer, open, now));
        let origin = if dialled.is_some() { Origin::Dialled } else { Origin::Found };
        for connect in waiters.connects.into_iter().chain(connects) {
            self.confirm(peer, key, connect, origin, now);
        }
        self.dialing.move_up(now, &mut self.orders);
    }

    fn down(&mut self, key: K, why: Option<Arc<str>>, now: Timestamp) {
        let Some((peer, last)) = self.connections.remove(key) else { return };
        self.crowds.forget(&peer, key);
        if last {
            self.orders.push_back(Order::Event(NetworkEvent::PeerDisconnected(peer)));
            self.dialing.book.disconnected(peer, now);
        } else {
            self.use_best(peer);
        }
        for Confirmation { connect, origin, .. } in self.confirmations.resolve(key) {
            if origin != Origin::Dialled || !last {
                self.connect_to(peer, connect, now);
            } else {
                // A further dial would lead to the same.
                let why = ConnectFailure::Ended(why.clone());
                self.orders.push_back(Order::ConnectFailed(connect.id, why));
            }
        }
    }

    /// What a connection says of its peer's silence.
    fn judge(&mut self, key: K, verdict: Verdict, now: Timestamp) {
        let Some(peer) = self.connections.owner(key) else { return };
        let Some(connection) = self.connections.get_mut(key) else { return };
        match verdict {
            Verdict::Probe => {}
            // Whoever waits for it hears when it is gone.
            Verdict::Answered | Verdict::Recovered if connection.ending => {}
            Verdict::Answered => {
                let doubted = core::mem::take(&mut connection.doubtful);
                let confirmed = self.confirmations.resolve(key).into_iter();
                self.orders.extend(confirmed.map(|one| Order::Connected(one.connect.id, peer)));
                if doubted {
                    self.use_best(peer);
                    self.retire_relayed(peer);
                    // What was dialled instead would come second.
                    self.serve(peer, now);
                }
            }
            Verdict::Suspect => {
                (connection.suspect, connection.retired) = (true, true);
                let ending = connection.ending;
                self.act(peer, key, Act::Retire);
                self.use_best(peer);
                for waiting in self.confirmations.resolve(key) {
                    self.dial_anyway(waiting, now);
                }
                // It does not end in good order any more.
                if ending || self.connections.best(&peer).is_some_and(|best| !best.suspect) {
                    self.act(peer, key, Act::Abort);
                } else {
                    self.dialing.seek(peer, now, &mut self.orders);
                }
            }
            Verdict::Recovered => {
                (connection.suspect, connection.doubtful) = (false, false);
                self.use_best(peer);
                self.serve(peer, now);
            }
            Verdict::Dead => self.act(peer, key, Act::Abort),
        }
    }

    /// Nothing new goes over a connection beside which there is a better one. Its streams end with
    /// the requests that they have. A peer that has made another connection may have lost this one
    /// without a word, and one that is suspect is not waited for.
    fn retire_others(&mut self, peer: PeerId) {
        let Some(best) = self.connections.best(&peer) else { return };
        let (key, direct) = (best.key, !best.relayed);
        for other in self.connections.of_mut(&peer).iter_mut().filter(|other| other.key != key) {
            let act = |act| Order::Connection(peer, other.key, act);
            if other.suspect {
                self.orders.push_back(act(Act::Abort));
                other.ending = true;
            } else if direct && !other.ending {
                self.orders.extend([act(Act::Retire), act(Act::Probe)]);
                other.retired = true;
            }
        }
    }

    /// A direct connection was doubtful, and one over a relay was used meanwhile.
    fn retire_relayed(&mut self, peer: PeerId) {
        let used = |one: &Connection<K>| one.relayed && !one.retired && !one.suspect;
        if self.connections.best(&peer).is_some_and(|best| !best.relayed)
            && self.connections.of(&peer).iter().any(used)
        {
            self.retire_others(peer);
        }
    }

    /// The best connection may have become that since another one is worse. Then it is used again.
    pub(super) fn use_best(&mut self, peer: PeerId) {
        let Some(&Connection { key, suspect: false, retired: true, .. }) =
            self.connections.best(&peer)
        else {
            return;
        };
        self.act(peer, key, Act::Resume);
        if let Some(best) = self.connections.get_mut(key) {
            best.retired = false;
        }
    }
}
