//! A connection in memory, each direction of which ends by itself.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::{AsyncRead, AsyncWrite};
use parking_lot::Mutex;

/// What a direction takes before somebody reads.
const ROOM: usize = 100_000;

#[derive(Default)]
struct Way {
    bytes: VecDeque<u8>,
    ended: bool,
    waiting: Vec<Waker>,
}

impl Way {
    fn wake(&mut self) {
        self.waiting.drain(..).for_each(Waker::wake);
    }

    fn wait<T>(&mut self, cx: &Context<'_>) -> Poll<T> {
        self.waiting.push(cx.waker().clone());
        Poll::Pending
    }
}

/// One end. Dropped, it ends both directions.
pub(super) struct End {
    incoming: Arc<Mutex<Way>>,
    outgoing: Arc<Mutex<Way>>,
    piece: usize,
}

/// Both ends of a connection, which reads and writes at most `piece` bytes at once.
pub(super) fn pipe(piece: usize) -> (End, End) {
    let (there, back) = <(Arc<Mutex<Way>>, Arc<Mutex<Way>>)>::default();
    let one = End { incoming: back.clone(), outgoing: there.clone(), piece };
    (one, End { incoming: there, outgoing: back, piece })
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut way = self.incoming.lock();
        if way.bytes.is_empty() && !way.ended {
            return way.wait(cx);
        }
        let most = buf.len().min(self.piece);
        let read = way.bytes.read(&mut buf[..most]);
        way.wake();
        Poll::Ready(read)
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut way = self.outgoing.lock();
        if way.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let n = buf.len().min(ROOM - way.bytes.len()).min(self.piece);
        if n == 0 {
            return way.wait(cx);
        }
        way.bytes.extend(&buf[..n]);
        way.wake();
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut way = self.outgoing.lock();
        way.ended = true;
        way.wake();
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        for way in [&self.incoming, &self.outgoing] {
            let mut way = way.lock();
            way.ended = true;
            way.wake();
        }
    }
}
