//! Streams that we opened.

mod batch;
mod report;
mod stream;
mod waiting;

pub use batch::{BULK, portion};
pub use report::{Report, Slot};
pub use stream::ClientStream;

pub(crate) use stream::closing;
