//! Whether the other end of a connection is still there.

use core::time::Duration;

use crate::time::Timestamp;

/// How long nothing comes, although something is due, before the peer is asked whether it is there.
const SILENCE: Duration = Duration::from_secs(3);
/// The same while it answers that and nothing else, as a peer does whose handlers take long.
const LONGEST_SILENCE: Duration = Duration::from_secs(24);
/// How long the peer may take to answer.
const ANSWER: Duration = Duration::from_secs(3);
/// What is still on its way may take longer: so many bytes a second are slow, but not dead.
const SLOWEST: u64 = 16 * 1024;
/// No silence is longer than this, however much is on its way.
const LONGEST_ANSWER: Duration = Duration::from_secs(60);
/// How long a suspect connection is kept while there is no other.
const SUSPECT: Duration = Duration::from_secs(30);
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
/// something is due, and is to be answered within 3 s. While the probes are answered and nothing
/// else comes, they become rarer, down to one each 24 s.
///
/// A probe waits behind what was written before. So a peer has as much longer as that needs at
/// 16 KiB/s, up to 60 s in all: a slow link is not a dead one. A suspect connection is dead 30 s
/// later.
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
        Self { state: State::Well, due_since: None, heard: now, looked: now, silence: SILENCE }
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
            State::Well if news => self.silence = SILENCE,
            State::Probed { .. } if news => {
                self.state = State::Well;
                self.silence = (self.silence * 2).min(LONGEST_SILENCE);
                return Some(Verdict::Answered);
            }
            State::Suspect { .. } if news => {
                self.state = State::Well;
                return Some(Verdict::Recovered);
            }
            _ => {}
        }
        match (self.state, self.due_since) {
            (State::Well, None) => self.silence = SILENCE,
            (State::Well, Some(since)) if now.since(since.max(self.heard)) >= self.silence => {
                return self.probe(heard, now);
            }
            (State::Probed { since }, _) if now.since(since) >= answer_within(written) => {
                self.state = State::Suspect { since: now };
                return Some(Verdict::Suspect);
            }
            (State::Suspect { since }, _) if now.since(since) >= SUSPECT => {
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

    /// Whether it is to be looked at each second.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.due_since.is_some() || self.state != State::Well
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
}

/// How long a peer has, if so many bytes are on their way to it.
fn answer_within(written: u64) -> Duration {
    (ANSWER + Duration::from_millis(written.saturating_mul(1000) / SLOWEST)).min(LONGEST_ANSWER)
}
