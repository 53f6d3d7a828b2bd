//! The connection handler: translates between libp2p and the streams of a connection.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use libp2p_identity::PeerId;
use libp2p_swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p_swarm::{
    ConnectionHandler, ConnectionHandlerEvent, Stream, StreamUpgradeError, SubstreamProtocol,
};
use pointsub_core::connection::{Acceptance, CallPlaces, Connection, Signs, Stage};
use pointsub_core::endpoint::Origin;
use pointsub_core::network::Work;
use pointsub_core::{ProtocolName, StreamError, Verdict};

use super::activity::Activity;
use super::client;
use super::negotiation::{Names, Speaks, WireName};
use super::probe;
use super::remote::Remote;
use super::server::ServerDriver;
use super::stream_io::io_failure;
use super::streams::{Ended, Streams};
use crate::api::client::shared::ClientShared;
use crate::api::client::ticket::OpenTicket;
use crate::api::server::shared::ServerShared;
use crate::peer;
use crate::random::random;
use crate::timer::Timer;

/// How long a peer may take to negotiate a stream that it opens.
const INBOUND_NEGOTIATION: Duration = Duration::from_secs(10);
/// How long a probe may take. Whoever waits for it gives up before.
const PROBE: Duration = Duration::from_secs(60);

/// The streams of one connection.
///
/// Streams have no tasks of their own, because the task that reads the connection is woken for every
/// byte anyway. Without further tasks, a read full of requests is answered with one write. The
/// [connection driver](super::driver) is that task. [`Connection`] decides; this carries out.
pub struct Handler {
    peer: PeerId,
    /// Whom admission control takes the peer for.
    origin: Origin,
    client: Arc<ClientShared>,
    server: Arc<ServerShared>,
    listen: Names,
    /// How often the server's names had changed when `listen` was taken from them.
    listen_changes: u64,
    /// Streams that are to be opened. The swarm has not been asked yet.
    opens: VecDeque<OpenTicket>,
    streams: Streams,
    connection: Connection,
    /// Raw streams that the peer has opened hold a share of it.
    inbound_raw: Arc<()>,
    /// Of the calls that the peer opens.
    call_places: CallPlaces,
    /// Raw streams that this end has opened hold a share of it.
    outbound_raw: Arc<()>,
    activity: Arc<Activity>,
    /// When to look at the connection again.
    timer: Timer,
    verdicts: VecDeque<Verdict>,
    /// The behaviour has asked what the connection is used for.
    to_assess: bool,
    remote: Remote,
    /// What the peer lists is something else.
    lists: bool,
}

/// What the behaviour tells a connection.
#[derive(Debug)]
pub enum ToHandler {
    /// Open a stream.
    Open(OpenTicket),
    /// Listen for the names that the server has now.
    Listen,
    /// There is a better connection: open streams take no further requests.
    Retire,
    /// It is used again.
    Resume,
    /// Probe the peer.
    Probe,
    /// The same, and wait for everything anew: this process has slept.
    Recheck,
    /// Notice its silence although nothing is due on the connection.
    Watch,
    /// Say what the connection is used for.
    Assess,
    /// The way to the peer and back takes so long.
    Measured(Duration),
    /// The connection is dead: end it without waiting for anything.
    Abort,
}

/// What a stream is opened for.
#[derive(Debug)]
pub enum Open {
    /// Requests, or a raw stream.
    Ticket(OpenTicket),
    /// A probe: the peer is to give a sign of life.
    Probe,
}

/// What a connection tells the behaviour.
#[derive(Debug)]
pub enum FromHandler {
    /// What it says of its peer's silence.
    Judged(Verdict),
    /// What it is used for.
    Assessed(Work),
    /// The protocols that the peer serves, as it lists them.
    Lists(Vec<ProtocolName>),
}

impl Handler {
    pub(crate) fn new(
        (peer, origin): (PeerId, Origin),
        client: Arc<ClientShared>,
        server: Arc<ServerShared>,
        activity: Arc<Activity>,
    ) -> Self {
        let listen_changes = server.changes();
        let listen = Names(server.names());
        let max_streams = server.config.max_streams_per_connection();
        let silence = client.config.silence_timeout();
        let connection = Connection::new(max_streams, client.clock.now());
        Self {
            peer,
            origin,
            listen,
            listen_changes,
            opens: VecDeque::new(),
            streams: Streams::new(activity.clone(), server.clock.clone()),
            connection: connection.tolerate(silence, random()),
            inbound_raw: Arc::new(()),
            call_places: CallPlaces::new(server.config.max_calls_per_connection()),
            outbound_raw: Arc::new(()),
            activity,
            timer: Timer::new(client.clock.clone()),
            verdicts: VecDeque::new(),
            to_assess: false,
            remote: Remote::default(),
            lists: false,
            client,
            server,
        }
    }

    fn signs(&self) -> Signs {
        Signs {
            heard: self.activity.heard(),
            written: self.activity.written(),
            requests_due: self.streams.is_due(),
            raw_streams: shares(&self.inbound_raw) + shares(&self.outbound_raw),
        }
    }

    /// What the connection is used for.
    fn work(&self) -> Work {
        let raw_streams = shares(&self.inbound_raw) + shares(&self.outbound_raw);
        let streams = self.connection.inbound().len() + self.connection.outbound().len();
        let is_busy = self.connection.is_due(&self.signs())
            || self.server.is_at_work(self.connection.inbound());
        Work { is_busy, streams: streams + raw_streams }
    }

    /// Watches for silence while something is due.
    fn poll_liveness(&mut self, cx: &mut Context<'_>) {
        let mut signs = self.signs();
        while self.timer.poll_due(self.connection.next_look(&signs), cx) {
            let verdict = self.connection.look(signs, self.client.clock.now());
            self.verdicts.extend(verdict);
            signs = self.signs();
        }
        if self.connection.next_look(&signs).is_none() {
            self.streams.watch();
        }
    }

    /// Whether the peer may open another stream. An idle one may have to end for it.
    fn has_room(&mut self) -> bool {
        self.note_ended();
        match self.connection.admit(shares(&self.inbound_raw)) {
            Acceptance::Accept => true,
            Acceptance::MakeRoom => self.server.make_room(self.connection.inbound()),
            Acceptance::Refuse => false,
        }
    }

    fn note_ended(&mut self) {
        for ended in self.streams.ended() {
            match ended {
                Ended::Inbound(stream) => self.connection.ended(stream),
                Ended::Outbound(stream) => self.connection.closed(stream),
                Ended::Probe(outcome) => self.note_probe(outcome.as_ref().copied()),
            }
        }
    }

    fn note_probe(&mut self, outcome: Result<(), &StreamError>) {
        if self.connection.probed(outcome, self.client.clock.now()) {
            self.activity.note_heard();
        }
    }

    /// A stream that this end wanted is there.
    fn opened(&mut self, stream: Stream, name: &WireName, ticket: OpenTicket) {
        if self.remote.takes_for_another(name) {
            self.connection.open_failed();
            return ticket.fail(StreamError::Unsupported);
        }
        let (coalescing, share) = (self.streams.coalescing(), self.outbound_raw.clone());
        let Some(driver) =
            client::opened(ticket, &self.client, stream, name.speaks, coalescing, share)
        else {
            return self.connection.dialled();
        };
        let id = driver.id();
        self.client.compression.note_link(peer::to_core(&self.peer), &self.activity);
        if self.connection.opened(id) {
            self.client.retire([id]);
        }
        self.streams.push(driver.map(move |()| Ended::Outbound(id)).boxed());
    }

    /// The peer has opened a stream.
    fn accept(&mut self, stream: Stream, name: &WireName) {
        let (has_room, whose) = (self.has_room(), (self.peer, self.origin));
        match name.speaks {
            Speaks::Messages(format) => {
                let (shared, protocol) = (self.server.clone(), name.protocol.clone());
                let connection = (self.call_places.clone(), self.activity.clone());
                let driver = ServerDriver::new(
                    shared, whose, protocol, format, stream, has_room, connection,
                );
                let key = driver.key();
                self.connection.accepted(key);
                self.streams.push(driver.map(move |()| Ended::Inbound(key)).boxed());
            }
            Speaks::Raw if has_room => {
                let share = self.inbound_raw.clone();
                self.server.accept_raw(stream, whose, &name.protocol, share);
            }
            // Dropped, which resets the stream: there is no other way to refuse it.
            Speaks::Raw | Speaks::Ping | Speaks::Nothing | Speaks::Mark => {}
        }
    }
}

/// How many streams hold a share.
fn shares(of: &Arc<()>) -> usize {
    Arc::strong_count(of) - 1
}

/// What it means that a stream could not be negotiated.
fn negotiation_error(error: StreamUpgradeError<Infallible>) -> StreamError {
    match error {
        StreamUpgradeError::NegotiationFailed => StreamError::Unsupported,
        StreamUpgradeError::Io(error) => {
            io_failure(&error).into_error(Stage::Negotiating, Arc::from(error.to_string()))
        }
        StreamUpgradeError::Timeout => {
            StreamError::Lost(Arc::from("the peer did not agree to the stream in time"))
        }
        StreamUpgradeError::Apply(never) => match never {},
    }
}

impl std::fmt::Debug for Handler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handler")
            .field("peer", &self.peer)
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = ToHandler;
    type ToBehaviour = FromHandler;
    type InboundProtocol = Names;
    type OutboundProtocol = Names;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Open;

    fn listen_protocol(&self) -> SubstreamProtocol<Names> {
        // A peer may ask for what was registered a moment ago, before this connection was told of it.
        let is_current = self.server.changes() == self.listen_changes;
        let names = if is_current { self.listen.clone() } else { Names(self.server.names()) };
        SubstreamProtocol::new(names, ()).with_timeout(INBOUND_NEGOTIATION)
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Names, Open, Self::ToBehaviour>> {
        if let Some(ticket) = self.opens.pop_front() {
            let (names, timeout) = (ticket.names.clone(), ticket.timeout);
            self.connection.opening();
            let protocol = SubstreamProtocol::new(names, Open::Ticket(ticket));
            let protocol = protocol.with_timeout(timeout);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        self.streams.poll(cx);
        self.note_ended();
        self.poll_liveness(cx);
        if std::mem::take(&mut self.to_assess) {
            let event = FromHandler::Assessed(self.work());
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(event));
        }
        if std::mem::take(&mut self.lists) {
            let event = FromHandler::Lists(self.remote.serves());
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(event));
        }
        match self.verdicts.pop_front() {
            None => Poll::Pending,
            Some(Verdict::Probe) => {
                let protocol = SubstreamProtocol::new(Names::probe(), Open::Probe);
                let protocol = protocol.with_timeout(PROBE);
                Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol })
            }
            Some(verdict) => {
                let event = FromHandler::Judged(verdict);
                Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(event))
            }
        }
    }

    fn on_behaviour_event(&mut self, event: ToHandler) {
        match event {
            ToHandler::Open(ticket) => self.opens.push_back(ticket),
            ToHandler::Listen => {
                self.listen_changes = self.server.changes();
                self.listen = Names(self.server.names());
            }
            ToHandler::Retire => self.client.retire(self.connection.retire()),
            ToHandler::Resume => self.connection.resume(),
            ToHandler::Probe => {
                let heard = self.activity.heard();
                let verdict = self.connection.doubt(heard, self.client.clock.now());
                self.verdicts.extend(verdict);
            }
            ToHandler::Recheck => {
                let heard = self.activity.heard();
                let verdict = self.connection.wake(heard, self.client.clock.now());
                self.verdicts.extend(verdict);
            }
            ToHandler::Watch => self.connection.keep(),
            ToHandler::Assess => self.to_assess = true,
            ToHandler::Measured(rtt) => self.connection.measured(rtt),
            ToHandler::Abort => self.streams.abort(),
        }
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Names, Names, (), Open>) {
        match event {
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (stream, name),
                info,
            }) => match info {
                Open::Probe => self.streams.push(probe::answers(stream).map(Ended::Probe).boxed()),
                Open::Ticket(ticket) => self.opened(stream, &name, ticket),
            },
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (stream, name),
                ..
            }) => self.accept(stream, &name),
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                let error = negotiation_error(error);
                match info {
                    Open::Probe => self.note_probe(Err(&error)),
                    Open::Ticket(ticket) => {
                        self.connection.open_failed();
                        ticket.fail(error);
                    }
                }
            }
            ConnectionEvent::RemoteProtocolsChange(change) => {
                self.remote.update(change);
                self.lists = true;
            }
            _ => {}
        }
    }
}
