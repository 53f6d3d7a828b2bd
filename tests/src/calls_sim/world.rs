//! Two tables of calls and what lies between them.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use pointsub_core::connection::{
    CallError, CallEvent, CallKey, CallLimits, CallMessage, CallOpening, CallStart, CallStop, Calls,
};
use pointsub_core::wire::{CallRequest, Decoder, Flags, Frame, Kind, Outbox};
use pointsub_core::{Body, Cause, Format, Metadata, Payload, Status, StatusCode, Timestamp};

use super::app::{App, ClientState, From, ServerState, message};
use super::check::{self, Ledger};
use super::plan::{CallPlan, HEALED, MAX_MESSAGE, Plan};
use super::{Met, Planted};
use crate::sim::Rng;

/// Whoever has not ended by then never does.
const END: u64 = 8000;
/// So much of messages goes into one write.
const FILL: usize = 64 * 1024;

/// One end of the stream.
#[derive(Debug)]
struct Side {
    calls: Calls,
    outbox: Outbox,
    /// What comes.
    decoder: Decoder,
    /// What goes, looked at from outside.
    tap: Decoder,
    ledger: Ledger,
    /// What is under way to the other end, and when it is there.
    pipe: VecDeque<(u64, Bytes)>,
    /// Frames that a planted fault keeps back.
    kept: Vec<Frame>,
}

impl Side {
    fn new(calls: Calls) -> Self {
        Self {
            calls,
            outbox: Outbox::new(0),
            decoder: Decoder::new(Format::Native, MAX_MESSAGE),
            tap: Decoder::new(Format::Native, MAX_MESSAGE),
            ledger: Ledger::default(),
            pipe: VecDeque::new(),
            kept: Vec::new(),
        }
    }

    fn under_way(&self) -> usize {
        self.pipe.iter().map(|(_, bytes)| bytes.len()).sum()
    }
}

#[derive(Debug)]
pub(super) struct World {
    plan: Plan,
    rng: Rng,
    now: u64,
    client: Side,
    server: Side,
    apps: Vec<App>,
    planted: Option<Planted>,
    /// How often the planted fault could have been made.
    chances: u64,
    met: Met,
}

/// The id of a call.
const fn key(call: usize) -> CallKey {
    CallKey(call as u64 + 1)
}

const fn number(key: CallKey) -> usize {
    key.0 as usize - 1
}

pub(super) fn payload(bytes: Bytes) -> Payload {
    Body::uncompressed(bytes).into()
}

impl World {
    pub(super) fn new(seed: u64, planted: Option<Planted>) -> Self {
        let mut plan = Plan::of_seed(seed);
        plan.calls.sort_by_key(|call| call.at);
        let limits = CallLimits {
            max_calls: plan.max_calls,
            max_message: MAX_MESSAGE,
            max_memory: plan.memory,
            answer_within: Duration::from_secs(10),
        };
        let apps = plan.calls.iter().map(|_| App::default()).collect();
        Self {
            plan,
            rng: Rng::of(seed, &[0x776f_726c]),
            now: 0,
            client: Side::new(Calls::client(limits, Timestamp::ZERO)),
            server: Side::new(Calls::server(limits, Timestamp::ZERO)),
            apps,
            planted,
            chances: 0,
            met: Met::default(),
        }
    }

    pub(super) fn live(&mut self) -> Result<Met, String> {
        while self.now < END {
            self.now += 1;
            self.tick()?;
            if self.now > HEALED && self.is_over() {
                break;
            }
        }
        self.check_end()?;
        Ok(self.met)
    }

    fn time(&self) -> Timestamp {
        Timestamp::ZERO + Duration::from_millis(self.now)
    }

    fn is_over(&self) -> bool {
        let quiet = |side: &Side| {
            side.pipe.is_empty()
                && side.outbox.is_empty()
                && !side.calls.wants_write()
                && side.calls.is_empty()
        };
        quiet(&self.client) && quiet(&self.server) && self.apps.iter().all(App::is_over)
    }

    fn check_end(&self) -> Result<(), String> {
        for (call, app) in self.apps.iter().enumerate() {
            if !app.is_over() {
                return Err(format!("call {call} has not ended: {app:?}"));
            }
            check::ended(call, app)?;
        }
        for (name, side) in [("client", &self.client), ("server", &self.server)] {
            let (len, reserved) = (side.calls.len(), side.calls.reserved());
            if len > 0 || reserved > 0 || side.calls.next_deadline().is_some() {
                return Err(format!("the {name} is left with {len} calls and {reserved} bytes"));
            }
        }
        Ok(())
    }

    fn tick(&mut self) -> Result<(), String> {
        let now = self.time();
        for side in [&mut self.client, &mut self.server] {
            side.calls.handle_timeout(now).map_err(|_| "an end is not confirmed".to_owned())?;
        }
        self.deliver(From::Client)?;
        self.deliver(From::Server)?;
        self.events()?;
        for call in 0..self.apps.len() {
            self.client_turn(call)?;
            self.server_turn(call)?;
            check::cancelled(&self.apps[call], self.now, self.plan.latency)?;
        }
        self.write(From::Client)?;
        self.write(From::Server)?;
        self.events()?;
        self.check_memory()
    }

    fn check_memory(&self) -> Result<(), String> {
        let floor = 8192 * self.apps.len() + MAX_MESSAGE;
        for side in [&self.client, &self.server] {
            let reserved = side.calls.reserved();
            if reserved > self.plan.memory + floor {
                return Err(format!("{reserved} bytes are reserved"));
            }
        }
        Ok(())
    }

    /// Writes what can be written.
    fn write(&mut self, from: From) -> Result<(), String> {
        let arrives = self.now + self.plan.latency;
        let behind = self.planted == Some(Planted::CancelBehindData);
        let side = if from == From::Client { &mut self.client } else { &mut self.server };
        while side.under_way() < self.plan.pipe {
            if side.outbox.is_empty() {
                side.calls.fill(&mut side.outbox, FILL);
            }
            let Some(bytes) = side.outbox.next_write() else { break };
            side.tap.push(bytes.clone());
            while let Some(frame) = side.tap.next_frame().map_err(|error| error.to_string())? {
                side.ledger.sent(&frame)?;
                if behind && frame.header.kind == Some(Kind::Cancel) {
                    side.kept.push(frame);
                }
            }
            side.pipe.push_back((arrives, bytes));
        }
        Ok(())
    }

    /// Hands over what has arrived.
    fn deliver(&mut self, from: From) -> Result<(), String> {
        let now = self.now;
        let (sender, receiver) = match from {
            From::Client => (&mut self.client, &mut self.server),
            From::Server => (&mut self.server, &mut self.client),
        };
        let mut frames = Vec::new();
        while sender.pipe.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, mut bytes)) = sender.pipe.pop_front() else { break };
            while !bytes.is_empty() {
                let len = 1 + self.rng.below(bytes.len() as u64) as usize;
                receiver.decoder.push(bytes.split_to(len));
                while let Some(frame) =
                    receiver.decoder.next_frame().map_err(|error| error.to_string())?
                {
                    frames.push(frame);
                }
            }
        }
        self.spoil(from, &mut frames);
        for frame in frames {
            let side = if from == From::Client { &mut self.server } else { &mut self.client };
            side.ledger.received(&frame);
            if frame.header.kind == Some(Kind::Request) {
                self.take_request(frame)?;
            } else {
                let now = Timestamp::ZERO + Duration::from_millis(now);
                side.calls.handle(frame, now).map_err(|error| error.to_string())?;
                self.events()?;
            }
        }
        Ok(())
    }

    /// Whether the planted fault is made now.
    fn plants(&mut self, fault: Planted) -> bool {
        let chance = self.planted == Some(fault);
        self.chances += u64::from(chance);
        chance && self.chances % 7 == 3
    }

    /// Makes a planted fault in what is under way.
    fn spoil(&mut self, from: From, frames: &mut Vec<Frame>) {
        let Some(planted) = self.planted else { return };
        let (kind, what) = match planted {
            Planted::DataLost => (Kind::Data, 0),
            Planted::DataTwice => (Kind::Data, 1),
            Planted::DataSwapped => (Kind::Data, 2),
            Planted::FinishLost => (Kind::Finish, 0),
            Planted::CreditLost => (Kind::Credit, 0),
            Planted::AnswerFirst => (Kind::Response, 2),
            Planted::AnswerTwice => (Kind::Response, 1),
            Planted::CancelLost => (Kind::Cancel, 0),
            Planted::CancelBehindData => return self.hold_back(from, frames),
            _ => return,
        };
        let mut at = 0;
        while at < frames.len() {
            if frames[at].header.kind == Some(kind) && self.plants(planted) {
                match what {
                    0 => drop(frames.remove(at)),
                    1 => {
                        frames.insert(at, frames[at].clone());
                        at += 1;
                    }
                    _ => {
                        let id = frames[at].header.id;
                        let before = frames[..at].iter().rposition(|other| other.header.id == id);
                        if let Some(before) = before {
                            frames.swap(before, at);
                        }
                    }
                }
            }
            at += 1;
        }
    }

    /// Keeps cancellations back while there are messages.
    fn hold_back(&mut self, from: From, frames: &mut Vec<Frame>) {
        if from == From::Server {
            return;
        }
        let busy = frames.iter().any(|frame| frame.header.kind == Some(Kind::Data));
        let busy = busy || !self.client.pipe.is_empty();
        frames.retain(|frame| frame.header.kind != Some(Kind::Cancel));
        if !busy {
            frames.append(&mut self.client.kept);
        }
    }

    fn take_request(&mut self, frame: Frame) -> Result<(), String> {
        let (now, key) = (self.time(), CallKey(frame.header.id));
        let call = number(key);
        let argument = frame.body.clone();
        let request = self.server.calls.read(frame).map_err(|error| error.to_string())?;
        self.server.calls.saw(key.0);
        let app = &mut self.apps[call];
        let plan = &self.plan.calls[call];
        let request = match request {
            Ok(request) => request,
            Err(status) => {
                refuse(&mut self.server.outbox, key, &status);
                app.at_server = ServerState::Done;
                return Ok(());
            }
        };
        if argument != message(call, From::Client, 1000, plan.argument) {
            return Err(format!("call {call} has another argument"));
        }
        let CallRequest { credit, silent, timeout, .. } = request;
        let deadline = timeout.map(|ms| now + Duration::from_millis(u64::from(ms)));
        let window = plan.server_window;
        let start = CallStart { window, credit, silent, deadline, idle: plan.idle, kept: 0 };
        self.server.calls.begin(key, start, now).map_err(|error| error.to_string())?;
        (app.at_server, app.begun) = (ServerState::Working, self.now);
        app.server.peer_finished = silent;
        Ok(())
    }

    /// What the machines say to their applications.
    fn events(&mut self) -> Result<(), String> {
        while let Some((key, event)) = self.client.calls.poll_event() {
            self.client_event(number(key), event)?;
        }
        while let Some((key, event)) = self.server.calls.poll_event() {
            self.server_event(number(key), event)?;
        }
        Ok(())
    }

    fn client_event(&mut self, call: usize, event: CallEvent) -> Result<(), String> {
        let (app, plan) = (&mut self.apps[call], &self.plan.calls[call]);
        if app.at_client != ClientState::Open {
            return Err(format!("call {call}, which is {:?}, hears {event:?}", app.at_client));
        }
        match event {
            CallEvent::Accepted { .. } if app.accepted => {
                return Err(format!("call {call} is accepted twice"));
            }
            CallEvent::Accepted { .. } => app.accepted = true,
            CallEvent::Message(message) => {
                app.client.inbox.push_back(message);
                check::arrived(&app.client, plan.client_window, MAX_MESSAGE)?;
            }
            CallEvent::Credit(_) | CallEvent::Draining => {}
            CallEvent::Finished => app.client.peer_finished = true,
            CallEvent::Ended(end) => {
                match &end.outcome {
                    Ok(_) => self.met.ok += 1,
                    Err((Cause::Deadline | Cause::TimedOut(_), _)) => self.met.expired += 1,
                    Err((Cause::Violation(_), _)) => self.met.refused += 1,
                    Err(_) => self.met.failed += 1,
                }
                app.at_client = ClientState::Ended(Box::new(end));
            }
            _ => return Err(format!("the client of call {call} hears what is for handlers")),
        }
        Ok(())
    }

    fn server_event(&mut self, call: usize, event: CallEvent) -> Result<(), String> {
        let now = self.now;
        let (app, plan) = (&mut self.apps[call], &self.plan.calls[call]);
        if app.at_server != ServerState::Working {
            return Err(format!("handler {call}, which is {:?}, hears {event:?}", app.at_server));
        }
        match event {
            CallEvent::Message(message) => {
                app.server.inbox.push_back(message);
                check::arrived(&app.server, plan.server_window, MAX_MESSAGE)?;
            }
            CallEvent::Credit(_) | CallEvent::Draining => {}
            CallEvent::Finished => app.server.peer_finished = true,
            CallEvent::Stopped(why) => {
                if why == CallStop::Cancelled && app.cancelled.is_some() {
                    self.met.cancelled += 1;
                }
                if let CallStop::Refused(_) = why {
                    self.met.refused += 1;
                }
                app.at_server = ServerState::Stopping(now);
            }
            _ => return Err(format!("handler {call} hears what is for clients")),
        }
        Ok(())
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.now > HEALED || self.rng.chance(percent)
    }

    fn client_turn(&mut self, call: usize) -> Result<(), String> {
        let (now, plan) = (self.time(), self.plan.calls[call].clone());
        match self.apps[call].at_client {
            ClientState::Unopened if self.now >= plan.at => self.open(call, &plan),
            ClientState::Open => {
                let due = self.apps[call].opened + plan.cancel.unwrap_or(u64::MAX / 2);
                if self.now >= due {
                    self.client.calls.cancel(key(call), now);
                    let app = &mut self.apps[call];
                    (app.at_client, app.cancelled) = (ClientState::Cancelled, Some(self.now));
                    return Ok(());
                }
                self.send(call, From::Client, &plan);
                self.read(call, From::Client, &plan)
            }
            // What has come before the end is read all the same.
            ClientState::Ended(_) => self.read(call, From::Client, &plan),
            _ => Ok(()),
        }
    }

    fn open(&mut self, call: usize, plan: &CallPlan) -> Result<(), String> {
        let now = self.time();
        let request = CallRequest {
            argument: payload(message(call, From::Client, 1000, plan.argument)),
            credit: plan.client_window,
            silent: plan.silent,
            ..CallRequest::default()
        };
        let deadline = plan.deadline.map(|ms| now + Duration::from_millis(ms));
        let opening = CallOpening { request, deadline, idle: plan.idle };
        let app = &mut self.apps[call];
        app.opened = self.now;
        app.client.finished = plan.silent;
        match self.client.calls.open(key(call), opening, now) {
            Ok(()) => app.at_client = ClientState::Open,
            Err(CallError::TooManyCalls { .. }) => {
                (app.at_client, app.at_server) = (ClientState::Refused, ServerState::Done);
            }
            Err(error) => return Err(error.to_string()),
        }
        Ok(())
    }

    /// Sends what there is credit for, at most a few messages.
    fn send(&mut self, call: usize, from: From, plan: &CallPlan) {
        if !self.chance(plan.writes) {
            return;
        }
        let now = self.time();
        let lengths = if from == From::Client { &plan.to_server } else { &plan.to_client };
        for _ in 0..10 {
            let app = &mut self.apps[call];
            let (half, calls) = match from {
                From::Client => (&mut app.client, &mut self.client.calls),
                From::Server => (&mut app.server, &mut self.server.calls),
            };
            if half.finished {
                return;
            }
            let Some(len) = lengths.get(half.sent) else {
                // A handler that is done may say so, or just end.
                if from == From::Client || call.is_multiple_of(2) {
                    half.finished = calls.finish(key(call), now).is_ok();
                }
                return;
            };
            let bytes = message(call, from, half.sent, *len);
            match calls.send(key(call), CallMessage::from(bytes), now) {
                Ok(()) => half.sent += 1,
                Err(_) => {
                    self.met.waited += 1;
                    return;
                }
            }
        }
    }

    /// Reads some of what has come.
    fn read(&mut self, call: usize, to: From, plan: &CallPlan) -> Result<(), String> {
        if !self.chance(plan.reads) {
            return Ok(());
        }
        let now = self.time();
        loop {
            let (from, lengths) = match to {
                From::Client => (From::Server, &plan.to_client),
                From::Server => (From::Client, &plan.to_server),
            };
            let app = &mut self.apps[call];
            let half = if to == From::Client { &mut app.client } else { &mut app.server };
            let Some(message) = half.inbox.pop_front() else { return Ok(()) };
            let cost = message.cost();
            check::taken(call, from, half, lengths, message)?;
            half.taken += 1;
            self.met.messages += 1;
            self.met.long += u64::from(cost.bytes > 32 * 1024);
            let never = self.plants(Planted::TakenNever);
            let twice = self.plants(Planted::TakenTwice);
            let times = if never { 0 } else { 1 + usize::from(twice) };
            let side = if to == From::Client { &mut self.client } else { &mut self.server };
            for _ in 0..times {
                side.calls.taken(key(call), cost, now);
            }
            if !self.chance(plan.reads) {
                return Ok(());
            }
        }
    }

    fn server_turn(&mut self, call: usize) -> Result<(), String> {
        let (now, plan) = (self.time(), self.plan.calls[call].clone());
        match self.apps[call].at_server {
            ServerState::Working => self.handler_turn(call, &plan),
            ServerState::Stopping(since) if self.now >= since + plan.sluggish => {
                self.apps[call].at_server = ServerState::Done;
                if !self.plants(Planted::StopUnsaid) {
                    let status = Status::new(StatusCode::Internal, "");
                    self.server.calls.respond(key(call), Err(status), Metadata::new(), now);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn handler_turn(&mut self, call: usize, plan: &CallPlan) -> Result<(), String> {
        let now = self.time();
        if self.server.calls.is_opening(key(call)) {
            if self.now < self.apps[call].begun + plan.sluggish {
                return Ok(());
            }
            if !call.is_multiple_of(3) || plan.to_client.is_empty() {
                let accepted = self.server.calls.accept(key(call), Metadata::new(), None, now);
                accepted.map_err(|error| error.to_string())?;
            }
        }
        self.send(call, From::Server, plan);
        self.read(call, From::Server, plan)?;
        let app = &mut self.apps[call];
        let sent = app.server.sent == plan.to_client.len();
        let read = app.server.peer_finished && app.server.inbox.is_empty();
        if sent && (read || plan.early) {
            if read && !plan.early && app.server.taken != app.client.sent {
                return Err(format!("handler {call} has not got all messages: {app:?}"));
            }
            let outcome = match plan.fails {
                true => Err(Status::new(StatusCode::Application(7), "as planned")),
                false => Ok(payload(Bytes::from_static(b"done"))),
            };
            app.succeeded = Some(!plan.fails);
            app.at_server = ServerState::Done;
            self.server.calls.respond(key(call), outcome, Metadata::new(), now);
        }
        Ok(())
    }
}

/// Answers a call that is not let in.
fn refuse(outbox: &mut Outbox, key: CallKey, status: &Status) {
    let code = match status.code {
        StatusCode::Busy => 3,
        _ => 9,
    };
    outbox.native(Kind::Response, Flags::UNPROCESSED, key.0, Bytes::new(), |head| {
        head.u8(pointsub_core::wire::tag::STATUS, code);
    });
}

impl App {
    /// Whether both ends are done with it.
    pub(super) fn is_over(&self) -> bool {
        let client = match self.at_client {
            ClientState::Unopened | ClientState::Open => false,
            ClientState::Refused | ClientState::Cancelled => true,
            ClientState::Ended(_) => self.client.inbox.is_empty(),
        };
        let server = matches!(self.at_server, ServerState::Unseen | ServerState::Done);
        client && server
    }
}
