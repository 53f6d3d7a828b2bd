//! The simulator of the network plane finds what it is there to find.

use pointsub_tests::network::{Life, Planted, Situation, find, live_planted};
use pointsub_tests::sim::keep_panics_quiet;

/// A fault in any policy of the network machine shows in some life.
#[test]
fn each_fault_that_is_planted_into_the_network_plane_is_found() {
    keep_panics_quiet();
    for (planted, name) in Planted::ALL {
        assert!(find(*planted, 600).is_some(), "{name} is not found in 600 lives");
    }
}

/// Links that carry little show a fault that others do not show.
#[test]
fn a_fault_with_what_is_on_its_way_shows_on_links_that_carry_little() {
    keep_panics_quiet();
    let lives = (0..150).map(|seed| live_planted(seed, Planted::IgnoreQueued));
    let found: Vec<Life> = lives.filter(|life| life.broken.is_some()).collect();
    assert!(!found.is_empty(), "it is not found");
    let slow = |life: &Life| life.situations.contains(&Situation::Throttled);
    assert!(found.iter().all(slow), "it shows elsewhere too");
}
