//! What layers know of requests of every kind, and of errors of every kind.

use std::error::Error;
use std::time::Duration;

use libp2p_identity::PeerId;
use pointsub_core::{Metadata, Method, ProtocolName, RequestError, StatusCode};

use crate::api::calls::IncomingCall;
use crate::api::failover::ClosestError;
use crate::api::message::Request;
use crate::api::middleware::{OutgoingCall, OutgoingRequest};
use crate::api::server::{BoxError, HandlerError};

/// All of a request but its body.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Head<'a> {
    /// Who asks, authenticated by the connection; `None` if that is this node.
    pub peer: Option<PeerId>,
    /// Under which protocol.
    pub protocol: &'a ProtocolName,
    /// What is asked for within the protocol.
    pub method: Option<&'a Method>,
    /// What is said beside the body.
    pub metadata: &'a Metadata,
    /// How long the answer is waited for, or the end of a call, if that is limited.
    pub remaining: Option<Duration>,
    /// Whether it opens a call.
    pub is_call: bool,
}

/// What requests of every kind have in common, so that one layer fits all: [`Request`] and [`IncomingCall`]
/// around handlers, [`OutgoingRequest`] and [`OutgoingCall`] around clients.
pub trait AnyRequest: private::Sealed {
    /// All of it but the body.
    fn head(&self) -> Head<'_>;

    /// What is said beside the body, to add something.
    fn metadata_mut(&mut self) -> &mut Metadata;
}

impl AnyRequest for Request {
    fn head(&self) -> Head<'_> {
        Head {
            peer: Some(self.peer),
            protocol: &self.protocol,
            method: self.method.as_ref(),
            metadata: &self.metadata,
            remaining: self.remaining,
            is_call: false,
        }
    }

    fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }
}

impl AnyRequest for IncomingCall {
    fn head(&self) -> Head<'_> {
        Head {
            peer: Some(self.peer),
            protocol: &self.protocol,
            method: self.method.as_ref(),
            metadata: &self.metadata,
            remaining: self.remaining,
            is_call: true,
        }
    }

    fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }
}

impl AnyRequest for OutgoingRequest {
    fn head(&self) -> Head<'_> {
        Head {
            peer: None,
            protocol: &self.protocol,
            method: self.beside.headers().method.as_ref(),
            metadata: &self.beside.headers().metadata,
            remaining: self.timeout,
            is_call: false,
        }
    }

    fn metadata_mut(&mut self) -> &mut Metadata {
        self.beside.metadata_mut()
    }
}

impl AnyRequest for OutgoingCall {
    fn head(&self) -> Head<'_> {
        Head {
            peer: None,
            protocol: &self.protocol,
            method: self.beside.headers().method.as_ref(),
            metadata: &self.beside.headers().metadata,
            remaining: self.timeout,
            is_call: true,
        }
    }

    fn metadata_mut(&mut self) -> &mut Metadata {
        self.beside.metadata_mut()
    }
}

/// An error that a service of this library, or a layer around one, fails with: [`HandlerError`],
/// [`RequestError`], [`ClosestError`], or a [`BoxError`].
pub trait LayerError: private::Sealed {
    /// The error, for programs that `downcast_ref` it.
    fn as_error(&self) -> &(dyn Error + 'static);
}

impl LayerError for HandlerError {
    fn as_error(&self) -> &(dyn Error + 'static) {
        self
    }
}

impl LayerError for RequestError {
    fn as_error(&self) -> &(dyn Error + 'static) {
        self
    }
}

impl LayerError for ClosestError {
    fn as_error(&self) -> &(dyn Error + 'static) {
        self
    }
}

impl LayerError for BoxError {
    fn as_error(&self) -> &(dyn Error + 'static) {
        &**self
    }
}

/// The status that an error is for its caller, or that it came with: that of a [`HandlerError`], of a
/// [`RequestError`] or of a [`ClosestError`]. `None` if there is none: a failure on the way, or an error of
/// a layer.
///
/// ```
/// use pointsub_swarm::middleware::status_code;
/// use pointsub_swarm::{HandlerError, StatusCode};
///
/// let error = HandlerError::not_found("no room 7");
/// assert_eq!(status_code(&error), Some(StatusCode::NoSuchResource));
/// assert_eq!(status_code(&std::fmt::Error), None);
/// ```
#[must_use]
pub fn status_code(error: &(dyn Error + 'static)) -> Option<StatusCode> {
    if let Some(error) = error.downcast_ref::<HandlerError>() {
        return Some(error.status().map_or(StatusCode::Application(0), |status| status.code));
    }
    let request = error.downcast_ref::<RequestError>();
    let closest = || error.downcast_ref::<ClosestError>().map(|closest| &closest.error);
    request.or_else(closest)?.status().map(|status| status.code)
}

mod private {
    use super::{
        BoxError, ClosestError, HandlerError, IncomingCall, OutgoingCall, OutgoingRequest, Request,
        RequestError,
    };

    pub trait Sealed {}
    impl Sealed for Request {}
    impl Sealed for IncomingCall {}
    impl Sealed for OutgoingRequest {}
    impl Sealed for OutgoingCall {}
    impl Sealed for HandlerError {}
    impl Sealed for RequestError {}
    impl Sealed for ClosestError {}
    impl Sealed for BoxError {}
}
