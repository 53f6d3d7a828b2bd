//! Two muxers over a pipe, polled in turn by hand.

use std::sync::Arc;

use futures::executor::LocalPool;
use futures::future::{poll_fn, select};
use futures::task::LocalSpawnExt;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use libp2p_core::muxing::StreamMuxerExt;
use multistream_select::{Version, dialer_select_proto, listener_select_proto};
use parking_lot::Mutex;

use super::*;
use crate::connection::activity::Activity;
use crate::connection::stream_io::stream_error;
use pointsub_core::StreamError;

/// One direction of a pipe.
#[derive(Debug, Default)]
struct Half {
    bytes: VecDeque<u8>,
    ended: bool,
    broken: bool,
    waiting: Vec<Waker>,
}

impl Half {
    fn wake(&mut self) {
        self.waiting.drain(..).for_each(Waker::wake);
    }
}

/// One end of a pipe that holds so many bytes each way. Dropping it ends what it sends.
#[derive(Debug)]
struct Pipe {
    from: Arc<Mutex<Half>>,
    to: Arc<Mutex<Half>>,
    capacity: usize,
}

fn pipe(capacity: usize) -> (Pipe, Pipe) {
    let (a, b) = (Arc::<Mutex<Half>>::default(), Arc::<Mutex<Half>>::default());
    (Pipe { from: a.clone(), to: b.clone(), capacity }, Pipe { from: b, to: a, capacity })
}

/// Breaks both directions, without a word.
fn cut(way: &[Arc<Mutex<Half>>; 2]) {
    for half in way {
        let mut half = half.lock();
        half.broken = true;
        half.wake();
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let mut half = self.to.lock();
        half.ended = true;
        half.wake();
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut half = self.from.lock();
        if half.bytes.is_empty() && !half.ended && !half.broken {
            half.waiting.push(cx.waker().clone());
            return Poll::Pending;
        }
        if half.broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let n = buf.len().min(half.bytes.len());
        buf.iter_mut().zip(half.bytes.drain(..n)).for_each(|(to, from)| *to = from);
        half.wake();
        Poll::Ready(Ok(n))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut half = self.to.lock();
        if half.broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let n = buf.len().min(self.capacity - half.bytes.len());
        if n == 0 {
            half.waiting.push(cx.waker().clone());
            return Poll::Pending;
        }
        half.bytes.extend(&buf[..n]);
        half.wake();
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut half = self.to.lock();
        half.ended = true;
        half.wake();
        Poll::Ready(Ok(()))
    }
}

type Shared = Arc<Mutex<Muxer<Pipe>>>;

/// A connection of two muxers that are polled until it is over.
struct Connection {
    pool: LocalPool,
    client: Shared,
    server: Shared,
    way: [Arc<Mutex<Half>>; 2],
}

impl Connection {
    fn new(capacity: usize) -> Self {
        let (client, server) = pipe(capacity);
        let way = [client.from.clone(), client.to.clone()];
        let muxer =
            |io, mode| Arc::new(Mutex::new(Muxer::new(io, mode, RttClass::Short, Clock::system())));
        let connection = Self {
            pool: LocalPool::new(),
            client: muxer(client, Mode::Client),
            server: muxer(server, Mode::Server),
            way,
        };
        for muxer in [&connection.client, &connection.server] {
            let muxer = muxer.clone();
            // Always: a muxer that has given a stream expects to be polled by whoever asked for it.
            let over = poll_fn(move |cx| {
                cx.waker().wake_by_ref();
                muxer.lock().poll_unpin(cx).map(drop)
            });
            connection.pool.spawner().spawn_local(over).expect("the pool is there");
        }
        connection
    }

    fn run<T>(&mut self, future: impl Future<Output = T>) -> T {
        self.pool.run_until(future)
    }
}

async fn open(muxer: &Shared) -> MuxedStream {
    poll_fn(|cx| muxer.lock().poll_outbound_unpin(cx)).await.expect("it is open")
}

async fn accept(muxer: &Shared) -> MuxedStream {
    poll_fn(|cx| muxer.lock().poll_inbound_unpin(cx)).await.expect("it is open")
}

async fn close(muxer: &Shared) {
    poll_fn(|cx| muxer.lock().poll_close_unpin(cx)).await.expect("it closes");
}

/// Something each way, so that both know the stream.
async fn greet(client: &Shared, server: &Shared) -> (MuxedStream, MuxedStream) {
    let mut near = open(client).await;
    near.write_all(b"?").await.expect("open");
    let mut far = accept(server).await;
    far.write_all(b"!").await.expect("open");
    let mut byte = [0];
    near.read_exact(&mut byte).await.expect("an answer");
    far.read_exact(&mut byte).await.expect("a question");
    (near, far)
}

async fn read_end(mut stream: MuxedStream) -> io::Result<usize> {
    stream.read(&mut [0; 8]).await
}

#[test]
fn only_what_the_peer_has_finished_ends_in_good_order() {
    let mut connection = Connection::new(1024);
    let (client, server) = (connection.client.clone(), connection.server.clone());
    connection.run(async {
        let (near, mut far) = greet(&client, &server).await;
        far.close().await.expect("open");
        assert_eq!(read_end(near).await.expect("finished"), 0);

        // Also where this end was finished before.
        let (mut near, mut far) = greet(&client, &server).await;
        near.close().await.expect("open");
        far.close().await.expect("open");
        assert_eq!(read_end(near).await.expect("finished"), 0);

        let (near, far) = greet(&client, &server).await;
        drop(far);
        let error = read_end(near).await.expect_err("reset");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(stream_error(&error), StreamError::Reset);

        // Yamux says of both that they are closed.
        let (mut near, far) = greet(&client, &server).await;
        near.close().await.expect("open");
        drop(far);
        let error = read_end(near).await.expect_err("reset");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    });
}

/// Yamux answers an end with an end when a stream is dropped.
#[test]
fn a_stream_that_is_dropped_after_the_peer_has_finished_is_no_end() {
    for capacity in [1, 5, 1024] {
        let mut connection = Connection::new(capacity);
        let (client, server) = (connection.client.clone(), connection.server.clone());
        connection.run(async {
            let (mut near, far) = greet(&client, &server).await;
            let (mut other, mut whole) = greet(&client, &server).await;
            near.close().await.expect("open");
            other.close().await.expect("open");
            let mut byte = [0];
            assert_eq!(whole.read(&mut byte).await.expect("finished"), 0);
            drop(far);
            let error = read_end(near).await.expect_err("reset");
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{capacity}");
            // Others are not taken for it.
            whole.close().await.expect("open");
            assert_eq!(read_end(other).await.expect("finished"), 0);
        });
    }
}

#[test]
fn a_connection_that_breaks_is_no_end() {
    for finish in [false, true] {
        let mut connection = Connection::new(1024);
        let (client, server) = (connection.client.clone(), connection.server.clone());
        let way = connection.way.clone();
        connection.run(async {
            let (mut near, mut far) = greet(&client, &server).await;
            far.write_all(b"half").await.expect("open");
            let mut half = [0; 4];
            near.read_exact(&mut half).await.expect("it has come");
            if finish {
                near.close().await.expect("open");
            }
            cut(&way);
            let error = read_end(near).await.expect_err("it was cut");
            assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
            assert!(matches!(stream_error(&error), StreamError::Lost(_)));
        });
    }
}

#[test]
fn what_came_before_a_connection_ended_can_be_read() {
    let mut connection = Connection::new(1024);
    let (client, server) = (connection.client.clone(), connection.server.clone());
    connection.run(async {
        let (near, mut far) = greet(&client, &server).await;
        far.write_all(b"last").await.expect("open");
        far.close().await.expect("open");
        close(&server).await;
        let mut all = Vec::new();
        let mut near = near;
        near.read_to_end(&mut all).await.expect("it was finished before");
        assert_eq!(all, b"last");
    });
}

/// A peer that ends with something unread resets the connection, which is seen by whoever writes first.
#[test]
fn what_came_before_a_write_failed_can_be_read() {
    const LAST: [u8; 16] = *b"\0\0\0\x06\0\0\0\x01\0\0\0\x04last";
    let (near, _far) = pipe(1024);
    let (from, to) = (near.from.clone(), near.to.clone());
    let mut muxer = Muxer::new(near, Mode::Client, RttClass::Short, Clock::system());
    let (all, over) = LocalPool::new().run_until(async {
        let mut stream = poll_fn(|cx| muxer.poll_outbound_unpin(cx)).await.expect("it is open");
        stream.write_all(b"?").await.expect("open");
        assert!(futures::poll!(poll_fn(|cx| muxer.poll_unpin(cx))).is_pending());
        from.lock().bytes.extend(LAST);
        to.lock().broken = true;
        stream.write_all(b"more").await.expect("nobody knows yet");
        let mut all = Vec::new();
        let over = poll_fn(|cx| muxer.poll_unpin(cx).map_ok(drop));
        let (read, over) = futures::join!(stream.read_to_end(&mut all), over);
        read.expect("it was finished before");
        (all, over.expect_err("broken"))
    });
    assert_eq!(all, b"last");
    assert!(over.to_string().contains("broken pipe"), "{over}");
}

#[test]
fn a_stream_that_a_closing_peer_never_took_says_so() {
    let mut connection = Connection::new(1024);
    let (client, server) = (connection.client.clone(), connection.server.clone());
    connection.run(async {
        let (taken, _far) = greet(&client, &server).await;
        let mut late = open(&client).await;
        // The peer closes before it has seen it.
        let mut closing = Box::pin(close(&server));
        assert!(futures::poll!(&mut closing).is_pending());
        let _closed = late.write_all(b"?").await;
        let error = read_end(late).await.expect_err("nobody took it");
        assert!(matches!(stream_error(&error), StreamError::NotAccepted(_)), "{error}");
        let error = read_end(taken).await.expect_err("it was not finished");
        assert!(matches!(stream_error(&error), StreamError::Lost(_)), "{error}");
    });
}

/// Both ends ping when they begin, and neither reads while its answer waits behind a frame for which
/// there is no room: <https://github.com/libp2p/rust-yamux/issues/227>.
#[test]
fn two_ends_that_write_and_answer_pings_go_on() {
    const LEN: usize = 1024 * 1024;
    let mut connection = Connection::new(64);
    let (client, server) = (connection.client.clone(), connection.server.clone());
    connection.run(async {
        let (mut near, mut far) = (open(&client).await, open(&server).await);
        let writes = async {
            let bytes = vec![7; LEN];
            let near = async { near.write_all(&bytes).await.expect("open") };
            let far = async { far.write_all(&bytes).await.expect("open") };
            futures::join!(near, far);
        };
        let reads = async {
            let mut near = accept(&client).await;
            let mut far = accept(&server).await;
            let (mut a, mut b) = (vec![0; LEN], vec![0; LEN]);
            let (a, b) = futures::join!(near.read_exact(&mut a), far.read_exact(&mut b));
            a.and(b).expect("all of it comes");
        };
        let both = async { futures::join!(writes, reads) };
        let hung = futures_timer::Delay::new(std::time::Duration::from_secs(20));
        match select(both.boxed_local(), hung).await {
            futures::future::Either::Left(_) => {}
            futures::future::Either::Right(_) => panic!("nothing moves any more"),
        }
    });
}

/// Its proposal goes out with what follows it, so that the connection is there before it is refused.
#[test]
fn a_peer_without_the_muxer_is_told_apart() {
    let (near, far) = pipe(1024);
    let mut pool = LocalPool::new();
    let theirs = async move {
        let refused = listener_select_proto(far, ["/mplex/6.7.0"]).await;
        refused.expect_err("the other end has given up");
    };
    pool.spawner().spawn_local(theirs).expect("the pool is there");
    let error = pool.run_until(async move {
        let negotiated = dialer_select_proto(near, ["/yamux/1.0.0"], Version::V1Lazy).await;
        let (_, io) = negotiated.expect("it is assumed");
        let mut muxer = Muxer::new(io, Mode::Client, RttClass::Short, Clock::system());
        let mut stream = poll_fn(|cx| muxer.poll_outbound_unpin(cx)).await.expect("it is open");
        let write = async { stream.write_all(b"?").await.and(stream.read(&mut [0]).await) };
        let over = poll_fn(|cx| muxer.poll_unpin(cx).map_ok(drop));
        let (outcome, over) = futures::join!(write, over);
        over.expect_err("refused");
        outcome.expect_err("refused")
    });
    assert!(error.to_string().contains("does not support Yamux"), "{error}");
}

/// W7: the socket below the muxer sees the bytes that are written, and the credit for those that were read.
#[test]
fn what_the_peer_has_read_tells_how_fast_a_link_is() {
    let body = vec![7; 300 * 1024];
    for ends in [[0, 1], [1, 0]] {
        let mut connection = Connection::new(16 * 1024);
        let muxers = [connection.client.clone(), connection.server.clone()];
        let activity = Arc::new(Activity::new(Clock::system()));
        *muxers[ends[0]].lock().control.activity.lock() = Some(activity.clone());
        connection.run(async {
            let (near, far) = greet(&muxers[0], &muxers[1]).await;
            let mut streams = [near, far];
            if ends[0] == 1 {
                streams.reverse();
            }
            let [mut writer, mut reader] = streams;
            assert_eq!(activity.rate(), None);
            let mut read = vec![0; body.len()];
            let (wrote, got) =
                futures::join!(writer.write_all(&body), reader.read_exact(&mut read));
            wrote.expect("open");
            got.expect("open");
            while activity.rate().is_none() {
                writer.write_all(&[7]).await.expect("open");
                reader.read_exact(&mut [0]).await.expect("open");
            }
        });
    }
}
