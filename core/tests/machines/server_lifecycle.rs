//! The server: how it stops, and whether it serves again.

use pointsub_core::endpoint::{Lifecycle, Stopped};

use crate::support::ms;

fn counts(stopped: Option<Stopped>) -> Option<(u64, u64)> {
    stopped.map(|stopped| (stopped.cut_off, stopped.unconfirmed))
}

/// S14: what is at work has the grace, and is reset once when that is over.
#[test]
fn the_grace_ends_once() {
    let mut server = Lifecycle::default();
    assert!(!server.handle_timeout(ms(1)) && server.next_deadline().is_none());
    server.stop(ms(100), false, 0);
    assert!(server.is_stopping() && server.next_deadline() == Some(ms(100)));
    assert!(!server.handle_timeout(ms(99)));
    assert!(server.handle_timeout(ms(100)) && !server.handle_timeout(ms(200)));
    assert!(server.is_stopping(), "its streams have yet to end");
}

/// S14: of several stops the shortest grace holds, and each is told the same.
#[test]
fn the_shortest_grace_of_several_stops_holds() {
    let mut server = Lifecycle::default();
    server.stop(ms(100), false, 0);
    server.stop(ms(50), false, 3);
    server.stop(ms(200), false, 4);
    assert_eq!(server.next_deadline(), Some(ms(50)));
    assert_eq!(counts(server.finish(4)), Some((4, 0)), "counted from the first of them on");
}

/// S14: a server that has stopped serves again, and its next stop counts for itself.
#[test]
fn a_server_that_has_stopped_serves_again() {
    let mut server = Lifecycle::default();
    assert_eq!(server.finish(0), None, "it has not stopped");
    server.stop(ms(100), false, 2);
    server.note_unconfirmed();
    assert_eq!(counts(server.finish(5)), Some((3, 1)));
    assert!(!server.is_stopping() && server.next_deadline().is_none());
    assert!(!server.handle_timeout(ms(100)), "its grace is that of a stop that is over");
    server.stop(ms(300), false, 5);
    assert_eq!(counts(server.finish(5)), Some((0, 0)));
}

/// S14: one that ends does not, whatever else is asked of it, and keeps its report.
#[test]
fn a_server_that_has_ended_stays_so() {
    let mut server = Lifecycle::default();
    server.stop(ms(100), false, 0);
    server.stop(ms(100), true, 0);
    assert!(server.ends());
    assert_eq!(counts(server.finish(1)), Some((1, 0)));
    server.stop(ms(200), false, 1);
    assert!(server.ends() && !server.is_stopping() && server.next_deadline().is_none());
    assert_eq!(counts(server.finish(1)), Some((1, 0)));
}
