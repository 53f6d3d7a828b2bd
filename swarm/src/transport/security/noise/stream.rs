//! What follows the handshake: messages, each of which is encrypted by itself.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{AsyncBufRead, AsyncRead, AsyncWrite};
use snow::TransportState;

use super::handshake::{HEADER, TAG, header};
use super::incoming::Incoming;
use crate::transport::security::buffer::{Filled, PooledBuffer, SIZE};

/// What one message carries at most, so that all of it fits into a buffer.
pub(super) const MAX_PLAIN: usize = SIZE - HEADER - TAG;

/// A connection whose bytes only the peer can read.
///
/// An end between two messages is the end, one inside of a message is an error. Each write is a message;
/// [`CoalescingWriter`](crate::transport::security::coalescing_writer::CoalescingWriter) has them wait for each other. Nothing is held while
/// nothing is under way but the ciphers.
pub(crate) struct NoiseStream<C> {
    io: C,
    session: TransportState,
    pub(super) incoming: Incoming,
    /// What was decrypted and not asked for.
    pub(super) plain: Option<Filled>,
    /// A message did not decrypt. None that follows is looked at.
    broken: bool,
    /// A message that was not written in full.
    pub(super) outgoing: Option<Filled>,
}

impl<C> NoiseStream<C> {
    pub(super) fn new(io: C, session: TransportState) -> Self {
        let incoming = Incoming::default();
        Self { io, session, incoming, plain: None, broken: false, outgoing: None }
    }

    /// What arrives after the last byte.
    fn end(&self) -> io::Result<usize> {
        if self.incoming.is_within() {
            let why = "the connection ended inside of a message: what the peer sent is cut short";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
        }
        Ok(0)
    }
}

/// Decrypts a message: into `buf` if there is room for it, otherwise into a buffer that is left in
/// `plain`. Says how many bytes are in `buf`.
fn open(
    session: &mut TransportState,
    message: &[u8],
    buf: &mut [u8],
    plain: &mut Option<Filled>,
) -> Result<usize, snow::Error> {
    // The ciphers want room for the tag too.
    if buf.len() >= message.len() {
        return session.read_message(message, buf);
    }
    let mut buffer = PooledBuffer::take();
    let len = session.read_message(message, &mut buffer)?;
    *plain = Filled::new(buffer, len);
    Ok(0)
}

fn broken() -> io::Error {
    let why = "a message does not decrypt: it was changed on its way, and the connection is lost";
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl<C: AsyncBufRead + Unpin> AsyncRead for NoiseStream<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            if let Some(plain) = &this.plain {
                let n = buf.len().min(plain.bytes().len());
                buf[..n].copy_from_slice(&plain.bytes()[..n]);
                Filled::consume(&mut this.plain, n);
                return Poll::Ready(Ok(n));
            }
            if this.broken {
                return Poll::Ready(Err(broken()));
            }
            let bytes = ready!(Pin::new(&mut this.io).poll_fill_buf(cx))?;
            if bytes.is_empty() {
                return Poll::Ready(this.end());
            }
            let (used, message) = this.incoming.take(bytes);
            let mut open = |message: &[u8]| open(&mut this.session, message, buf, &mut this.plain);
            let opened = message.map_or(Ok(0), |message| open(&message));
            Pin::new(&mut this.io).consume(used);
            match opened {
                Ok(0) => {} // It has no bytes, or is not here yet, or waits in a buffer.
                Ok(n) => return Poll::Ready(Ok(n)),
                Err(_) => this.broken = true,
            }
        }
    }
}

impl<C: AsyncWrite + Unpin> NoiseStream<C> {
    /// Writes all that was encrypted.
    fn poll_outgoing(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(outgoing) = &self.outgoing {
            match ready!(Pin::new(&mut self.io).poll_write(cx, outgoing.bytes()))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => Filled::consume(&mut self.outgoing, n),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// A message for the peer.
    fn seal(&mut self, bytes: &[u8]) -> Result<Option<Filled>, snow::Error> {
        let mut buffer = PooledBuffer::take();
        let len = self.session.write_message(bytes, &mut buffer[HEADER..])?;
        buffer[..HEADER].copy_from_slice(&header(len)?);
        Ok(Filled::new(buffer, HEADER + len))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for NoiseStream<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_outgoing(cx))?;
        let n = buf.len().min(MAX_PLAIN);
        if n > 0 {
            self.outgoing = self.seal(&buf[..n]).map_err(io::Error::other)?;
            // What is not taken now goes with the next write or flush.
            if let Poll::Ready(Err(error)) = self.poll_outgoing(cx) {
                return Poll::Ready(Err(error));
            }
        }
        Poll::Ready(Ok(n))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_outgoing(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.io).poll_close(cx)
    }
}
