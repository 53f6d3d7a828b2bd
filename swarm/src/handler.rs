//! One connection: negotiates streams, many at a time, and runs them together.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use libp2p_identity::PeerId;
use libp2p_swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p_swarm::{
    ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol,
};
use pointsub_core::{StreamError, StreamId};

use crate::client::hub::ClientHub;
use crate::client::ticket::OpenTicket;
use crate::server::driver::ServerDriver;
use crate::server::hub::ServerHub;
use crate::stream_io::stream_error;
use crate::streams::{Ended, Streams};
use crate::upgrade::{Names, Speaks, WireName};

/// How long a peer may take to negotiate a stream that it opens.
const INBOUND_NEGOTIATION: Duration = Duration::from_secs(10);

/// The streams of one connection.
///
/// Streams do not run on tasks of their own, because whatever reads the connection is woken for every
/// byte anyway: without the hop, a read full of requests is answered with one write. See
/// [`pump`](crate::pump) for how it gets there.
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
    inbound: usize,
    /// Raw streams that the peer has opened hold a share of it.
    raws: Arc<()>,
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
}

impl Handler {
    pub(crate) fn new(peer: PeerId, client: Arc<ClientHub>, server: Arc<ServerHub>) -> Self {
        let listen = Names(server.names());
        Self {
            peer,
            client,
            server,
            listen,
            opens: VecDeque::new(),
            streams: Streams::new(),
            outbound: HashSet::new(),
            retired: false,
            inbound: 0,
            raws: Arc::new(()),
        }
    }

    fn note_ended(&mut self) {
        for ended in self.streams.ended() {
            match ended {
                Ended::Inbound => self.inbound -= 1,
                Ended::Outbound(stream) => {
                    self.outbound.remove(&stream);
                }
            }
        }
    }
}

impl std::fmt::Debug for Handler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handler")
            .field("peer", &self.peer)
            .field("inbound", &self.inbound)
            .field("outbound", &self.outbound.len())
            .finish_non_exhaustive()
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = ToHandler;
    type ToBehaviour = std::convert::Infallible;
    type InboundProtocol = Names;
    type OutboundProtocol = Names;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = OpenTicket;

    fn listen_protocol(&self) -> SubstreamProtocol<Names> {
        SubstreamProtocol::new(self.listen.clone(), ()).with_timeout(INBOUND_NEGOTIATION)
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Names, OpenTicket, Self::ToBehaviour>> {
        if let Some(ticket) = self.opens.pop_front() {
            let (names, timeout) = (ticket.names.clone(), ticket.timeout);
            let protocol = SubstreamProtocol::new(names, ticket).with_timeout(timeout);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        self.streams.poll(cx);
        self.note_ended();
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, event: ToHandler) {
        match event {
            ToHandler::Open(ticket) => self.opens.push_back(ticket),
            ToHandler::Listen(names) => self.listen = names,
            ToHandler::Retire => {
                self.retired = true;
                self.client.retire(self.outbound.iter().copied());
            }
        }
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Names, Names, (), OpenTicket>) {
        match event {
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (stream, name),
                info: ticket,
            }) => {
                if let Some(driver) = ticket.succeed(stream, name.speaks, self.streams.deferral()) {
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
                self.note_ended();
                let open = self.inbound + Arc::strong_count(&self.raws) - 1;
                let has_room = open < self.server.config.max_streams_per_connection();
                match speaks {
                    Speaks::Messages(format) => {
                        let (hub, peer) = (self.server.clone(), self.peer);
                        let driver =
                            ServerDriver::new(hub, peer, protocol, format, stream, has_room);
                        self.inbound += 1;
                        self.streams.push(driver.map(|()| Ended::Inbound).boxed());
                    }
                    Speaks::Raw if has_room => {
                        self.server.accept_raw(stream, self.peer, &protocol, self.raws.clone());
                    }
                    // Dropped, which resets it: there is no other way to say so.
                    Speaks::Raw | Speaks::Nothing => {}
                }
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: ticket, error }) => {
                ticket.fail(match error {
                    StreamUpgradeError::NegotiationFailed => StreamError::Unsupported,
                    StreamUpgradeError::Io(error) => stream_error(&error),
                    error => StreamError::Lost(Arc::from(error.to_string())),
                });
            }
            _ => {}
        }
    }
}
