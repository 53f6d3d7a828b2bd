//! Handlers as services, and services as handlers.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use tower_layer::Layer;
use tower_service::Service;

use crate::api::calls::{CallHandler, IncomingCall};
use crate::api::message::{IntoResponse, Reply, Request};
use crate::api::server::{BoxError, Handler, HandlerError};

type Handling = BoxFuture<'static, Result<Reply, HandlerError>>;
type KnowsMethod = dyn Fn(&str) -> bool + Send + Sync;

/// A handler as a service, which layers go around. It is always ready.
pub struct HandlerService<H>(Arc<H>);

impl<H> HandlerService<H> {
    /// A service of this handler.
    pub fn new(handler: H) -> Self {
        Self(Arc::new(handler))
    }
}

impl<H> Clone for HandlerService<H> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<H> fmt::Debug for HandlerService<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerService").finish_non_exhaustive()
    }
}

impl<H: Handler> Service<Request> for HandlerService<H> {
    type Response = Reply;
    type Error = HandlerError;
    type Future = Handling;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HandlerError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Handling {
        self.0.handle(request)
    }
}

impl<H: CallHandler> Service<IncomingCall> for HandlerService<H> {
    type Response = Reply;
    type Error = HandlerError;
    type Future = Handling;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HandlerError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: IncomingCall) -> Handling {
        self.0.handle(call)
    }
}

/// A handler with layers around it, or a service as a handler: of requests, of calls, or of both.
///
/// It is a [`Handler`] if the service takes [`Request`], and a [`CallHandler`] if it takes
/// [`IncomingCall`]. The service is cloned for each of them, and called when the clone is ready.
///
/// ```
/// use pointsub_swarm::middleware::{Layered, TimeoutLayer};
/// use pointsub_swarm::{IncomingCall, ProtocolName, RegisterError, RequestError, Server};
/// use std::time::Duration;
///
/// fn serve(server: &Server) -> Result<(), RegisterError> {
///     const CLOCK: ProtocolName = ProtocolName::from_static("/clock/1.0.0");
///     let clock = |call: IncomingCall| async move {
///         let IncomingCall { mut sender, mut receiver, .. } = call;
///         while receiver.recv().await?.is_some() {
///             sender.send("tick").await?;
///         }
///         Ok::<_, RequestError>(())
///     };
///     // No call lasts longer than an hour.
///     let layer = TimeoutLayer::new(Duration::from_secs(3600));
///     server.register_call(&CLOCK, Layered::new_call(clock, layer))
/// }
/// ```
#[derive(Clone)]
pub struct Layered<S> {
    service: S,
    spawned: bool,
    knows_method: Option<Arc<KnowsMethod>>,
    calls: Option<Arc<dyn CallHandler>>,
}

impl<S> Layered<S> {
    /// A handler of requests with layers around it. If the handler has [calls](Handler::calls) of its own
    /// too, they are not taken over: add them with [`with_calls`](Self::with_calls).
    pub fn new<H, L>(handler: H, layers: L) -> Self
    where
        H: Handler,
        L: Layer<HandlerService<H>, Service = S>,
    {
        let service = HandlerService::new(handler);
        let inner = service.0.clone();
        let layered = Self { spawned: inner.spawned(), ..Self::of(layers.layer(service)) };
        layered.with_methods(move |method| inner.knows_method(method))
    }

    /// A handler of calls with layers around it.
    pub fn new_call<H, L>(handler: H, layers: L) -> Self
    where
        H: CallHandler,
        L: Layer<HandlerService<H>, Service = S>,
    {
        Self::of(layers.layer(HandlerService::new(handler)))
    }

    /// A service as a handler.
    ///
    /// One that hands every request on to whoever is the closest server:
    ///
    /// ```
    /// use pointsub_swarm::middleware::{Layered, OutgoingRequest};
    /// use pointsub_swarm::{Node, ProtocolName, RegisterError, Runtime};
    /// use tower::ServiceBuilder;
    ///
    /// fn forward<R: Runtime>(node: &Node<R>) -> Result<(), RegisterError> {
    ///     const SEARCH: ProtocolName = ProtocolName::from_static("/search/1.0.0");
    ///     let onward = ServiceBuilder::new()
    ///         .map_request(OutgoingRequest::from)
    ///         .service(node.client().to_closest());
    ///     node.server().register(&SEARCH, Layered::of(onward))
    /// }
    /// ```
    pub const fn of(service: S) -> Self {
        Self { service, spawned: false, knows_method: None, calls: None }
    }

    /// Says which methods are the service's: see [`Handler::knows_method`]. Those of a handler are known
    /// already.
    #[must_use]
    pub fn with_methods(mut self, knows: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.knows_method = Some(Arc::new(knows));
        self
    }

    /// Adds a handler of calls under the same protocol. Layers around it are its own.
    #[must_use]
    pub fn with_calls(mut self, calls: impl CallHandler) -> Self {
        self.calls = Some(Arc::new(calls));
        self
    }
}

impl<S> Handler for Layered<S>
where
    S: Service<Request, Response: IntoResponse, Error: Into<BoxError> + 'static, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
{
    fn handle(&self, request: Request) -> Handling {
        call(self.service.clone(), request).map(IntoResponse::into_response).boxed()
    }

    fn spawned(&self) -> bool {
        self.spawned
    }

    fn knows_method(&self, method: &str) -> bool {
        self.knows_method.as_ref().is_some_and(|knows| knows(method))
    }

    fn calls(&self) -> Option<Arc<dyn CallHandler>> {
        self.calls.clone()
    }
}

impl<S> CallHandler for Layered<S>
where
    S: Service<IncomingCall, Response: IntoResponse, Error: Into<BoxError> + 'static, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
{
    fn handle(&self, incoming: IncomingCall) -> Handling {
        call(self.service.clone(), incoming).map(IntoResponse::into_response).boxed()
    }
}

/// Waits until the service takes a request, and calls it.
async fn call<S: Service<R>, R>(mut service: S, request: R) -> Result<S::Response, S::Error> {
    poll_fn(|cx| service.poll_ready(cx)).await?;
    service.call(request).await
}

impl<S> fmt::Debug for Layered<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layered").field("has_calls", &self.calls.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tower::layer::util::Identity;

    use super::*;
    use crate::Spawned;

    async fn nothing(_: Request) {}

    #[test]
    fn a_handler_with_tasks_of_its_own_has_them_behind_layers() {
        assert!(Layered::new(Spawned(nothing), Identity::new()).spawned());
        assert!(!Layered::new(nothing, Identity::new()).spawned());
    }

    /// Peers can name any others.
    #[test]
    fn methods_have_names_behind_layers() {
        let names = Layered::of(tower::service_fn(async |_: Request| Ok::<_, HandlerError>("")));
        assert!(!names.knows_method("add"));
        let names = names.with_methods(|method| method == "add");
        let outer = Layered::new(names, Identity::new());
        assert!(outer.knows_method("add") && !outer.knows_method("made-up"));
    }

    /// Its calls would be without layers.
    #[test]
    fn calls_are_not_taken_over_from_a_handler_of_requests() {
        let calls = |_: IncomingCall| async {};
        let both = Layered::new(nothing, Identity::new()).with_calls(calls);
        assert!(both.calls().is_some());
        assert!(Layered::new(both, Identity::new()).calls().is_none());
    }
}
