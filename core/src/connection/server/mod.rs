//! Streams that a peer opened.

mod admission;
mod answer;
mod batch;
mod calls;
mod placement;
mod places;
mod reading;
mod report;
mod stream;
mod streaming;
mod wire_index;

pub use calls::CallId;
pub use placement::{Compression, runs_inline};
pub use places::CallPlaces;
pub(crate) use report::{Ask, Behind, Events, Grant, Samples};
pub use report::{Refusals, ServerReport, ServerVerdict};
pub use stream::{ServerStream, ServerStreamEvent};
pub use streaming::{CallAcceptance, CallTerms};
