//! The nodes of a protocol: who there is, who is ejected after failures, and who is half-open.

use std::time::Duration;

use crate::support::endpoints::{
    Random, START, answer, begin, ejected, fail, ms, node, nodes, order, peer,
};
use pointsub_core::Timestamp;
use pointsub_core::endpoint::closest::{
    AddNodeError, Attempt, BACKOFF_BASE, BACKOFF_MAX, INITIAL_PEAK, MAX_NODES, Nodes,
    PEAK_HALF_LIFE, Point, Selection, XorOrder,
};

/// N1: with what is known of each.
#[test]
fn nodes_are_an_ordered_set() {
    let mut nodes = Nodes::new(Some(peer(99)));
    assert!(!nodes.has_available(START));
    assert_eq!(nodes.add(peer(99), START), Err(AddNodeError::Own));
    assert_eq!([3, 1, 2].map(|number| nodes.add(peer(number), START)), [Ok(true); 3]);
    assert_eq!(nodes.add(peer(1), START), Ok(false));
    let list = |nodes: &Nodes| nodes.iter().map(|node| *node.peer()).collect::<Vec<_>>();
    assert_eq!(list(&nodes), [3, 1, 2].map(peer));
    assert_eq!(*node(&nodes, 3).point(), Point::of_peer(&peer(3)));

    let stale = begin(&mut nodes, 3, START);
    assert!(nodes.remove(&peer(3)) && !nodes.remove(&peer(3)));
    assert_eq!(nodes.add(peer(3), START), Ok(true));
    nodes.failed(stale, START);
    assert_eq!((node(&nodes, 3).failures(), node(&nodes, 3).in_flight()), (0, 0));
    assert_eq!(list(&nodes), [1, 2, 3].map(peer));

    nodes.clear();
    assert!(nodes.is_empty() && nodes.begin(&peer(1), START).is_none());
    (100..100 + MAX_NODES as u64).for_each(|n| assert_eq!(nodes.add(peer(n), START), Ok(true)));
    assert_eq!(nodes.add(peer(1), START), Err(AddNodeError::Full));
    assert_eq!((nodes.add(peer(100), START), nodes.len()), (Ok(false), MAX_NODES));
}

/// N6: with exponential rests.
#[test]
fn a_failed_node_is_ejected_then_half_open_and_returns() {
    let mut nodes = nodes(2);
    let usable = |nodes: &Nodes, now| node(nodes, 0).is_usable(now);
    fail(&mut nodes, 0, ms(0));
    assert_eq!(node(&nodes, 0).backoff_until(), Some(START + BACKOFF_BASE));
    assert!(!usable(&nodes, ms(999)) && usable(&nodes, ms(1000)));
    assert_eq!(order(&nodes, &XorOrder, Selection::new(b"", 0), ms(999)), [peer(1)]);

    let probe = begin(&mut nodes, 0, ms(1000));
    assert!(!usable(&nodes, ms(5000)), "one probe at a time");
    nodes.given_up(probe, ms(1500));
    assert!(usable(&nodes, ms(1500)), "the next may probe");
    let probe = begin(&mut nodes, 0, ms(2000));
    nodes.failed(probe, ms(2500));
    assert_eq!(node(&nodes, 0).backoff_until(), Some(ms(4500)), "twice as long");

    let probe = begin(&mut nodes, 0, ms(4500));
    nodes.succeeded(probe, ms(4600));
    let back = node(&nodes, 0);
    assert_eq!((back.failures(), back.backoff_until(), back.in_flight()), (0, None, 0));
    assert_eq!((back.online(), back.latency(ms(4600))), (Some(true), Some(ms(100).since(START))));
}

#[test]
fn what_was_under_way_at_a_failure_is_one_incident() {
    let mut nodes = nodes(2);
    let attempts: Vec<Attempt> = (0..64).map(|_| begin(&mut nodes, 0, START)).collect();
    for (number, attempt) in attempts.into_iter().enumerate() {
        nodes.failed(attempt, ms(number as u64 * 100));
    }
    assert_eq!(node(&nodes, 0).failures(), 1);
    assert_eq!(node(&nodes, 0).backoff_until(), Some(ms(1000)));
    assert_eq!(node(&nodes, 0).in_flight(), 0);
}

/// N6: 10 seconds at most, without overflow.
#[test]
fn a_thousand_failures_back_off_as_long_as_five() {
    let mut nodes = nodes(2);
    let mut now = START;
    for count in 1..=1000 {
        fail(&mut nodes, 0, now);
        let until = node(&nodes, 0).backoff_until().expect("it rests");
        let seconds = if count <= 4 { 1 << (count - 1) } else { BACKOFF_MAX.as_secs() };
        assert_eq!(until.since(now), Duration::from_secs(seconds), "failure {count}");
        now = until;
    }
    let end = Timestamp::from_nanos(u64::MAX);
    fail(&mut nodes, 0, end);
    assert_eq!(node(&nodes, 0).backoff_until(), Some(end));
}

/// N6: the share of outliers is capped.
#[test]
fn at_most_half_is_ejected_and_one_is_always_usable() {
    for seed in 0..200 {
        let mut random = Random(seed);
        let mut nodes = nodes(1 + random.below(9));
        let mut open = Vec::new();
        let mut now = START;
        for _ in 0..400 {
            now = now + Duration::from_millis(random.below(3000));
            let number = random.below(10);
            match random.below(12) {
                0 if nodes.len() > 1 => drop(nodes.remove(&peer(number))),
                1 => drop(nodes.add(peer(number), now)),
                2 if !open.is_empty() => nodes.succeeded(open.swap_remove(0), now),
                3 if !open.is_empty() => nodes.given_up(open.swap_remove(0), now),
                4..=7 if !open.is_empty() => nodes.failed(open.swap_remove(0), now),
                _ => open.extend(nodes.begin(&peer(number), now)),
            }
            assert!(ejected(&nodes) <= nodes.len() / 2, "seed {seed}");
            assert!(nodes.has_available(now), "seed {seed}");
        }
    }
}

#[test]
fn those_are_ejected_that_failed_most() {
    let mut nodes = nodes(3);
    fail(&mut nodes, 0, ms(0));
    fail(&mut nodes, 1, ms(0));
    assert_eq!(node(&nodes, 1).backoff_until(), None, "only one of three may rest");
    fail(&mut nodes, 1, ms(0));
    assert_eq!(node(&nodes, 1).backoff_until(), Some(ms(2000)), "it has failed more often");
    assert_eq!((node(&nodes, 0).backoff_until(), node(&nodes, 0).failures()), (None, 1));
    assert!(nodes.remove(&peer(2)) && ejected(&nodes) == 1);
    assert!(nodes.remove(&peer(0)));
    assert!(node(&nodes, 1).is_usable(ms(0)), "the last one never rests");
    fail(&mut nodes, 1, ms(0));
    assert!(node(&nodes, 1).is_usable(ms(0)));
}

/// N3: from answers alone.
#[test]
fn latency_is_smoothed_and_its_peak_decays() {
    let mut nodes = nodes(1);
    assert_eq!(node(&nodes, 0).latency(START), None);
    assert_eq!(node(&nodes, 0).peak_latency(START), INITIAL_PEAK);
    assert_eq!(node(&nodes, 0).peak_latency(START + PEAK_HALF_LIFE), INITIAL_PEAK / 2);

    answer(&mut nodes, 0, 80, ms(0));
    let both = (node(&nodes, 0).latency(ms(80)), node(&nodes, 0).peak_latency(ms(80)));
    let first = Duration::from_millis(80);
    assert_eq!(both, (Some(first), first), "the first sample sets both");
    answer(&mut nodes, 0, 1600, ms(80));
    assert_eq!(node(&nodes, 0).latency(ms(1680)), Some(Duration::from_millis(270)));
    assert_eq!(node(&nodes, 0).peak_latency(ms(1680)), Duration::from_millis(1600), "at once");

    let mut last = Duration::MAX;
    for tenth in 0..7000 {
        let peak = node(&nodes, 0).peak_latency(ms(1680 + 100 * tenth));
        assert!(peak <= last, "it only falls");
        last = peak;
    }
    assert_eq!(last, Duration::ZERO);
    let tau = node(&nodes, 0).peak_latency(ms(11_680)).as_nanos();
    let exact = 588_607_106; // 1.6 s ÷ e
    assert!(tau.abs_diff(exact) * 10_000 < exact * 3, "{tau} is within 0.03 % of {exact}");

    let [first, second] = [2000, 2000].map(|millis| begin(&mut nodes, 0, ms(millis)));
    nodes.given_up(first, ms(2001));
    assert_eq!(node(&nodes, 0).latency(ms(2001)), Some(Duration::from_millis(270)), "no news");
    nodes.given_up(second, ms(4000));
    assert!(node(&nodes, 0).latency(ms(4000)) > Some(Duration::from_millis(270)), "at least 2 s");
    assert_eq!(node(&nodes, 0).peak_latency(ms(4000)), Duration::from_secs(2));
}

/// One that rests and is removed leaves its place among the resting to another.
#[test]
fn a_removed_node_does_not_count_as_ejected() {
    let mut nodes = nodes(4);
    let rests = |nodes: &Nodes, number| node(nodes, number).backoff_until().is_some();
    (0..8).for_each(|_| fail(&mut nodes, 0, ms(0)));
    assert!(rests(&nodes, 0));
    assert!(nodes.remove(&peer(0)));
    (0..8).for_each(|_| fail(&mut nodes, 1, ms(0)));
    assert!(rests(&nodes, 1));
}
