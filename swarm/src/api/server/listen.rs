//! Raw streams that peers open.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::channel::mpsc;
use futures::{Stream, StreamExt};
use libp2p_identity::PeerId;
use pointsub_core::ProtocolName;
use pointsub_core::endpoint::RegisterError;

use super::Server;
use super::shared::{Listening, ServerShared};
use crate::api::raw::RawStream;

impl Server {
    /// Takes raw streams under a protocol from now on, on connections that are open already too:
    /// the counterpart of [`Client::dial`](crate::Client::dial).
    ///
    /// Each stream has a place among
    /// [`max_raw_streams`](pointsub_core::ServerConfig::max_raw_streams), from when it comes until it
    /// is dropped, with fair shares for peers and protocols; beyond them it is reset. It is no
    /// request: the limit of those does not hold for it, and does not change with it.
    ///
    /// # Errors
    /// [`RegisterError`] if the protocol has a handler or listener already, or the server is
    /// stopping.
    pub fn listen(&self, protocol: &ProtocolName) -> Result<Listener, RegisterError> {
        let (sender, incoming) = mpsc::unbounded();
        let listening = self.shared.listen(protocol, sender)?;
        Ok(Listener {
            shared: self.shared.clone(),
            protocol: protocol.clone(),
            listening,
            incoming,
        })
    }
}

/// Raw streams as they come, the counterpart of Go's `net.Listener`. Dropping it ends the service;
/// streams that were accepted go on.
///
/// Streams that come while nobody accepts wait. Nothing of them is read meanwhile, so their senders
/// wait too, and there are no more of them than `max_raw_streams`.
#[must_use = "the service ends when the listener is dropped"]
pub struct Listener {
    shared: Arc<ServerShared>,
    protocol: ProtocolName,
    listening: Listening,
    incoming: mpsc::UnboundedReceiver<RawStream>,
}

impl Listener {
    /// The next stream; `None` once the server was [stopped](Server::stop) or the protocol
    /// [unregistered](Server::unregister).
    pub async fn accept(&mut self) -> Option<RawStream> {
        self.incoming.next().await
    }

    /// The peer id under which this is reached.
    #[must_use]
    pub fn local_peer_id(&self) -> PeerId {
        self.shared.local
    }

    /// The protocol that is listened for.
    #[must_use]
    pub fn protocol(&self) -> &ProtocolName {
        &self.protocol
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("protocol", &self.protocol).finish_non_exhaustive()
    }
}

impl Stream for Listener {
    type Item = RawStream;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<RawStream>> {
        self.incoming.poll_next_unpin(cx)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.shared.unlisten(&self.protocol, self.listening);
    }
}
