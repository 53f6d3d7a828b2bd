//! Runs one stream that we opened, in one task with all others of its connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use libp2p_swarm::Stream;
use pointsub_core::connection::{ClientStream, StreamCommand};
use pointsub_core::{
    Format, PeerId, ProtocolName, StreamError, StreamEvent, StreamId, StreamOp, Timestamp,
};
use tracing::level_filters::LevelFilter;

use super::calls::StreamCalls;
use super::negotiation::Speaks;
use super::stream_io::{Machine, Progress, READS_PER_POLL, StreamIo};
use super::streams::coalescing::Coalescing;
use crate::api::client::shared::ClientShared;
use crate::api::client::ticket::{OpenTicket, Wanted};
use crate::telemetry::{Attempts, Side};
use crate::timer::Timer;

/// A stream, its wire machine, and the way to the dispatcher.
#[derive(Debug)]
pub(crate) struct ClientDriver {
    id: StreamId,
    shared: Arc<ClientShared>,
    machine: ClientStream,
    io: StreamIo,
    timer: Timer,
    commands: Vec<StreamCommand>,
    coalescing: Coalescing,
    format: Format,
    /// Its calls, once there was one.
    calls: Option<Box<StreamCalls>>,
    peer: PeerId,
    protocol: ProtocolName,
    /// What is told of requests, once anybody wants to know.
    attempts: Option<Box<Attempts>>,
}

/// The stream that a ticket is for is there, and this was agreed on. Returns what is to run in the task of
/// its connection. A raw stream holds its `share` of the connection.
pub(crate) fn opened(
    mut ticket: OpenTicket,
    shared: &Arc<ClientShared>,
    io: Stream,
    speaks: Speaks,
    coalescing: Coalescing,
    share: Arc<()>,
) -> Option<ClientDriver> {
    match (ticket.wanted, speaks) {
        (Wanted::Pooled(id), Speaks::Messages(format)) => {
            ticket.answered();
            let machine = shared.opened(id, format, ticket.connection, ticket.relayed)?;
            let whose = (ticket.peer, ticket.protocol.clone());
            Some(ClientDriver::new(id, shared.clone(), machine, io, (format, coalescing), whose))
        }
        (Wanted::Raw(dial), Speaks::Raw) => {
            ticket.answered();
            shared.dialed(dial, io, &ticket.peer, &ticket.protocol, share);
            None
        }
        _ => {
            ticket.fail(StreamError::Unsupported);
            None
        }
    }
}

impl ClientDriver {
    fn new(
        id: StreamId,
        shared: Arc<ClientShared>,
        machine: ClientStream,
        stream: Stream,
        (format, coalescing): (Format, Coalescing),
        (peer, protocol): (PeerId, ProtocolName),
    ) -> Self {
        let timer = Timer::new(shared.clock.clone());
        Self {
            id,
            shared,
            machine,
            io: StreamIo::new(stream),
            timer,
            commands: Vec::new(),
            coalescing,
            format,
            calls: None,
            peer,
            protocol,
            attempts: None,
        }
    }

    pub(crate) fn id(&self) -> StreamId {
        self.id
    }

    fn handle(&mut self, event: StreamEvent) {
        self.machine.handle(event, self.shared.clock.now());
        self.deliver_calls();
    }

    /// Tells the owners of calls what has happened.
    fn deliver_calls(&mut self) {
        if let Some(calls) = &mut self.calls {
            // A client has no handlers.
            let _none = calls.deliver(&mut self.machine);
        }
    }

    /// Does what the owners of calls want.
    fn move_calls(&mut self, cx: &Context<'_>) {
        let Some(calls) = &mut self.calls else { return };
        let now = self.shared.clock.now();
        for channel in calls.touched(cx) {
            let (wishes, Some(key)) = (channel.take_wishes(), channel.key()) else { continue };
            if StreamCalls::carry_out(&mut self.machine, key, wishes, now) {
                self.machine.cancel_call(key, now);
                calls.forget(key);
            }
        }
        self.deliver_calls();
    }

    /// Notes what the machine is about to be told, if anybody wants to know.
    fn note_commands(&mut self, now: Timestamp) {
        if self.attempts.is_none() {
            let records = self.shared.telemetry.recorder().is_some();
            let spans = LevelFilter::current() >= LevelFilter::DEBUG;
            let wanted = records || spans && self.commands.iter().any(is_marked);
            if !wanted {
                return;
            }
            let (shared, protocol) = (self.shared.clone(), self.protocol.clone());
            let attempts = Attempts::new(shared, self.peer, protocol, self.format);
            self.attempts = Some(Box::new(attempts));
        }
        if let Some(attempts) = &mut self.attempts {
            self.commands.iter().for_each(|command| attempts.note_command(command, now));
        }
    }

    /// Tells what was noted, and how many bytes have travelled.
    fn tell(&mut self) {
        if let Some(attempts) = &mut self.attempts {
            attempts.tell();
        }
        if let Some(recorder) = self.shared.telemetry.recorder() {
            self.io.tell(&**recorder, self.protocol.as_str(), Side::Client);
        }
    }

    fn carry_out(&mut self) {
        let now = self.shared.clock.now();
        self.note_commands(now);
        for command in self.commands.drain(..) {
            if let StreamCommand::Start { request, body, .. } = &command
                && let Some(number) = body.opened_call()
            {
                match self.shared.openings.get(number) {
                    Some((opening, channel)) => {
                        if let Some(key) = self.machine.open(*request, opening, now) {
                            self.calls.get_or_insert_default().insert(key, channel);
                        }
                    }
                    None => self.machine.decline(*request),
                }
            } else {
                self.machine.carry_out(command, now);
            }
        }
    }

    /// Reports until neither a report nor a command that it led to is left.
    fn report(&mut self) -> bool {
        self.deliver_calls();
        let mut any = false;
        while self.machine.has_report() {
            any = true;
            let now = self.shared.clock.now();
            let attempts = self.attempts.as_deref_mut();
            self.shared.report(self.id, &mut self.machine, &mut self.commands, attempts, now);
            self.carry_out();
            self.deliver_calls();
        }
        any
    }
}

/// Whether somebody wants a span for the request that a command starts.
fn is_marked(command: &StreamCommand) -> bool {
    matches!(command, StreamCommand::Start { body, .. } if body.mark().is_some())
}

impl Future for ClientDriver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let polled = self.advance(cx);
        let due = self.machine.in_flight() > 0;
        self.coalescing.note_due(due);
        self.tell();
        polled
    }
}

impl ClientDriver {
    /// Moves what can be moved; ready when the stream has ended.
    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let this = self;
        // Where many ask, more are about to: one write for all of them.
        let in_flight = this.machine.in_flight();
        let mut left = false;
        if !this.coalescing.defers(this.format, in_flight, cx) {
            left = this.shared.take_commands(this.id, in_flight, &mut this.commands, cx);
            this.carry_out();
        }
        this.move_calls(cx);
        let mut reads = 0;
        loop {
            match this.io.poll_write(&mut this.machine, cx) {
                Poll::Ready(Progress::Event(event)) => {
                    this.handle(event);
                    continue;
                }
                Poll::Ready(Progress::Ended) => break,
                Poll::Pending => {}
            }
            if reads == READS_PER_POLL {
                // Others on this connection have a right to it too.
                cx.waker().wake_by_ref();
                this.report();
                return Poll::Pending;
            }
            if let Poll::Ready(progress) = this.io.poll_read(&mut this.machine, cx) {
                match progress {
                    Progress::Event(event) => {
                        reads += 1;
                        this.handle(event);
                        continue;
                    }
                    Progress::Ended => break,
                }
            }
            if this.report() {
                continue;
            }
            if this.machine.is_ended() && !this.io.is_ending() {
                break;
            }
            if left {
                // When the connection has sent this batch.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !this.timer.poll_due(this.machine.next_deadline(), cx) {
                return Poll::Pending;
            }
            this.machine.handle_timeout(this.shared.clock.now());
            this.deliver_calls();
        }
        this.report();
        Poll::Ready(())
    }
}

impl Drop for ClientDriver {
    /// The connection ends under the stream: whoever waits for an answer gets it if it has come, and
    /// is told otherwise.
    fn drop(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Progress::Event(event)) =
            self.io.poll_read(&mut self.machine, &mut cx)
        {
            self.handle(event);
        }
        let gone = StreamError::Lost(Arc::from("the connection closed"));
        self.handle(StreamEvent::Failed(gone));
        self.report();
        self.tell();
    }
}

impl Machine for ClientStream {
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
