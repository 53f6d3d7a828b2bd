//! Raw streams that are dialled.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use libp2p_identity::PeerId;
use pointsub_core::{DialId, ProtocolName, RequestError};

use super::shared::ClientHub;
use super::{Client, InFlight, InHub, gone};
use crate::api::raw::RawStream;
use crate::peer;

impl Client {
    /// A raw stream to a peer that [listens](crate::Server::listen) for the protocol: bytes in
    /// both directions, in whatever format the two agree on. Await it; set options before.
    ///
    /// The peer is dialled if there is no connection to it and an address of it is known. When it
    /// is there, the peer has agreed to the protocol, which costs a round trip. It is tried once.
    /// `connect_timeout` covers all of it, and the stream counts among the streams of the peer
    /// (`max_streams_per_peer`) until it is dropped.
    ///
    /// # Errors
    /// [`RequestError`]: [`Unsupported`](crate::Cause::Unsupported) if the peer does not listen
    /// for the protocol, [`TooManyStreams`](crate::SendError::TooManyStreams) if as many streams as are
    /// allowed are in use, and whatever else can go wrong with connecting.
    pub fn dial<'a>(&self, peer: PeerId, protocol: &'a ProtocolName) -> Dial<'a> {
        Dial { hub: self.hub.clone(), peer, protocol, timeout: None }
    }
}

/// A stream that is not dialled yet: [`Client::dial`]. Nothing happens until it is awaited.
#[derive(Debug)]
#[must_use = "a peer is dialled when this is awaited"]
pub struct Dial<'a> {
    hub: Arc<ClientHub>,
    peer: PeerId,
    protocol: &'a ProtocolName,
    timeout: Option<Duration>,
}

impl Dial<'_> {
    /// The longest time that dialling may take, if that is less than `connect_timeout`.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

impl<'a> IntoFuture for Dial<'a> {
    type Output = Result<RawStream, RequestError>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        async move {
            let Self { hub, peer, protocol, timeout } = self;
            let deadline = timeout.map(|timeout| hub.clock.now() + timeout);
            let (id, outcome) = hub.dial(&peer::to_core(&peer), protocol.as_str(), deadline)?;
            InFlight::new(hub, id, outcome, deadline).await.ok_or_else(gone)?
        }
        .boxed()
    }
}

impl InHub for DialId {
    fn cancel(self, hub: &Arc<ClientHub>) {
        hub.hang_up(self);
    }

    fn expire(self, hub: &Arc<ClientHub>) {
        hub.expire_dial(self);
    }
}
