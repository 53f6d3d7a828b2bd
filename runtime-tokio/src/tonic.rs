//! gRPC services of tonic, served by Peer ID. A client connects with
//! [`PeerConnector`](crate::hyper::PeerConnector).
//!
//! ```no_run
//! use pointsub_tokio::{Node, PeerId, ProtocolName, hyper::PeerConnector, tonic::PeerIncoming};
//! use tonic::transport::{Channel, Endpoint, Server};
//!
//! const GRPC: ProtocolName = ProtocolName::from_static("/grpc");
//!
//! # async fn serve(node: Node) -> Result<(), Box<dyn std::error::Error>> {
//! let (_, health) = tonic_health::server::health_reporter();
//! let incoming = PeerIncoming::new(node.server().listen(&GRPC)?);
//! Server::builder().add_service(health).serve_with_incoming(incoming).await?;
//! # Ok(())
//! # }
//! # async fn connect(node: Node, peer: PeerId) -> Result<Channel, Box<dyn std::error::Error>> {
//! let connector = PeerConnector::new(node.client(), GRPC);
//! let channel = Endpoint::from_shared(format!("http://{peer}"))?.connect_with_connector(connector).await?;
//! # Ok(channel)
//! # }
//! ```
//!
//! A handler finds the [`Caller`] among the extensions of its request.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{Stream, StreamExt};
use tonic::transport::server::Connected;

use crate::Listener;

pub use crate::caller::Caller;
pub use crate::peer_stream::PeerStream;

/// A [`Listener`] that `serve_with_incoming` of tonic takes. It ends when the server is stopped.
#[derive(Debug)]
pub struct PeerIncoming {
    listener: Listener,
}

impl PeerIncoming {
    /// Serves what comes to `listener`.
    #[must_use]
    pub const fn new(listener: Listener) -> Self {
        Self { listener }
    }
}

impl Stream for PeerIncoming {
    type Item = Result<PeerStream, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.listener
            .poll_next_unpin(cx)
            .map(|stream| stream.map(|stream| Ok(PeerStream::new(stream))))
    }
}

impl Connected for PeerStream {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller()
    }
}
