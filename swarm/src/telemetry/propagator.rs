//! How the context of a trace travels.

use pointsub_core::Metadata;
use tracing::Span;

/// Writes the context of a trace into the metadata of requests, and reads it there:
/// [`NodeBuilder::propagator`](crate::NodeBuilder::propagator).
///
/// `pointsub-metrics` has one that speaks of `traceparent` and `tracestate`, as the W3C does. Without one,
/// what a caller has put into the metadata travels as it is. It is asked only for spans that a subscriber
/// wants, and never while anything is locked.
pub trait Propagator: Send + Sync + 'static {
    /// Writes the context of a client's span into the metadata of its request, in place of what is there.
    fn inject(&self, span: &Span, metadata: &mut Metadata);

    /// Makes a server's span, which was not entered yet, a child of the context in the metadata of its
    /// request.
    fn extract(&self, span: &Span, metadata: &Metadata);
}
