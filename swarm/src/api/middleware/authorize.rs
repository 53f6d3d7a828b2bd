//! Who may ask for what.

use std::fmt;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use futures::future::Either;
use tower_layer::Layer;
use tower_service::Service;

use super::head::{AnyRequest, Head};
use crate::api::admission::Verdict;
use crate::api::server::HandlerError;

/// Lets a function decide about each request before its handler gets it: by the peer, by the method, and by
/// metadata. What decides by the peer and the protocol alone belongs into an
/// [`Admission`](crate::Admission), which is asked before a body is read.
///
/// The function has to answer at once. Where that takes time, tower's `filter_async` does the same.
///
/// ```
/// use pointsub_swarm::middleware::{AuthorizeLayer, Head};
/// use pointsub_swarm::{PeerId, Verdict};
///
/// fn readers_and_one_writer(writer: PeerId) -> AuthorizeLayer<impl Fn(&Head<'_>) -> Verdict + Clone> {
///     AuthorizeLayer::new(move |head: &Head<'_>| match head.method.map(|method| method.as_str()) {
///         Some("get") => Verdict::Allow,
///         _ if head.peer == Some(writer) => Verdict::Allow,
///         _ => Verdict::permission_denied("only reading is allowed"),
///     })
/// }
/// ```
#[derive(Clone)]
pub struct AuthorizeLayer<F> {
    decide: F,
}

impl<F: Fn(&Head<'_>) -> Verdict> AuthorizeLayer<F> {
    /// The function decides.
    pub const fn new(decide: F) -> Self {
        Self { decide }
    }
}

impl<S, F: Clone> Layer<S> for AuthorizeLayer<F> {
    type Service = Authorize<S, F>;

    fn layer(&self, inner: S) -> Authorize<S, F> {
        Authorize { inner, decide: self.decide.clone() }
    }
}

/// The service that [`AuthorizeLayer`] makes.
#[derive(Clone)]
pub struct Authorize<S, F> {
    inner: S,
    decide: F,
}

impl<S, F, R> Service<R> for Authorize<S, F>
where
    R: AnyRequest,
    S: Service<R, Error: From<HandlerError>>,
    F: Fn(&Head<'_>) -> Verdict,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        match (self.decide)(&request.head()).into_status() {
            None => Either::Left(self.inner.call(request)),
            Some(status) => Either::Right(ready(Err(HandlerError::from(status).into()))),
        }
    }
}

impl<F> fmt::Debug for AuthorizeLayer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizeLayer").finish_non_exhaustive()
    }
}

impl<S: fmt::Debug, F> fmt::Debug for Authorize<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorize").field("inner", &self.inner).finish_non_exhaustive()
    }
}
