//! What follows a handshake.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures::{AsyncReadExt, AsyncWriteExt};
use snow::TransportState;

use super::*;
use crate::transport::security::noise::handshake::{HEADER, TAG};
use crate::transport::security::noise::stream::MAX_PLAIN;

/// What one message can carry.
const LONGEST: usize = u16::MAX as usize - TAG;

/// One end of a connection, and the ciphers and bare bytes of the other.
fn half() -> (Secured, TransportState, End) {
    let ours = async |mut io: End| {
        let keys = keys(1);
        let session = keys.builder().expect("a key").build_initiator().expect("a key");
        let mut handshake = Handshake::new(&mut io, session);
        handshake.send(&[]).await.expect("somebody listens");
        handshake.receive().await.expect("an answer");
        handshake.send(keys.payload(Dialect::Libp2p)).await.expect("somebody listens");
        let session = handshake.finish().expect("it is done");
        (session, io)
    };
    let ((session, io), accepted) = meet(ours, |io| listen(io, Dialect::Libp2p));
    (accepted.expect("secured").1, session, io)
}

/// A message as it is sent.
fn sealed(session: &mut TransportState, plain: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; HEADER + plain.len() + TAG];
    let len = session.write_message(plain, &mut frame[HEADER..]).expect("there is room");
    frame[..HEADER].copy_from_slice(&u16::try_from(len).expect("of two bytes").to_be_bytes());
    frame
}

/// All that is read from these bytes, if they are all that comes.
fn read(stream: &mut Secured, mut io: End, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let write = async {
        io.write_all(bytes).await.expect("somebody reads");
        io.close().await.expect("it can always be closed");
        io
    };
    let mut plain = Vec::new();
    let (outcome, _io) = block_on(join(stream.read_to_end(&mut plain), write));
    outcome.map(|_| plain)
}

#[test]
fn an_end_between_two_messages_is_the_end() {
    let (mut stream, mut session, io) = half();
    let two = [sealed(&mut session, b"hello"), sealed(&mut session, b", you")].concat();
    assert_eq!(read(&mut stream, io, &two).expect("it ends"), b"hello, you");
    let (mut stream, _, io) = half();
    assert_eq!(read(&mut stream, io, &[]).expect("it ends"), b"");
}

#[test]
fn an_end_inside_of_a_message_is_an_error_wherever_it_is() {
    let len = HEADER + 5 + TAG;
    for cut in 1..len {
        let (mut stream, mut session, io) = half();
        let (one, two) = (sealed(&mut session, b"hello"), sealed(&mut session, b", you"));
        let error = read(&mut stream, io, &[&one[..], &two[..cut]].concat());
        assert_eq!(error.expect_err("it is cut").kind(), io::ErrorKind::UnexpectedEof, "{cut}");
        let again = block_on(stream.read(&mut [0])).expect_err("it is still cut");
        assert_eq!(again.kind(), io::ErrorKind::UnexpectedEof);
    }
}

#[test]
fn a_message_that_was_changed_is_the_last_that_is_looked_at() {
    for byte in HEADER..HEADER + 5 + TAG {
        // With room for the message, and without.
        for room in [1, 100] {
            let (mut stream, mut session, mut io) = half();
            let good = sealed(&mut session, b"hello");
            let mut changed = good.clone();
            changed[byte] ^= 1 << (byte % 8);
            block_on(io.write_all(&[&changed[..], &good].concat())).expect("there is room");
            let mut buf = vec![0; room];
            for _ in 0..3 {
                let error = block_on(stream.read(&mut buf)).expect_err("it was changed");
                assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            }
        }
    }
}

#[test]
fn messages_that_are_repeated_left_out_or_swapped_are_refused() {
    for order in [&[0, 0][..], &[1], &[1, 0], &[0, 2]] {
        let (mut stream, mut session, io) = half();
        let sent = [b"0", b"1", b"2"].map(|plain| sealed(&mut session, plain));
        let bytes: Vec<_> = order.iter().flat_map(|n: &usize| sent[*n].clone()).collect();
        let error = read(&mut stream, io, &bytes).expect_err("they are out of order");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}

#[test]
fn a_message_without_room_for_a_tag_is_refused() {
    for len in [0, 1, 15] {
        let (mut stream, _, io) = half();
        let message = [&[0, len][..], &vec![7; usize::from(len)]].concat();
        let error = read(&mut stream, io, &message).expect_err("it has no tag");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}

#[test]
fn empty_messages_are_no_end() {
    let (mut stream, mut session, io) = half();
    let sent = [&b""[..], b"", b"hello", b"", b", you", b""];
    let sent: Vec<_> = sent.iter().flat_map(|plain| sealed(&mut session, plain)).collect();
    assert_eq!(read(&mut stream, io, &sent).expect("it ends"), b"hello, you");
}

#[test]
fn the_longest_message_is_read_whatever_is_asked_for() {
    for room in [1000, MAX_PLAIN, LONGEST, LONGEST + TAG, 100_000] {
        let (mut stream, mut session, mut io) = half();
        let plain = bytes(2 * LONGEST);
        let frames: Vec<_> =
            plain.chunks(LONGEST).flat_map(|plain| sealed(&mut session, plain)).collect();
        let write = async {
            io.write_all(&frames).await.expect("somebody reads");
            io.close().await.expect("it can always be closed");
        };
        let (mut heard, mut buf) = (Vec::<u8>::new(), vec![0; room]);
        let read = async {
            loop {
                match stream.read(&mut buf).await.expect("all of it is good") {
                    0 => break,
                    n => heard.extend(&buf[..n]),
                }
            }
        };
        block_on(join(read, write));
        assert!(heard == plain, "{room}");
    }
}

#[test]
fn a_write_is_a_message_and_a_long_one_is_several() {
    for (len, messages) in [(1, 1), (MAX_PLAIN, 1), (MAX_PLAIN + 1, 2), (3 * MAX_PLAIN, 3)] {
        let (mut stream, mut session, mut io) = half();
        let plain = bytes(len);
        let write = async {
            stream.write_all(&plain).await.expect("somebody reads");
            stream.close().await.expect("it can always be closed");
        };
        let mut arrived = Vec::new();
        let (_, read) = block_on(join(write, io.read_to_end(&mut arrived)));
        read.expect("it ends");
        let (mut rest, mut count, mut heard) = (&arrived[..], 0, Vec::<u8>::new());
        while let Some((len, message)) = rest.split_first_chunk() {
            let (message, others) = message.split_at(usize::from(u16::from_be_bytes(*len)));
            let mut plain = vec![0; message.len()];
            let len = session.read_message(message, &mut plain).expect("it decrypts");
            heard.extend(&plain[..len]);
            (rest, count) = (others, count + 1);
        }
        assert!(heard == plain && count == messages, "{len}: {count} messages");
    }
}

#[test]
fn an_empty_write_sends_nothing() {
    let (mut stream, _, mut io) = half();
    assert_eq!(block_on(stream.write(&[])).expect("it is nothing"), 0);
    block_on(stream.close()).expect("it can always be closed");
    let mut arrived = Vec::new();
    block_on(io.read_to_end(&mut arrived)).expect("it ends");
    assert!(arrived.is_empty());
}

#[test]
fn what_the_connection_does_not_take_goes_with_the_flush_or_before_the_end() {
    for close in [false, true] {
        let (mut stream, _, mut io) = half();
        let mut cx = Context::from_waker(Waker::noop());
        let plain = bytes(MAX_PLAIN);
        let mut write = |stream: &mut Secured| Pin::new(stream).poll_write(&mut cx, &plain);
        // The connection has room for one and a half.
        for _ in 0..2 {
            assert!(matches!(write(&mut stream), Poll::Ready(Ok(MAX_PLAIN))));
        }
        assert!(write(&mut stream).is_pending(), "one message waits, and no more");
        let mut finish = |stream: &mut Secured| match close {
            true => Pin::new(stream).poll_close(&mut cx),
            false => Pin::new(stream).poll_flush(&mut cx),
        };
        assert!(finish(&mut stream).is_pending());
        let mut arrived = vec![0; 2 * (HEADER + MAX_PLAIN + TAG)];
        let (half, rest) = arrived.split_at_mut(50_000);
        block_on(io.read_exact(half)).expect("it was written");
        assert!(matches!(finish(&mut stream), Poll::Ready(Ok(()))));
        block_on(io.read_exact(rest)).expect("all of it was written");
        assert!(stream.outgoing.is_none());
        let end = block_on(futures::future::poll_immediate(io.read(&mut [0])));
        assert_eq!(end.map(Result::ok), close.then_some(Some(0)));
    }
}

#[test]
fn an_idle_connection_holds_no_buffer() {
    let (mut one, mut two) = secured();
    for len in [1, 1000, 40_000] {
        let plain = bytes(len);
        block_on(one.write_all(&plain)).expect("there is room");
        block_on(one.flush()).expect("there is room");
        let mut heard = vec![0; len];
        let (some, rest) = heard.split_at_mut(len / 2);
        for part in [some, rest] {
            block_on(two.read_exact(part)).expect("it was written");
        }
        assert!(heard == plain);
        assert!(one.outgoing.is_none() && two.plain.is_none() && !two.incoming.holds_buffer());
    }
    // The first byte of a length, and all of it, need none either.
    let (mut stream, mut session, mut io) = half();
    for byte in &sealed(&mut session, b"hello")[..HEADER] {
        block_on(io.write_all(&[*byte])).expect("there is room");
        let read = block_on(futures::future::poll_immediate(stream.read(&mut [0; 100])));
        assert!(read.is_none() && !stream.incoming.holds_buffer());
    }
}
