//! What happens on a connection: orders arrive, streams are opened and answered, and its machine says
//! what silence means.

use pointsub_core::StreamError;
use pointsub_core::connection::Signs;

use super::*;

/// Nobody is suspect who was heard of within this time.
const SILENT: Duration = Duration::from_millis(2900);
/// A ping that takes longer has failed, and measures nothing.
const PING: Duration = Duration::from_secs(20);

impl Conn {
    fn signs(&self, planted: Option<Planted>) -> Signs {
        let (heard, written) = (self.heard, u64::from(self.written));
        let written = if planted == Some(Planted::IgnoreQueued) { 0 } else { written };
        Signs { heard, written, requests_due: self.due > 0, raw_streams: 0 }
    }
}

impl World {
    /// An order arrives at a connection.
    pub(super) fn act(&mut self, key: u32, act: Act) {
        let takes = match act {
            Act::Open { .. } | Act::Probe | Act::Recheck => self.small_trip(key),
            _ => Duration::ZERO,
        };
        let (now, moves) = (self.now, self.moves(key));
        let Some(one) = self.connections.get_mut(&key) else { return };
        if act == Act::Recheck {
            one.rechecked = now;
        }
        match act {
            Act::Open { .. } => {
                one.machine.opening();
                self.after(takes, Event::Opened(key, now));
            }
            Act::Watch => one.machine.keep(),
            Act::Assess => return self.assess(key),
            Act::Probe | Act::Recheck if self.planted == Some(Planted::HastySuspect) => {
                return self.judge(key, Verdict::Suspect);
            }
            Act::Probe | Act::Recheck if self.planted == Some(Planted::TrustCorpses) => {
                return self.soon_fact(key, Fact::Judged(key, Verdict::Answered));
            }
            Act::Probe | Act::Recheck => {
                let verdict = match act {
                    Act::Recheck => one.machine.wake(one.heard, now),
                    _ => one.machine.doubt(one.heard, now),
                };
                if verdict.is_some() {
                    self.after(takes, Event::Probe(key, now));
                }
            }
            Act::Abort => self.soon_fact(key, Fact::Down(key, None)),
            Act::Close => {
                let rtt = self.places[one.at].rtt;
                let takes = if moves { rtt } else { Duration::from_secs(2) };
                self.fact_after(key, takes, Fact::Down(key, None));
            }
            Act::Retire => {
                one.told_retired = true;
                if !one.machine.retire().is_empty() {
                    self.situations.insert(Situation::StreamsRetired);
                }
            }
            Act::Resume => {
                one.told_retired = false;
                one.machine.resume();
            }
        }
        self.watch(key);
    }

    /// Has a connection looked at when its machine wants that.
    pub(super) fn watch(&mut self, key: u32) {
        let (now, moves) = (self.now, self.moves(key));
        let Some(one) = self.connections.get_mut(&key) else { return };
        let signs = one.signs(self.planted);
        let due = one.machine.is_due(&signs);
        one.silent_since = if due && !moves { one.silent_since.or(Some(now)) } else { None };
        let Some(next) = one.machine.next_look(&signs).map(|next| next.max(now)) else { return };
        if one.look_at.is_none_or(|known| next < known) {
            one.look_at = Some(next);
            self.after(next.since(now), Event::Look(key));
        }
    }

    /// Looks for silence.
    pub(super) fn look(&mut self, key: u32) {
        let now = self.now;
        let Some(one) = self.connections.get_mut(&key) else { return };
        // One that was moved to an earlier time is over.
        if one.look_at.take_if(|at| *at == now).is_none() {
            return;
        }
        let verdict = one.machine.look(one.signs(self.planted), now);
        match verdict {
            Some(Verdict::Probe) => {
                let takes = self.small_trip(key);
                self.after(takes, Event::Probe(key, now));
            }
            Some(verdict) => self.judge(key, verdict),
            None => {}
        }
        self.watch(key);
    }

    /// The machine of a connection has come to a verdict. It knows of a sleep that no clock shows when
    /// it is told, and not before.
    fn judge(&mut self, key: u32, verdict: Verdict) {
        let one = &self.connections[&key];
        let silent = self.now.since(one.heard.max(one.rechecked).max(self.jumped));
        if verdict == Verdict::Suspect && silent < SILENT {
            self.broken = Some(format!("connection {key} is suspect after {silent:?}"));
        }
        if verdict == Verdict::Suspect && self.is_only_slow(key) {
            self.broken = Some(format!("connection {key} is suspect, and is only slow"));
        }
        self.soon_fact(key, Fact::Judged(key, verdict));
    }

    /// A probe is answered, or not.
    pub(super) fn probe(&mut self, key: u32, since: Timestamp) {
        let now = self.now;
        if self.moves(key) {
            self.heard(key);
        } else if now.since(since) < Duration::from_secs(60) {
            return self.after(RETRY, Event::Probe(key, since));
        }
        let answered = self.moves(key);
        let took = now.since(since);
        if answered && took < PING {
            self.soon_fact(key, Fact::Measured(key, took));
            if let Some(one) = self.connections.get_mut(&key) {
                one.machine.measured(took);
            }
        }
        let Some(one) = self.connections.get_mut(&key) else { return };
        let late = StreamError::Lost("no answer".into());
        one.machine.probed(if answered { Ok(()) } else { Err(&late) }, now);
        self.watch(key);
    }

    /// The peer agrees to a stream, or not.
    pub(super) fn opened(&mut self, key: u32, since: Timestamp) {
        let now = self.now;
        if let Some(day) = self.day.as_mut().filter(|_| !self.connections.contains_key(&key)) {
            // It was surely not processed, so that the client puts it on another connection.
            day.moved += 1;
            self.place(0);
            return;
        }
        if self.moves(key) {
            self.heard(key);
        } else if now.since(since) < REQUEST {
            return self.after(RETRY, Event::Opened(key, since));
        }
        let opens = self.moves(key);
        let Some(one) = self.connections.get_mut(&key) else { return };
        if !opens {
            if let Some(day) = &mut self.day {
                day.fail("no stream within 10 s", 1);
            }
            one.machine.open_failed();
            return self.watch(key);
        }
        let stream = self.streams.insert(());
        one.due += 1;
        if one.machine.opened(stream) {
            // It ends with the request that it was opened for.
            self.situations.insert(Situation::OpenedRetired);
        }
        if self.begin_body(key, stream) {
            return self.watch(key);
        }
        let most = if self.rng.chance(20) { 6_000_000 } else { 100_000 };
        let work = self.rng.micros(most);
        self.after(work, Event::Stream(key, stream, now));
        self.watch(key);
    }

    /// A request is answered, or not.
    pub(super) fn stream(&mut self, key: u32, stream: StreamId, since: Timestamp) {
        if self.moves(key) {
            self.heard(key);
        } else if self.now.since(since) < REQUEST {
            return self.after(RETRY, Event::Stream(key, stream, since));
        }
        self.streams.remove(stream);
        let moves = self.moves(key);
        if let Some(one) = self.connections.get_mut(&key) {
            match &mut self.day {
                Some(day) if moves => day.answered += 1,
                Some(day) => day.fail("no answer within 10 s", 1),
                None => {}
            }
            one.due -= 1;
            one.machine.closed(stream);
        }
        self.watch(key);
    }

    pub(super) fn heard(&mut self, key: u32) {
        if let Some(one) = self.connections.get_mut(&key) {
            (one.heard, one.silent_since) = (self.now, None);
            one.written = 0;
        }
    }
}
