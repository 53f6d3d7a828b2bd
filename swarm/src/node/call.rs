//! The future of what a node is asked.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;

/// What the methods of a [`Node`](crate::Node) return. It begins when it is first polled, borrows
/// nothing, and can be given to a task or kept in a struct: `NodeCall<Result<PeerId, ConnectError>>`.
#[must_use = "a node does nothing before this is awaited"]
pub struct NodeCall<T>(BoxFuture<'static, T>);

impl<T> NodeCall<T> {
    pub(super) fn new(call: impl Future<Output = T> + Send + 'static) -> Self {
        Self(call.boxed())
    }
}

impl<T> Future for NodeCall<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.0.poll_unpin(cx)
    }
}

impl<T> fmt::Debug for NodeCall<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeCall").finish_non_exhaustive()
    }
}
