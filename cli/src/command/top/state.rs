//! What is shown, and what keys change of it.

use std::collections::VecDeque;

use super::sample::{Sample, Sort};
use crate::node::activity::Snapshot;

/// How many samples are kept for the curves: more than a terminal has columns.
const KEPT: usize = 512;

/// What a key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Quit,
    Sort,
    Pause,
    Down,
    Up,
}

/// A point of the curves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub(super) started: f64,
    pub(super) in_flight: u64,
    pub(super) refused: f64,
    pub(super) memory: u64,
}

/// What is shown.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) peer: String,
    pub(super) sort: Sort,
    /// While it is paused, what is shown stays. The node is asked all the same.
    pub(super) paused: bool,
    /// How many peers are above the first one that is shown.
    pub(super) scroll: usize,
    /// Whether the node tells its load alone.
    pub(super) load_alone: bool,
    /// Why the node is not heard, if it is not.
    pub(super) lost: Option<String>,
    pub(super) shown: Sample,
    /// The oldest first.
    pub(super) points: VecDeque<Point>,
    last: Option<Snapshot>,
}

impl State {
    pub(super) fn new(peer: String, sort: Sort) -> Self {
        Self { peer, sort, ..Self::default() }
    }

    /// The node has told how it is.
    pub(super) fn heard(&mut self, now: Snapshot) {
        let mut sample = Sample::between(self.last.as_ref(), now.clone());
        let is_first = self.last.replace(now).is_none();
        self.lost = None;
        if self.paused {
            return;
        }
        sample.sort(self.sort);
        self.shown = sample;
        if !is_first {
            let Sample { started, refused, now, .. } = &self.shown;
            let (in_flight, memory) = (now.load.in_flight, now.load.memory);
            self.points.push_back(Point {
                started: *started,
                in_flight,
                refused: *refused,
                memory,
            });
            if self.points.len() > KEPT {
                self.points.pop_front();
            }
        }
        self.keep_in_sight();
    }

    /// The node has not answered.
    pub(super) fn lost(&mut self, why: &str) {
        self.lost = Some(why.to_owned());
    }

    /// Whether it goes on.
    pub(super) fn press(&mut self, key: Key) -> bool {
        match key {
            Key::Quit => return false,
            Key::Sort => {
                self.sort = self.sort.next();
                self.shown.sort(self.sort);
            }
            Key::Pause => self.paused = !self.paused,
            Key::Down => self.scroll += 1,
            Key::Up => self.scroll = self.scroll.saturating_sub(1),
        }
        self.keep_in_sight();
        true
    }

    fn keep_in_sight(&mut self) {
        self.scroll = self.scroll.min(self.shown.now.peers.len().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::activity::PeerActivity;

    fn snapshot(uptime_ms: u64, started: u64) -> Snapshot {
        let mut now = Snapshot { uptime_ms, ..Snapshot::default() };
        now.load.started = started;
        now.peers = vec![PeerActivity::default(); 2];
        now
    }

    #[test]
    fn what_is_shown_stays_while_it_is_paused() {
        let mut state = State::new("peer".to_owned(), Sort::Busy);
        state.heard(snapshot(1000, 0));
        assert!(state.points.is_empty(), "one look has no rate");
        state.heard(snapshot(2000, 10));
        assert_eq!((state.shown.started, state.points.len()), (10.0, 1));
        assert!(state.press(Key::Pause));
        state.heard(snapshot(3000, 40));
        assert_eq!((state.shown.started, state.points.len()), (10.0, 1));
        assert!(state.press(Key::Pause));
        state.heard(snapshot(4000, 45));
        assert_eq!(state.shown.started, 5.0, "since the last look, and not since the pause");
        assert!(!state.press(Key::Quit));
    }

    #[test]
    fn a_list_is_not_scrolled_out_of_sight() {
        let mut state = State::new("peer".to_owned(), Sort::Busy);
        assert!(state.press(Key::Down));
        assert_eq!(state.scroll, 0);
        state.heard(snapshot(1000, 0));
        for _ in 0..5 {
            state.press(Key::Down);
        }
        assert_eq!(state.scroll, 1);
        state.heard(Snapshot::default());
        assert_eq!(state.scroll, 0);
        state.press(Key::Up);
        assert_eq!(state.scroll, 0);
    }

    #[test]
    fn curves_do_not_grow_for_ever() {
        let mut state = State::new("peer".to_owned(), Sort::Busy);
        (0..2 * KEPT as u64).for_each(|n| state.heard(snapshot(n * 1000, n)));
        assert_eq!(state.points.len(), KEPT);
        state.lost("gone");
        assert!(state.lost.is_some());
        state.heard(snapshot(u64::MAX, 0));
        assert!(state.lost.is_none());
    }
}
