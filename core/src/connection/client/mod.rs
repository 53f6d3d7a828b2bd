//! Streams that we opened.

mod answers;
mod batch;
mod calls;
mod command;
mod report;
mod stream;
mod waiting;

pub use batch::{BULK, batch_size};
pub use command::StreamCommand;
pub use report::{Report, Slot};
pub use stream::ClientStream;

pub(crate) use stream::closing;
