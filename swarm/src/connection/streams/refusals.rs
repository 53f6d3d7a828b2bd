//! Streams on which the peer is being told that they are not served.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;

/// How many of them a connection has, and who waits until it has none.
#[derive(Default)]
pub(crate) struct Refusals {
    under_way: AtomicUsize,
    waiting: AtomicWaker,
}

/// One of them. It is over when this is dropped.
pub(crate) struct Refusal(Arc<Refusals>);

impl Refusals {
    pub(crate) fn begin(self: &Arc<Self>) -> Refusal {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        Refusal(self.clone())
    }

    /// Ready when all of them are over.
    pub(crate) fn poll_over(&self, cx: &Context<'_>) -> Poll<()> {
        self.waiting.register(cx.waker());
        if self.under_way.load(Ordering::SeqCst) == 0 { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Refusal {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
        self.0.waiting.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::super::tests::Task;
    use super::*;

    #[test]
    fn who_waits_for_refusals_is_woken_by_the_last_one() {
        let task = Arc::<Task>::default();
        let waker = Waker::from(task.clone());
        let cx = Context::from_waker(&waker);
        let refusals = Arc::<Refusals>::default();
        assert!(refusals.poll_over(&cx).is_ready(), "there is none");
        let two = [refusals.begin(), refusals.begin()];
        for refusal in two {
            assert!(refusals.poll_over(&cx).is_pending());
            drop(refusal);
            assert_eq!(task.wakes(), 1);
        }
        assert!(refusals.poll_over(&cx).is_ready());
    }
}
