//! PointSub's libp2p half: everything but the runtime.
//!
//! Most programs use `pointsub-tokio`, which adds a runtime and exports this crate whole. Use this
//! one to put PointSub into a swarm of your own ([`Behaviour`]), or to bring another runtime
//! ([`Runtime`]).
//!
//! ```text
//!  callers ── Client ──▶ dispatcher ──▶ open ──▶ Behaviour ──▶ swarm
//!                             ▲   │
//!                     reports │   │ commands, a batch at a time
//!                             │   ▼
//!  connection driver ─── Streams ── one driver a stream: wire machine + bytes
//!                             │   ▲
//!                    requests ▼   │ answers
//!  handlers ── Server ──── registry, admission
//! ```
//!
//! Decisions are the core's: which stream, whether to open another, when to give up
//! (`Dispatcher`), whom to let in (`Admission`), what the bytes mean (`ClientStream`,
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
//! What makes such a swarm as fast as a [`Node`]:
//!
//! * Its transport is that of a runtime's crate (`pointsub_tokio::transport`), or one of plain bytes
//!   with [`establish()`], or any other one with [`with_driver`].
//! * `Config::with_substream_upgrade_protocol_override` is set to
//!   [`Version::V1Lazy`](libp2p_core::upgrade::Version::V1Lazy). Then a new stream to a peer that has
//!   answered before costs no round trip.
//! * `Config::with_max_negotiating_inbound_streams` is 512. libp2p drops inbound streams while more
//!   than that negotiate, and tells nobody. Its default is 128.

pub mod migration;
pub mod system;
pub mod telemetry;

mod api;
mod clock;
mod compress;
mod connection;
mod discovery;
mod node;
mod peer;
mod random;
mod runtime;
mod timer;
mod transport;

pub use api::admission::{Access, AccessFileError, AccessList, Admission, IpNet, Verdict};
pub use api::calls::{
    CallAcceptor, CallHandler, CallReceiver, CallSender, IncomingCall, Message, OpenCall,
    OpenClosest, OpenResumable, ReceivingCall, ResumableCall, StreamingCall, TrySendError,
};
pub use api::client::{Call, Client, ClosestCall, Dial, NodeCounts, NodeInfo, Policy};
pub use api::failover::{ClosestError, NodeAttempt};
pub use api::go12;
pub use api::message::{IntoResponse, Reply, Request, Response};
#[cfg(feature = "tower")]
pub use api::middleware;
pub use api::pointsub::PointSub;
pub use api::raw::RawStream;
pub use api::server::{BoxError, Handler, HandlerError, Listener, Server, Spawned, Stopped};
pub use api::stream_info::StreamInfo;
#[cfg(all(any(test, fuzzing), feature = "lan"))]
#[doc(hidden)]
pub use discovery::lan::fuzz::lan_packet;
pub use discovery::{Discover, Finder, FinderTask, Found};
#[cfg(feature = "dns-discovery")]
pub use discovery::{DnsList, PlainStream};
#[cfg(feature = "kad")]
pub use node::Kademlia;
pub use node::behaviour::Behaviour;
pub use node::behaviour::gate::BehaviourEvent;
pub use node::{
    AddressSource, ConnectError, DialError, Events, KeyError, KeyFileError, ListenFailure, Node,
    NodeBuilder, NodeCall, NodeError, NodeEvent, Path, PeerAddress, PeerConnection, PeerInfo,
    Reachability, Shutdown, TransportKind, Tried, read_keypair,
};
pub use runtime::{Executor, Runtime};
pub use transport::driven::with_driver;
pub use transport::establish::establish;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub use transport::security::noise_payload;
pub use transport::security::{Dialect, DialectError, Dialects, Security, certificate};

pub use bytes::Bytes;
pub use libp2p_core::multiaddr::Protocol;
pub use libp2p_core::{Multiaddr, PeerRecord, SignedEnvelope};
pub use libp2p_identity::{Keypair, PeerId, PublicKey};
#[cfg(feature = "relay")]
pub use libp2p_relay::Config as RelayConfig;
pub use pointsub_core::endpoint::{
    Backoff, GroupId, LimitPolicy, Quota, RateLimit, RateScope, RegisterError, ResumePolicy,
    RetryPolicy,
};
pub use pointsub_core::network::candidates::CandidateState;
#[cfg(feature = "kad")]
pub use pointsub_core::network::kademlia::{NetworkSecret, Part};
pub use pointsub_core::{
    Cause, ClientConfig, ClientStats, ConfigError, Delivery, Format, Hedge, Metadata,
    MetadataError, Method, NodeOutcome, Phase, ProtocolName, ProtocolNameError, RequestError,
    SendError, ServerConfig, ServerStats, Source, Sources, Status, StatusCode,
};

/// How a server is chosen among several: [`Client::send_closest`].
pub mod closest {
    pub use pointsub_core::endpoint::closest::{
        AddNodeError, Candidate, Choices, Distance, MAX_NODES, NearFirst, Node, PeakEwma, Point,
        Rendezvous, Strategy, Weighted, XorOrder,
    };
}

/// Tells everyone who waits; those who have stopped waiting are skipped.
fn notify(waiting: &mut Vec<futures::channel::oneshot::Sender<()>>) {
    for waiter in waiting.drain(..) {
        let _gone = waiter.send(());
    }
}
