//! The parts of a server with a seam between them.
//!
//! They run as the libp2p half runs them. What a stream reports, and what admission control says to it,
//! waits in a mailbox of that stream before it arrives; so do the orders to drain and to reset. A stream
//! that breaks is closed at once in some cases, whatever is under way then, and its handlers are stopped.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use pointsub_core::connection::{
    CallId, ServerReport, ServerStream, ServerStreamEvent, ServerVerdict,
};
use pointsub_core::endpoint::{Admission, StreamKey};
use pointsub_core::{
    Body, Format, InboundId, PeerId, ProtocolName, ServerConfig, ServerEvent, ServerInput,
    ServerOutput, Status, StreamEvent, StreamId, Timestamp,
};
use slotmap::{Key, SlotMap};

use super::super::Rng;
use super::super::server::SimOutput;
use super::{Delays, Faults, Mailbox, Plant};

/// What a stream may hold for requests that follow the one that was let in, as in the libp2p half.
const ALLOWANCE: usize = 64 * 1024;
/// So many requests may follow each other on one place between two verdicts.
const MAX_RENEWALS: u32 = 64;

/// Admission control and the streams that it knows, or will.
#[derive(Debug)]
pub struct ServerParts {
    config: ServerConfig,
    pub(in crate::sim) admission: Admission,
    streams: SlotMap<StreamId, Seat>,
    /// Streams that may have something to tell.
    touched: BTreeSet<StreamId>,
    raws: BTreeSet<StreamKey>,
    drain_due: Option<Timestamp>,
    outputs: VecDeque<SimOutput>,
    now: Timestamp,
    ticked: Timestamp,
    delays: Delays,
    faults: Faults,
    /// The verdict on the stream that was opened last.
    opened_before: Option<ServerVerdict>,
}

/// A stream and what is under way to it and from it.
#[derive(Debug)]
struct Seat {
    /// Gone once its last report is under way.
    machine: Option<ServerStream>,
    peer: PeerId,
    protocol: ProtocolName,
    /// How admission control calls it, which hears of it later.
    key: Option<StreamKey>,
    reports: Mailbox<ToAdmission>,
    verdicts: Mailbox<ToStream>,
    orders: Mailbox<Order>,
    /// Handlers that have not ended.
    at_work: BTreeSet<CallId>,
    /// Places that were granted and are not used, and requests that came on the place of another since
    /// the last verdict.
    places: u32,
    renewals: u32,
}

#[derive(Debug)]
enum ToAdmission {
    Open { format: Format, room: bool },
    Report(ServerReport),
    Close(ServerReport),
}

#[derive(Debug)]
struct ToStream(ServerVerdict);

/// What the server wants of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Drain,
    Reset,
}

/// What arrives first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Up,
    Down,
    Order,
}

impl Seat {
    fn dues(&self) -> [(Option<Timestamp>, Way); 3] {
        [
            (self.reports.due(), Way::Up),
            (self.verdicts.due(), Way::Down),
            (self.orders.due(), Way::Order),
        ]
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.machine.as_ref().and_then(ServerStream::next_deadline)
    }

    fn is_quiet(&self) -> bool {
        self.reports.is_empty() && self.verdicts.is_empty() && self.orders.is_empty()
    }
}

impl ServerParts {
    pub(in crate::sim) fn new(config: ServerConfig, seed: u64, faults: Faults) -> Self {
        Self {
            admission: Admission::new(&config),
            config,
            streams: SlotMap::with_key(),
            touched: BTreeSet::new(),
            raws: BTreeSet::new(),
            drain_due: None,
            outputs: VecDeque::new(),
            now: Timestamp::ZERO,
            ticked: Timestamp::ZERO,
            delays: Delays::new(Rng::of(seed, &[super::SERVER, 1])),
            faults,
            opened_before: None,
        }
    }

    pub(in crate::sim) fn advance(&mut self, now: Timestamp) -> Timestamp {
        self.now = self.now.max(now);
        self.now
    }

    /// Whether no message is under way: then both sides agree on how things stand.
    pub(in crate::sim) fn is_quiet(&self) -> bool {
        self.streams.values().all(Seat::is_quiet)
    }

    /// A stream that a peer opened. Its connection has no room for it unless there is `room`.
    pub(in crate::sim) fn accept(
        &mut self,
        peer: PeerId,
        protocol: &ProtocolName,
        format: Format,
        room: bool,
    ) -> StreamId {
        let mut machine = ServerStream::new(format, &self.config, self.now);
        if self.delays.rng.chance(75) {
            machine = machine.with_allowance(ALLOWANCE);
        }
        let mut arrives = self.delays.arrival(self.now);
        if self.faults.strike(Plant::ServerReportBeforeOpen, &mut self.delays.rng)
            && let Some(verdict) = self.opened_before.clone()
        {
            // The driver takes the verdict for granted, and asks for it later.
            machine.handle_verdict(verdict, self.now);
            arrives = self.now + Duration::from_millis(20);
        }
        let mut seat = Seat {
            machine: Some(machine),
            peer,
            protocol: protocol.clone(),
            key: None,
            reports: Mailbox::default(),
            verdicts: Mailbox::default(),
            orders: Mailbox::default(),
            at_work: BTreeSet::new(),
            places: 0,
            renewals: 0,
        };
        seat.reports.push(arrives, ToAdmission::Open { format, room });
        let stream = self.streams.insert(seat);
        self.touched.insert(stream);
        stream
    }

    pub(in crate::sim) fn handle_input(&mut self, input: ServerInput, now: Timestamp) {
        let now = self.advance(now);
        match input {
            ServerInput::Stream(stream, event) => {
                let breaks = matches!(event, StreamEvent::Failed(_));
                self.on_stream(stream, |machine, now| machine.handle(event, now));
                if breaks && self.delays.rng.chance(50) {
                    self.close(stream);
                }
            }
            ServerInput::Timeout => self.ticked = now,
        }
    }

    pub(in crate::sim) fn respond(&mut self, request: InboundId, answer: Result<Body, Status>) {
        if let Some(seat) = self.streams.get_mut(request.stream()) {
            seat.at_work.remove(&request.call());
        }
        self.on_stream(request.stream(), |s, now| s.respond(request.call(), answer, now));
    }

    pub(in crate::sim) fn abandoned(&mut self, request: InboundId) {
        if let Some(seat) = self.streams.get_mut(request.stream()) {
            seat.at_work.remove(&request.call());
        }
        self.on_stream(request.stream(), |s, now| s.abandoned(request.call(), now));
    }

    /// Ends an idle one of these streams, if there is one, in favour of another.
    pub(in crate::sim) fn make_room(
        &mut self,
        among: impl IntoIterator<Item = StreamId>,
    ) -> Option<StreamId> {
        let streams: Vec<StreamId> = among.into_iter().collect();
        let key = |stream: &StreamId| self.streams.get(*stream).and_then(|seat| seat.key);
        let chosen = self.admission.make_room(streams.iter().filter_map(key))?;
        let stream =
            streams.into_iter().find(|stream| self.streams[*stream].key == Some(chosen))?;
        self.order(stream, Order::Drain);
        Some(stream)
    }

    pub(in crate::sim) fn drain(&mut self, deadline: Timestamp) {
        self.admission.drain();
        self.drain_due = Some(deadline);
        self.order_all(Order::Drain);
    }

    pub(in crate::sim) fn accept_raw(
        &mut self,
        peer: PeerId,
        protocol: &ProtocolName,
    ) -> Result<StreamKey, Status> {
        let key = self.admission.accept_raw(peer, protocol, self.now)?;
        self.raws.insert(key);
        Ok(key)
    }

    pub(in crate::sim) fn close_raw(&mut self, key: StreamKey) {
        if self.raws.remove(&key) {
            self.admission.close_raw(key, self.now);
        }
    }

    pub(in crate::sim) fn stream(&self, stream: StreamId) -> Option<&ServerStream> {
        self.streams.get(stream)?.machine.as_ref()
    }

    pub(in crate::sim) fn space(&mut self, stream: StreamId) -> Option<&mut [u8]> {
        self.streams.get_mut(stream)?.machine.as_mut()?.space()
    }

    pub(in crate::sim) fn buffered(&self) -> usize {
        let machines = self.streams.values().filter_map(|seat| seat.machine.as_ref());
        machines.map(ServerStream::buffered).sum()
    }

    /// Streams that are there, whether or not admission control has heard of them.
    pub(in crate::sim) fn open(&self) -> usize {
        self.streams.len()
    }

    pub(in crate::sim) fn poll_output(&mut self) -> SimOutput {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return output;
            }
            if !self.step() {
                break;
            }
        }
        if self.admission.is_draining() && self.streams.is_empty() && self.raws.is_empty() {
            self.drain_due = None;
            self.admission.reopen();
            return SimOutput::Server(ServerOutput::Event(ServerEvent::Drained));
        }
        SimOutput::Server(ServerOutput::Wait(self.due()))
    }

    fn due(&self) -> Option<Timestamp> {
        let streams = self.streams.values().flat_map(|seat| {
            let messages = seat.dues().into_iter().filter_map(|(due, _)| due);
            messages.chain(seat.next_deadline())
        });
        streams.chain(self.drain_due).min()
    }

    /// Lets one message arrive, or one thing happen that is due; whether there was any.
    fn step(&mut self) -> bool {
        let ticked = self.ticked;
        if let Some(stream) = self.touched.first().copied() {
            self.run(stream);
            return true;
        }
        let messages = self.streams.iter().flat_map(|(stream, seat)| {
            seat.dues().into_iter().filter_map(move |(due, way)| Some((due?, stream, way)))
        });
        let first = messages.min().filter(|(due, ..)| *due <= self.now);
        if let Some((_, stream, way)) = first {
            self.arrive(stream, way);
            return true;
        }
        if self.drain_due.is_some_and(|due| due <= ticked) {
            self.cut_off();
            return true;
        }
        // What has come up since the last tick may have been due at it already.
        let overdue = |seat: &Seat| seat.next_deadline().is_some_and(|due| due <= ticked);
        let overdue = self.streams.iter().find(|(_, seat)| overdue(seat)).map(|(id, _)| id);
        if let Some(stream) = overdue {
            self.on_stream(stream, |machine, _| machine.handle_timeout(ticked));
            return true;
        }
        false
    }

    /// A drain does not wait any longer.
    fn cut_off(&mut self) {
        self.drain_due = None;
        for key in std::mem::take(&mut self.raws) {
            self.admission.close_raw(key, self.now);
            self.outputs.push_back(SimOutput::Server(ServerOutput::HangUp(key)));
        }
        self.order_all(Order::Reset);
    }

    fn order_all(&mut self, order: Order) {
        let streams: Vec<StreamId> = self.streams.keys().collect();
        streams.into_iter().for_each(|stream| self.order(stream, order));
    }

    fn order(&mut self, stream: StreamId, order: Order) {
        let arrives = self.delays.arrival(self.now);
        if let Some(seat) = self.streams.get_mut(stream).filter(|seat| seat.machine.is_some()) {
            seat.orders.push(arrives, order);
        }
    }

    fn on_stream(&mut self, stream: StreamId, f: impl FnOnce(&mut ServerStream, Timestamp)) {
        let now = self.now;
        let seat = self.streams.get_mut(stream);
        if let Some(machine) = seat.and_then(|seat| seat.machine.as_mut()) {
            f(machine, now);
            self.touched.insert(stream);
        }
    }

    /// Takes one thing that a stream has to tell the handlers, or else all that it wants done and
    /// reported.
    fn run(&mut self, stream: StreamId) {
        let (now, Some(seat)) = (self.now, self.streams.get_mut(stream)) else {
            self.touched.remove(&stream);
            return;
        };
        let Some(machine) = &mut seat.machine else {
            self.touched.remove(&stream);
            return;
        };
        if let Some(event) = machine.poll_event(now) {
            // Other streams wait until this one has nothing to tell.
            return self.tell(stream, event);
        }
        while let Some(op) = machine.poll_op() {
            self.outputs.push_back(SimOutput::Server(ServerOutput::Stream(stream, op)));
        }
        if let Some(report) = machine.take_report() {
            let arrives = self.delays.arrival(now);
            seat.reports.push(arrives, ToAdmission::Report(report));
        }
        if machine.is_ended() {
            self.close(stream);
        } else if !machine.has_event() {
            self.touched.remove(&stream);
        }
    }

    fn tell(&mut self, stream: StreamId, event: ServerStreamEvent) {
        let Some(seat) = self.streams.get_mut(stream) else { return };
        let event = match event {
            ServerStreamEvent::Request { call, payload, deadline } => {
                seat.at_work.insert(call);
                match seat.places.checked_sub(1) {
                    Some(left) => seat.places = left,
                    None => seat.renewals += 1,
                }
                if seat.renewals > 0 {
                    self.outputs
                        .push_back(SimOutput::Renewed { last: seat.renewals == MAX_RENEWALS });
                }
                let (peer, protocol) = (seat.peer, seat.protocol.clone());
                let request = InboundId::new(stream, call);
                ServerEvent::Request { request, peer, protocol, payload, deadline }
            }
            ServerStreamEvent::Abandon { call } => {
                ServerEvent::Abandon { request: InboundId::new(stream, call) }
            }
        };
        self.outputs.push_back(SimOutput::Server(ServerOutput::Event(event)));
    }

    /// The stream is over, or given up with handlers at work, which are stopped.
    fn close(&mut self, stream: StreamId) {
        let arrives = self.delays.arrival(self.now);
        let Some(seat) = self.streams.get_mut(stream) else { return };
        let Some(mut machine) = seat.machine.take() else { return };
        let asking = !seat.is_quiet();
        self.outputs.push_back(SimOutput::Closed { stream, asking, at_work: seat.at_work.len() });
        let stopped = std::mem::take(&mut seat.at_work).into_iter();
        let stopped = stopped.map(|call| SimOutput::Stopped(InboundId::new(stream, call)));
        self.outputs.extend(stopped);
        seat.reports.push(arrives, ToAdmission::Close(machine.close(self.now)));
        // Nobody takes them out any more.
        seat.verdicts.clear();
        seat.orders.clear();
        self.touched.remove(&stream);
    }

    /// A message arrives.
    fn arrive(&mut self, stream: StreamId, way: Way) {
        let now = self.now;
        let Some(seat) = self.streams.get_mut(stream) else { return };
        match way {
            Way::Up => match seat.reports.pop_due(now) {
                Some(ToAdmission::Open { format, room }) => self.open_stream(stream, format, room),
                Some(ToAdmission::Report(report)) => self.report(stream, report),
                Some(ToAdmission::Close(report)) => {
                    // One that admission control never heard of is no concern of its.
                    let key = seat.key.unwrap_or(StreamKey::null());
                    self.admission.close(key, report, now);
                    self.streams.remove(stream);
                }
                None => {}
            },
            Way::Down => {
                let Some(ToStream(verdict)) = seat.verdicts.pop_due(now) else { return };
                if verdict.places() > 0 {
                    // It asks when it has none.
                    seat.places = verdict.places();
                }
                seat.renewals = 0;
                self.on_stream(stream, |machine, now| machine.handle_verdict(verdict, now));
            }
            Way::Order => match seat.orders.pop_due(now) {
                Some(Order::Drain) => self.on_stream(stream, ServerStream::drain),
                Some(Order::Reset) => self.on_stream(stream, |machine, _| machine.reset()),
                None => {}
            },
        }
    }

    fn open_stream(&mut self, stream: StreamId, format: Format, room: bool) {
        let Some(seat) = self.streams.get_mut(stream) else { return };
        let (peer, now) = (seat.peer, self.now);
        let (key, verdict) = self.admission.open(peer, &seat.protocol, format, room, now);
        seat.key = Some(key);
        self.opened_before = Some(verdict.clone());
        self.answer(stream, verdict);
    }

    fn report(&mut self, stream: StreamId, report: ServerReport) {
        let Some(seat) = self.streams.get_mut(stream) else { return };
        let key = seat.key.unwrap_or(StreamKey::null());
        let twice = self.faults.strike(Plant::ServerReleaseTwice, &mut self.delays.rng);
        if twice {
            let _unheard = self.admission.handle(key, report.clone(), self.now);
        }
        let verdict = self.admission.handle(key, report, self.now);
        if verdict.places() > 1 {
            self.outputs.push_back(SimOutput::Together);
        }
        for _ in 0..verdict.places() {
            let (peer, protocol) = (seat.peer, seat.protocol.clone());
            self.outputs.push_back(SimOutput::Admitted { peer, protocol });
        }
        self.answer(stream, verdict);
    }

    /// A verdict is on its way, unless its stream is over.
    fn answer(&mut self, stream: StreamId, verdict: ServerVerdict) {
        let arrives = self.delays.arrival(self.now);
        let lost = self.faults.strike(Plant::ServerVerdictLost, &mut self.delays.rng);
        let seat = self.streams.get_mut(stream).filter(|seat| seat.machine.is_some());
        if let Some(seat) = seat.filter(|_| !lost) {
            seat.verdicts.push(arrives, ToStream(verdict));
        }
    }
}
