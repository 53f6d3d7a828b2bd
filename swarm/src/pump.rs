//! Lets the streams of a connection run where their bytes are, without detours.
//!
//! libp2p polls a connection's handler, then its muxer. Streams live in the handler ([`Streams`]), so
//! what the muxer reads for them wakes the connection's task, which is running, and what they write
//! wakes it for the muxer, which is about to be polled anyway. Each of these wake-ups costs another
//! round through the scheduler and through all handlers of the connection. The [`Pump`] around the
//! muxer saves both: wake-ups from within are noted and not passed on, and streams that have something
//! to read are polled right behind the muxer, and the muxer again behind them.
//!
//! Nothing depends on it: with a muxer that is not wrapped, streams run all the same.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::task::AtomicWaker;
use libp2p_core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent, SubstreamBox};
use parking_lot::Mutex;
use pointsub_core::StreamId;

/// How often muxer and streams take turns before other tasks do.
const ROUNDS: u32 = 4;

thread_local! {
    /// The streams that were polled last on this thread. A connection's muxer is polled right
    /// after its handler, and so finds its own.
    static LAST: RefCell<Weak<Core>> = const { RefCell::new(Weak::new()) };
}

/// The drivers of a connection's streams.
pub(crate) struct Streams {
    core: Arc<Core>,
}

/// Who opened a stream that has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ended {
    Inbound,
    Outbound(StreamId),
}

struct Core {
    running: Mutex<Running>,
    signals: Arc<Signals>,
    /// Wakes for the streams and for the muxer.
    streams: Waker,
    muxer: Waker,
}

#[derive(Default)]
struct Running {
    drivers: FuturesUnordered<BoxFuture<'static, Ended>>,
    /// What the handler has not heard of.
    ended: Vec<Ended>,
    /// A muxer polls them too.
    pumped: bool,
}

#[derive(Default)]
struct Signals {
    task: AtomicWaker,
    /// The task is on its way through the connection, and will look at everything before it rests.
    busy: AtomicBool,
    streams: AtomicBool,
    muxer: AtomicBool,
    /// Drivers that go on when the task has its next turn.
    deferred: Mutex<Vec<Waker>>,
    /// This is that turn.
    gathered: AtomicBool,
    /// Requests under way on all streams that were opened here.
    in_flight: AtomicUsize,
}

/// Puts off what a driver does until others had their turn.
pub(crate) struct Deferral {
    signals: Arc<Signals>,
    /// Requests under way on this driver's stream, as far as the connection knows.
    in_flight: usize,
}

impl Deferral {
    /// Whether the driver that is polled with `cx`, and has so many requests under way, is to let
    /// others add to what waits for it and for its neighbours: if it is a `crowd` that is under way
    /// on all of them, and this was not let happen already. It is polled again when all tasks that
    /// can run now did.
    pub(crate) fn defers(&mut self, in_flight: usize, crowd: usize, cx: &Context<'_>) -> bool {
        let signals = &self.signals;
        if in_flight != self.in_flight {
            signals.in_flight.fetch_add(in_flight.wrapping_sub(self.in_flight), Ordering::Relaxed);
            self.in_flight = in_flight;
        }
        let crowded = signals.in_flight.load(Ordering::Relaxed) >= crowd;
        if !crowded || signals.gathered.load(Ordering::Relaxed) {
            return false;
        }
        signals.deferred.lock().push(cx.waker().clone());
        signals.task.wake();
        true
    }
}

impl Drop for Deferral {
    fn drop(&mut self) {
        self.signals.in_flight.fetch_sub(self.in_flight, Ordering::Relaxed);
    }
}

impl fmt::Debug for Deferral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferral").finish_non_exhaustive()
    }
}

struct StreamsWoken(Arc<Signals>);
struct MuxerWoken(Arc<Signals>);

impl Signals {
    fn woken(&self, which: &AtomicBool) {
        which.store(true, Ordering::SeqCst);
        if !self.busy.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }

    /// The task is about to rest. Who was woken too late to be looked at wakes it.
    fn rest(&self) {
        self.busy.store(false, Ordering::SeqCst);
        if self.streams.load(Ordering::SeqCst) || self.muxer.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }
}

impl Wake for StreamsWoken {
    fn wake(self: Arc<Self>) {
        self.0.woken(&self.0.streams);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.woken(&self.0.streams);
    }
}

impl Wake for MuxerWoken {
    fn wake(self: Arc<Self>) {
        self.0.woken(&self.0.muxer);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.woken(&self.0.muxer);
    }
}

impl Streams {
    pub(crate) fn new() -> Self {
        let signals = Arc::<Signals>::default();
        let streams = Arc::new(StreamsWoken(signals.clone())).into();
        let muxer = Arc::new(MuxerWoken(signals.clone())).into();
        Self { core: Arc::new(Core { running: Mutex::default(), signals, streams, muxer }) }
    }

    pub(crate) fn deferral(&self) -> Deferral {
        Deferral { signals: self.core.signals.clone(), in_flight: 0 }
    }

    pub(crate) fn push(&self, driver: BoxFuture<'static, Ended>) {
        self.core.running.lock().drivers.push(driver);
    }

    pub(crate) fn len(&self) -> usize {
        self.core.running.lock().drivers.len()
    }

    /// Those that have ended since this was asked last.
    pub(crate) fn ended(&self) -> Vec<Ended> {
        std::mem::take(&mut self.core.running.lock().ended)
    }

    /// Lets every stream go on that can.
    pub(crate) fn poll(&self, cx: &Context<'_>) {
        let signals = &self.core.signals;
        signals.task.register(cx.waker());
        let mut running = self.core.running.lock();
        if running.pumped {
            signals.busy.store(true, Ordering::SeqCst);
        }
        {
            let mut deferred = signals.deferred.lock();
            signals.gathered.store(!deferred.is_empty(), Ordering::Relaxed);
            deferred.drain(..).for_each(Waker::wake);
        }
        self.core.advance(&mut running);
        signals.gathered.store(false, Ordering::Relaxed);
        LAST.with_borrow_mut(|last| {
            if !std::ptr::eq(last.as_ptr(), Arc::as_ptr(&self.core)) {
                *last = Arc::downgrade(&self.core);
            }
        });
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        // The muxer may be closing still, and holds nothing but a weak reference; a poll under way
        // cannot be, since both belong to one task.
        self.core.running.lock().drivers.clear();
    }
}

impl Core {
    fn advance(&self, running: &mut Running) {
        self.signals.streams.store(false, Ordering::SeqCst);
        let mut cx = Context::from_waker(&self.streams);
        while let Poll::Ready(Some(ended)) = running.drivers.poll_next_unpin(&mut cx) {
            running.ended.push(ended);
        }
    }
}

/// A muxer that lets the streams of its connection run.
pub(crate) struct Pump {
    muxer: StreamMuxerBox,
    streams: Weak<Core>,
}

impl Pump {
    pub(crate) fn wrap(muxer: StreamMuxerBox) -> StreamMuxerBox {
        StreamMuxerBox::new(Self { muxer, streams: Weak::new() })
    }

    /// Polls the muxer, and streams for which that has brought something, in turn.
    fn turn<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl Fn(Pin<&mut StreamMuxerBox>, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let Some(core) = self.core() else { return poll(Pin::new(&mut self.muxer), cx) };
        let signals = &core.signals;
        signals.task.register(cx.waker());
        signals.busy.store(true, Ordering::SeqCst);
        let mut may_be_idle = false;
        for _ in 0..ROUNDS {
            signals.muxer.store(false, Ordering::SeqCst);
            let polled = poll(Pin::new(&mut self.muxer), &mut Context::from_waker(&core.muxer));
            if polled.is_ready() {
                // The connection is polled again for more.
                signals.rest();
                return polled;
            }
            if signals.streams.load(Ordering::SeqCst) {
                let mut running = core.running.lock();
                core.advance(&mut running);
                // The swarm closes connections without streams, and looks for that only when it
                // polls them.
                may_be_idle |= !running.ended.is_empty();
            } else if !signals.muxer.load(Ordering::SeqCst) {
                break;
            }
        }
        signals.rest();
        if may_be_idle {
            signals.task.wake();
        }
        Poll::Pending
    }

    fn core(&mut self) -> Option<Arc<Core>> {
        if let Some(core) = self.streams.upgrade() {
            return Some(core);
        }
        self.streams = LAST.take();
        let core = self.streams.upgrade()?;
        core.running.lock().pumped = true;
        Some(core)
    }
}

impl StreamMuxer for Pump {
    type Substream = SubstreamBox;
    type Error = io::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<SubstreamBox, io::Error>> {
        self.turn(cx, |muxer, cx| muxer.poll_inbound(cx))
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<SubstreamBox, io::Error>> {
        self.turn(cx, |muxer, cx| muxer.poll_outbound(cx))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Pin::new(&mut self.muxer).poll_close(cx)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, io::Error>> {
        self.turn(cx, |muxer, cx| muxer.poll(cx))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::future::poll_fn;

    use super::*;

    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// A stream that is polled, and ends when it is told to.
    #[derive(Default)]
    struct Seen {
        polls: AtomicUsize,
        waker: AtomicWaker,
        end: AtomicBool,
    }

    /// A muxer that brings something for the stream when it is told to.
    struct Brings(Arc<Seen>, Arc<AtomicBool>);

    impl StreamMuxer for Brings {
        type Substream = SubstreamBox;
        type Error = io::Error;

        fn poll_inbound(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<io::Result<SubstreamBox>> {
            Poll::Pending
        }

        fn poll_outbound(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<io::Result<SubstreamBox>> {
            Poll::Pending
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
            if self.1.swap(false, Ordering::SeqCst) {
                self.0.waker.wake();
            }
            Poll::Pending
        }
    }

    #[test]
    fn wakeups_from_within_are_seen_to_at_once_and_those_from_outside_wake_the_task() {
        let (task, seen, brings) =
            (Arc::<Task>::default(), Arc::<Seen>::default(), Arc::<AtomicBool>::default());
        let waker = Waker::from(task.clone());
        let mut cx = Context::from_waker(&waker);
        let (streams, stream) = (Streams::new(), seen.clone());
        let driver = poll_fn(move |cx| {
            stream.polls.fetch_add(1, Ordering::SeqCst);
            stream.waker.register(cx.waker());
            if stream.end.load(Ordering::SeqCst) {
                Poll::Ready(Ended::Inbound)
            } else {
                Poll::Pending
            }
        });
        streams.push(driver.boxed());
        let muxer = StreamMuxerBox::new(Brings(seen.clone(), brings.clone()));
        let mut muxer = Pump::wrap(muxer);
        let mut pass = || {
            streams.poll(&cx);
            assert!(Pin::new(&mut muxer).poll(&mut cx).is_pending());
            (seen.polls.load(Ordering::SeqCst), task.0.swap(0, Ordering::SeqCst))
        };
        // The muxer finds its streams in this pass. What they did before it had has woken the task.
        assert_eq!(pass().0, 1);
        assert_eq!(pass(), (1, 0), "nothing to do");
        brings.store(true, Ordering::SeqCst);
        assert_eq!(pass(), (2, 0), "polled behind the muxer, without a detour");
        seen.waker.wake();
        assert_eq!(task.0.load(Ordering::SeqCst), 1, "somebody else woke it");
        assert_eq!(pass(), (3, 1));
        seen.end.store(true, Ordering::SeqCst);
        brings.store(true, Ordering::SeqCst);
        assert_eq!(pass(), (4, 1), "the swarm is to look whether the connection is idle");
        assert_eq!((streams.ended().len(), streams.len()), (1, 0));
    }

    /// A driver that says whether it was put off, with one request under way and a crowd of three.
    fn deferred(seen: &Arc<Seen>, streams: &Streams, log: &Arc<Mutex<Vec<bool>>>) {
        let (seen, log, mut deferral) = (seen.clone(), log.clone(), streams.deferral());
        let driver = poll_fn(move |cx| {
            seen.waker.register(cx.waker());
            log.lock().push(deferral.defers(1, 3, cx));
            Poll::<Ended>::Pending
        });
        streams.push(driver.boxed());
    }

    #[test]
    fn a_crowd_on_a_connection_is_put_off_once() {
        let task = Arc::<Task>::default();
        let waker = Waker::from(task.clone());
        let cx = Context::from_waker(&waker);
        let (streams, seen, log) = (Streams::new(), Arc::<Seen>::default(), Arc::default());
        deferred(&seen, &streams, &log);
        let woken = || task.0.swap(0, Ordering::SeqCst);
        let pass = || {
            streams.poll(&cx);
            std::mem::take(&mut *log.lock())
        };
        assert_eq!(pass(), [false], "one is no crowd");
        // The first pass wakes the task by itself.
        assert!(pass().is_empty() && woken() > 0);
        let mut other = streams.deferral();
        assert!(!other.defers(1, 3, &cx), "two are none");
        assert!(other.defers(2, 3, &cx), "three are");
        assert_eq!(woken(), 1, "and go on in the task's next turn");
        seen.waker.wake();
        assert_eq!(pass(), [false], "this is it, for all of them");
        seen.waker.wake();
        woken();
        assert_eq!((pass(), woken()), (vec![true], 1), "a crowd comes again");
        assert_eq!(pass(), [false], "woken without anybody's doing");
        drop(other);
        seen.waker.wake();
        assert_eq!(pass(), [false], "it has dispersed");
    }
}
