//! One stream that a peer opened: its life, from the first byte to the last.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::time::Duration;

use slab::Slab;

use super::batch::Portion;
use super::calls::{Call, CallId};
use crate::config::ServerConfig;
use crate::connection::link::{Link, Overdue};
use crate::connection::operation::{StreamEvent, StreamOp};
use crate::endpoint::ConnectionKey;
use crate::endpoint::Gate;
use crate::endpoint::Timer;
use crate::endpoint::Trouble;
use crate::id::{PeerId, ProtocolName};
use crate::time::{Timestamp, earliest};
use crate::wire::compress::Payload;
use crate::wire::{Buffers, Flags, Format, FrameError, Kind, Settings};

/// No further requests are read while more than this waits to be written: a peer that does not
/// read its answers gets no more of them.
const OUTBOX_HIGH: usize = 256 * 1024;
/// A stream without requests keeps room for this many.
const KEPT_CALLS: usize = 64;

/// The wire machine of one stream that a peer opened.
///
/// It reads requests, asks the [`Gate`] whether to let each in, and frames the answers. Every
/// [`ServerStreamEvent::Request`] is to be ended by exactly one [`respond`](Self::respond) or
/// [`abandoned`](Self::abandoned), whatever became of the stream meanwhile.
///
/// A request is looked at and let in when [`poll_event`](Self::poll_event) asks for it and not
/// before, so that what is answered at once never counts as more than one at work. After every
/// input, call `poll_event` until it has nothing, then [`poll_op`](Self::poll_op).
#[derive(Debug)]
pub struct ServerStream {
    pub(super) link: Link,
    pub(super) key: ConnectionKey,
    pub(super) max_body: usize,
    pub(super) max_in_flight: usize,
    cleanup_interval: Duration,
    pub(super) peer: Settings,
    pub(super) calls: Slab<Call>,
    pub(super) seq: u64,
    /// The highest request id seen.
    pub(super) last_id: u64,
    /// When the bytes came that the decoder has not looked at.
    pub(super) arrived: Timestamp,
    /// Bytes of the requests at work, before and after decompression.
    pub(super) work: usize,
    /// The load that was last told to the peer, and when.
    pub(super) told_load: Option<(u16, Timestamp)>,
    /// No call is due before this; it may be earlier than the truth.
    pub(super) due: Option<Timestamp>,
    /// When the stream is closed unless a request comes.
    pub(super) idle_due: Option<Timestamp>,
    pub(super) draining: bool,
    /// Answers that wait for their write.
    pub(super) portion: Portion,
    /// It was closed from the beginning.
    refused: bool,
    /// It was reset because of a message in another format.
    other_format: bool,
    /// The peer will send no more; what it has sent may still wait to be looked at.
    pub(super) finished: bool,
    /// Nothing of what the peer sends is looked at any more.
    pub(super) deaf: bool,
    /// Requests whose handlers are to be told to stop.
    pub(super) abandons: VecDeque<CallId>,
}

/// What a [`ServerStream`] asks of whoever runs the handlers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerStreamEvent {
    /// Run the handler.
    Request {
        /// Names the request in [`ServerStream::respond`].
        call: CallId,
        /// The body, perhaps compressed: inflate it on the handler's task.
        payload: Payload,
        /// When the caller stops waiting, if it said so.
        deadline: Option<Timestamp>,
    },
    /// Stop the handler, nobody waits for it; then call [`ServerStream::abandoned`].
    Abandon {
        /// The request.
        call: CallId,
    },
}

impl ServerStream {
    /// A stream that `peer` opened under `protocol`. If the gate does not serve that, the stream
    /// is [refused](Self::refused).
    #[must_use]
    pub fn new(
        peer: PeerId,
        protocol: &ProtocolName,
        format: Format,
        config: &ServerConfig,
        gate: &mut Gate,
        now: Timestamp,
    ) -> Self {
        if !gate.serves(protocol.as_str()) {
            return Self::refused(peer, protocol, format, config, gate, now);
        }
        let key = gate.open(peer, protocol, Some(format), now);
        let mut stream = Self::opened(key, format, config, now);
        stream.settle(gate);
        stream
    }

    /// A stream that is refused: it says so as far as its format can, and closes.
    #[must_use]
    pub fn refused(
        peer: PeerId,
        protocol: &ProtocolName,
        format: Format,
        config: &ServerConfig,
        gate: &mut Gate,
        now: Timestamp,
    ) -> Self {
        let key = gate.open(peer, protocol, Some(format), now);
        gate.refuse();
        let mut stream = Self::opened(key, format, config, now);
        stream.refused = true;
        stream.drain(gate, now);
        stream
    }

    fn opened(key: ConnectionKey, format: Format, config: &ServerConfig, now: Timestamp) -> Self {
        let max_body = config.max_block_size;
        let (read, write) = (config.read_timeout, config.write_timeout);
        let mut link = Link::new(format, max_body, config.buffer_pool_size, read, write, now);
        let mut peer = Settings { max_body: u32::MAX, max_in_flight: 1 };
        if format == Format::Native {
            peer = Settings::ASSUMED;
            link.outbox.settings(Settings {
                max_body: max_body as u32,
                max_in_flight: config.max_in_flight as u32,
            });
        }
        Self {
            link,
            key,
            max_body,
            max_in_flight: config.max_in_flight,
            cleanup_interval: config.cleanup_interval,
            peer,
            calls: Slab::new(),
            seq: 0,
            last_id: 0,
            arrived: now,
            work: 0,
            told_load: None,
            due: None,
            idle_due: Some(now + config.read_timeout),
            draining: false,
            other_format: false,
            portion: Portion::new(),
            refused: false,
            finished: false,
            deaf: false,
            abandons: VecDeque::new(),
        }
    }

    /// The same stream with the buffers of bodies larger than 64 KiB from there instead of new ones.
    #[must_use]
    pub fn with_buffers(mut self, buffers: Arc<dyn Buffers>) -> Self {
        self.link = self.link.with_buffers(buffers);
        self
    }

    /// The stream's name at the gate.
    #[must_use]
    pub fn key(&self) -> ConnectionKey {
        self.key
    }

    /// Whether answers may be compressed on this stream.
    #[must_use]
    pub fn compresses(&self) -> bool {
        self.link.format == Format::Native
    }

    /// Takes in what happened on the stream.
    pub fn handle(&mut self, event: StreamEvent, gate: &mut Gate, now: Timestamp) {
        self.link.advance_clock(now);
        match event {
            StreamEvent::Received(_) | StreamEvent::Filled(_) if !self.is_listening() => {}
            StreamEvent::Received(data) => {
                self.arrived = self.link.now;
                self.link.decoder.push(data);
                gate.touch(self.key, self.link.now);
            }
            StreamEvent::Filled(n) => {
                self.arrived = self.link.now;
                self.link.decoder.filled(n);
                gate.touch(self.key, self.link.now);
            }
            StreamEvent::Written => {
                self.link.on_written();
                gate.touch(self.key, self.link.now);
            }
            StreamEvent::Finished => self.finished = true,
            StreamEvent::Failed(_) => {
                self.link.gone();
                self.lose_all(gate);
            }
        }
        self.settle(gate);
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, gate: &mut Gate, now: Timestamp) {
        self.link.advance_clock(now);
        let now = self.link.now;
        if let Some(overdue) = self.link.overdue(now) {
            self.other_format = matches!(overdue, Overdue::OtherFormat);
            let timer = match overdue {
                Overdue::Write(_) => Timer::Write,
                Overdue::Message(_) => Timer::Message,
                Overdue::OtherFormat => Timer::OtherFormat,
            };
            gate.timed_out(self.key, timer, now);
            self.reset(gate);
            return;
        }
        if self.idle_due().is_some_and(|due| due <= now) {
            let timer = if self.is_unused() { Timer::FirstByte } else { Timer::Idle };
            gate.timed_out(self.key, timer, now);
            self.drain(gate, now);
        }
        if self.due.is_some_and(|due| due <= now) {
            self.expire(gate, now);
        }
        self.settle(gate);
    }

    /// Takes no further requests, finishes those at work, then closes the stream. Tells the peer
    /// which requests it will not look at, if the format can.
    pub fn drain(&mut self, gate: &mut Gate, now: Timestamp) {
        self.link.advance_clock(now);
        if !self.draining && self.link.is_open() {
            self.draining = true;
            match self.link.format {
                Format::Native => {
                    let id = self.last_id;
                    let none = bytes::Bytes::new();
                    self.link.outbox.native(Kind::Drain, Flags::default(), id, none, |_| {});
                }
                // The client may be writing a request, and read only then. The end of our half
                // would not stop it. It has its answers already, or there were none.
                Format::Plain if self.seq == 0 => self.link.reset(),
                Format::Plain if self.calls.is_empty() && self.is_arriving() => self.link.reset(),
                Format::Plain => {}
            }
        }
        self.settle(gate);
    }

    /// Aborts the stream; its handlers are to be stopped.
    pub fn reset(&mut self, gate: &mut Gate) {
        self.link.reset();
        self.abandon_all(gate);
        self.settle(gate);
    }

    /// Forgets the stream at the gate: to be called once, when it [ended](Self::is_ended) or is
    /// given up. Requests at work give back their places; their handlers have been stopped.
    pub fn close(&mut self, gate: &mut Gate, now: Timestamp) {
        self.link.advance_clock(now);
        self.link.gone();
        self.release_all(gate);
        if self.is_unused() && !self.refused {
            gate.trouble(self.key, Trouble::EmptyStream, self.link.now);
        }
        gate.close(self.key, self.link.now);
    }

    /// The next operation on the stream.
    pub fn poll_op(&mut self) -> Option<StreamOp> {
        let op = self.link.poll_op()?;
        self.portion.written();
        Some(op)
    }

    /// Whether [`poll_event`](Self::poll_event) is to be called: it has an event, or something
    /// to look at.
    #[must_use]
    pub fn has_event(&self) -> bool {
        let news = self.link.decoder.has_input() || self.finished;
        let looks = self.is_listening() && !self.is_paused() && !self.is_due_to_write();
        !self.abandons.is_empty() || news && looks
    }

    /// The next event for whoever runs the handlers. Looks at what has come, as far as that takes;
    /// not while a few answers wait for [`poll_op`](Self::poll_op), so that the peer goes on with
    /// those while the others are made.
    pub fn poll_event(&mut self, gate: &mut Gate, now: Timestamp) -> Option<ServerStreamEvent> {
        self.link.advance_clock(now);
        let abandon = self.abandons.pop_front().map(|call| ServerStreamEvent::Abandon { call });
        let event = match abandon {
            None if self.is_due_to_write() => None,
            None => self.take_frames(gate),
            abandon => abandon,
        };
        if event.is_none() && !self.link.decoder.has_input() {
            self.portion.end_batch();
        }
        self.settle(gate);
        event
    }

    /// When [`handle_timeout`](Self::handle_timeout) must be called at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        earliest(earliest(self.link.next_deadline(), self.due), self.idle_due())
    }

    /// Whether bytes of the stream are wanted now. They are not before those that came were
    /// looked at, while a plain request is at work, or while too many answers wait to be written.
    #[must_use]
    pub fn wants_read(&self) -> bool {
        let done = !self.link.decoder.has_input() && !self.finished;
        done && self.is_listening() && !self.is_paused()
    }

    /// Where the next bytes of a large request belong; see [`StreamEvent::Filled`].
    pub fn space(&mut self) -> Option<&mut [u8]> {
        if self.wants_read() { self.link.decoder.space() } else { None }
    }

    /// Why the stream was reset, if the peer takes it for one of another format.
    #[must_use]
    pub fn misunderstood(&self) -> Option<FrameError> {
        self.other_format.then_some(FrameError::OtherFormat)
    }

    /// Whether the last operation was handed out and every handler has ended: the machine can be
    /// [closed](Self::close) and dropped.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.link.is_ended() && self.calls.is_empty()
    }

    /// Bytes held for incomplete requests and unwritten answers, and those not looked at.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.link.decoder.buffered() + self.link.outbox.len()
    }

    /// Bytes held as the gate counts them.
    pub(super) fn held(&self) -> usize {
        self.link.decoder.incomplete() + self.held_elsewhere()
    }

    /// The same without what the decoder holds.
    pub(super) fn held_elsewhere(&self) -> usize {
        self.work + self.link.unwritten()
    }

    /// When the stream counts as idle: not while a message arrives, which has a timer of its own.
    fn idle_due(&self) -> Option<Timestamp> {
        self.idle_due.filter(|_| !self.is_arriving())
    }

    /// Whether a part of a message has come, or something that was not looked at.
    fn is_arriving(&self) -> bool {
        self.link.is_receiving() || self.link.decoder.has_input()
    }

    /// Whether what the peer sends is looked at, now or later.
    pub(super) fn is_listening(&self) -> bool {
        self.link.is_open() && !self.deaf
    }

    pub(super) fn is_paused(&self) -> bool {
        match self.link.format {
            Format::Plain => !self.calls.is_empty() || self.draining,
            Format::Native => self.link.outbox.len() > OUTBOX_HIGH,
        }
    }

    /// Whether enough answers wait, and nothing keeps them from being written.
    fn is_due_to_write(&self) -> bool {
        self.portion.is_full() && self.link.can_write()
    }

    /// Closes the stream when nothing is left to do on it, or starts the idle timer; drops what
    /// is not needed any more, and tells the gate what is held.
    pub(super) fn settle(&mut self, gate: &mut Gate) {
        if self.calls.is_empty() && self.link.is_open() {
            if self.draining || self.deaf {
                self.link.finish();
            } else if self.idle_due.is_none() && self.link.unwritten() == 0 {
                self.idle_due = Some(self.link.now + self.cleanup_interval);
            }
            if self.calls.capacity() > KEPT_CALLS {
                self.calls = Slab::new();
            }
        }
        if !self.link.is_open() {
            self.idle_due = None;
        }
        if !self.is_listening() {
            self.link.decoder.clear();
        }
        if gate.charge(self.key, self.held(), self.is_idle()) && self.link.is_open() {
            self.link.reset();
            self.abandon_all(gate);
            self.settle(gate);
        }
    }

    /// Whether it has answered what it was asked, and nothing is on its way.
    fn is_idle(&self) -> bool {
        let at_rest = self.calls.is_empty() && !self.is_arriving() && self.link.unwritten() == 0;
        at_rest && !self.is_unused() && !self.finished && !self.draining && self.is_listening()
    }

    /// Whether no request has come.
    fn is_unused(&self) -> bool {
        self.seq == 0 && self.last_id == 0
    }
}
