//! Once warm, small requests cost no allocation, at neither end. A program of its own, since it
//! counts those of its allocator.

use std::time::Duration;

use bytes::Bytes;
use pointsub_core::{Format, Timestamp};
use pointsub_tests::pair::Pair;

/// Allocations of a thousand rounds of so many requests at once, after as many to grow warm.
fn allocations(format: Format, requests: usize) -> u64 {
    let mut pair = None;
    let cold = allocation_counter::measure(|| pair = Some(Pair::new(1, format))).count_total;
    assert!(cold > 0, "they are counted");
    let mut pair = pair.expect("it was made");
    let mut now = Timestamp::ZERO;
    let mut rounds = |pair: &mut Pair| {
        for _ in 0..1000 {
            now = now + Duration::from_millis(1);
            for _ in 0..requests {
                pair.send(Bytes::from_static(&[7; 32]), now);
            }
            pair.tick(now);
            pair.settle(now);
        }
    };
    rounds(&mut pair);
    allocation_counter::measure(|| rounds(&mut pair)).count_total
}

#[test]
fn warm_requests_cost_no_allocation() {
    for requests in [1, 8, 64] {
        assert_eq!(allocations(Format::Native, requests), 0, "native, {requests} at once");
    }
    assert_eq!(allocations(Format::Plain, 1), 0, "plain");
}
