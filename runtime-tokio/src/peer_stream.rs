//! A raw stream that tells hyper and tonic who is at the other end.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::caller::Caller;
use crate::{PeerId, RawStream};

/// A [`RawStream`] that hyper and tonic take as a connection.
#[derive(Debug)]
pub struct PeerStream(RawStream);

impl PeerStream {
    pub(crate) const fn new(stream: RawStream) -> Self {
        Self(stream)
    }

    /// The peer at the other end, authenticated by the connection.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.0.peer_id()
    }

    /// The stream itself, for instance after an upgrade.
    #[must_use]
    pub fn into_inner(self) -> RawStream {
        self.0
    }

    pub(crate) fn caller(&self) -> Caller {
        Caller(self.peer_id())
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        AsyncRead::poll_read(Pin::new(&mut self.0), cx, buf)
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.0), cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.0), cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(Pin::new(&mut self.0), cx)
    }
}
