//! What a new network and a long sleep change.

use pointsub_core::network::{Change, Fact, Source};

use super::script::{LIMIT, Script, address, inbound, refused};

const NOTHING: [&str; 0] = [];

#[test]
fn each_connection_is_doubted() {
    let mut s = Script::new();
    s.up(inbound(1, 1));
    s.up(inbound(2, 2));
    s.acts();
    for (change, act) in [(Change::Woke, "recheck"), (Change::Network, "probe")] {
        s.tell(Fact::Changed(change));
        assert_eq!(s.orders(), [format!("{act} 1"), format!("{act} 2")]);
    }
}

#[test]
fn the_next_address_has_its_turn() {
    let mut s = Script::new();
    s.name(1, address(1), Source::Application);
    s.name(1, address(2), Source::Application);
    s.open(1);
    assert_eq!(s.orders(), ["dial 0: peer 1 at 1"]);
    s.tell(Fact::Changed(Change::Network));
    assert_eq!(s.orders(), ["dial 1: peer 1 at 2"]);
}

#[test]
fn whoever_has_slept_hears_what_came_meanwhile() {
    let mut s = Script::new();
    s.name(1, address(1), Source::Application);
    s.up(inbound(1, 2));
    s.open(1);
    s.connect_to(2);
    assert_eq!(s.acts(), ["dial 0: peer 1 at 1", "probe 1"]);
    // It sleeps, and hears of that before anything is due.
    s.sleep(3_600_000);
    s.tell(Fact::Changed(Change::Woke));
    s.acts();
    s.tell(Fact::Tick);
    assert_eq!(s.orders(), NOTHING, "neither is late");
    s.at(3_600_000 + 999);
    assert_eq!(s.orders(), NOTHING);
    s.at(3_600_000 + LIMIT);
    assert!(!s.orders().is_empty());
}

#[test]
fn what_has_failed_is_tried_at_once() {
    let mut s = Script::new();
    s.name(1, address(1), Source::Application);
    for (n, at) in [0, 300, 1000, 2000].into_iter().enumerate() {
        s.at(at);
        s.open(1);
        s.acts();
        s.fail_all(n, refused());
    }
    s.at(2001);
    s.open(1);
    assert_eq!(s.acts(), ["dial 8: peer 1 elsewhere"], "the address rests for a moment");
    s.tell(Fact::Changed(Change::Network));
    assert_eq!(s.acts(), ["dial 9: peer 1 at 1"]);
}
