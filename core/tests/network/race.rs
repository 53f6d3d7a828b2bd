//! The race of a peer's addresses.

use core::time::Duration;

use pointsub_core::Timestamp;
use pointsub_core::network::{AttemptId, DialError, Failure, Race as Bare, Step, Turn};

const LIMIT: Duration = Duration::from_secs(5);

fn at(millis: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_millis(millis)
}

/// How many addresses of a peer are tried at a time.
const AT_A_TIME: usize = 8;

/// A race, and the names that it gives.
struct Race {
    race: Bare<u32>,
    next: AttemptId,
}

impl Race {
    fn new() -> Self {
        Self { race: Bare::new(LIMIT), next: AttemptId::default() }
    }

    fn add(&mut self, address: u32, turn: Turn) {
        self.race.add(address, turn);
    }

    fn poll(&mut self, now: Timestamp) -> Option<Step<u32>> {
        self.race.poll(now, &mut self.next)
    }

    fn failed(&mut self, attempt: AttemptId, why: Option<DialError>) -> bool {
        self.race.failed(attempt, why)
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.race.next_deadline()
    }
}

fn refused() -> DialError {
    DialError::Transport("refused".into())
}

fn race(addresses: impl IntoIterator<Item = u32>) -> Race {
    let mut race = Race::new();
    addresses.into_iter().for_each(|address| race.add(address, Turn::InOrder));
    race
}

/// What is started at this time.
fn started(race: &mut Race, now: Timestamp) -> Vec<(AttemptId, u32)> {
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
fn play(race: &mut Race) -> (Vec<(Timestamp, u32)>, Option<Timestamp>) {
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
    assert!(race.failed(running[3].0, Some(refused())));
    assert_eq!(addresses(started(&mut race, at(4999))), [9], "one for one");
}

#[test]
fn a_failure_gives_the_next_its_turn() {
    let mut race = race([1, 2, 3]);
    let first = started(&mut race, at(0));
    assert!(race.failed(first[0].0, Some(refused())));
    let second = started(&mut race, at(1));
    assert_eq!(addresses(second), [2]);
    assert_eq!(race.next_deadline(), Some(at(251)), "and then it has its head start");
    assert_eq!(addresses(started(&mut race, at(250))), []);
    assert_eq!(addresses(started(&mut race, at(251))), [3]);
}

#[test]
fn relays_come_last_and_later() {
    let mut race = Race::new();
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
    assert!(race.failed(first[0].0, Some(refused())));
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
    assert!(race.failed(first[0].0, Some(refused())));
    race.add(1, Turn::InOrder);
    let second = started(&mut race, at(10));
    assert_eq!(second.len(), 1);
    assert!(!race.failed(first[0].0, Some(refused())));
    assert_eq!(race.poll(at(10)), None, "the second attempt is another one");
    assert!(race.failed(second[0].0, Some(DialError::Aborted)));
    let why = DialError::Aborted;
    assert_eq!(race.poll(at(10)), Some(Step::Lost(vec![Failure { address: 1, why }])));
}

#[test]
fn who_asks_late_has_as_much_time() {
    let mut race = race([1]);
    assert_eq!(addresses(started(&mut race, at(0))), [1]);
    race.add(1, Turn::Now);
    assert_eq!(addresses(started(&mut race, at(4999))), []);
    assert_eq!(addresses(started(&mut race, at(5000))), [1]);
    let why = DialError::TimedOut(LIMIT);
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
