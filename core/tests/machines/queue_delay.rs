//! The limit that follows the delay which more requests at work cause.

use std::collections::VecDeque;

use pointsub_core::Timestamp;
use pointsub_core::endpoint::{Limit, LimitPolicy, Sample, SampleOutcome};

use crate::support::ms;

const MIN: usize = 64;

fn limit() -> Limit {
    Limit::new(LimitPolicy::QUEUE_DELAY, 1000, MIN, 10_000).expect("these agree")
}

fn ends(limit: &mut Limit, now: Timestamp, began: Timestamp, outcome: SampleOutcome) {
    limit.ended(now, Sample { latency: now.since(began), outcome });
}

/// Four workers take 10 ms for each request, four times as many come as they can do, and callers go
/// after a second. Those at work never all end, and the limit falls in time nevertheless.
#[test]
fn it_falls_while_more_come_than_end() {
    let mut limit = limit();
    let mut waiting: VecDeque<Timestamp> = VecDeque::new();
    for at in 0..800 {
        let now = ms(at);
        for _ in 0..2 {
            if waiting.len() < limit.limit() {
                waiting.push_back(now);
                limit.started(now);
            }
        }
        if at % 10 == 9 {
            for began in waiting.drain(..waiting.len().min(4)) {
                ends(&mut limit, now, began, SampleOutcome::Answered);
            }
        }
    }
    // As many are worked on within their second.
    assert!(limit.limit() < 400, "{} after 0.8 s", limit.limit());
    assert!(limit.limit() >= MIN);
}

/// Requests that wait for something else, and not for each other, take the same time however many there
/// are: nothing that stands still is a queue.
#[test]
fn handlers_that_wait_do_not_move_it() {
    let mut limit = limit();
    for round in 0..20 {
        let began = ms(round * 500);
        (0..900).for_each(|_| limit.started(began));
        let now = ms(round * 500 + 400);
        (0..900).for_each(|_| ends(&mut limit, now, began, SampleOutcome::Answered));
    }
    assert_eq!(limit.limit(), 1000);
}

/// What its caller gave up says nothing of how long the server takes.
#[test]
fn what_is_cancelled_is_no_sample() {
    let mut limit = limit();
    for at in 0..2000 {
        limit.started(ms(at));
        ends(&mut limit, ms(at), ms(at / 2), SampleOutcome::Cancelled);
    }
    assert_eq!(limit.limit(), 1000);
}
