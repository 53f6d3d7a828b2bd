//! The least that makes messages of a stream: four bytes of length, then the body. It is also the
//! plain format of this library.

use std::io;

use bytes::Bytes;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::MAX_BODY;

/// Up to this size, length and body are put together for one write.
const TOGETHER: usize = 16 * 1024;

/// Writes one message.
pub(super) async fn write<W: AsyncWrite + Unpin>(io: &mut W, body: &[u8]) -> io::Result<()> {
    let len = u32::try_from(body.len()).map_err(io::Error::other)?.to_be_bytes();
    if body.len() <= TOGETHER {
        io.write_all(&[&len, body].concat()).await?;
    } else {
        io.write_all(&len).await?;
        io.write_all(body).await?;
    }
    io.flush().await
}

/// Reads one message.
pub(super) async fn read<R: AsyncRead + Unpin>(io: &mut R) -> io::Result<Bytes> {
    let mut len = [0; 4];
    io.read_exact(&mut len).await?;
    let len = u32::from_be_bytes(len) as usize;
    if len > MAX_BODY {
        return Err(io::Error::other("too large"));
    }
    let mut body = vec![0; len];
    io.read_exact(&mut body).await?;
    Ok(body.into())
}
