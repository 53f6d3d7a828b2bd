//! What an application writes: a function from a request to a response.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use libp2p_identity::PeerId;
use pointsub_core::{ProtocolName, Status, StatusCode};

/// A request as its handler gets it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Request {
    /// Who asks; authenticated by the connection.
    pub peer: PeerId,
    /// Under which protocol.
    pub protocol: ProtocolName,
    /// The body. A slice of what was read together with other requests: to keep a small part of
    /// it for long, copy it.
    pub body: Bytes,
    /// How long the caller still waited when the request arrived, if it said so. The handler is
    /// stopped (its future is dropped) when that is over.
    pub remaining: Option<Duration>,
}

/// Answers the requests of one protocol. Implemented by every
/// `Fn(Request) -> impl Future<Output = Result<impl Into<Bytes>, impl Into<HandlerError>>>`.
///
/// The returned future is polled once where the request was read. If that suffices, the answer
/// goes out with the same write as its neighbours'; if not, the future is spawned. A handler that
/// computes for long before its first `await` should be wrapped in [`Spawned`].
///
/// When the caller cancels, runs out of time, or disappears, the future is dropped.
pub trait Handler: Send + Sync + 'static {
    /// Begins to answer a request.
    fn handle(&self, request: Request) -> BoxFuture<'static, Result<Bytes, HandlerError>>;

    /// Whether to spawn each future at once instead of polling it where the request was read.
    fn spawned(&self) -> bool {
        false
    }
}

impl<F, Fut, R, E> Handler for F
where
    F: Fn(Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R, E>> + Send + 'static,
    R: Into<Bytes>,
    E: Into<HandlerError>,
{
    fn handle(&self, request: Request) -> BoxFuture<'static, Result<Bytes, HandlerError>> {
        let future = self(request);
        async move { future.await.map(Into::into).map_err(Into::into) }.boxed()
    }
}

/// A handler whose work is heavy: every request runs on a task of its own from the beginning.
#[derive(Debug, Clone, Copy)]
pub struct Spawned<H>(pub H);

impl<H: Handler> Handler for Spawned<H> {
    fn handle(&self, request: Request) -> BoxFuture<'static, Result<Bytes, HandlerError>> {
        self.0.handle(request)
    }

    fn spawned(&self) -> bool {
        true
    }
}

/// A failure that a handler answers with; the caller gets it as
/// [`StatusCode::Application`]. Plain peers only see the stream close.
///
/// Every error converts into it, with code 0 and its text as the message.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HandlerError {
    /// The application's own code.
    pub code: u32,
    /// For people; at most 1024 bytes travel.
    pub message: String,
    /// For programs, in a form the application defines.
    pub detail: Bytes,
}

impl HandlerError {
    /// A failure without detail.
    pub fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), detail: Bytes::new() }
    }

    /// Adds detail for programs.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<Bytes>) -> Self {
        self.detail = detail.into();
        self
    }
}

impl<E: std::error::Error> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self::new(0, error.to_string())
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {})", self.message, self.code)
    }
}

impl From<HandlerError> for Status {
    fn from(error: HandlerError) -> Self {
        let mut status = Self::new(StatusCode::Application(error.code), error.message);
        status.detail = error.detail;
        status
    }
}
