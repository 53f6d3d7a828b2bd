//! Streams that a peer opened.

mod answer;
mod batch;
mod calls;
mod reading;
mod stream;

pub use calls::CallId;
pub use stream::{ServerStream, ServerStreamEvent};
