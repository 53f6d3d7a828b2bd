//! Calls: requests with messages beside them, in either direction. `WIRE.md` section 2.9.
//!
//! [`Calls`] has the calls of one stream, at either end. [`Balance`] is what may be sent in a call;
//! whoever hands out a sender for each call keeps one beside the table's.

mod call;
mod client;
mod credit;
mod event;
mod frames;
mod incoming;
mod outgoing;
mod server;
mod table;
mod timers;
mod writing;

pub use client::CallOpening;
pub use credit::{Balance, SEND_WINDOW};
pub use event::{CallEnd, CallError, CallEvent, CallKey, CallMessage, CallStop};
pub use server::CallStart;
pub use table::{CallLimits, Calls};
pub use timers::Unconfirmed;
