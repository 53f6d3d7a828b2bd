//! The vectors of `WIRE.md` section 6.

use super::Dialect;
use super::certificate::{self, CertificateError};

/// The lines of one of them, by what stands before the colon.
pub(super) fn handshake(name: &str) -> impl Fn(&str) -> &'static str {
    let mut vectors = include_str!("../../../../WIRE.md").split("```handshake\n").skip(1);
    let head = format!("name: {name}\n");
    let vector = vectors.find(|vector| vector.starts_with(&head)).expect("a vector");
    move |key| {
        let mut lines = vector.lines().take_while(|line| !line.starts_with("```"));
        let value = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
        value.expect("a line of the vector")
    }
}

#[test]
fn the_certificate_proves_who_the_peer_is_in_the_dialect_alone() {
    let line = handshake("dep2p certificate");
    let hex = line("certificate");
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    let certificate = (0..hex.len()).step_by(2).map(byte).collect::<Vec<_>>().into();
    let peer = line("peer").parse().expect("a peer id");
    assert_eq!(certificate::parse(&certificate, Dialect::Dep2p), Ok(peer));
    let refused = certificate::parse(&certificate, Dialect::Libp2p);
    assert!(matches!(refused, Err(CertificateError::OtherDialect { .. })), "{refused:?}");
}
