//! What the detail of a status says: an error of a service, or why a method was not run.
//!
//! Its first byte says how the rest is encoded: 1 CBOR, 2 postcard, 3 JSON. After a 0 follows one byte, the
//! reason of a rejection.

use bytes::Bytes;
use pointsub_swarm::{
    Cause, ClosestError, Delivery, HandlerError, Metadata, NodeAttempt, Phase, RequestError,
    Status, StatusCode,
};

use crate::codec::{Codec, Limits};
use crate::error::{CallError, Rejection, ServiceError};

/// The most bytes of an error that are sent. What has more goes without: code and text.
const MOST: usize = 64 * 1024;

const fn byte_of(codec: Codec) -> u8 {
    match codec {
        Codec::Cbor => 1,
        Codec::Postcard => 2,
        Codec::Json => 3,
    }
}

const REASONS: [(Rejection, u8); 4] = [
    (Rejection::UnknownMethod, 1),
    (Rejection::UnknownCodec, 2),
    (Rejection::InvalidArguments, 3),
    (Rejection::NotStreaming, 4),
];

/// What is sent of an error of a service.
pub(crate) fn of_error<E: ServiceError>(error: E, codec: Codec) -> HandlerError {
    let Ok(encoded) = codec.encode(&error) else { return HandlerError::internal(error) };
    let mut status = Status::new(error.code(), error.to_string());
    if encoded.len() < MOST {
        status.detail = [&[byte_of(codec)], &encoded[..]].concat().into();
    }
    status.into()
}

/// What is sent where a method is not run.
pub(crate) fn of_rejection(reason: Rejection, message: impl Into<String>) -> HandlerError {
    let code = match reason {
        Rejection::InvalidArguments => StatusCode::BadRequest,
        _ => StatusCode::Unimplemented,
    };
    let byte = REASONS.iter().find(|(known, _)| *known == reason).map_or(0, |(_, byte)| *byte);
    let mut status = Status::new(code, message);
    status.detail = Bytes::copy_from_slice(&[0, byte]);
    status.into()
}

/// What the detail of a status says.
enum Said<E> {
    Error(E),
    Rejection(Rejection),
}

/// What a request has failed with, if that is of the service.
fn said<E: ServiceError>(error: &RequestError, limits: Limits) -> Option<Said<E>> {
    let Cause::Remote(status) = &error.cause else { return None };
    let (&kind, rest) = status.detail.split_first()?;
    if kind == 0 {
        let (reason, _) = REASONS.iter().find(|(_, byte)| rest == [*byte])?;
        return Some(Said::Rejection(*reason));
    }
    let known = [Codec::Cbor, Codec::Postcard, Codec::Json];
    let codec = known.into_iter().find(|codec| byte_of(*codec) == kind)?;
    codec.decode(rest, limits).ok().map(Said::Error)
}

/// A failure that is of the service.
fn of_service<E>(said: Said<E>, request: RequestError, attempts: Vec<NodeAttempt>) -> CallError<E> {
    let request = Box::new(request);
    match said {
        Said::Error(error) => CallError::Service { error, request, attempts },
        Said::Rejection(reason) => CallError::Rejected { reason, request, attempts },
    }
}

/// How a call has failed.
pub(crate) fn call_error<E: ServiceError>(error: RequestError, limits: Limits) -> CallError<E> {
    match said(&error, limits) {
        Some(said) => of_service(said, error, Vec::new()),
        None => CallError::Request(error),
    }
}

/// The same of a call to the closest server.
pub(crate) fn closest_error<E: ServiceError>(error: ClosestError, limits: Limits) -> CallError<E> {
    match said(&error.error, limits) {
        Some(said) => of_service(said, error.error, error.attempts),
        None => CallError::Closest(error),
    }
}

/// The same of a method in the same program, whose error was not encoded: the status has no detail.
pub(crate) fn local_error<E: ServiceError>(error: E) -> CallError<E> {
    let status = Status::new(error.code(), error.to_string());
    let request = RequestError::new(Cause::Remote(status), Phase::Answer, Delivery::Processed);
    of_service(Said::Error(error), request, Vec::new())
}

/// The codec of a request.
pub(crate) fn codec_of(metadata: &Metadata) -> Result<Codec, HandlerError> {
    Codec::of(metadata)
        .ok_or_else(|| of_rejection(Rejection::UnknownCodec, "there are cbor, postcard and json"))
}
