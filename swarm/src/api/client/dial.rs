//! Raw streams that are dialled.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p_identity::PeerId;
use pointsub_core::{Cause, Delivery, DialId, Phase, ProtocolName, RequestError};

use super::lazy::Lazy;
use super::shared::ClientShared;
use super::{Cancellable, Client, InFlight, gone};
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
    pub fn dial(&self, peer: PeerId, protocol: &ProtocolName) -> Dial {
        let (shared, protocol) = (self.shared.clone(), protocol.clone());
        Dial(Lazy::New(Undialled { shared, peer, protocol, timeout: None }))
    }
}

/// A raw stream that is to come: [`Client::dial`]. The peer is dialled when this is first polled. Set
/// options before.
#[must_use = "a peer is dialled when this is awaited"]
pub struct Dial(Lazy<Undialled, Result<RawStream, RequestError>>);

struct Undialled {
    shared: Arc<ClientShared>,
    peer: PeerId,
    protocol: ProtocolName,
    timeout: Option<Duration>,
}

impl Dial {
    /// The longest time that dialling may take, if that is less than `connect_timeout`.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.0.set(|undialled| undialled.timeout = Some(timeout));
        self
    }
}

impl Future for Dial {
    type Output = Result<RawStream, RequestError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(dial, cx)
    }
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dial").finish_non_exhaustive()
    }
}

async fn dial(undialled: Undialled) -> Result<RawStream, RequestError> {
    let Undialled { shared, peer, protocol, timeout } = undialled;
    if shared.answers.is_some() {
        let (phase, delivery) = (Phase::Connect, Delivery::NotProcessed);
        return Err(RequestError::new(Cause::Unsupported, phase, delivery));
    }
    let deadline = timeout.map(|timeout| shared.clock.now() + timeout);
    let (id, outcome) = shared.dial(&peer::to_core(&peer), protocol.as_str(), deadline)?;
    InFlight::new(shared, id, outcome, deadline).await.ok_or_else(gone)?
}

impl Cancellable for DialId {
    fn cancel(self, shared: &Arc<ClientShared>) {
        shared.hang_up(self);
    }

    fn expire(self, shared: &Arc<ClientShared>) {
        shared.expire_dial(self);
    }
}
