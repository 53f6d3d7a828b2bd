//! The ways to ask another process that are compared.
//!
//! Every one of them is a function that serves an echo and one that connects to it. The first
//! returns the address to connect to, and goes on serving on tasks of its own; the second returns a
//! [`Caller`]. All have one connection, and whatever is served under one name is asked by the same.

mod framed;
mod plain;
mod pointsub;
mod raw_stream;
mod request_response;
mod runner;
mod stack;
mod tarpc;
mod tonic;

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use pointsub_async_std::AsyncStd;
use pointsub_tokio::Tokio;

pub(crate) use self::runner::Runner;
use self::runner::{OnAsyncStd, OnTokio};
use crate::process::child;

/// What goes wrong in a measurement; for people only.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// The largest body that any contender takes.
const MAX_BODY: usize = 32 * 1024 * 1024;
/// The name of the echo as a protocol of libp2p.
const ECHO: &str = "/echo/1.0.0";
/// How many streams of one connection a libp2p contender that does not count them may use at once.
/// Yamux ends a connection with more than 512; PointSub uses as many at most by default.
const STREAMS: usize = 128;

/// Sends a body to the server and returns its answer.
pub(crate) trait Caller: Clone + Send + Sync + 'static {
    /// One request.
    fn call(&self, body: Bytes) -> impl Future<Output = Result<Bytes, Failure>> + Send;
}

/// One of the alternatives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Contender {
    /// This library with its node for tokio.
    PointSub,
    /// With its node for async-std.
    AsyncStd,
    /// With its node for tokio, over QUIC.
    Quic,
    /// With a server that offers the plain format only, as the Go library does.
    Plain,
    /// With compression.
    Deflate,
    /// `libp2p-request-response`: a stream for each request.
    RequestResponse,
    /// `libp2p-stream`: streams are used again, one request at a time on each.
    RawStream,
    /// gRPC over TCP without encryption.
    Tonic,
    /// gRPC over TLS.
    TonicTls,
    /// tarpc with bincode over TCP without encryption.
    Tarpc,
}

impl Contender {
    /// Those that are compared, in the order of tables and rounds.
    pub(crate) const ALL: [Self; 9] = [
        Self::PointSub,
        Self::AsyncStd,
        Self::Quic,
        Self::Plain,
        Self::RequestResponse,
        Self::RawStream,
        Self::Tonic,
        Self::TonicTls,
        Self::Tarpc,
    ];

    /// Its name on the command line and in the results.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::PointSub => "pointsub",
            Self::AsyncStd => "pointsub-async-std",
            Self::Quic => "pointsub-quic",
            Self::Plain => "pointsub-plain",
            Self::Deflate => "pointsub-deflate",
            Self::RequestResponse => "request-response",
            Self::RawStream => "raw-stream",
            Self::Tonic => "tonic",
            Self::TonicTls => "tonic-tls",
            Self::Tarpc => "tarpc",
        }
    }

    /// Serves until this process is told to end.
    pub(crate) fn serve(self) -> Result<(), Failure> {
        match self {
            Self::PointSub => child::serve(&OnTokio::new()?, pointsub::serve::<Tokio>(TCP, false)),
            Self::Quic => child::serve(&OnTokio::new()?, pointsub::serve::<Tokio>(QUIC, false)),
            Self::Deflate => child::serve(&OnTokio::new()?, pointsub::serve::<Tokio>(TCP, true)),
            Self::AsyncStd => child::serve(&OnAsyncStd, pointsub::serve::<AsyncStd>(TCP, false)),
            Self::Plain => child::serve(&OnTokio::new()?, plain::serve()),
            Self::RequestResponse => child::serve(&OnTokio::new()?, request_response::serve()),
            Self::RawStream => child::serve(&OnTokio::new()?, raw_stream::serve()),
            Self::Tonic => child::serve(&OnTokio::new()?, tonic::serve(false)),
            Self::TonicTls => child::serve(&OnTokio::new()?, tonic::serve(true)),
            Self::Tarpc => child::serve(&OnTokio::new()?, tarpc::serve()),
        }
    }

    /// Sends what this process is told to, to the server at `address`.
    pub(crate) fn send(self, address: &str) -> Result<(), Failure> {
        match self {
            Self::PointSub | Self::Quic | Self::Plain => {
                child::send(&OnTokio::new()?, pointsub::connect::<Tokio>(address, false))
            }
            Self::Deflate => {
                child::send(&OnTokio::new()?, pointsub::connect::<Tokio>(address, true))
            }
            Self::AsyncStd => {
                child::send(&OnAsyncStd, pointsub::connect::<AsyncStd>(address, false))
            }
            Self::RequestResponse => {
                child::send(&OnTokio::new()?, request_response::connect(address))
            }
            Self::RawStream => child::send(&OnTokio::new()?, raw_stream::connect(address)),
            Self::Tonic => child::send(&OnTokio::new()?, tonic::connect(address, false)),
            Self::TonicTls => child::send(&OnTokio::new()?, tonic::connect(address, true)),
            Self::Tarpc => child::send(&OnTokio::new()?, tarpc::connect(address)),
        }
    }
}

const TCP: &str = "/ip4/127.0.0.1/tcp/0";
const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Contender {
    type Err = Failure;

    fn from_str(name: &str) -> Result<Self, Failure> {
        let mut all = Self::ALL.into_iter().chain([Self::Deflate]);
        let names = || Self::ALL.map(Self::name).join(", ");
        let found = all.find(|contender| contender.name() == name);
        found.ok_or_else(|| format!("nobody is called {name:?}; there are {}", names()).into())
    }
}
