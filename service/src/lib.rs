//! Typed services on PointSub: a trait is the schema, and its methods are called by Peer ID.

mod codec;
mod cx;
mod description;
mod detail;
mod error;
mod halves;
mod incoming;
mod local;
mod open;
mod router;
mod service;
mod streaming;
mod stub;
mod unary;
mod wire;

pub use codec::{Codec, CodecError, Limits};
pub use cx::Cx;
pub use description::{MethodDescription, ServiceDescription};
pub use error::{CallError, Failure, Never, Rejection, ServiceError};
pub use halves::{Rx, Tx};
pub use incoming::Incoming;
pub use open::OpenCall;
pub use router::Router;
pub use service::{Handling, MethodResult, Service};
pub use streaming::Streaming;
pub use stub::Stub;
pub use unary::UnaryCall;

pub use pointsub_macros::service;
pub use pointsub_swarm::{
    Bytes, Client, Metadata, PeerId, ProtocolName, RegisterError, Server, StatusCode,
};

/// The attribute as the crates of the runtimes have it: code that it makes names those.
#[doc(hidden)]
pub mod macros {
    pub use pointsub_macros::{service_on_async_std, service_on_tokio};
}

/// What generated code names.
#[doc(hidden)]
pub mod __private {
    pub use serde;

    /// Fails to compile if a message of this type cannot travel.
    pub const fn travels<T>()
    where
        T: serde::Serialize + serde::de::DeserializeOwned + Send + 'static,
    {
    }
}
