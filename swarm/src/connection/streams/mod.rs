//! The stream drivers of a connection, which run together in one task.

pub(crate) mod coalescing;
pub(crate) mod refusals;
pub(crate) mod signals;

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use pointsub_core::endpoint::StreamKey;
use pointsub_core::{StreamError, StreamId};

use self::coalescing::Coalescing;
use self::signals::Signals;
use crate::clock::Clock;
use crate::connection::activity::Activity;

thread_local! {
    /// The streams that were polled last on this thread, and in which task.
    static LAST: RefCell<Last> = const { RefCell::new(Last { set: Weak::new(), task: 0 }) };
}

/// Connects a muxer with the streams of its connection, which libp2p keeps apart: a task polls the
/// handlers of a connection, and its muxer right after them.
struct Last {
    set: Weak<StreamSet>,
    /// The address of the task. The muxer of a connection without streams of ours finds those of
    /// another task, and leaves them alone.
    task: usize,
}

impl Last {
    fn of(&self, cx: &Context<'_>) -> Option<Arc<StreamSet>> {
        if self.task == address(cx) { self.set.upgrade() } else { None }
    }
}

/// Tells tasks apart that are alive at the same time.
fn address(cx: &Context<'_>) -> usize {
    cx.waker().data().addr()
}

/// Which stream has ended.
#[derive(Debug, Clone)]
pub(crate) enum Ended {
    /// One that the peer opened.
    Inbound(StreamKey),
    /// One that this end opened.
    Outbound(StreamId),
    /// One that was opened for a probe, and how the probe went.
    Probe(Result<(), StreamError>),
}

/// The signs of life of the connection whose streams this task has polled last, for its muxer.
pub(crate) fn activity_of_task(cx: &Context<'_>) -> Option<Arc<Activity>> {
    LAST.with_borrow(|last| Some(last.of(cx)?.activity.clone()))
}

/// Runs one stream to its end.
type StreamDriver = BoxFuture<'static, Ended>;

/// The connection handler's hold on its streams. They end when this is dropped.
pub(crate) struct Streams {
    set: Arc<StreamSet>,
}

/// The stream drivers of a connection. The connection's handler polls them or, from when there is
/// one, its [connection driver](crate::connection::driver).
pub(crate) struct StreamSet {
    drivers: Mutex<FuturesUnordered<StreamDriver>>,
    /// Drivers that have not been polled yet.
    new: Mutex<Vec<StreamDriver>>,
    /// What the handler has not been told yet.
    ended: Mutex<Vec<Ended>>,
    /// A connection driver polls them.
    is_driven: AtomicBool,
    /// The handler is gone.
    is_closed: AtomicBool,
    /// The connection is dead: nothing more is to be written to it.
    is_aborted: AtomicBool,
    activity: Arc<Activity>,
    pub(crate) signals: Arc<Signals>,
    /// Of the runtime that runs the connection driver.
    pub(crate) clock: Clock,
    /// Wakes for the drivers.
    waker: Waker,
}

impl Streams {
    pub(crate) fn new(activity: Arc<Activity>, clock: Clock) -> Self {
        let signals = Arc::<Signals>::default();
        let set = StreamSet {
            drivers: Mutex::default(),
            new: Mutex::default(),
            ended: Mutex::default(),
            is_driven: AtomicBool::default(),
            is_closed: AtomicBool::default(),
            is_aborted: AtomicBool::default(),
            activity,
            clock,
            waker: signals.waker(Signals::STREAMS),
            signals,
        };
        Self { set: Arc::new(set) }
    }

    /// A new stream's part in write coalescing.
    pub(crate) fn coalescing(&self) -> Coalescing {
        Coalescing::new(self.set.signals.clone())
    }

    pub(crate) fn push(&self, driver: StreamDriver) {
        self.set.new.lock().push(driver);
        self.set.signals.wake(Signals::STREAMS);
    }

    /// Whether the peer owes an answer on one of the streams that were opened here.
    pub(crate) fn is_due(&self) -> bool {
        self.set.signals.due.load(Ordering::Relaxed) > 0
    }

    /// From now on, the handler is polled when the first request begins.
    pub(crate) fn watch(&self) {
        self.set.signals.forget_due();
    }

    /// Whether a connection driver has them, which also moves bytes while the swarm does not.
    pub(crate) fn is_driven(&self) -> bool {
        self.set.is_driven.load(Ordering::Relaxed)
    }

    /// Ends the connection at once, if a connection driver has it.
    pub(crate) fn abort(&self) {
        self.set.is_aborted.store(true, Ordering::SeqCst);
        self.set.signals.wake(Signals::SWARM);
    }

    /// The streams that have ended since the last call.
    pub(crate) fn ended(&self) -> Vec<Ended> {
        std::mem::take(&mut self.set.ended.lock())
    }

    /// Polls every stream that was woken, unless a connection driver does.
    pub(crate) fn poll(&self, cx: &Context<'_>) {
        if self.is_driven() {
            return;
        }
        let signals = &self.set.signals;
        signals.start(cx.waker());
        self.set.resume();
        signals.rest();
        self.set.announce(cx);
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.set.is_closed.store(true, Ordering::SeqCst);
        // The connection driver drops them, if there is one: it may be polling them at this moment.
        self.set.signals.wake(Signals::STREAMS);
    }
}

impl StreamSet {
    /// The streams that this task has polled last, for a connection driver. `None` if there is one
    /// already. From now on, only the caller polls them.
    pub(crate) fn claim(cx: &Context<'_>) -> Option<Arc<Self>> {
        let set = LAST.with_borrow(|last| last.of(cx))?;
        (!set.is_driven.swap(true, Ordering::Relaxed)).then_some(set)
    }

    /// The muxer that is polled next with this context belongs to these streams.
    pub(crate) fn announce(self: &Arc<Self>, cx: &Context<'_>) {
        LAST.set(Last { set: Arc::downgrade(self), task: address(cx) });
    }

    /// Whether the connection is dead.
    pub(crate) fn is_aborted(&self) -> bool {
        self.is_aborted.load(Ordering::SeqCst)
    }

    /// Polls every stream that was woken, and those too that wait for others to write. Returns
    /// whether any has ended.
    pub(crate) fn resume(&self) -> bool {
        let signals = &self.signals;
        {
            let mut deferred = signals.deferred.lock();
            signals.resuming.store(!deferred.is_empty(), Ordering::Relaxed);
            deferred.drain(..).for_each(Waker::wake);
        }
        let ended = self.advance();
        signals.resuming.store(false, Ordering::Relaxed);
        ended
    }

    /// Polls every stream that was woken. Returns whether any has ended.
    pub(crate) fn advance(&self) -> bool {
        self.signals.take(Signals::STREAMS);
        let mut drivers = self.drivers.lock();
        drivers.extend(self.new.lock().drain(..));
        if self.is_closed.load(Ordering::SeqCst) {
            drivers.clear();
        }
        let (mut cx, mut any) = (Context::from_waker(&self.waker), false);
        while let Poll::Ready(Some(ended)) = drivers.poll_next_unpin(&mut cx) {
            self.ended.lock().push(ended);
            any = true;
        }
        any
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use futures::FutureExt;
    use futures::future::poll_fn;
    use futures::task::AtomicWaker;
    use pointsub_core::Format::Native;

    use super::*;
    use crate::runtime::Executor;

    /// A task that counts how often it is woken.
    #[derive(Default)]
    pub(crate) struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Task {
        /// Since the last call.
        pub(crate) fn wakes(&self) -> usize {
            self.0.swap(0, Ordering::SeqCst)
        }
    }

    /// The streams of a connection whose driver runs on `executor`.
    pub(crate) fn streams_on(executor: Executor) -> Streams {
        let clock = Clock::new(Arc::new(executor));
        Streams::new(Arc::new(Activity::new(clock.clone())), clock)
    }

    fn streams() -> Streams {
        streams_on(Executor::new(drop))
    }

    /// A driver that logs whether it was deferred, with one request under way.
    fn deferred(seen: &Arc<AtomicWaker>, streams: &Streams, log: &Arc<Mutex<Vec<bool>>>) {
        let (seen, log, mut coalescing) = (seen.clone(), log.clone(), streams.coalescing());
        let driver = poll_fn(move |cx| {
            seen.register(cx.waker());
            log.lock().push(coalescing.defers(Native, 1, cx));
            Poll::<Ended>::Pending
        });
        streams.push(driver.boxed());
    }

    #[test]
    fn a_driver_is_deferred_once_where_others_are_about_to_write() {
        let task = Arc::<Task>::default();
        let waker = Waker::from(task.clone());
        let cx = Context::from_waker(&waker);
        let (streams, seen, log) = (streams(), Arc::<AtomicWaker>::default(), Arc::default());
        deferred(&seen, &streams, &log);
        let woken = || task.wakes();
        let pass = || {
            streams.poll(&cx);
            std::mem::take(&mut *log.lock())
        };
        assert_eq!(pass(), [false], "one request is below the threshold");
        // The first pass wakes the task by itself.
        assert!(pass().is_empty() && woken() > 0);
        let mut other = streams.coalescing();
        assert!(!other.defers(Native, 1, &cx), "two are below it");
        assert!(other.defers(Native, 2, &cx), "three reach it");
        assert_eq!(woken(), 1, "the driver continues at the task's next poll");
        seen.wake();
        assert_eq!(pass(), [false], "this is that poll, for all drivers");
        seen.wake();
        woken();
        assert_eq!((pass(), woken()), (vec![true], 1), "the next request is deferred again");
        assert_eq!(pass(), [false], "woken without anybody's doing");
        drop(other);
        seen.wake();
        assert_eq!(pass(), [false], "one request is left");
    }

    #[test]
    fn a_muxer_finds_the_streams_of_its_own_task_only() {
        let (streams, [waker, other]) =
            (streams(), [(); 2].map(|()| Arc::<Task>::default().into()));
        let (cx, other) = (Context::from_waker(&waker), Context::from_waker(&other));
        streams.poll(&cx);
        assert!(activity_of_task(&other).is_none() && StreamSet::claim(&other).is_none());
        assert!(activity_of_task(&cx).is_some() && StreamSet::claim(&cx).is_some());
        assert!(StreamSet::claim(&cx).is_none(), "they have a driver");
        assert!(activity_of_task(&cx).is_some(), "and are found all the same");
    }
}
