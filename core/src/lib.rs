//! PointSub core.
#![no_std]

extern crate alloc;

pub mod client;
pub mod compress;
mod config;
mod error;
pub mod frame;
mod hash;
mod id;
mod link;
mod port;
pub mod server;
mod status;
mod time;

pub use client::{Client, ClientEvent, ClientInput, ClientOutput, ClientStats};
pub use compress::{Body, Payload};
pub use config::{ClientConfig, ConfigError, ServerConfig};
pub use error::{Cause, Delivery, Phase, RequestError, SendError, Status, StatusCode, StreamError};
pub use frame::{Format, FrameError};
pub use id::{PeerId, PeerIdError, ProtocolName, ProtocolNameError, RequestId, StreamId};
pub use port::{StreamEvent, StreamOp};
pub use server::{InboundId, Server, ServerEvent, ServerInput, ServerOutput, ServerStats};
pub use time::Timestamp;
