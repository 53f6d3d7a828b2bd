//! What travels between a caller and a handler: requests, replies, responses.

use std::borrow::Cow;
use std::ops::Deref;
use std::str::Utf8Error;
use std::time::Duration;

use bytes::Bytes;
use libp2p_identity::PeerId;
use pointsub_core::{Metadata, Method, ProtocolName, Source};

use super::failover::NodeAttempt;
use super::server::error::{BoxError, HandlerError};

/// A request as its handler gets it.
///
/// ```
/// use pointsub_swarm::{PeerId, ProtocolName, Request};
///
/// async fn greet(request: Request) -> String {
///     format!("hello, {}", String::from_utf8_lossy(&request.body))
/// }
///
/// // A handler is called in a test as it is called by a server.
/// const GREET: ProtocolName = ProtocolName::from_static("/greet/1.0.0");
/// # futures::executor::block_on(async {
/// assert_eq!(greet(Request::new(PeerId::random(), GREET, "bob")).await, "hello, bob");
/// # });
/// ```
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
    /// What is asked for within the protocol, if the caller says so.
    pub method: Option<Method>,
    /// What the caller says beside the body.
    pub metadata: Metadata,
}

impl Request {
    /// A request as a handler would get it, of a caller that does not say how long it waits.
    pub fn new(peer: PeerId, protocol: ProtocolName, body: impl Into<Bytes>) -> Self {
        let (remaining, method, metadata) = (None, None, Metadata::new());
        Self { peer, protocol, body: body.into(), remaining, method, metadata }
    }

    /// Sets how long the caller still waits.
    #[must_use]
    pub fn with_remaining(mut self, remaining: Duration) -> Self {
        self.remaining = Some(remaining);
        self
    }

    /// Sets what is asked for within the protocol.
    #[must_use]
    pub fn with_method(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }

    /// Sets what the caller says beside the body.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }
}

/// The answer of a handler that did not fail, made of whatever is [`IntoResponse`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reply {
    body: Bytes,
    metadata: Metadata,
}

impl Reply {
    /// A reply with this body.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), metadata: Metadata::new() }
    }

    /// The same reply with metadata beside its body. Callers on the plain format do not get it.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// The body.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// What travels beside it.
    #[must_use]
    pub const fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    pub(crate) fn into_parts(self) -> (Bytes, Metadata) {
        (self.body, self.metadata)
    }

    /// The body alone.
    #[must_use]
    pub fn into_body(self) -> Bytes {
        self.body
    }
}

/// What a handler may return: bytes, text, nothing, a [`Reply`], and a `Result` of these with an
/// error of any kind.
///
/// An error is any type that converts into a boxed one: those of the standard library, text,
/// `Box<dyn Error + Send + Sync>`, `anyhow::Error`. What of it reaches the caller is said by
/// [`HandlerError`].
pub trait IntoResponse {
    /// The reply, or why there is none.
    ///
    /// # Errors
    /// If the handler has failed.
    fn into_response(self) -> Result<Reply, HandlerError>;
}

impl IntoResponse for Reply {
    fn into_response(self) -> Result<Self, HandlerError> {
        Ok(self)
    }
}

impl IntoResponse for () {
    fn into_response(self) -> Result<Reply, HandlerError> {
        Ok(Reply::default())
    }
}

impl<T: IntoResponse, E: Into<BoxError> + 'static> IntoResponse for Result<T, E> {
    fn into_response(self) -> Result<Reply, HandlerError> {
        match self {
            Ok(reply) => reply.into_response(),
            Err(error) => Err(HandlerError::of_any(error)),
        }
    }
}

macro_rules! replies {
    ($($of:ty),* $(,)?) => {$(
        impl IntoResponse for $of {
            fn into_response(self) -> Result<Reply, HandlerError> {
                Ok(Reply::new(self))
            }
        }
    )*};
}

replies!(Bytes, Vec<u8>, Box<[u8]>, String, &'static str, &'static [u8], Response);

impl<const N: usize> IntoResponse for &'static [u8; N] {
    fn into_response(self) -> Result<Reply, HandlerError> {
        Ok(Reply::new(self.as_slice()))
    }
}

impl IntoResponse for Cow<'static, str> {
    fn into_response(self) -> Result<Reply, HandlerError> {
        match self {
            Cow::Borrowed(text) => text.into_response(),
            Cow::Owned(text) => text.into_response(),
        }
    }
}

/// The answer to a request. It can be used as the bytes that it is, or taken apart.
///
/// ```
/// use pointsub_swarm::{Bytes, PeerId, Response};
///
/// let response = Response::new(PeerId::random(), "heard");
/// assert_eq!(response, "heard");
/// assert_eq!(response.text(), Ok("heard"));
/// assert_eq!(response.len(), 5);
/// let body: Bytes = response.into();
/// # let _ = body;
/// ```
#[derive(Debug, Clone)]
pub struct Response {
    body: Bytes,
    peer: PeerId,
    elapsed: Duration,
    attempts: Vec<NodeAttempt>,
    metadata: Metadata,
}

impl Response {
    /// A response of this peer that took no time, for tests.
    pub fn new(peer: PeerId, body: impl Into<Bytes>) -> Self {
        let (elapsed, attempts, metadata) = (Duration::ZERO, Vec::new(), Metadata::new());
        Self { body: body.into(), peer, elapsed, attempts, metadata }
    }

    pub(crate) const fn with_elapsed(mut self, elapsed: Duration) -> Self {
        self.elapsed = elapsed;
        self
    }

    /// The same response with metadata beside its body, for tests.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    pub(crate) fn with_attempts(mut self, attempts: Vec<NodeAttempt>) -> Self {
        self.attempts = attempts;
        self
    }

    /// The body.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// The body alone.
    #[must_use]
    pub fn into_body(self) -> Bytes {
        self.body
    }

    /// The body as text.
    ///
    /// # Errors
    /// [`Utf8Error`] if it is none.
    pub fn text(&self) -> Result<&str, Utf8Error> {
        std::str::from_utf8(&self.body)
    }

    /// Who answered.
    #[must_use]
    pub const fn peer(&self) -> PeerId {
        self.peer
    }

    /// What the server says beside the body.
    #[must_use]
    pub const fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// How long it took from when the call was first polled until its answer was read, with everything:
    /// connecting, further tries, compression.
    #[must_use]
    pub const fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// How the server was found that [`send_closest`](crate::Client::send_closest) chose. `None` for other
    /// calls.
    #[must_use]
    pub fn source(&self) -> Option<Source> {
        let answered = |attempt: &&NodeAttempt| attempt.node == self.peer;
        self.attempts.iter().rfind(answered).map(|attempt| attempt.source)
    }

    /// Every node that [`send_closest`](crate::Client::send_closest) asked, in the order in which they
    /// were done. Empty for other calls.
    #[must_use]
    pub fn attempts(&self) -> &[NodeAttempt] {
        &self.attempts
    }
}

impl Deref for Response {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.body
    }
}

impl AsRef<[u8]> for Response {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl From<Response> for Bytes {
    fn from(response: Response) -> Self {
        response.body
    }
}

impl From<Response> for Vec<u8> {
    fn from(response: Response) -> Self {
        response.body.into()
    }
}

/// Compares the body.
macro_rules! compares {
    ($($with:ty),* $(,)?) => {$(
        impl PartialEq<$with> for Response {
            fn eq(&self, other: &$with) -> bool {
                self.body == *other
            }
        }
    )*};
}

compares!(Bytes, Vec<u8>, [u8], String, str, &[u8], &str);

impl<const N: usize> PartialEq<[u8; N]> for Response {
    fn eq(&self, other: &[u8; N]) -> bool {
        self.body == other[..]
    }
}

impl<const N: usize> PartialEq<&[u8; N]> for Response {
    fn eq(&self, other: &&[u8; N]) -> bool {
        self.body == other[..]
    }
}
