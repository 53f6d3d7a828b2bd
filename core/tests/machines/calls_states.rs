//! Calls that are cancelled in every state, and readers that stop.

use std::time::Duration;

use bytes::Bytes;
use pointsub_core::connection::{
    CallEvent, CallKey, CallMessage, CallOpening, CallStart, CallStop, Calls,
};
use pointsub_core::wire::Credit;
use pointsub_core::{Metadata, Status, StatusCode};

use crate::calls::{
    CALL, LIMITS, NOW, SMALL, accept, at, client, credit, data, events, expect, finish, first_part,
    open_client, open_server, receives, send, written,
};
use crate::support::{KIB, Wire, cancel, failure, response};

/// A state of a call, and a call that is in it.
type State = (&'static str, fn() -> Calls);

/// A client's call in each state that it can be in, once its request is written.
const AT_CLIENTS: [State; 8] = [
    ("it waits to be accepted", || client(SMALL, CallOpening::default())),
    ("it is open", || open_client(SMALL, SMALL)),
    ("messages wait for the application", || {
        let mut calls = open_client(SMALL, SMALL);
        receives(&mut calls, [data("one"), data("two")]).expect("within the window");
        calls
    }),
    ("it is within a message of the server", || {
        let mut calls = open_client(SMALL, SMALL);
        receives(&mut calls, [first_part(vec![1; 1024], 4000)]).expect("within the window");
        calls
    }),
    ("it is within a message to the server", || {
        let mut calls = open_client(SMALL, Credit::new(2048, 1));
        send(&mut calls, vec![1; 4000]).expect("there is credit to begin with");
        assert_eq!(written(&mut calls, 64 * KIB).len(), 1, "a part");
        calls
    }),
    ("messages wait to be written", || {
        let mut calls = open_client(SMALL, SMALL);
        send(&mut calls, "not written").expect("there is credit");
        calls
    }),
    ("it sends no more", || {
        let mut calls = open_client(SMALL, SMALL);
        calls.finish(CALL, NOW).expect("once");
        expect(&mut calls, [finish()]);
        calls
    }),
    ("the server sends no more", || {
        let mut calls = open_client(SMALL, SMALL);
        receives(&mut calls, [finish()]).expect("once");
        calls
    }),
];

#[test]
fn a_client_may_cancel_in_every_state() {
    for (state, calls) in AT_CLIENTS {
        for answer in [failure(CALL.0, 6), failure(CALL.0, 8)] {
            let mut calls = calls();
            calls.cancel(CALL, at(5));
            assert_eq!(events(&mut calls), [], "while {state}");
            assert_eq!(written(&mut calls, 64 * KIB), [cancel(CALL.0)], "while {state}");
            calls.cancel(CALL, at(6));
            calls.taken(CALL, Credit::new(3, 1), at(6));
            assert_eq!(written(&mut calls, 64 * KIB), [], "once, while {state}");
            receives(&mut calls, [answer]).expect("the server confirms");
            assert_eq!(events(&mut calls), [], "nobody waits, while {state}");
            assert!(calls.is_empty() && calls.reserved() == 0, "while {state}");
            assert_eq!(calls.next_deadline(), None, "while {state}");
        }
    }
}

#[test]
fn what_crosses_a_cancellation_is_for_nobody() {
    let mut calls = open_client(SMALL, SMALL);
    calls.cancel(CALL, at(5));
    receives(&mut calls, [data("crossed"), credit(SMALL), finish(), response(CALL.0, "done")])
        .expect("it was on its way");
    assert_eq!(events(&mut calls), []);
    assert!(calls.is_empty() && calls.reserved() == 0);
    let mut calls = client(SMALL, CallOpening::default());
    calls.cancel(CALL, at(5));
    receives(&mut calls, [accept(SMALL), data("crossed"), response(CALL.0, "done")])
        .expect("it was on its way");
    assert_eq!(events(&mut calls), []);
    assert!(calls.is_empty() && calls.reserved() == 0);
}

#[test]
fn a_call_that_was_not_written_and_one_that_has_ended_need_no_cancellation() {
    let mut calls = Calls::client(LIMITS, NOW);
    calls.open(CALL, CallOpening::default(), NOW).expect("the first");
    calls.cancel(CALL, at(5));
    expect(&mut calls, []);
    assert!(calls.is_empty() && calls.reserved() == 0);
    let mut calls = open_client(SMALL, SMALL);
    receives(&mut calls, [response(CALL.0, "done")]).expect("an answer");
    calls.cancel(CALL, at(5));
    expect(&mut calls, []);
    calls.cancel(CallKey(99), at(5));
    expect(&mut calls, []);
}

/// A server's call in each state.
const AT_SERVERS: [State; 6] = [
    ("nobody has accepted it", || {
        let mut calls = Calls::server(LIMITS, NOW);
        calls.saw(CALL.0);
        calls.begin(CALL, CallStart::default(), NOW).expect("the first");
        calls
    }),
    ("it is open", || open_server(SMALL, SMALL)),
    ("messages wait to be written", || {
        let mut calls = open_server(SMALL, SMALL);
        send(&mut calls, "not written").expect("there is credit");
        calls
    }),
    ("it is within a message to the client", || {
        let mut calls = open_server(SMALL, Credit::new(2048, 1));
        send(&mut calls, vec![1; 4000]).expect("there is credit to begin with");
        assert_eq!(written(&mut calls, 64 * KIB).len(), 1, "a part");
        calls
    }),
    ("it is within a message of the client", || {
        let mut calls = open_server(SMALL, SMALL);
        receives(&mut calls, [first_part(vec![1; 1024], 4000)]).expect("within the window");
        calls
    }),
    ("no side sends any more", || {
        let mut calls = open_server(SMALL, SMALL);
        receives(&mut calls, [finish()]).expect("once");
        calls.finish(CALL, NOW).expect("once");
        expect(&mut calls, [finish()]);
        calls
    }),
];

#[test]
fn a_handler_is_told_of_a_cancellation_in_every_state() {
    for (state, calls) in AT_SERVERS {
        let mut calls = calls();
        let _before = events(&mut calls);
        receives(&mut calls, [cancel(CALL.0)]).expect("a frame like any other");
        assert_eq!(events(&mut calls), [CallEvent::Stopped(CallStop::Cancelled)], "while {state}");
        let nothing: [Wire; 0] = [];
        assert_eq!(written(&mut calls, 64 * KIB), nothing, "until it has stopped, while {state}");
        calls.respond(CALL, Err(Status::new(StatusCode::Internal, "")), Metadata::new(), at(9));
        assert_eq!(written(&mut calls, 64 * KIB), [failure(CALL.0, 6)], "while {state}");
        assert!(calls.is_empty() && calls.reserved() == 0, "while {state}");
    }
}

#[test]
fn a_reader_that_stops_for_a_minute_has_its_window_and_no_more() {
    for mut calls in [open_client(SMALL, SMALL), open_server(SMALL, SMALL)] {
        receives(&mut calls, [data("1"), data(""), data("3"), data("4")]).expect("the window");
        assert_eq!(events(&mut calls).len(), 4);
        let reserved = calls.reserved();
        for second in 1..=60 {
            calls.handle_timeout(at(second * 1000)).expect("nothing is cancelled");
        }
        assert_eq!(calls.next_deadline(), None, "nobody waits for anything");
        assert_eq!((events(&mut calls), calls.reserved()), (Vec::new(), reserved));
        expect(&mut calls, []);
        calls.taken(CALL, Credit::new(3, 4), at(60_000));
        expect(&mut calls, [credit(Credit::new(3, 4))]);
        receives(&mut calls, [data("5")]).expect("there is credit again");
        assert_eq!(
            events(&mut calls),
            [CallEvent::Message(CallMessage::from(Bytes::from_static(b"5")))]
        );
    }
}

/// The other end may wait for no longer than it wants. A reader that has stopped is not idle itself.
#[test]
fn a_reader_that_stops_for_a_minute_is_idle_for_its_peer_alone() {
    let idle = Some(Duration::from_secs(30));
    let mut reader = client(SMALL, CallOpening { idle, ..CallOpening::default() });
    receives(&mut reader, [accept(SMALL), data("1")]).expect("asked for");
    assert_eq!(events(&mut reader).len(), 3);
    reader.handle_timeout(at(60_000)).expect("nothing is cancelled");
    assert_eq!(events(&mut reader), []);
    let mut writer = Calls::server(LIMITS, NOW);
    let start = CallStart { credit: Credit::new(8192, 1), idle, ..CallStart::default() };
    writer.begin(CALL, start, NOW).expect("the first");
    send(&mut writer, "1").expect("there is credit");
    assert_eq!(written(&mut writer, 64 * KIB).len(), 2, "acceptance and the message");
    writer.handle_timeout(at(60_000)).expect("servers wait for nothing");
    let idle = Duration::from_secs(30);
    assert_eq!(events(&mut writer), [CallEvent::Stopped(CallStop::Idle(idle))]);
}
