//! Wake-ups of a task that does several things.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use futures::task::AtomicWaker;
use parking_lot::Mutex;

/// What has been woken in the task that runs a connection's streams.
///
/// Each part of the task has a waker of its own. A wake-up that comes from within the task is
/// noted, and does not wake the task again.
#[derive(Default)]
pub(crate) struct Signals {
    task: AtomicWaker,
    /// The task is running, and looks at everything before it returns.
    busy: AtomicBool,
    /// The parts that have been woken.
    woken: AtomicU8,
    /// Stream drivers that continue at the task's next poll.
    pub(super) deferred: Mutex<Vec<Waker>>,
    /// The task was polled for deferred drivers.
    pub(super) resuming: AtomicBool,
    /// Requests under way on all streams that were opened here, as of each driver's last poll.
    pub(super) in_flight: AtomicUsize,
    /// Streams on which the peer owes an answer.
    pub(super) due: AtomicUsize,
    /// The handler knows that there are such streams.
    due_is_known: AtomicBool,
}

impl Signals {
    /// One or several stream drivers.
    pub(crate) const STREAMS: u8 = 1;
    /// The muxer.
    pub(crate) const MUXER: u8 = 2;
    /// The swarm asks something of the muxer.
    pub(crate) const SWARM: u8 = 4;

    /// Notes that a part was woken, and wakes the task unless it is running.
    pub(crate) fn wake(&self, part: u8) {
        self.woken.fetch_or(part, Ordering::SeqCst);
        if !self.busy.load(Ordering::SeqCst) {
            self.wake_task();
        }
    }

    /// Has the task polled again, also when it is running.
    pub(super) fn wake_task(&self) {
        self.task.wake();
    }

    /// A waker for a part.
    pub(crate) fn waker(self: &Arc<Self>, part: u8) -> Waker {
        Arc::new(PartWaker { signals: self.clone(), part }).into()
    }

    /// Which of these parts have been woken. They count as looked at from now on.
    pub(crate) fn take(&self, parts: u8) -> u8 {
        self.woken.fetch_and(!parts, Ordering::SeqCst) & parts
    }

    /// Whether any of these parts has been woken.
    pub(crate) fn any(&self, parts: u8) -> bool {
        self.woken.load(Ordering::SeqCst) & parts != 0
    }

    /// The task with this waker begins to run.
    pub(crate) fn start(&self, task: &Waker) {
        self.task.register(task);
        self.busy.store(true, Ordering::SeqCst);
    }

    /// The task is about to return. A part that was woken too late to be looked at wakes it.
    pub(crate) fn rest(&self) {
        self.busy.store(false, Ordering::SeqCst);
        if self.any(u8::MAX) {
            self.wake_task();
        }
    }

    /// Whether the peer owes an answer of which the handler does not know. It counts as known from
    /// now on.
    pub(crate) fn begins_to_be_due(&self) -> bool {
        self.due.load(Ordering::Relaxed) > 0 && !self.due_is_known.swap(true, Ordering::Relaxed)
    }

    /// Has [`begins_to_be_due`](Self::begins_to_be_due) tell again.
    pub(super) fn forget_due(&self) {
        self.due_is_known.store(false, Ordering::Relaxed);
    }
}

/// Wakes one part of a task.
struct PartWaker {
    signals: Arc<Signals>,
    part: u8,
}

impl Wake for PartWaker {
    fn wake(self: Arc<Self>) {
        self.signals.wake(self.part);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.signals.wake(self.part);
    }
}
