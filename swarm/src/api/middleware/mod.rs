//! Layers of [tower](https://docs.rs/tower) around handlers and around clients: feature `tower`.
//!
//! ```
//! use pointsub_swarm::middleware::{AuthorizeLayer, Head, Layered, TimeoutLayer};
//! use pointsub_swarm::{BoxError, HandlerError, ProtocolName, RegisterError, Request, Server, Verdict};
//! use std::time::Duration;
//! use tower::ServiceBuilder;
//! use tower::load_shed::error::Overloaded;
//!
//! const ECHO: ProtocolName = ProtocolName::from_static("/echo/1.0.0");
//!
//! async fn echo(request: Request) -> pointsub_swarm::Bytes {
//!     request.body
//! }
//!
//! fn has_token(head: &Head<'_>) -> Verdict {
//!     match head.metadata.get("token") {
//!         Some(b"secret") => Verdict::Allow,
//!         _ => Verdict::unauthenticated("send a token"),
//!     }
//! }
//!
//! /// What `load_shed` says is for the log, unless it is made a status for the caller.
//! fn busy(error: BoxError) -> HandlerError {
//!     match error.is::<Overloaded>() {
//!         true => HandlerError::busy(Duration::from_millis(100)),
//!         false => error.into(),
//!     }
//! }
//!
//! fn serve(server: &Server) -> Result<(), RegisterError> {
//!     let layers = ServiceBuilder::new()
//!         .layer(AuthorizeLayer::new(has_token)) // the outermost is the first
//!         .map_err(busy)
//!         .load_shed()
//!         .concurrency_limit(8)
//!         .layer(TimeoutLayer::new(Duration::from_secs(2)));
//!     server.register(&ECHO, Layered::new(echo, layers))
//! }
//! ```
//!
//! # Handlers
//!
//! [`Layered`] is a handler with layers around it, for [`Server::register`](crate::Server::register) and
//! [`Server::register_call`](crate::Server::register_call), and it makes a handler of any
//! [`Service`]. A layer sees the [`Request`](crate::Request) that the handler gets,
//! or the [`IncomingCall`](crate::IncomingCall), and what the handler returns:
//!
//! | | |
//! |---|---|
//! | request | [`Request`](crate::Request), [`IncomingCall`](crate::IncomingCall) |
//! | response | [`Reply`](crate::Reply); the outermost layer may return any [`IntoResponse`](crate::IntoResponse) |
//! | error | [`HandlerError`](crate::HandlerError); the outermost layer may return any error, and a `HandlerError` inside a [`BoxError`](crate::BoxError) stays the status that it is |
//!
//! The future of a service that wraps the handler of a call lives as long as the call. A layer that waits
//! before it calls the handler has accepted the call, as a handler that waits has. One that refuses at once
//! has refused it, and a client of the closest server asks the next one.
//!
//! # Clients
//!
//! [`Client::to_peer`](crate::Client::to_peer) and [`Client::to_closest`](crate::Client::to_closest) are
//! services. They take [`OutgoingRequest`] and give a [`Response`](crate::Response), and they take
//! [`OutgoingCall`] and give a [`StreamingCall`](crate::StreamingCall) when it is accepted. They are always
//! ready: what cannot leave yet waits in the client, which refuses what is beyond its `max_pending`.
//!
//! ```
//! use pointsub_swarm::middleware::OutgoingRequest;
//! use pointsub_swarm::{BoxError, Client, PeerId, ProtocolName, Request};
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! const GREET: ProtocolName = ProtocolName::from_static("/greet/1.0.0");
//!
//! # futures::executor::block_on(async {
//! # let client = Client::from_fn(|_, request: Request| async move {
//! #     Ok(request.metadata.get("token").unwrap_or_default().to_vec())
//! # });
//! # let peer = PeerId::random();
//! let greeter = ServiceBuilder::new()
//!     .map_request(|request: OutgoingRequest| request.metadata("token", "secret"))
//!     .concurrency_limit(16)
//!     .service(client.to_peer(peer));
//! let answer = greeter.oneshot(OutgoingRequest::new(&GREET, "bob")).await?;
//! assert_eq!(answer, "secret"); // this server tells what it got
//! # Ok::<_, BoxError>(())
//! # }).unwrap();
//! ```
//!
//! Their errors are [`RequestError`](crate::RequestError) and [`ClosestError`](crate::ClosestError), which
//! say whether the request may have been processed, and have the status. Some layers of tower make every
//! error a [`BoxError`](crate::BoxError), out of which `downcast` gets the same one. What such a layer says
//! itself has no delivery: a request that `load_shed` refuses was surely not sent, and one on which tower's
//! `timeout` gives up may have been processed.
//!
//! # What is there
//!
//! | | around handlers | around clients |
//! |---|---|---|
//! | timeout | [`TimeoutLayer`]; for a whole server [`with_max_handler_time`](crate::ServerConfig::with_max_handler_time) | [`TimeoutLayer`], which the server is told; without layers [`Policy::timeout`](crate::Policy::timeout) |
//! | rate limit | [`Server::set_rate_limit`](crate::Server::set_rate_limit), by peer and by protocol, before the body is read | tower's `rate_limit` inside of a `buffer`, on tokio |
//! | concurrency limit | the server has one that moves, with fair shares; tower's `concurrency_limit` for one protocol, with `load_shed` before it so that nobody waits | tower's `concurrency_limit` |
//! | authorization | [`AuthorizeLayer`], by peer, method and metadata; tower's `filter_async` where that takes time; before the body is read, by peer and protocol, [`Admission`](crate::Admission) | |
//! | metrics | [`ObserveLayer`] | [`ObserveLayer`] |
//! | tracing | a layer of one's own with [`AnyRequest::head`] | the same |
//! | retry, hedging | | the client's [`Policy`](crate::Policy), which knows what was processed; tower's `retry` works too |
//! | panics | the server answers them as [`Internal`](crate::StatusCode::Internal), with layers and without | |
//!
//! tower's `timeout`, `rate_limit` and `buffer` need tokio at run time, and `Buffer::pair` only something that
//! runs its worker. The others, and all layers of this module, run everywhere.
//!
//! # Order
//!
//! A request passes the layers of a `ServiceBuilder` from the first to the last. Before the first one the
//! server has asked [`Admission`](crate::Admission), has let the request in within its limits, and has read
//! and inflated its body. Outside of all layers it hides the texts of errors and catches panics. Among layers,
//! this order lets each see what it should:
//!
//! 1. metrics and tracing: they see what the others refuse;
//! 2. authorization: strangers cost nothing further;
//! 3. `map_err`, which makes errors of the following ones statuses;
//! 4. `load_shed` and limits;
//! 5. timeout, around what works;
//! 6. what belongs to the application.
//!
//! For clients it is the same: metrics, then limits, then timeout, then what changes the request. The tries
//! of a request are behind all layers: one that observes sees one outcome, however often was tried.
//!
//! A stack is asked whether it is ready before its first layer gets the request. A limit that has no
//! `load_shed` around it lets requests wait there, unseen by metrics, authorization and timeouts. Only the
//! deadlines of the caller and of the server hold meanwhile. A server should refuse instead.
//!
//! A service is cloned for each request, and is called when the clone is ready: clones have to share what
//! they limit, as those of tower do. A service without `Clone`, such as tower's `RateLimit`, goes behind a
//! `buffer`.
//!
//! # Cost
//!
//! A handler without layers is the same code with this feature as without. Layers cost what they do, and one
//! allocation a request. The future of a client's service is the very [`Call`](crate::Call) that
//! [`Client::send`](crate::Client::send) gives.

mod authorize;
mod client;
mod handler;
mod head;
mod observe;
mod outgoing;
mod timeout;

pub use self::authorize::{Authorize, AuthorizeLayer};
pub use self::client::{ToClosest, ToPeer};
pub use self::handler::{HandlerService, Layered};
pub use self::head::{AnyRequest, Head, LayerError, status_code};
pub use self::observe::{Observe, ObserveLayer, Observed};
pub use self::outgoing::{OutgoingCall, OutgoingRequest};
pub use self::timeout::{TimedOut, Timeout, TimeoutLayer};
pub use tower_layer::Layer;
pub use tower_service::Service;
