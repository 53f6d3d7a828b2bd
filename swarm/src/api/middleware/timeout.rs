//! How long a request may take.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_timer::Delay;
use pin_project_lite::pin_project;
use pointsub_core::{Status, StatusCode};
use tower_layer::Layer;
use tower_service::Service;

use super::outgoing::{OutgoingCall, OutgoingRequest};
use crate::api::calls::IncomingCall;
use crate::api::message::Request;
use crate::api::server::HandlerError;

/// Limits how long a request may take, or a call as a whole, on every runtime.
///
/// Around a handler, the caller is answered [`StatusCode::DeadlineExceeded`] and the handler's future is
/// dropped. The handler sees in [`Request::remaining`] what it has left. Time is counted by the system's
/// clock, also where a test pauses that of a runtime.
///
/// Around a client, it is the request's own timeout, unless that is shorter: the server is told, and the
/// failure says whether the request may have been processed, as tower's `timeout` cannot.
#[derive(Debug, Clone, Copy)]
pub struct TimeoutLayer {
    limit: Duration,
}

impl TimeoutLayer {
    /// Requests take no longer than this.
    #[must_use]
    pub const fn new(limit: Duration) -> Self {
        Self { limit }
    }
}

impl<S> Layer<S> for TimeoutLayer {
    type Service = Timeout<S>;

    fn layer(&self, inner: S) -> Timeout<S> {
        Timeout { inner, limit: self.limit }
    }
}

/// The service that [`TimeoutLayer`] makes.
#[derive(Debug, Clone)]
pub struct Timeout<S> {
    inner: S,
    limit: Duration,
}

/// The smaller of a limit and what was there before.
fn least(limit: Duration, before: &mut Option<Duration>) {
    *before = Some(before.map_or(limit, |before| before.min(limit)));
}

/// Around handlers.
macro_rules! ends {
    ($($request:ident)*) => {$(
        impl<S> Service<$request> for Timeout<S>
        where
            S: Service<$request, Error: From<HandlerError>>,
        {
            type Response = S::Response;
            type Error = S::Error;
            type Future = TimedOut<S::Future>;

            fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
                self.inner.poll_ready(cx)
            }

            fn call(&mut self, mut request: $request) -> Self::Future {
                least(self.limit, &mut request.remaining);
                TimedOut { future: self.inner.call(request), limit: self.limit, delay: None }
            }
        }
    )*};
}

/// Around clients.
macro_rules! limits {
    ($($request:ident)*) => {$(
        impl<S: Service<$request>> Service<$request> for Timeout<S> {
            type Response = S::Response;
            type Error = S::Error;
            type Future = S::Future;

            fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
                self.inner.poll_ready(cx)
            }

            fn call(&mut self, mut request: $request) -> Self::Future {
                least(self.limit, &mut request.timeout);
                self.inner.call(request)
            }
        }
    )*};
}

ends!(Request IncomingCall);
limits!(OutgoingRequest OutgoingCall);

pin_project! {
    /// A handler at work that ends in time.
    #[derive(Debug)]
    pub struct TimedOut<F> {
        #[pin]
        future: F,
        limit: Duration,
        // A handler that answers at once needs none.
        delay: Option<Delay>,
    }
}

impl<F, T, E> Future for TimedOut<F>
where
    F: Future<Output = Result<T, E>>,
    E: From<HandlerError>,
{
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(outcome) = this.future.poll(cx) {
            return Poll::Ready(outcome);
        }
        let delay = this.delay.get_or_insert_with(|| Delay::new(*this.limit));
        ready!(Pin::new(delay).poll(cx));
        let status = Status::new(StatusCode::DeadlineExceeded, "the handler took too long");
        Poll::Ready(Err(HandlerError::from(status).into()))
    }
}
