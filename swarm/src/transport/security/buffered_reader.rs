//! Reads a connection in large pieces, for a reader that asks for small ones.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{AsyncBufRead, AsyncRead, AsyncWrite};

use super::buffer::{Filled, PooledBuffer, SIZE};

/// How many bytes are read from a connection before the requests in them are worked on. Yamux reads
/// for as long as bytes arrive. Without this limit, a peer would get no answer until it stops
/// sending.
const TURN: usize = 64 * 1024;

/// A connection that is read in large pieces. TLS asks for 4 KiB at a time, and Noise for two bytes and
/// then for a message. Each of these would be a system call.
pub(super) struct BufferedReader<C> {
    io: C,
    /// Bytes read since the reader last had to wait.
    turn: usize,
    /// What was read and not asked for. Without a buffer if there is nothing.
    ahead: Option<Filled>,
}

impl<C> BufferedReader<C> {
    pub(super) fn new(io: C) -> Self {
        Self { io, turn: 0, ahead: None }
    }
}

impl<C: AsyncRead + Unpin> BufferedReader<C> {
    /// Reads from the connection, unless others have their turn first.
    fn poll_io(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.turn >= TURN {
            self.turn = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        match &read {
            Poll::Ready(Ok(n)) => self.turn += n,
            _ => self.turn = 0,
        }
        read
    }

    /// What was read and not asked for. Reads if there is nothing.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        if self.ahead.is_none() {
            let mut buffer = PooledBuffer::take();
            let n = ready!(self.poll_io(cx, &mut buffer))?;
            self.ahead = Filled::new(buffer, n);
        }
        Poll::Ready(Ok(self.ahead.as_ref().map_or(&[], Filled::bytes)))
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for BufferedReader<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.ahead.is_none() && buf.len() >= SIZE {
            return self.poll_io(cx, buf);
        }
        let ahead = ready!(self.poll_ahead(cx))?;
        let n = buf.len().min(ahead.len());
        buf[..n].copy_from_slice(&ahead[..n]);
        Filled::consume(&mut self.ahead, n);
        Poll::Ready(Ok(n))
    }
}

impl<C: AsyncRead + Unpin> AsyncBufRead for BufferedReader<C> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        self.get_mut().poll_ahead(cx)
    }

    fn consume(mut self: Pin<&mut Self>, n: usize) {
        Filled::consume(&mut self.ahead, n);
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for BufferedReader<C> {
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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures::AsyncReadExt;
    use futures::executor::block_on;

    use super::*;

    /// Gives one piece a read, or as much of it as was asked for; then it ends.
    struct Pieces {
        pieces: VecDeque<Poll<io::Result<Vec<u8>>>>,
        reads: usize,
    }

    impl Pieces {
        fn ahead(
            pieces: impl IntoIterator<Item = Poll<io::Result<Vec<u8>>>>,
        ) -> BufferedReader<Self> {
            BufferedReader::new(Self { pieces: pieces.into_iter().collect(), reads: 0 })
        }
    }

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            self.reads += 1;
            match self.pieces.pop_front() {
                None => Poll::Ready(Ok(0)),
                Some(Poll::Pending) => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Some(Poll::Ready(Err(error))) => Poll::Ready(Err(error)),
                Some(Poll::Ready(Ok(mut piece))) => {
                    let n = buf.len().min(piece.len());
                    buf[..n].copy_from_slice(&piece[..n]);
                    if n < piece.len() {
                        self.pieces.push_front(Poll::Ready(Ok(piece.split_off(n))));
                    }
                    Poll::Ready(Ok(n))
                }
            }
        }
    }

    fn some(bytes: impl Into<Vec<u8>>) -> Poll<io::Result<Vec<u8>>> {
        Poll::Ready(Ok(bytes.into()))
    }

    #[test]
    fn the_same_bytes_come_whatever_is_asked_for() {
        let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n ^ (n >> 8)) as u8).collect();
        for asked in [1, 5, 4096, 8192, SIZE - 1, SIZE, 100_000] {
            let (mut pieces, mut rest) = (Vec::new(), &bytes[..]);
            for len in [1, 5, 16_401, 64, SIZE, 100_000, 3].into_iter().cycle() {
                let (piece, others) = rest.split_at(rest.len().min(len));
                if piece.is_empty() {
                    break;
                }
                pieces.extend([some(piece), Poll::Pending]);
                rest = others;
            }
            let (mut ahead, mut read, mut buf) =
                (Pieces::ahead(pieces), Vec::new(), vec![0; asked]);
            loop {
                let n = block_on(ahead.read(&mut buf)).expect("no piece is an error");
                if n == 0 {
                    break;
                }
                read.extend_from_slice(&buf[..n]);
            }
            assert!(read == bytes, "not the same bytes when {asked} are asked for");
        }
    }

    #[test]
    fn many_small_reads_are_one_of_the_connection_and_then_nothing_is_held() {
        let mut ahead = Pieces::ahead([some(vec![7; 4000])]);
        for left in (0..4000).step_by(5).rev() {
            let mut buf = [0; 5];
            assert_eq!(block_on(ahead.read(&mut buf)).expect("there is more"), 5);
            assert_eq!((buf, ahead.io.reads), ([7; 5], 1));
            assert_eq!(ahead.ahead.is_some(), left > 0, "{left} are left");
        }
    }

    #[test]
    fn a_reader_that_always_finds_something_waits_now_and_then_without_being_woken_by_others() {
        let woken = std::sync::Arc::new(Woken::default());
        let waker = woken.clone().into();
        let mut cx = Context::from_waker(&waker);
        for (asked, pieces) in [(1000, 30_000), (SIZE, SIZE)] {
            let mut ahead = Pieces::ahead((0..10).map(|_| some(vec![7; pieces])));
            let (mut buf, mut turns) = (vec![0; asked], vec![0]);
            loop {
                match Pin::new(&mut ahead).poll_read(&mut cx, &mut buf) {
                    Poll::Ready(Ok(0)) => break,
                    Poll::Ready(n) => *turns.last_mut().expect("one") += n.expect("no error"),
                    Poll::Pending => {
                        assert!(woken.0.swap(false, Ordering::Relaxed), "it goes on by itself");
                        turns.push(0);
                    }
                }
            }
            let most = TURN.next_multiple_of(pieces);
            let (last, turns) = turns.split_last().expect("one");
            assert_eq!(turns, vec![most; 10 * pieces / most], "{asked} asked for");
            assert_eq!(*last, 10 * pieces % most, "and nothing is lost");
        }
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl std::task::Wake for Woken {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn waits_errors_and_the_end_are_passed_on_and_nothing_is_held_meanwhile() {
        let error = io::Error::from(io::ErrorKind::ConnectionReset);
        let mut ahead = Pieces::ahead([Poll::Pending, some("abc"), Poll::Ready(Err(error))]);
        let mut read = || {
            let mut cx = Context::from_waker(std::task::Waker::noop());
            let mut buf = [0; 8];
            let read = Pin::new(&mut ahead).poll_read(&mut cx, &mut buf);
            assert!(ahead.ahead.is_none());
            read.map_ok(|n| buf[..n].to_vec()).map_err(|error| error.kind())
        };
        assert_eq!(read(), Poll::Pending);
        assert_eq!(read(), Poll::Ready(Ok(b"abc".to_vec())));
        assert_eq!(read(), Poll::Ready(Err(io::ErrorKind::ConnectionReset)));
        assert_eq!(read(), Poll::Ready(Ok(Vec::new())));
    }
}
