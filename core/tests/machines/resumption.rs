//! Whether a call that was lost is opened again, and when.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pointsub_core::endpoint::{ResumePolicy, Resumption};
use pointsub_core::{Cause, Delivery, Phase, RequestError, Status, StatusCode, Timestamp};

const SECOND: Duration = Duration::from_secs(1);

fn at(millis: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_millis(millis)
}

fn policy() -> ResumePolicy {
    ResumePolicy::default().with_max_tries(4).with_interval(SECOND)
}

/// A call that was opened long ago.
fn open(policy: ResumePolicy) -> Resumption {
    Resumption::new(policy, None, None, 7)
}

fn failed(cause: Cause) -> RequestError {
    RequestError::new(cause, Phase::Answer, Delivery::Processed)
}

fn lost() -> RequestError {
    failed(Cause::Lost(Arc::from("cut")))
}

fn answered(code: StatusCode) -> RequestError {
    failed(Cause::Remote(Status::new(code, "")))
}

fn cursor(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// How long a call waits for its next try.
#[track_caller]
fn pause(call: &mut Resumption, now: Timestamp) -> u64 {
    let due = call.lost(&lost(), now).expect("another try");
    due.since(now).as_millis() as u64
}

#[test]
fn the_first_try_falls_anywhere_within_the_interval_and_pauses_grow_behind_it() {
    let first: Vec<u64> = (0..200)
        .map(|seed| pause(&mut Resumption::new(policy(), None, None, seed), at(0)))
        .collect();
    for quarter in 0..4 {
        let within = 250 * quarter..=250 * quarter + 250_u64;
        let some = first.iter().filter(|pause| within.contains(*pause)).count();
        assert!(some > 25, "{some} of 200 within {within:?} ms");
    }
    assert!(first.iter().all(|pause| *pause <= 1000), "{first:?}");
    let mut call = open(policy());
    let mut now = call.lost(&lost(), at(0)).expect("the first try");
    for longest in [2000, 4000, 8000] {
        let pause = pause(&mut call, now);
        assert!((longest / 2..=longest).contains(&pause), "{pause} ms of {longest}");
        now = now + Duration::from_millis(pause);
    }
    assert_eq!(call.lost(&lost(), now), None, "it was tried four times in a row");
}

#[test]
fn no_pause_takes_more_than_half_of_what_is_left_to_a_call() {
    for seed in 0..50 {
        let mut call = Resumption::new(policy(), None, Some(at(100)), seed);
        assert!(pause(&mut call, at(40)) <= 30);
    }
}

#[test]
fn a_call_has_tries_of_its_own_which_come_back_slowly() {
    let mut call = open(ResumePolicy::default().with_interval(Duration::from_millis(10)));
    let mut now = at(0);
    let next = |call: &mut Resumption, now: &mut Timestamp| {
        call.took(Some(&cursor("one")));
        *now = call.lost(&lost(), *now).expect("another try");
        call.opened(*now);
        call.is_charged()
    };
    let charged: Vec<bool> = (0..8).map(|_| next(&mut call, &mut now)).collect();
    assert_eq!(charged, [false, false, false, false, false, true, true, true]);
    // One has come back since, and a cursor has nothing to do with it.
    now = now + 10 * SECOND;
    let charged: Vec<bool> = (0..2).map(|_| next(&mut call, &mut now)).collect();
    assert_eq!(charged, [false, true]);
}

#[test]
fn a_call_moves_within_the_interval_as_long_as_it_has_tries_of_its_own() {
    let mut call = open(policy());
    let mut now = at(60_000);
    for _ in 0..5 {
        let due = call.moves_at(now).expect("it may move");
        assert!(due.since(now) <= SECOND, "{due:?}");
        call.opened(due);
        now = due;
    }
    assert_eq!(call.moves_at(now), None);
    assert!(!call.may_move(), "it stays until it is lost");
    assert!(call.lost(&lost(), now).is_some());
    assert!(call.is_charged());
}

#[test]
fn a_call_that_lacks_its_result_is_opened_again_and_does_not_move() {
    let mut call = open(policy());
    call.took(Some(&cursor("last")));
    call.finished();
    assert!(call.is_finished() && !call.may_move(), "only the result is missing");
    assert!(call.lost(&lost(), at(0)).is_some(), "nobody knows what it led to");
    assert_eq!(call.cursor(), Some(&cursor("last")));
    call.opened(at(10));
    assert!(call.is_finished() && !call.may_move(), "what was told stays told");
}

#[test]
fn a_cursor_begins_a_new_row_of_tries_and_other_messages_do_not() {
    let mut call = open(policy().with_max_tries(1));
    for name in ["one", "two"] {
        assert!(call.lost(&lost(), at(0)).is_some());
        call.took(Some(&cursor(name)));
        assert_eq!(call.cursor(), Some(&cursor(name)));
    }
    assert!(call.lost(&lost(), at(0)).is_some());
    call.took(None);
    assert_eq!(call.lost(&lost(), at(0)), None);
}

#[test]
fn a_call_that_was_just_opened_waits_for_half_of_the_interval_at_least() {
    for seed in 0..50 {
        let mut call = Resumption::new(policy(), None, None, seed);
        call.opened(at(0));
        let pause = pause(&mut call, at(10));
        assert!((500..=1000).contains(&pause), "{pause} ms");
    }
}

#[test]
fn without_any_cursor_nothing_is_told_twice() {
    let mut call = open(policy());
    assert!(call.lost(&lost(), at(0)).is_some(), "nothing was told");
    call.took(None);
    assert_eq!(call.lost(&lost(), at(0)), None);
    let mut call = Resumption::new(policy(), Some(cursor("begin")), None, 7);
    call.took(None);
    assert!(call.lost(&lost(), at(0)).is_some(), "behind where it began");
    assert_eq!(call.cursor(), Some(&cursor("begin")));
}

#[test]
fn what_would_fail_again_is_not_tried() {
    use StatusCode as Code;
    let passing = [lost(), failed(Cause::RemoteClosed), answered(Code::Draining)];
    let lasting = [
        answered(Code::Application(1)),
        answered(Code::NoSuchResource),
        answered(Code::PermissionDenied),
        failed(Cause::Cancelled),
        failed(Cause::Closed),
        failed(Cause::Deadline),
    ];
    let elsewhere =
        [failed(Cause::NoAddress), failed(Cause::Unsupported), answered(Code::Unimplemented)];
    for error in passing {
        assert!(open(policy()).lost(&error, at(0)).is_some(), "{error}");
    }
    for error in lasting {
        assert_eq!(open(policy()).elsewhere().lost(&error, at(0)), None, "{error}");
    }
    for error in elsewhere {
        assert_eq!(open(policy()).lost(&error, at(0)), None, "{error}");
        assert!(open(policy()).elsewhere().lost(&error, at(0)).is_some(), "{error}");
    }
}

#[test]
fn patience_begins_with_the_loss_and_ends_with_a_cursor() {
    let mut call = open(policy().with_patience(Duration::from_secs(10)));
    assert!(call.lost(&lost(), at(0)).is_some());
    assert!(call.lost(&lost(), at(8000)).is_some());
    call.took(Some(&cursor("one")));
    assert!(call.lost(&lost(), at(9000)).is_some());
    assert!(call.lost(&lost(), at(12_000)).is_some());
    assert_eq!(call.lost(&lost(), at(18_600)), None);
}

#[test]
fn a_deadline_ends_it_and_a_server_may_ask_for_a_longer_pause() {
    let mut call = Resumption::new(policy(), None, Some(at(5000)), 7);
    let mut busy = Status::new(StatusCode::Busy, "");
    busy.retry_after = Some(2 * SECOND);
    let due = call.lost(&failed(Cause::Remote(busy.clone())), at(0)).expect("there is time");
    assert!((2000..=4000).contains(&(due.since(at(0)).as_millis() as u64)), "{due:?}");
    assert_eq!(call.lost(&failed(Cause::Remote(busy)), at(3500)), None);
}

#[test]
fn a_call_moves_behind_a_cursor_and_once_for_each_opening() {
    let mut call = open(policy());
    assert!(call.may_move(), "nothing was told");
    call.took(Some(&cursor("one")));
    call.took(None);
    assert!(!call.may_move(), "a message would be told twice");
    call.took(Some(&cursor("two")));
    assert!(call.may_move());
    call.stay();
    call.took(Some(&cursor("three")));
    assert!(!call.may_move(), "it was refused elsewhere");
    call.opened(at(0));
    assert!(call.may_move());
}

#[test]
fn a_try_that_cannot_be_paid_for_waits_for_one_of_its_own_and_is_none() {
    let spent = |seed| {
        let policy = ResumePolicy::default().with_interval(Duration::from_millis(1));
        let mut call = Resumption::new(policy.with_max_tries(6), None, None, seed);
        let mut now = at(0);
        while !call.is_charged() {
            now = call.lost(&lost(), now).expect("another try");
        }
        (call, now)
    };
    for seed in 0..50 {
        let (mut call, now) = spent(seed);
        let due = call.postpone(now).expect("there is time");
        assert!((at(9000)..at(20_100)).contains(&due), "{due:?}");
        assert!(!call.is_charged(), "it is its own then");
        assert_eq!(call.lost(&lost(), due), None, "it was the sixth try");
    }
    let all: Vec<Timestamp> =
        (0..50).map(spent).filter_map(|(mut call, now)| call.postpone(now)).collect();
    for second in [10, 13, 16] {
        let within = at(second * 1000)..at(second * 1000 + 3000);
        assert!(all.iter().any(|due| within.contains(due)), "{all:?}");
    }
    // Not beyond its patience.
    let policy = policy()
        .with_patience(5 * SECOND)
        .with_interval(Duration::from_millis(1))
        .with_max_tries(9);
    let mut call = open(policy);
    let mut now = at(0);
    while !call.is_charged() {
        now = call.lost(&lost(), now).expect("another try");
    }
    assert_eq!(call.postpone(now), None);
}
