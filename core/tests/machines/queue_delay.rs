//! The limit that follows the delay which more requests at work cause.

use std::collections::VecDeque;

use pointsub_core::Timestamp;
use pointsub_core::endpoint::{Limit, LimitPolicy, Sample, SampleOutcome};

use crate::support::ms;

const MIN: usize = 8;

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

/// Four workers take 1 ms for each request, and 64 callers ask again as soon as they are answered. Each
/// waits for 15 ms, which is no reason to refuse any: a queue is bounded by its time, not by its length.
#[test]
fn what_waits_for_a_moment_is_not_refused() {
    let mut limit = limit();
    for (callers, from, until) in [(4, 0, 1000), (64, 1000, 3000)] {
        let mut waiting = VecDeque::new();
        for at in from..until {
            let now = ms(at);
            while waiting.len() < callers {
                waiting.push_back(now);
                limit.started(now);
            }
            let now = ms(at + 1);
            for began in waiting.drain(..4) {
                ends(&mut limit, now, began, SampleOutcome::Answered);
            }
            assert!(limit.limit() >= 64, "{} with {callers} callers", limit.limit());
        }
        let now = ms(until);
        waiting.drain(..).for_each(|began| ends(&mut limit, now, began, SampleOutcome::Answered));
    }
}

/// A moment in which much came at once is no reason to refuse what comes later.
#[test]
fn it_rises_again_while_hardly_anything_waits() {
    let mut limit = Limit::new(LimitPolicy::QUEUE_DELAY, 1000, MIN, 10_000).expect("these agree");
    let turn = |limit: &mut Limit, from: u64, rounds: u64, at_work: u64| {
        for round in 0..rounds {
            let began = ms(from + round * 10 * at_work / 4);
            (0..at_work).for_each(|_| limit.started(began));
            for nth in 1..=at_work {
                let now = ms(from + round * 10 * at_work / 4 + nth.div_ceil(4) * 10);
                ends(limit, now, began, SampleOutcome::Answered);
            }
        }
        limit.limit()
    };
    assert_eq!(turn(&mut limit, 0, 100, 4), 1000);
    let least = turn(&mut limit, 1000, 4, 400);
    assert!(least < 100, "{least}");
    assert_eq!(turn(&mut limit, 5000, 3000, 4), 1000);
}

/// A limit that was found for short requests is full of long ones. None of them ends, so that nothing is
/// measured, and it rises nevertheless.
#[test]
fn it_does_not_stay_low_while_nothing_ends() {
    let mut limit = limit();
    let mut waiting = VecDeque::new();
    for at in 0..20_000 {
        while waiting.len() < limit.limit() {
            waiting.push_back(ms(at));
            limit.started(ms(at));
        }
        if let Some(began) = waiting.pop_front() {
            ends(&mut limit, ms(at), began, SampleOutcome::Answered);
        }
    }
    let low = limit.limit();
    assert!(low < 100, "{low}");
    for at in 20_000..23_000 {
        limit.refused(ms(at));
    }
    assert!(limit.limit() > 2 * low, "{} after {low}", limit.limit());
    for at in 23_000..60_000 {
        limit.refused(ms(at));
    }
    assert_eq!(limit.limit(), 1000, "where it began, and no more");
}
