//! What `WIRE.md` says of the dialect.

use super::vectors::{VECTORS, unhex};
use super::*;
use crate::transport::security::noise::payload;
use crate::transport::security::wire::handshake;

#[test]
fn payloads_prove_who_a_peer_is_as_stated() {
    for name in ["dep2p payload", "dep2p payload, from Go PointSub 1.1.7"] {
        let line = handshake(name);
        let key = unhex(line("static")).try_into().expect("a key");
        let verified = payload::verify(&unhex(line("payload")), &key, &BOTH).expect(name);
        assert_eq!(verified, (line("peer").parse().expect("a peer id"), Dialect::Dep2p));
    }
}

#[test]
fn the_whole_handshake_is_the_one_of_the_tests() {
    let line = handshake("dep2p handshake");
    let vector = VECTORS.iter().find(|vector| vector.dialect == Dialect::Dep2p).expect("one");
    assert_eq!([line("dialler"), line("listener")], [vector.dialler, vector.listener]);
    assert_eq!(["message 1", "message 2", "message 3"].map(line), vector.messages);
}
