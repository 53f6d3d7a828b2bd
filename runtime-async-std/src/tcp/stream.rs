//! A TCP connection.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll};

use async_io::Async;
use futures::{AsyncRead, AsyncWrite, ready};

/// A TCP connection. Closing it ends the direction to the other side, which reads an end of file;
/// what that side still sends can be read.
#[derive(Debug)]
pub struct Stream {
    socket: Async<TcpStream>,
    /// The last read took all that had come. Another at once would find nothing, or the little that
    /// came meanwhile, and keep its task from answering what it has.
    empty: bool,
}

impl Stream {
    pub(super) fn new(stream: Async<TcpStream>) -> io::Result<Self> {
        stream.get_ref().set_nodelay(true)?;
        pointsub_swarm::system::keep_alive(stream.get_ref());
        Ok(Self { socket: stream, empty: false })
    }

    /// The socket, for its addresses and options.
    #[must_use]
    pub fn get_ref(&self) -> &TcpStream {
        self.socket.get_ref()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.empty {
            ready!(self.socket.poll_readable(cx))?;
        }
        let n = ready!(Pin::new(&mut self.socket).poll_read(cx, into))?;
        self.empty = n < into.len();
        Poll::Ready(Ok(n))
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_read_vectored(cx, into)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        // `Async` itself only flushes when it is closed: the other side would never hear of it.
        match self.socket.get_ref().shutdown(Shutdown::Write) {
            // The other side was quicker.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            outcome => Poll::Ready(outcome),
        }
    }
}
