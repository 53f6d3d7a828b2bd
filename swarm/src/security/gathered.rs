//! Gathers small writes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{AsyncRead, AsyncWrite};

use super::buffer;

/// What is written at once, at most: two full records. The peer decrypts one piece while the next is
/// encrypted.
const PIECE: usize = 32 * 1024;

/// A stream whose writes wait for each other until it is flushed or there are many bytes: TLS makes
/// a record and a system call of each, and Yamux writes the header of a frame by itself.
pub(super) struct Gathered<S> {
    stream: S,
    /// What waits. Without a buffer if nothing does.
    waiting: Option<Waiting>,
}

struct Waiting {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl<S> Gathered<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, waiting: None }
    }
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    /// Writes everything that waits.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(Waiting { buffer, start, end }) = &mut self.waiting {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &buffer[*start..*end]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => *start += n,
            }
            if start == end
                && let Some(Waiting { buffer, .. }) = self.waiting.take()
            {
                buffer::give(buffer);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.waiting.as_ref().is_some_and(|waiting| waiting.end == PIECE) {
            ready!(self.poll_drain(cx))?;
        }
        if self.waiting.is_none() && buf.len() >= PIECE {
            return Pin::new(&mut self.stream).poll_write(cx, &buf[..PIECE]);
        }
        let empty = || Waiting { buffer: buffer::take(), start: 0, end: 0 };
        let Waiting { buffer, end, .. } = self.waiting.get_or_insert_with(empty);
        let n = buf.len().min(PIECE - *end);
        buffer[*end..*end + n].copy_from_slice(&buf[..n]);
        *end += n;
        Poll::Ready(Ok(n))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
