//! How handlers fail, and what of it their callers are told.

use std::error::Error;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use bytes::Bytes;
use libp2p_identity::PeerId;
use pointsub_core::{ProtocolName, RequestError, Status, StatusCode};

use super::error_log::ErrorLog;
use crate::api::failover::ClosestError;

/// An error of any type.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// How a handler fails. There are two kinds:
///
/// * A *status* is made with [`new`](Self::new), [`public`](Self::public), [`busy`](Self::busy),
///   [`not_found`](Self::not_found) and so on. The caller gets it whole, with its text, as
///   [`RequestError::status`].
/// * Any other error, such as one of I/O. Its text may say what no stranger should read. It goes to the
///   log, and the caller gets [`StatusCode::Application`] 0 with the message `internal error` and a
///   reference, by which the line in the log is found.
///   [`with_error_texts`](crate::ServerConfig::with_error_texts) sends the text instead.
///
/// Plain peers only see the stream close.
///
/// So is an `anyhow::Error` hidden. With feature `anyhow`, a `HandlerError` inside one stays what it is.
///
/// A handler that fails in several ways returns `Result<_, Box<dyn Error + Send + Sync>>`
/// ([`BoxError`]): `?` takes every error into it, and a `HandlerError` inside it stays what it is.
///
/// ```
/// use pointsub_swarm::{BoxError, HandlerError, Request};
///
/// async fn double(request: Request) -> Result<String, BoxError> {
///     let number: u64 = std::str::from_utf8(&request.body)?.parse()?; // the caller gets a reference
///     if number == 0 {
///         return Err(HandlerError::invalid_request("not zero").into()); // the caller reads this
///     }
///     Ok((number * 2).to_string())
/// }
/// ```
#[derive(Debug)]
pub struct HandlerError(Box<Kind>);

#[derive(Debug)]
enum Kind {
    /// For the caller.
    Status(Status),
    /// For the log.
    Hidden(BoxError),
}

impl HandlerError {
    /// A failure with a code of the application's: [`StatusCode::Application`]. The text is sent, of
    /// which at most 1024 bytes travel.
    pub fn new(code: u32, message: impl Into<String>) -> Self {
        Self::of(StatusCode::Application(code), message)
    }

    /// A failure whose text is sent, with code 0.
    pub fn public(message: impl Into<String>) -> Self {
        Self::new(0, message)
    }

    /// A failure whose text goes to the log alone, with those of its sources.
    pub fn internal(error: impl Into<BoxError>) -> Self {
        match error.into().downcast::<Self>() {
            Ok(status) => *status,
            Err(error) => Self(Box::new(Kind::Hidden(error))),
        }
    }

    /// There is no room for the request now. Clients of this library ask again by themselves after this
    /// time, or elsewhere, unless executing the request twice would do harm.
    #[must_use]
    pub fn busy(retry_after: Duration) -> Self {
        let mut status = Status::new(StatusCode::Busy, "");
        status.retry_after = Some(retry_after);
        Self::from(status)
    }

    /// There is nothing under what the request names: [`StatusCode::NoSuchResource`].
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::of(StatusCode::NoSuchResource, message)
    }

    /// Whoever asks has to say first who that is, in a way that the application defines:
    /// [`StatusCode::Unauthenticated`].
    pub fn unauthenticated(message: impl Into<String>) -> Self {
        Self::of(StatusCode::Unauthenticated, message)
    }

    /// This is not done for whoever asks: [`StatusCode::PermissionDenied`].
    pub fn permission_denied(message: impl Into<String>) -> Self {
        Self::of(StatusCode::PermissionDenied, message)
    }

    /// The body is not what is expected: [`StatusCode::BadRequest`].
    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::of(StatusCode::BadRequest, message)
    }

    /// What a handler has failed with.
    pub(crate) fn of_any<E: Into<BoxError> + 'static>(error: E) -> Self {
        #[cfg(feature = "anyhow")]
        let error = match of_anyhow(error) {
            Ok(error) => return error,
            Err(error) => error,
        };
        Self::internal(error)
    }

    fn of(code: StatusCode, message: impl Into<String>) -> Self {
        Self::from(Status::new(code, message))
    }

    /// Adds detail for programs. An error whose text is hidden has none.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<Bytes>) -> Self {
        if let Kind::Status(status) = &mut *self.0 {
            status.detail = detail.into();
        }
        self
    }

    /// What the caller gets; `None` if that is a reference.
    #[must_use]
    pub fn status(&self) -> Option<&Status> {
        match &*self.0 {
            Kind::Status(status) => Some(status),
            Kind::Hidden(_) => None,
        }
    }

    /// As whoever is in the same program sees it, with its text.
    pub(crate) fn into_status(self) -> Status {
        match *self.0 {
            Kind::Status(status) => status,
            Kind::Hidden(error) => {
                Status::new(StatusCode::Application(0), Chain(&*error).to_string())
            }
        }
    }

    /// What is sent. What is not is logged, with the reference that is sent instead, up to ten times a
    /// second.
    pub(crate) fn tell(self, log: &ErrorLog, peer: &PeerId, protocol: &ProtocolName) -> Status {
        let error = match *self.0 {
            Kind::Status(status) => return status,
            Kind::Hidden(error) => Chain(&*error).to_string(),
        };
        let zero = StatusCode::Application(0);
        if log.sends_texts {
            tracing::debug!(
                target: "pointsub::handler",
                %peer,
                %protocol,
                error,
                "a handler has failed"
            );
            return Status::new(zero, error);
        }
        let Some(left_out) = log.admit() else { return Status::new(zero, "internal error") };
        let reference = format!("{:016x}", RandomState::new().build_hasher().finish());
        tracing::warn!(
            target: "pointsub::handler",
            %peer,
            %protocol,
            reference,
            error,
            left_out,
            "a handler has failed"
        );
        Status::new(zero, format!("internal error, reference {reference}"))
    }
}

/// An error of anyhow hides what it holds once it is boxed.
#[cfg(feature = "anyhow")]
fn of_anyhow<E: 'static>(error: E) -> Result<HandlerError, E> {
    let mut error = Some(error);
    let as_any: &mut dyn std::any::Any = &mut error;
    let found = as_any.downcast_mut::<Option<anyhow::Error>>().and_then(Option::take);
    match (found, error) {
        (Some(found), _) => Ok(found.into()),
        (None, Some(error)) => Err(error),
        (None, None) => Ok(HandlerError::internal("an error that is gone")),
    }
}

#[cfg(feature = "anyhow")]
impl From<anyhow::Error> for HandlerError {
    fn from(error: anyhow::Error) -> Self {
        error.downcast().unwrap_or_else(Self::internal)
    }
}

/// An error with all its sources.
struct Chain<'a>(&'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Status(status) => status.fmt(f),
            Kind::Hidden(error) => error.fmt(f),
        }
    }
}

impl Error for HandlerError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &*self.0 {
            Kind::Status(_) => None,
            Kind::Hidden(error) => error.source(),
        }
    }
}

impl From<Status> for HandlerError {
    fn from(status: Status) -> Self {
        Self(Box::new(Kind::Status(status)))
    }
}

/// For handlers that return a `HandlerError` by name. As this is an error itself, it cannot be made of
/// every type; [`internal`](HandlerError::internal) takes the others.
macro_rules! hides {
    ($($of:ty),* $(,)?) => {$(
        impl From<$of> for HandlerError {
            fn from(error: $of) -> Self {
                Self::internal(error)
            }
        }
    )*};
}

hides!(
    BoxError,
    String,
    &str,
    std::io::Error,
    std::fmt::Error,
    std::str::Utf8Error,
    std::string::FromUtf8Error,
    std::num::ParseIntError,
    std::num::TryFromIntError,
    RequestError,
    ClosestError,
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::IntoResponse;
    use crate::clock::Clock;

    fn status_of(failed: impl IntoResponse, texts: bool) -> Status {
        let protocol = ProtocolName::from_static("/test");
        failed.into_response().expect_err("it fails").tell(
            &ErrorLog::new(texts, Clock::system()),
            &PeerId::random(),
            &protocol,
        )
    }

    #[test]
    fn the_text_of_an_error_is_hidden_unless_all_texts_are_sent() {
        let failed = || Err::<(), _>(std::io::Error::other("disk full"));
        let hidden = status_of(failed(), false);
        assert_eq!(hidden.code, StatusCode::Application(0));
        assert!(hidden.message.starts_with("internal error, reference "), "{hidden}");
        let other = status_of(failed(), false);
        assert_ne!(hidden.message, other.message, "each has a reference of its own");
        assert_eq!(status_of(failed(), true).message, "disk full");
    }

    #[test]
    fn a_status_is_sent_whole_also_if_it_was_boxed() {
        let failed = || HandlerError::new(404, "no such room").with_detail("7");
        let boxed: BoxError = failed().into();
        for status in
            [status_of(Err::<(), _>(failed()), false), status_of(Err::<(), _>(boxed), false)]
        {
            assert_eq!(status.code, StatusCode::Application(404));
            assert_eq!((&*status.message, &status.detail[..]), ("no such room", &b"7"[..]));
        }
    }

    #[test]
    fn errors_of_every_kind_are_taken() {
        let boxed: BoxError = "text".into();
        for hidden in [
            status_of(Err::<&str, _>("text"), true),
            status_of(Err::<Vec<u8>, _>("text".to_owned()), true),
            status_of(Err::<Bytes, _>(boxed), true),
        ] {
            assert_eq!(hidden.message, "text");
        }
    }

    #[cfg(feature = "anyhow")]
    #[test]
    fn a_status_inside_an_error_of_anyhow_is_sent() {
        use anyhow::{Context, anyhow};

        let told = || Err::<(), _>(HandlerError::not_found("no room 7")).context("in the lobby");
        assert_eq!(status_of(told(), false).code, StatusCode::NoSuchResource);
        let hidden = || Err::<(), _>(anyhow!("disk full").context("cannot save"));
        assert!(!status_of(hidden(), false).message.contains("disk"));
        assert_eq!(status_of(hidden(), true).message, "cannot save: disk full");
    }

    #[test]
    fn the_constructors_have_their_codes() {
        let code = |error: HandlerError| error.status().map(|status| status.code);
        assert_eq!(code(HandlerError::not_found("")), Some(StatusCode::NoSuchResource));
        assert_eq!(code(HandlerError::unauthenticated("")), Some(StatusCode::Unauthenticated));
        assert_eq!(code(HandlerError::permission_denied("")), Some(StatusCode::PermissionDenied));
        assert_eq!(code(HandlerError::invalid_request("")), Some(StatusCode::BadRequest));
        assert_eq!(code(HandlerError::internal("")), None);
        let busy = HandlerError::busy(Duration::from_secs(3));
        assert_eq!(
            busy.status().and_then(|status| status.retry_after),
            Some(Duration::from_secs(3))
        );
    }
}
