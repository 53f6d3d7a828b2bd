//! HTTP clients, and tonic's, that reach servers by Peer ID.
//!
//! The host of a URI is the Peer ID. Connections are raw streams, pooled by hyper's client; HTTP/2 is spoken
//! where the client is told so (`http2_only`), since a raw stream negotiates nothing about HTTP.
//!
//! ```no_run
//! use http_body_util::{BodyExt, Empty};
//! use hyper_util::client::legacy::Client;
//! use hyper_util::rt::TokioExecutor;
//! use pointsub_tokio::{Node, PeerId, ProtocolName, hyper::PeerConnector};
//!
//! # async fn ask(node: Node, peer: PeerId) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! const HTTP: ProtocolName = ProtocolName::from_static("/http/1.1");
//!
//! let connector = PeerConnector::new(node.client(), HTTP);
//! let http: Client<_, Empty<&[u8]>> = Client::builder(TokioExecutor::new()).build(connector);
//! let response = http.get(format!("http://{peer}/").parse()?).await?;
//! println!("{:?}", response.into_body().collect().await?.to_bytes());
//! # Ok(())
//! # }
//! ```
//!
//! A WebSocket needs no pool: a library for them takes what [`Client::dial`] returns.

use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tower_service::Service;

use crate::{Client, PeerId, ProtocolName, RequestError};

pub use crate::caller::Caller;
pub use crate::peer_stream::PeerStream;

/// Connects to the peer that a URI names as its host: `http://12D3Koo…/path`.
///
/// hyper-util's pooling client takes it, and so does `Endpoint::connect_with_connector` of tonic. Responses
/// of hyper-util's client have the [`Caller`] among their extensions.
#[derive(Debug, Clone)]
pub struct PeerConnector {
    client: Client,
    protocol: ProtocolName,
}

impl PeerConnector {
    /// Dials with this client, under the name that the server listens for.
    #[must_use]
    pub const fn new(client: Client, protocol: ProtocolName) -> Self {
        Self { client, protocol }
    }
}

impl Service<Uri> for PeerConnector {
    type Response = TokioIo<PeerStream>;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dial = uri
            .host()
            .and_then(|host| host.parse().ok())
            .map(|peer: PeerId| self.client.dial(peer, &self.protocol));
        async move {
            let stream = dial.ok_or(ConnectError::NotAPeerId(uri))?.await?;
            Ok(TokioIo::new(PeerStream::new(stream)))
        }
        .boxed()
    }
}

impl Connection for PeerStream {
    fn connected(&self) -> Connected {
        Connected::new().extra(self.caller())
    }
}

/// Why there is no connection. No byte of a request was sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The host of the URI is no Peer ID.
    #[error("{0} does not name a Peer ID as its host: write http://12D3Koo…/path")]
    NotAPeerId(Uri),
    /// The peer could not be dialled.
    #[error(transparent)]
    Dial(#[from] RequestError),
}
