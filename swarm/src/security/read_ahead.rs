//! Reads as much as there is, for a reader that asks for little.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{AsyncRead, AsyncWrite};

use super::buffer;

/// A connection that is read in large pieces: TLS asks for 4 KiB at a time and Noise for 8, each
/// of which would be a system call.
pub(super) struct ReadAhead<C> {
    io: C,
    /// What was read and not asked for. Without a buffer if there is nothing.
    ahead: Option<Ahead>,
}

struct Ahead {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl<C> ReadAhead<C> {
    pub(super) fn new(io: C) -> Self {
        Self { io, ahead: None }
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for ReadAhead<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let mut ahead = match this.ahead.take() {
            Some(ahead) => ahead,
            None if buf.len() >= buffer::SIZE => return Pin::new(&mut this.io).poll_read(cx, buf),
            None => {
                let mut buffer = buffer::take();
                let read = Pin::new(&mut this.io).poll_read(cx, &mut buffer);
                let Poll::Ready(Ok(end)) = read else {
                    buffer::give(buffer);
                    return read;
                };
                Ahead { buffer, start: 0, end }
            }
        };
        let n = buf.len().min(ahead.end - ahead.start);
        buf[..n].copy_from_slice(&ahead.buffer[ahead.start..ahead.start + n]);
        ahead.start += n;
        if ahead.start == ahead.end {
            buffer::give(ahead.buffer);
        } else {
            this.ahead = Some(ahead);
        }
        Poll::Ready(Ok(n))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for ReadAhead<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}
