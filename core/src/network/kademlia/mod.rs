//! Servers that a private distributed hash table lists: when this node is listed and looks others up, under which
//! keys, and whom it lists for others.
//!
//! The table is a Kademlia of its own: nodes with another [`NetworkSecret`] do not speak the same protocol, and know
//! no keys. [`Kademlia`] decides what a node does that is listed or looks for others, and [`Providers`] is the
//! part of the table that it keeps. How queries find the nodes that are closest to a key is the driver's
//! business: libp2p's Kademlia does that.
//!
//! The loop is that of [`Network`](super::Network): facts in with [`Kademlia::handle`], orders out with
//! [`Kademlia::poll_order`], and [`KademliaFact::Tick`] at [`Kademlia::next_deadline`].
//!
//! ```
//! use core::time::Duration;
//! use pointsub_core::network::kademlia::*;
//! use pointsub_core::{PeerId, ProtocolName, Timestamp};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! const SEARCH: ProtocolName = ProtocolName::from_static("/search/1.0.0");
//! let secret = NetworkSecret::from_phrase("ours");
//! let (now, unix) = (Timestamp::ZERO, Duration::from_secs(1800));
//! let [alice, bob] = [PeerId::from_bytes(b"alice")?, PeerId::from_bytes(b"bob")?];
//! let mut table = Kademlia::new(secret.clone(), alice, 0);
//!
//! table.handle(KademliaFact::LookUp(SEARCH), now, unix);
//! assert_eq!(table.poll_order(), Some(KademliaOrder::Join));
//! let Some(KademliaOrder::Find(id, key)) = table.poll_order() else { panic!("it asks") };
//! assert_eq!(key, secret.key(&SEARCH, 0));
//!
//! let providers = vec![Provider { peer: bob, addresses: Vec::new() }];
//! table.handle(KademliaFact::Answered(id, providers), now, unix);
//! let Some(KademliaOrder::Found { peer, .. }) = table.poll_order() else { panic!("a server") };
//! assert_eq!(peer, bob);
//! # Ok(())
//! # }
//! ```
//!
//! # What it decides
//!
//! * **Where a service is listed.** Under a key that only members can compute, and that is another one each hour.
//!   For 10 min around the turn both keys count, for those who are listed and for those who look, so that
//!   clocks may differ by 20 min. Nobody can choose beforehand a Peer ID that is close to a key.
//! * **When this node is listed.** At once when it serves something, has joined the network, or is reached
//!   elsewhere; then after 5, 15, 45 and 120 s, and every 2 min. What it does not serve any more it does
//!   not say again; the others forget it after 5 min.
//! * **When it looks.** When servers are wanted. Who was found holds for 45 s, so that
//!   [`candidates`](super::candidates) asks again after 36 s.
//! * **Whom it believes.** Of whom one node names, 4 at once and others when the query has ended, by turns among
//!   the answers, 32 in all. What they serve they say themselves.
//! * **Whom it lists.** Each for 5 min, 256 under a key, 8192 in all. Beyond that, the network (an IPv4 /24 or an
//!   IPv6 /48) loses one that has the most.
//! * **When it joins.** Nodes that are known from the beginning are dialled until one of the network answers,
//!   after 1, 2, 4 … 60 s; again when nobody has answered a query, and every 2 min.
//! * **Whether it keeps a part of the table.** [`Part`].

mod announcing;
mod finding;
mod machine;
mod order;
mod part;
mod providers;
mod secret;

pub use machine::Kademlia;
pub use order::{KademliaFact, KademliaOrder, Provider, QueryId};
pub use part::{Part, Reachable};
pub use providers::Providers;
pub use secret::{NetworkSecret, ServiceKey};
