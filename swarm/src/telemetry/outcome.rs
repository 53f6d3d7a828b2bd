//! Outcomes in few words.

use pointsub_core::{Cause, Phase, RequestError, SendError, StatusCode};

use super::recorder::Outcome;

impl Outcome {
    pub(crate) const OK: Self = Self { status: Some("ok"), error: None };
    pub(crate) const CANCELLED: Self = Self { status: None, error: Some("cancelled") };

    pub(crate) const fn failed(error: &'static str) -> Self {
        Self { status: None, error: Some(error) }
    }

    pub(crate) const fn of_status(code: StatusCode) -> Self {
        let name = status_name(code);
        Self { status: Some(name), error: Some(name) }
    }

    pub(crate) fn of_error(error: &RequestError) -> Self {
        match &error.cause {
            Cause::Remote(status) => Self::of_status(status.code),
            cause => Self::failed(cause_name(cause, error.phase)),
        }
    }
}

/// The name of a status. Numbers of applications are left out: there may be any.
pub(crate) const fn status_name(code: StatusCode) -> &'static str {
    match code {
        StatusCode::Application(_) => "application",
        StatusCode::NotFound => "not_found",
        StatusCode::Busy => "busy",
        StatusCode::TooLarge => "too_large",
        StatusCode::DeadlineExceeded => "deadline_exceeded",
        StatusCode::Cancelled => "cancelled",
        StatusCode::Internal => "internal",
        StatusCode::Draining => "draining",
        StatusCode::Unimplemented => "unimplemented",
        StatusCode::BadRequest => "bad_request",
        StatusCode::ResponseTooLarge => "response_too_large",
        StatusCode::Unauthenticated => "unauthenticated",
        StatusCode::PermissionDenied => "permission_denied",
        StatusCode::NoSuchResource => "no_such_resource",
        _ => "unknown",
    }
}

const fn cause_name(cause: &Cause, phase: Phase) -> &'static str {
    match (cause, phase) {
        (Cause::Refused(error), _) => refusal_name(error),
        (Cause::Deadline, _) => "deadline",
        (Cause::TimedOut(_), Phase::Connect) => "connect_timeout",
        (Cause::TimedOut(_), Phase::Write) => "write_timeout",
        (Cause::TimedOut(_), _) => "read_timeout",
        (Cause::Unreachable(_), _) => "unreachable",
        (Cause::NoAddress, _) => "no_address",
        (Cause::NoServerFound { .. }, _) => "no_server_found",
        (Cause::Unsupported, _) => "unsupported",
        (Cause::Lost(_), _) => "lost",
        (Cause::RelayLost(_), _) => "relay_lost",
        (Cause::RemoteClosed, _) => "remote_closed",
        (Cause::CutShort { .. }, _) => "cut_short",
        (Cause::Violation(_), _) => "violation",
        (Cause::Remote(status), _) => status_name(status.code),
        (Cause::Body(_), _) => "broken_body",
        (Cause::Cancelled, _) => "cancelled",
        (Cause::Closed, _) => "client_closed",
        _ => "_OTHER",
    }
}

const fn refusal_name(error: &SendError) -> &'static str {
    match error {
        SendError::SelfRequest => "self_request",
        SendError::TooLarge { .. } => "request_too_large",
        SendError::Protocol(_) => "invalid_protocol",
        SendError::Metadata(_) => "invalid_metadata",
        SendError::Overloaded { .. } => "overloaded",
        SendError::TooManyStreams { .. } => "too_many_streams",
        SendError::NoNodes => "no_server_found",
        SendError::Closed => "client_closed",
        _ => "_OTHER",
    }
}
