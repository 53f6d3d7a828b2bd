//! A scenario that fails, made smaller as long as it still does.

use std::time::{Duration, Instant};

use super::plan::{ClientPlan, Kind, LinkPlan, PeerPlan, ServerPlan};
use super::{Op, Scenario};

/// The smallest scenario found, within a time, for which `fails` still holds.
pub fn shrink(
    scenario: &Scenario,
    within: Duration,
    fails: impl FnMut(&Scenario) -> bool,
) -> Scenario {
    let until = Instant::now() + within;
    let mut shrinking = Shrinking { best: scenario.clone(), fails, until };
    // What becomes possible when something else has gone is tried in the next round.
    while shrinking.round() {}
    shrinking.best
}

struct Shrinking<F> {
    best: Scenario,
    fails: F,
    until: Instant,
}

impl<F: FnMut(&Scenario) -> bool> Shrinking<F> {
    /// Tries everything once; whether anything helped.
    fn round(&mut self) -> bool {
        let mut helped = self.lists();
        helped |= self.peers();
        helped |= self.options();
        helped |= self.each_op();
        helped |= self.times();
        helped && Instant::now() < self.until
    }

    fn attempt(&mut self, change: impl FnOnce(&mut Scenario)) -> bool {
        if Instant::now() >= self.until {
            return false;
        }
        let mut smaller = self.best.clone();
        change(&mut smaller);
        let helps = smaller != self.best && (self.fails)(&smaller);
        if helps {
            self.best = smaller;
        }
        helps
    }

    /// Parts of the lists are left out: halves first, single elements in the end.
    fn lists(&mut self) -> bool {
        let mut helped = false;
        let mut part = self.best.ops.len().max(self.best.faults.len());
        while part > 0 {
            let mut at = 0;
            while at < self.best.ops.len() {
                let gone = self.attempt(|s| drop_part(&mut s.ops, at, part));
                helped |= gone;
                at += if gone { 0 } else { part };
            }
            let mut at = 0;
            while at < self.best.faults.len() {
                let gone = self.attempt(|s| drop_part(&mut s.faults, at, part));
                helped |= gone;
                at += if gone { 0 } else { part };
            }
            part /= 2;
        }
        helped
    }

    fn peers(&mut self) -> bool {
        let mut helped = false;
        for at in (0..self.best.peers.len()).rev() {
            if self.best.peers.len() > 1 {
                helped |= self.attempt(|s| drop_part(&mut s.peers, at, 1));
            }
        }
        for at in 0..self.best.peers.len() {
            helped |= self.attempt(|s| s.peers[at] = PeerPlan::default());
            helped |= self.attempt(|s| s.peers[at].kind = Kind::Native);
            helped |= self.attempt(|s| s.peers[at].link = LinkPlan::default());
            helped |= self.attempt(|s| s.peers[at].link.jitter = 0);
            helped |= self.attempt(|s| s.peers[at].link.piece = 0);
            helped |= self.attempt(|s| s.peers[at].work = 1_000);
            helped |= self.attempt(|s| s.peers[at].slow = 0);
            helped |= self.attempt(|s| s.peers[at].failing = 0);
            helped |= self.server(at);
        }
        helped
    }

    fn server(&mut self, at: usize) -> bool {
        let plain = ServerPlan::default();
        let mut helped = self.attempt(|s| s.peers[at].server = ServerPlan::default());
        let all: [fn(&mut ServerPlan, &ServerPlan); 13] = [
            |s, plain| s.min_concurrent = plain.min_concurrent,
            |s, plain| s.headroom = plain.headroom,
            |s, plain| s.limit_window = plain.limit_window,
            |s, plain| s.max_concurrent = plain.max_concurrent,
            |s, plain| s.max_in_flight = plain.max_in_flight,
            |s, plain| s.read_timeout = plain.read_timeout,
            |s, plain| s.write_timeout = plain.write_timeout,
            |s, plain| s.cleanup_interval = plain.cleanup_interval,
            |s, plain| s.max_block = plain.max_block,
            |s, plain| s.memory_per_peer = plain.memory_per_peer,
            |s, plain| s.memory_beside = plain.memory_beside,
            |s, plain| s.buffer = plain.buffer,
            |s, plain| s.policy = plain.policy,
        ];
        for simplify in all {
            helped |= self.attempt(|s| simplify(&mut s.peers[at].server, &plain));
        }
        helped
    }

    fn options(&mut self) -> bool {
        let plain = ClientPlan::default();
        let mut helped = self.attempt(|s| s.batched = false);
        helped |= self.attempt(|s| s.heal = 0);
        helped |= self.attempt(|s| s.client = ClientPlan::default());
        let all: [fn(&mut ClientPlan, &ClientPlan); 14] = [
            |c, plain| c.read_timeout = plain.read_timeout,
            |c, plain| c.write_timeout = plain.write_timeout,
            |c, plain| c.connect_timeout = plain.connect_timeout,
            |c, plain| c.idle_timeout = plain.idle_timeout,
            |c, plain| c.max_idle = plain.max_idle,
            |c, plain| c.max_idle_per_peer = plain.max_idle_per_peer,
            |c, plain| c.max_in_flight = plain.max_in_flight,
            |c, plain| c.max_streams_per_peer = plain.max_streams_per_peer,
            |c, plain| c.max_total = plain.max_total,
            |c, plain| c.max_bulk = plain.max_bulk,
            |c, plain| c.max_pending = plain.max_pending,
            |c, plain| c.max_retries = plain.max_retries,
            |c, plain| c.retry_interval = plain.retry_interval,
            |c, plain| c.strategy = plain.strategy,
        ];
        for simplify in all {
            helped |= self.attempt(|s| simplify(&mut s.client, &plain));
        }
        helped
    }

    fn each_op(&mut self) -> bool {
        let all: [fn(&mut Op); 7] = [
            |op| {
                if let Op::Send { count, .. } = op {
                    *count = 1;
                }
            },
            |op| {
                if let Op::Send { count, .. } = op {
                    *count /= 2;
                }
            },
            |op| {
                if let Op::Send { len, .. } | Op::Closest { len, .. } = op {
                    *len = 0;
                }
            },
            |op| {
                if let Op::Send { compress, .. } = op {
                    *compress = false;
                }
            },
            |op| {
                if let Op::Send { deadline_ms, .. } | Op::Closest { deadline_ms, .. } = op {
                    *deadline_ms = None;
                }
            },
            |op| {
                if let Op::Send { cancel_ms, .. } | Op::Closest { cancel_ms, .. } = op {
                    *cancel_ms = None;
                }
            },
            |op| {
                if let Op::Closest { hedge_ms, exclude, .. } = op {
                    *hedge_ms = None;
                    *exclude = None;
                }
            },
        ];
        let mut helped = false;
        for at in 0..self.best.ops.len() {
            for simplify in all {
                helped |= self.attempt(|s| simplify(&mut s.ops[at].1));
            }
        }
        helped
    }

    /// Everything happens earlier, and at rounder times.
    fn times(&mut self) -> bool {
        let mut helped = self.attempt(|s| s.ops.iter_mut().for_each(|(at, _)| *at = 0));
        for at in 0..self.best.ops.len() {
            let before = if at == 0 { 0 } else { self.best.ops[at - 1].0 };
            helped |= self.attempt(|s| s.ops[at].0 = before);
            helped |= self.attempt(|s| s.ops[at].0 -= s.ops[at].0 % 1000);
        }
        for at in 0..self.best.faults.len() {
            helped |= self.attempt(|s| s.faults[at].0 -= s.faults[at].0 % 1000);
        }
        helped |= self.attempt(|s| s.heal = s.heal.div_ceil(1000) * 1000);
        helped
    }
}

fn drop_part<T>(list: &mut Vec<T>, at: usize, part: usize) {
    let end = (at + part).min(list.len());
    list.drain(at.min(end)..end);
}
