//! Registries: nodes that other nodes tell what they serve, and ask who serves something.
//!
//! [`Registry`] is the table of one. A server *announces* itself in a call that it holds open: its entry is
//! there for as long as the call is, and goes with it. Whoever *watches* a protocol is told who is listed, and
//! then what changes. [`Registries`] is the other end: a node that announces itself at several registries,
//! watches what is wanted at each of them, and makes one list of what they say.
//!
//! Both do no I/O and read no clock. What is listed of a server besides its protocols, such as its signed
//! addresses, is a value of the driver's that is handed through.
//!
//! ```
//! use pointsub_core::endpoint::GroupId;
//! use pointsub_core::network::registry::*;
//! use pointsub_core::{PeerId, ProtocolName};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! const SEARCH: ProtocolName = ProtocolName::from_static("/search/1");
//! let [alice, bob] = [PeerId::from_bytes(b"alice")?, PeerId::from_bytes(b"bob")?];
//! let network = GroupId::new(1);
//! let mut registry = Registry::new(RegistryLimits::new());
//!
//! let watcher = registry.watch(alice, network, SEARCH)?;
//! assert_eq!(registry.next_event(watcher), Some(RegistryEvent::Begin));
//! assert_eq!(registry.next_event(watcher), Some(RegistryEvent::Complete));
//! assert_eq!(registry.next_event(watcher), None);
//!
//! let record = "bob is at 192.0.2.1";
//! let announcement = Announcement { services: vec![SEARCH], record, size: record.len() };
//! let entry = registry.announce(bob, network, announcement)?;
//! assert_eq!(registry.poll_order(), Some(RegistryOrder::Wake(watcher)));
//! assert_eq!(registry.next_event(watcher), Some(RegistryEvent::Here(bob, record)));
//!
//! registry.withdraw(entry);
//! assert_eq!(registry.next_event(watcher), Some(RegistryEvent::Gone(bob)));
//! # Ok(())
//! # }
//! ```
//!
//! # What a registry decides
//!
//! * **Who is listed.** A peer once: its newest call counts, and the one before is ended. At most so many of
//!   one network. When the table is full, a network with few entries takes a place of the one with the most.
//! * **In which order.** Networks take turns: whoever watches hears of one server of each network, then of a
//!   second one of each. So many that come from one network hide nobody.
//! * **What a slow watcher hears.** The newest state of each server, once. If more servers have changed
//!   than [`RegistryLimits::pending`], it is told everything anew. No queue grows.
//!
//! # What a node decides
//!
//! * **When calls are opened.** At once, and again after 0.5 s to 30 s when they have failed or ended.
//! * **Who is found.** Whoever any registry lists. A registry that is lost takes nobody with it for a minute,
//!   and then those whom no other one lists.

mod limits;
mod listing;
mod named;
mod order;
mod registries;
mod table;
mod watcher;

pub use limits::RegistryLimits;
pub use order::{
    Announcement, EntryId, RegistriesFact, RegistriesOrder, RegistryEvent, RegistryId,
    RegistryOrder, RegistryRefusal, WatcherId,
};
pub use registries::Registries;
pub use table::Registry;
