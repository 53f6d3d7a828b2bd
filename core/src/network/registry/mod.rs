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
//! use pointsub_core::{PeerId, ProtocolName, Timestamp};
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
//! let (services, size, may_be_late) = (vec![SEARCH], record.len(), false);
//! let announcement = Announcement { services, record, size, may_be_late };
//! let entry = registry.announce(bob, network, announcement, Timestamp::ZERO)?;
//! assert_eq!(registry.poll_order(), Some(RegistryOrder::Wake(watcher)));
//! assert_eq!(registry.next_event(watcher), Some(RegistryEvent::Here(bob, record)));
//!
//! registry.withdraw(entry, Timestamp::ZERO);
//! assert_eq!(registry.next_event(watcher), Some(RegistryEvent::Gone(bob)));
//! # Ok(())
//! # }
//! ```
//!
//! # What a registry decides
//!
//! * **Who is listed.** A peer once: its newest call counts, and the one before is ended. So many of one
//!   network at most, and so many bytes. When the table is full, a network with little takes a place of the one
//!   with the most.
//! * **In which order.** Networks take turns: whoever watches hears of one server of each network, then of a
//!   second one of each. So many that come from one network hide nobody.
//! * **When whoever watches hears of changes.** At once after a quiet time; otherwise changes are put together
//!   for 100 ms, and networks take turns. A network has an allowance, and so have all of them together
//!   ([`RegistryLimits::changes`]): one server that changes all the time, or thousands of them, cost each
//!   watcher so many events a second, and a server of another network waits for one turn of each network. That
//!   a server has gone is told without a turn: it has had one when it came.
//! * **What a slow watcher hears.** The newest state of each server. No watcher has a queue: it has a place in
//!   the order of changes, which all of them share. Of servers that have gone a limited number is remembered
//!   ([`RegistryLimits::history`]); who has fallen behind is told everything anew, and to the end.
//!
//! # What a node decides
//!
//! * **When calls are opened.** At once, and again after 0.25 s to 30 s when they have failed. When one that
//!   was accepted is lost, its registry may have ended, and all others have lost theirs at the same time: it
//!   is opened again at a random time within 5 s, and after that in growing pauses. A thousand servers come
//!   back to a registry at no more than 300 in a second, and within 31 s after it has.
//! * **Who is found.** Whoever any registry lists. A registry that is lost takes nobody with it for 10 minutes.
//!   When it is back it lists nobody at first: those whom it has listed before, and does not yet, are kept for
//!   another minute, unless it says that they have gone.

mod entry;
mod limits;
mod named;
mod order;
mod registries;
mod services;
mod table;
mod turns;
mod watcher;

pub use limits::RegistryLimits;
pub use order::{
    Announcement, EntryId, RegistriesFact, RegistriesOrder, RegistryEvent, RegistryId,
    RegistryOrder, RegistryRefusal, WatcherId,
};
pub use registries::Registries;
pub use table::Registry;
