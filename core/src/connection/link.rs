//! What both ends of a stream have in common: bytes in and out, and the timers of moving them.

use alloc::sync::Arc;
use core::time::Duration;

use bytes::Bytes;

use super::operation::StreamOp;
use crate::time::{Timestamp, earliest};
use crate::wire::{Buffers, Decoder, Format, Frame, FrameError, Outbox, Room};

/// The least rate at which a message may arrive or leave, in bytes per second on average, after a
/// first `read_timeout`: a message that trickles holds memory. A slow mobile connection has ten times
/// as much.
const MIN_RATE: u64 = 4 * 1024;

/// How long a peer may be silent behind bytes that are a whole message of Go `PointSub` 1.2.
const OTHER_FORMAT: Duration = Duration::from_secs(1);

/// A message that takes so long to arrive keeps others waiting behind it.
const SLOW: Duration = Duration::from_secs(1);

/// One stream's decoder, outbox and byte timers.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) format: Format,
    pub(crate) decoder: Decoder,
    pub(crate) outbox: Outbox,
    /// The latest time seen; time that runs backwards counts as standing still.
    pub(crate) now: Timestamp,
    read_timeout: Duration,
    write_timeout: Duration,
    /// Bytes handed out for writing, and bytes known to be written, since the stream began.
    handed: u64,
    written: u64,
    write_due: Option<Timestamp>,
    /// The message that has begun to arrive.
    message: Option<Arrival>,
    /// How long the last message took to arrive, if that was long.
    slow: Option<Duration>,
    end: End,
}

/// A message of which a part has come.
#[derive(Copy, Clone, Debug)]
struct Arrival {
    began: Timestamp,
    /// Bytes of it that had come then.
    first: usize,
    /// Bytes of it that have come, and when the last of them did.
    bytes: usize,
    last: Timestamp,
    /// What has come is a whole message in another format.
    other_format: bool,
}

impl Arrival {
    /// When it is given up: nothing came for too long, or too little since it began.
    fn due(&self, read_timeout: Duration) -> Timestamp {
        if self.other_format {
            return self.last + read_timeout.min(OTHER_FORMAT);
        }
        let since = self.bytes.saturating_sub(self.first) as u64;
        let earned = Duration::from_millis(since.saturating_mul(1000) / MIN_RATE);
        (self.last + read_timeout).min(self.began + read_timeout + earned)
    }
}

/// ```text
///  Open ──finish──▶ Finishing ──outbox empty──▶ Ended
///    └───────────reset──▶ Resetting ──────────────▲
/// ```
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum End {
    Open,
    Finishing,
    Resetting,
    Ended,
}

impl Link {
    /// A stream that keeps a buffer of `keep` bytes for what it writes next.
    pub(crate) fn new(
        format: Format,
        max_body: usize,
        keep: usize,
        read_timeout: Duration,
        write_timeout: Duration,
        now: Timestamp,
    ) -> Self {
        Self {
            format,
            decoder: Decoder::new(format, max_body),
            outbox: Outbox::new(keep),
            now,
            read_timeout,
            write_timeout,
            handed: 0,
            written: 0,
            write_due: None,
            message: None,
            slow: None,
            end: End::Open,
        }
    }

    /// The same stream with the buffers of large bodies from there.
    pub(crate) fn with_buffers(mut self, buffers: Arc<dyn Buffers>) -> Self {
        self.decoder = self.decoder.with_buffers(buffers);
        self
    }

    pub(crate) fn advance_clock(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
    }

    /// Whether the stream is neither finished nor reset, nor about to be.
    pub(crate) fn is_open(&self) -> bool {
        self.end == End::Open
    }

    /// Whether the last operation on the stream was handed out.
    pub(crate) fn is_ended(&self) -> bool {
        self.end == End::Ended
    }

    /// Where the stream will be when all that is queued is written: the offset of its end.
    pub(crate) fn queued(&self) -> u64 {
        self.handed + self.outbox.len() as u64
    }

    /// Bytes known to have left.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Whether the frame that ends at offset `end` can have left whole.
    pub(crate) fn may_have_left(&self, end: u64) -> bool {
        end <= self.handed
    }

    pub(crate) fn on_written(&mut self) {
        self.written = self.handed;
        self.write_due = None;
        self.outbox.written();
    }

    /// Bytes that wait to be written or are being written, and those that are kept with them.
    pub(crate) fn unwritten(&self) -> usize {
        match self.end {
            End::Open | End::Finishing => {
                let writing = usize::try_from(self.handed - self.written).unwrap_or(0);
                self.outbox.len() + self.outbox.pinned() + writing
            }
            End::Resetting | End::Ended => 0,
        }
    }

    /// The next frame, while keeping the timer of a message that has begun.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        self.next_frame_within(|_, _| Room::Whole)
    }

    /// The same with a limit on what the decoder may hold. A message that waits for room is on no
    /// timer but the one that runs already.
    pub(crate) fn next_frame_within(
        &mut self,
        room: impl Fn(usize, usize) -> Room,
    ) -> Result<Option<Frame>, FrameError> {
        // Handed on as it is: to take it apart and put it together again costs several copies.
        let result = self.decoder.next_frame_within(room);
        if !matches!(result, Ok(None)) || !self.decoder.mid_frame() {
            if let Some(message) = self.message.take() {
                self.slow = Some(self.now.since(message.began)).filter(|took| *took >= SLOW);
            }
        } else if !self.decoder.is_waiting() {
            self.note_arrival();
        }
        result
    }

    fn note_arrival(&mut self) {
        let (now, bytes) = (self.now, self.decoder.arrived());
        let last = self.message.map(|message| message.bytes);
        let new = || Arrival { began: now, first: bytes, bytes, last: now, other_format: false };
        let message = self.message.get_or_insert_with(new);
        if last != Some(bytes) {
            message.bytes = bytes;
            message.last = now;
            message.other_format = self.decoder.looks_like_go12();
        }
    }

    /// Whether the message that arrives takes so long that others wait behind it.
    pub(crate) fn receives_slowly(&self) -> bool {
        self.message.is_some_and(|message| self.now.since(message.began) >= SLOW)
    }

    /// How long the message took that ended last, if that was long; once.
    pub(crate) fn take_slow(&mut self) -> Option<Duration> {
        self.slow.take()
    }

    /// Whether a message has begun to arrive.
    pub(crate) fn is_receiving(&self) -> bool {
        self.message.is_some()
    }

    /// Stops the timer of a message that has begun while nobody looks at it.
    pub(crate) fn pause_message(&mut self) {
        self.message = None;
    }

    pub(crate) fn finish(&mut self) {
        if self.end == End::Open {
            self.end = End::Finishing;
            self.message = None;
        }
    }

    pub(crate) fn reset(&mut self) {
        if self.end != End::Ended {
            self.end = End::Resetting;
            self.outbox.clear();
            self.write_due = None;
            self.message = None;
        }
    }

    /// Ends the stream without another operation: it is gone already.
    pub(crate) fn gone(&mut self) {
        self.reset();
        self.end = End::Ended;
    }

    pub(crate) fn poll_op(&mut self) -> Option<StreamOp> {
        match self.end {
            End::Ended => return None,
            End::Resetting => {
                self.end = End::Ended;
                return Some(StreamOp::Reset);
            }
            End::Open | End::Finishing if self.write_due.is_some() => return None,
            End::Open | End::Finishing => {}
        }
        if let Some(bytes) = self.outbox.next_write() {
            return Some(StreamOp::Write(self.hand_out(bytes)));
        }
        if self.end == End::Finishing {
            self.end = End::Ended;
            return Some(StreamOp::Finish);
        }
        None
    }

    fn hand_out(&mut self, bytes: Bytes) -> Bytes {
        self.handed += bytes.len() as u64;
        self.write_due = Some(self.now + self.write_timeout);
        bytes
    }

    /// Whether a write is about to be handed out, or nothing is to be written.
    pub(crate) fn is_ready(&self) -> bool {
        self.write_due.is_none() && self.end == End::Open
    }

    /// Whether there are bytes that can be handed out.
    pub(crate) fn can_write(&self) -> bool {
        self.write_due.is_none() && !self.outbox.is_empty()
    }

    /// Which byte timer is due: the limit that was broken.
    pub(crate) fn overdue(&self, now: Timestamp) -> Option<Overdue> {
        if self.write_due.is_some_and(|due| due <= now) {
            Some(Overdue::Write(self.write_timeout))
        } else if self.message_due().is_some_and(|due| due <= now) {
            let other_format = self.message.is_some_and(|message| message.other_format);
            let message = Overdue::Message(self.read_timeout);
            Some(if other_format { Overdue::OtherFormat } else { message })
        } else {
            None
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        earliest(self.write_due, self.message_due())
    }

    fn message_due(&self) -> Option<Timestamp> {
        self.message.map(|message| message.due(self.read_timeout))
    }
}

/// A byte timer that ran out, with its limit.
#[derive(Copy, Clone, Debug)]
pub(crate) enum Overdue {
    /// The other end does not read.
    Write(Duration),
    /// A message began to arrive and did not go on, or too slowly.
    Message(Duration),
    /// The same, and what has come is a whole message of Go `PointSub` 1.2.
    OtherFormat,
}
