//! One connection: negotiates streams, many at a time, and runs them together.

use std::collections::{HashSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures_timer::Delay;
use libp2p_identity::PeerId;
use libp2p_swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p_swarm::{
    ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol,
};
use pointsub_core::connection::Stage;
use pointsub_core::endpoint::ConnectionKey;
use pointsub_core::{Liveness, StreamError, StreamId, Verdict};

use super::activity::Activity;
use super::negotiation::{Names, Speaks, WireName};
use super::probe;
use super::remote::Remote;
use super::server::ServerDriver;
use super::stream_io::io_failure;
use super::streams::{Ended, Streams};
use crate::api::client::shared::ClientHub;
use crate::api::client::ticket::OpenTicket;
use crate::api::server::shared::ServerHub;

/// How long a peer may take to negotiate a stream that it opens.
const INBOUND_NEGOTIATION: Duration = Duration::from_secs(10);
/// How long a probe may take. Whoever waits for it gives up before.
const PROBE: Duration = Duration::from_secs(60);
/// How often a connection on which something is due is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How many idle streams beyond `max_streams_per_connection` may be about to end, each to make room
/// for another one.
const ENDING: usize = 64;

/// The streams of one connection.
///
/// Streams do not run on tasks of their own, because whatever reads the connection is woken for every
/// byte anyway: without the hop, a read full of requests is answered with one write. See
/// [`pump`](super::driver) for how it gets there.
pub struct Handler {
    peer: PeerId,
    client: Arc<ClientHub>,
    server: Arc<ServerHub>,
    listen: Names,
    /// Opens that the swarm is yet to be asked for.
    opens: VecDeque<OpenTicket>,
    streams: Streams,
    /// Streams for requests that we opened.
    outbound: HashSet<StreamId>,
    /// There is a better connection.
    retired: bool,
    /// Streams for requests that the peer opened.
    inbound: HashSet<ConnectionKey>,
    /// Raw streams that the peer has opened hold a share of it.
    raws: Arc<()>,
    /// Raw streams that we opened hold a share of it.
    dialled: Arc<()>,
    /// Streams that are being opened.
    opening: usize,
    activity: Arc<Activity>,
    liveness: Liveness,
    /// When to look again.
    look: Option<Delay>,
    verdicts: VecDeque<Verdict>,
    remote: Remote,
    /// Its silence means something although nothing is due.
    watched: bool,
}

/// What the behaviour tells a connection.
#[derive(Debug)]
pub enum ToHandler {
    /// Open a stream.
    Open(OpenTicket),
    /// Listen for these names from now on.
    Listen(Names),
    /// There is a better connection: open streams take no further requests.
    Retire,
    /// It is used again.
    Resume,
    /// See whether the peer is there.
    Probe,
    /// Look after it although nothing is due on it.
    Watch,
    /// The connection is dead: end it without waiting for anything.
    Abort,
}

/// What a stream is opened for.
#[derive(Debug)]
pub enum Open {
    /// Requests, or whoever dials.
    Ticket(OpenTicket),
    /// A sign of life.
    Probe,
}

/// What a connection tells the behaviour: how its peer's silence is to be judged.
#[derive(Debug)]
pub struct Judged(pub(crate) Verdict);

impl Handler {
    pub(crate) fn new(
        peer: PeerId,
        client: Arc<ClientHub>,
        server: Arc<ServerHub>,
        activity: Arc<Activity>,
    ) -> Self {
        let listen = Names(server.names());
        let liveness = Liveness::new(client.clock.now());
        Self {
            peer,
            client,
            server,
            listen,
            opens: VecDeque::new(),
            streams: Streams::new(activity.clone()),
            outbound: HashSet::new(),
            retired: false,
            inbound: HashSet::new(),
            raws: Arc::new(()),
            dialled: Arc::new(()),
            opening: 0,
            activity,
            liveness,
            look: None,
            verdicts: VecDeque::new(),
            remote: Remote::default(),
            watched: false,
        }
    }

    /// Whether the peer owes us something, so that its silence means something.
    fn is_due(&self) -> bool {
        let raw = [&self.raws, &self.dialled].iter().any(|raws| Arc::strong_count(raws) > 1);
        self.watched || raw || self.opening > 0 || self.streams.is_due()
    }

    /// Watches for silence while something is due.
    fn poll_liveness(&mut self, cx: &mut Context<'_>) {
        loop {
            if let Some(look) = &mut self.look {
                if Pin::new(look).poll_unpin(cx).is_pending() {
                    return;
                }
                self.look = None;
            } else if !self.is_due() && !self.liveness.is_watched() {
                self.streams.watch();
                return;
            }
            let (heard, written) = (self.activity.heard(), self.activity.written());
            let verdict =
                self.liveness.look(self.is_due(), heard, written, self.client.clock.now());
            self.verdicts.extend(verdict);
            if !self.liveness.is_watched() {
                self.streams.watch();
                return;
            }
            self.look = Some(Delay::new(LOOK));
        }
    }

    /// Whether the peer may open another stream. An idle one may have to end for it.
    fn has_room(&mut self) -> bool {
        self.note_ended();
        let open = self.inbound.len() + Arc::strong_count(&self.raws) - 1;
        let most = self.server.config.max_streams_per_connection();
        open < most || open < most + ENDING && self.server.make_room(&self.inbound)
    }

    fn note_ended(&mut self) {
        for ended in self.streams.ended() {
            match ended {
                Ended::Inbound(stream) => {
                    self.inbound.remove(&stream);
                }
                Ended::Outbound(stream) => {
                    self.outbound.remove(&stream);
                }
                Ended::Probe(answered) => {
                    if answered {
                        self.activity.note_heard();
                        // Somebody may wait for it.
                        self.look = None;
                    }
                }
            }
        }
    }
}

impl std::fmt::Debug for Handler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handler")
            .field("peer", &self.peer)
            .field("inbound", &self.inbound.len())
            .field("outbound", &self.outbound.len())
            .finish_non_exhaustive()
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = ToHandler;
    type ToBehaviour = Judged;
    type InboundProtocol = Names;
    type OutboundProtocol = Names;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Open;

    fn listen_protocol(&self) -> SubstreamProtocol<Names> {
        SubstreamProtocol::new(self.listen.clone(), ()).with_timeout(INBOUND_NEGOTIATION)
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Names, Open, Self::ToBehaviour>> {
        if let Some(ticket) = self.opens.pop_front() {
            let (names, timeout) = (ticket.names.clone(), ticket.timeout);
            self.opening += 1;
            let protocol = SubstreamProtocol::new(names, Open::Ticket(ticket));
            let protocol = protocol.with_timeout(timeout);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        self.streams.poll(cx);
        self.note_ended();
        self.poll_liveness(cx);
        match self.verdicts.pop_front() {
            None => Poll::Pending,
            Some(Verdict::Probe) => {
                let protocol = SubstreamProtocol::new(Names::probe(), Open::Probe);
                let protocol = protocol.with_timeout(PROBE);
                Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol })
            }
            Some(verdict) => Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(Judged(verdict))),
        }
    }

    fn on_behaviour_event(&mut self, event: ToHandler) {
        match event {
            ToHandler::Open(ticket) => self.opens.push_back(ticket),
            ToHandler::Listen(names) => self.listen = names,
            ToHandler::Retire => {
                self.retired = true;
                self.client.retire(self.outbound.iter().copied());
            }
            ToHandler::Resume => self.retired = false,
            ToHandler::Probe => {
                let heard = self.activity.heard();
                let verdict = self.liveness.probe(heard, self.client.clock.now());
                self.verdicts.extend(verdict);
            }
            ToHandler::Watch => self.watched = true,
            ToHandler::Abort => self.streams.abort(),
        }
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Names, Names, (), Open>) {
        match event {
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (stream, _),
                info: Open::Probe,
            }) => self.streams.push(probe::answers(stream).map(Ended::Probe).boxed()),
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (stream, name),
                info: Open::Ticket(ticket),
            }) => {
                self.opening -= 1;
                if self.remote.takes_for_another(&name) {
                    return ticket.fail(StreamError::Unsupported);
                }
                let (deferral, share) = (self.streams.deferral(), self.dialled.clone());
                if let Some(driver) = ticket.succeed(stream, name.speaks, deferral, share) {
                    let id = driver.id();
                    self.outbound.insert(id);
                    if self.retired {
                        self.client.retire([id]);
                    }
                    self.streams.push(driver.map(move |()| Ended::Outbound(id)).boxed());
                }
            }
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (stream, WireName { protocol, speaks, .. }),
                ..
            }) => {
                let has_room = self.has_room();
                match speaks {
                    Speaks::Messages(format) => {
                        let (hub, peer) = (self.server.clone(), self.peer);
                        let driver =
                            ServerDriver::new(hub, peer, protocol, format, stream, has_room);
                        let key = driver.key();
                        self.inbound.insert(key);
                        self.streams.push(driver.map(move |()| Ended::Inbound(key)).boxed());
                    }
                    Speaks::Raw if has_room => {
                        self.server.accept_raw(stream, self.peer, &protocol, self.raws.clone());
                    }
                    // Dropped, which resets it: there is no other way to say so.
                    Speaks::Raw | Speaks::Ping | Speaks::Nothing | Speaks::Mark => {}
                }
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: Open::Probe, error }) => {
                // That it does not know the protocol is an answer too.
                if matches!(error, StreamUpgradeError::NegotiationFailed) {
                    self.activity.note_heard();
                }
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError {
                info: Open::Ticket(ticket),
                error,
            }) => {
                self.opening -= 1;
                ticket.fail(match error {
                    StreamUpgradeError::NegotiationFailed => StreamError::Unsupported,
                    StreamUpgradeError::Io(error) => io_failure(&error)
                        .into_error(Stage::Negotiating, Arc::from(error.to_string())),
                    error => StreamError::Lost(Arc::from(error.to_string())),
                });
            }
            ConnectionEvent::RemoteProtocolsChange(change) => self.remote.update(change),
            _ => {}
        }
    }
}
