//! The boundary between a machine and whoever moves the bytes of its streams.

use bytes::Bytes;

use crate::error::StreamError;

/// What happened on a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEvent {
    /// These bytes arrived, in order.
    Received(Bytes),
    /// This many bytes were read straight into the machine's `space` for a large body.
    Filled(usize),
    /// All bytes of the last [`StreamOp::Write`] were taken by the transport.
    Written,
    /// The other end will send no more.
    Finished,
    /// The stream cannot be used any further.
    Failed(StreamError),
}

/// What to do on a stream.
///
/// At most one `Write` is outstanding per stream: the next follows its
/// [`StreamEvent::Written`]. Nothing follows `Finish` or `Reset`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamOp {
    /// Write all these bytes, then report [`StreamEvent::Written`].
    Write(Bytes),
    /// Close the stream in good order and forget it.
    Finish,
    /// Abort the stream and forget it.
    Reset,
}
