//! A stream of a connection.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::{AsyncRead, AsyncWrite, FutureExt, ready};
use libp2p_core::upgrade::NegotiationError;
use quinn::{ConnectionError, ReadError, RecvStream, SendStream, StoppedError, VarInt, WriteError};

use super::connection::Shared;

/// With this, libp2p's implementation in Go resets a stream whose protocol it does not have:
/// <https://github.com/libp2p/specs/blob/master/error-codes/README.md>.
const NEGOTIATION_FAILED: VarInt = VarInt::from_u32(0x1001);
/// All that this end has to say when it resets a stream.
const NOTHING: VarInt = VarInt::from_u32(0);
/// If no more than this was written to a stream of QUIC that is reset, the peer is to read it first.
const LAST_WORDS: u64 = 1024;

/// A stream.
///
/// Closing it ends the direction to the peer, and is done when the peer has all that was written: not
/// its application, but the other end of the connection. What the peer still sends can be read.
///
/// Dropping it without that resets it: the peer reads an error, and is told to send nothing more. What
/// it had not read yet is lost, unless that was all there was, little, and flushed: then the reset
/// follows a little later, since protocols of libp2p end with a message and no close.
pub struct Stream {
    /// Always there until this is dropped.
    send: Option<SendStream>,
    recv: RecvStream,
    /// Reads fail from now on. Asked again, `recv` would tell of an end.
    broken: Option<Broken>,
    end: End,
    written: u64,
    flushed: bool,
    shared: Arc<Shared>,
}

/// How far this end's direction is from its end.
enum End {
    Open,
    /// The peer has not acknowledged everything.
    Finished(BoxFuture<'static, Result<Option<VarInt>, StoppedError>>),
    Closed(Result<(), Broken>),
}

/// Why a direction does not work any more.
#[derive(Clone)]
enum Broken {
    Reset(VarInt),
    Lost(ConnectionError),
}

impl Stream {
    pub(super) fn new((send, recv): (SendStream, RecvStream), shared: Arc<Shared>) -> Self {
        let (broken, end, written, flushed) = (None, End::Open, 0, true);
        Self { send: Some(send), recv, broken, end, written, flushed, shared }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(broken) = &self.broken {
            return Poll::Ready(Err(broken.clone().into()));
        }
        Poll::Ready(
            match ready!(self.recv.poll_read(cx, into)) {
                Ok(n) => Ok(n),
                Err(ReadError::Reset(code)) => Err(self.broken.insert(Broken::Reset(code)).clone()),
                Err(ReadError::ConnectionLost(why)) => {
                    Err(self.broken.insert(Broken::Lost(why)).clone())
                }
                Err(error) => return Poll::Ready(Err(error.into())),
            }
            .map_err(Into::into),
        )
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some(send) = &mut self.send else { return Poll::Ready(Err(closed())) };
        Poll::Ready(match ready!(Pin::new(send).poll_write(cx, bytes)) {
            Ok(n) => {
                self.written += n as u64;
                self.flushed = false;
                Ok(n)
            }
            Err(WriteError::Stopped(code)) => Err(Broken::Reset(code).into()),
            Err(WriteError::ConnectionLost(why)) => Err(Broken::Lost(why).into()),
            Err(WriteError::ClosedStream) => Err(closed()),
            Err(error) => Err(error.into()),
        })
    }

    /// Nothing is held back here.
    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flushed = true;
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let Some(send) = &mut this.send else { return Poll::Ready(Err(closed())) };
        loop {
            match &mut this.end {
                End::Open => {
                    // What keeps it from ending is found out below.
                    let _ended = send.finish();
                    this.shared.wait_for(send.stopped().map(|_| ()).boxed());
                    this.end = End::Finished(send.stopped().boxed());
                }
                End::Finished(outcome) => {
                    this.end = End::Closed(match ready!(outcome.poll_unpin(cx)) {
                        Ok(None) => Ok(()),
                        Ok(Some(code)) => Err(Broken::Reset(code)),
                        Err(StoppedError::ConnectionLost(why)) => Err(Broken::Lost(why)),
                        Err(StoppedError::ZeroRttRejected) => Err(Broken::Reset(NOTHING)),
                    });
                }
                End::Closed(outcome) => return Poll::Ready(outcome.clone().map_err(Into::into)),
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // The other half tells the peer to stop by itself.
        if let Some(send) = self.send.take()
            && matches!(self.end, End::Open)
        {
            let unfinished = Unfinished(send);
            if self.flushed && (1..=LAST_WORDS).contains(&self.written) {
                self.shared.drop_later(unfinished);
            }
        }
    }
}

/// A direction that has no end yet, and none when this is dropped.
pub(super) struct Unfinished(SendStream);

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _gone = self.0.reset(NOTHING);
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "this direction is closed")
}

impl From<Broken> for io::Error {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Reset(NEGOTIATION_FAILED) => {
                Self::new(io::ErrorKind::ConnectionReset, NegotiationError::Failed)
            }
            Broken::Reset(code) => {
                let text = format!("the peer has reset the stream, with code {code}");
                Self::new(io::ErrorKind::ConnectionReset, text)
            }
            Broken::Lost(why) => Self::new(io::ErrorKind::ConnectionAborted, why),
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("id", &self.recv.id()).finish_non_exhaustive()
    }
}
