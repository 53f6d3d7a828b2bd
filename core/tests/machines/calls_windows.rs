//! How far windows of calls grow, and messages that come and go together.

use bytes::Bytes;
use pointsub_core::connection::{CallError, CallEvent, CallMessage, CallOpening, Calls};
use pointsub_core::wire::Credit;

use crate::calls::{
    CALL, LIMITS, NOW, SMALL, accept, client, credit, data, events, expect, open_client,
    open_server, receives, written,
};
use crate::support::KIB;

/// A call whose window may grow so far.
fn growing(grows_to: Credit) -> Calls {
    let mut calls = client(SMALL, CallOpening { grows_to, ..CallOpening::default() });
    receives(&mut calls, [accept(SMALL)]).expect("it was asked for");
    calls
}

/// So many messages come, and the application takes some of them.
fn exchange(calls: &mut Calls, come: u32, taken: u32) {
    for _ in 0..come {
        receives(calls, [data("m")]).expect("there is credit");
    }
    calls.taken(CALL, Credit::new(taken, taken), NOW);
}

#[test]
fn a_window_doubles_when_all_of_it_has_come_and_was_taken() {
    let mut calls = growing(Credit::new(20_000, 12));
    exchange(&mut calls, 4, 4);
    expect(&mut calls, [credit(Credit::new(8192 + 4, 8))]);
    exchange(&mut calls, 8, 8);
    expect(&mut calls, [credit(Credit::new(20_000 - 16_384 + 8, 12))]);
    exchange(&mut calls, 12, 12);
    expect(&mut calls, [credit(Credit::new(12, 12))]);
    assert_eq!(calls.reserved(), 20_000, "what it may hold is counted");
}

#[test]
fn a_window_stays_as_it_is_where_messages_wait_or_credit_is_left() {
    let mut calls = growing(Credit::new(1 << 20, 1000));
    exchange(&mut calls, 4, 3);
    expect(&mut calls, [credit(Credit::new(3, 3))]);
    exchange(&mut calls, 3, 2);
    expect(&mut calls, [credit(Credit::new(2, 2))]);
    let mut calls = growing(Credit::new(1 << 20, 1000));
    exchange(&mut calls, 3, 3);
    expect(&mut calls, [credit(Credit::new(3, 3))]);
    // Whoever did not ask for more has a window that is as large as it was.
    let mut calls = open_client(SMALL, SMALL);
    exchange(&mut calls, 4, 4);
    expect(&mut calls, [credit(Credit::new(4, 4))]);
}

#[test]
fn windows_do_not_grow_into_the_memory_that_further_calls_begin_with() {
    let mut calls = growing(Credit::new(1 << 30, 1 << 30));
    let mut window = SMALL.messages;
    for _ in 0..10 {
        exchange(&mut calls, window, window);
        let grown = written(&mut calls, 64 * KIB).len() == 1;
        assert!(grown, "it is granted as much as it was at least");
        window = (calls.reserved() / 2048) as u32;
    }
    assert_eq!(calls.reserved(), LIMITS.max_memory / 2);
}

#[test]
fn messages_that_come_in_a_row_are_told_apart() {
    let mut calls = growing(Credit::new(1 << 20, 1000));
    let lens = [1, 700, 0, 3, 40, 512, 2000, 5, 90, 1200, 64, 33];
    let mut sent = Vec::new();
    for (number, batch) in lens.chunks(4).enumerate() {
        for len in batch {
            let body = Bytes::from(vec![sent.len() as u8; *len]);
            receives(&mut calls, [data(body.clone())]).expect("there is credit");
            sent.push(body);
        }
        let bytes = batch.iter().sum::<usize>() as u32;
        calls.taken(CALL, Credit::new(bytes, 4), NOW);
        assert!(number < 3);
    }
    let found = events(&mut calls).into_iter().filter_map(|event| match event {
        CallEvent::Message(message) => message.payload.into_bytes().ok(),
        _ => None,
    });
    assert_eq!(found.collect::<Vec<_>>(), sent);
}

#[test]
fn messages_that_leave_together_stop_at_the_first_that_cannot() {
    let mut calls = open_server(SMALL, SMALL);
    let messages = (0..6).map(|number| CallMessage::from(Bytes::from(vec![number; 2])));
    assert_eq!(calls.send_all(CALL, messages, NOW), Err(CallError::NoCredit));
    let frames = [0, 1, 2, 3].map(|number: u8| data(vec![number; 2]));
    expect(&mut calls, frames);
}
