//! Runs one stream that a peer opened, in one task with all others of its connection.

mod telemetry;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{AbortHandle, abortable};
use libp2p_identity::PeerId;
use libp2p_swarm::Stream;
use pointsub_core::connection::{
    CallId, CallPlaces, CallTerms, SEND_WINDOW, ServerStream, ServerStreamEvent, runs_inline,
};
use pointsub_core::endpoint::{Origin, StreamKey};
use pointsub_core::{
    Format, Headers, Payload, ProtocolName, Status, StatusCode, StreamEvent, StreamOp, Timestamp,
};

use super::activity::Activity;
use super::calls::StreamCalls;
use super::stream_io::{Machine, Progress, READS_PER_POLL, StreamIo};
use super::work::{Site, Work, work};
use crate::api::calls::channel::Channel;
use crate::api::calls::server::{self as api, CallService, WINDOW};
use crate::api::message::Request;
use crate::api::server::handler::Handler;
use crate::api::server::mailbox::{Answer, Command, Failure, Mailbox};
use crate::api::server::shared::{Accepted, ServerShared};
use crate::telemetry::HandlerMark;
use crate::timer::Timer;

/// How long a peer on the plain format may take to end its side of a stream when the server stops.
const PLAIN_END: Duration = Duration::from_secs(1);

/// A stream, its wire machine, and the handlers at work for it.
pub(crate) struct ServerDriver {
    shared: Arc<ServerShared>,
    mailbox: Arc<Mailbox>,
    peer: PeerId,
    protocol: ProtocolName,
    handler: Option<Arc<dyn Handler>>,
    machine: ServerStream,
    /// The stream's name at admission control.
    key: StreamKey,
    site: Arc<Site>,
    io: StreamIo,
    timer: Timer,
    /// What the machine is yet to be told.
    news: Option<StreamEvent>,
    commands: Vec<Command>,
    /// Handlers that did not end at their first poll, by call.
    spawned: HashMap<CallId, AbortHandle>,
    /// The server stops, and waits for the peer to confirm that it has got its answers.
    stopping: bool,
    /// It does not wait any longer.
    cut_off: bool,
    /// Who handles calls, if the protocol has calls.
    call_service: Option<Arc<CallService>>,
    /// Its calls, once there was one.
    calls: Option<Box<StreamCalls>>,
}

impl ServerDriver {
    /// Serves a stream. One beyond the cap, or for a protocol that is gone, is told so.
    pub(crate) fn new(
        shared: Arc<ServerShared>,
        (peer, origin): (PeerId, Origin),
        protocol: ProtocolName,
        format: Format,
        stream: Stream,
        has_room: bool,
        (places, activity): (CallPlaces, Arc<Activity>),
    ) -> Self {
        let Accepted { machine, key, handler, mailbox } =
            shared.accept((&peer, origin), &protocol, format, has_room);
        let machine = machine.with_call_places(places);
        let timer = Timer::new(shared.clock.clone());
        let log = shared.error_log.clone();
        let calls = handler.as_ref().and_then(|handler| handler.calls());
        let (network, called) = (origin.group(), protocol.clone());
        let call_service = calls
            .map(|handler| Arc::new(CallService { handler, peer, network, protocol: called, log }));
        let site = Arc::new(Site {
            permits: shared.semaphore.of_stream(origin),
            activity,
            compresses: shared.config.compression() && machine.compresses(),
            shared: shared.clone(),
        });
        Self {
            shared,
            mailbox,
            peer,
            protocol,
            handler,
            machine,
            key,
            site,
            io: StreamIo::new(stream),
            timer,
            news: None,
            commands: Vec::new(),
            spawned: HashMap::new(),
            stopping: false,
            cut_off: false,
            call_service,
            calls: None,
        }
    }

    /// The stream's name at admission control.
    pub(crate) fn key(&self) -> StreamKey {
        self.key
    }

    /// Whether its requests have a handler. Otherwise the peer is told that they have none.
    pub(crate) fn is_served(&self) -> bool {
        self.handler.is_some()
    }

    /// Tells the machine what has happened and carries out what was commanded, then runs the
    /// handlers of what has arrived, as far as they come without waiting.
    ///
    /// The shared state is locked for one report at a time: to ask for a place, on which requests
    /// follow each other, and to give it back before their answers are written.
    fn serve(&mut self, cx: &mut Context<'_>) {
        loop {
            let now = self.shared.clock.now();
            self.tell(now);
            let Some(event) = self.next_event(now) else {
                // What has come may have been for calls.
                if self.move_calls(now, cx) {
                    continue;
                }
                break;
            };
            match event {
                ServerStreamEvent::Request { call, payload, deadline } => {
                    if let Some(answer) = self.begin(call, payload, deadline, now, cx) {
                        self.commands.push(Command::Respond { call, answer });
                    }
                }
                ServerStreamEvent::Abandon { call } => match self.spawned.get(&call) {
                    // Its task says when it has stopped.
                    Some(handler) => handler.abort(),
                    None => self.commands.push(Command::Abandoned { call }),
                },
            }
        }
        if self.machine.has_news() {
            self.report();
        }
    }

    /// Does what handlers of calls want, and tells them what has happened. Whether there was anything.
    fn move_calls(&mut self, now: Timestamp, cx: &Context<'_>) -> bool {
        let Some(calls) = &mut self.calls else { return false };
        let touched = calls.touched(cx);
        for channel in &touched {
            calls.apply(&mut self.machine, channel, now);
        }
        let (any, stopped) = calls.deliver(&mut self.machine);
        for call in stopped {
            match self.spawned.get(&call) {
                Some(handler) => handler.abort(),
                None => self.commands.push(Command::Abandoned { call }),
            }
        }
        any || !touched.is_empty()
    }

    /// Begins to handle a call.
    fn begin_call(
        &mut self,
        service: &Arc<CallService>,
        call: CallId,
        terms: CallTerms,
        mut argument: Payload,
        remaining: Option<Duration>,
    ) -> Option<Answer> {
        let (len, headers) = (argument.len(), argument.take_headers());
        let argument = match argument.into_bytes() {
            Ok(argument) => argument,
            Err(error) => {
                let status = Status::new(StatusCode::BadRequest, error.to_string());
                return Some(Err(Failure::Malformed { len, status }));
            }
        };
        let channel = Channel::new(WINDOW);
        channel.grant(terms.credit.min(SEND_WINDOW), terms.silent);
        let mark = self.mark(Some(&headers), len, self.shared.clock.now());
        let asked = (argument, headers);
        let begin = || api::begin(service, asked, &terms, remaining, &channel);
        let work = match mark {
            Some(mark) => {
                let work = HandlerMark::within(Some(&mark), begin);
                mark.of_call(&channel).around(&self.shared, &self.protocol, work)
            }
            None => begin(),
        };
        self.calls.get_or_insert_default().begin(call, &channel, terms);
        self.spawn(call, work);
        None
    }

    /// Runs a handler in a task of its own.
    fn spawn(&mut self, call: CallId, work: Work) {
        let (work, abort) = abortable(work);
        self.spawned.insert(call, abort);
        let mut duty = Duty { mailbox: self.mailbox.clone(), call, done: false };
        self.shared.clock.spawn(
            "pointsub handler",
            async move {
                if let Ok(answer) = work.await {
                    duty.done = true;
                    duty.mailbox.push(Command::Respond { call, answer });
                }
            }
            .boxed(),
        );
    }

    /// What the machine wants of a handler next.
    fn next_event(&mut self, now: Timestamp) -> Option<ServerStreamEvent> {
        loop {
            let event = self.machine.poll_event(now);
            if event.is_some() || !self.machine.is_asking() {
                return event;
            }
            self.report();
        }
    }

    /// Tells admission control what is to be told, and the machine what it says. Whether the machine
    /// may want something else now.
    fn report(&mut self) -> bool {
        let Some(report) = self.machine.take_report() else { return false };
        let (asks, refusals, now) = (report.asks(), report.refusals(), self.shared.clock.now());
        let mut state = self.shared.state.lock();
        let verdict = state.admission.handle(self.key, report, now);
        let has_news = state.admission.has_news();
        drop(state);
        if has_news {
            self.shared.attend();
        }
        self.tell_refusals(refusals, verdict.refusal());
        let cut_off = verdict.is_cut_off();
        self.machine.handle_verdict(verdict, now);
        asks || cut_off
    }

    fn time_passes(&mut self) {
        let now = self.shared.clock.now();
        self.machine.handle_timeout(now);
        if let Some(reason) = self.machine.misunderstood() {
            tracing::info!(
                target: "pointsub::stream",
                peer = %self.peer,
                protocol = %self.protocol,
                %reason,
                "a stream was reset"
            );
        }
    }

    /// Tells the machine what has happened.
    fn tell(&mut self, now: Timestamp) {
        if let Some(event) = self.news.take() {
            self.machine.handle(event, now);
        }
        for command in self.commands.drain(..) {
            match command {
                Command::Respond { call, answer } => {
                    self.spawned.remove(&call);
                    let answer = match answer {
                        Err(Failure::Malformed { len, status }) => {
                            self.machine.malformed(call, len, status, now);
                            continue;
                        }
                        Err(Failure::Status(status)) => Err(status),
                        Ok(body) => Ok(body),
                    };
                    let answer = match &mut self.calls {
                        Some(calls) => calls.finish(&mut self.machine, call, answer, now),
                        None => Some(answer),
                    };
                    if let Some(answer) = answer {
                        self.machine.respond(call, answer, now);
                    }
                }
                Command::Abandoned { call } => {
                    self.spawned.remove(&call);
                    let failed = Err(Status::new(StatusCode::Internal, ""));
                    let failed = match &mut self.calls {
                        Some(calls) => calls.finish(&mut self.machine, call, failed, now),
                        None => Some(failed),
                    };
                    if failed.is_some() {
                        self.machine.abandoned(call, now);
                    }
                }
                Command::EndCalls => self.machine.end_calls(now),
                Command::Drain { stop: false } => self.machine.drain(now),
                Command::Drain { stop: true } => {
                    self.machine.drain(now);
                    self.stopping = true;
                    // A plain peer need not end its side.
                    let native = self.machine.compresses();
                    let limit = if native { self.shared.config.write_timeout() } else { PLAIN_END };
                    self.io.confirm_within(limit, self.shared.clock.clone());
                }
                Command::Reset => {
                    self.machine.reset();
                    self.cut_off = true;
                }
            }
        }
    }

    /// Begins to handle a request; the answer, if it is there at once.
    fn begin(
        &mut self,
        call: CallId,
        mut payload: Payload,
        deadline: Option<Timestamp>,
        now: Timestamp,
        cx: &mut Context<'_>,
    ) -> Option<Answer> {
        let Some(handler) = self.handler.clone() else {
            return Some(Err(Status::new(StatusCode::NotFound, "").into()));
        };
        let remaining = deadline.map(|deadline| deadline.since(now));
        if let Some(service) = self.call_service.clone()
            && let Some(terms) = self.machine.terms(call).cloned()
        {
            return self.begin_call(&service, call, terms, payload, remaining);
        }
        let mark = self.mark(payload.headers(), payload.wire_len(), now);
        let inline = !handler.spawned() && runs_inline(&payload);
        let (peer, protocol) = (self.peer, self.protocol.clone());
        let Headers { method, metadata } = payload.take_headers();
        // Its body comes when it is inflated.
        let request = Request { peer, protocol, body: Bytes::new(), remaining, method, metadata };
        let mut work = work(self.site.clone(), handler, request, payload);
        if inline {
            let polled = HandlerMark::within(mark.as_ref(), || work.poll_unpin(cx));
            if let Poll::Ready(answer) = polled {
                if let Some(mark) = mark {
                    mark.end(&self.shared, &self.protocol, &answer);
                }
                return Some(answer);
            }
        }
        let work = match mark {
            Some(mark) => mark.around(&self.shared, &self.protocol, work),
            None => work,
        };
        self.spawn(call, work);
        None
    }
}

/// The duty of a spawned handler to say how it ended, however it ends.
struct Duty {
    mailbox: Arc<Mailbox>,
    call: CallId,
    done: bool,
}

impl Drop for Duty {
    fn drop(&mut self) {
        if !self.done {
            self.mailbox.push(Command::Abandoned { call: self.call });
        }
    }
}

impl Future for ServerDriver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let poll = self.advance(cx);
        while poll.is_pending() && self.report() {
            cx.waker().wake_by_ref();
        }
        self.tell_bytes();
        poll
    }
}

impl ServerDriver {
    /// Moves bytes, and serves what they bring.
    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let this = self;
        let mut reads = 0;
        loop {
            this.mailbox.take(&mut this.commands, cx);
            this.serve(cx);
            if this.cut_off && this.machine.is_ended() {
                break;
            }
            match this.io.poll_write(&mut this.machine, cx) {
                Poll::Ready(Progress::Event(event)) => {
                    this.news = Some(event);
                    if this.machine.has_event() {
                        // The connection sends these answers before the next ones are made.
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    continue;
                }
                Poll::Ready(Progress::Ended) => break,
                Poll::Pending => {}
            }
            if reads == READS_PER_POLL {
                // Others on this connection have a right to it too.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if let Poll::Ready(progress) = this.io.poll_read(&mut this.machine, cx) {
                match progress {
                    Progress::Event(event) => {
                        reads += 1;
                        this.news = Some(event);
                        continue;
                    }
                    Progress::Ended => break,
                }
            }
            if this.machine.has_event() {
                // Room in the outbox, for what has waited for it.
                continue;
            }
            if this.machine.is_ended() && !this.io.is_ending() {
                break;
            }
            if !this.timer.poll_due(this.machine.next_deadline(), cx) {
                return Poll::Pending;
            }
            this.time_passes();
        }
        Poll::Ready(())
    }
}

impl Drop for ServerDriver {
    /// The stream is gone: nobody waits for the handlers that are still at work for it.
    fn drop(&mut self) {
        self.spawned.values().for_each(AbortHandle::abort);
        if let Some(calls) = &mut self.calls {
            calls.lose();
        }
        let unconfirmed = self.stopping && self.machine.compresses() && self.io.is_unconfirmed();
        self.tell_bytes();
        let report = self.machine.close(self.shared.clock.now());
        self.shared.close(self.key, report, unconfirmed);
    }
}

impl Machine for ServerStream {
    fn wants_read(&self) -> bool {
        Self::wants_read(self)
    }

    fn space(&mut self) -> Option<&mut [u8]> {
        Self::space(self)
    }

    fn poll_op(&mut self) -> Option<StreamOp> {
        Self::poll_op(self)
    }
}
