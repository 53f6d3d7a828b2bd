//! How many large bodies are compressed or inflated at the same time.

use std::sync::Arc;
use std::thread::available_parallelism;

use futures::channel::oneshot;
use parking_lot::Mutex;
use pointsub_core::endpoint::Origin;

use super::fair::FairQueue;

/// As many permits as there are cores. Networks that ask for some take turns, and so do the peers of a
/// network; one peer gets them in the order in which it asks.
///
/// More at a time would end no sooner: they would take each other's cache, all end late, and each
/// keeps some 300 KiB meanwhile. Answers that wait are in no budget, so that only [`WAITING`] bytes of
/// them may. Only tasks that are polled until they end may have a permit, or
/// others would wait for ever: those of handlers, not those of callers.
#[derive(Debug)]
pub(crate) struct Semaphore(Mutex<State>);

#[derive(Debug)]
struct State {
    free: usize,
    waiting: FairQueue<Waiting>,
    /// Bytes of those that wait.
    bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    permit: oneshot::Sender<Permit>,
    /// That are in no budget.
    bytes: usize,
}

/// So many bytes of answers may wait to be compressed. Whatever comes beyond them is sent as it is, rather
/// than that it waits for a core.
const WAITING: usize = 8 * 1024 * 1024;

/// The permits that the requests of one stream ask for.
#[derive(Debug)]
pub(crate) struct Permits {
    semaphore: Arc<Semaphore>,
    origin: Origin,
}

impl Permits {
    /// Waits for a permit.
    pub(crate) async fn next(&self) -> Permit {
        loop {
            let asked = self.semaphore.ask(&self.origin, 0);
            if let Some(permit) = granted(asked).await {
                return permit;
            }
        }
    }

    /// Waits for a permit with so many bytes that are in no budget. `None` if too many wait already.
    pub(crate) async fn next_with(&self, bytes: usize) -> Option<Permit> {
        let asked = self.semaphore.ask(&self.origin, bytes);
        granted(asked).await
    }
}

/// Given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Semaphore>);

impl Semaphore {
    pub(crate) fn new() -> Arc<Self> {
        Self::of(available_parallelism().map_or(1, usize::from))
    }

    fn of(free: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { free, waiting: FairQueue::default(), bytes: 0 })))
    }

    /// The permits for what is asked on a stream.
    pub(crate) fn of_stream(self: &Arc<Self>, origin: Origin) -> Permits {
        Permits { semaphore: self.clone(), origin }
    }

    /// A permit, or how to wait for one with so many bytes. `None` if too many wait already.
    fn ask(self: &Arc<Self>, origin: &Origin, bytes: usize) -> Option<Asked> {
        let state = &mut *self.0.lock();
        if state.free > 0 {
            state.free -= 1;
            return Some(Asked::Granted(Permit(self.clone())));
        }
        let all = state.bytes.saturating_add(bytes);
        if bytes > 0 && all > WAITING {
            return None;
        }
        state.bytes = all;
        let (permit, turn) = oneshot::channel();
        state.waiting.push(origin, Waiting { permit, bytes });
        Some(Asked::Waits(turn))
    }

    /// Whose turn it is to have the permit that was given back. Without anybody it is free.
    fn pop(&self) -> Option<oneshot::Sender<Permit>> {
        let state = &mut *self.0.lock();
        // Those who no longer wait, and a connection that ends leaves many, are passed over here: a
        // permit that is given to one of them is dropped within the drop of the one before.
        while let Some(Waiting { permit, bytes }) = state.waiting.pop() {
            state.bytes -= bytes;
            if !permit.is_canceled() {
                return Some(permit);
            }
        }
        state.free += 1;
        None
    }
}

/// What was asked for.
enum Asked {
    Granted(Permit),
    Waits(oneshot::Receiver<Permit>),
}

/// The permit, once it is there.
async fn granted(asked: Option<Asked>) -> Option<Permit> {
    match asked? {
        Asked::Granted(permit) => Some(permit),
        // Whoever gives a permit back hands it on; nobody drops what waits.
        Asked::Waits(turn) => turn.await.ok(),
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(next) = self.0.pop() {
            // If it is not taken any more, it is dropped here and goes to the one after.
            drop(next.send(Self(self.0.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Waker};

    use futures::FutureExt;
    use pointsub_core::PeerId;

    use super::{Permit, Semaphore, WAITING};

    type Next<'a> = Pin<Box<dyn Future<Output = Permit> + 'a>>;

    fn ask<const N: usize>(semaphore: &Arc<Semaphore>) -> [Next<'_>; N] {
        let peer = PeerId::from_bytes(b"a peer").expect("a peer id");
        let permits = Arc::new(semaphore.of_stream(peer.into()));
        std::array::from_fn(|_| {
            let permits = permits.clone();
            Box::pin(async move { permits.next().await }) as Next<'_>
        })
    }

    fn poll(next: &mut Next<'_>) -> Option<Permit> {
        match next.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(permit) => Some(permit),
            Poll::Pending => None,
        }
    }

    #[test]
    fn permits_are_given_in_the_order_in_which_they_are_asked_for() {
        let semaphore = Semaphore::of(2);
        let [mut a, mut b, mut c, mut d] = ask(&semaphore);
        let first = poll(&mut a).expect("one of two");
        let second = poll(&mut b).expect("the other");
        assert!(poll(&mut c).is_none() && poll(&mut d).is_none());
        drop(second);
        assert!(poll(&mut d).is_none(), "it has asked last");
        let third = poll(&mut c).expect("the next one");
        drop((first, third));
        assert!(poll(&mut d).is_some());
        let [mut e, mut f, mut g] = ask(&semaphore);
        let both = (poll(&mut e), poll(&mut f));
        assert!(both.0.is_some() && both.1.is_some() && poll(&mut g).is_none(), "two, as before");
    }

    /// Answers that wait are in no budget: those that are too many go without.
    #[test]
    fn so_many_bytes_may_wait() {
        let semaphore = Semaphore::of(1);
        let peer = PeerId::from_bytes(b"a peer").expect("a peer id");
        let permits = Arc::new(semaphore.of_stream(peer.into()));
        let ask = |bytes| permits.next_with(bytes).boxed();
        let cx = &mut Context::from_waker(Waker::noop());
        let Poll::Ready(Some(permit)) = ask(10 * WAITING).poll_unpin(cx) else {
            panic!("it waits for nobody");
        };
        let (mut waits, mut gone) = (ask(WAITING / 2), ask(WAITING / 2));
        assert!(waits.poll_unpin(cx).is_pending() && gone.poll_unpin(cx).is_pending());
        assert!(matches!(ask(1).poll_unpin(cx), Poll::Ready(None)), "one byte too many");
        drop(gone);
        drop(permit);
        let Poll::Ready(Some(permit)) = waits.poll_unpin(cx) else { panic!("its turn") };
        drop(permit);
        assert!(
            matches!(ask(WAITING).poll_unpin(cx), Poll::Ready(Some(_))),
            "nothing waits any more"
        );
    }

    /// A handler may be stopped while it waits, or just when it was given its permit.
    #[test]
    fn those_who_no_longer_wait_are_passed_over() {
        let semaphore = Semaphore::of(1);
        let [mut a, mut b, mut c, mut d] = ask(&semaphore);
        let permit = poll(&mut a).expect("the only one");
        assert!(poll(&mut b).is_none() && poll(&mut c).is_none() && poll(&mut d).is_none());
        drop(b);
        drop(permit);
        // It was c's permit.
        drop(c);
        assert!(poll(&mut d).is_some());
    }
}
