//! Messages with peers of Go `PointSub` 1.2, on raw streams.
//!
//! That version has no requests: it opens and accepts bare streams, and its message transporter
//! sends and receives messages on them. [`Client::dial`](crate::Client::dial) and
//! [`Server::listen`](crate::Server::listen) are the counterparts of its `Dial` and `Listen`, the
//! functions here those of its `Send` and `Receive`. `WIRE.md` section 5 has the format.
//!
//! ```
//! use pointsub_swarm::{Client, PeerId, ProtocolName, go12};
//!
//! async fn ask(client: Client, peer: PeerId) -> Result<(), Box<dyn std::error::Error>> {
//!     let mut stream = client.dial(peer, &ProtocolName::new("/chat/2.0.0")?).await?;
//!     go12::send(&mut stream, b"hello").await?;
//!     let answer = go12::receive(&mut stream, 1 << 20).await?.ok_or("the peer has closed")?;
//!     println!("{} bytes", answer.len());
//!     Ok(())
//! }
//! ```

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
pub use pointsub_core::wire::{Go12Error, Go12Header};
use thiserror::Error;

/// A message whose header and body are written at once, up to this length.
const TOGETHER: usize = 64 * 1024;

/// Why a message was not sent or not received.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The message itself is at fault.
    #[error(transparent)]
    Message(#[from] Go12Error),
    /// The stream failed, or ended inside the message.
    #[error("the stream failed: {0}")]
    Io(#[from] io::Error),
}

/// Sends a message.
///
/// # Errors
/// [`MessageError::Message`] if Go could not read it; nothing was written then. Otherwise the error
/// of the stream, on which a part of the message may have gone.
pub async fn send(stream: &mut (impl AsyncWrite + Unpin), body: &[u8]) -> Result<(), MessageError> {
    let mut bytes = Go12Header::of(body)?.to_bytes();
    let together = body.len().min(TOGETHER);
    bytes.extend_from_slice(&body[..together]);
    stream.write_all(&bytes).await?;
    stream.write_all(&body[together..]).await?;
    Ok(stream.flush().await?)
}

/// Receives a message of up to `limit` bytes: `None` if the peer has closed its half instead.
///
/// Memory is taken as bytes come. To stop waiting, set a deadline on the stream. Dropping the
/// future may lose a part of a message, after which the stream is of no use.
///
/// # Errors
/// [`MessageError::Message`] if the message is longer or damaged, and the error of the stream. The
/// stream is of no use then.
pub async fn receive(
    stream: &mut (impl AsyncRead + Unpin),
    limit: usize,
) -> Result<Option<Vec<u8>>, MessageError> {
    let mut bytes = Vec::new();
    let header = loop {
        if let Some(header) = Go12Header::parse(&bytes) {
            break header;
        }
        // Four bytes tell how many more there are.
        let wanted = if bytes.is_empty() { 4 } else { 8 };
        if (&mut *stream).take(wanted).read_to_end(&mut bytes).await? < wanted as usize {
            return if bytes.is_empty() { Ok(None) } else { Err(cut_off()) };
        }
    };
    let len = header.body_len();
    if len > limit {
        return Err(Go12Error::TooLarge { len, limit }.into());
    }
    let mut body = Vec::new();
    if stream.take(len as u64).read_to_end(&mut body).await? < len {
        return Err(cut_off());
    }
    header.check(&body)?;
    Ok(Some(body))
}

fn cut_off() -> MessageError {
    io::Error::new(io::ErrorKind::UnexpectedEof, "it ended inside a message").into()
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use futures::io::Cursor;

    use super::*;

    const LIMIT: usize = 1 << 20;

    fn body(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i % 251) as u8).collect()
    }

    fn sent(bodies: &[usize]) -> Vec<u8> {
        let mut stream = Cursor::new(Vec::new());
        for len in bodies {
            block_on(send(&mut stream, &body(*len))).expect("a length that Go reads");
        }
        stream.into_inner()
    }

    #[test]
    fn messages_come_as_they_were_sent_until_the_stream_ends() {
        let lens = [0, 1, 5, 255, 256, 65_535, 65_536, 65_599, 100_000, LIMIT];
        let mut stream = Cursor::new(sent(&lens));
        for len in lens {
            let received = block_on(receive(&mut stream, LIMIT)).expect("a message");
            assert!(received.expect("a message") == body(len), "{len} bytes");
        }
        assert!(block_on(receive(&mut stream, LIMIT)).expect("the end").is_none());
    }

    #[test]
    fn a_message_that_ends_too_early_is_no_message() {
        for len in [5, 100_000] {
            let whole = sent(&[len]);
            for cut in [1, 3, 4, 8, whole.len() - 1] {
                let mut stream = Cursor::new(&whole[..cut]);
                let error = block_on(receive(&mut stream, LIMIT)).expect_err("half of one");
                let MessageError::Io(error) = error else { panic!("{error}") };
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{len} at {cut}");
            }
        }
    }

    #[test]
    fn a_message_beyond_the_limit_is_refused_on_sight_of_its_header() {
        let announced = &sent(&[100_000])[..12];
        let error = block_on(receive(&mut Cursor::new(announced), 99_999)).expect_err("too long");
        let too_large = Go12Error::TooLarge { len: 100_000, limit: 99_999 };
        assert!(matches!(error, MessageError::Message(error) if error == too_large), "{error}");
    }

    #[test]
    fn what_go_would_misread_is_not_written() {
        let mut stream = Cursor::new(Vec::new());
        let error = block_on(send(&mut stream, &body(65_600))).expect_err("Go misreads it");
        assert!(matches!(error, MessageError::Message(Go12Error::Misread { len: 65_600 })));
        assert!(stream.into_inner().is_empty());
    }
}
