//! Messages of Go `PointSub` 1.2: the vectors of `WIRE.md`, and how such a message on a stream of
//! requests is refused.

use std::time::Duration;

use bytes::Bytes;
use pointsub_core::endpoint::Offer;
use pointsub_core::wire::{Go12Error, Go12Header};
use pointsub_core::{
    Cause, ClientConfig, Delivery, Format, FrameError, Phase, ServerConfig, StreamId,
};
use sha2::{Digest, Sha256};

use crate::support::{ClientScript, READ, ServerScript, body, plain};

const WIRE: &str = include_str!("../../../WIRE.md");
/// How long a peer is waited for that has written a whole message of the other format.
const SOON: u64 = 1000;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn message(body: &[u8]) -> Bytes {
    let mut bytes = Go12Header::of(body).expect("a length that Go reads").to_bytes();
    bytes.extend_from_slice(body);
    bytes.into()
}

/// A header is read when its last byte has come, and not before.
fn check_parsed(bytes: &[u8], body: &[u8]) {
    let header = Go12Header::parse(bytes).expect("a whole header");
    assert_eq!(header, Go12Header::of(body).expect("it was written"));
    assert_eq!((header.wire_len(), header.body_len()), (bytes.len() - body.len(), body.len()));
    assert_eq!(header.check(body), Ok(()));
    assert_eq!(Go12Header::parse(&bytes[..header.wire_len() - 1]), None);
}

#[test]
fn messages_are_written_and_read_as_go_does() {
    let mut seen = 0;
    for block in WIRE.split("```go-1.2\n").skip(1) {
        let line = |key: &str| {
            let mut lines = block.lines().take_while(|line| !line.starts_with("```"));
            let line = lines.find_map(|line| line.strip_prefix(key));
            line.and_then(|line| line.strip_prefix(": ")).expect("a line of the vector")
        };
        let body = body(line("size").parse().expect("a number"));
        let bytes = message(&body);
        assert_eq!(hex(&bytes[..bytes.len().min(16)]), line("head"), "{}", line("name"));
        assert_eq!(hex(&Sha256::digest(&bytes)), line("sha256"), "{}", line("name"));
        check_parsed(&bytes, &body);
        seen += 1;
    }
    assert_eq!(seen, 9);
}

#[test]
fn lengths_that_go_misreads_are_not_sent() {
    for len in [65_600, 65_663, 65_728, 1_048_640] {
        assert_eq!(Go12Header::of(&body(len)), Err(Go12Error::Misread { len }));
    }
    for len in [64, 127, 65_599, 65_664, 65_727, 1_048_704] {
        check_parsed(&message(&body(len)), &body(len));
    }
}

#[test]
fn a_body_is_checked_as_go_checks_it() {
    for len in [5, 100_000] {
        let (bytes, mut changed) = (message(&body(len)), body(len).to_vec());
        changed[3] ^= 1;
        let header = Go12Header::parse(&bytes).expect("a whole header");
        assert_eq!(header.check(&changed), Err(Go12Error::Checksum));
        let mut unchecked = bytes[..header.wire_len()].to_vec();
        let checksum = if len == 5 { 2..3 } else { 4..8 };
        unchecked[checksum].fill(0);
        let header = Go12Header::parse(&unchecked).expect("a whole header");
        assert_eq!(header.check(&changed), Ok(()));
    }
    let compressed = Go12Header::parse(&[0, 1, 0, 0x44]).expect("a whole header");
    assert_eq!(compressed.check(b"x"), Err(Go12Error::Compressed));
}

/// A plain stream on which these bytes have come.
fn received(config: ServerConfig, bytes: impl Into<Bytes>) -> (ServerScript, StreamId) {
    let (mut s, stream) = ServerScript::plain(config);
    s.receives_bytes(stream, bytes);
    (s, stream)
}

#[test]
fn a_message_of_go_1_2_is_refused_long_before_read_timeout() {
    for len in [1, 5, 100, 255, 256, 511] {
        let (mut s, stream) = received(ServerConfig::default(), message(&body(len)));
        s.expires_at(SOON);
        s.expect_reset(stream);
        s.expect_rest();
        assert_eq!((s.stats().other_format, s.stats().message_timeouts), (1, 0), "{len} bytes");
    }
    // These are no plain lengths within the limit.
    for len in [512, 65_535] {
        let (mut s, stream) = received(ServerConfig::default(), message(&body(len)));
        s.expect_reset(stream);
        s.expect_rest();
        assert_eq!((s.stats().refused, s.stats().started), (1, 0), "{len} bytes");
    }
}

#[test]
fn it_does_not_matter_how_the_message_came() {
    let (mut s, stream) = ServerScript::plain(ServerConfig::default());
    for (millis, byte) in message(b"hello").iter().enumerate() {
        s.at(10 * millis as u64);
        s.receives_bytes(stream, vec![*byte]);
    }
    s.expires_at(80 + SOON);
    s.expect_reset(stream);
}

#[test]
fn read_timeout_holds_if_it_is_shorter() {
    let config = ServerConfig::default().with_read_timeout(Duration::from_millis(300));
    let (mut s, stream) = received(config, message(b"hello"));
    s.expires_at(300);
    s.expect_reset(stream);
}

/// Nothing is guessed: the request goes on after a pause in the worst place.
#[test]
fn a_plain_request_that_begins_like_a_message_of_go_1_2_is_served() {
    let beginning = message(b"hello");
    let len = u32::from_be_bytes(*beginning.first_chunk().expect("a header"));
    let mut asked = body(len as usize).to_vec();
    asked[..5].copy_from_slice(b"hello");
    let (mut s, stream) = received(ServerConfig::default(), beginning);
    s.at(SOON - 1);
    s.receives_bytes(stream, asked[5..].to_vec());
    s.expect_request(asked);
    assert_eq!(s.stats().other_format, 0);
}

#[test]
fn a_request_that_has_gone_on_has_read_timeout_again() {
    let (mut s, stream) = received(ServerConfig::default(), message(b"hello"));
    s.at(SOON - 1);
    s.receives_bytes(stream, vec![0]);
    s.expires_at(READ);
    s.expect_reset(stream);
    assert_eq!((s.stats().other_format, s.stats().message_timeouts), (0, 1));
}

#[test]
fn other_beginnings_of_a_plain_request_have_read_timeout() {
    let whole = message(b"hello");
    let mut another_checksum = whole.to_vec();
    another_checksum[2] ^= 1;
    let mut longer = whole.to_vec();
    longer.push(0);
    for bytes in [another_checksum, longer, whole[..8].to_vec(), message(b"").to_vec()] {
        let (mut s, stream) = received(ServerConfig::default(), bytes);
        s.expires_at(READ);
        s.expect_reset(stream);
        assert_eq!((s.stats().other_format, s.stats().message_timeouts), (0, 1));
    }
}

/// A Go 1.2 peer may take a plain length for an empty message, and answer that.
#[test]
fn an_answer_in_the_format_of_go_1_2_is_a_violation() {
    let mut c = ClientScript::new(ClientConfig::default().with_max_retries(0));
    let a = c.send("a");
    let s = c.expect_open(Offer::Both);
    c.opened(s, Format::Plain);
    c.expect_sent(s, [plain("a")]);
    c.receives_bytes(s, message(b"hello"));
    c.expires_at(SOON);
    let violation = Cause::Violation(FrameError::OtherFormat);
    c.expect_failed(a, violation, Phase::Wait, Delivery::Unknown);
    c.expect_reset(s);
}
