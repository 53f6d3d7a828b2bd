//! Noise as libp2p defines it, `Noise_XX_25519_ChaChaPoly_SHA256`, in both dialects. See
//! <https://github.com/libp2p/specs/blob/master/noise/README.md>.
//!
//! The dialects differ in one text: what comes before a peer's static key of Noise in what the peer's
//! identity key signs ([`Dialect::noise_prefix`]). The listener says so first, in the second of three
//! messages. Who dials hears which dialect that is, and answers in the same. Who listens has to decide
//! beforehand.
//!
//! ```text
//!  dials                                      listens
//!    │ ──── ephemeral key ──────────────────────▶ │
//!    │ ◀─── ephemeral key, static key, payload ── │  signed in its dialect
//!    │ ──── static key, payload ────────────────▶ │  signed in the same
//!    │ ◀───────────── messages ─────────────────▶ │
//! ```
//!
//! Every message has its length in front, in two bytes. Noise itself is `snow`'s, with what
//! `libp2p-noise` gives it to compute with: `ring`, and `x25519-dalek` for the keys. Neither Noise nor
//! libp2p has a message that says "the end". An end between two messages is therefore taken for one,
//! and what runs above has to say whether it was.

mod dh;
mod error;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
mod handshake;
mod incoming;
mod keys;
mod payload;
mod stream;
#[cfg(test)]
mod tests;

use futures::{AsyncBufRead, AsyncWrite};
use libp2p_identity::PeerId;
use snow::HandshakeState;

pub(crate) use self::error::Error;
use self::handshake::Handshake;
pub(crate) use self::keys::Keys;
pub(crate) use self::stream::NoiseStream;
use super::Dialect;

/// Secures what we have dialled, in whichever of the `allowed` dialects the peer speaks.
///
/// The peer learns who we are once we know who it is.
///
/// # Errors
/// [`Error::OtherDialect`] if the peer has proved who it is, in a dialect that is not allowed.
pub(crate) async fn connect<C>(
    io: C,
    keys: &Keys,
    allowed: &[Dialect],
) -> Result<(PeerId, Dialect, NoiseStream<C>), Error>
where
    C: AsyncBufRead + AsyncWrite + Unpin,
{
    connect_as(keys.builder()?.build_initiator()?, io, keys, allowed).await
}

async fn connect_as<C>(
    initiator: HandshakeState,
    mut io: C,
    keys: &Keys,
    allowed: &[Dialect],
) -> Result<(PeerId, Dialect, NoiseStream<C>), Error>
where
    C: AsyncBufRead + AsyncWrite + Unpin,
{
    let mut handshake = Handshake::new(&mut io, initiator);
    handshake.send(&[]).await?;
    let payload = handshake.receive().await?;
    let (peer, dialect) = payload::verify(&payload, handshake.peer_key()?, allowed)?;
    handshake.send(keys.payload(dialect)).await?;
    let session = handshake.finish()?;
    Ok((peer, dialect, NoiseStream::new(io, session)))
}

/// Secures what the peer has dialled, in this dialect.
///
/// # Errors
/// [`Error::OtherDialect`] if the peer has proved who it is, in another one.
pub(crate) async fn accept<C>(
    io: C,
    keys: &Keys,
    dialect: Dialect,
) -> Result<(PeerId, NoiseStream<C>), Error>
where
    C: AsyncBufRead + AsyncWrite + Unpin,
{
    accept_as(keys.builder()?.build_responder()?, io, keys, dialect).await
}

async fn accept_as<C>(
    responder: HandshakeState,
    mut io: C,
    keys: &Keys,
    dialect: Dialect,
) -> Result<(PeerId, NoiseStream<C>), Error>
where
    C: AsyncBufRead + AsyncWrite + Unpin,
{
    let mut handshake = Handshake::new(&mut io, responder);
    if !handshake.receive().await?.is_empty() {
        return Err(Error::EarlyPayload);
    }
    handshake.send(keys.payload(dialect)).await?;
    let payload = handshake.receive().await?;
    let (peer, _) = payload::verify(&payload, handshake.peer_key()?, &[dialect])?;
    let session = handshake.finish()?;
    Ok((peer, NoiseStream::new(io, session)))
}
