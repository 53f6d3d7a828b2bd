//! The connection driver, with a muxer that is told what to return.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures::FutureExt;
use futures::future::{BoxFuture, poll_fn};
use futures::io::Cursor;
use futures::task::AtomicWaker;
use libp2p_core::muxing::{StreamMuxerEvent, StreamMuxerExt, SubstreamBox};
use parking_lot::Mutex;
use pointsub_core::endpoint::StreamKey;

use super::*;
use crate::connection::streams::tests::{Task, streams_on};
use crate::connection::streams::{Ended, Streams};
use crate::runtime::Executor;

/// A stream that is polled, and ends when it is told to.
#[derive(Default)]
struct Seen {
    polls: AtomicUsize,
    waker: AtomicWaker,
    end: AtomicBool,
    dropped: AtomicBool,
}

struct Driver(Arc<Seen>);

impl Future for Driver {
    type Output = Ended;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        self.0.polls.fetch_add(1, Ordering::SeqCst);
        self.0.waker.register(cx.waker());
        if self.0.end.load(Ordering::SeqCst) {
            Poll::Ready(Ended::Inbound(StreamKey::default()))
        } else {
            Poll::Pending
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.dropped.store(true, Ordering::SeqCst);
    }
}

/// What a muxer brings when it is polled next, and what has been done with it.
#[derive(Default)]
struct Script {
    /// Something for this stream.
    bytes: Option<Arc<Seen>>,
    inbound: Option<SubstreamBox>,
    outbound: Option<SubstreamBox>,
    event: Option<io::Result<StreamMuxerEvent>>,
    closed: Option<io::Result<()>>,
    asked_for_outbound: bool,
    /// It has given a stream and was not polled since: it wakes nobody.
    mute: bool,
    waker: Option<Waker>,
}

type Shared = Arc<Mutex<Script>>;

struct Scripted(Shared);

impl Scripted {
    fn poll_for<T>(&self, cx: &Context<'_>, take: impl Fn(&mut Script) -> Option<T>) -> Poll<T> {
        let mut script = self.0.lock();
        script.waker = Some(cx.waker().clone());
        take(&mut script).map_or(Poll::Pending, Poll::Ready)
    }
}

impl StreamMuxer for Scripted {
    type Substream = SubstreamBox;
    type Error = io::Error;

    fn poll_inbound(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<SubstreamBox>> {
        self.poll_for(cx, |script| {
            let stream = script.inbound.take();
            script.mute |= stream.is_some();
            stream
        })
        .map(Ok)
    }

    fn poll_outbound(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<SubstreamBox>> {
        self.poll_for(cx, |script| {
            script.asked_for_outbound = true;
            let stream = script.outbound.take();
            script.mute |= stream.is_some();
            stream
        })
        .map(Ok)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_for(cx, |script| script.closed.take())
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        self.poll_for(cx, |script| {
            script.mute = false;
            if let Some(seen) = script.bytes.take() {
                seen.waker.wake();
            }
            script.event.take()
        })
    }
}

thread_local! {
    static SPAWNED: RefCell<Option<BoxFuture<'static, ()>>> = const { RefCell::new(None) };
}

/// A connection: its streams, its muxer as the swarm has it, and its driver.
struct Connection {
    streams: Option<Streams>,
    muxer: StreamMuxerBox,
    script: Shared,
    driver: Option<BoxFuture<'static, ()>>,
    swarm_task: Arc<Task>,
    driver_task: Arc<Task>,
}

impl Connection {
    /// The swarm has polled it once.
    fn new() -> Self {
        let script = Shared::default();
        Self::with(MuxerProxy::wrap(StreamMuxerBox::new(Scripted(script.clone()))), script)
    }

    fn with(muxer: StreamMuxerBox, script: Shared) -> Self {
        let executor = Executor::new(|future| SPAWNED.set(Some(future)));
        let mut connection = Self {
            streams: Some(streams_on(executor)),
            muxer,
            script,
            driver: None,
            swarm_task: Arc::default(),
            driver_task: Arc::default(),
        };
        connection.swarm(|streams, muxer, cx| {
            streams.poll(cx);
            assert!(muxer.poll_unpin(cx).is_pending());
            assert!(muxer.poll_inbound_unpin(cx).is_pending());
        });
        connection.driver = SPAWNED.take();
        assert_eq!(connection.drive(), Poll::Pending);
        connection.swarm_task.wakes();
        connection.driver_task.wakes();
        connection
    }

    /// What the swarm's task does.
    fn swarm<T>(
        &mut self,
        act: impl FnOnce(&Streams, &mut StreamMuxerBox, &mut Context<'_>) -> T,
    ) -> T {
        let waker = self.swarm_task.clone().into();
        let streams = self.streams.as_ref().expect("the handler is there");
        act(streams, &mut self.muxer, &mut Context::from_waker(&waker))
    }

    /// Polls the driver's task.
    fn drive(&mut self) -> Poll<()> {
        let waker = self.driver_task.clone().into();
        let driver = self.driver.as_mut().expect("it was spawned");
        let polled = driver.poll_unpin(&mut Context::from_waker(&waker));
        assert!(!self.script.lock().mute, "nothing would wake the driver");
        polled
    }

    /// The muxer has something.
    fn brings(&self, what: impl FnOnce(&mut Script)) {
        let mut script = self.script.lock();
        what(&mut script);
        script.waker.take().expect("it was polled").wake();
    }

    fn wakes(&self) -> (usize, usize) {
        (self.swarm_task.wakes(), self.driver_task.wakes())
    }
}

fn stream() -> SubstreamBox {
    SubstreamBox::new(Cursor::new(Vec::new()))
}

#[test]
fn bytes_and_streams_are_between_the_driver_and_the_muxer() {
    let (mut connection, seen) = (Connection::new(), Arc::<Seen>::default());
    let polls = || seen.polls.load(Ordering::SeqCst);
    connection.swarm(|streams, _, _| streams.push(Driver(seen.clone()).boxed()));
    assert_eq!(connection.wakes(), (0, 1), "it is the driver's from the start");
    assert_eq!((connection.drive(), polls()), (Poll::Pending, 1));
    assert_eq!((connection.drive(), polls()), (Poll::Pending, 1), "nothing to do");
    connection.swarm(|streams, _, cx| streams.poll(cx));
    assert_eq!(polls(), 1, "and nobody else's");
    assert_eq!(connection.wakes(), (0, 0));
    connection.brings(|script| script.bytes = Some(seen.clone()));
    assert_eq!(connection.wakes(), (0, 1));
    assert_eq!((connection.drive(), polls()), (Poll::Pending, 2));
    assert_eq!(connection.wakes(), (0, 0), "polled behind the muxer, without a detour");
    seen.waker.wake();
    assert_eq!(connection.wakes(), (0, 1), "somebody else woke it");
    assert_eq!((connection.drive(), polls()), (Poll::Pending, 3));
    seen.end.store(true, Ordering::SeqCst);
    connection.brings(|script| script.bytes = Some(seen.clone()));
    assert_eq!((connection.drive(), polls()), (Poll::Pending, 4));
    assert_eq!(connection.wakes(), (1, 1), "the swarm is to look whether it is idle");
    connection.swarm(|_, muxer, cx| assert!(muxer.poll_unpin(cx).is_pending()));
    assert_eq!(connection.wakes(), (1, 0), "from the start, should it have been halfway through");
    assert_eq!(connection.swarm(|streams, _, _| streams.ended().len()), 1);
}

#[test]
fn the_swarm_gets_streams_when_it_asks() {
    let mut connection = Connection::new();
    let opens = |connection: &mut Connection| {
        connection.swarm(|_, muxer, cx| muxer.poll_outbound_unpin(cx).is_ready())
    };
    connection.brings(|script| script.outbound = Some(stream()));
    assert!(connection.drive().is_pending() && !connection.script.lock().asked_for_outbound);
    assert_eq!(connection.wakes(), (0, 1), "nobody asked");
    assert!(!opens(&mut connection) && !opens(&mut connection));
    assert_eq!(connection.wakes(), (0, 1), "it asks once");
    assert!(connection.drive().is_pending());
    assert_eq!(connection.wakes(), (1, 0));
    assert!(opens(&mut connection));
    assert!(!opens(&mut connection), "this is another");
    assert_eq!((connection.wakes(), connection.drive()), ((0, 1), Poll::Pending));

    let takes = |connection: &mut Connection| {
        connection.swarm(|_, muxer, cx| muxer.poll_inbound_unpin(cx).is_ready())
    };
    connection.brings(|script| script.inbound = Some(stream()));
    assert!(connection.drive().is_pending());
    assert_eq!(connection.wakes(), (1, 1));
    connection.brings(|script| script.inbound = Some(stream()));
    assert!(connection.drive().is_pending());
    assert!(connection.script.lock().inbound.is_some(), "the muxer keeps it meanwhile");
    connection.wakes();
    assert!(takes(&mut connection));
    assert_eq!(connection.wakes(), (0, 1), "there is room again");
    assert!(connection.drive().is_pending() && takes(&mut connection));
    assert!(connection.drive().is_pending() && !takes(&mut connection));
}

#[test]
fn the_swarm_hears_of_a_new_address() {
    let mut connection = Connection::new();
    let address: libp2p_core::Multiaddr = "/memory/7".parse().expect("an address");
    let moved = StreamMuxerEvent::AddressChange(address.clone());
    connection.brings(|script| script.event = Some(Ok(moved)));
    assert!(connection.drive().is_pending());
    assert_eq!(connection.wakes(), (1, 1));
    match connection.swarm(|_, muxer, cx| muxer.poll_unpin(cx)) {
        Poll::Ready(Ok(StreamMuxerEvent::AddressChange(to))) => assert_eq!(to, address),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_swarm_hears_why_a_connection_ended() {
    let mut connection = Connection::new();
    let why = io::Error::other("because");
    connection.brings(|script| script.event = Some(Err(why)));
    assert_eq!(connection.drive(), Poll::Ready(()));
    assert_eq!(connection.wakes(), (1, 1));
    for why in ["because", "connection aborted"] {
        match connection.swarm(|_, muxer, cx| muxer.poll_unpin(cx)) {
            Poll::Ready(Err(error)) => assert_eq!(error.to_string(), why),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_driver_that_is_gone_ends_the_connection() {
    let mut connection = Connection::new();
    connection.driver = None;
    assert_eq!(connection.wakes(), (1, 0));
    let polled = connection.swarm(|_, muxer, cx| muxer.poll_inbound_unpin(cx).map_ok(drop));
    assert!(matches!(polled, Poll::Ready(Err(_))), "{polled:?}");
}

#[test]
fn closing_waits_for_the_muxer() {
    let mut connection = Connection::new();
    let close = |connection: &mut Connection| {
        connection.swarm(|_, muxer, cx| muxer.poll_close_unpin(cx).map_ok(drop))
    };
    assert!(close(&mut connection).is_pending());
    assert_eq!((connection.wakes(), connection.drive()), ((0, 1), Poll::Pending));
    assert!(close(&mut connection).is_pending());
    connection.brings(|script| script.closed = Some(Ok(())));
    assert_eq!((connection.wakes(), connection.drive()), ((0, 1), Poll::Ready(())));
    assert_eq!(connection.wakes(), (1, 0));
    assert!(matches!(close(&mut connection), Poll::Ready(Ok(()))));
}

#[test]
fn streams_end_with_their_handler_and_the_driver_with_the_swarm() {
    let (mut connection, seen) = (Connection::new(), Arc::<Seen>::default());
    connection.swarm(|streams, _, _| streams.push(Driver(seen.clone()).boxed()));
    assert!(connection.drive().is_pending());
    connection.wakes();
    connection.streams = None;
    assert_eq!((connection.wakes(), connection.drive()), ((0, 1), Poll::Pending));
    assert!(seen.dropped.load(Ordering::SeqCst));
    let nothing = StreamMuxerBox::new(Scripted(Shared::default()));
    connection.muxer = nothing;
    assert_eq!(
        (connection.wakes(), connection.drive()),
        ((0, 1), Poll::Pending),
        "it closes first"
    );
    connection.brings(|script| script.closed = Some(Ok(())));
    assert_eq!(connection.drive(), Poll::Ready(()));
}

#[test]
fn nothing_is_waited_for_where_the_peer_is_dead() {
    let mut connection = Connection::new();
    connection.swarm(|streams, _, _| streams.abort());
    assert_eq!((connection.wakes(), connection.drive()), ((0, 1), Poll::Ready(())));
    match connection.swarm(|_, muxer, cx| muxer.poll_unpin(cx)) {
        Poll::Ready(Err(error)) => assert!(error.to_string().contains("nothing was heard")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_swarm_is_told_once_that_something_is_due() {
    let mut connection = Connection::new();
    let mut coalescing = connection.swarm(|streams, _, _| streams.coalescing());
    let wakes = |connection: &mut Connection| {
        connection.swarm(|_, muxer, cx| assert!(muxer.poll_unpin(cx).is_pending()));
        connection.wakes();
        connection.brings(|_| {});
        assert!(connection.drive().is_pending());
        connection.wakes().0
    };
    assert_eq!(wakes(&mut connection), 0);
    coalescing.note_due(true);
    assert_eq!(wakes(&mut connection), 1, "a request has begun");
    assert_eq!(wakes(&mut connection), 0);
    connection.swarm(|streams, _, _| streams.watch());
    assert_eq!(wakes(&mut connection), 1, "it is watched for again");
}

#[test]
fn a_muxer_that_is_wrapped_twice_has_one_driver() {
    let script = Shared::default();
    let inner = MuxerProxy::wrap(StreamMuxerBox::new(Scripted(script.clone())));
    let mut connection = Connection::with(MuxerProxy::wrap(inner), script);
    connection.brings(|script| script.inbound = Some(stream()));
    assert_eq!(connection.drive(), Poll::Pending);
    assert!(SPAWNED.take().is_none(), "the inner proxy leaves the streams to the outer one");
    let taken = connection.swarm(|_, muxer, cx| muxer.poll_inbound_unpin(cx).is_ready());
    assert!(taken, "and passes on what the muxer has");
}

#[test]
fn without_streams_the_muxer_is_polled_directly() {
    let script = Shared::default();
    let mut muxer = MuxerProxy::wrap(StreamMuxerBox::new(Scripted(script.clone())));
    script.lock().inbound = Some(stream());
    let stream = poll_fn(|cx| muxer.poll_inbound_unpin(cx)).now_or_never();
    assert!(matches!(stream, Some(Ok(_))));
}
