//! Layers of tower around services and around their clients: feature `tower`.
//!
//! They are the same as around handlers and clients of bytes, and [their
//! documentation](pointsub_swarm::middleware) says what there is and in which order. A layer sees a method as
//! [`Head::method`](pointsub_swarm::middleware::Head::method), and arguments, results and messages encoded.
//!
//! ```
//! use pointsub_service::middleware::LayeredService;
//! use pointsub_service::{Client, Cx, Failure, PeerId, RegisterError, Server, Stub, service};
//! use pointsub_swarm::Verdict;
//! use pointsub_swarm::middleware::{AuthorizeLayer, Head, OutgoingRequest, TimeoutLayer};
//! use std::time::Duration;
//! use tower::ServiceBuilder;
//!
//! #[service("/count/1")]
//! trait Count {
//!     async fn add(&self, cx: &Cx, number: u32) -> Result<u32, Failure>;
//! }
//!
//! struct Counter;
//!
//! impl Count for Counter {
//!     async fn add(&self, _cx: &Cx, number: u32) -> Result<u32, Failure> {
//!         Ok(number + 1)
//!     }
//! }
//!
//! fn serve(server: &Server) -> Result<(), RegisterError> {
//!     let has_token = |head: &Head<'_>| match head.metadata.get("token") {
//!         Some(b"secret") => Verdict::Allow,
//!         _ => Verdict::unauthenticated("send a token"),
//!     };
//!     let layers = ServiceBuilder::new()
//!         .layer(AuthorizeLayer::new(has_token))
//!         .layer(TimeoutLayer::new(Duration::from_secs(2)));
//!     LayeredService::new(CountServer::new(Counter), layers).serve(server)
//! }
//!
//! fn client(client: &Client, peer: PeerId) -> CountClient {
//!     let requests = ServiceBuilder::new()
//!         .map_request(|request: OutgoingRequest| request.metadata("token", "secret"))
//!         .concurrency_limit(16)
//!         .service(client.to_peer(peer));
//!     let calls = client.to_peer(peer); // this service has no methods with messages
//!     CountClient::from(Stub::through_each(requests, calls, CountClient::PROTOCOL))
//! }
//! ```
//!
//! Methods without messages are requests, and any others are calls. Layers that take both go around both, as
//! all those do that know nothing of requests, and those of [`pointsub_swarm::middleware`]. Functions that
//! are given to tower take one of them: [`LayeredService::each`] and [`Stub::through_each`] have two stacks.
//!
//! [Local](Stub::local) clients encode nothing, so that nothing of what they do passes through layers.

use std::borrow::Borrow;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use pointsub_swarm::middleware::{HandlerService, Layered, OutgoingCall, OutgoingRequest};
use pointsub_swarm::{
    BoxError, CallHandler, ClosestError, Handler, IncomingCall, ProtocolName, RegisterError,
    Request, RequestError, Response, Server, StreamingCall,
};
use serde::de::DeserializeOwned;
use tower_layer::Layer;

use crate::call::Answer;
use crate::call::Streaming;
use crate::call::Stub;
use crate::codec::Limits;
use crate::detail::{call_error, closest_error};
use crate::error::{CallError, ServiceError};
use crate::service::{Handling, Served, Service};
use crate::wire::Wire;

/// A service as a handler, of requests and of calls, which layers go around.
pub struct ServiceHandler(Served);

impl ServiceHandler {
    /// A handler of this service.
    pub fn new(service: impl Service) -> Self {
        Self(Served::new(Arc::new(service)))
    }
}

impl Handler for ServiceHandler {
    fn handle(&self, request: Request) -> Handling {
        self.0.handle(request)
    }

    fn knows_method(&self, method: &str) -> bool {
        self.0.knows_method(method)
    }

    fn calls(&self) -> Option<Arc<dyn CallHandler>> {
        self.0.calls()
    }
}

impl CallHandler for ServiceHandler {
    fn handle(&self, call: IncomingCall) -> Handling {
        self.0.calls.handle(call)
    }
}

/// A service with layers around it.
#[must_use = "it has no effect until it is served"]
pub struct LayeredService<S> {
    protocol: ProtocolName,
    handler: Layered<S>,
}

impl<S> LayeredService<S> {
    /// A service with layers around all of its methods.
    pub fn new<V, L>(service: V, layers: L) -> Self
    where
        V: Service,
        L: Layer<HandlerService<ServiceHandler>, Service = S>,
        S: Clone,
        Layered<S>: Handler + CallHandler,
    {
        let (protocol, handler) = (service.protocol(), ServiceHandler::new(service));
        let methods = handler.0.methods.clone();
        let service = layers.layer(HandlerService::new(handler));
        let handler = Layered::of(service.clone()).with_calls(Layered::of(service));
        Self { protocol, handler: handler.with_methods(move |method| methods.contains(&method)) }
    }

    /// A service with some layers around the methods that have no messages, and other ones around those that
    /// have.
    pub fn each<V, L, M>(service: V, requests: L, calls: M) -> Self
    where
        V: Service,
        L: Layer<HandlerService<ServiceHandler>, Service = S>,
        M: Layer<HandlerService<ServiceHandler>>,
        Layered<S>: Handler,
        Layered<M::Service>: CallHandler,
    {
        let (protocol, handler) = (service.protocol(), ServiceHandler::new(service));
        let methods = handler.0.methods.clone();
        let service = HandlerService::new(handler);
        let calls = Layered::of(calls.layer(service.clone()));
        let handler = Layered::of(requests.layer(service)).with_calls(calls);
        Self { protocol, handler: handler.with_methods(move |method| methods.contains(&method)) }
    }

    /// Serves it from now on: [`Server::register`].
    ///
    /// # Errors
    /// [`RegisterError`] if the protocol has a handler already, or the server is stopping.
    pub fn serve(self, server: impl Borrow<Server>) -> Result<(), RegisterError>
    where
        Layered<S>: Handler,
    {
        server.borrow().register(&self.protocol, self.handler)
    }
}

impl Stub {
    /// Calls the service through layers: those around
    /// [`to_peer`](pointsub_swarm::Client::to_peer) or [`to_closest`](pointsub_swarm::Client::to_closest).
    ///
    /// The error of a layer arrives as [`CallError::Layer`]. A
    /// [`RequestError`] or a [`ClosestError`] that passes through layers as a [`BoxError`] arrives as it does
    /// without them.
    pub fn through<S>(service: S, protocol: ProtocolName) -> Self
    where
        S: tower_service::Service<OutgoingRequest, Response = Response>,
        S: tower_service::Service<OutgoingCall, Response = StreamingCall>,
        S: Clone + Send + Sync + 'static,
        <S as tower_service::Service<OutgoingRequest>>::Error: Into<BoxError>,
        <S as tower_service::Service<OutgoingRequest>>::Future: Send,
        <S as tower_service::Service<OutgoingCall>>::Error: Into<BoxError>,
        <S as tower_service::Service<OutgoingCall>>::Future: Send,
    {
        Self::through_each(service.clone(), service, protocol)
    }

    /// The same with one service for methods without messages, and one for those with messages.
    pub fn through_each<S, C>(requests: S, calls: C, protocol: ProtocolName) -> Self
    where
        S: tower_service::Service<OutgoingRequest, Response = Response>,
        S: Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        C: tower_service::Service<OutgoingCall, Response = StreamingCall>,
        C: Clone + Send + Sync + 'static,
        C::Error: Into<BoxError>,
        C::Future: Send,
    {
        let requests = Arc::new(move |request| pass(requests.clone(), request));
        let calls = Arc::new(move |call| pass(calls.clone(), call));
        Self::of_layers(Layers { requests, calls }, protocol)
    }
}

/// Waits until the service takes a request, and calls it.
fn pass<S, R>(mut service: S, request: R) -> BoxFuture<'static, Result<S::Response, BoxError>>
where
    S: tower_service::Service<R, Error: Into<BoxError>, Future: Send> + Send + 'static,
    R: Send + 'static,
{
    async move {
        poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
        service.call(request).await.map_err(Into::into)
    }
    .boxed()
}

type Pass<R, T> = Arc<dyn Fn(R) -> BoxFuture<'static, Result<T, BoxError>> + Send + Sync>;

/// The layers of a client.
#[derive(Clone)]
pub(crate) struct Layers {
    requests: Pass<OutgoingRequest, Response>,
    calls: Pass<OutgoingCall, StreamingCall>,
}

impl Layers {
    pub(crate) fn request(
        &self,
        request: OutgoingRequest,
    ) -> Box<Unsent<OutgoingRequest, Response>> {
        Box::new(Unsent { request, pass: self.requests.clone() })
    }

    pub(crate) fn call(&self, call: OutgoingCall) -> Box<Unsent<OutgoingCall, StreamingCall>> {
        Box::new(Unsent { request: call, pass: self.calls.clone() })
    }
}

/// What has layers before it.
pub(crate) struct Unsent<R, T> {
    request: R,
    pass: Pass<R, T>,
}

impl<R, T> Unsent<R, T> {
    pub(crate) fn with(self, set: impl FnOnce(R) -> R) -> Self {
        Self { request: set(self.request), pass: self.pass }
    }
}

/// Calls a method without messages.
pub(crate) async fn send<T, E>(
    call: Box<Unsent<OutgoingRequest, Response>>,
    wire: Wire,
) -> Result<Answer<T>, CallError<E>>
where
    T: DeserializeOwned,
    E: ServiceError,
{
    let response = (call.pass)(call.request).await;
    let response = response.map_err(|error| layer_error(error, wire.limits))?;
    Ok(Answer::of_response(wire.decode(&response)?, &response))
}

/// Calls a method with messages.
pub(crate) async fn open<S, R, T, E>(
    call: Box<Unsent<OutgoingCall, StreamingCall>>,
    wire: Wire,
) -> Result<Streaming<S, R, T, E>, CallError<E>>
where
    S: Send + 'static,
    R: Send + 'static,
    T: Send + 'static,
    E: ServiceError,
{
    let call = (call.pass)(call.request).await;
    let call = call.map_err(|error| layer_error(error, wire.limits))?;
    Ok(Streaming::of_call(call, wire))
}

/// How a call has failed that passed through layers.
fn layer_error<E: ServiceError>(error: BoxError, limits: Limits) -> CallError<E> {
    match error.downcast::<RequestError>() {
        Ok(error) => call_error(*error, limits),
        Err(error) => match error.downcast::<ClosestError>() {
            Ok(error) => closest_error(*error, limits),
            Err(error) => CallError::Layer(error),
        },
    }
}

impl fmt::Debug for ServiceHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceHandler").finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for LayeredService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayeredService").field("protocol", &self.protocol).finish_non_exhaustive()
    }
}
