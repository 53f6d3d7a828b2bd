//! Servers that a name in the DNS lists: which records are asked for and when, and what is made of them.
//!
//! [`Dns`] is the reader of a list as the [dnsaddr specification] of libp2p has it: `TXT` records of
//! `_dnsaddr.NAME`, each of which is `dnsaddr=ADDRESS/p2p/PEER`, or `dnsaddr=/dnsaddr/NAME`, with
//! `/p2p/PEER` or without, and leads to another list. It knows no packets, sockets or addresses: the driver
//! asks a resolver, parses addresses, and leaves out those that are not to be dialled.
//!
//! The loop is that of [`Network`](super::Network): facts in with [`Dns::handle`], orders out with
//! [`Dns::poll_order`], and [`DnsFact::Tick`] at [`Dns::next_deadline`].
//!
//! ```
//! use std::time::Duration;
//! use pointsub_core::network::Address;
//! use pointsub_core::network::dns::*;
//! use pointsub_core::Timestamp;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let now = Timestamp::ZERO;
//! let mut dns = Dns::new(DnsName::new("example.org")?, None, 0);
//!
//! dns.handle(DnsFact::LookUp, now);
//! let Some(DnsOrder::Query(id, name)) = dns.poll_order() else { panic!("it asks at once") };
//! assert_eq!(name.txt_name(), "_dnsaddr.example.org.");
//!
//! let text = b"dnsaddr=/ip4/192.0.2.1/tcp/4001/p2p/12D3KooWNvSZnPi3RrhrTwEY4LuuBeB6K6facKUCJcyWG1aoDd2p";
//! let entry = DnsEntry::parse(text).ok_or("an entry")?.map_address(|at| Address::new(at.as_bytes()));
//! let ttl = Duration::from_secs(60);
//! dns.handle(DnsFact::Answered(id, DnsAnswer { ttl, entries: vec![entry] }), now);
//!
//! let Some(DnsOrder::Found { addresses, ttl: for_so_long, .. }) = dns.poll_order() else { panic!("a peer") };
//! assert_eq!((addresses[0].as_bytes(), for_so_long), (&b"/ip4/192.0.2.1/tcp/4001"[..], ttl));
//! # Ok(())
//! # }
//! ```
//!
//! # What it decides
//!
//! * **When it asks.** At a look-up, if 80 % of the shortest TTL have passed that its last answers had, within
//!   30 s and an hour. Before that, what is known answers. If nobody was found, or something was not
//!   answered, it asks again after 1, 2, 4 … 60 s at the earliest. It asks nothing by itself.
//! * **How much it asks.** For 32 names in a round at most, four at a time, four deep. A name that leads back
//!   to one that was asked ends there. A round ends after 15 s.
//! * **What it believes.** 64 records of a name, 64 peers of a list, 8 addresses of a peer. Records are taken in
//!   random order, so that each node has others of a long list.
//! * **Who is gone.** Whoever is not listed any more, if all names were answered and everything in them was
//!   looked at. Otherwise whoever was known stays known until its TTL has passed.
//!
//! What the peers serve no record says: they are asked, which is the task of [`candidates`](super::candidates).
//!
//! [dnsaddr specification]: https://github.com/multiformats/multiaddr/blob/master/protocols/DNSADDR.md

mod entry;
mod machine;
mod name;
mod order;
mod round;

pub use entry::DnsEntry;
pub use machine::Dns;
pub use name::{DnsName, DnsNameError};
pub use order::{DnsAnswer, DnsFact, DnsOrder, DnsOutcome, QueryId};
