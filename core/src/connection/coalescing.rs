//! When the writes of several streams are delayed to leave together.

use crate::wire::Format;

/// With so many requests under way on a connection, it is likely that others are about to be sent.
const THRESHOLD: usize = 3;
/// The same for the plain format. Fewer bytes are saved, because each request has a stream of its
/// own.
const PLAIN_THRESHOLD: usize = 12;

/// Whether a stream delays what it is told to send, until the other tasks of its thread have run:
/// what they send leaves with the same write. `in_flight` is the number of requests under way on the
/// connection.
///
/// Whatever is delayed is delayed once: `was_delayed` says that it was.
///
/// ```
/// use pointsub_core::{Format, connection::coalesces};
///
/// assert!(!coalesces(Format::Native, 2, false), "a request that is alone leaves at once");
/// assert!(coalesces(Format::Native, 3, false));
/// assert!(!coalesces(Format::Native, 3, true), "it leaves now");
/// ```
#[must_use]
pub const fn coalesces(format: Format, in_flight: usize, was_delayed: bool) -> bool {
    let threshold = match format {
        Format::Native => THRESHOLD,
        Format::Plain => PLAIN_THRESHOLD,
    };
    in_flight >= threshold && !was_delayed
}
