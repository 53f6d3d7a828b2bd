//! The simulator of the network plane finds what it is there to find.

use pointsub_tests::network::{Planted, find};
use pointsub_tests::sim::keep_panics_quiet;

/// A fault in any policy of the network machine shows in some life.
#[test]
fn each_fault_that_is_planted_into_the_network_plane_is_found() {
    keep_panics_quiet();
    for (planted, name) in Planted::ALL {
        assert!(find(*planted, 600).is_some(), "{name} is not found in 600 lives");
    }
}
