//! Coalesces small writes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{AsyncRead, AsyncWrite};

use super::buffer::PooledBuffer;

/// The most bytes of one write to the stream: two full records of TLS, half a message of Noise. The peer
/// decrypts one piece while the next is encrypted.
const PIECE: usize = 32 * 1024;

/// A stream that keeps written bytes until it is flushed or there are [`PIECE`] of them.
///
/// TLS makes a record and a system call of each write, and Noise a message and a system call. Yamux
/// writes the header of each frame by itself.
pub(super) struct CoalescingWriter<S> {
    stream: S,
    /// Bytes that were not written to the stream yet. There is no buffer if there are none.
    waiting: Option<Waiting>,
}

struct Waiting {
    buffer: PooledBuffer,
    start: usize,
    end: usize,
}

impl<S> CoalescingWriter<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, waiting: None }
    }
}

impl<S: AsyncWrite + Unpin> CoalescingWriter<S> {
    /// Writes all bytes that wait.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(Waiting { buffer, start, end }) = &mut self.waiting {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &buffer[*start..*end]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => *start += n,
            }
            if start == end {
                self.waiting = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for CoalescingWriter<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CoalescingWriter<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if self.waiting.as_ref().is_some_and(|waiting| waiting.end == PIECE) {
            ready!(self.poll_drain(cx))?;
        }
        if self.waiting.is_none() && buf.len() >= PIECE {
            return Pin::new(&mut self.stream).poll_write(cx, &buf[..PIECE]);
        }
        let empty = || Waiting { buffer: PooledBuffer::take(), start: 0, end: 0 };
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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use futures::AsyncWriteExt;
    use futures::executor::block_on;

    use super::*;

    /// Takes of each write as much as it was told to, and everything once it was told no more.
    #[derive(Default)]
    struct Takes {
        told: VecDeque<Poll<usize>>,
        written: Vec<Vec<u8>>,
        flushes: usize,
        closed: bool,
    }

    impl Takes {
        fn writer(told: &[Poll<usize>]) -> CoalescingWriter<Self> {
            CoalescingWriter::new(Self { told: told.iter().copied().collect(), ..Self::default() })
        }
    }

    impl AsyncWrite for Takes {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            assert!(!self.closed, "written to after it was closed");
            let Poll::Ready(most) = self.told.pop_front().unwrap_or(Poll::Ready(usize::MAX)) else {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            };
            let n = most.min(buf.len());
            self.written.push(buf[..n].to_vec());
            Poll::Ready(Ok(n))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flushes += 1;
            Poll::Ready(Ok(()))
        }

        fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.closed = true;
            Poll::Ready(Ok(()))
        }
    }

    /// Bytes of which no two neighbouring pieces are alike.
    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|n| (n ^ (n >> 8) ^ (n >> 16)) as u8).collect()
    }

    #[test]
    fn small_writes_reach_the_stream_as_one_when_it_is_flushed() {
        block_on(async {
            let mut writer = Takes::writer(&[]);
            for round in 1..4 {
                writer.write_all(b"header").await.expect("there is room");
                writer.write_all(b", body").await.expect("there is room");
                assert_eq!(writer.stream.written.len(), round - 1, "it waits");
                writer.flush().await.expect("the stream takes it");
                assert_eq!(writer.stream.written.last().expect("written"), b"header, body");
                assert_eq!((writer.stream.written.len(), writer.stream.flushes), (round, round));
                assert!(writer.waiting.is_none(), "nothing waits, and no buffer is held");
            }
        });
    }

    #[test]
    fn a_stream_that_takes_little_or_makes_wait_loses_and_repeats_nothing() {
        let told = [1, 700, PIECE, 0, 20_000, 0, 0, 3, PIECE - 1, 0, 4096];
        let told = told.map(|n| if n == 0 { Poll::Pending } else { Poll::Ready(n) });
        let (mut writer, bytes) = (Takes::writer(&told.repeat(8)), bytes(1_000_000));
        let (mut rest, lens) = (&bytes[..], [12, 65_000, 1, PIECE, 12, 5000, PIECE + 1, 300]);
        for (turn, len) in lens.into_iter().cycle().enumerate() {
            let (piece, others) = rest.split_at(rest.len().min(len));
            block_on(writer.write_all(piece)).expect("the stream takes it");
            if turn % 3 == 2 || others.is_empty() {
                block_on(writer.flush()).expect("the stream takes it");
            }
            rest = others;
            if rest.is_empty() {
                break;
            }
        }
        assert!(writer.stream.told.is_empty(), "not everything was tried");
        assert!(writer.stream.written.concat() == bytes);
    }

    #[test]
    fn what_is_written_while_a_flush_waits_comes_behind() {
        let mut writer = Takes::writer(&[Poll::Ready(2), Poll::Pending]);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        block_on(writer.write_all(b"first")).expect("there is room");
        assert!(Pin::new(&mut writer).poll_flush(&mut cx).is_pending());
        assert_eq!(writer.stream.flushes, 0);
        block_on(writer.write_all(b", second")).expect("there is room");
        block_on(writer.flush()).expect("the stream takes it");
        assert_eq!(writer.stream.written, [&b"fi"[..], b"rst, second"]);
    }

    #[test]
    fn a_large_write_goes_at_once_in_pieces() {
        let (mut writer, bytes) = (Takes::writer(&[]), bytes(3 * PIECE));
        block_on(writer.write_all(&bytes)).expect("the stream takes it");
        assert!(writer.waiting.is_none());
        assert!(writer.stream.written.iter().all(|piece| piece.len() <= PIECE));
        assert!(writer.stream.written.concat() == bytes);
    }

    #[test]
    fn a_writer_waits_when_the_stream_takes_nothing_and_much_waits_already() {
        let mut writer = Takes::writer(&[Poll::Pending, Poll::Pending]);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut write = |bytes: &[u8]| Pin::new(&mut writer).poll_write(&mut cx, bytes);
        assert!(matches!(write(&[1]), Poll::Ready(Ok(1))));
        assert!(matches!(write(&[2; 2 * PIECE]), Poll::Ready(Ok(n)) if n == PIECE - 1));
        assert!(write(&[3]).is_pending());
        assert!(write(&[3]).is_pending());
        assert!(matches!(write(&[3]), Poll::Ready(Ok(1))));
        block_on(writer.flush()).expect("the stream takes it");
        assert!(writer.stream.written.concat() == [vec![1], vec![2; PIECE - 1], vec![3]].concat());
    }

    #[test]
    fn a_stream_that_takes_no_more_is_an_error() {
        let mut writer = Takes::writer(&[Poll::Ready(3), Poll::Ready(0)]);
        block_on(writer.write_all(b"too much")).expect("there is room");
        let error = block_on(writer.flush()).expect_err("the stream takes no more");
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
    }

    #[test]
    fn writing_nothing_is_no_error_and_writes_nothing() {
        let mut writer = Takes::writer(&[]);
        assert_eq!(block_on(writer.write(&[])).expect("it is nothing"), 0);
        assert!(writer.waiting.is_none());
        block_on(writer.flush()).expect("nothing waits");
        assert!(writer.stream.written.is_empty());
    }

    #[test]
    fn what_waits_is_written_before_the_stream_is_closed() {
        let mut writer = Takes::writer(&[Poll::Ready(2), Poll::Pending]);
        block_on(writer.write_all(b"last words")).expect("there is room");
        block_on(writer.close()).expect("the stream takes it");
        assert!(writer.stream.closed);
        assert_eq!(writer.stream.written.concat(), b"last words");
    }
}
