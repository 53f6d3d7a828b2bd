//! Calls that are made when they are first polled.

use std::mem;
use std::task::{Context, Poll, ready};

use futures::FutureExt;
use futures::future::BoxFuture;

/// A call with its options until it is polled, and then its future.
pub(in crate::api) enum Lazy<O, T> {
    New(O),
    Made(BoxFuture<'static, T>),
    Done,
}

impl<O, T> Lazy<O, T> {
    /// Changes an option. Once the call is made, it is too late for that.
    pub(in crate::api) fn set(&mut self, set: impl FnOnce(&mut O)) {
        if let Self::New(options) = self {
            set(options);
        }
    }

    /// The options, unless the call is made.
    pub(in crate::api) fn into_options(self) -> Option<O> {
        match self {
            Self::New(options) => Some(options),
            Self::Made(_) | Self::Done => None,
        }
    }

    /// Makes the call if it is not made yet. One that is done is pending for ever.
    pub(in crate::api) fn poll<F>(
        &mut self,
        make: impl FnOnce(O) -> F,
        cx: &mut Context<'_>,
    ) -> Poll<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        if let Self::New(_) = self
            && let Self::New(options) = mem::replace(self, Self::Done)
        {
            *self = Self::Made(make(options).boxed());
        }
        let Self::Made(future) = self else { return Poll::Pending };
        let outcome = ready!(future.poll_unpin(cx));
        *self = Self::Done;
        Poll::Ready(outcome)
    }
}
