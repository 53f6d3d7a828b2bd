//! The network plane: which peers are known at which addresses, when and where they are dialled, which
//! of a peer's connections is used, and when one is no longer used.
//!
//! [`Network`] is one machine for a whole node. It does no I/O, reads no clock and draws nothing at
//! random: facts and time go in, orders come out.
//!
//! ```text
//!              connect, open                    Connected, ConnectFailed
//!  application ─────────────▶ ┌─────────┐ ─────────────────────────────▶ application
//!                             │ Network │
//!               Fact          └─────────┘ Order::Dial, Order::Connection
//!  transport, ──────────────▶      ▲      ─────────────────────────────▶ transport,
//!  connections                     │ Fact::Tick                          connections
//!                                clock
//! ```
//!
//! # The loop
//!
//! 1. Pass in what has happened with [`Network::handle`], and what somebody wants with
//!    [`Network::connect`] and [`Network::open`].
//! 2. Carry out what [`Network::poll_order`] says, until it says `None`.
//! 3. Wait until something happens, or until [`Network::next_deadline`]; then pass in [`Fact::Tick`].
//!
//! Before a connection that was dialled is taken into use, [`Network::keeps`] says whether it is
//! wanted. Facts about connections and dials that are gone are ignored, and so is a fact that is told
//! twice. Time that repeats or runs backwards is harmless. Each connect and each open has exactly one
//! outcome, unless it is abandoned.
//!
//! A peer is at one of two addresses here, and behind the first there is nobody:
//!
//! ```
//! use core::time::Duration;
//! use pointsub_core::network::*;
//! use pointsub_core::{PeerId, Timestamp, Verdict};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut now = Timestamp::ZERO;
//! let bob = PeerId::from_bytes(b"bob")?;
//! let [old, new] = [b"192.0.2.1:4001", b"192.0.2.2:4001"].map(|bytes| Address::new(bytes));
//!
//! // The driver's keys of connections are numbers here.
//! let mut network = Network::<u32>::new(Duration::from_secs(5));
//! network.handle(Fact::Named(bob, new.clone(), Source::Stranger), now);
//! network.connect(Goal::Peer(bob, Some(old.clone())), now);
//! let connected = loop {
//!     match network.poll_order() {
//!         // Nobody answers at the old address, and the machine does not wait for that.
//!         Some(Order::Dial { attempt, place: Place::At(address), .. }) if address == new => {
//!             let (relayed, from) = (false, Reach::Internet);
//!             let (dialled, attempt) = (Some(address), Some(attempt));
//!             let up = Up { connection: 1, peer: bob, relayed, from, dialled, attempt };
//!             network.handle(Fact::Up(up), now);
//!         }
//!         Some(Order::Connection(_, 1, Act::Probe)) => {
//!             network.handle(Fact::Judged(1, Verdict::Answered), now);
//!         }
//!         Some(Order::Connected(_, peer)) => break peer,
//!         Some(_) => {}
//!         None => {
//!             now = network.next_deadline().expect("somebody waits");
//!             network.handle(Fact::Tick, now);
//!         }
//!     }
//! };
//! assert_eq!(connected, bob);
//! assert_eq!(now, Timestamp::ZERO + Duration::from_millis(250), "the head start of the first");
//! # Ok(())
//! # }
//! ```
//!
//! # What it decides
//!
//! * **Dials.** A peer is dialled once for all who wait for it. Its addresses race each other
//!   ([`Race`]): each is a dial of its own with a limit of its own. Those at relays come last.
//! * **Addresses.** What the application names and what strangers name are kept apart
//!   ([`AddressBook`]), so that strangers push out nothing. What a peer names nearer than itself is not
//!   believed.
//! * **Connections.** New streams go to a connection that is not suspect before one that is, to a direct
//!   one before a relayed one, and among equals to the newest. The others are retired.
//! * **Silence.** Each connection is watched by a [`Liveness`](crate::Liveness), whose verdicts are
//!   facts here. A suspect connection is replaced, and ended when there is another.
//! * **Confirmation.** Whoever wants to be connected is told so when the peer has given a sign of life
//!   on the connection. If a connection that was found gives none within a second, the peer is dialled.
//! * **Servers.** [`candidates`] finds those that nobody has named, and is a machine of its own.
//! * **The local network.** [`lan`] says when it is asked there and what it is told. It is a machine too.
//! * **Lists in the DNS.** [`dns`] says which records are asked for, when, and who is found in them.
//! * **Registries.** [`registry`] is the table of one, and what a node does that knows some.
//! * **A table that all nodes keep.** [`kademlia`] says when a node is listed in it and looks others up.
//! * **Relays.** [`Reservations`] says when a relay is asked for a place, and when again.
//!
//! # Addresses are opaque
//!
//! An [`Address`] is bytes to the machine, as a [`PeerId`](crate::PeerId) is. The driver adds the two
//! facts on which decisions depend: whether it leads through a relay, and from how far away it can be
//! reached. So the core needs no parser for addresses, and a book of addresses can be saved as it is.

mod addresses;
pub mod candidates;
mod connections;
mod dialing;
pub mod dns;
pub mod kademlia;
pub mod lan;
mod machine;
mod order;
pub mod registry;
mod relays;

pub use addresses::address::{Address, Carrier, Reach};
pub use addresses::book::AddressBook;
pub use addresses::known::KnownAddress;
pub use dialing::failure::{ConnectFailure, DialError, Failure, OpenFailure};
pub use dialing::race::{AttemptId, Prospect, Race, Step, Turn};
pub use machine::{Network, Sizes};
pub use order::{
    Act, Change, ConnectId, Fact, Goal, NetworkEvent, OpenId, Order, Place, Source, Target, Up,
    Work,
};
pub use relays::finder::RelayFinder;
pub use relays::reservations::Reservations;
