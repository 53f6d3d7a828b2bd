//! The parts of a client with a seam between them.
//!
//! They run as the libp2p half runs them. What the dispatcher wants of a stream, and what a
//! stream reports, waits in a mailbox of that stream before it arrives. Messages of one stream keep
//! their order. Messages of different streams overtake each other, and streams end while messages
//! are under way. A caller with a deadline says itself when that has passed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use pointsub_core::connection::{
    ClientStream, Report, StreamCommand, StreamEvent, StreamOp, batch_size, coalesces,
};
use pointsub_core::endpoint::{Directive, Dispatcher};
use pointsub_core::{
    ClientConfig, ClientEvent, ClientInput, ClientOutput, ClosestId, Format, PeerId, RequestId,
    StreamId, Timestamp,
};

use super::super::Rng;
use super::{Delays, Faults, Mailbox, Plant};
use crate::coverage::Situation;

/// A round of the task that a stream shares with the others of its connection.
const ROUND: Duration = Duration::from_micros(1);

/// A dispatcher and its streams.
#[derive(Debug)]
pub struct Parts {
    pub(in crate::sim) dispatcher: Dispatcher,
    streams: BTreeMap<StreamId, Seat>,
    /// Streams of which the dispatcher hears late: a planted fault.
    late: BTreeMap<StreamId, (Timestamp, Format)>,
    /// When callers stop waiting.
    callers: BTreeSet<(Timestamp, Caller)>,
    outputs: VecDeque<ClientOutput>,
    now: Timestamp,
    ticked: Timestamp,
    drained: bool,
    delays: Delays,
    faults: Faults,
    /// Situations since the world last asked.
    pub(in crate::sim) met: Vec<Situation>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::sim) enum Caller {
    Request(RequestId),
    Closest(ClosestId),
}

/// A stream and what is under way to it and from it.
#[derive(Debug)]
struct Seat {
    machine: ClientStream,
    format: Format,
    commands: Mailbox<StreamCommand>,
    reports: Mailbox<Report>,
}

impl Seat {
    fn new(machine: ClientStream, format: Format) -> Self {
        Self { machine, format, commands: Mailbox::default(), reports: Mailbox::default() }
    }

    fn due(&self) -> Option<Timestamp> {
        let dues = [self.commands.due(), self.reports.due(), self.machine.next_deadline()];
        dues.into_iter().flatten().min()
    }
}

impl Parts {
    pub(in crate::sim) fn new(
        config: ClientConfig,
        local: PeerId,
        seed: u64,
        faults: Faults,
    ) -> Self {
        Self {
            dispatcher: Dispatcher::new(config, Some(local), seed),
            streams: BTreeMap::new(),
            late: BTreeMap::new(),
            callers: BTreeSet::new(),
            outputs: VecDeque::new(),
            now: Timestamp::ZERO,
            ticked: Timestamp::ZERO,
            drained: false,
            delays: Delays::new(Rng::of(seed, &[super::CLIENT, 1])),
            faults,
            met: Vec::new(),
        }
    }

    pub(in crate::sim) fn advance(&mut self, now: Timestamp) -> Timestamp {
        self.now = self.now.max(now);
        self.now
    }

    /// Lets something happen to a stream; what it reports is on its way then.
    fn on_stream(&mut self, id: StreamId, f: impl FnOnce(&mut ClientStream, Timestamp)) {
        let now = self.now;
        let Some(seat) = self.streams.get_mut(&id) else { return };
        f(&mut seat.machine, now);
        let mut reports = Vec::new();
        while let Some(report) = seat.machine.poll_report() {
            reports.push(report);
        }
        for report in reports {
            let last = report == Report::Closed;
            if last && self.strikes(Plant::ClientReportLost) {
                continue;
            }
            if !last && self.strikes(Plant::ClientReleaseTwice) {
                self.send_report(id, report.clone());
            }
            self.send_report(id, report);
        }
    }

    fn strikes(&mut self, plant: Plant) -> bool {
        self.faults.strike(plant, &mut self.delays.rng)
    }

    fn send_report(&mut self, id: StreamId, report: Report) {
        let arrives = self.delays.arrival(self.now);
        if let Some(seat) = self.streams.get_mut(&id) {
            seat.reports.push(arrives, report);
        }
    }

    fn command(&mut self, id: StreamId, command: StreamCommand) {
        let mut arrives = self.delays.arrival(self.now);
        let in_flight = self.streams.values().map(|seat| seat.machine.in_flight()).sum();
        let first = self.streams.get(&id).filter(|seat| seat.commands.is_empty());
        if first.is_some_and(|seat| coalesces(seat.format, in_flight, false)) {
            self.met.push(Situation::Coalesced);
            arrives = arrives.max(self.now + ROUND);
        }
        if let Some(seat) = self.streams.get_mut(&id) {
            seat.commands.push(arrives, command);
        }
    }

    fn opened(&mut self, id: StreamId, format: Format) {
        let machine = ClientStream::new(format, self.dispatcher.config(), self.now);
        self.streams.insert(id, Seat::new(machine, format));
        if self.strikes(Plant::ClientReportBeforeOpen) {
            let heard = self.now + Duration::from_millis(20);
            self.late.insert(id, (heard, format));
        } else {
            self.hear_of_open(id, format);
        }
    }

    fn hear_of_open(&mut self, id: StreamId, format: Format) {
        if !self.dispatcher.opened(id, format, self.now) {
            self.streams.remove(&id);
            self.outputs.push_back(ClientOutput::Stream(id, StreamOp::Reset));
        }
    }

    /// Lets one message arrive, or one thing happen that is due; whether there was any.
    fn step(&mut self) -> bool {
        while let Some(directive) = self.dispatcher.poll_directive() {
            self.direct(directive);
        }
        let (now, ticked) = (self.now, self.ticked);
        if let Some((id, format)) =
            self.late.iter().find(|(_, (due, _))| *due <= now).map(|(id, (_, f))| (*id, *f))
        {
            self.late.remove(&id);
            self.hear_of_open(id, format);
            return true;
        }
        let messages = self.streams.iter().flat_map(|(id, seat)| {
            [(seat.commands.due(), *id, true), (seat.reports.due(), *id, false)]
        });
        let first = messages.filter_map(|(due, id, down)| Some((due?, id, down))).min();
        if let Some((_, id, down)) = first.filter(|(due, ..)| *due <= now) {
            self.arrive(id, down);
            return true;
        }
        // What was decided after the last tick may have been due at it already.
        if self.dispatcher.next_deadline().is_some_and(|due| due <= ticked) {
            self.dispatcher.handle_timeout(ticked);
            return true;
        }
        let overdue = |seat: &Seat| seat.machine.next_deadline().is_some_and(|due| due <= ticked);
        let overdue = self.streams.iter().find(|(_, seat)| overdue(seat)).map(|(id, _)| *id);
        if let Some(id) = overdue {
            self.on_stream(id, ClientStream::handle_timeout);
            return true;
        }
        if let Some(&(due, caller)) = self.callers.first().filter(|(due, _)| *due <= ticked) {
            self.callers.remove(&(due, caller));
            self.expire(caller);
            return true;
        }
        false
    }

    /// A message arrives.
    fn arrive(&mut self, id: StreamId, down: bool) {
        let now = self.now;
        let Some(seat) = self.streams.get_mut(&id) else { return };
        if !down {
            let Some(report) = seat.reports.pop_due(now) else { return };
            if report == Report::Closed {
                // Nobody takes them out any more.
                seat.commands.clear();
            }
            return self.dispatcher.report(id, report, now);
        }
        let most = batch_size(seat.commands.len(), seat.machine.in_flight());
        for _ in 0..most {
            let seat = self.streams.get_mut(&id);
            let Some(command) = seat.and_then(|seat| seat.commands.pop_due(now)) else { return };
            self.on_stream(id, |stream, now| stream.carry_out(command, now));
        }
        let left = |seat: &&mut Seat| seat.commands.due().is_some_and(|due| due <= now);
        if let Some(seat) = self.streams.get_mut(&id).filter(left) {
            self.met.push(Situation::BatchLeftBehind);
            seat.commands.hold_back(now + ROUND);
        }
    }

    /// A caller's deadline has passed.
    fn expire(&mut self, caller: Caller) {
        let Self { dispatcher, streams, now, .. } = self;
        match caller {
            Caller::Request(id) => {
                let begun = |stream: StreamId| {
                    let seat = streams.get(&stream);
                    !seat.is_some_and(|seat| seat.commands.iter().any(|one| one.starts(id)))
                };
                dispatcher.expire(id, begun, *now);
            }
            Caller::Closest(call) => dispatcher.expire_closest(call, *now),
        }
    }

    fn direct(&mut self, directive: Directive) {
        match directive {
            Directive::Open { stream, peer, protocol, offer } => {
                self.outputs.push_back(ClientOutput::Open { stream, peer, protocol, offer });
            }
            Directive::Abandon { stream } => {
                if self.late.remove(&stream).is_some() {
                    self.streams.remove(&stream);
                }
                self.outputs.push_back(ClientOutput::Abandon(stream));
            }
            Directive::Command { stream, command } => self.command(stream, command),
            Directive::Dial { dial, peer, protocol } => {
                self.outputs.push_back(ClientOutput::Dial { dial, peer, protocol });
            }
            Directive::AbandonDial { dial } => {
                self.outputs.push_back(ClientOutput::AbandonDial(dial));
            }
            Directive::Ask(question) => self.dispatcher.decided(question.decide(), self.now),
            Directive::HangUp { dial } => self.outputs.push_back(ClientOutput::HangUp(dial)),
            Directive::Event(ClientEvent::Drained) => self.drained = true,
            Directive::Event(event) => self.outputs.push_back(ClientOutput::Event(event)),
        }
    }

    pub(in crate::sim) fn handle_input(&mut self, input: ClientInput, now: Timestamp) {
        let now = self.advance(now);
        match input {
            ClientInput::Opened(stream, format) => self.opened(stream, format),
            ClientInput::OpenFailed(stream, error) => {
                self.dispatcher.open_failed(stream, error, now);
            }
            ClientInput::Dialed(dial) => {
                if !self.dispatcher.dialed(dial, now) {
                    self.outputs.push_back(ClientOutput::HangUp(dial));
                }
            }
            ClientInput::DialFailed(dial, error) => self.dispatcher.dial_failed(dial, error, now),
            ClientInput::Stream(stream, event) => self.on_event(stream, event),
            ClientInput::Timeout => self.ticked = now,
        }
    }

    fn on_event(&mut self, stream: StreamId, event: StreamEvent) {
        self.on_stream(stream, |machine, now| machine.handle(event, now));
    }

    pub(in crate::sim) fn poll_output(&mut self) -> ClientOutput {
        if self.outputs.is_empty() {
            while self.step() {}
            for (id, seat) in &mut self.streams {
                while let Some(op) = seat.machine.poll_op() {
                    self.outputs.push_back(ClientOutput::Stream(*id, op));
                }
            }
            self.streams.retain(|_, seat| !seat.machine.is_ended() || seat.reports.due().is_some());
            if self.streams.is_empty() && std::mem::take(&mut self.drained) {
                self.outputs.push_back(ClientOutput::Event(ClientEvent::Drained));
            }
        }
        self.outputs.pop_front().unwrap_or_else(|| ClientOutput::Wait(self.due()))
    }

    fn due(&self) -> Option<Timestamp> {
        let streams = self.streams.values().filter_map(Seat::due);
        let late = self.late.values().map(|(due, _)| *due);
        let callers = self.callers.first().map(|(due, _)| *due);
        let rest = self.dispatcher.next_deadline().into_iter().chain(callers);
        streams.chain(late).chain(rest).min()
    }

    /// A caller stops waiting then.
    pub(in crate::sim) fn watch(&mut self, deadline: Option<Timestamp>, caller: Caller) {
        self.callers.extend(deadline.map(|due| (due, caller)));
    }

    pub(in crate::sim) fn stream(&self, stream: StreamId) -> Option<&ClientStream> {
        self.streams.get(&stream).map(|seat| &seat.machine)
    }

    pub(in crate::sim) fn space(&mut self, stream: StreamId) -> Option<&mut [u8]> {
        self.streams.get_mut(&stream)?.machine.space()
    }

    pub(in crate::sim) fn buffered(&self) -> usize {
        // One that has ended is there only for the reports that are under way.
        let machines = self.streams.values().map(|seat| &seat.machine);
        machines.filter(|machine| !machine.is_ended()).map(ClientStream::buffered).sum()
    }
}
