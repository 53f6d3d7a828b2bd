//! The runtime-neutral libp2p half of PointSub.

mod address_book;
mod behaviour;
mod client;
mod clock;
mod handler;
pub mod node;
mod peer;
mod runtime;
mod server;
mod stream_io;
mod timer;
mod upgrade;

pub use behaviour::Behaviour;
pub use client::{Call, Client, Sending};
pub use handler::ToHandler;
pub use node::{Node, NodeBuilder};
pub use runtime::{Executor, Runtime};
pub use server::{Handler, HandlerError, Request, Server, Spawned};

pub use libp2p_core::Multiaddr;
pub use libp2p_identity::{Keypair, PeerId};
pub use pointsub_core::server::RegisterError;
pub use pointsub_core::{
    Cause, ClientConfig, ClientStats, ConfigError, Delivery, Phase, ProtocolName,
    ProtocolNameError, RequestError, SendError, ServerConfig, ServerStats, Status, StatusCode,
};

/// Tells everyone who waits; those who have stopped waiting are skipped.
fn notify(waiting: &mut Vec<futures::channel::oneshot::Sender<()>>) {
    for waiter in waiting.drain(..) {
        let _gone = waiter.send(());
    }
}
