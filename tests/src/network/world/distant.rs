//! What befalls the node itself, its network, and those who are not there.

use super::*;

/// So long nothing has moved on a connection that a NAT forgets.
const UNUSED: Duration = Duration::from_secs(5);
/// Whoever looks each second sees a pause that is longer than this.
const SEEN: Duration = Duration::from_secs(3);
/// How long it takes until the system tells of another network.
const TOLD: u32 = 1_000_000;

impl World {
    /// The node sleeps. Half of its connections are gone when it wakes.
    pub(super) fn sleep(&mut self, seconds: u64, clock_stands: bool) {
        self.situations.insert(Situation::Slept);
        for one in self.connections.values_mut() {
            one.broken |= self.rng.chance(50);
        }
        if !clock_stands {
            let gap = Duration::from_secs(seconds);
            let queue = std::mem::take(&mut self.queue);
            self.queue = queue.into_iter().map(|((t, n), event)| ((t + gap, n), event)).collect();
            (self.now, self.end) = (self.now + gap, self.end + gap);
            self.connections.values_mut().for_each(|one| {
                one.silent_since = one.silent_since.map(|since| since + gap);
                one.look_at = one.look_at.map(|at| at + gap);
                one.asked = one.asked.map(|since| since + gap);
                one.acts_until = one.acts_until + gap;
                one.facts_until = one.facts_until + gap;
                one.free_up = one.free_up + gap;
                one.free_down = one.free_down + gap;
            });
            self.dials.values_mut().for_each(|dial| dial.began = dial.began + gap);
            self.races.iter_mut().for_each(|(since, _)| *since = *since + gap);
            self.checker.sleep(gap);
            if gap > SEEN {
                self.jumped = self.now;
            }
        }
        self.woke = self.now;
        self.tell(Fact::Changed(Change::Woke));
    }

    /// The node is in another network. The system tells it so some time later.
    pub(super) fn roam(&mut self) {
        self.situations.insert(Situation::Roamed);
        self.connections.values_mut().for_each(|one| one.broken = true);
        let told = self.rng.micros(TOLD);
        self.after(told, Event::Fact(Fact::Changed(Change::Network)));
    }

    /// A NAT forgets what is not used.
    pub(super) fn forget(&mut self) {
        let now = self.now;
        let unused = |one: &&mut Conn| one.due == 0 && now.since(one.heard) > UNUSED;
        for one in self.connections.values_mut().filter(unused) {
            self.situations.insert(Situation::Forgotten);
            one.broken = true;
        }
    }

    pub(super) fn skew(&mut self, on: bool) {
        self.skewed = on;
        if on {
            self.situations.insert(Situation::Skewed);
        }
    }

    /// The application wants to reach many peers, each at an address where nobody answers.
    pub(super) fn flood(&mut self, peers: usize) {
        self.situations.insert(Situation::Flooded);
        let nowhere = self.address(self.places.len() - 1);
        for peer in ABSENT..ABSENT + peers {
            self.tell(Fact::Named(self.id(peer), nowhere.clone(), Source::Application));
            self.open(peer);
        }
    }

    /// A dial begins.
    pub(super) fn begin(&mut self, attempt: AttemptId, dial: Dial) {
        self.dials.insert(attempt, dial);
        if self.planted == Some(Planted::NoBudget) {
            // The machine takes it for one that has ended.
            self.soon(Event::Fact(Fact::DialFailed(attempt, Some(DialError::Aborted))));
        }
        if self.dials.len() == 256 {
            self.situations.insert(Situation::InLine);
        }
    }

    /// A connection says what it is used for.
    pub(super) fn assess(&mut self, key: u32) {
        let Some(one) = self.connections.get_mut(&key) else { return };
        one.assessed_busy = one.due > 0;
        let (is_busy, streams) = (one.due > 0, one.due + self.rng.below(3) as usize);
        if is_busy {
            self.situations.insert(Situation::Crowding);
        }
        self.soon_fact(key, Fact::Assessed(key, Work { is_busy, streams }));
    }
}
