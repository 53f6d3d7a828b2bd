//! The body of the fuzz target `noise_payload`, which takes any bytes and panics if a promise does not
//! hold.

use libp2p_identity::PublicKey;
use prost::Message;

use super::dh::LEN;
use super::payload::{Payload, verify};
use crate::transport::security::Dialect;

/// A byte that says which dialects are allowed, a static key, and a payload: it is let in if and only
/// if the key in it has signed this static key in an allowed dialect, and in another form of the same
/// payload too.
pub fn noise_payload(data: &[u8]) {
    let Some((&[which, ref static_key @ ..], payload)) = data.split_first_chunk::<{ 1 + LEN }>()
    else {
        return;
    };
    let both = [(1, Dialect::Libp2p), (2, Dialect::Dep2p)];
    let allowed = both.into_iter().filter(|(bit, _)| which & bit != 0);
    let allowed: Vec<_> = allowed.map(|(_, dialect)| dialect).collect();
    let judged = verify(payload, static_key, &allowed).ok();
    assert_eq!(judged, expected(payload, static_key, &allowed), "against what was signed");

    let Ok(decoded) = Payload::decode(payload) else { return };
    let again = verify(&decoded.encode_to_vec(), static_key, &allowed).ok();
    assert_eq!(again, judged, "the form of the payload decides");
    if judged.is_some() {
        let mut other = *static_key;
        other[usize::from(which) % LEN] ^= 0x80;
        assert!(verify(payload, &other, &allowed).is_err(), "another static key is let in");
        let bare = Payload { extensions: None, ..decoded };
        let again = verify(&bare.encode_to_vec(), static_key, &allowed).ok();
        assert_eq!(again, judged, "what does not concern us decides");
    }
}

/// The same by the letter of the specification.
fn expected(
    payload: &[u8],
    static_key: &[u8; LEN],
    allowed: &[Dialect],
) -> Option<(libp2p_identity::PeerId, Dialect)> {
    let payload = Payload::decode(payload).ok()?;
    let key = PublicKey::try_decode_protobuf(&payload.identity_key).ok()?;
    let has_signed =
        |text: &[u8]| key.verify(&[text, &static_key[..]].concat(), &payload.identity_sig);
    let libp2p = has_signed(b"noise-libp2p-static-key:").then_some(Dialect::Libp2p);
    let dep2p = has_signed(b"noise-dep2p-static-key:").then_some(Dialect::Dep2p);
    let dialect = libp2p.or(dep2p).filter(|dialect| allowed.contains(dialect))?;
    Some((key.to_peer_id(), dialect))
}
