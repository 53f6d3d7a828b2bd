//! One stream that a peer opened: its life, from the first byte to the last.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::time::Duration;

use slab::Slab;

use super::admission::Exchange;
use super::answer::Answering;
use super::batch::BatchSize;
use super::calls::{Call, CallId};
use super::places::{CallPlaces, TakenPlaces};
use super::report::ServerReport;
use super::streaming::ServerCalls;
use super::wire_index::WireIndex;
use crate::config::ServerConfig;
use crate::connection::link::{Link, Overdue};
use crate::connection::operation::{StreamEvent, StreamOp};
use crate::endpoint::{Offence, StreamTimer};
use crate::error::Status;
use crate::time::{Timestamp, earliest};
use crate::wire::compress::Payload;
use crate::wire::{Buffers, Features, Flags, Format, FrameError, Kind, Settings};

/// How many bytes of answers wait to be written on a stream before no further requests are read from
/// it: a peer that does not read its answers gets no more of them.
const OUTBOX_HIGH: usize = 256 * 1024;
/// A stream without requests keeps room for this many.
const KEPT_CALLS: usize = 64;

/// The wire machine of one stream that a peer opened.
///
/// It reads requests and frames the answers. It borrows nothing of the server: it tells
/// [`Admission`](crate::endpoint::Admission) what happens and asks it whether a request may begin, in
/// [reports](Self::take_report), and goes on with other things until the
/// [verdict](Self::handle_verdict) comes, at once or later. Every [`ServerStreamEvent::Request`] is to
/// be ended by exactly one [`respond`](Self::respond) or [`abandoned`](Self::abandoned), whatever
/// became of the stream meanwhile.
///
/// Requests are looked at when [`poll_event`](Self::poll_event) asks for one and not before, and one
/// waits for a place at a time. The question says how many have arrived behind it, up to as many as
/// are at work, and these get their places with it. What is answered at once never counts as more than
/// one at work. After every input and verdict, call `poll_event` until it has nothing, then
/// [`poll_op`](Self::poll_op).
#[derive(Debug)]
pub struct ServerStream {
    pub(super) link: Link,
    pub(super) max_body: usize,
    pub(super) max_in_flight: usize,
    pub(super) max_calls: usize,
    /// Those that it has of its connection's calls.
    pub(super) call_places: TakenPlaces,
    pub(super) max_call_memory: usize,
    cleanup_interval: Duration,
    pub(super) peer: Settings,
    pub(super) calls: Slab<Call>,
    pub(super) by_wire_id: WireIndex,
    pub(super) seq: u64,
    /// The highest request id seen; 1 on the plain format once a request has come.
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
    pub(super) batch: BatchSize,
    /// Answers that wait for room.
    pub(super) answers: VecDeque<Answering>,
    pub(super) exchange: Exchange,
    /// Nobody serves what it was opened for.
    pub(super) refused: bool,
    /// What its requests are answered with, if a rule of the application's does not allow them.
    pub(super) denied: Option<Status>,
    /// The longest time that a handler may work.
    pub(super) handler_time: Option<Duration>,
    /// It was reset because of a message in another format.
    other_format: bool,
    /// The peer will send no more; what it has sent may still wait to be looked at.
    pub(super) finished: bool,
    /// Nothing of what the peer sends is looked at any more.
    pub(super) read_closed: bool,
    /// Requests whose handlers are to be told to stop.
    pub(super) abandons: VecDeque<CallId>,
    pub(super) streaming: Option<Box<ServerCalls>>,
}

/// What a server understands beside requests.
fn features(config: &ServerConfig) -> Features {
    match config.max_calls {
        0 => Features::METHODS,
        _ => Features::CALLS | Features::METHODS,
    }
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
    /// A stream that a peer opened. The verdict on its
    /// [opening](crate::endpoint::Admission::open) goes to [`handle_verdict`](Self::handle_verdict):
    /// a stream that is not served says so as far as its format can, and closes.
    #[must_use]
    pub fn new(format: Format, config: &ServerConfig, now: Timestamp) -> Self {
        let max_body = config.max_block_size;
        let (read, write) = (config.read_timeout, config.write_timeout);
        let mut link = Link::new(format, max_body, config.buffer_pool_size, read, write, now);
        let mut peer = Settings { max_body: u32::MAX, max_in_flight: 1, ..Settings::ASSUMED };
        if format == Format::Native {
            peer = Settings::ASSUMED;
            link.outbox.settings(Settings {
                max_body: max_body as u32,
                max_in_flight: config.max_in_flight as u32,
                max_calls: config.max_calls as u32,
                features: features(config),
            });
        }
        Self {
            link,
            max_body,
            max_in_flight: config.max_in_flight,
            max_calls: config.max_calls,
            call_places: TakenPlaces::default(),
            max_call_memory: config.max_memory_per_stream() / 2,
            cleanup_interval: config.cleanup_interval,
            peer,
            calls: Slab::new(),
            by_wire_id: WireIndex::default(),
            seq: 0,
            last_id: 0,
            arrived: now,
            work: 0,
            told_load: None,
            due: None,
            idle_due: Some(now + config.read_timeout),
            draining: false,
            other_format: false,
            batch: BatchSize::new(),
            answers: VecDeque::new(),
            exchange: Exchange::new(now),
            refused: false,
            denied: None,
            handler_time: config.max_handler_time(),
            finished: false,
            read_closed: false,
            abandons: VecDeque::new(),
            streaming: None,
        }
    }

    /// The same stream with the buffers of bodies larger than 64 KiB from there instead of new ones.
    #[must_use]
    pub fn with_buffers(mut self, buffers: Arc<dyn Buffers>) -> Self {
        self.link = self.link.with_buffers(buffers);
        self
    }

    /// The same stream, of whose requests the first is answered with this status before its body has
    /// come, if the format can say so; then it ends. For a peer that the application does not serve.
    #[must_use]
    pub fn with_denial(mut self, status: Status) -> Self {
        match self.link.format {
            Format::Native => self.denied = Some(status),
            Format::Plain => {
                self.refused = true;
                self.drain(self.link.now);
            }
        }
        self
    }

    /// The same stream, whose calls have places among those of its connection. What comes beyond is
    /// answered [`StatusCode::Busy`](crate::StatusCode::Busy).
    #[must_use]
    pub fn with_call_places(mut self, places: CallPlaces) -> Self {
        self.call_places = TakenPlaces::of(places);
        self
    }

    /// Whether answers may be compressed on this stream.
    #[must_use]
    pub fn compresses(&self) -> bool {
        self.link.format == Format::Native
    }

    /// Takes in what happened on the stream.
    pub fn handle(&mut self, event: StreamEvent, now: Timestamp) {
        self.link.advance_clock(now);
        match event {
            StreamEvent::Received(_) | StreamEvent::Filled(_) if !self.is_listening() => {}
            StreamEvent::Received(data) => {
                self.arrived = self.link.now;
                self.link.decoder.push(data);
                self.exchange.active = self.link.now;
            }
            StreamEvent::Filled(n) => {
                self.arrived = self.link.now;
                self.link.decoder.filled(n);
                self.exchange.active = self.link.now;
            }
            StreamEvent::Written => {
                self.link.on_written();
                self.exchange.active = self.link.now;
            }
            StreamEvent::Finished => self.finished = true,
            StreamEvent::Failed(_) => {
                self.link.gone();
                self.lose_all();
            }
        }
        self.settle();
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.link.advance_clock(now);
        let now = self.link.now;
        if let Some(overdue) = self.link.overdue(now) {
            self.other_format = matches!(overdue, Overdue::OtherFormat);
            let (timer, time) = match overdue {
                Overdue::Write(time) => (StreamTimer::Write, time),
                Overdue::Message(time) => (StreamTimer::Message, time),
                Overdue::OtherFormat => (StreamTimer::OtherFormat, Duration::ZERO),
            };
            let waiting = self.held().saturating_sub(self.work + self.unstalled_for_calls());
            self.exchange.events.timed_out(timer, waiting, time);
            self.reset();
            return;
        }
        if self.idle_due().is_some_and(|due| due <= now) {
            let timer = if self.is_unused() { StreamTimer::FirstByte } else { StreamTimer::Idle };
            self.exchange.events.timed_out(timer, 0, Duration::ZERO);
            self.drain(now);
        }
        if self.due.is_some_and(|due| due <= now) {
            self.expire(now);
        }
        self.expire_calls(now);
        self.settle();
    }

    /// Takes no further requests, finishes those at work, then closes the stream. Tells the peer
    /// which requests it will not look at, if the format can.
    pub fn drain(&mut self, now: Timestamp) {
        self.link.advance_clock(now);
        if !self.draining && self.link.is_open() {
            self.draining = true;
            self.drain_calls();
            match self.link.format {
                Format::Native => {
                    let id = self.last_id;
                    let none = bytes::Bytes::new();
                    self.link.outbox.native(Kind::Drain, Flags::default(), id, none, |_| {});
                }
                // The client may be writing a request, and read only then. The end of our half
                // would not stop it. It has its answers already, or there were none.
                Format::Plain if self.is_busy() => {}
                Format::Plain if self.seq == 0 || self.is_arriving() => self.link.reset(),
                Format::Plain => {}
            }
        }
        self.settle();
    }

    /// Aborts the stream; its handlers are to be stopped.
    pub fn reset(&mut self) {
        self.link.reset();
        self.abandon_all();
        self.settle();
    }

    /// The last report, for [`Admission::close`](crate::endpoint::Admission::close): to be taken once,
    /// when the stream [ended](Self::is_ended) or is given up. Requests at work give back their
    /// places; their handlers have been stopped.
    pub fn close(&mut self, now: Timestamp) -> ServerReport {
        self.link.advance_clock(now);
        self.link.gone();
        self.release_all();
        if self.is_unused() && !self.refused {
            self.exchange.events.offence(Offence::EmptyStream);
        }
        self.last_report()
    }

    /// The next operation on the stream.
    pub fn poll_op(&mut self) -> Option<StreamOp> {
        self.fill_calls();
        let op = self.link.poll_op()?;
        self.batch.written();
        Some(op)
    }

    /// Whether [`poll_event`](Self::poll_event) is to be called: it has an event, or something
    /// to look at.
    #[must_use]
    pub fn has_event(&self) -> bool {
        let exchange = &self.exchange;
        let news = exchange.granted.is_some() || self.link.decoder.has_input() || self.finished;
        let looks =
            news && self.is_listening() && !self.is_paused() && !exchange.is_waiting_for_verdict();
        let begins = exchange.places > 0 && exchange.waiting.is_some();
        !self.abandons.is_empty() || (begins || looks) && !self.is_due_to_write()
    }

    /// The next event for whoever runs the handlers. Looks at what has come, as far as that takes;
    /// not while a few answers wait for [`poll_op`](Self::poll_op), so that the peer goes on with
    /// those while the others are made.
    pub fn poll_event(&mut self, now: Timestamp) -> Option<ServerStreamEvent> {
        self.link.advance_clock(now);
        let abandon = self.abandons.pop_front().map(|call| ServerStreamEvent::Abandon { call });
        let (waits, writes) = (self.exchange.waiting.is_some(), self.is_due_to_write());
        let event = match abandon {
            None if writes => None,
            None if waits => self.begin_waiting(),
            None => self.take_frames(),
            abandon => abandon,
        };
        if event.is_none() && !self.exchange.is_waiting_for_verdict() {
            if !writes {
                self.give_back_places();
            }
            if !self.link.decoder.has_input() {
                self.batch.end_batch();
            }
        }
        self.settle();
        event
    }

    /// When [`handle_timeout`](Self::handle_timeout) must be called at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let calls = self.streaming.as_ref().and_then(|streaming| streaming.table.next_deadline());
        let own = earliest(earliest(self.link.next_deadline(), self.due), self.idle_due());
        earliest(own, calls)
    }

    /// Whether bytes of the stream are wanted now. They are not before those that came were
    /// looked at, while a plain request is at work, or while too many answers wait to be written.
    #[must_use]
    pub fn wants_read(&self) -> bool {
        let done = !self.link.decoder.has_input() && !self.finished;
        let waits = self.exchange.is_waiting_for_verdict();
        done && self.is_listening() && !self.is_paused() && !waits
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
        self.link.is_ended() && !self.is_busy()
    }

    /// Bytes held for incomplete requests and unwritten answers, and those not looked at.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.link.decoder.buffered() + self.link.outbox.len()
    }

    /// When bytes last came or left, or a handler ended.
    pub(crate) fn last_active(&self) -> Timestamp {
        self.exchange.active
    }

    /// Bytes held as admission control counts them.
    #[inline]
    pub(super) fn held(&self) -> usize {
        self.link.decoder.incomplete() + self.held_elsewhere()
    }

    /// The same without what the decoder holds.
    #[inline]
    pub(super) fn held_elsewhere(&self) -> usize {
        self.work + self.link.unwritten() + self.held_for_calls()
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
        self.link.is_open() && !self.read_closed
    }

    pub(super) fn is_paused(&self) -> bool {
        match self.link.format {
            Format::Plain => self.is_busy() || self.draining,
            Format::Native => self.link.outbox.len() > OUTBOX_HIGH,
        }
    }

    /// Whether enough answers wait, and nothing keeps them from being written.
    fn is_due_to_write(&self) -> bool {
        self.batch.is_full() && self.link.can_write()
    }

    /// Whether a request is at work or waits for a place, or an answer waits for room.
    pub(super) fn is_busy(&self) -> bool {
        !self.calls.is_empty()
            || self.exchange.waiting.is_some()
            || !self.answers.is_empty()
            || self.has_calls()
    }

    /// Closes the stream when nothing is left to do on it, or starts the idle timer; drops what
    /// is not needed any more.
    #[inline]
    pub(super) fn settle(&mut self) {
        if self.streaming.is_some() {
            self.note_calls();
        }
        if self.link.is_open() && !self.is_busy() {
            if self.draining || self.read_closed {
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
            self.exchange.want_nothing();
        }
    }

    /// Whether it has answered what it was asked, and nothing is on its way.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        let at_rest = !self.is_busy() && self.link.unwritten() == 0 && !self.is_arriving();
        at_rest && !self.is_unused() && !self.finished && !self.draining && self.is_listening()
    }

    /// Whether no request has come.
    fn is_unused(&self) -> bool {
        self.seq == 0 && self.last_id == 0 && self.exchange.waiting.is_none()
    }
}
