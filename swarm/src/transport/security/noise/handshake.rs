//! The messages of a handshake, on a connection.

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use snow::{HandshakeState, TransportState};

use super::dh::LEN;
use super::error::Error;

/// The longest message of a peer in the handshake of Noise. What libp2p's peers say of themselves has
/// some 200 bytes, and 3 KiB with the largest key of RSA.
pub(super) const MAX_HANDSHAKE: usize = 8 * 1024;
/// What a message has beside its payload at most: two keys, one of them encrypted, and two tags.
const OVERHEAD: usize = 2 * LEN + 2 * TAG;
/// What is behind all that is encrypted, to tell whether it was changed.
pub(super) const TAG: usize = 16;
/// The length of a message, before it.
pub(super) const HEADER: usize = 2;

/// One end of a handshake. Which message comes next is known to `snow`, which refuses any other.
pub(super) struct Handshake<'a, C> {
    io: &'a mut C,
    state: HandshakeState,
}

impl<'a, C: AsyncRead + AsyncWrite + Unpin> Handshake<'a, C> {
    pub(super) fn new(io: &'a mut C, state: HandshakeState) -> Self {
        Self { io, state }
    }

    pub(super) async fn send(&mut self, payload: &[u8]) -> Result<(), Error> {
        let mut frame = vec![0; HEADER + OVERHEAD + payload.len()];
        let len = self.state.write_message(payload, &mut frame[HEADER..])?;
        frame[..HEADER].copy_from_slice(&header(len)?);
        self.io.write_all(&frame[..HEADER + len]).await?;
        Ok(self.io.flush().await?)
    }

    /// The payload of the peer's next message.
    pub(super) async fn receive(&mut self) -> Result<Vec<u8>, Error> {
        let mut len = [0; HEADER];
        self.io.read_exact(&mut len).await?;
        let (len, most) = (usize::from(u16::from_be_bytes(len)), MAX_HANDSHAKE);
        if len > most {
            return Err(Error::TooLong { len, most });
        }
        let (mut message, mut payload) = (vec![0; len], vec![0; len]);
        self.io.read_exact(&mut message).await?;
        let len = self.state.read_message(&message, &mut payload)?;
        payload.truncate(len);
        Ok(payload)
    }

    /// The static key that the peer has shown to have.
    pub(super) fn peer_key(&self) -> Result<&[u8; LEN], snow::Error> {
        let key = self.state.get_remote_static().and_then(|key| key.try_into().ok());
        key.ok_or(snow::Error::State(snow::error::StateProblem::MissingKeyMaterial))
    }

    pub(super) fn finish(self) -> Result<TransportState, snow::Error> {
        self.state.into_transport_mode()
    }
}

/// The length of a message as it is sent.
pub(super) fn header(len: usize) -> Result<[u8; HEADER], snow::Error> {
    Ok(u16::try_from(len).map_err(|_| snow::Error::Input)?.to_be_bytes())
}
