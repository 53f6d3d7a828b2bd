//! Calls of methods, as whoever makes them sees them.

mod answer;
mod halves;
pub(crate) mod local;
mod open;
mod options;
mod streaming;
mod stub;
mod unary;

pub use answer::Answer;
pub use halves::{Rx, Tx};
pub use open::OpenCall;
pub use streaming::{Receiving, Streaming};
pub use stub::Stub;
pub use unary::{AnswerCall, UnaryCall};
