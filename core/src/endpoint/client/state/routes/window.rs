//! How many requests a client has at work at a peer that was too busy for more.
//!
//! A server that says `busy` has room for those that it has let in. So what it refused waits until one of
//! these has ended, instead of being sent again and again: the caller waits, and hears of nothing.
//!
//! The window falls to what is at work when a request is refused. It grows by one when as many requests
//! as it holds have found a place, and by twice as much each time after that. TCP's congestion window grows
//! by one as well after a loss (RFC 5681); Breakwater (Cho and others, 2020) has servers hand windows out.

use alloc::boxed::Box;
use core::time::Duration;

use crate::error::{Status, StatusCode};

/// A server that asks for a longer pause than this has another reason than want of a place.
const SOON: Duration = Duration::from_millis(100);

/// How many requests of a route may be at work.
#[derive(Debug)]
pub(crate) struct Window {
    size: usize,
    /// By how much it grows next.
    step: usize,
    /// Requests that found a place since it last grew.
    placed: usize,
    /// What the server said.
    refusal: Box<Status>,
}

impl Window {
    /// Whether a server that says so has room for those that it has let in.
    pub(crate) fn is_called_for(status: &Status) -> bool {
        status.code == StatusCode::Busy && status.retry_after.is_none_or(|pause| pause <= SOON)
    }

    /// One request was refused while so many others were at work.
    pub(crate) fn new(at_work: usize, refusal: Status) -> Self {
        Self { size: at_work.max(1), step: 1, placed: 0, refusal: Box::new(refusal) }
    }

    /// The same of one that is known.
    pub(crate) fn shrink(&mut self, at_work: usize, refusal: Status) {
        let size = self.size.min(at_work);
        *self = Self::new(size, refusal);
    }

    /// How many more requests may be at work, if so many are.
    pub(crate) fn left(&self, at_work: usize) -> usize {
        self.size.saturating_sub(at_work)
    }

    /// Whether so few are at work that it limits nothing.
    pub(crate) fn is_idle(&self, at_work: usize) -> bool {
        at_work < self.size / 2
    }

    /// One that had waited found a place.
    pub(crate) fn note_placed(&mut self) {
        self.placed += 1;
        if self.placed >= self.size {
            self.placed = 0;
            self.size = self.size.saturating_add(self.step);
            self.step = self.step.saturating_mul(2).min(self.size);
        }
    }

    /// What the server said last.
    pub(crate) fn refusal(&self) -> &Status {
        &self.refusal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_carefully_and_then_fast() {
        let busy = Status::new(StatusCode::Busy, "");
        let mut window = Window::new(20, busy.clone());
        (0..9).for_each(|left| window.shrink(19 - left, busy.clone()));
        assert_eq!((window.left(0), window.left(11), window.left(12)), (11, 0, 0));
        (0..11).for_each(|_| window.note_placed());
        assert_eq!(window.left(11), 1);
        (0..12 + 14).for_each(|_| window.note_placed());
        assert_eq!(window.left(11), 1 + 2 + 4);
        window.shrink(30, busy);
        assert_eq!(window.left(11), 7, "what was refused says nothing of more than that");
        assert!(window.is_idle(8) && !window.is_idle(9));
    }

    #[test]
    fn a_server_that_asks_for_a_long_pause_has_room_for_nobody() {
        let busy = Status::new(StatusCode::Busy, "");
        let after = |ms| Status { retry_after: Some(Duration::from_millis(ms)), ..busy.clone() };
        assert!(Window::is_called_for(&after(100)) && Window::is_called_for(&busy));
        assert!(!Window::is_called_for(&after(101)));
        assert!(!Window::is_called_for(&Status::new(StatusCode::Draining, "")));
    }
}
