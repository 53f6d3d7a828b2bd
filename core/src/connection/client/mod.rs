//! Streams that we opened.

mod batch;
mod report;
mod stream;
mod waiting;

pub use batch::portion;
pub use report::{Place, Report};
pub use stream::ClientStream;

pub(crate) use stream::closing;
