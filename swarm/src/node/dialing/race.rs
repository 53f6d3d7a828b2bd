//! The dial of one peer: its addresses race each other.

use std::collections::VecDeque;
use std::time::Duration;

use pointsub_core::Timestamp;

/// How long one address is tried alone before the next one is tried as well (RFC 8305, section 5).
pub(super) const HEAD_START: Duration = Duration::from_millis(250);
/// The same, before an address is tried that costs others something: one at a relay.
pub(super) const HEAD_START_BEFORE_LAST: Duration = Duration::from_millis(500);
/// How many addresses of a peer are tried at a time. One that the application asks for now is
/// tried beyond that.
pub(super) const AT_A_TIME: usize = 8;

/// When an address has its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Turn {
    /// At once, whatever else is tried.
    Now,
    /// In the order in which they are added.
    InOrder,
    /// After the others.
    Last,
}

/// One address that is being tried; unique within its race.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AttemptId(u64);

/// What a race wants.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<A> {
    /// Dial this, and tell the race if that fails.
    Start(AttemptId, A),
    /// No address is left. Nothing follows, unless another one is added.
    Lost(Vec<Failure<A>>),
}

/// An address, and why it did not lead to the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure<A> {
    pub(crate) address: A,
    pub(crate) why: Why,
}

/// Why an address did not lead to the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Why {
    /// There was no connection for so long.
    TimedOut(Duration),
    /// What was told.
    Said(String),
}

/// ```text
///           turn has come              it failed, or `limit` has passed
///  Waiting ───────────────▶ Running ───────────────────────────────────▶ Failed
///     ▲                                                                    │
///     └──────────────────────── added once more ───────────────────────────┘
/// ```
///
/// The race is over when it is dropped, since there is a connection, or when it is lost. Each
/// address has its own limit, which begins when the address has its turn, so that the last one has
/// as much time as the first. The machine does no I/O and reads no clock.
#[derive(Debug)]
pub(crate) struct Race<A> {
    limit: Duration,
    waiting: VecDeque<(A, Turn)>,
    running: Vec<Running<A>>,
    failed: Vec<Failure<A>>,
    attempts: u64,
    /// When the last attempt began.
    last_start: Timestamp,
    /// One has failed since: the next has its turn.
    hurry: bool,
}

#[derive(Debug)]
struct Running<A> {
    id: AttemptId,
    address: A,
    until: Timestamp,
    turn: Turn,
    /// It was asked for once more.
    again: bool,
}

impl<A: Clone + PartialEq> Race<A> {
    /// A race without addresses, each of which may take `limit`.
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            limit,
            waiting: VecDeque::new(),
            running: Vec::new(),
            failed: Vec::new(),
            attempts: 0,
            last_start: Timestamp::ZERO,
            hurry: true,
        }
    }

    /// An address joins. One that is tried already is not tried twice at a time; one that has failed
    /// is tried again.
    pub(crate) fn add(&mut self, address: A, turn: Turn) {
        if let Some(running) = self.running.iter_mut().find(|running| running.address == address) {
            // Who asks for it now has as much time as who did before.
            running.again |= turn == Turn::Now;
            return;
        }
        self.failed.retain(|failed| failed.address != address);
        if let Some(known) = self.waiting.iter().position(|(waiting, _)| *waiting == address) {
            if self.waiting[known].1 <= turn {
                return;
            }
            self.waiting.remove(known);
        }
        let place = self.waiting.iter().position(|(_, other)| *other > turn);
        self.waiting.insert(place.unwrap_or(self.waiting.len()), (address, turn));
    }

    /// An attempt failed. `said` is `None` if there was nothing to try. Returns whether it was
    /// running; it may have been late.
    pub(crate) fn failed(&mut self, attempt: AttemptId, said: Option<String>) -> bool {
        let Some(index) = self.running.iter().position(|running| running.id == attempt) else {
            return false;
        };
        let running = self.running.remove(index);
        self.hurry = true;
        let failure = said.map(|said| Failure { address: running.address, why: Why::Said(said) });
        self.failed.extend(failure);
        true
    }

    /// What is to be done at this time; call until it is `None`, and after each input.
    pub(crate) fn poll(&mut self, now: Timestamp) -> Option<Step<A>> {
        self.expire(now);
        if self.due().is_some_and(|due| due <= now) {
            let (address, turn) = self.waiting.pop_front()?;
            let id = AttemptId(self.attempts);
            self.attempts += 1;
            let until = now + self.limit;
            let running = Running { id, address: address.clone(), until, turn, again: false };
            self.running.push(running);
            self.last_start = now;
            self.hurry = false;
            return Some(Step::Start(id, address));
        }
        let lost = self.waiting.is_empty() && self.running.is_empty();
        lost.then(|| Step::Lost(std::mem::take(&mut self.failed)))
    }

    /// When to [`poll`](Self::poll) if nothing happens before.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.running.iter().map(|running| running.until).chain(self.due()).min()
    }

    fn expire(&mut self, now: Timestamp) {
        let why = Why::TimedOut(self.limit);
        for late in self.running.extract_if(.., |running| running.until <= now) {
            self.hurry = true;
            if late.again {
                self.waiting.push_front((late.address, Turn::Now));
            } else {
                self.failed.push(Failure { address: late.address, why: why.clone() });
            }
        }
    }

    /// When the next address has its turn; `None` if that is not a question of time.
    fn due(&self) -> Option<Timestamp> {
        let (_, turn) = self.waiting.front()?;
        if *turn == Turn::Now || self.running.is_empty() {
            return Some(Timestamp::ZERO);
        }
        if self.running.len() >= AT_A_TIME {
            return None;
        }
        let better_runs = self.running.iter().any(|running| running.turn < *turn);
        Some(match turn {
            Turn::Last if better_runs => self.last_start + HEAD_START_BEFORE_LAST,
            _ if self.hurry => Timestamp::ZERO,
            _ => self.last_start + HEAD_START,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    fn at(millis: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_millis(millis)
    }

    fn race(addresses: impl IntoIterator<Item = u32>) -> Race<u32> {
        let mut race = Race::new(LIMIT);
        addresses.into_iter().for_each(|address| race.add(address, Turn::InOrder));
        race
    }

    /// What is started at this time.
    fn started(race: &mut Race<u32>, now: Timestamp) -> Vec<(AttemptId, u32)> {
        let mut started = Vec::new();
        while let Some(step) = race.poll(now) {
            match step {
                Step::Start(id, address) => started.push((id, address)),
                Step::Lost(failures) => panic!("lost at {now}: {failures:?}"),
            }
        }
        started
    }

    fn addresses(started: Vec<(AttemptId, u32)>) -> Vec<u32> {
        started.into_iter().map(|(_, address)| address).collect()
    }

    /// Lets time pass, and says when which address was started, and when the race was lost.
    fn play(race: &mut Race<u32>) -> (Vec<(Timestamp, u32)>, Option<Timestamp>) {
        let mut starts = Vec::new();
        let mut now = at(0);
        loop {
            while let Some(step) = race.poll(now) {
                match step {
                    Step::Start(_, address) => starts.push((now, address)),
                    Step::Lost(_) => return (starts, Some(now)),
                }
            }
            match race.next_deadline() {
                Some(next) => now = now.max(next),
                None => return (starts, None),
            }
        }
    }

    #[test]
    fn each_address_has_a_head_start_before_the_next() {
        let (starts, lost) = play(&mut race([1, 2, 3]));
        assert_eq!(starts, [(at(0), 1), (at(250), 2), (at(500), 3)]);
        assert_eq!(lost, Some(at(5500)), "the last one has as much time as the first");
    }

    #[test]
    fn the_ninth_of_nine_is_reached() {
        let (starts, lost) = play(&mut race(1..=9));
        assert_eq!(starts.last(), Some(&(at(5000), 9)), "when the first has had its time");
        assert_eq!(starts.len(), 9);
        assert_eq!(lost, Some(at(10_000)));
    }

    #[test]
    fn so_many_run_at_a_time_and_no_more() {
        let mut race = race(1..=20);
        let mut running = Vec::new();
        for step in 0..20 {
            running.extend(started(&mut race, at(250 * step)));
        }
        assert_eq!(running.len(), AT_A_TIME);
        assert!(race.failed(running[3].0, Some("refused".into())));
        assert_eq!(addresses(started(&mut race, at(4999))), [9], "one for one");
    }

    #[test]
    fn a_failure_gives_the_next_its_turn() {
        let mut race = race([1, 2, 3]);
        let first = started(&mut race, at(0));
        assert!(race.failed(first[0].0, Some("refused".into())));
        let second = started(&mut race, at(1));
        assert_eq!(addresses(second), [2]);
        assert_eq!(race.next_deadline(), Some(at(251)), "and then it has its head start");
        assert_eq!(addresses(started(&mut race, at(250))), []);
        assert_eq!(addresses(started(&mut race, at(251))), [3]);
    }

    #[test]
    fn relays_come_last_and_later() {
        let mut race: Race<u32> = Race::new(LIMIT);
        race.add(9, Turn::Last);
        race.add(1, Turn::InOrder);
        race.add(2, Turn::InOrder);
        let (starts, _) = play(&mut race);
        assert_eq!(starts, [(at(0), 1), (at(250), 2), (at(750), 9)]);
    }

    #[test]
    fn a_relay_waits_for_no_address_that_has_failed() {
        let mut race = race([1]);
        race.add(9, Turn::Last);
        let first = started(&mut race, at(0));
        assert!(race.failed(first[0].0, Some("refused".into())));
        assert_eq!(addresses(started(&mut race, at(1))), [9]);
    }

    #[test]
    fn an_address_that_comes_meanwhile_joins() {
        let mut race = race([1]);
        assert_eq!(addresses(started(&mut race, at(0))), [1]);
        race.add(2, Turn::InOrder);
        assert_eq!(addresses(started(&mut race, at(100))), [], "the first has its head start");
        assert_eq!(addresses(started(&mut race, at(250))), [2]);
        race.add(3, Turn::Now);
        race.add(4, Turn::InOrder);
        assert_eq!(addresses(started(&mut race, at(251))), [3]);
    }

    #[test]
    fn what_the_application_asks_for_now_is_beyond_the_limit() {
        let mut race = race(1..=20);
        for step in 0..AT_A_TIME as u64 {
            assert_eq!(started(&mut race, at(250 * step)).len(), 1);
        }
        assert_eq!(addresses(started(&mut race, at(4000))), []);
        race.add(20, Turn::Now);
        assert_eq!(addresses(started(&mut race, at(4000))), [20], "although it stood in line");
    }

    #[test]
    fn nothing_is_tried_twice_unless_it_failed() {
        let mut race = race([1, 1]);
        let first = started(&mut race, at(0));
        race.add(1, Turn::Now);
        assert_eq!(addresses(started(&mut race, at(9))), []);
        assert!(race.failed(first[0].0, Some("refused".into())));
        race.add(1, Turn::InOrder);
        let second = started(&mut race, at(10));
        assert_eq!(second.len(), 1);
        assert!(!race.failed(first[0].0, Some("late".into())));
        assert_eq!(race.poll(at(10)), None, "the second attempt is another one");
        assert!(race.failed(second[0].0, Some("refused again".into())));
        let why = Why::Said("refused again".into());
        assert_eq!(race.poll(at(10)), Some(Step::Lost(vec![Failure { address: 1, why }])));
    }

    #[test]
    fn who_asks_late_has_as_much_time() {
        let mut race = race([1]);
        assert_eq!(addresses(started(&mut race, at(0))), [1]);
        race.add(1, Turn::Now);
        assert_eq!(addresses(started(&mut race, at(4999))), []);
        assert_eq!(addresses(started(&mut race, at(5000))), [1]);
        let why = Why::TimedOut(LIMIT);
        assert_eq!(race.poll(at(10_000)), Some(Step::Lost(vec![Failure { address: 1, why }])));
    }

    #[test]
    fn what_was_nothing_to_try_is_no_failure() {
        let mut race = race([1]);
        let first = started(&mut race, at(0));
        assert!(race.failed(first[0].0, None));
        assert_eq!(race.poll(at(0)), Some(Step::Lost(Vec::new())));
    }

    #[test]
    fn a_race_without_addresses_is_lost() {
        assert_eq!(race([]).poll(at(0)), Some(Step::Lost(Vec::new())));
    }
}
