//! A link that carries so many bytes a second, with a peer that reads at once and gives credit as Yamux
//! does.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use pointsub_core::Timestamp;
use pointsub_core::connection::CompressionChoice;
use pointsub_core::wire::compress::Gain;

use super::KIB;

/// A million bits a second, in bytes.
pub(crate) const MBIT: u64 = 1_000_000 / 8;
/// The largest frame of a stream.
pub(crate) const FRAME: usize = 65_000;
const WINDOW: usize = 256 * KIB;

/// A connection on such a link, with what it decides.
pub(crate) struct Link {
    pub(crate) choice: CompressionChoice,
    /// Bytes a second.
    pub(crate) rate: u64,
    /// From one end to the other.
    pub(crate) latency: Duration,
    now: Timestamp,
    /// Until then it carries what was written.
    busy: Timestamp,
    streams: BTreeMap<u32, Stream>,
    /// Credit on its way back.
    credit: VecDeque<(Timestamp, u32, usize)>,
}

struct Stream {
    window: usize,
    /// What the peer has read and not given credit for.
    uncredited: usize,
    first: bool,
}

impl Link {
    pub(crate) fn new(rate: u64) -> Self {
        Self {
            choice: CompressionChoice::default(),
            rate,
            latency: Duration::from_micros(50),
            now: Timestamp::ZERO,
            busy: Timestamp::ZERO,
            streams: BTreeMap::new(),
            credit: VecDeque::new(),
        }
    }

    /// Since the beginning.
    pub(crate) fn elapsed(&self) -> Duration {
        self.now.since(Timestamp::ZERO)
    }

    /// Time passes.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some((at, stream, bytes)) = self.credit.front().copied()
            && at <= until
        {
            self.credit.pop_front();
            self.now = self.now.max(at);
            self.streams.get_mut(&stream).expect("it was written to").window += bytes;
            self.choice.credited(stream, bytes as u32, self.now);
        }
        self.now = until;
    }

    /// Writes so much of a frame as there is credit for. How much that is.
    fn write(&mut self, stream: u32, bytes: usize) -> usize {
        let new = Stream { window: WINDOW, uncredited: 0, first: true };
        let of = self.streams.entry(stream).or_insert(new);
        let bytes = bytes.min(FRAME).min(of.window);
        if bytes == 0 {
            return 0;
        }
        self.choice.wrote(stream, std::mem::take(&mut of.first), bytes, self.now);
        self.busy = self.busy.max(self.now) + carried(bytes, self.rate);
        (of.window, of.uncredited) = (of.window - bytes, of.uncredited + bytes);
        if of.uncredited >= WINDOW / 2 {
            let credit = std::mem::take(&mut of.uncredited);
            self.credit.push_back((self.busy + 2 * self.latency, stream, credit));
        }
        bytes
    }

    /// Waits for credit.
    fn wait(&mut self) {
        let (at, ..) = *self.credit.front().expect("credit for a window that is used up");
        self.pass(at.since(self.now));
    }

    /// Sends a body and waits for a small answer.
    pub(crate) fn send(&mut self, stream: u32, mut len: usize) {
        while len > 0 {
            let written = self.write(stream, len);
            len -= written;
            if written == 0 {
                self.wait();
            }
        }
        self.pass(self.busy.since(self.now) + 2 * self.latency);
    }

    /// Sends so many bytes in all on several streams, as fast as they go.
    pub(crate) fn stream(&mut self, streams: u32, bytes: u64) {
        let mut left = bytes as usize;
        while left > 0 {
            let written: usize = (1..=streams).map(|stream| self.write(stream, FRAME)).sum();
            left = left.saturating_sub(written);
            if written == 0 {
                self.wait();
            }
        }
    }

    /// Sends a body as is decided, and waits for a small answer. Whether it was compressed.
    pub(crate) fn body(&mut self, stream: u32, len: usize, text: &Text) -> bool {
        let compressed = self.choice.compresses(len, &text.gain());
        if compressed {
            let left = (len as f64 * text.left) as usize;
            self.pass(carried(len, text.deflates));
            self.choice.compressed(left);
            self.send(stream, left);
            self.pass(carried(len, text.inflates));
        } else {
            self.send(stream, len);
        }
        compressed
    }
}

/// What bodies are made of.
pub(crate) struct Text {
    /// The share that is left.
    pub(crate) left: f64,
    /// Bytes a second.
    pub(crate) deflates: u64,
    pub(crate) inflates: u64,
}

impl Text {
    /// As text is.
    pub(crate) const USUAL: Self = Self { left: 0.35, deflates: 80_000_000, inflates: 320_000_000 };

    /// What is known after some bodies.
    pub(crate) fn gain(&self) -> Gain {
        let mut gain = Gain::default();
        for _ in 0..64 {
            gain.deflated(KIB, (1024.0 * self.left) as usize, carried(KIB, self.deflates));
            gain.inflated(KIB, carried(KIB, self.inflates));
        }
        gain
    }
}

fn carried(bytes: usize, rate: u64) -> Duration {
    Duration::from_nanos(bytes as u64 * 1_000_000_000 / rate)
}
