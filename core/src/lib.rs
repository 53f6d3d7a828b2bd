//! The protocol of `PointSub` as pure state machines: request and response by Peer ID, on pooled
//! streams, with deadlines, limits, cancellation and drain.
//!
//! **This crate does no I/O.** It never sleeps, spawns, reads a clock or draws randomness. Bytes
//! and time come in as arguments, operations and events come out, and equal inputs give equal
//! outputs. It is `no_std`, so there is no clock, socket or thread that it could name.
//!
//! If you have a tokio program, you want `pointsub-tokio` instead, which drives these machines
//! over libp2p. Drive them yourself to use another transport or event loop, to fuzz them, or to
//! simulate whole systems in virtual time.
//!
//! ```text
//!                 send, cancel                        register, respond
//!  application ───────────────▶ ┌────────┐     ┌────────┐ ◀─────────────── application
//!              ◀─────────────── │ Client │     │ Server │ ───────────────▶
//!               Event::Response └────────┘     └────────┘ Event::Request
//!                               ▲ │                ▲ │
//!          handle_input(Stream) │ │ poll_output    │ │
//!                               │ ▼ Open, Stream   │ ▼
//!                            streams ══ bytes ══ streams
//! ```
//!
//! # The loop
//!
//! 1. Pass in whatever has happened, as much of it as there is: requests with
//!    [`Client::send`], bytes and ends of writes with [`Client::handle_input`].
//! 2. Call [`Client::poll_output`] and do what it says, until it says
//!    [`Wait`](ClientOutput::Wait).
//! 3. Wait until something happens, or until the time that `Wait` names; then pass in
//!    [`ClientInput::Timeout`] and go on with 2.
//!
//! A [`Server`] is driven in the same way, and hands out one request at a time. Answer it before you
//! ask for the next output, if you can: then the two never count as being at work at the same time.
//! This is a whole conversation, over a wire that is a pair of queues:
//!
//! ```
//! use bytes::Bytes;
//! use pointsub_core::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let now = Timestamp::ZERO; // this wire needs no time
//! let chat = ProtocolName::new("/chat/1.0.0")?;
//! let (alice, bob) = (PeerId::from_bytes(b"alice")?, PeerId::from_bytes(b"bob")?);
//!
//! let mut client = Client::new(ClientConfig::default(), Some(alice), 0)?;
//! let mut server = Server::new(ServerConfig::default())?;
//! server.register(&chat)?;
//!
//! let mut stream = None; // the server's name for the one stream
//! client.send(&bob, "/chat/1.0.0", Bytes::from("hello"), None, now)?;
//! let answer = loop {
//!     match client.poll_output() {
//!         // Connect if need be, open a stream, negotiate a format.
//!         ClientOutput::Open { stream: id, .. } => {
//!             stream = Some((id, server.accept(alice, &chat, Format::Native, now)));
//!             client.handle_input(ClientInput::Opened(id, Format::Native), now);
//!         }
//!         // Bytes to the server, which says when it has taken them.
//!         ClientOutput::Stream(id, StreamOp::Write(bytes)) => {
//!             let (_, at_server) = stream.expect("opened before");
//!             let event = StreamEvent::Received(bytes);
//!             server.handle_input(ServerInput::Stream(at_server, event), now);
//!             client.handle_input(ClientInput::Stream(id, StreamEvent::Written), now);
//!         }
//!         ClientOutput::Event(ClientEvent::Response { payload, .. }) => {
//!             break payload.into_bytes()?;
//!         }
//!         ClientOutput::Wait(_) => match server.poll_output() {
//!             ServerOutput::Event(ServerEvent::Request { request, payload, .. }) => {
//!                 let body = payload.into_bytes()?;
//!                 server.respond(request, Ok(body), now);
//!             }
//!             ServerOutput::Stream(at_server, StreamOp::Write(bytes)) => {
//!                 let (id, _) = stream.expect("opened before");
//!                 let event = StreamEvent::Received(bytes);
//!                 client.handle_input(ClientInput::Stream(id, event), now);
//!                 server.handle_input(ServerInput::Stream(at_server, StreamEvent::Written), now);
//!             }
//!             other => panic!("nothing else happens here: {other:?}"),
//!         },
//!         other => panic!("nothing else happens here: {other:?}"),
//!     }
//! };
//! assert_eq!(answer, "hello");
//! # Ok(())
//! # }
//! ```
//!
//! # The contract
//!
//! * `now` need not be exact. Time that repeats or runs backwards is harmless, and so are calls
//!   with [`ClientInput::Timeout`] that come early, late or twice. After one at `t`, no deadline
//!   `<= t` is returned.
//! * Any inputs may come, in any number, before outputs are taken.
//! * Outputs of one stream are in order. At most one [`StreamOp::Write`] is outstanding per
//!   stream: the next follows its [`StreamEvent::Written`]. Nothing follows
//!   [`StreamOp::Finish`] or [`StreamOp::Reset`].
//! * Input that names a stream or request which is gone is ignored.
//! * Every accepted request gets exactly one outcome: [`ClientEvent::Response`] or
//!   [`ClientEvent::Failed`], unless it is cancelled. A failure says how far the request had come
//!   and whether it may have been processed.
//! * No input makes a machine panic, or allocate beyond its configured limits because a peer
//!   announced something.
//!
//! # Three planes
//!
//! A third plane, [`network::Network`], decides which connection of a peer is used, and when and where
//! a peer is dialled. It stands beside the two that follow, and is driven in the same way.
//!
//! [`Client`] and [`Server`] compose parts that are public too: the wire machines
//! [`connection::ClientStream`] and [`connection::ServerStream`], one per stream, and the policy in
//! [`endpoint::Dispatcher`] and [`endpoint::Admission`]. The libp2p half drives the parts, because a wire
//! machine runs fastest in the task that owns its connection. The parts carry all the logic, so
//! what is simulated with the whole is what runs in production.
//!
//! # Compression
//!
//! Whatever costs more for a larger body is kept out of the machines: [`Body::compressed`] before
//! a request or answer is handed over, [`Payload::into_bytes`] after one was taken. Both can be done
//! in steps: [`wire::compress`]. A [`connection::CompressionChoice`] says where it pays: on links that are
//! slower than [`wire::compress::Gain::break_even`].

#![no_std]

extern crate alloc;

mod client;
mod config;
pub mod connection;
pub mod endpoint;
mod error;
mod hash;
mod id;
pub mod network;
mod rng;
mod server;
mod time;
pub mod wire;

pub use client::{Client, ClientInput, ClientOutput};
pub use config::{ClientConfig, ConfigError, ServerConfig};
pub use connection::{Liveness, StreamEvent, StreamOp, Verdict};
pub use endpoint::{
    CallOptions, ClientEvent, ClientStats, ClosestAnswer, ClosestFailure, ClosestOptions, DialId,
    Hedge, NodeOutcome, NodeTry, ServerStats, StreamInfo,
};
pub use error::{Cause, Delivery, Phase, RequestError, SendError, Status, StatusCode, StreamError};
pub use id::{
    ClosestId, PeerId, PeerIdError, ProtocolName, ProtocolNameError, RequestId, StreamId,
};
pub use network::candidates::{Source, Sources};
pub use server::{InboundId, Server, ServerEvent, ServerInput, ServerOutput};
pub use time::Timestamp;
pub use wire::compress::{Body, Payload};
pub use wire::{Format, FrameError, Headers, Metadata, MetadataError, Method};
