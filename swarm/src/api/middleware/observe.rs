//! Where metrics sit.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::head::{AnyRequest, Head, LayerError};

/// Tells a function of each request, and what that function returns of its outcome.
///
/// The function is called when the request is, and returns another one for the outcome, in which it keeps
/// what it wants to know then. That one is dropped without a call if the request has no outcome: its caller
/// gave up, its time was over, or its handler panicked. For a call, the outcome around a handler is that of
/// the whole call, and at a client whether it was accepted.
///
/// ```
/// use pointsub_swarm::middleware::{Head, HandlerService, ObserveLayer, status_code};
/// use pointsub_swarm::{HandlerError, PeerId, ProtocolName, Request, StatusCode};
/// use std::error::Error;
/// use std::sync::{Arc, Mutex};
/// use std::time::Instant;
/// use tower::{ServiceBuilder, ServiceExt};
///
/// let lines = Arc::new(Mutex::new(Vec::new()));
/// let to = lines.clone();
/// let layer = ObserveLayer::new(move |head: &Head<'_>| {
///     let (protocol, began, to) = (head.protocol.clone(), Instant::now(), to.clone());
///     move |outcome: Result<(), &(dyn Error + 'static)>| {
///         let status = outcome.err().and_then(status_code);
///         to.lock().unwrap().push((protocol, status));
///         let _histogram = began.elapsed();
///     }
/// });
///
/// let handler = |_: Request| async { Err::<(), _>(HandlerError::not_found("no room 7")) };
/// let service = ServiceBuilder::new().layer(layer).service(HandlerService::new(handler));
/// const ROOMS: ProtocolName = ProtocolName::from_static("/rooms/1.0.0");
/// # futures::executor::block_on(async {
/// service.oneshot(Request::new(PeerId::random(), ROOMS, "7")).await.unwrap_err();
/// # });
/// assert_eq!(*lines.lock().unwrap(), [(ROOMS, Some(StatusCode::NoSuchResource))]);
/// ```
#[derive(Clone)]
pub struct ObserveLayer<F> {
    begin: F,
}

impl<F> ObserveLayer<F> {
    /// The function is told.
    pub const fn new<E>(begin: F) -> Self
    where
        F: Fn(&Head<'_>) -> E,
        E: FnOnce(Result<(), &(dyn Error + 'static)>),
    {
        Self { begin }
    }
}

impl<S, F: Clone> Layer<S> for ObserveLayer<F> {
    type Service = Observe<S, F>;

    fn layer(&self, inner: S) -> Observe<S, F> {
        Observe { inner, begin: self.begin.clone() }
    }
}

/// The service that [`ObserveLayer`] makes.
#[derive(Clone)]
pub struct Observe<S, F> {
    inner: S,
    begin: F,
}

impl<S, F, E, R> Service<R> for Observe<S, F>
where
    R: AnyRequest,
    S: Service<R, Error: LayerError>,
    F: Fn(&Head<'_>) -> E,
    E: FnOnce(Result<(), &(dyn Error + 'static)>),
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Observed<S::Future, E>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let end = (self.begin)(&request.head());
        Observed { future: self.inner.call(request), end: Some(end) }
    }
}

pin_project! {
    /// A request whose outcome is told.
    pub struct Observed<F, E> {
        #[pin]
        future: F,
        end: Option<E>,
    }
}

impl<F, E, T, Failure> Future for Observed<F, E>
where
    F: Future<Output = Result<T, Failure>>,
    E: FnOnce(Result<(), &(dyn Error + 'static)>),
    Failure: LayerError,
{
    type Output = Result<T, Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let outcome = ready!(this.future.poll(cx));
        if let Some(end) = this.end.take() {
            end(outcome.as_ref().map(drop).map_err(LayerError::as_error));
        }
        Poll::Ready(outcome)
    }
}

impl<F> fmt::Debug for ObserveLayer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObserveLayer").finish_non_exhaustive()
    }
}

impl<S: fmt::Debug, F> fmt::Debug for Observe<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observe").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<F, E> fmt::Debug for Observed<F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed").field("done", &self.end.is_none()).finish_non_exhaustive()
    }
}
