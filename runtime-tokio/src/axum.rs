//! An axum application, served by Peer ID.
//!
//! ```no_run
//! use axum::{Router, extract::ConnectInfo, routing::get};
//! use pointsub_tokio::{Node, ProtocolName, axum::{Caller, PeerListener}};
//!
//! # async fn serve(node: Node) -> Result<(), Box<dyn std::error::Error>> {
//! let listener = PeerListener::new(node.server().listen(&ProtocolName::new("/http/1.1")?)?);
//! let app = Router::new().route(
//!     "/",
//!     get(|ConnectInfo(Caller(peer)): ConnectInfo<Caller>| async move { format!("hello, {peer}") }),
//! );
//! axum::serve(listener, app.into_make_service_with_connect_info::<Caller>()).await?;
//! # Ok(())
//! # }
//! ```

use std::future::pending;
use std::io;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;

use crate::{Listener, PeerId, RawStream};

pub use crate::caller::Caller;

/// A [`Listener`] that `axum::serve` takes.
#[derive(Debug)]
pub struct PeerListener {
    listener: Listener,
}

impl PeerListener {
    /// Serves what comes to `listener`.
    #[must_use]
    pub const fn new(listener: Listener) -> Self {
        Self { listener }
    }
}

impl axum::serve::Listener for PeerListener {
    type Io = RawStream;
    type Addr = PeerId;

    /// Waits for ever once the server was stopped: axum has its own ways to be told.
    async fn accept(&mut self) -> (RawStream, PeerId) {
        match self.listener.accept().await {
            Some(stream) => {
                let peer = stream.peer_id();
                (stream, peer)
            }
            None => pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<PeerId> {
        Ok(self.listener.local_peer_id())
    }
}

impl Connected<IncomingStream<'_, PeerListener>> for Caller {
    fn connect_info(stream: IncomingStream<'_, PeerListener>) -> Self {
        Self(*stream.remote_addr())
    }
}
