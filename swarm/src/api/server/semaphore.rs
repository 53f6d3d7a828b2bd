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
/// keeps some 300 KiB meanwhile. Only tasks that are polled until they end may have a permit, or
/// others would wait for ever: those of handlers, not those of callers.
#[derive(Debug)]
pub(crate) struct Semaphore(Mutex<State>);

#[derive(Debug)]
struct State {
    free: usize,
    waiting: FairQueue<oneshot::Sender<Permit>>,
}

/// The permits that the requests of one stream ask for.
#[derive(Debug)]
pub(crate) struct Permits {
    semaphore: Arc<Semaphore>,
    origin: Origin,
}

impl Permits {
    /// Waits for a permit.
    pub(crate) async fn next(&self) -> Permit {
        self.semaphore.next(&self.origin).await
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
        Arc::new(Self(Mutex::new(State { free, waiting: FairQueue::default() })))
    }

    /// The permits for what is asked on a stream.
    pub(crate) fn of_stream(self: &Arc<Self>, origin: Origin) -> Arc<Permits> {
        Arc::new(Permits { semaphore: self.clone(), origin })
    }

    /// Waits for a permit.
    async fn next(self: &Arc<Self>, origin: &Origin) -> Permit {
        loop {
            let permit = {
                let state = &mut *self.0.lock();
                if state.free > 0 {
                    state.free -= 1;
                    return Permit(self.clone());
                }
                let (sender, permit) = oneshot::channel();
                state.waiting.push(origin, sender);
                permit
            };
            // Whoever gives a permit back hands it on; nobody drops what waits.
            if let Ok(permit) = permit.await {
                return permit;
            }
        }
    }

    /// Whose turn it is to have the permit that was given back. Without anybody it is free.
    fn pop(&self) -> Option<oneshot::Sender<Permit>> {
        let state = &mut *self.0.lock();
        // Those who no longer wait, and a connection that ends leaves many, are passed over here: a
        // permit that is given to one of them is dropped within the drop of the one before.
        let next = std::iter::from_fn(|| state.waiting.pop()).find(|next| !next.is_canceled());
        if next.is_none() {
            state.free += 1;
        }
        next
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

    use pointsub_core::PeerId;

    use super::{Permit, Semaphore};

    type Next<'a> = Pin<Box<dyn Future<Output = Permit> + 'a>>;

    fn ask<const N: usize>(semaphore: &Arc<Semaphore>) -> [Next<'_>; N] {
        let peer = PeerId::from_bytes(b"a peer").expect("a peer id");
        let permits = semaphore.of_stream(peer.into());
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
