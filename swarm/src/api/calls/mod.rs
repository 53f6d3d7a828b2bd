//! Calls: requests with messages beside them, in either direction.

pub(crate) mod channel;
mod client;
mod halves;
pub(crate) mod openings;
pub(crate) mod server;

pub use client::{OpenCall, StreamingCall};
pub use halves::{CallReceiver, CallSender, Message, TrySendError};
pub use server::{CallHandler, IncomingCall};
