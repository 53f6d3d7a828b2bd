//! A registry of servers that any node can serve: `/pointsub-registry/1`.
//!
//! Servers announce themselves in a call that they hold open, and whoever looks for servers watches a
//! protocol in another one. An entry is gone when the call of its server ends, however that ends. So what
//! a registry says is exact, and comes at once. It suits some thousand nodes; several registries may be
//! used side by side, and need not know each other.
//!
//! ```
//! use pointsub_service::registry::{self, RegistryService};
//! use pointsub_swarm::{Node, Runtime};
//!
//! // A node that others know.
//! fn serve<R: Runtime>(node: &Node<R>) -> Result<RegistryService, Box<dyn std::error::Error>> {
//!     let registry = RegistryService::new(node.server());
//!     registry.serve()?;
//!     Ok(registry)
//! }
//!
//! // All the others: they are found by what they serve, and find whom they call.
//! async fn join<R: Runtime + Default>() -> Result<Node<R>, Box<dyn std::error::Error>> {
//!     const REGISTRY: &str =
//!         "/ip4/192.0.2.1/tcp/4001/p2p/12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";
//!     let node = Node::builder().listen("/ip4/0.0.0.0/tcp/0".parse()?);
//!     Ok(node.discover(registry::discover([REGISTRY.parse()?])?).build().await?)
//! }
//! ```
//!
//! # Who is believed
//!
//! A registry lists a peer under its own Peer ID, which the connection has proved, and hands on addresses
//! that the peer has signed (libp2p's [peer record]). So neither strangers nor the registry can say where
//! somebody else is. What a peer serves it says itself once more, on a connection, before it gets a request.
//!
//! A registry can leave somebody out. Who is not to depend on one asks several: a server is known as long as
//! one of them lists it, and 10 minutes longer if that one is lost. A registry that has ended and is back lists
//! nobody at first: those whom it has listed before are kept for another minute.
//!
//! Strangers may fill a registry with themselves. One network (an IPv4 /24 or an IPv6 /48) has a share of
//! it, and of what whoever watches hears first: see [`RegistryLimits`]. A registry for a few known peers has
//! a [rule](RegistryService::with_rule).
//!
//! # What it costs
//!
//! By default [50.5 MiB](RegistryLimits::worst_case) at most: 32 MiB for what servers say, 16 MiB for
//! watchers, 2.5 MiB for servers that have gone. Open calls are counted by the
//! [server](pointsub_swarm::ServerConfig::with_max_open_calls).
//!
//! What a server says is told to everybody who watches. Changes are put together for 100 ms, and each network
//! has an [allowance](RegistryLimits::with_changes_per_network). That a server is new comes before how much
//! another one has to do.
//!
//! # In other languages
//!
//! `WIRE.md` section 7 has the messages, what is signed, limits, and test vectors. Both methods are calls with
//! messages, in CBOR or JSON. `announce` takes [`Announcement`]s: the first one at once, and another one when
//! something has changed; each is answered with [`Accepted`]. `watch` takes the `protocol`, and sends [`Change`]s.
//!
//! [peer record]: https://github.com/libp2p/specs/blob/master/RFC/0003-routing-records.md

mod calls;
mod serving;
mod source;
mod types;

pub use pointsub_core::network::registry::RegistryLimits;

pub use self::serving::{RegistryService, RegistrySize};
pub use self::source::{RegistryAddressError, discover};
pub use self::types::{
    Accepted, Announcement, Change, Listed, RecordError, RegistryError, RegistryUse,
};
use crate::call::{Rx, Tx};
use crate::codec::Limits;
use crate::cx::Cx;

/// No message is longer.
const MESSAGE: Limits = Limits::new().max_len(64 * 1024).max_depth(8);

/// What a registry does.
#[crate::service("/pointsub-registry/1")]
pub trait Registry {
    /// Lists the peer for as long as the call is open, as its last announcement says.
    async fn announce(
        &self,
        cx: &Cx,
        announcements: Rx<Announcement>,
        accepted: Tx<Accepted>,
    ) -> Result<(), RegistryError>;

    /// Who serves a protocol, and then every change. It ends when the registry does.
    async fn watch(
        &self,
        cx: &Cx,
        protocol: String,
        changes: Tx<Change>,
    ) -> Result<(), RegistryError>;
}
