//! Typed services on PointSub: a trait is the schema, and its methods are called by Peer ID.
//!
//! ```
//! use pointsub_service::{Client, Cx, Failure, PeerId, Server, Tx, service};
//!
//! /// A list of numbers.
//! #[service("/numbers/1")]
//! pub trait Numbers {
//!     /// Adds one. Returns how many there are.
//!     async fn add(&self, cx: &Cx, number: u32) -> Result<usize, Failure>;
//!     /// Sends all of them.
//!     async fn list(&self, cx: &Cx, numbers: Tx<u32>) -> Result<(), Failure>;
//! }
//!
//! #[derive(Default)]
//! struct Memory(std::sync::Mutex<Vec<u32>>);
//!
//! impl Numbers for Memory {
//!     async fn add(&self, _cx: &Cx, number: u32) -> Result<usize, Failure> {
//!         let mut all = self.0.lock().unwrap();
//!         all.push(number);
//!         Ok(all.len())
//!     }
//!
//!     async fn list(&self, _cx: &Cx, mut numbers: Tx<u32>) -> Result<(), Failure> {
//!         let all = self.0.lock().unwrap().clone();
//!         for number in all {
//!             numbers.send(number).await?;
//!         }
//!         Ok(())
//!     }
//! }
//!
//! // At a node that serves, and at one that calls.
//! fn serve(server: &Server) {
//!     NumbersServer::new(Memory::default()).serve(server).expect("nothing is registered yet");
//! }
//!
//! async fn call(client: &Client, peer: PeerId) -> Result<(), Box<dyn std::error::Error>> {
//!     let numbers = NumbersClient::peer(client, peer); // or `closest(client)`
//!     let count = numbers.add(7).timeout(std::time::Duration::from_secs(2)).await?;
//!     let mut list = numbers.list().await?;
//!     while let Some(number) = list.recv().await? {
//!         println!("{number} of {count}");
//!     }
//!     Ok(())
//! }
//!
//! # futures::executor::block_on(async {
//! // In a test, without a network.
//! let numbers = NumbersClient::local(Memory::default());
//! assert_eq!(numbers.add(7).await.unwrap(), 1);
//! # });
//! ```
//!
//! # A trait is a service
//!
//! [`#[service("/name/1")]`](macro@service) makes of a trait `Numbers`:
//!
//! | | |
//! |---|---|
//! | `Numbers` | the trait itself, which any type implements with `async fn` |
//! | `NumbersServer` | `new(…)` takes an implementation, `serve(…)` registers it, `DESCRIPTION` says what there is |
//! | `NumbersClient` | `peer(…)`, `closest(…)` and `local(…)`, and a method for each of the trait's |
//!
//! | a method takes beside `&self`, `cx: &Cx` and its arguments | the client's method gives |
//! |---|---|
//! | nothing | a [`UnaryCall`]: await it for the result |
//! | `Tx<Event>`: sends messages to the client | an [`OpenCall`]: await it for a [`Streaming`] call, which receives them |
//! | `Rx<Part>`: receives messages of the client | an [`OpenCall`], for a call that sends them |
//! | both | an [`OpenCall`], for a call that does both |
//!
//! Options of a call are set before it is awaited: timeout, metadata, idempotence, retries, hedging, and
//! [`child_of`](UnaryCall::child_of), which hands on the time that is left and the trace. Each method returns
//! a `Result` with the [error of the service](ServiceError), and callers get it typed, with the status that it
//! came with: [`CallError::Service`].
//!
//! What a method [tells](Cx::tell) comes beside its result: [`UnaryCall::answer`] and [`Streaming::answer`] give
//! an [`Answer`]. What it says when it [accepts](Cx::accept) a call comes before the first message:
//! [`Streaming::metadata`]. The halves of a call can be [apart](Streaming::split); the one that receives has the
//! result.
//!
//! `#[method(name = "Add", idempotent = false)]` on a method sets its name on the wire, and whether it may be
//! tried again where it may have been processed. A method with a body has that as its default.
//!
//! # How a service changes
//!
//! Arguments travel as one structure with their names, in CBOR with the names of all fields
//! ([`Codec::Cbor`]; JSON is always understood). So the protocol stays as it is where
//!
//! * a method is added: servers that do not have it say [so](CallError::is_unknown_method), and the closest
//!   server that has it answers;
//! * an argument or a field is added that is an `Option`, or has `#[serde(default)]`;
//! * an argument, a field or a method is not used any more by anybody.
//!
//! Anything else is another protocol: `/numbers/2`. A node can serve both.
//!
//! # Design
//!
//! *One libp2p name for a service.* Peers announce their protocols in a message of 4096 bytes, so the method
//! is a field of the request (METHOD). A unary method is a request and any other a call, so that pool,
//! retries, limits and credit hold as for bytes. Both share the streams of the protocol.
//!
//! *On the wire* a request has the method, the encoded arguments as its body, and the name of the codec under
//! the key `codec`, unless that is CBOR. Answer and messages have the same codec. An error of a service is the
//! detail of a status: a byte for the codec (1 CBOR, 2 postcard, 3 JSON), and the error. A request that was not
//! run has a detail of two bytes: 0, and why ([`Rejection`]: 1 to 4 in their order).
//!
//! *What comes is hostile.* Every value is decoded through one layer that is the same for each codec. It counts
//! levels, also those that take no bytes, so that no input overflows the stack; it tells nobody to make room
//! for more than 4096 elements in advance; and it lets no value have more elements than bytes, and 1024. What
//! is longer than [`Limits::max_len`] is not looked at.
//!
//! *CBOR by cbor4ii*, since it is what libp2p itself uses and is maintained; it decodes from a slice without a
//! copy. ciborium has had no release since early 2024 and copies; the licence of minicbor-serde is
//! not on this project's list.
//!
//! *The macro is thin.* It names types and methods. What is done with them are generic functions of this
//! crate, and without the macro [`Stub`] calls and a [`Router`] serves with the same.
//!
//! *Local calls encode nothing.* A [`local`](Stub::local) client hands over values and polls the method in the
//! caller's task. Errors that do not travel are seen whole there. To have the network in a test too, use
//! nodes in memory.

// Services of this crate itself name it as others do.
extern crate self as pointsub_service;

mod call;
mod codec;
mod cx;
mod description;
mod detail;
mod error;
mod incoming;
pub mod info;
#[cfg(feature = "tower")]
pub mod middleware;
pub mod registry;
mod router;
mod service;
mod wire;

pub use call::{Answer, AnswerCall, OpenCall, Receiving, Rx, Streaming, Stub, Tx, UnaryCall};
#[cfg(feature = "prost")]
pub use codec::Prost;
pub use codec::{Codec, CodecError, Limits};
pub use cx::Cx;
pub use description::{MethodDescription, ServiceDescription};
pub use error::{CallError, Failure, Never, Rejection, ServiceError};
pub use incoming::Incoming;
pub use router::Router;
pub use service::{Handling, MethodResult, Service};

/// Makes a service of a trait: `#[service("/chat/1")]`. The crate's documentation says what it makes.
///
/// `#[service("/chat/1", crate = some::path)]` is for programs that name this crate otherwise.
///
/// What cannot be a service does not compile, and the compiler says what to do:
///
/// ```compile_fail
/// # use pointsub_service::{Cx, Failure, service};
/// #[service("/chat/1")]
/// trait Chat {
///     async fn say(&self, cx: &Cx, text: &str) -> Result<(), Failure>; // `String` for `&str`
/// }
/// ```
///
/// Types of arguments and messages are those of serde. An error is a [`ServiceError`]:
///
/// ```compile_fail,E0277
/// # use pointsub_service::{Cx, service};
/// # use serde::{Deserialize, Serialize};
/// #[derive(Debug, thiserror::Error, Serialize, Deserialize)]
/// #[error("empty")]
/// struct Empty; // and `impl ServiceError for Empty {}`
///
/// #[service("/chat/1")]
/// trait Chat {
///     async fn say(&self, cx: &Cx, text: String) -> Result<(), Empty>;
/// }
/// ```
pub use pointsub_macros::service;
pub use pointsub_swarm::{
    Bytes, Client, Metadata, MetadataError, PeerId, ProtocolName, RegisterError, Server, StatusCode,
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
