//! The drivers of a connection's streams: they run together, in one task, and this is how it is woken.

use std::cell::RefCell;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use pointsub_core::StreamId;
use pointsub_core::endpoint::ConnectionKey;

use super::activity::Activity;

thread_local! {
    /// The streams that were polled last on this thread. A connection's muxer is polled right
    /// after its handler, and so finds its own.
    static LAST: RefCell<Weak<Run>> = const { RefCell::new(Weak::new()) };
}

/// Who opened a stream that has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ended {
    Inbound(ConnectionKey),
    Outbound(StreamId),
    /// One that was opened to see whether the peer answers, and whether it did.
    Probe(bool),
}

/// The signs of life of the connection whose streams were polled last on this thread.
pub(crate) fn activity_of_last() -> Option<Arc<Activity>> {
    LAST.with_borrow(|last| Some(last.upgrade()?.activity.clone()))
}

type Driver = BoxFuture<'static, Ended>;

/// The drivers of a connection's streams. When this is dropped, they are.
pub(crate) struct Streams {
    run: Arc<Run>,
}

/// What runs the drivers. It is in the hands of the connection's handler or, from when there is one,
/// of its [`pump`](super::driver).
pub(crate) struct Run {
    drivers: Mutex<FuturesUnordered<Driver>>,
    /// Drivers that have not been polled yet.
    new: Mutex<Vec<Driver>>,
    /// What the handler has not heard of.
    ended: Mutex<Vec<Ended>>,
    /// A pump polls them.
    pumped: AtomicBool,
    /// The handler is gone.
    over: AtomicBool,
    /// The connection is dead: nothing more is to be written to it.
    dead: AtomicBool,
    activity: Arc<Activity>,
    pub(crate) signals: Arc<Signals>,
    /// Wakes for the drivers.
    waker: Waker,
}

/// What has been woken in a task that does several things.
#[derive(Default)]
pub(crate) struct Signals {
    task: AtomicWaker,
    /// The task is running, and will look at everything before it rests.
    busy: AtomicBool,
    /// What to look at.
    woken: AtomicU8,
    /// Drivers that go on when the task has its next turn.
    deferred: Mutex<Vec<Waker>>,
    /// This is that turn.
    gathered: AtomicBool,
    /// Requests under way on all streams that were opened here, as their drivers found when they
    /// were polled last.
    in_flight: AtomicUsize,
    /// Streams on which the peer owes an answer.
    due: AtomicUsize,
    /// The handler knows that there are some.
    watched: AtomicBool,
}

impl Signals {
    /// The drivers, one or several of them.
    pub(crate) const STREAMS: u8 = 1;
    /// The muxer.
    pub(crate) const MUXER: u8 = 2;
    /// The swarm wants something of the muxer.
    pub(crate) const SWARM: u8 = 4;

    /// Notes something to look at, and wakes the task unless that is about to.
    pub(crate) fn wake(&self, what: u8) {
        self.woken.fetch_or(what, Ordering::SeqCst);
        if !self.busy.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }

    /// A waker that does so.
    pub(crate) fn waker(self: &Arc<Self>, what: u8) -> Waker {
        Arc::new(Woken { signals: self.clone(), what }).into()
    }

    /// Which of these there are to look at; they count as looked at.
    pub(crate) fn take(&self, which: u8) -> u8 {
        self.woken.fetch_and(!which, Ordering::SeqCst) & which
    }

    /// Whether there is any of these.
    pub(crate) fn any(&self, which: u8) -> bool {
        self.woken.load(Ordering::SeqCst) & which != 0
    }

    /// The task with this waker has its turn.
    pub(crate) fn start(&self, task: &Waker) {
        self.task.register(task);
        self.busy.store(true, Ordering::SeqCst);
    }

    /// Whether requests are under way of which the handler does not know.
    pub(crate) fn begins_to_be_due(&self) -> bool {
        self.due.load(Ordering::Relaxed) > 0 && !self.watched.swap(true, Ordering::Relaxed)
    }

    /// The task is about to rest. Who was woken too late to be looked at wakes it.
    pub(crate) fn rest(&self) {
        self.busy.store(false, Ordering::SeqCst);
        if self.any(u8::MAX) {
            self.task.wake();
        }
    }
}

/// Puts off what a driver does until others had their turn.
pub(crate) struct Deferral {
    signals: Arc<Signals>,
    /// Requests under way on this driver's stream, as far as the connection knows.
    in_flight: usize,
    due: bool,
}

impl Deferral {
    /// Whether a driver is to wait for one round of the task before it takes its commands. `in_flight`
    /// is how many requests it has under way.
    ///
    /// It waits if at least `crowd` requests are under way on the connection, unless it has waited
    /// already: other drivers are then likely to add to the same write. It is polled again, with the
    /// waker of `cx`, when all tasks that can run now have run.
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

impl Deferral {
    /// Notes whether the peer owes an answer on this driver's stream.
    pub(crate) fn note_due(&mut self, due: bool) {
        match (std::mem::replace(&mut self.due, due), due) {
            (false, true) => _ = self.signals.due.fetch_add(1, Ordering::Relaxed),
            (true, false) => _ = self.signals.due.fetch_sub(1, Ordering::Relaxed),
            _ => {}
        }
    }
}

impl Drop for Deferral {
    fn drop(&mut self) {
        self.note_due(false);
        self.signals.in_flight.fetch_sub(self.in_flight, Ordering::Relaxed);
    }
}

impl fmt::Debug for Deferral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferral").finish_non_exhaustive()
    }
}

struct Woken {
    signals: Arc<Signals>,
    what: u8,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.signals.wake(self.what);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.signals.wake(self.what);
    }
}

impl Streams {
    pub(crate) fn new(activity: Arc<Activity>) -> Self {
        let signals = Arc::<Signals>::default();
        let run = Run {
            drivers: Mutex::default(),
            new: Mutex::default(),
            ended: Mutex::default(),
            pumped: AtomicBool::default(),
            over: AtomicBool::default(),
            dead: AtomicBool::default(),
            activity,
            waker: signals.waker(Signals::STREAMS),
            signals,
        };
        Self { run: Arc::new(run) }
    }

    pub(crate) fn deferral(&self) -> Deferral {
        Deferral { signals: self.run.signals.clone(), in_flight: 0, due: false }
    }

    pub(crate) fn push(&self, driver: Driver) {
        self.run.new.lock().push(driver);
        self.run.signals.wake(Signals::STREAMS);
    }

    /// Whether the peer owes an answer on one of the streams that were opened here.
    pub(crate) fn is_due(&self) -> bool {
        self.run.signals.due.load(Ordering::Relaxed) > 0
    }

    /// From now on, the handler is polled when the first request begins.
    pub(crate) fn watch(&self) {
        self.run.signals.watched.store(false, Ordering::Relaxed);
    }

    /// Ends the connection at once, if a pump has it.
    pub(crate) fn abort(&self) {
        self.run.dead.store(true, Ordering::SeqCst);
        self.run.signals.wake(Signals::SWARM);
    }

    /// Those that have ended since this was asked last.
    pub(crate) fn ended(&self) -> Vec<Ended> {
        std::mem::take(&mut self.run.ended.lock())
    }

    /// Lets every stream go on that can, unless a pump does.
    pub(crate) fn poll(&self, cx: &Context<'_>) {
        if self.run.pumped.load(Ordering::Relaxed) {
            return;
        }
        let signals = &self.run.signals;
        signals.start(cx.waker());
        self.run.turn();
        signals.rest();
        self.run.announce();
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.run.over.store(true, Ordering::SeqCst);
        // The pump drops them, if there is one: it may be polling them at this moment.
        self.run.signals.wake(Signals::STREAMS);
    }
}

impl Run {
    /// Those that this thread has polled last, if nobody has asked for them. From now on, only
    /// its caller polls them.
    pub(crate) fn take_last() -> Option<Arc<Self>> {
        let run = LAST.take().upgrade()?;
        run.pumped.store(true, Ordering::Relaxed);
        Some(run)
    }

    /// The muxer that is polled next on this thread is that of these streams.
    pub(crate) fn announce(self: &Arc<Self>) {
        LAST.set(Arc::downgrade(self));
    }

    /// Whether the connection is dead.
    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// Lets every stream go on that can, and those too that were put off. Whether any has ended.
    pub(crate) fn turn(&self) -> bool {
        let signals = &self.signals;
        {
            let mut deferred = signals.deferred.lock();
            signals.gathered.store(!deferred.is_empty(), Ordering::Relaxed);
            deferred.drain(..).for_each(Waker::wake);
        }
        let ended = self.advance();
        signals.gathered.store(false, Ordering::Relaxed);
        ended
    }

    /// Lets every stream go on that can. Whether any has ended.
    pub(crate) fn advance(&self) -> bool {
        self.signals.take(Signals::STREAMS);
        let mut drivers = self.drivers.lock();
        drivers.extend(self.new.lock().drain(..));
        if self.over.load(Ordering::SeqCst) {
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
    use futures::FutureExt;
    use futures::future::poll_fn;

    use super::*;
    use crate::clock::Clock;

    /// A task that counts how often it is woken.
    #[derive(Default)]
    pub(crate) struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Task {
        /// Since this was asked last.
        pub(crate) fn wakes(&self) -> usize {
            self.0.swap(0, Ordering::SeqCst)
        }
    }

    pub(crate) fn streams() -> Streams {
        Streams::new(Arc::new(Activity::new(Clock::start())))
    }

    /// A driver that says whether it was put off, with one request under way and a crowd of three.
    fn deferred(seen: &Arc<AtomicWaker>, streams: &Streams, log: &Arc<Mutex<Vec<bool>>>) {
        let (seen, log, mut deferral) = (seen.clone(), log.clone(), streams.deferral());
        let driver = poll_fn(move |cx| {
            seen.register(cx.waker());
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
        let (streams, seen, log) = (streams(), Arc::<AtomicWaker>::default(), Arc::default());
        deferred(&seen, &streams, &log);
        let woken = || task.wakes();
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
        seen.wake();
        assert_eq!(pass(), [false], "this is it, for all of them");
        seen.wake();
        woken();
        assert_eq!((pass(), woken()), (vec![true], 1), "a crowd comes again");
        assert_eq!(pass(), [false], "woken without anybody's doing");
        drop(other);
        seen.wake();
        assert_eq!(pass(), [false], "it has dispersed");
    }
}
