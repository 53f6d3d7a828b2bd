//! A network machine driven by hand. What it orders is written as a person would say it, so that a
//! test reads like a trace.

use core::time::Duration;

use pointsub_core::network::{
    Act, Address, ConnectId, DialError, Fact, Goal, Network, NetworkEvent, OpenId, Order, Place,
    Reach, Source, Target, Up, Work,
};
use pointsub_core::network::{AttemptId, ConnectFailure, OpenFailure};
use pointsub_core::{PeerId, Timestamp, Verdict};

/// How long one address may take.
pub(crate) const LIMIT: u64 = 5000;

pub(crate) struct Script {
    pub(crate) net: Network<u32>,
    millis: u64,
    attempts: Vec<AttemptId>,
    connects: Vec<ConnectId>,
    opens: Vec<OpenId>,
}

/// Peer `p`.
pub(crate) fn peer(p: u8) -> PeerId {
    PeerId::from_bytes(&[0, 36, p]).expect("a peer id")
}

/// Address `a`, which is direct.
pub(crate) fn address(a: u8) -> Address {
    Address::new(&[a]).within(Some(Reach::Internet))
}

/// Address `a`, which leads through a relay.
pub(crate) fn circuit(a: u8) -> Address {
    address(a).through_relay(true)
}

pub(crate) fn refused() -> Option<DialError> {
    Some(DialError::Transport("refused".into()))
}

/// A connection that peer `p` has dialled.
pub(crate) fn inbound(connection: u32, p: u8) -> Up<u32> {
    let (peer, from) = (peer(p), Reach::Internet);
    Up { connection, peer, relayed: false, from, dialled: None, attempt: None }
}

/// A connection that somebody else on this node has dialled.
pub(crate) fn dialled(connection: u32, p: u8, at: Address) -> Up<u32> {
    let relayed = at.is_relayed();
    Up { relayed, dialled: Some(at), ..inbound(connection, p) }
}

impl Script {
    pub(crate) fn new() -> Self {
        let net = Network::new(Duration::from_millis(LIMIT));
        Self { net, millis: 0, attempts: Vec::new(), connects: Vec::new(), opens: Vec::new() }
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::ZERO + Duration::from_millis(self.millis)
    }

    /// Lets time pass until then, with a tick at each deadline and at the end.
    pub(crate) fn at(&mut self, millis: u64) {
        let end = Timestamp::ZERO + Duration::from_millis(millis);
        while let Some(due) = self.net.next_deadline().filter(|due| *due <= end) {
            self.net.handle(Fact::Tick, due);
            let next = self.net.next_deadline();
            assert!(next.is_none_or(|next| next > due), "it is due again at once");
        }
        self.millis = millis;
        self.tell(Fact::Tick);
    }

    /// Time passes, and nobody looks.
    pub(crate) fn sleep(&mut self, millis: u64) {
        self.millis = millis;
    }

    /// A stream to a peer of another kind, of which no address is known.
    pub(crate) fn open_far(&mut self, p: u8) {
        let far = PeerId::from_bytes(&[1, 36, p]).expect("a peer id");
        let id = self.net.open(far, self.now());
        self.opens.push(id);
    }

    pub(crate) fn tell(&mut self, fact: Fact<u32>) {
        let now = self.now();
        self.net.handle(fact, now);
    }

    pub(crate) fn name(&mut self, p: u8, address: Address, source: Source) {
        self.tell(Fact::Named(peer(p), address, source));
    }

    pub(crate) fn connect(&mut self, goal: Goal) {
        let id = self.net.connect(goal, self.now());
        self.connects.push(id);
    }

    /// Somebody wants to be connected to peer `p`, and names no address.
    pub(crate) fn connect_to(&mut self, p: u8) {
        self.connect(Goal::Peer(peer(p), None));
    }

    pub(crate) fn connect_at(&mut self, p: u8, address: Address) {
        self.connect(Goal::Peer(peer(p), Some(address)));
    }

    pub(crate) fn open(&mut self, p: u8) {
        let id = self.net.open(peer(p), self.now());
        self.opens.push(id);
    }

    pub(crate) fn up(&mut self, up: Up<u32>) {
        self.tell(Fact::Up(up));
    }

    pub(crate) fn down(&mut self, connection: u32) {
        self.tell(Fact::Down(connection, None));
    }

    pub(crate) fn judge(&mut self, connection: u32, verdict: Verdict) {
        self.tell(Fact::Judged(connection, verdict));
    }

    /// Dial number `n` leads to peer `p`, if the machine keeps that.
    pub(crate) fn succeed(&mut self, n: usize, connection: u32, p: u8, at: Address) -> bool {
        let attempt = Some(self.attempts[n]);
        let kept = self.net.keeps(attempt, &peer(p), &at);
        if kept {
            self.up(Up { attempt, ..dialled(connection, p, at) });
        } else {
            self.fail(n, Some(DialError::Surplus(peer(p))));
        }
        kept
    }

    /// Dial number `n` fails.
    pub(crate) fn fail(&mut self, n: usize, why: Option<DialError>) {
        self.tell(Fact::DialFailed(self.attempts[n], why));
    }

    /// A connection says what it is used for.
    pub(crate) fn assess(&mut self, connection: u32, is_busy: bool, streams: usize) {
        self.tell(Fact::Assessed(connection, Work { is_busy, streams }));
    }

    /// The two dials that follow each other when a peer has one address fail.
    pub(crate) fn fail_all(&mut self, nth: usize, why: Option<DialError>) {
        self.fail(2 * nth, why);
        self.acts();
        self.fail(2 * nth + 1, None);
        self.acts();
    }

    pub(crate) fn abandon_connect(&mut self, n: usize) {
        self.tell(Fact::ConnectAbandoned(self.connects[n]));
    }

    pub(crate) fn abandon_open(&mut self, n: usize) {
        self.tell(Fact::OpenAbandoned(self.opens[n]));
    }

    /// What it has ordered since. Dials, connects and opens have numbers in the order in which they
    /// began.
    pub(crate) fn orders(&mut self) -> Vec<String> {
        let mut orders = Vec::new();
        while let Some(order) = self.net.poll_order() {
            orders.push(self.say(order));
        }
        orders
    }

    /// The same without what an application may want to know.
    pub(crate) fn acts(&mut self) -> Vec<String> {
        self.orders().into_iter().filter(|order| !order.starts_with("event")).collect()
    }

    fn say(&mut self, order: Order<u32>) -> String {
        let number = |peer: PeerId| peer.as_bytes()[2];
        match order {
            Order::Dial { attempt, target, place } => {
                self.attempts.push(attempt);
                let n = self.attempts.len() - 1;
                let whom = match target {
                    Target::Peer(peer) => format!("peer {}", number(peer)),
                    Target::Address(_) => "anybody".to_owned(),
                };
                match place {
                    Place::At(at) => format!("dial {n}: {whom} at {}", at.as_bytes()[0]),
                    Place::Elsewhere => format!("dial {n}: {whom} elsewhere"),
                }
            }
            Order::Connection(_, key, Act::Open { open, relayed }) => {
                let n = self.opens.iter().position(|other| *other == open);
                let n = n.expect("a stream that was wanted");
                format!("open {n} on {key}{}", if relayed { ", relayed" } else { "" })
            }
            Order::Connection(_, key, act) => format!("{act:?} {key}").to_lowercase(),
            Order::Connected(id, peer) => {
                format!("connect {}: peer {}", self.connect_number(id), number(peer))
            }
            Order::ConnectFailed(id, why) => {
                format!("connect {} failed: {}", self.connect_number(id), say_failure(&why))
            }
            Order::OpenFailed(open, why) => {
                let n = self.opens.iter().position(|other| *other == open);
                let n = n.expect("a stream that was wanted");
                let why = match why {
                    OpenFailure::NoAddress => "no address".to_owned(),
                    OpenFailure::Gone => "gone".to_owned(),
                    OpenFailure::Unreachable(failures) => format!("{} tried", failures.len()),
                };
                format!("open {n} failed: {why}")
            }
            Order::Event(NetworkEvent::PeerConnected(peer)) => {
                format!("event: peer {} is there", number(peer))
            }
            Order::Event(NetworkEvent::PeerDisconnected(peer)) => {
                format!("event: peer {} has gone", number(peer))
            }
            Order::Event(event) => panic!("unknown: {event:?}"),
        }
    }

    fn connect_number(&self, id: ConnectId) -> usize {
        let n = self.connects.iter().position(|other| *other == id);
        n.expect("somebody who wanted to be connected")
    }
}

fn say_failure(why: &ConnectFailure) -> String {
    match why {
        ConnectFailure::SelfDial => "self".to_owned(),
        ConnectFailure::TimedOut(after) => format!("late, after {after:?}"),
        ConnectFailure::Unreachable { named, others } => {
            let named = named.as_ref().map_or_else(|| "nowhere".to_owned(), ToString::to_string);
            format!("{named}; {} others", others.len())
        }
        ConnectFailure::Ended(why) => {
            format!("ended: {}", why.as_deref().unwrap_or("nothing said"))
        }
    }
}
