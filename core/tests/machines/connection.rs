//! What a connection's streams lead to: room for another one, silence that means something, and
//! retirement.

use core::time::Duration;
use std::sync::Arc;

use pointsub_core::connection::{Acceptance, Connection, Signs, coalesces};
use pointsub_core::endpoint::StreamKey;
use pointsub_core::{Format, StreamError, StreamId, Timestamp, Verdict};
use slotmap::{Key, SlotMap};

const MOST: usize = 4;
/// How many streams may be about to end, beyond that.
const ENDING: usize = 64;

fn at(millis: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_millis(millis)
}

fn connection() -> Connection {
    Connection::new(MOST, at(0))
}

/// Nothing was heard since the beginning, and nothing is due.
const QUIET: Signs =
    Signs { heard: Timestamp::ZERO, written: 0, requests_due: false, raw_streams: 0 };

fn keys<K: Key>(count: usize) -> Vec<K> {
    let mut map = SlotMap::with_key();
    (0..count).map(|_| map.insert(())).collect()
}

/// Looks whenever the connection wants to be looked at, until a time, with these signs. Returns what
/// came of it, with the time.
fn watch(connection: &mut Connection, signs: Signs, until: u64) -> Vec<(u64, Verdict)> {
    let (mut now, mut verdicts) = (Timestamp::ZERO, Vec::new());
    while let Some(next) = connection.next_look(&signs) {
        now = now.max(next);
        if now > at(until) {
            break;
        }
        let verdict = connection.look(signs, now);
        verdicts.extend(verdict.map(|verdict| (now.since(at(0)).as_millis() as u64, verdict)));
    }
    verdicts
}

#[test]
fn a_peer_may_open_streams_up_to_a_limit_and_idle_ones_make_room_for_some_more() {
    let (mut connection, streams) = (connection(), keys::<StreamKey>(MOST + ENDING));
    for (open, stream) in streams.iter().enumerate() {
        let expected = if open < MOST { Acceptance::Accept } else { Acceptance::MakeRoom };
        assert_eq!(connection.admit(0), expected, "{open} are open");
        connection.accepted(*stream);
    }
    assert_eq!(connection.admit(0), Acceptance::Refuse);
    connection.ended(streams[0]);
    assert_eq!(connection.admit(0), Acceptance::MakeRoom);
    assert_eq!(connection.inbound().count(), MOST + ENDING - 1);
}

#[test]
fn raw_streams_take_the_room_of_others() {
    let mut connection = connection();
    connection.accepted(keys(1)[0]);
    assert_eq!(connection.admit(MOST - 2), Acceptance::Accept);
    assert_eq!(connection.admit(MOST - 1), Acceptance::MakeRoom);
    assert_eq!(connection.admit(MOST - 1 + ENDING), Acceptance::Refuse);
}

#[test]
fn nobody_looks_at_a_connection_on_which_nothing_is_due() {
    let mut connection = connection();
    assert_eq!(connection.next_look(&QUIET), None);
    connection.opened(keys(1)[0]);
    connection.accepted(keys(1)[0]);
    assert_eq!(connection.next_look(&QUIET), None, "idle streams are due nothing");
}

/// Each of these makes the peer's silence mean something.
#[test]
fn silence_is_looked_at_while_something_is_due() {
    let dead = [(3_000, Verdict::Probe), (6_000, Verdict::Suspect), (36_000, Verdict::Dead)];
    let requests = Signs { requests_due: true, ..QUIET };
    let raw = Signs { raw_streams: 1, ..QUIET };
    for signs in [requests, raw] {
        assert_eq!(watch(&mut connection(), signs, 36_000), dead, "{signs:?}");
    }
    let mut opening = connection();
    opening.opening();
    assert_eq!(watch(&mut opening, QUIET, 36_000), dead);
    let mut kept = connection();
    kept.keep();
    assert_eq!(watch(&mut kept, QUIET, 36_000), dead);
}

#[test]
fn a_stream_that_is_open_is_due_nothing_more_however_the_opening_ended() {
    let ends: [fn(&mut Connection); 3] = [
        |connection| _ = connection.opened(keys(1)[0]),
        Connection::dialled,
        Connection::open_failed,
    ];
    for end in ends {
        let mut connection = connection();
        connection.opening();
        connection.opening();
        end(&mut connection);
        assert!(connection.next_look(&QUIET).is_some(), "another one is being opened");
        end(&mut connection);
        assert_eq!(connection.next_look(&QUIET), None);
    }
}

#[test]
fn a_probe_that_was_answered_is_told_at_once() {
    let probe = || {
        let mut connection = connection();
        assert_eq!(connection.doubt(at(0), at(100)), Some(Verdict::Probe));
        assert_eq!(connection.doubt(at(0), at(200)), None, "one probe at a time");
        assert_eq!(connection.look(QUIET, at(200)), None);
        assert_eq!(connection.next_look(&QUIET), Some(at(1200)));
        connection
    };
    let heard = Signs { heard: at(300), ..QUIET };
    // To refuse the protocol of the probe takes a peer that is there.
    for answer in [Ok(()), Err(&StreamError::Unsupported)] {
        let mut connection = probe();
        assert!(connection.probed(answer, at(300)));
        assert_eq!(connection.next_look(&heard), Some(at(300)));
        assert_eq!(connection.look(heard, at(300)), Some(Verdict::Answered));
        assert_eq!(connection.next_look(&heard), None, "nothing is due any more");
    }
    let mut connection = probe();
    let lost = StreamError::Lost(Arc::from("the probe took too long"));
    assert!(!connection.probed(Err(&lost), at(300)));
    assert_eq!(connection.next_look(&QUIET), Some(at(1200)));
}

#[test]
fn a_retired_connection_names_its_streams_and_those_that_open_later() {
    let (mut connection, streams) = (connection(), keys::<StreamId>(4));
    assert!(!connection.opened(streams[0]));
    assert!(!connection.opened(streams[1]));
    connection.closed(streams[0]);
    assert_eq!(connection.retire(), [streams[1]]);
    assert!(connection.opened(streams[2]), "it was being opened");
    connection.resume();
    assert!(!connection.opened(streams[3]));
}

#[test]
fn writes_are_coalesced_from_a_threshold_on_and_delayed_once() {
    for (format, threshold) in [(Format::Native, 3), (Format::Plain, 12)] {
        assert!(!coalesces(format, threshold - 1, false), "{format:?}");
        assert!(coalesces(format, threshold, false), "{format:?}");
        assert!(!coalesces(format, threshold, true), "{format:?}");
    }
}
