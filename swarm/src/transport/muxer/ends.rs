//! How the streams of a Yamux connection end: in good order, broken off, or with the connection.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use futures::{AsyncRead, AsyncWrite};
use parking_lot::Mutex;
use thiserror::Error;

use super::headers::Said;
use super::unread::{OfStream, Unread};

/// What the peer has said of the end of each stream, and of the connection.
#[derive(Debug)]
pub(super) struct Ends {
    streams: Mutex<HashMap<u32, Arc<StreamEnd>>>,
    gone_away: AtomicBool,
    /// Streams that were dropped here without being closed, after the peer had finished its side.
    broken: Mutex<HashSet<u32>>,
    any_broken: AtomicBool,
    /// What lies unread on it.
    unread: Unread,
    /// Why the connection is over.
    reason: Mutex<Option<Arc<str>>>,
}

/// What the peer has said of one stream.
#[derive(Debug, Default)]
struct StreamEnd {
    accepted: AtomicBool,
    finished: AtomicBool,
    reset: AtomicBool,
    unread: OfStream,
}

/// The connection ended in good order before the peer took a stream that was opened: nobody there
/// has read a byte of it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the peer closed the connection before it took the stream")]
pub(crate) struct NotAccepted;

impl Default for Ends {
    fn default() -> Self {
        Self {
            streams: Mutex::default(),
            gone_away: AtomicBool::new(false),
            broken: Mutex::default(),
            any_broken: AtomicBool::new(false),
            unread: Unread::new(),
            reason: Mutex::default(),
        }
    }
}

impl Ends {
    /// Whether the connection is to end, because more lies unread on it than on any other one, and too
    /// much in all.
    pub(super) fn holds_too_much(&self, reader: &Waker) -> bool {
        self.unread.is_over(reader)
    }

    /// Notes what a frame said.
    pub(super) fn note(&self, said: Said) {
        let mut streams = self.streams.lock();
        match said {
            Said::Opened(id) => {
                streams.entry(id).or_default();
            }
            Said::Accepted(id) => note(&streams, id, |end| &end.accepted),
            Said::Finished(id) => note(&streams, id, |end| &end.finished),
            Said::Reset(id) => note(&streams, id, |end| &end.reset),
            Said::Sent(id, bytes) => {
                if let Some(end) = streams.get(&id).cloned() {
                    drop(streams);
                    self.unread.came(&end.unread, bytes);
                }
            }
            Said::GoneAway => self.gone_away.store(true, Ordering::Relaxed),
            Said::Begins { .. } | Said::Credited(..) => {}
        }
    }

    /// The connection is over.
    pub(super) fn over(&self, reason: &str) {
        self.reason.lock().get_or_insert_with(|| Arc::from(reason));
    }

    /// Whether this is a stream that was broken off here, and of which the peer is yet to hear. Yamux
    /// would tell it that the stream was finished.
    pub(super) fn take_broken(&self, id: u32) -> bool {
        self.any_broken.load(Ordering::Relaxed) && self.broken.lock().remove(&id)
    }

    /// A stream that the peer has opened.
    pub(super) fn inbound(self: &Arc<Self>, stream: yamux::Stream) -> MuxedStream {
        let stream = self.outbound(stream);
        stream.end.accepted.store(true, Ordering::Relaxed);
        stream
    }

    /// A stream that we open.
    pub(super) fn outbound(self: &Arc<Self>, stream: yamux::Stream) -> MuxedStream {
        let end = self.streams.lock().entry(stream.id().val()).or_default().clone();
        MuxedStream { stream, end, ends: self.clone(), closed: false }
    }
}

fn note(
    streams: &HashMap<u32, Arc<StreamEnd>>,
    id: u32,
    what: impl FnOnce(&StreamEnd) -> &AtomicBool,
) {
    // Those that nobody here has any more are not remembered, whatever the peer says of them.
    if let Some(end) = streams.get(&id) {
        what(end).store(true, Ordering::Relaxed);
    }
}

/// A stream of a Yamux connection. Its end is read only where the peer has finished it; any other
/// end is an error.
pub(crate) struct MuxedStream {
    stream: yamux::Stream,
    end: Arc<StreamEnd>,
    ends: Arc<Ends>,
    /// This side was finished.
    closed: bool,
}

impl MuxedStream {
    /// Why there is nothing more to read.
    fn end(&self) -> io::Result<usize> {
        // Set before Yamux lets the stream end, in the same task.
        if self.end.finished.load(Ordering::Relaxed) {
            return Ok(0);
        }
        if self.end.reset.load(Ordering::Relaxed) {
            let text = "the peer reset the stream";
            return Err(io::Error::new(io::ErrorKind::ConnectionReset, text));
        }
        let reason = self.ends.reason.lock().clone();
        let text = reason.as_deref().unwrap_or("the connection ended");
        Err(self.why(io::Error::new(io::ErrorKind::ConnectionAborted, text)))
    }

    /// What an error on this stream means. One of writing may be seen before the end of reading.
    fn why(&self, error: io::Error) -> io::Error {
        let accepted = self.end.accepted.load(Ordering::Relaxed);
        if !accepted && self.ends.gone_away.load(Ordering::Relaxed) {
            return io::Error::new(io::ErrorKind::ConnectionAborted, NotAccepted);
        }
        error
    }
}

impl fmt::Debug for MuxedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MuxedStream").field("id", &self.stream.id().val()).finish_non_exhaustive()
    }
}

impl Drop for MuxedStream {
    fn drop(&mut self) {
        let id = self.stream.id().val();
        self.ends.streams.lock().remove(&id);
        self.ends.unread.gone(&self.end.unread);
        if !self.closed && self.end.finished.load(Ordering::Relaxed) {
            self.ends.broken.lock().insert(id);
            self.ends.any_broken.store(true, Ordering::Relaxed);
        }
    }
}

impl AsyncRead for MuxedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Ready(Ok(0)) if !buf.is_empty() => Poll::Ready(self.end()),
            Poll::Ready(Ok(n)) => {
                self.ends.unread.read(&self.end.unread, n);
                Poll::Ready(Ok(n))
            }
            polled => polled,
        }
    }
}

impl AsyncWrite for MuxedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        polled.map_err(|error| self.why(error))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        polled.map_err(|error| self.why(error))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.stream).poll_close(cx);
        self.closed |= closed.is_ready();
        closed.map_err(|error| self.why(error))
    }
}
