//! One opening of a call: a stream to a server, and the handler behind it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pointsub_core::connection::{
    CallEvent, CallKey, CallLimits, CallMessage, CallOpening, CallStart, Calls,
};
use pointsub_core::wire::{CallRequest, Credit, Decoder, Flags, Kind, Outbox, tag};
use pointsub_core::{
    Cause, Delivery, Format, Metadata, Phase, RequestError, Status, StatusCode, Timestamp,
};

use super::super::app::{From, message};
use super::super::plan::MAX_MESSAGE;
use super::plan::Plan;

const KEY: CallKey = CallKey(1);
const FILL: usize = 64 * 1024;
const LIMITS: CallLimits = CallLimits {
    max_calls: 4,
    max_message: MAX_MESSAGE,
    max_memory: 1024 * 1024,
    answer_within: Duration::from_secs(60),
};

/// Bytes that go one way.
#[derive(Debug)]
struct End {
    calls: Calls,
    decoder: Decoder,
    /// What is under way from here, and when it is there.
    pipe: VecDeque<(u64, Bytes)>,
}

impl End {
    fn new(calls: Calls) -> Self {
        Self { calls, decoder: Decoder::new(Format::Native, MAX_MESSAGE), pipe: VecDeque::new() }
    }

    fn write(&mut self, there: u64) {
        let mut outbox = Outbox::new(0);
        self.calls.fill(&mut outbox, FILL);
        self.pipe.extend(std::iter::from_fn(|| outbox.next_write()).map(|bytes| (there, bytes)));
    }
}

/// A stream with one call.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) server: usize,
    latency: u64,
    at_client: End,
    at_server: End,
    /// The message that the handler sends next.
    handler: Option<usize>,
    /// When it has its result.
    result: Option<u64>,
    /// What has come and was not taken.
    pub(super) inbox: VecDeque<CallMessage>,
    pub(super) accepted: bool,
    pub(super) draining: bool,
    /// The server has said that no more messages come.
    pub(super) finished: bool,
    pub(super) ended: Option<Result<(), RequestError>>,
}

/// What a server does with a call that comes.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Welcome {
    Accepts,
    Refuses(StatusCode),
    /// It is not there.
    Down,
}

fn time(now: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_millis(now)
}

fn error(cause: Cause, delivery: Delivery) -> RequestError {
    RequestError::new(cause, Phase::Answer, delivery)
}

/// A cursor: how many messages lie before.
pub(super) fn cursor(position: usize) -> Bytes {
    position.to_string().into()
}

pub(super) fn position(cursor: &[u8]) -> Result<usize, String> {
    let text = std::str::from_utf8(cursor).map_err(|error| error.to_string())?;
    text.parse().map_err(|_| format!("{text} is no cursor"))
}

impl Link {
    pub(super) fn open(
        server: usize,
        latency: u64,
        window: Credit,
        resume: Option<Bytes>,
        now: u64,
    ) -> Result<Self, String> {
        let now = time(now);
        let mut calls = Calls::client(LIMITS, now);
        let request =
            CallRequest { credit: window, silent: true, resume, ..CallRequest::default() };
        let opening = CallOpening { request, ..CallOpening::default() };
        calls.open(KEY, opening, now).map_err(|error| error.to_string())?;
        Ok(Self {
            server,
            latency,
            at_client: End::new(calls),
            at_server: End::new(Calls::server(LIMITS, now)),
            handler: None,
            result: None,
            inbox: VecDeque::new(),
            accepted: false,
            draining: false,
            finished: false,
            ended: None,
        })
    }

    /// The connection breaks.
    pub(super) fn cut(&mut self) {
        self.at_client.calls.lose(&Cause::Lost(Arc::from("cut")));
        self.at_server.calls.lose_handlers();
        (self.at_client.pipe, self.at_server.pipe) = (VecDeque::new(), VecDeque::new());
        self.handler = None;
    }

    /// The server is stopping, or there is a better connection to it: both ends hear of that.
    pub(super) fn drain(&mut self, now: u64) {
        self.at_client.calls.retire(time(now));
        self.at_server.calls.drain_handlers(time(now));
    }

    /// The server waits no longer.
    pub(super) fn stop(&mut self, now: u64) {
        self.at_server.calls.stop_all(time(now));
    }

    /// Nobody wants the call any more.
    pub(super) fn cancel(&mut self, now: u64) {
        self.at_client.calls.cancel(KEY, time(now));
        self.inbox.clear();
    }

    pub(super) fn taken(&mut self, message: &CallMessage, now: u64) {
        self.at_client.calls.taken(KEY, message.cost(), time(now));
    }

    /// Whether a handler is at work on it.
    pub(super) const fn works(&self) -> bool {
        self.handler.is_some()
    }

    /// Whether nothing is left of it at either end.
    pub(super) fn is_gone(&self) -> bool {
        let empty = |end: &End| end.calls.is_empty() && end.pipe.is_empty();
        empty(&self.at_client) && empty(&self.at_server)
    }

    pub(super) fn tick(&mut self, plan: &Plan, welcome: Welcome, now: u64) -> Result<(), String> {
        if welcome == Welcome::Down && !self.at_client.calls.is_empty() {
            self.cut();
        }
        self.at_client.write(now + self.latency);
        while let Some(bytes) = arrived(&mut self.at_client.pipe, now) {
            self.at_server.decoder.push(bytes);
            self.serve(welcome, now)?;
        }
        self.handle(plan, now)?;
        self.at_server.write(now + self.latency);
        while let Some(bytes) = arrived(&mut self.at_server.pipe, now) {
            self.at_client.decoder.push(bytes);
            let frame = |end: &mut End| end.decoder.next_frame().map_err(|e| e.to_string());
            while let Some(frame) = frame(&mut self.at_client)? {
                let handled = self.at_client.calls.handle(frame, time(now));
                handled.map_err(|error| error.to_string())?;
            }
        }
        self.hear(welcome)
    }

    fn serve(&mut self, welcome: Welcome, now: u64) -> Result<(), String> {
        let End { calls, decoder, pipe } = &mut self.at_server;
        while let Some(frame) = decoder.next_frame().map_err(|error| error.to_string())? {
            if frame.header.kind != Some(Kind::Request) {
                calls.handle(frame, time(now)).map_err(|error| error.to_string())?;
                continue;
            }
            let request = calls.read(frame).map_err(|error| error.to_string())?;
            let request = request.map_err(|status| status.to_string())?;
            calls.saw(KEY.0);
            if let Welcome::Refuses(code) = welcome {
                let mut outbox = Outbox::new(0);
                outbox.native(Kind::Response, Flags::UNPROCESSED, KEY.0, Bytes::new(), |head| {
                    head.u8(tag::STATUS, if code == StatusCode::Busy { 3 } else { 8 });
                });
                let writes = std::iter::from_fn(|| outbox.next_write());
                pipe.extend(writes.map(|bytes| (now + self.latency, bytes)));
                continue;
            }
            let (credit, silent) = (request.credit, request.silent);
            let start = CallStart { credit, silent, ..CallStart::default() };
            calls.begin(KEY, start, time(now)).map_err(|error| error.to_string())?;
            let accepted = calls.accept(KEY, Metadata::new(), None, time(now));
            accepted.map_err(|error| error.to_string())?;
            self.handler = Some(request.resume.as_deref().map_or(Ok(0), position)?);
        }
        Ok(())
    }

    /// The handler's turn.
    fn handle(&mut self, plan: &Plan, now: u64) -> Result<(), String> {
        let calls = &mut self.at_server.calls;
        while let Some((_, event)) = calls.poll_event() {
            if let CallEvent::Stopped(_) = event {
                self.handler = None;
                let status = Status::new(StatusCode::Internal, "");
                calls.respond(KEY, Err(status), Metadata::new(), time(now));
            }
        }
        let Some(next) = &mut self.handler else { return Ok(()) };
        while *next < plan.messages && now >= plan.pace * *next as u64 {
            let payload = super::super::world::payload(message(0, From::Server, *next, plan.len));
            let has_cursor = (*next + 1).is_multiple_of(plan.every);
            let cursor = has_cursor.then(|| cursor(*next + 1));
            if calls.send(KEY, CallMessage { payload, cursor }, time(now)).is_err() {
                return Ok(());
            }
            *next += 1;
        }
        if *next > plan.messages {
            return Err("a handler was asked to go on behind the end".to_owned());
        }
        if *next < plan.messages {
            return Ok(());
        }
        if self.result.is_none() {
            self.result = Some(now + plan.lingers);
            if plan.lingers > 0 {
                calls.finish(KEY, time(now)).map_err(|error| error.to_string())?;
            }
        }
        if self.result.is_some_and(|due| due <= now) {
            self.handler = None;
            let done = super::super::world::payload(Bytes::from_static(b"done"));
            calls.respond(KEY, Ok(done), Metadata::new(), time(now));
        }
        Ok(())
    }

    /// What the client hears.
    fn hear(&mut self, welcome: Welcome) -> Result<(), String> {
        while let Some((_, event)) = self.at_client.calls.poll_event() {
            match event {
                CallEvent::Accepted { .. } => self.accepted = true,
                CallEvent::Message(message) => self.inbox.push_back(message),
                CallEvent::Draining => self.draining = true,
                CallEvent::Finished => self.finished = true,
                CallEvent::Credit(_) => {}
                CallEvent::Ended(end) => {
                    let outcome = match end.outcome {
                        Ok(_) => Ok(()),
                        Err(_) if welcome == Welcome::Down && !self.accepted => Err(error(
                            Cause::Unreachable(Arc::from("it is down")),
                            Delivery::NotProcessed,
                        )),
                        Err((cause, delivery)) => Err(error(cause, delivery)),
                    };
                    self.ended = Some(outcome);
                }
                _ => return Err("a client hears what is for handlers".to_owned()),
            }
        }
        Ok(())
    }
}

fn arrived(pipe: &mut VecDeque<(u64, Bytes)>, now: u64) -> Option<Bytes> {
    let due = pipe.front().is_some_and(|(there, _)| *there <= now);
    due.then(|| pipe.pop_front()).flatten().map(|(_, bytes)| bytes)
}
