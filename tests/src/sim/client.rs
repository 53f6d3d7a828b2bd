//! The client of a life: the whole machine, or its parts with a seam between them.

use std::sync::Arc;

use pointsub_core::connection::ClientStream;
use pointsub_core::endpoint::Dispatcher;
use pointsub_core::endpoint::closest::{AddNodeError, Node, Point, Strategy};
use pointsub_core::{
    Body, CallOptions, Client, ClientConfig, ClientInput, ClientOutput, ClientStats, ClosestId,
    ClosestOptions, DialId, PeerId, ProtocolName, RequestId, SendError, StreamId, StreamInfo,
    Timestamp,
};

use super::seam::client::Caller;
use super::seam::{Parts, Seam};
use crate::coverage::Situation;

/// The client of a life.
#[derive(Debug)]
pub enum SimClient {
    /// The whole machine.
    Whole(Box<Client>),
    /// Its parts.
    Parts(Box<Parts>),
}

/// What the world asks of its client, whichever it is.
impl SimClient {
    /// The client of the life with this seed.
    ///
    /// # Panics
    /// If an option is out of its range.
    #[must_use]
    pub fn new(config: ClientConfig, local: PeerId, seed: u64, seam: Seam) -> Self {
        let whole = Client::new(config.clone(), Some(local), seed);
        let whole = whole.expect("options within their ranges");
        match seam.of_client(seed) {
            None => Self::Whole(whole.into()),
            Some(faults) => Self::Parts(Parts::new(config, local, seed, faults).into()),
        }
    }

    /// Whether messages are under way between its parts.
    #[must_use]
    pub fn has_seam(&self) -> bool {
        matches!(self, Self::Parts(_))
    }

    fn dispatcher(parts: &mut Parts, now: Timestamp) -> &mut Dispatcher {
        parts.advance(now);
        &mut parts.dispatcher
    }

    pub(super) fn set_strategy(&mut self, strategy: impl Strategy + 'static) {
        match self {
            Self::Whole(client) => client.set_strategy(strategy),
            Self::Parts(parts) => _ = parts.dispatcher.set_strategy(Arc::new(strategy)),
        }
    }

    pub(super) fn send(
        &mut self,
        peer: &PeerId,
        protocol: &str,
        body: Body,
        options: CallOptions,
        now: Timestamp,
    ) -> Result<RequestId, SendError> {
        match self {
            Self::Whole(client) => client.send(peer, protocol, body, options, now),
            Self::Parts(parts) => {
                let dispatcher = Self::dispatcher(parts, now);
                let id = dispatcher.send(peer, protocol, body, options, now)?;
                parts.watch(options.deadline, Caller::Request(id));
                Ok(id)
            }
        }
    }

    pub(super) fn send_closest(
        &mut self,
        protocol: &str,
        key: Point,
        body: Body,
        options: ClosestOptions,
        now: Timestamp,
    ) -> Result<ClosestId, SendError> {
        match self {
            Self::Whole(client) => client.send_closest(protocol, key, body, options, now),
            Self::Parts(parts) => {
                let deadline = options.call.deadline;
                let dispatcher = Self::dispatcher(parts, now);
                let id = dispatcher.send_closest(protocol, key, body, options, now)?;
                parts.watch(deadline, Caller::Closest(id));
                Ok(id)
            }
        }
    }

    pub(super) fn cancel(&mut self, request: RequestId, now: Timestamp) {
        match self {
            Self::Whole(client) => client.cancel(request, now),
            Self::Parts(parts) => Self::dispatcher(parts, now).cancel(request, now),
        }
    }

    pub(super) fn cancel_closest(&mut self, call: ClosestId, now: Timestamp) {
        match self {
            Self::Whole(client) => client.cancel_closest(call, now),
            Self::Parts(parts) => Self::dispatcher(parts, now).cancel_closest(call, now),
        }
    }

    pub(super) fn dial(
        &mut self,
        peer: &PeerId,
        protocol: &str,
        deadline: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<DialId, SendError> {
        match self {
            Self::Whole(client) => client.dial(peer, protocol, deadline, now),
            Self::Parts(parts) => Self::dispatcher(parts, now).dial(peer, protocol, deadline, now),
        }
    }

    pub(super) fn hang_up(&mut self, dial: DialId, now: Timestamp) {
        match self {
            Self::Whole(client) => client.hang_up(dial, now),
            Self::Parts(parts) => Self::dispatcher(parts, now).hang_up(dial, now),
        }
    }

    pub(super) fn add_server_node(
        &mut self,
        protocol: &ProtocolName,
        peer: PeerId,
        now: Timestamp,
    ) -> Result<bool, AddNodeError> {
        match self {
            Self::Whole(client) => client.add_server_node(protocol, peer, now),
            Self::Parts(parts) => Self::dispatcher(parts, now).add_server_node(protocol, peer, now),
        }
    }

    pub(super) fn remove_server_node(&mut self, protocol: &str, peer: &PeerId) {
        match self {
            Self::Whole(client) => _ = client.remove_server_node(protocol, peer),
            Self::Parts(parts) => _ = parts.dispatcher.remove_server_node(protocol, peer),
        }
    }

    pub(super) fn clear_server_nodes(&mut self, protocol: &str) {
        match self {
            Self::Whole(client) => client.clear_server_nodes(protocol),
            Self::Parts(parts) => parts.dispatcher.clear_server_nodes(protocol),
        }
    }

    /// The servers of a protocol.
    #[must_use]
    pub fn server_nodes(&self, protocol: &str) -> Box<dyn Iterator<Item = &Node> + '_> {
        match self {
            Self::Whole(client) => Box::new(client.server_nodes(protocol)),
            Self::Parts(parts) => Box::new(parts.dispatcher.server_nodes(protocol)),
        }
    }

    pub(super) fn set_online(&mut self, peer: PeerId, online: bool) {
        match self {
            Self::Whole(client) => client.set_online(peer, online),
            Self::Parts(parts) => parts.dispatcher.set_online(peer, online),
        }
    }

    pub(super) fn retire(&mut self, stream: StreamId, now: Timestamp) {
        match self {
            Self::Whole(client) => client.retire(stream, now),
            Self::Parts(parts) => Self::dispatcher(parts, now).retire(stream, now),
        }
    }

    pub(super) fn drain(&mut self, now: Timestamp) {
        match self {
            Self::Whole(client) => client.drain(now),
            Self::Parts(parts) => Self::dispatcher(parts, now).drain(now),
        }
    }

    pub(super) fn close(&mut self, now: Timestamp) {
        match self {
            Self::Whole(client) => client.close(now),
            Self::Parts(parts) => Self::dispatcher(parts, now).close(now),
        }
    }

    pub(super) fn handle_input(&mut self, input: ClientInput, now: Timestamp) {
        match self {
            Self::Whole(client) => client.handle_input(input, now),
            Self::Parts(parts) => parts.handle_input(input, now),
        }
    }

    /// What is under way between the parts arrives by then, whoever is told the time.
    pub(super) fn advance(&mut self, now: Timestamp) {
        if let Self::Parts(parts) = self {
            parts.advance(now);
        }
    }

    pub(super) fn poll_output(&mut self) -> ClientOutput {
        match self {
            Self::Whole(client) => client.poll_output(),
            Self::Parts(parts) => parts.poll_output(),
        }
    }

    /// Situations that its seam came into since this was last asked.
    pub(super) fn take_met(&mut self) -> Vec<Situation> {
        match self {
            Self::Whole(_) => Vec::new(),
            Self::Parts(parts) => std::mem::take(&mut parts.met),
        }
    }

    pub(super) fn wants_read(&self, stream: StreamId) -> bool {
        match self {
            Self::Whole(client) => client.wants_read(stream),
            Self::Parts(parts) => parts.stream(stream).is_some_and(ClientStream::wants_read),
        }
    }

    pub(super) fn space(&mut self, stream: StreamId) -> Option<&mut [u8]> {
        match self {
            Self::Whole(client) => client.space(stream),
            Self::Parts(parts) => parts.space(stream),
        }
    }

    /// Counters so far.
    #[must_use]
    pub fn stats(&self) -> ClientStats {
        match self {
            Self::Whole(client) => client.stats(),
            Self::Parts(parts) => parts.dispatcher.stats(),
        }
    }

    /// One entry for each open stream.
    #[must_use]
    pub fn streams(&self, now: Timestamp) -> Vec<StreamInfo> {
        match self {
            Self::Whole(client) => client.streams(now),
            Self::Parts(parts) => parts.dispatcher.streams(now),
        }
    }

    /// Bytes held for incomplete answers and unwritten requests.
    #[must_use]
    pub fn buffered(&self) -> usize {
        match self {
            Self::Whole(client) => client.buffered(),
            Self::Parts(parts) => parts.buffered(),
        }
    }
}
