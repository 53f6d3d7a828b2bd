//! Both roles of a node behind one handle.

use std::time::Duration;

use bytes::Bytes;
use libp2p_identity::PeerId;
use pointsub_core::ProtocolName;
use pointsub_core::endpoint::RegisterError;

use super::client::{Call, Client, ClosestCall};
use super::server::{Handler, Server, Stopped};

/// Server and client of one node as one handle. Cheap to clone; clones share everything.
///
/// The two roles do not touch each other: the server can be stopped and started again while the
/// client works, and a handler may use the client, even to ask its own caller back. Whatever else
/// one of the roles can do, [`server`](Self::server) and [`client`](Self::client) have it.
///
/// ```
/// use std::time::Duration;
/// use pointsub_swarm::{PeerId, PointSub, ProtocolName, Request};
///
/// async fn both(node: PointSub, other: PeerId) -> Result<(), Box<dyn std::error::Error>> {
///     let chat = ProtocolName::new("/chat/1.0.0")?;
///     node.start(&chat, |request: Request| async move { request.body })?;
///     let answer = node.send(other, &chat, "hello").await?;
///     node.stop_server(Duration::from_secs(10)).await;
///     let answer_again = node.send(other, &chat, answer).await?;
///     # let _ = answer_again;
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone)]
pub struct PointSub {
    client: Client,
    server: Server,
}

impl PointSub {
    pub(crate) const fn new(client: Client, server: Server) -> Self {
        Self { client, server }
    }

    /// The client alone.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// The server alone.
    #[must_use]
    pub const fn server(&self) -> &Server {
        &self.server
    }

    /// Serves a protocol from now on: [`Server::register`].
    ///
    /// # Errors
    /// [`RegisterError`] if the protocol has a handler already, or the server is stopping.
    pub fn start(
        &self,
        protocol: &ProtocolName,
        handler: impl Handler,
    ) -> Result<(), RegisterError> {
        self.server.register(protocol, handler)
    }

    /// Whether anything is served: [`Server::is_running`].
    #[must_use]
    pub fn is_server_running(&self) -> bool {
        self.server.is_running()
    }

    /// Stops serving, in good order: [`Server::stop`]. The client goes on. Afterwards protocols can
    /// be started again.
    pub async fn stop_server(&self, grace: Duration) -> Stopped {
        self.server.stop(grace).await
    }

    /// A request to a peer: [`Client::send`].
    pub fn send(&self, peer: PeerId, protocol: &ProtocolName, body: impl Into<Bytes>) -> Call {
        self.client.send(peer, protocol, body)
    }

    /// A request to the closest of the protocol's servers: [`Client::send_closest`].
    pub fn send_closest(&self, protocol: &ProtocolName, body: impl Into<Bytes>) -> ClosestCall {
        self.client.send_closest(protocol, body)
    }

    /// Stops both roles: the server as [`stop_server`](Self::stop_server) does, then the client,
    /// whose calls under way fail. The client stays closed.
    pub async fn stop(&self, grace: Duration) -> Stopped {
        let stopped = self.server.stop(grace).await;
        self.client.close().await;
        stopped
    }
}
