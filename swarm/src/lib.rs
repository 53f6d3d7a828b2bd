//! PointSub's libp2p half: everything but the runtime.
//!
//! Most programs use `pointsub-tokio`, which adds a runtime and exports this crate whole. Use this
//! one to put PointSub into a swarm of your own ([`Behaviour`]), or to bring another runtime
//! ([`Runtime`]).
//!
//! ```text
//!  callers ── Client ──▶ hub: dispatcher ──▶ open ──▶ Behaviour ──▶ swarm
//!                             ▲   │
//!                     reports │   │ commands, a batch at a time
//!                             │   ▼
//!  connection's pump ─── Streams ── one driver a stream: wire machine + bytes
//!                             │   ▲
//!                    requests ▼   │ answers
//!  handlers ── Server ──── registry, gate
//! ```
//!
//! Decisions are the core's: which stream, whether to open another, when to give up
//! (`Dispatcher`), whom to let in (`Gate`), what the bytes mean (`ClientStream`,
//! `ServerStream`). This crate carries them out.
//!
//! A `Behaviour` beside others, in a swarm on any executor:
//!
//! ```no_run
//! use libp2p_swarm::NetworkBehaviour;
//! use pointsub_swarm::{Behaviour, ClientConfig, ConfigError, Executor, PeerId, ServerConfig};
//!
//! #[derive(NetworkBehaviour)]
//! #[behaviour(prelude = "libp2p_swarm::derive_prelude")]
//! struct Mine {
//!     pointsub: Behaviour,
//!     ping: libp2p_ping::Behaviour,
//! }
//!
//! fn mine(local: PeerId, executor: Executor) -> Result<Mine, ConfigError> {
//!     let (client, server) = (ClientConfig::default(), ServerConfig::default());
//!     let pointsub = Behaviour::new(local, client, server, executor)?;
//!     let handles = (pointsub.client(), pointsub.server()); // keep these, use them anywhere
//!     # let _ = handles;
//!     Ok(Mine { pointsub, ping: Default::default() })
//! }
//! ```
//!
//! A swarm of your own should set [`Version::V1Lazy`](libp2p_core::upgrade::Version::V1Lazy) with
//! `Config::with_substream_upgrade_protocol_override`: then a stream to a peer that was spoken to
//! before costs no round trip. Everything works without it too. libp2p drops inbound streams of
//! which too many negotiate at once, without a word to anyone: allow for more than its default of
//! 128 with `Config::with_max_negotiating_inbound_streams`, as [`Node`] does. And its transport does
//! better with [`establish()`] than with the stock upgrades.

pub mod migration;

mod activity;
mod address_book;
mod autonat;
mod behaviour;
mod client;
mod clock;
mod compress;
mod confirmation;
mod connection;
mod dialing;
mod establish;
pub mod go12;
mod handler;
mod ip;
mod muxer;
mod node;
mod peer;
mod pointsub;
mod probe;
mod pump;
mod raw;
#[cfg(feature = "tokio")]
mod raw_tokio;
mod remote;
mod runtime;
mod security;
mod server;
mod spares;
mod stream_io;
mod streams;
mod timer;
mod upgrade;

pub use behaviour::Behaviour;
pub use client::{
    Call, Client, Closest, ClosestCall, ClosestError, Dial, NodeAttempt, NodeInfo, Sending,
};
pub use connection::ConnectionInfo;
pub use establish::establish;
pub use handler::{Judged, Open, ToHandler};
pub use node::{ConnectError, KeyError, Node, NodeBuilder, NodeError, read_keypair};
pub use pointsub::PointSub;
pub use raw::RawStream;
pub use runtime::{Executor, Runtime};
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub use security::noise_payload;
pub use security::{Dialect, DialectError, Dialects, Security, certificate};
pub use server::{Handler, HandlerError, Listener, Request, Server, Spawned, Stopped};

pub use libp2p_core::Multiaddr;
pub use libp2p_identity::{Keypair, PeerId};
pub use libp2p_relay::Config as RelayConfig;
pub use pointsub_core::client::{Backoff, RetryPolicy};
pub use pointsub_core::nearest;
pub use pointsub_core::server::{LimitPolicy, RegisterError};
pub use pointsub_core::{
    Cause, ClientConfig, ClientStats, ConfigError, Delivery, Format, Hedge, NodeOutcome, Phase,
    ProtocolName, ProtocolNameError, RequestError, SendError, ServerConfig, ServerStats, Status,
    StatusCode,
};

/// Tells everyone who waits; those who have stopped waiting are skipped.
fn notify(waiting: &mut Vec<futures::channel::oneshot::Sender<()>>) {
    for waiter in waiting.drain(..) {
        let _gone = waiter.send(());
    }
}
