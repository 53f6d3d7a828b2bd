//! The one place that reads a clock.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::channel::oneshot;
use futures::future::{BoxFuture, select};
use futures::{FutureExt, StreamExt};
use futures_timer::Delay;
use pointsub_core::Timestamp;

use crate::runtime::{Executor, Runtime};
use crate::timer::Timer;

/// The time of a runtime, as timestamps of the core: the epoch is the clock's creation.
#[derive(Clone)]
pub(crate) struct Clock {
    runtime: Arc<dyn Runtime>,
    epoch: Instant,
}

impl Clock {
    pub(crate) fn new(runtime: Arc<dyn Runtime>) -> Self {
        Self { epoch: runtime.now(), runtime }
    }

    /// The system's time, where there is no runtime. Tasks are not run.
    pub(crate) fn system() -> Self {
        Self::new(Arc::new(Executor::new(drop)))
    }

    /// Whose time it is.
    #[cfg(any(feature = "dns-discovery", feature = "lan"))]
    pub(crate) fn runtime(&self) -> &dyn Runtime {
        &*self.runtime
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.timestamp(self.runtime.now())
    }

    /// The instant that a timestamp of this clock stands for.
    pub(crate) fn instant(&self, when: Timestamp) -> Instant {
        self.epoch + when.since(Timestamp::ZERO)
    }

    /// The timestamp of this clock that stands for an instant.
    pub(crate) fn timestamp(&self, when: Instant) -> Timestamp {
        Timestamp::ZERO + when.saturating_duration_since(self.epoch)
    }

    /// How long it is until `due`, as timers want it: never too short.
    pub(crate) fn until(&self, due: Timestamp) -> Duration {
        due.since(self.now())
    }

    /// Runs a task of this name.
    pub(crate) fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        self.runtime.spawn_named(name, task);
    }

    /// Waits, on a task of the runtime.
    pub(crate) fn sleep_until(&self, due: Timestamp) -> Sleep {
        Sleep(self.runtime.sleep_until(self.instant(due)))
    }

    /// The same for a time from now.
    pub(crate) fn sleep(&self, time: Duration) -> Sleep {
        Sleep(self.runtime.sleep_until(self.runtime.now() + time))
    }

    /// Waits on the task of a caller, which may run elsewhere, and outlive the runtime.
    pub(crate) fn wait_until(&self, due: Timestamp) -> Wait {
        let (told, passed) = oneshot::channel::<()>();
        let clock = self.clone();
        self.spawn(
            "pointsub timer",
            Box::pin(async move {
                let mut told = told;
                select(clock.sleep_until(due), told.cancellation()).await;
                let _gone = told.send(());
            }),
        );
        Wait { due, passed: passed.into_stream(), timer: Timer::of_the_system(self.clone()) }
    }

    /// The same for a time from now.
    pub(crate) fn wait(&self, time: Duration) -> Wait {
        self.wait_until(self.now() + time)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// Ends when a time has come, on a task of the runtime.
pub(crate) struct Sleep(BoxFuture<'static, ()>);

impl Sleep {
    /// By the system's time, on any task.
    pub(crate) fn of_the_system(time: Duration) -> Self {
        Self(Delay::new(time).boxed())
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_unpin(cx)
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").finish_non_exhaustive()
    }
}

/// Ends when a time has come by the clock of the runtime. The runtime wakes it, and so does the system,
/// if the runtime is blocked, is polled by nobody, or has ended.
#[derive(Debug)]
pub(crate) struct Wait {
    due: Timestamp,
    passed: futures::future::IntoStream<oneshot::Receiver<()>>,
    timer: Timer,
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        // Whatever it says, and once it has said so: the clock is asked.
        let _told = this.passed.poll_next_unpin(cx);
        if this.timer.poll_due(Some(this.due), cx) { Poll::Ready(()) } else { Poll::Pending }
    }
}
