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

#[test]
fn the_first_try_is_made_at_once_and_pauses_grow_behind_it() {
    let mut call = open(policy());
    assert_eq!((call.lost(&lost(), at(0)), call.is_retry()), (Some(at(0)), false));
    let mut now = at(0);
    for longest in [1000, 2000, 4000] {
        let due = call.lost(&lost(), now).expect("another try");
        let pause = due.since(now).as_millis() as u64;
        assert!((longest / 2..=longest).contains(&pause), "{pause} ms of {longest}");
        assert!(call.is_retry());
        now = due;
    }
    assert_eq!(call.lost(&lost(), now), None, "it was tried four times in a row");
}

#[test]
fn a_cursor_begins_a_new_row_of_tries_and_other_messages_do_not() {
    let mut call = open(policy().with_max_tries(1));
    for name in ["one", "two"] {
        assert_eq!(call.lost(&lost(), at(0)), Some(at(0)));
        call.took(Some(&cursor(name)));
        assert_eq!(call.cursor(), Some(&cursor(name)));
    }
    assert_eq!(call.lost(&lost(), at(0)), Some(at(0)));
    call.took(None);
    assert_eq!(call.lost(&lost(), at(0)), None);
}

#[test]
fn a_call_that_was_just_opened_is_not_opened_again_at_once() {
    let mut call = open(policy());
    call.opened(at(0));
    call.took(Some(&cursor("one")));
    let due = call.lost(&lost(), at(10)).expect("another try");
    assert!(due >= at(510), "{due:?}");
    call.opened(at(2000));
    call.took(Some(&cursor("two")));
    assert_eq!(call.lost(&lost(), at(3000)), Some(at(3000)));
}

#[test]
fn without_any_cursor_nothing_is_told_twice() {
    let mut call = open(policy());
    assert_eq!(call.lost(&lost(), at(0)), Some(at(0)), "nothing was told");
    call.took(None);
    assert_eq!(call.lost(&lost(), at(0)), None);
    let mut call = Resumption::new(policy(), Some(cursor("begin")), None, 7);
    call.took(None);
    assert_eq!(call.lost(&lost(), at(0)), Some(at(0)), "behind where it began");
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
fn a_try_that_cannot_be_paid_for_waits_and_is_none() {
    let mut call = open(policy().with_patience(Duration::from_secs(30)));
    assert!(call.lost(&lost(), at(0)).is_some());
    let mut now = call.lost(&lost(), at(0)).expect("another try");
    let mut postponed = 0;
    while let Some(due) = call.postpone(&lost(), now) {
        assert!(due > now);
        (now, postponed) = (due, postponed + 1);
    }
    assert!(postponed > 10, "{postponed} times, and 4 tries are allowed");
    assert!((at(29_000)..at(30_000)).contains(&now), "{now:?}");
}
