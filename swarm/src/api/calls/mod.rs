//! Calls: requests with messages beside them, in either direction.

pub(crate) mod channel;
mod client;
mod halves;
mod open;
pub(crate) mod openings;
mod resumable;
pub(crate) mod server;

pub use client::{ReceivingCall, StreamingCall};
pub use halves::{CallReceiver, CallSender, Message, TrySendError};
pub use open::{OpenCall, OpenClosest};
pub use resumable::{OpenResumable, ResumableCall};
pub use server::{CallAcceptor, CallHandler, IncomingCall};
