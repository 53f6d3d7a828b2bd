//! Clients as services.

use std::task::{Context, Poll};

use libp2p_identity::PeerId;
use pointsub_core::RequestError;
use tower_service::Service;

use super::outgoing::{OutgoingCall, OutgoingRequest};
use crate::api::calls::{OpenCall, OpenClosest, StreamingCall};
use crate::api::client::{Call, Client, ClosestCall};
use crate::api::failover::ClosestError;
use crate::api::message::Response;

impl Client {
    /// This client and a peer as a service, which layers go around: [`middleware`](crate::middleware).
    #[must_use]
    pub fn to_peer(&self, peer: PeerId) -> ToPeer {
        ToPeer { client: self.clone(), peer }
    }

    /// This client as a service that sends each request to the closest server of its protocol:
    /// [`middleware`](crate::middleware).
    #[must_use]
    pub fn to_closest(&self) -> ToClosest {
        ToClosest { client: self.clone() }
    }
}

/// Sends requests to a peer, and opens calls there: [`Client::to_peer`]. It is always ready.
#[derive(Debug, Clone)]
pub struct ToPeer {
    client: Client,
    peer: PeerId,
}

/// Sends each request to the closest server of its protocol, and opens calls there:
/// [`Client::to_closest`]. It is always ready.
#[derive(Debug, Clone)]
pub struct ToClosest {
    client: Client,
}

impl Service<OutgoingRequest> for ToPeer {
    type Response = Response;
    type Error = RequestError;
    type Future = Call;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), RequestError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: OutgoingRequest) -> Call {
        request.send_to(&self.client, self.peer)
    }
}

impl Service<OutgoingCall> for ToPeer {
    type Response = StreamingCall;
    type Error = RequestError;
    type Future = OpenCall;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), RequestError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: OutgoingCall) -> OpenCall {
        call.open_at(&self.client, self.peer)
    }
}

impl Service<OutgoingRequest> for ToClosest {
    type Response = Response;
    type Error = ClosestError;
    type Future = ClosestCall;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ClosestError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: OutgoingRequest) -> ClosestCall {
        request.send_to_closest(&self.client)
    }
}

impl Service<OutgoingCall> for ToClosest {
    type Response = StreamingCall;
    type Error = ClosestError;
    type Future = OpenClosest;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ClosestError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: OutgoingCall) -> OpenClosest {
        call.open_at_closest(&self.client)
    }
}
