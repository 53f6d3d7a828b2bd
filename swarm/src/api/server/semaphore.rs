//! How many large bodies are compressed or inflated at the same time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::available_parallelism;

use futures::channel::oneshot;
use parking_lot::Mutex;

/// As many turns as there are cores, given in the order in which they are asked for.
///
/// More at a time would end no sooner: they would take each other's cache, all end late, and each
/// keeps some 300 KiB meanwhile. For tasks that are surely polled while they have a turn, or others
/// would wait for ever: those of handlers, not those of callers.
#[derive(Debug)]
pub(crate) struct Turns(Mutex<State>);

#[derive(Debug)]
struct State {
    free: usize,
    waiting: VecDeque<oneshot::Sender<Turn>>,
}

/// Over when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn(Arc<Turns>);

impl Turns {
    pub(crate) fn new() -> Arc<Self> {
        Self::of(available_parallelism().map_or(1, usize::from))
    }

    fn of(free: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { free, waiting: VecDeque::new() })))
    }

    /// Waits for a turn.
    pub(crate) async fn next(self: &Arc<Self>) -> Turn {
        loop {
            let turn = {
                let state = &mut *self.0.lock();
                if state.free > 0 {
                    state.free -= 1;
                    return Turn(self.clone());
                }
                let (sender, turn) = oneshot::channel();
                state.waiting.push_back(sender);
                turn
            };
            // Whoever ends a turn hands it on; nobody drops what waits.
            if let Ok(turn) = turn.await {
                return turn;
            }
        }
    }

    /// Who waits longest for the turn that has ended; else it is free.
    fn pop(&self) -> Option<oneshot::Sender<Turn>> {
        let state = &mut *self.0.lock();
        // Those who no longer wait, and a connection that ends leaves many, are passed over here: a
        // turn that is given to one of them ends within the one before.
        let next =
            std::iter::from_fn(|| state.waiting.pop_front()).find(|next| !next.is_canceled());
        if next.is_none() {
            state.free += 1;
        }
        next
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(next) = self.0.pop() {
            // If it is not taken any more, it ends here and now, and goes to the one after.
            drop(next.send(Self(self.0.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Waker};

    use super::{Turn, Turns};

    type Next<'a> = Pin<Box<dyn Future<Output = Turn> + 'a>>;

    fn ask<const N: usize>(turns: &Arc<Turns>) -> [Next<'_>; N] {
        std::array::from_fn(|_| Box::pin(turns.next()) as Next<'_>)
    }

    fn poll(next: &mut Next<'_>) -> Option<Turn> {
        match next.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => None,
        }
    }

    #[test]
    fn turns_are_given_in_the_order_in_which_they_are_asked_for() {
        let turns = Turns::of(2);
        let [mut a, mut b, mut c, mut d] = ask(&turns);
        let first = poll(&mut a).expect("one of two");
        let second = poll(&mut b).expect("the other");
        assert!(poll(&mut c).is_none() && poll(&mut d).is_none());
        drop(second);
        assert!(poll(&mut d).is_none(), "it has asked last");
        let third = poll(&mut c).expect("the next in the line");
        drop((first, third));
        assert!(poll(&mut d).is_some());
        let [mut e, mut f, mut g] = ask(&turns);
        let both = (poll(&mut e), poll(&mut f));
        assert!(both.0.is_some() && both.1.is_some() && poll(&mut g).is_none(), "two, as before");
    }

    /// A handler may be stopped while it waits, or just when its turn has come.
    #[test]
    fn those_who_no_longer_wait_are_passed_over() {
        let turns = Turns::of(1);
        let [mut a, mut b, mut c, mut d] = ask(&turns);
        let turn = poll(&mut a).expect("the only one");
        assert!(poll(&mut b).is_none() && poll(&mut c).is_none() && poll(&mut d).is_none());
        drop(b);
        drop(turn);
        // It was c's turn.
        drop(c);
        assert!(poll(&mut d).is_some());
    }
}
