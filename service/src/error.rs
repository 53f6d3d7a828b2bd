//! How services and calls of them fail.

use std::error::Error;
use std::fmt;

use pointsub_swarm::{
    ClosestError, Delivery, MetadataError, NodeAttempt, RequestError, Status, StatusCode,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::codec::CodecError;

/// The error of a service. It travels whole: the caller gets the value that the method has returned.
///
/// An error that cannot be encoded is not for the caller. Its text, with those of its sources, goes to the
/// log, and the caller gets a reference to it, as [`HandlerError`](pointsub_swarm::HandlerError) says. So a
/// variant with `#[serde(skip)]` takes what strangers should not read:
///
/// ```
/// use pointsub_service::{ServiceError, StatusCode};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, thiserror::Error, Serialize, Deserialize)]
/// enum StoreError {
///     #[error("there is no key {key:?}")]
///     NoKey { key: String },
///     #[error("the disk has failed")]
///     #[serde(skip)]
///     Disk(#[from] std::io::Error),
/// }
///
/// impl ServiceError for StoreError {
///     fn code(&self) -> StatusCode {
///         match self {
///             Self::NoKey { .. } => StatusCode::NoSuchResource,
///             Self::Disk(_) => StatusCode::Internal,
///         }
///     }
/// }
/// ```
///
/// Peers that do not know the type, or an older version of it, get the code and the text.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the error of a service",
    label = "not an error of a service",
    note = "derive Debug, thiserror::Error, Serialize and Deserialize for it, and add `impl ServiceError for {Self} {{}}`"
)]
pub trait ServiceError: Error + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What kind of failure it is, for programs that do not know the type, for metrics, and for retries:
    /// clients ask again by themselves after [`StatusCode::Busy`]. Default: [`StatusCode::Application`] 0.
    fn code(&self) -> StatusCode {
        StatusCode::Application(0)
    }
}

/// An error for services that have no type of their own for errors: a text for the caller.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
#[error("{message}")]
#[non_exhaustive]
pub struct Failure {
    /// What the application means by it.
    #[serde(default)]
    pub code: u32,
    /// For people.
    pub message: String,
}

impl Failure {
    /// A failure with a code of the application's and a text. Both are sent.
    pub fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl ServiceError for Failure {
    fn code(&self) -> StatusCode {
        StatusCode::Application(self.code)
    }
}

/// For a method that sends or receives messages: `tx.send(…).await?`.
impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::new(0, error.to_string())
    }
}

/// For a method that tells its caller something: `cx.tell(…)?`.
impl From<MetadataError> for Failure {
    fn from(error: MetadataError) -> Self {
        Self::new(0, error.to_string())
    }
}

/// There is no such value: the messages of a direction in which none are sent, and the error of a service
/// that has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Never {}

impl fmt::Display for Never {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl Error for Never {}

impl ServiceError for Never {}

/// Why a call of a service has no result. `E` is the error of the service.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CallError<E = Never> {
    /// The method has returned this.
    #[error("{error}")]
    #[non_exhaustive]
    Service {
        /// The error of the service.
        error: E,
        /// How the request has ended: its [status](RequestError::status) has the code, the text and the
        /// encoded error, beside how it was delivered and on how many streams it was tried.
        request: Box<RequestError>,
        /// Every server that was asked, if the closest was called, in the order in which they were done.
        attempts: Vec<NodeAttempt>,
    },
    /// The server has not run the method.
    #[error("{reason}: {}", text(request))]
    #[non_exhaustive]
    Rejected {
        /// Why.
        reason: Rejection,
        /// How the request has ended: its [status](RequestError::status) has what the server says.
        request: Box<RequestError>,
        /// Every server that was asked, if the closest was called, in the order in which they were done.
        attempts: Vec<NodeAttempt>,
    },
    /// The request has failed on its way, or with a status that is no error of the service.
    #[error("{0}")]
    Request(RequestError),
    /// No server of the service has answered.
    #[error("{0}")]
    Closest(ClosestError),
    /// Something could not be encoded or decoded here.
    #[error("{0}")]
    Codec(CodecError),
    /// A layer of the client has refused or given up the call: [`middleware`](crate::middleware). Whether the
    /// method was run is not known here.
    #[cfg(feature = "tower")]
    #[error("{0}")]
    Layer(pointsub_swarm::BoxError),
}

/// What the server says.
fn text(request: &RequestError) -> &str {
    request.status().map_or("", |status| &status.message)
}

/// Why a server has not run a method.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rejection {
    /// The service has no such method there: the server is of another version.
    UnknownMethod,
    /// The server does not know the codec.
    UnknownCodec,
    /// The arguments are not those that the method has there.
    InvalidArguments,
    /// The method has messages beside its arguments there, and was called without.
    NotStreaming,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownMethod => "the server does not have the method",
            Self::UnknownCodec => "the server does not know the codec",
            Self::InvalidArguments => "the server cannot read the arguments",
            Self::NotStreaming => "the method has messages: open a call",
        })
    }
}

impl<E> CallError<E> {
    /// The error of the service, if it is one.
    #[must_use]
    pub const fn service(&self) -> Option<&E> {
        match self {
            Self::Service { error, .. } => Some(error),
            _ => None,
        }
    }

    /// The error of the service alone.
    ///
    /// # Errors
    /// This error, if it is another one.
    pub fn into_service(self) -> Result<E, Self> {
        match self {
            Self::Service { error, .. } => Ok(error),
            other => Err(other),
        }
    }

    /// How the request has ended, if that is known: also one that has brought an error of the service.
    #[must_use]
    pub fn request(&self) -> Option<&RequestError> {
        match self {
            Self::Service { request, .. } | Self::Rejected { request, .. } => Some(request),
            Self::Request(error) => Some(error),
            Self::Closest(error) => Some(&error.error),
            _ => None,
        }
    }

    /// What the server has answered instead of a result: code, text, and an error of the service encoded.
    #[must_use]
    pub fn status(&self) -> Option<&Status> {
        self.request().and_then(RequestError::status)
    }

    /// Whether the method may have been run, if that is known.
    #[must_use]
    pub fn delivery(&self) -> Option<Delivery> {
        self.request().map(|request| request.delivery)
    }

    /// Every server that was asked, if the closest was called, in the order in which they were done.
    #[must_use]
    pub fn attempts(&self) -> &[NodeAttempt] {
        match self {
            Self::Service { attempts, .. } | Self::Rejected { attempts, .. } => attempts,
            Self::Closest(error) => &error.attempts,
            _ => &[],
        }
    }

    /// Whether the server does not have the method: it may be of an older version.
    #[must_use]
    pub const fn is_unknown_method(&self) -> bool {
        matches!(self, Self::Rejected { reason: Rejection::UnknownMethod, .. })
    }

    /// Whether time ran out.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.request().is_some_and(RequestError::is_timeout)
    }

    /// Whether the call failed before a connection or a stream was there for it.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        self.request().is_some_and(RequestError::is_connect)
    }

    /// Whether a limit was reached, at the server or here: there may be room later.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.request().is_some_and(RequestError::is_busy)
    }

    /// Whether it makes sense to call again: [`RequestError::may_retry`].
    #[must_use]
    pub fn may_retry(&self, idempotent: bool) -> bool {
        self.request().is_some_and(|error| error.may_retry(idempotent))
    }
}

impl<E> From<CodecError> for CallError<E> {
    fn from(error: CodecError) -> Self {
        Self::Codec(error)
    }
}
