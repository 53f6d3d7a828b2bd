//! Servers on the local network: when this node asks there, when it answers, and what it makes of answers.
//!
//! [`Lan`] is the part of multicast DNS ([RFC 6762]) that the [discovery of libp2p] needs. It knows no
//! packets, sockets or addresses: the driver decodes what comes in, encodes what goes out, and keeps the
//! addresses of whoever is heard. A *link* is a network interface in one version of IP.
//!
//! The loop is that of [`Network`](super::Network): facts in with [`Lan::handle`], orders out with
//! [`Lan::poll_order`], and [`LanFact::Tick`] at [`Lan::next_deadline`].
//!
//! ```
//! use std::time::Duration;
//! use pointsub_core::network::lan::*;
//! use pointsub_core::{PeerId, ProtocolName, Timestamp};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! const SEARCH: ProtocolName = ProtocolName::from_static("/search/1.0.0");
//! let (alice, bob) = (PeerId::from_bytes(b"alice")?, PeerId::from_bytes(b"bob")?);
//! let (now, eth0) = (Timestamp::ZERO, LinkId(0));
//! let mut lan = Lan::new(alice, 0);
//!
//! lan.handle(LanFact::LinkUp(eth0), now);
//! lan.handle(LanFact::LookUp(SEARCH), now);
//! assert_eq!(lan.poll_order(), Some(LanOrder::Query(eth0)));
//!
//! let ttl = Duration::from_secs(360);
//! let announced = Announced { peer: bob, services: Some(vec![SEARCH]), ttl };
//! lan.handle(LanFact::Heard(eth0, LanMessage::Announcement(vec![announced])), now);
//! assert_eq!(lan.poll_order(), Some(LanOrder::Found { peer: bob, service: Some(SEARCH), ttl }));
//! # Ok(())
//! # }
//! ```
//!
//! # What it decides
//!
//! * **Queries.** At once when something is wanted that was not, then after 1, 2, 4 … 60 s, as long as
//!   anything is wanted. At that slowest pace, the query of another node counts as its own, as all hear
//!   the answers; but not more than three times in a row, so that nobody can keep it from asking.
//! * **Answers.** After 20 to 120 ms, so that those of many nodes do not collide, and on a link once a
//!   second, whoever asks and however often. They go to all, never to who has asked: a forged query
//!   directs nothing at anybody.
//! * **Announcements.** What has changed is said twice, a second apart, and so is what this node is when
//!   a link comes. A goodbye says that it ends.
//! * **Floods.** A machine that sends more than 64 packets at once, or 16 a second, is not heard beyond
//!   that ([`Lan::admits`]).
//!
//! It remembers nobody who was heard. Those who are wanted answer the next query; the rest is the task of
//! [`candidates`](super::candidates).
//!
//! [RFC 6762]: https://www.rfc-editor.org/rfc/rfc6762
//! [discovery of libp2p]: https://github.com/libp2p/specs/blob/master/discovery/mdns.md

mod link;
mod machine;
mod order;

pub use machine::Lan;
pub use order::{Announced, LanFact, LanMessage, LanOrder, LinkId};
