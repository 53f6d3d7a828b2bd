//! The ways to ask another process that are compared.
//!
//! Every one of them is a function that serves an echo and one that connects to it. The first
//! returns the address to connect to, and goes on serving on tasks of its own; the second returns a
//! [`Caller`]. All have one connection, and whatever is served under one name is asked by the same.
//! Those of libp2p whose scale is measured connect to several servers, with a caller for each.

mod composed;
pub(crate) mod feed;
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
use futures::stream::BoxStream;
use pointsub_async_std::AsyncStd;
use pointsub_tokio::Tokio;

use self::feed::Feed;
use self::pointsub::typed::Typed;
use self::pointsub::{Connected, Named};
pub(crate) use self::runner::Runner;
use self::runner::{OnAsyncStd, OnTokio};
use crate::process::child;

/// What goes wrong in a measurement; for people only.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// The largest body that any contender takes.
const MAX_BODY: usize = 32 * 1024 * 1024;
/// The name of the echo as a protocol of libp2p.
const ECHO: &str = "/echo/1.0.0";
/// The name of the server's messages as a protocol of libp2p.
const PUSH: &str = "/push/1.0.0";
/// How many streams of one connection a libp2p contender that does not count them may use at once.
/// Yamux ends a connection with more than 512; PointSub uses as many at most by default.
const STREAMS: usize = 128;
/// How many streams of one connection those with room may use at once; PointSub can be told 240 at
/// most.
pub(crate) const ROOM: usize = 200;

/// Sends a body to the server and returns its answer.
pub(crate) trait Caller: Clone + Send + Sync + 'static {
    /// One request.
    fn call(&self, body: Bytes) -> impl Future<Output = Result<Bytes, Failure>> + Send;

    /// Lets the server send messages until the stream is dropped.
    fn subscribe(
        &self,
        _: Feed,
    ) -> impl Future<Output = Result<BoxStream<'static, Result<Bytes, Failure>>, Failure>> + Send
    {
        async { Err("it has no streams of messages, or they are not compared".into()) }
    }

    /// How many streams to that server are open, if it counts them.
    fn streams(&self) -> usize {
        0
    }
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
    /// Its behaviour in a swarm of one's own, with the transport of its node for tokio.
    Composed,
    /// The same with the stock libp2p of the others.
    Stock,
    /// With compression.
    Deflate,
    /// With a recorder for Prometheus at each end.
    Recorded,
    /// With a method beside each body.
    Named,
    /// The echo is a method of a typed service.
    Typed,
    /// As [`Plain`](Self::Plain), and every limit leaves room for 10 000 streams.
    RoomyPlain,
    /// `libp2p-request-response`: a stream for each request.
    RequestResponse,
    /// `libp2p-stream`: streams are used again, one request at a time on each.
    RawStream,
    /// The same with as many streams as [`RoomyPlain`](Self::RoomyPlain).
    RoomyRawStream,
    /// gRPC over TCP without encryption.
    Tonic,
    /// gRPC over TLS.
    TonicTls,
    /// tarpc with bincode over TCP without encryption.
    Tarpc,
}

impl Contender {
    /// Those that are compared, in the order of tables and rounds.
    pub(crate) const ALL: [Self; 11] = [
        Self::PointSub,
        Self::AsyncStd,
        Self::Quic,
        Self::Plain,
        Self::Composed,
        Self::Stock,
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
            Self::Composed => "pointsub-composed",
            Self::Stock => "pointsub-stock",
            Self::Deflate => "pointsub-deflate",
            Self::Recorded => "pointsub-recorded",
            Self::Named => "pointsub-named",
            Self::Typed => "pointsub-typed",
            Self::RoomyPlain => "pointsub-plain-roomy",
            Self::RequestResponse => "request-response",
            Self::RawStream => "raw-stream",
            Self::RoomyRawStream => "raw-stream-roomy",
            Self::Tonic => "tonic",
            Self::TonicTls => "tonic-tls",
            Self::Tarpc => "tarpc",
        }
    }

    /// Serves until this process is told to end, as so many nodes.
    pub(crate) fn serve(self, nodes: usize) -> Result<(), Failure> {
        let (tokio, records) = (OnTokio::new, self == Self::Recorded);
        let config = match self {
            Self::RoomyPlain => pointsub::roomy_server(),
            other => pointsub::server(other == Self::Deflate),
        };
        match self {
            Self::PointSub | Self::Deflate | Self::Recorded | Self::Named | Self::Typed => {
                child::serve(&tokio()?, nodes, || pointsub::serve::<Tokio>(TCP, &config, records))
            }
            Self::Quic => {
                child::serve(&tokio()?, nodes, || pointsub::serve::<Tokio>(QUIC, &config, records))
            }
            Self::AsyncStd => child::serve(&OnAsyncStd, nodes, || {
                pointsub::serve::<AsyncStd>(TCP, &config, records)
            }),
            Self::Stock => child::serve(&tokio()?, nodes, || composed::serve_stock(&config)),
            Self::Composed => child::serve(&tokio()?, nodes, || composed::serve(&config, |it| it)),
            Self::Plain | Self::RoomyPlain => {
                child::serve(&tokio()?, nodes, || plain::serve(&config))
            }
            Self::RequestResponse => child::serve(&tokio()?, nodes, request_response::serve),
            Self::RawStream | Self::RoomyRawStream => {
                child::serve(&tokio()?, nodes, raw_stream::serve)
            }
            Self::Tonic => child::serve(&tokio()?, nodes, || tonic::serve(false)),
            Self::TonicTls => child::serve(&tokio()?, nodes, || tonic::serve(true)),
            Self::Tarpc => child::serve(&tokio()?, nodes, tarpc::serve),
        }
    }

    /// Sends what this process is told to, from so many nodes to the servers at `addresses`.
    pub(crate) fn send(self, nodes: usize, addresses: &[&str]) -> Result<(), Failure> {
        let (tokio, records) = (OnTokio::new, self == Self::Recorded);
        let only = *addresses.first().ok_or("nobody to send to")?;
        let config = match self {
            Self::RoomyPlain => pointsub::roomy_client(),
            other => pointsub::client(other == Self::Deflate),
        };
        let streams = if self == Self::RoomyRawStream { ROOM } else { STREAMS };
        match self {
            Self::PointSub
            | Self::Deflate
            | Self::Recorded
            | Self::Quic
            | Self::Plain
            | Self::RoomyPlain => {
                let connect =
                    || pointsub::connect::<Tokio, _>(addresses, &config, records, Connected::new);
                child::send(&tokio()?, nodes, connect)
            }
            Self::Named => {
                let connect =
                    || pointsub::connect::<Tokio, _>(addresses, &config, false, Named::new);
                child::send(&tokio()?, nodes, connect)
            }
            Self::Typed => {
                let connect =
                    || pointsub::connect::<Tokio, _>(addresses, &config, false, Typed::new);
                child::send(&tokio()?, nodes, connect)
            }
            Self::AsyncStd => {
                let connect =
                    || pointsub::connect::<AsyncStd, _>(addresses, &config, false, Connected::new);
                child::send(&OnAsyncStd, nodes, connect)
            }
            Self::Stock => {
                child::send(&tokio()?, nodes, || composed::connect_stock(addresses, &config))
            }
            Self::Composed => {
                child::send(&tokio()?, nodes, || composed::connect(addresses, &config))
            }
            Self::RequestResponse => {
                child::send(&tokio()?, nodes, || one(request_response::connect(only)))
            }
            Self::RawStream | Self::RoomyRawStream => {
                child::send(&tokio()?, nodes, || raw_stream::connect(addresses, streams))
            }
            Self::Tonic => child::send(&tokio()?, nodes, || one(tonic::connect(only, false))),
            Self::TonicTls => child::send(&tokio()?, nodes, || one(tonic::connect(only, true))),
            Self::Tarpc => child::send(&tokio()?, nodes, || one(tarpc::connect(only))),
        }
    }
}

async fn one<C>(connecting: impl Future<Output = Result<C, Failure>>) -> Result<Vec<C>, Failure> {
    Ok(vec![connecting.await?])
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
        let others = [
            Self::Deflate,
            Self::Recorded,
            Self::Named,
            Self::Typed,
            Self::RoomyPlain,
            Self::RoomyRawStream,
        ];
        let mut all = Self::ALL.into_iter().chain(others);
        let names = || Self::ALL.map(Self::name).join(", ");
        let found = all.find(|contender| contender.name() == name);
        found.ok_or_else(|| format!("nobody is called {name:?}; there are {}", names()).into())
    }
}
