//! Handshakes that somebody on the way changes or cuts.

use std::io;

use futures::future::join3;
use futures::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Three messages, with their lengths.
const LENS: [usize; 3] = [34, 202, 170];

/// Whether who listens is the receiver of a message.
fn listener_hears(message: usize) -> bool {
    message != 1
}

/// Takes one message from an end.
async fn next(from: &mut End) -> io::Result<Vec<u8>> {
    let mut len = [0; 2];
    from.read_exact(&mut len).await?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(len))];
    from.read_exact(&mut message).await?;
    Ok([&len[..], &message].concat())
}

/// Between two ends: what was sent as this message arrives as `changed`, and nothing behind it.
async fn between(dialler: End, listener: End, message: usize, changed: impl Fn(&mut Vec<u8>)) {
    let (mut from, mut to) = (dialler, listener);
    for (number, len) in LENS.into_iter().enumerate() {
        let Ok(mut bytes) = next(&mut from).await else { return };
        assert_eq!(bytes.len(), len);
        if number == message {
            changed(&mut bytes);
        }
        if to.write_all(&bytes).await.is_err() {
            return;
        }
        if number == message {
            to.close().await.expect("it can always be closed");
        }
        std::mem::swap(&mut from, &mut to);
    }
}

fn meet_with(message: usize, changed: impl Fn(&mut Vec<u8>)) -> (Dialled, Accepted) {
    let ((one, two), (three, four)) = (pipe(usize::MAX), pipe(usize::MAX));
    let both = join3(
        dial(one, &BOTH[..1]),
        listen(four, Dialect::Libp2p),
        between(two, three, message, changed),
    );
    let (dialled, accepted, ()) = block_on(both);
    (dialled, accepted)
}

#[test]
fn a_handshake_that_nobody_touches_is_good() {
    let (dialled, accepted) = meet_with(2, |_| {});
    assert_eq!(dialled.expect("secured").0, peer(2));
    assert_eq!(accepted.expect("secured").0, peer(1));
}

#[test]
fn a_flipped_bit_is_noticed_wherever_it_is() {
    for (message, len) in LENS.into_iter().enumerate() {
        // Of the keys, tags and signatures in it every third, which takes long enough.
        for byte in (0..len).filter(|byte| *byte < 3 || byte % 3 == 1) {
            let (dialled, accepted) = meet_with(message, |bytes| bytes[byte] ^= 1 << (byte % 8));
            assert!(accepted.is_err(), "message {message}, byte {byte}");
            // Of the last message nobody tells it.
            assert_eq!(dialled.is_err(), message < 2, "message {message}, byte {byte}");
        }
    }
}

#[test]
fn a_cut_is_noticed_wherever_it_is() {
    for (message, len) in LENS.into_iter().enumerate() {
        for left in 0..len {
            let (dialled, accepted) = meet_with(message, |bytes| bytes.truncate(left));
            let error = if listener_hears(message) { why(accepted) } else { why(dialled) };
            let Error::Io(error) = error else { panic!("message {message}, {left}: {error:?}") };
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "message {message}, {left}");
        }
    }
}
