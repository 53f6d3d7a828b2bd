//! How fast a peer takes what is written to it.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use crate::time::Timestamp;

const KIB: u64 = 1024;
/// Frames below this size are no moment from which time is taken.
const MARKED: u64 = 4 * KIB;
/// So many moments are kept.
const MARKS: usize = 16;
/// Less than this says nothing.
const LEAST: u64 = 16 * KIB;
/// The receive window with which a stream begins.
const WINDOW: u64 = 256 * KIB;
/// No window is taken to be larger, whatever a peer grants.
const LARGEST_WINDOW: u64 = 16 * 1024 * KIB;
/// So much is looked back at least, and twice what is on its way if that is more.
const HISTORY: u64 = 512 * KIB;
/// Another stream is watched when so much was written elsewhere,
const ELSEWHERE: u64 = 1024 * KIB;
/// or so much without a word about the one that is watched.
const UNANSWERED: u64 = 16 * 1024 * KIB;
/// The rate is the best of the last four readings, and of the four before.
const READINGS: u32 = 4;

/// Measures how fast the bytes of one connection reach the peer, by the flow control of its streams: a
/// peer that gives credit back has read what was sent to it. How long handlers take has no part in
/// that, and neither have the buffers of the system, which take megabytes at once.
///
/// What was written since any moment and has been read by now has passed the link since then, so that the
/// link is at least that fast. The greatest quotient over some moments of the near past is a
/// reading. It tells a link that is slow from one on which little is sent. Round trips count as
/// transmission. The rate is the best of some readings, because whatever
/// else delays a peer delays only some of them.
///
/// One stream is watched at a time; what is written to others counts as bytes on the link.
///
/// ```
/// use core::time::Duration;
/// use pointsub_core::{Timestamp, connection::Throughput};
///
/// let start = Timestamp::ZERO;
/// let mut throughput = Throughput::default();
/// throughput.wrote(1, true, 128 * 1024, start);
/// assert_eq!(throughput.rate(), None);
/// throughput.credited(1, 128 * 1024, start + Duration::from_millis(125));
/// assert_eq!(throughput.rate(), Some(1024 * 1024));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Throughput {
    /// Bytes written to all streams.
    written: u64,
    watched: Option<Box<Watched>>,
    /// The best of the readings since the last four, and how many they are.
    best: u64,
    readings: u32,
    /// The best of the four before.
    best_before: u64,
}

/// One stream.
#[derive(Debug, Clone)]
struct Watched {
    stream: u32,
    /// It is known how much the peer has read.
    is_exact: bool,
    /// Bytes written to the stream since it is watched.
    sent: u64,
    /// The peer has read so many of them at least.
    taken: u64,
    /// How many bytes the peer lets be on their way.
    window: u64,
    /// How much was written to all streams when the stream was last written to,
    wrote_at: u64,
    /// and when the peer last gave credit for it.
    credited_at: u64,
    marks: VecDeque<Mark>,
}

/// When a frame of the stream was written.
#[derive(Debug, Clone, Copy)]
struct Mark {
    /// Bytes of the stream before it.
    offset: u64,
    /// Bytes of all streams before it.
    position: u64,
    at: Timestamp,
}

impl Throughput {
    /// A frame with so many bytes of a stream is written now. Whether it is the stream's `first`.
    pub fn wrote(&mut self, stream: u32, first: bool, bytes: usize, now: Timestamp) {
        let (bytes, position) = (bytes as u64, self.written);
        self.written += bytes;
        let is_free =
            self.watched.as_ref().is_none_or(|watched| watched.gives_way(stream, position));
        if is_free && (first || bytes >= MARKED) {
            self.watched = Some(Box::new(Watched::new(stream, first, position)));
        }
        if let Some(watched) = &mut self.watched
            && watched.stream == stream
        {
            watched.wrote(bytes, position, now);
        }
    }

    /// The peer lets so many bytes more be sent on a stream.
    pub fn credited(&mut self, stream: u32, bytes: u32, now: Timestamp) {
        let Some(watched) = &mut self.watched else { return };
        if watched.stream != stream {
            return;
        }
        watched.credited_at = self.written;
        watched.take(u64::from(bytes));
        if let Some(rate) = watched.reading(self.written, now) {
            self.note(rate);
        }
    }

    fn note(&mut self, rate: u64) {
        if self.readings == READINGS {
            self.best_before = core::mem::take(&mut self.best);
            self.readings = 0;
        }
        self.best = self.best.max(rate);
        self.readings += 1;
    }

    /// Bytes a second, once that is known.
    #[must_use]
    pub fn rate(&self) -> Option<u64> {
        (self.readings > 0).then(|| self.best.max(self.best_before))
    }
}

impl Watched {
    fn new(stream: u32, is_exact: bool, position: u64) -> Self {
        Self {
            stream,
            is_exact,
            sent: 0,
            taken: 0,
            window: WINDOW,
            wrote_at: position,
            credited_at: position,
            marks: VecDeque::new(),
        }
    }

    /// Whether another stream says more than this one.
    fn gives_way(&self, to: u32, position: u64) -> bool {
        let is_idle = self.marks.is_empty() || position - self.wrote_at > ELSEWHERE;
        to != self.stream && (is_idle || position - self.credited_at > UNANSWERED)
    }

    fn wrote(&mut self, bytes: u64, position: u64, now: Timestamp) {
        if bytes >= MARKED {
            if self.marks.len() == MARKS {
                let mut nth = 0;
                self.marks.retain(|_| {
                    nth += 1;
                    nth % 2 == 1
                });
            }
            self.marks.push_back(Mark { offset: self.sent, position, at: now });
        }
        self.sent += bytes;
        self.wrote_at = position + bytes;
    }

    /// Takes in that the peer gave so much credit: for what it has read, and perhaps for a larger window,
    /// which is twice as large as a rule. Where that is not sure, the least is assumed.
    fn take(&mut self, credit: u64) {
        let on_its_way = self.sent - self.taken;
        let taken = if self.is_exact && credit <= self.window.min(on_its_way) {
            credit
        } else {
            let rest = credit.saturating_sub(self.window);
            let doubled = rest >= self.window / 2 && rest <= on_its_way.min(self.window);
            if credit > self.window {
                self.window = (self.window * 2).min(LARGEST_WINDOW);
            }
            // More than a window is never on its way.
            let least = on_its_way.saturating_sub(self.window);
            if self.is_exact && doubled { rest } else { least }
        };
        self.is_exact = true;
        self.taken += taken;
    }

    /// How fast the link is at least, by what the peer has read of what was written. `written` counts
    /// all streams.
    fn reading(&mut self, written: u64, now: Timestamp) -> Option<u64> {
        let last = self.marks.iter().rfind(|mark| mark.offset < self.taken)?;
        let position = last.position + (self.taken - last.offset);
        let history = HISTORY.max(2 * written.saturating_sub(position));
        while self.marks.front().is_some_and(|mark| mark.position + history < position) {
            self.marks.pop_front();
        }
        let since = |mark: &Mark| {
            let bytes = position.saturating_sub(mark.position);
            let nanos = now.since(mark.at).as_nanos().max(1);
            let rate = u128::from(bytes) * 1_000_000_000 / nanos;
            (bytes >= LEAST).then(|| u64::try_from(rate).unwrap_or(u64::MAX))
        };
        self.marks.iter().filter_map(since).max()
    }
}
