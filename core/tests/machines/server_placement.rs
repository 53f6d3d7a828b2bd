//! What a server does in the task that serves a connection, and what elsewhere.

use bytes::Bytes;
use pointsub_core::connection::{Compression, runs_inline};
use pointsub_core::{ServerConfig, ServerEvent};

use crate::support::{KIB, ServerScript, Wire, body, request};

#[test]
fn large_and_compressed_requests_are_handled_elsewhere() {
    let (mut s, stream) = ServerScript::native(ServerConfig::default());
    let mut runs = |asked: Wire| {
        s.receives(stream, [asked]);
        let ServerEvent::Request { request, payload, .. } = s.expect_event() else { panic!() };
        s.respond(request, "");
        s.flush(stream);
        runs_inline(&payload)
    };
    assert!(runs(request(1, "")) && runs(request(2, body(64 * KIB))));
    assert!(!runs(request(3, body(64 * KIB + 1))), "copies take long");
    let deflated = miniz_oxide::deflate::compress_to_vec(&body(2000), 6);
    assert!(!runs(request(4, deflated).compressed(2000)), "it has to be inflated");
}

#[test]
fn answers_are_compressed_where_that_keeps_nobody_waiting() {
    let text = |len: usize| Bytes::from("round and round ".repeat(len / 16));
    for (answer, placed) in [
        (text(KIB / 2), Compression::None),
        (text(4 * KIB), Compression::Inline),
        (text(4 * KIB + 16), Compression::Spawned),
    ] {
        assert_eq!(Compression::of(&answer, true), placed, "{} bytes", answer.len());
        assert_eq!(Compression::of(&answer, false), Compression::None);
    }
}
