//! Any facts, in any order, at any times: the network machine stays within its limits.

use std::collections::BTreeSet;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use pointsub_core::network::{
    Act, Address, AttemptId, Change, DialError, Fact, Goal, Network, Order, Reach, Source, Up, Work,
};
use pointsub_core::{Timestamp, Verdict};

use super::{MAX_OPS, MAX_OUTPUTS, peer};

#[derive(Debug, Arbitrary)]
enum Step {
    Connect { peer: u8, at: Option<u8>, relayed: bool },
    Anybody { at: u8 },
    Open { peer: u8 },
    Named { peer: u8, at: u8, relayed: bool, application: bool },
    Identified { connection: u8, peer: u8, at: u8, many: u8 },
    Up { connection: u8, peer: u8, relayed: bool, at: Option<u8>, attempt: Option<u8> },
    Down { connection: u8 },
    Judged { connection: u8, verdict: u8 },
    DialFailed { attempt: u8, why: u8 },
    Watched { peer: u8 },
    Crowded { peer: u8 },
    Assessed { connection: u8, busy: bool, streams: u8 },
    Measured { connection: u8, millis: u16 },
    Changed { woke: bool },
    Wait { millis: u16 },
    Back { millis: u16 },
}

fn address(at: u8, relayed: bool) -> Address {
    let reach = [Reach::Machine, Reach::Network, Reach::Internet][usize::from(at % 3)];
    Address::new(&[at, u8::from(relayed)]).through_relay(relayed).within(Some(reach))
}

/// Plays a script of facts, and checks each order.
pub fn network_facts(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let mut world = World {
        net: Network::new(Duration::from_secs(5)),
        now: Timestamp::ZERO,
        connections: BTreeSet::new(),
        attempts: Vec::new(),
        wanted: 0,
    };
    for _ in 0..MAX_OPS {
        let Ok(step) = Step::arbitrary(&mut u) else { break };
        world.step(step);
        world.carry_out();
        if u.is_empty() {
            break;
        }
    }
}

struct World {
    net: Network<u8>,
    now: Timestamp,
    connections: BTreeSet<u8>,
    attempts: Vec<AttemptId>,
    /// Connects and opens without an outcome.
    wanted: usize,
}

impl World {
    fn step(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::Connect { peer: p, at, relayed } => {
                let goal = Goal::Peer(peer(p % 8), at.map(|at| address(at, relayed)));
                self.net.connect(goal, now);
                self.wanted += 1;
            }
            Step::Anybody { at } => {
                self.net.connect(Goal::Address(address(at, false)), now);
                self.wanted += 1;
            }
            Step::Open { peer: p } => {
                self.net.open(peer(p % 8), now);
                self.wanted += 1;
            }
            Step::Wait { millis } => {
                self.now = now + Duration::from_millis(millis.into());
                self.net.handle(Fact::Tick, self.now);
            }
            Step::Back { millis } => {
                let nanos = now.as_nanos().saturating_sub(u64::from(millis) * 1_000_000);
                self.now = Timestamp::from_nanos(nanos);
                self.net.handle(Fact::Tick, self.now);
            }
            step => {
                let fact = self.fact(step);
                self.net.handle(fact, now);
            }
        }
    }

    fn fact(&mut self, step: Step) -> Fact<u8> {
        let attempt =
            |n: u8| self.attempts.get(usize::from(n) % self.attempts.len().max(1)).copied();
        match step {
            Step::Named { peer: p, at, relayed, application } => {
                let source = if application { Source::Application } else { Source::Stranger };
                Fact::Named(peer(p % 8), address(at, relayed), source)
            }
            Step::Identified { connection, peer: p, at, many } => {
                let named = (0..many).map(|n| address(at.wrapping_add(n), n % 4 == 0)).collect();
                Fact::Identified(connection, peer(p % 8), named)
            }
            Step::Up { connection, peer: p, relayed, at, attempt: n } => {
                self.connections.insert(connection);
                let dialled = at.map(|at| address(at, relayed));
                let (peer, from) = (peer(p % 8), Reach::Network);
                let attempt = n.and_then(attempt);
                Fact::Up(Up { connection, peer, relayed, from, dialled, attempt })
            }
            Step::Judged { connection, verdict } => {
                let verdicts =
                    [Verdict::Probe, Verdict::Answered, Verdict::Suspect, Verdict::Recovered];
                let verdict = verdicts.get(usize::from(verdict % 5)).copied();
                Fact::Judged(connection, verdict.unwrap_or(Verdict::Dead))
            }
            Step::DialFailed { attempt: n, why } => match attempt(n) {
                Some(attempt) => Fact::DialFailed(
                    attempt,
                    [
                        DialError::OwnPeer,
                        DialError::NoTransport,
                        DialError::Aborted,
                        DialError::WrongPeer(peer(why % 8)),
                        DialError::Surplus(peer(why % 8)),
                    ]
                    .get(usize::from(why % 6))
                    .cloned(),
                ),
                None => Fact::Tick,
            },
            Step::Assessed { connection, busy, streams } => {
                Fact::Assessed(connection, Work { is_busy: busy, streams: streams.into() })
            }
            Step::Measured { connection, millis } => {
                Fact::Measured(connection, Duration::from_millis(millis.into()))
            }
            Step::Changed { woke } => {
                Fact::Changed(if woke { Change::Woke } else { Change::Network })
            }
            Step::Watched { peer: p } => Fact::Watched(peer(p % 8)),
            Step::Crowded { peer: p } => Fact::Crowded(peer(p % 8)),
            Step::Down { connection } => {
                self.connections.remove(&connection);
                Fact::Down(connection, None)
            }
            _ => Fact::Tick,
        }
    }

    fn carry_out(&mut self) {
        for orders in 0.. {
            assert!(orders < MAX_OUTPUTS, "orders without end");
            let Some(order) = self.net.poll_order() else { break };
            match order {
                Order::Dial { attempt, .. } => self.attempts.push(attempt),
                Order::Connection(_, key, act) => {
                    assert!(self.connections.contains(&key), "{act:?} on one that is gone");
                    self.wanted -= usize::from(matches!(act, Act::Open { .. }));
                }
                Order::Connected(..) | Order::ConnectFailed(..) | Order::OpenFailed(..) => {
                    self.wanted -= 1;
                }
                Order::Event(_) => {}
            }
        }
        let sizes = self.net.sizes();
        assert_eq!(sizes.waiting, self.wanted, "each has one outcome");
        assert_eq!(sizes.connections, self.connections.len());
        for n in 0..8 {
            let kept = self.net.addresses(&peer(n)).len();
            assert!(kept <= 32, "{kept} addresses of one peer");
        }
    }
}
