//! Whether the other end of a connection is still there.

use core::time::Duration;

use crate::time::Timestamp;

/// How long a peer may be silent by default before its connection is suspect, although something is due:
/// for the first half of it nothing is done, and then it is asked whether it is there.
const TOLERANCE: Duration = Duration::from_secs(6);
/// How much longer than at first nothing is done while the peer answers when it is asked and says
/// nothing else, as one does whose handlers take long.
const LONGEST_SILENCE: u32 = 8;
/// A peer that is far away has so many round trips, for each half, if that is longer.
const RTTS: u32 = 4;
/// No round trip counts as longer: what takes longer stands behind something else.
const LONGEST_RTT: Duration = Duration::from_secs(2);
/// What is still on its way may take longer: so many bytes a second are slow, but not dead.
const SLOWEST: u64 = 16 * 1024;
/// No silence is longer than this, however much is on its way.
const LONGEST_ANSWER: Duration = Duration::from_secs(60);
/// How long a suspect connection is kept while there is no other, at most.
const SUSPECT: Duration = Duration::from_secs(30);
/// How many times the silence that is tolerated it is kept.
const SUSPECT_TIMES: u32 = 5;
/// How often a connection that is watched is looked at. A longer pause between two looks was this
/// process's own.
const LOOK: Duration = Duration::from_secs(1);

/// What is to be done about a connection.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Ask the peer for a sign of life, such as a new stream to which it has to agree.
    Probe,
    /// The peer has answered a probe, or has sent something else meanwhile.
    Answered,
    /// The peer has not answered: use another connection for what is new, and make one if there is
    /// none. Close this one as soon as another is there.
    Suspect,
    /// It has answered after all.
    Recovered,
    /// Close the connection.
    Dead,
}

/// Watches one connection for silence, in the manner of gRPC's keep-alive (A8): bytes that come are
/// signs of life, whatever they are. A probe goes out when nothing has come for 3 s although
/// something is due, and is to be answered within 3 s, or within four round trips if these take longer.
/// While the probes are answered and nothing else comes, they become rarer, down to one each 24 s.
/// [`tolerate`](Self::tolerate) changes these times.
///
/// A probe waits behind what was written before. So a peer has as much longer as that needs at
/// 16 KiB/s, up to 60 s in all: a slow link is not a dead one. A suspect connection is dead 30 s
/// later, or five times the silence that is tolerated, if that is less.
///
/// ```
/// use core::time::Duration;
/// use pointsub_core::{Liveness, Timestamp, Verdict};
///
/// let start = Timestamp::ZERO;
/// let at = |seconds| start + Duration::from_secs(seconds);
/// let mut liveness = Liveness::new(start);
/// // A request was sent, and nothing comes.
/// let mut look = |seconds| liveness.look(true, at(0), 0, at(seconds));
/// assert_eq!([0, 1, 2, 3].map(&mut look), [None, None, None, Some(Verdict::Probe)]);
/// assert_eq!([4, 5, 6].map(&mut look), [None, None, Some(Verdict::Suspect)]);
/// ```
#[derive(Debug, Clone)]
pub struct Liveness {
    state: State,
    /// Since when something is due.
    due_since: Option<Timestamp>,
    heard: Timestamp,
    looked: Timestamp,
    silence: Duration,
    /// The shortest silence after which the peer is asked.
    shortest: Duration,
    /// How long it has to answer at least.
    answer: Duration,
    /// How long the connection is kept when it is suspect.
    suspect: Duration,
    /// How long it took to answer before, smoothed, or as was measured otherwise.
    rtt: Duration,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum State {
    Well,
    Probed { since: Timestamp },
    Suspect { since: Timestamp },
    Dead,
}

impl Liveness {
    /// A connection that was just made.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        let (shortest, answer) = halves(TOLERANCE);
        Self {
            state: State::Well,
            due_since: None,
            heard: now,
            looked: now,
            silence: shortest,
            shortest,
            answer,
            suspect: SUSPECT,
            rtt: Duration::ZERO,
        }
    }

    /// How long the peer may be silent before its connection is suspect; 6 s without this. `random` makes
    /// the first half of it up to a fifth longer, so that the probes of many connections do not go out
    /// all at once.
    #[must_use]
    pub fn tolerate(self, silence: Duration, random: u64) -> Self {
        let (half, answer) = halves(silence);
        let shortest = half + half / 5 * (random % 1024) as u32 / 1024;
        let suspect = SUSPECT.min(silence * SUSPECT_TIMES);
        Self { silence: shortest, shortest, answer, suspect, ..self }
    }

    /// How long the way to the peer and back is.
    pub fn measured(&mut self, rtt: Duration) {
        self.rtt = rtt.min(LONGEST_RTT);
    }

    /// Looks at the connection. Something is `due` while a request waits for its answer, a stream is
    /// being opened, or a raw stream is open. `heard` is when there was last a sign of life, and
    /// `written` how many bytes were written since. To be called when something becomes due, and
    /// each second while [`is_watched`](Self::is_watched).
    pub fn look(
        &mut self,
        due: bool,
        heard: Timestamp,
        written: u64,
        now: Timestamp,
    ) -> Option<Verdict> {
        let pause = now.since(self.looked);
        self.looked = self.looked.max(now);
        if pause > 3 * LOOK && self.is_watched() {
            // This process has slept, and what has come meanwhile is yet to be read.
            self.resume(now);
        }
        let news = heard > self.heard;
        self.heard = self.heard.max(heard);
        self.due_since = if due { self.due_since.or(Some(now)) } else { None };
        match self.state {
            State::Well if news => self.silence = self.shortest,
            State::Probed { since } if news => {
                self.state = State::Well;
                self.silence = (self.silence * 2).min(self.shortest * LONGEST_SILENCE);
                let took = heard.since(since).min(LONGEST_RTT);
                self.rtt = if self.rtt.is_zero() { took } else { (self.rtt * 3 + took) / 4 };
                return Some(Verdict::Answered);
            }
            State::Suspect { .. } if news => {
                self.state = State::Well;
                return Some(Verdict::Recovered);
            }
            _ => {}
        }
        match (self.state, self.due_since) {
            (State::Well, None) => self.silence = self.shortest,
            (State::Well, Some(since)) if now.since(since.max(self.heard)) >= self.silence() => {
                return self.probe(heard, now);
            }
            (State::Probed { since }, _) if now.since(since) >= self.answer_within(written) => {
                self.state = State::Suspect { since: now };
                return Some(Verdict::Suspect);
            }
            (State::Suspect { since }, _) if now.since(since) >= self.suspect => {
                self.state = State::Dead;
                return Some(Verdict::Dead);
            }
            _ => {}
        }
        None
    }

    /// Asks for a sign of life now, later than that of `heard`, whatever is due: there is a reason to
    /// doubt. Says whether a probe is to go out; there may be one under way.
    pub fn probe(&mut self, heard: Timestamp, now: Timestamp) -> Option<Verdict> {
        if self.state != State::Well {
            return None;
        }
        self.heard = self.heard.max(heard);
        self.looked = self.looked.max(now);
        self.state = State::Probed { since: now };
        Some(Verdict::Probe)
    }

    /// This process has slept, also if no clock says so: whatever was waited for has time anew. Otherwise
    /// like [`probe`](Self::probe).
    pub fn wake(&mut self, heard: Timestamp, now: Timestamp) -> Option<Verdict> {
        self.resume(now);
        self.probe(heard, now)
    }

    /// Whether it is to be looked at each second.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.due_since.is_some() || self.state != State::Well
    }

    /// When to look at it next, if it is watched: after a second, or earlier if something may be due.
    #[must_use]
    pub fn next_look(&self, now: Timestamp) -> Timestamp {
        let due = match (self.state, self.due_since) {
            (State::Well, Some(since)) => since.max(self.heard) + self.silence(),
            (State::Probed { since }, _) => since + self.answer_within(0),
            (State::Suspect { since }, _) => since + self.suspect,
            _ => now,
        };
        let look = now + LOOK;
        if due > now { look.min(due) } else { look }
    }

    /// Whether a probe was not answered in time.
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        matches!(self.state, State::Suspect { .. } | State::Dead)
    }

    fn resume(&mut self, now: Timestamp) {
        self.due_since = self.due_since.map(|_| now);
        match &mut self.state {
            State::Probed { since } | State::Suspect { since } => *since = now,
            State::Well | State::Dead => {}
        }
    }

    fn silence(&self) -> Duration {
        self.silence.max(self.rtt * RTTS)
    }

    /// How long a peer has, if so many bytes are on their way to it.
    fn answer_within(&self, written: u64) -> Duration {
        let least = self.answer.max(self.rtt * RTTS);
        let queued = Duration::from_millis(written.saturating_mul(1000) / SLOWEST);
        (least + queued).min(LONGEST_ANSWER.max(self.answer))
    }
}

/// How long nothing is done, and how long the peer has to answer then.
fn halves(silence: Duration) -> (Duration, Duration) {
    (silence / 2, silence - silence / 2)
}
