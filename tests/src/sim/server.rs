//! A server of a life: the whole machine, or its parts with a seam between them.

use pointsub_core::connection::ServerStream;
use pointsub_core::endpoint::StreamKey;
use pointsub_core::{
    Body, Format, InboundId, PeerId, ProtocolName, Server, ServerConfig, ServerInput, ServerOutput,
    ServerStats, Status, StreamId, StreamInfo, Timestamp,
};

use super::seam::{Seam, ServerParts};

/// A server of a life.
#[derive(Debug)]
pub enum SimServer {
    /// The whole machine.
    Whole(Box<Server>),
    /// Its parts.
    Parts(Box<ServerParts>),
}

/// What a server wants, and what only its parts show.
#[derive(Debug)]
pub(super) enum SimOutput {
    /// As the whole machine has it.
    Server(ServerOutput),
    /// Admission control lets a request in; a handler will see it later.
    Admitted { peer: PeerId, protocol: ProtocolName },
    /// Requests that follow one got places with it.
    Together,
    /// The next request came on the place of another one, for the last time before a verdict if so.
    Renewed { last: bool },
    /// A stream is closed. Whether messages of its were under way, and how many handlers at work.
    Closed { stream: StreamId, asking: bool, at_work: usize },
    /// The handler of a request was stopped together with its stream.
    Stopped(InboundId),
}

/// What the world asks of a server, whichever it is.
impl SimServer {
    /// The server of a peer in one of its lives.
    ///
    /// # Panics
    /// If an option is out of its range.
    #[must_use]
    pub fn new(config: &ServerConfig, seam: Seam, seed: u64, peer: usize, life: u64) -> Self {
        let whole = Server::new(config.clone()).expect("options within their ranges");
        match seam.of_server(seed, peer, life) {
            None => Self::Whole(whole.into()),
            Some(faults) => {
                let seed = super::Rng::of(seed, &[peer as u64, life]).next_u64();
                Self::Parts(ServerParts::new(config.clone(), seed, faults).into())
            }
        }
    }

    /// Whether messages are under way between its parts now and then.
    #[must_use]
    pub fn has_seam(&self) -> bool {
        matches!(self, Self::Parts(_))
    }

    /// Whether none is under way now.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        match self {
            Self::Whole(_) => true,
            Self::Parts(parts) => parts.is_quiet(),
        }
    }

    fn at(parts: &mut ServerParts, now: Timestamp) -> &mut ServerParts {
        parts.advance(now);
        parts
    }

    /// Ends an idle one of these streams, if there is one, in favour of another.
    pub(super) fn make_room(
        &mut self,
        among: impl IntoIterator<Item = StreamId>,
    ) -> Option<StreamId> {
        match self {
            Self::Whole(_) => None,
            Self::Parts(parts) => parts.make_room(among),
        }
    }

    pub(super) fn register(&mut self, protocol: &ProtocolName) {
        let _exists = match self {
            Self::Whole(server) => server.register(protocol),
            Self::Parts(parts) => parts.admission.register(protocol),
        };
    }

    pub(super) fn unregister(&mut self, protocol: &str) {
        match self {
            Self::Whole(server) => _ = server.unregister(protocol),
            Self::Parts(parts) => _ = parts.admission.unregister(protocol),
        }
    }

    pub(super) fn accept(
        &mut self,
        peer: PeerId,
        protocol: &ProtocolName,
        format: Format,
        room: bool,
        now: Timestamp,
    ) -> StreamId {
        match self {
            Self::Whole(server) => server.accept(peer, protocol, format, now),
            Self::Parts(parts) => Self::at(parts, now).accept(peer, protocol, format, room),
        }
    }

    pub(super) fn accept_raw(
        &mut self,
        peer: PeerId,
        protocol: &ProtocolName,
        now: Timestamp,
    ) -> Result<StreamKey, Status> {
        match self {
            Self::Whole(server) => server.accept_raw(peer, protocol, now),
            Self::Parts(parts) => Self::at(parts, now).accept_raw(peer, protocol),
        }
    }

    pub(super) fn close_raw(&mut self, key: StreamKey, now: Timestamp) {
        match self {
            Self::Whole(server) => server.close_raw(key, now),
            Self::Parts(parts) => Self::at(parts, now).close_raw(key),
        }
    }

    pub(super) fn handle_input(&mut self, input: ServerInput, now: Timestamp) {
        match self {
            Self::Whole(server) => server.handle_input(input, now),
            Self::Parts(parts) => parts.handle_input(input, now),
        }
    }

    pub(super) fn respond(
        &mut self,
        request: InboundId,
        answer: Result<Body, Status>,
        now: Timestamp,
    ) {
        match self {
            Self::Whole(server) => server.respond(request, answer, now),
            Self::Parts(parts) => Self::at(parts, now).respond(request, answer),
        }
    }

    pub(super) fn abandoned(&mut self, request: InboundId, now: Timestamp) {
        match self {
            Self::Whole(server) => server.abandoned(request, now),
            Self::Parts(parts) => Self::at(parts, now).abandoned(request),
        }
    }

    pub(super) fn drain(&mut self, deadline: Timestamp, now: Timestamp) {
        match self {
            Self::Whole(server) => server.drain(deadline, now),
            Self::Parts(parts) => Self::at(parts, now).drain(deadline),
        }
    }

    /// What is under way between the parts arrives by then, whoever is told the time.
    pub(super) fn advance(&mut self, now: Timestamp) {
        if let Self::Parts(parts) = self {
            parts.advance(now);
        }
    }

    pub(super) fn poll_output(&mut self) -> SimOutput {
        match self {
            Self::Whole(server) => SimOutput::Server(server.poll_output()),
            Self::Parts(parts) => parts.poll_output(),
        }
    }

    pub(super) fn wants_read(&self, stream: StreamId) -> bool {
        match self {
            Self::Whole(server) => server.wants_read(stream),
            Self::Parts(parts) => parts.stream(stream).is_some_and(ServerStream::wants_read),
        }
    }

    pub(super) fn space(&mut self, stream: StreamId) -> Option<&mut [u8]> {
        match self {
            Self::Whole(server) => server.space(stream),
            Self::Parts(parts) => parts.space(stream),
        }
    }

    /// Counters so far.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        match self {
            Self::Whole(server) => server.stats(),
            Self::Parts(parts) => parts.admission.stats(),
        }
    }

    /// One entry for each open stream.
    #[must_use]
    pub fn streams(&self, now: Timestamp) -> Vec<StreamInfo> {
        match self {
            Self::Whole(server) => server.streams(now),
            Self::Parts(parts) => parts.admission.streams(now),
        }
    }

    /// Bytes held for incomplete requests and unwritten answers.
    #[must_use]
    pub fn buffered(&self) -> usize {
        match self {
            Self::Whole(server) => server.buffered(),
            Self::Parts(parts) => parts.buffered(),
        }
    }

    /// Streams, those included of which admission control has not heard.
    #[must_use]
    pub fn open(&self) -> usize {
        match self {
            Self::Whole(server) => server.stats().streams as usize,
            Self::Parts(parts) => parts.open(),
        }
    }
}
