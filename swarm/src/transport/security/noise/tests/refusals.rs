//! Peers that prove nothing.

use futures::AsyncWriteExt;
use prost::Message;

use super::*;
use crate::transport::security::noise::handshake::MAX_HANDSHAKE;
use crate::transport::security::noise::payload::{Extensions, Payload};

/// A peer with the static key number 3 that says this of itself.
async fn impostor(mut io: End, dials: bool, payload: &[u8]) {
    let keys = keys(3);
    let builder = keys.builder().expect("a key");
    if dials {
        let mut handshake = Handshake::new(&mut io, builder.build_initiator().expect("a key"));
        handshake.send(&[]).await.expect("somebody listens");
        handshake.receive().await.expect("an answer");
        handshake.send(payload).await.expect("somebody listens");
    } else {
        let mut handshake = Handshake::new(&mut io, builder.build_responder().expect("a key"));
        handshake.receive().await.expect("somebody dials");
        handshake.send(payload).await.expect("somebody dials");
        assert!(handshake.receive().await.is_err(), "it was let in");
    }
}

/// What each end, as dialler and as listener, makes of a peer that says this of itself.
fn judged(payload: &[u8]) -> [Result<PeerId, Error>; 2] {
    let (dialled, ()) = meet(|io| dial(io, &BOTH), |io| impostor(io, false, payload));
    let ((), accepted) = meet(|io| impostor(io, true, payload), |io| listen(io, Dialect::Libp2p));
    [dialled.map(|(peer, ..)| peer), accepted.map(|(peer, _)| peer)]
}

fn refusals(payload: &Payload) -> [Error; 2] {
    judged(&payload.encode_to_vec()).map(why)
}

/// What the node number 3 says of itself.
fn honest() -> Payload {
    Payload::decode(keys(3).payload(Dialect::Libp2p)).expect("well-formed")
}

#[test]
fn a_forged_signature_is_refused() {
    for byte in [0, 31, 32, 63] {
        let mut payload = honest();
        payload.identity_sig[byte] ^= 1;
        for error in refusals(&payload) {
            assert!(matches!(error, Error::Signature), "{error:?}");
        }
    }
}

#[test]
fn a_peer_that_signs_nothing_is_refused() {
    for sig in [Vec::new(), vec![0; 64], honest().identity_sig[..63].to_vec()] {
        for error in refusals(&Payload { identity_sig: sig, ..honest() }) {
            assert!(matches!(error, Error::Signature), "{error:?}");
        }
    }
}

#[test]
fn the_identity_of_somebody_else_is_refused() {
    let identity_key = identity(4).public().encode_protobuf();
    for error in refusals(&Payload { identity_key, ..honest() }) {
        assert!(matches!(error, Error::Signature), "{error:?}");
    }
}

#[test]
fn what_somebody_else_has_signed_about_its_own_static_key_is_refused() {
    for dialect in BOTH {
        for error in judged(keys(4).payload(dialect)).map(why) {
            assert!(matches!(error, Error::Signature), "{error:?}");
        }
    }
}

#[test]
fn a_signature_without_the_text_of_a_dialect_is_refused() {
    let static_key = static_key(3);
    for prefix in [&b""[..], b"noise-libp2p-static-key", b"libp2p-tls-handshake:"] {
        let signed = [prefix, static_key.public()].concat();
        let identity_sig = identity(3).sign(&signed).expect("it can sign");
        for error in refusals(&Payload { identity_sig, ..honest() }) {
            assert!(matches!(error, Error::Signature), "{error:?}");
        }
    }
}

#[test]
fn a_payload_without_an_identity_is_refused() {
    let rsa_without_a_key = vec![8, 0];
    for identity_key in [Vec::new(), vec![7; 36], rsa_without_a_key] {
        for error in refusals(&Payload { identity_key, ..honest() }) {
            assert!(matches!(error, Error::IdentityKey(_)), "{error:?}");
        }
    }
    for error in judged(&[]).map(why) {
        assert!(matches!(error, Error::IdentityKey(_)), "{error:?}");
    }
}

#[test]
fn a_malformed_payload_is_refused() {
    let honest = honest().encode_to_vec();
    // Field 4 is a message, whose field 2 is text.
    let extensions = [&honest[..], &[0x22, 3, 0x12, 1, 0xff]].concat();
    let cases: [&[u8]; 5] = [
        &[0xff; 40],
        b"noise",
        &honest[..honest.len() - 1],
        &[&honest[..], &[0]].concat(),
        &extensions,
    ];
    for payload in cases {
        for error in judged(payload).map(why) {
            assert!(matches!(error, Error::Payload(_)), "{payload:?}: {error:?}");
        }
    }
}

#[test]
fn what_does_not_concern_us_is_ignored() {
    let mut payload = honest();
    payload.extensions = Some(Extensions {
        webtransport_certhashes: vec![vec![1; 36], b"no hash".to_vec()],
        stream_muxers: vec!["/yamux/1.0.0".to_owned(), "/mplex/6.7.0".to_owned()],
    });
    // The field 3 of old versions, and one that is not known yet.
    let unknown = [&payload.encode_to_vec()[..], &[0x1a, 2, 1, 2, 0xa2, 6, 1, 7]].concat();
    let accepted = |payload: &[u8]| {
        let sent = async |mut io: End| {
            let keys = keys(3);
            let session = keys.builder().expect("a key").build_initiator().expect("a key");
            let mut handshake = Handshake::new(&mut io, session);
            handshake.send(&[]).await.expect("somebody listens");
            handshake.receive().await.expect("an answer");
            handshake.send(payload).await.expect("somebody listens");
        };
        meet(sent, |io| listen(io, Dialect::Libp2p)).1.expect("secured").0
    };
    assert_eq!([accepted(&payload.encode_to_vec()), accepted(&unknown)], [peer(3); 2]);
}

/// What each end makes of these first bytes of a peer, if there are no others.
fn hearing(first: &[u8]) -> [Error; 2] {
    let say = async |mut io: End| {
        io.write_all(first).await.expect("somebody is there");
        io.close().await.expect("it can always be closed");
        io
    };
    let (dialled, _) = meet(|io| dial(io, &BOTH), say);
    let (_, accepted) = meet(say, |io| listen(io, Dialect::Libp2p));
    [why(dialled), why(accepted)]
}

#[test]
fn a_message_that_is_too_long_is_refused_before_it_has_come() {
    let longest = u16::try_from(MAX_HANDSHAKE).expect("of two bytes");
    for len in [longest + 1, u16::MAX] {
        for error in hearing(&len.to_be_bytes()) {
            let Error::TooLong { len: said, most } = error else { panic!("{error:?}") };
            assert_eq!((said, most), (usize::from(len), MAX_HANDSHAKE));
        }
    }
    let full = [&longest.to_be_bytes()[..], &vec![7; MAX_HANDSHAKE]].concat();
    for error in hearing(&full) {
        assert!(matches!(error, Error::Noise(_) | Error::EarlyPayload), "{error:?}");
    }
}

#[test]
fn a_message_without_room_for_a_key_is_refused() {
    for len in [0, 1, 31] {
        for error in hearing(&[&[0, len][..], &vec![7; usize::from(len)]].concat()) {
            assert!(matches!(error, Error::Noise(snow::Error::Input)), "{error:?}");
        }
    }
}

#[test]
fn a_key_of_low_order_is_refused() {
    for key in [[0; LEN], {
        let mut one = [0; LEN];
        one[0] = 1;
        one
    }] {
        let answer = [&[0, 200][..], &key, &[7; 168]].concat();
        let [dialled, _] = hearing(&answer);
        assert!(matches!(dialled, Error::Noise(snow::Error::Dh)), "{dialled:?}");
        let [_, accepted] = hearing(&[&[0, 32][..], &key].concat());
        assert!(matches!(accepted, Error::Noise(snow::Error::Dh)), "{accepted:?}");
    }
}

#[test]
fn a_payload_that_nothing_protects_is_refused() {
    let [_, accepted] = hearing(&[&[0, 34][..], &[9; LEN], &[0x0a, 0]].concat());
    assert!(matches!(accepted, Error::EarlyPayload), "{accepted:?}");
}
