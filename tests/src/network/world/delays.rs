//! How long things take: links of little throughput, delays that grow, messages that overtake each other,
//! and a node that stands still for a moment.

use super::*;

/// A body goes in parts of so many bytes, the next one when the last was confirmed, as a muxer's window
/// has it.
const PART: u32 = 256 * 1024;
/// Most bodies are shorter.
const LONG: u32 = 2 * 1024 * 1024;
/// A probe, or the opening of a stream.
const SMALL: u32 = 200;
/// A delay does not grow beyond this.
const LONGEST_RTT: Duration = Duration::from_secs(4);
/// How long a message between the machine and a connection takes at most.
const HANDED_ON: u32 = 2000;
/// The same, while messages overtake each other.
const HANDED_ON_LATE: u32 = 200_000;
/// How long relays that start anew are not there, at most.
const RELAYS_START: u32 = 5_000_000;
/// Links that carry less are taken for dead when bodies keep others waiting on them.
const SLOWEST: u32 = 16 * 1024;
/// A round trip of more than this need not be waited for when nothing is known of it.
const LONG_TRIP: Duration = Duration::from_millis(2500);

/// The bytes of a request and of its answer that are yet to go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Body {
    up: u32,
    down: u32,
}

impl Body {
    fn part(self) -> (u32, bool) {
        match self.up {
            0 => (self.down.min(PART), false),
            up => (up.min(PART), true),
        }
    }

    fn is_over(self) -> bool {
        (self.up, self.down) == (0, 0)
    }
}

impl World {
    /// How long a message to a place and its answer take, beside what is on its way.
    pub(super) fn trip(&mut self, at: usize) -> Duration {
        let takes = self.places[at].rtt + self.rng.micros(self.jitter);
        let arrives = self.now + takes;
        let place = &mut self.places[at];
        if arrives < place.last_arrival {
            self.situations.insert(Situation::Overtaken);
        }
        place.last_arrival = place.last_arrival.max(arrives);
        takes
    }

    /// How long something small takes on a connection, behind what was written before.
    pub(super) fn small_trip(&mut self, key: u32) -> Duration {
        self.carry(key, SMALL, true)
    }

    fn carry(&mut self, key: u32, bytes: u32, up: bool) -> Duration {
        let Some(at) = self.connections.get(&key).map(|one| one.at) else { return Duration::ZERO };
        let trip = self.trip(at);
        let rate = self.places[at].rate.map(u64::from);
        let takes = rate.map_or(0, |rate| u64::from(bytes) * 1_000_000 / rate.max(1));
        let now = self.now;
        let Some(one) = self.connections.get_mut(&key) else { return trip };
        let free = if up { &mut one.free_up } else { &mut one.free_down };
        *free = (*free).max(now) + Duration::from_micros(takes);
        free.since(now) + trip
    }

    /// A stream that was opened has a request and an answer. Whether these are long enough to take a while.
    pub(super) fn begin_body(&mut self, key: u32, stream: StreamId) -> bool {
        let one = &self.connections[&key];
        if self.places[one.at].rate.is_none() {
            return false;
        }
        self.situations.insert(Situation::Throttled);
        let len = |rng: &mut Rng| rng.below(u64::from(LONG)) as u32 >> rng.below(10);
        let body = Body { up: len(&mut self.rng), down: len(&mut self.rng) };
        self.send_part(key, stream, body);
        true
    }

    fn send_part(&mut self, key: u32, stream: StreamId, body: Body) {
        let (bytes, up) = body.part();
        if let Some(one) = self.connections.get_mut(&key).filter(|_| up) {
            one.written += bytes;
            one.unconfirmed += bytes;
        }
        let takes = self.carry(key, bytes, up);
        self.after(takes, Event::Part(key, stream, self.now, body));
    }

    /// A part of a body has arrived, or not.
    pub(super) fn part(&mut self, key: u32, stream: StreamId, since: Timestamp, body: Body) {
        if !self.moves(key) {
            // It was on its way until now.
            let since = since.max(self.connections.get(&key).map_or(since, |one| one.heard));
            match self.now.since(since) < REQUEST {
                true => self.after(RETRY, Event::Part(key, stream, since, body)),
                false => self.stream(key, stream, since),
            }
            return;
        }
        self.heard(key);
        let (bytes, up) = body.part();
        let mut body = body;
        if up {
            body.up -= bytes;
            if let Some(one) = self.connections.get_mut(&key) {
                one.unconfirmed -= bytes;
            }
        } else {
            body.down -= bytes;
        }
        if body.is_over() {
            return self.stream(key, stream, self.now);
        }
        self.send_part(key, stream, body);
        self.watch(key);
    }

    /// Whether the silence of a connection is that of a link which is slow, and nothing else: nothing has
    /// gone wrong since the peer was heard of, and all that is on its way was written since.
    pub(super) fn is_only_slow(&self, key: u32) -> bool {
        let one = &self.connections[&key];
        let place = &self.places[one.at];
        let trip = place.longest_rtt + Duration::from_micros(self.jitter.into());
        self.moves(key)
            && self.troubled < one.heard
            && one.unconfirmed <= one.written
            && place.rate.is_none_or(|rate| rate >= SLOWEST)
            && trip <= LONG_TRIP
    }

    pub(super) fn throttle(&mut self, at: Option<usize>, rate: Option<u32>) {
        let all = self.places.iter_mut().enumerate();
        let chosen = all.filter(|(place, _)| at.is_none_or(|at| at == *place));
        chosen.for_each(|(_, place)| place.rate = rate);
    }

    /// The delay grows each second.
    pub(super) fn fade(&mut self, at: usize, by: Duration) {
        self.situations.insert(Situation::Faded);
        let rtt = self.places[at].rtt + by;
        if rtt <= LONGEST_RTT {
            self.slow(at, rtt);
            self.after(Duration::from_secs(1), Event::Op(Op::Fade { at, by }));
        }
    }

    pub(super) fn slow(&mut self, at: usize, rtt: Duration) {
        let place = &mut self.places[at];
        place.rtt = rtt;
        place.longest_rtt = place.longest_rtt.max(rtt);
    }

    /// Nothing of this node happens for a moment. What was due meanwhile comes at once then: the timers
    /// first, if those are looked at first.
    pub(super) fn stall(&mut self, by: Duration, timers_first: bool) {
        self.situations.insert(Situation::Stalled);
        let until = self.now + by;
        let late = self.queue.split_off(&(self.now, 0));
        let (mut timers, mut others, mut kept) = (Vec::new(), Vec::new(), BTreeMap::new());
        for ((when, number), event) in late {
            match event {
                Event::Heal | Event::Settled => drop(kept.insert((when, number), event)),
                _ if when > until => drop(kept.insert((when, number), event)),
                Event::Look(_) | Event::Tick if timers_first => timers.push(event),
                event => others.push(event),
            }
        }
        self.queue.append(&mut kept);
        for event in timers.into_iter().chain(others) {
            self.after(by, event);
        }
        for one in self.connections.values_mut() {
            let late = |at: Timestamp| if at < until { until } else { at };
            one.look_at = one.look_at.map(late);
            one.acts_until = one.acts_until.max(until);
            one.facts_until = one.facts_until.max(until);
        }
        self.woke = until;
    }

    /// All connections through relays are gone, and no relay is there for a while.
    pub(super) fn restart_relays(&mut self, loud: bool) {
        let relayed = |one: &Conn| one.relayed;
        let keys: Vec<u32> =
            self.connections.iter().filter(|(_, one)| relayed(one)).map(|(key, _)| *key).collect();
        for key in keys {
            self.situations.insert(Situation::RelaysRestarted);
            if let Some(one) = self.connections.get_mut(&key) {
                one.broken = true;
            }
            if loud {
                self.soon_fact(key, Fact::Down(key, Some("the relay has ended".into())));
            }
        }
        let back = self.rng.micros(RELAYS_START);
        for at in 0..self.places.len() {
            if self.places[at].relayed {
                let gone = if loud { Answer::Refused } else { Answer::Never };
                let answer = std::mem::replace(&mut self.places[at].answer, gone);
                self.after(back, Event::Op(Op::Change { at, answer }));
            }
        }
    }

    fn handed_on(&mut self) -> Duration {
        let most = if self.jitter > 0 { HANDED_ON_LATE } else { HANDED_ON };
        self.rng.micros(most)
    }

    /// An order for a connection takes a moment. It overtakes those for other connections, and none for
    /// the same.
    pub(super) fn soon_act(&mut self, key: u32, act: Act) {
        let mut when = self.now + self.handed_on();
        if let Some(one) = self.connections.get_mut(&key) {
            when = when.max(one.acts_until);
            one.acts_until = when;
        }
        self.after(when.since(self.now), Event::Act(key, act));
    }

    /// Likewise what a connection says.
    pub(super) fn soon_fact(&mut self, key: u32, fact: Fact<u32>) {
        let handed_on = self.handed_on();
        self.fact_after(key, handed_on, fact);
    }

    pub(super) fn fact_after(&mut self, key: u32, delay: Duration, fact: Fact<u32>) {
        let mut when = self.now + delay;
        if let Some(one) = self.connections.get_mut(&key) {
            when = when.max(one.facts_until);
            one.facts_until = when;
        }
        self.after(when.since(self.now), Event::Fact(fact));
    }
}
