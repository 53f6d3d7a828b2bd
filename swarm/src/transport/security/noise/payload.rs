//! Who a peer is: its identity key, which has signed its static key of Noise.

use libp2p_identity::{Keypair, PeerId, PublicKey, SigningError};
use prost::Message;

use super::dh::LEN;
use super::error::Error;
use crate::transport::security::Dialect;

/// What a peer says of itself inside the handshake.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Payload {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) identity_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) identity_sig: Vec<u8>,
    /// Nothing that concerns us. It has to be well-formed all the same, as `libp2p-noise` has it.
    #[prost(message, optional, tag = "4")]
    pub(super) extensions: Option<Extensions>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Extensions {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(super) webtransport_certhashes: Vec<Vec<u8>>,
    #[prost(string, repeated, tag = "2")]
    pub(super) stream_muxers: Vec<String>,
}

/// What `identity` says to peers that speak `dialect` about a static key.
pub(super) fn sign(
    identity: &Keypair,
    static_key: &[u8; LEN],
    dialect: Dialect,
) -> Result<Vec<u8>, SigningError> {
    let payload = Payload {
        identity_key: identity.public().encode_protobuf(),
        identity_sig: identity.sign(&signed(static_key, dialect))?,
        extensions: None,
    };
    Ok(payload.encode_to_vec())
}

/// Who has proved to have this static key, and in which dialect.
///
/// # Errors
/// If nobody has, or in a dialect that is not allowed.
pub(super) fn verify(
    payload: &[u8],
    static_key: &[u8; LEN],
    allowed: &[Dialect],
) -> Result<(PeerId, Dialect), Error> {
    let payload = Payload::decode(payload)?;
    let identity = PublicKey::try_decode_protobuf(&payload.identity_key)?;
    let has_signed =
        |dialect: &Dialect| identity.verify(&signed(static_key, *dialect), &payload.identity_sig);
    let dialect = [Dialect::Libp2p, Dialect::Dep2p].into_iter().find(has_signed);
    match dialect.ok_or(Error::Signature)? {
        dialect if allowed.contains(&dialect) => Ok((identity.to_peer_id(), dialect)),
        other => Err(Error::OtherDialect(other)),
    }
}

fn signed(static_key: &[u8; LEN], dialect: Dialect) -> Vec<u8> {
    [dialect.noise_prefix(), static_key].concat()
}
