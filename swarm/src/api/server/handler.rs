//! What an application writes: a function from a request to a response.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::error::HandlerError;
use crate::api::calls::CallHandler;
use crate::api::message::{IntoResponse, Reply, Request};

/// Answers the requests of one protocol. Implemented by every
/// `Fn(Request) -> impl Future<Output = impl IntoResponse>`.
///
/// The returned future is polled once where the request was read. If that suffices, the answer
/// goes out with the same write as its neighbours'; if not, the future is spawned. A handler that
/// computes for long before its first `await` should be wrapped in [`Spawned`].
///
/// When the caller cancels, runs out of time, or disappears, the future is dropped.
///
/// ```
/// use pointsub_swarm::{HandlerError, ProtocolName, RegisterError, Request, Server};
///
/// fn serve(server: &Server) -> Result<(), RegisterError> {
///     const ECHO: ProtocolName = ProtocolName::from_static("/echo/1.0.0");
///     const NUMBER: ProtocolName = ProtocolName::from_static("/number/1.0.0");
///     // A handler that cannot fail returns what it answers.
///     server.register(&ECHO, |request: Request| async move { request.body })?;
///     // One that can returns a `Result`, with an error of any kind.
///     server.register(&NUMBER, |request: Request| async move {
///         match std::str::from_utf8(&request.body)?.parse::<u64>() {
///             Ok(number) => Ok((number + 1).to_string()),
///             Err(error) => Err(HandlerError::invalid_request(error.to_string())),
///         }
///     })
/// }
/// ```
pub trait Handler: Send + Sync + 'static {
    /// Begins to answer a request.
    fn handle(&self, request: Request) -> BoxFuture<'static, Result<Reply, HandlerError>>;

    /// Whether to spawn each future at once instead of polling it where the request was read.
    fn spawned(&self) -> bool {
        false
    }

    /// Whether a method that a peer names is one of this handler's, so that metrics and spans may have its
    /// name. Others are requests of the protocol there: peers can make up as many as they like. Default: none
    /// is.
    fn knows_method(&self, method: &str) -> bool {
        let _ = method;
        false
    }

    /// Who handles the calls of the protocol, if it has calls beside requests.
    fn calls(&self) -> Option<Arc<dyn CallHandler>> {
        None
    }
}

impl<F, Fut> Handler for F
where
    F: Fn(Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoResponse> + Send + 'static,
{
    fn handle(&self, request: Request) -> BoxFuture<'static, Result<Reply, HandlerError>> {
        self(request).map(IntoResponse::into_response).boxed()
    }
}

/// A handler whose work is heavy: every request runs on a task of its own from the beginning.
#[derive(Debug, Clone, Copy)]
pub struct Spawned<H>(pub H);

impl<H: Handler> Handler for Spawned<H> {
    fn handle(&self, request: Request) -> BoxFuture<'static, Result<Reply, HandlerError>> {
        self.0.handle(request)
    }

    fn spawned(&self) -> bool {
        true
    }

    fn knows_method(&self, method: &str) -> bool {
        self.0.knows_method(method)
    }

    fn calls(&self) -> Option<Arc<dyn CallHandler>> {
        self.0.calls()
    }
}
