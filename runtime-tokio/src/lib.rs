//! PointSub on tokio: request and response by Peer ID over libp2p.
//!
//! A [`Node`] is server and client at once. Register handlers under protocol names with its
//! [`Server`], send requests to peers with its [`Client`]:
//!
//! ```
//! use pointsub_tokio::{Node, ProtocolName, Request};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let double = ProtocolName::new("/double/1.0.0")?;
//! let server = Node::builder().listen("/ip4/127.0.0.1/tcp/0".parse()?).build().await?;
//! server.server().register(&double, |request: Request| async move {
//!     request.body.repeat(2)
//! })?;
//!
//! let client = Node::builder().build().await?;
//! client.connect(server.address().await.ok_or("it listens nowhere")?).await?;
//! let answer = client.client().send(server.peer_id(), &double, "ab").await?;
//! assert_eq!(answer, "abab");
//! # Ok(())
//! # }
//! ```
//!
//! | to | use |
//! |---|---|
//! | start a node, connect, learn its addresses, shut it down | [`Node`], [`NodeBuilder`] |
//! | learn who comes and goes, and on which path | [`Node::events`](pointsub_swarm::Node::events), [`NodeEvent`] |
//! | fail in a handler, with a status or with any error | [`HandlerError`], [`IntoResponse`] |
//! | test without a network | [`Request::new`], [`Client::from_fn`], [`NodeBuilder::in_memory`] |
//! | serve a protocol, stop serving it, stop in good order | [`Server`], [`Handler`] |
//! | send a request, with a time limit of its own | [`Client::send`], [`Call::timeout`] |
//! | send it to the closest of several servers | [`Client::send_closest`], [`closest`] |
//! | do both with one handle | [`PointSub`] |
//! | have a stream of bytes instead of messages | [`Client::dial`], [`Server::listen`], [`RawStream`] |
//! | see who is connected and what was counted | [`Server::streams`], [`Server::stats`], [`Client::stats`] |
//! | find out what went wrong and whether to try again | [`RequestError`], [`Delivery`] |
//! | change limits and times | [`ClientConfig`], [`ServerConfig`] |
//! | add it to a libp2p swarm that you have already | [`Behaviour`], [`transport`] |
//! | find what a name of the Go library has become | [`migration`] |
//! | have a timeout, retries or hedging for all requests, or those of a protocol | [`Policy`] |
//! | run a node on a certain runtime, or with a paused clock | [`Tokio`] |
//! | put layers of tower around handlers, clients and services | the module `middleware`, with feature `tower` |
//!
//! | cargo feature | on by default | brings |
//! |---|---|---|
//! | `quic` | yes | the transport [`quic`], which every node has too |
//! | `dns` | yes | names in addresses |
//! | `relay` | yes | circuit relay v2: being reached through relays, and being one |
//! | `dcutr` | yes | direct connections in place of those through a relay |
//! | `autonat` | yes | [`Node::external_addresses`](pointsub_swarm::Node::external_addresses) of a node behind a NAT (AutoNAT v2) |
//! | `anyhow` | no | a [`HandlerError`] inside an `anyhow::Error` stays the status that it is |
//! | `lan` | no | servers on the local network are found by multicast DNS: `Discover::lan` |
//! | `kad` | no | servers are found in a table that the nodes of a private network keep: `NodeBuilder::kademlia` |
//! | `axum` | no | axum serves on a [`Listener`] |
//! | `hyper` | no | HTTP clients that connect by Peer ID: the module `hyper` |
//! | `tonic` | no | tonic serves on a [`Listener`], and connects by Peer ID: the modules `tonic` and `hyper` |
//! | `service` | no | typed services: the attribute `service`, and a module of that name, which is `pointsub-service` |
//! | `prost` | no | messages of protobuf in the types of services: `service::Prost` |
//! | `tower` | no | layers around handlers, clients and services: the modules `middleware` here and in `service` |
//!
//! Raw streams implement tokio's `AsyncRead` and `AsyncWrite`, so that what runs over TCP runs over
//! them. With the features `axum`, `hyper` and `tonic`, these are served on a [`Listener`], and reach
//! servers by Peer ID.
//!
//! This crate only adds tokio to `pointsub-swarm`, which it exports whole.

use std::io;
use std::time::Instant;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use libp2p_core::Transport;
use libp2p_core::muxing::StreamMuxerBox;
use libp2p_core::transport::Boxed;
use tokio::runtime::Handle;

use exclusive::Exclusive;
#[cfg(feature = "dns")]
use names::WithoutNames;

#[cfg(feature = "service")]
pub use pointsub_service as service;
#[cfg(feature = "service")]
#[doc(inline)]
pub use pointsub_service::macros::service_on_tokio as service;
pub use pointsub_swarm::*;

#[cfg(feature = "axum")]
pub mod axum;
#[cfg(any(feature = "axum", feature = "hyper"))]
mod caller;
mod exclusive;
#[cfg(feature = "hyper")]
pub mod hyper;
#[cfg(feature = "dns")]
mod names;
#[cfg(feature = "hyper")]
mod peer_stream;
#[cfg(feature = "quic")]
pub mod quic;
#[cfg(feature = "tonic")]
pub mod tonic;

/// A libp2p node on tokio: TCP with TLS or Noise, and Yamux, QUIC, and DNS names.
///
/// It listens at `/ip4/…/tcp/…` and `/ip4/…/udp/…/quic-v1`, and dials these, their `ip6`
/// counterparts, and names: `/dns4/example.org/tcp/4001`, `/dnsaddr/…`. QUIC is faster for small
/// messages and slower in bulk.
pub type Node = pointsub_swarm::Node<Tokio>;

/// A tokio runtime. It needs its I/O and its timers (`enable_all`).
///
/// By default it is the one in which a [`Node`] is built. [`Tokio::on`] is a certain one, so that a node
/// can be built anywhere:
///
/// ```
/// use pointsub_tokio::{NodeBuilder, Tokio};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let runtime = tokio::runtime::Runtime::new()?;
/// let node = NodeBuilder::on(Tokio::on(runtime.handle().clone()));
/// let node = futures::executor::block_on(node.build())?;
/// # drop(node);
/// # Ok(())
/// # }
/// ```
///
/// Time is tokio's. Where it is paused (`start_paused`), limits and timers of PointSub follow it. Such a
/// test should have its nodes [in memory](NodeBuilder::in_memory): tokio does not know when bytes of the
/// system's sockets are on their way, and lets time pass meanwhile.
#[derive(Debug, Clone, Default)]
pub struct Tokio(Option<Handle>);

impl Tokio {
    /// The runtime of this handle.
    #[must_use]
    pub fn on(runtime: Handle) -> Self {
        Self(Some(runtime))
    }

    /// The runtime in which this is called.
    ///
    /// # Panics
    /// Outside of a runtime.
    #[must_use]
    pub fn current() -> Self {
        Self(Some(Handle::current()))
    }

    fn handle(&self) -> Handle {
        self.0.clone().unwrap_or_else(Handle::current)
    }
}

impl Runtime for Tokio {
    fn spawn(&self, future: BoxFuture<'static, ()>) {
        self.handle().spawn(future);
    }

    #[cfg(tokio_unstable)]
    fn spawn_named(&self, name: &'static str, future: BoxFuture<'static, ()>) {
        // It fails if there is no task for it, as `spawn` panics then.
        let _task = tokio::task::Builder::new().name(name).spawn_on(future, &self.handle());
    }

    fn interface_changes(&self) -> BoxStream<'static, ()> {
        let runtime = self.handle();
        let _entered = runtime.enter();
        pointsub_swarm::system::interface_changes(if_watch::tokio::IfWatcher::new())
    }

    #[cfg(any(feature = "dns-discovery", feature = "lan"))]
    fn datagrams(
        &self,
        socket: std::net::UdpSocket,
        limit: usize,
    ) -> io::Result<BoxStream<'static, (Vec<u8>, std::net::SocketAddr)>> {
        let runtime = self.handle();
        let _entered = runtime.enter();
        let socket = tokio::net::UdpSocket::from_std(socket)?;
        let buffer = vec![0; limit];
        let packets = futures::stream::unfold((socket, buffer), |(socket, mut buffer)| async {
            let (length, sender) = socket.recv_from(&mut buffer).await.ok()?;
            Some(((buffer[..length].to_vec(), sender), (socket, buffer)))
        });
        Ok(Box::pin(packets))
    }

    #[cfg(feature = "dns-discovery")]
    fn tcp(&self, to: std::net::SocketAddr) -> BoxFuture<'static, io::Result<PlainStream>> {
        Box::pin(async move {
            let stream = tokio::net::TcpStream::connect(to).await?;
            Ok(PlainStream::new(libp2p_tcp::tokio::TcpStream(stream)))
        })
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        let runtime = self.handle();
        let _entered = runtime.enter();
        Box::pin(tokio::time::sleep_until(deadline.into()))
    }

    fn attach(&mut self) -> bool {
        self.0 = self.0.take().or_else(|| Handle::try_current().ok());
        self.0.is_some()
    }

    fn transport(&self, security: &Security) -> io::Result<Boxed<(PeerId, StreamMuxerBox)>> {
        let runtime = self.handle();
        let _entered = runtime.enter();
        transport_with_security(security)
    }
}

/// The transport of a [`Node`], for a libp2p swarm of your own: TCP with TLS or Noise, and Yamux, QUIC,
/// and DNS names. It includes the connection driver. Such a swarm is as fast as a node.
///
/// This program has PointSub and ping in one swarm. It uses the `libp2p` crate in the version that
/// fits to this one.
///
/// ```no_run
#[doc = include_str!("../examples/own_swarm.rs")]
/// ```
///
/// What each choice costs: requests per second with 64 callers and bodies of 512 B, as a share of what a
/// node answers.
///
/// | node or swarm | share |
/// |---|---:|
/// | [`Node`] | 1 |
/// | a swarm of your own with this transport | 1; the benchmark demands 0.95 |
/// | a swarm of your own with libp2p's TCP, Noise and Yamux | 0.7 |
/// | a swarm of your own with libp2p's TCP, `(tls, noise)` and Yamux | 0.5 |
///
/// The last two make more and smaller records and system calls, and poll every behaviour for every
/// message. [`with_driver`] removes the second of these costs.
///
/// There is no limit to the duration of a handshake. [`Node`] sets one; here, libp2p's
/// `TransportTimeout` does.
///
/// # Errors
/// If the key cannot sign, or a socket cannot be made.
pub fn transport(keypair: &Keypair) -> io::Result<Boxed<(PeerId, StreamMuxerBox)>> {
    transport_with_security(&Security::new(keypair)?)
}

/// The same as [`transport`] with a [`Security`] that has other [`Dialects`].
///
/// # Errors
/// If a socket cannot be made.
pub fn transport_with_security(security: &Security) -> io::Result<Boxed<(PeerId, StreamMuxerBox)>> {
    // Names resolve as the system says. If it says nothing, addresses can still be dialled.
    #[cfg(feature = "dns")]
    return Ok(match libp2p_dns::tokio::Transport::system(without_names(security)?) {
        Ok(with_names) => with_names.boxed(),
        Err(why) => WithoutNames::new(without_names(security)?, why).boxed(),
    });
    #[cfg(not(feature = "dns"))]
    without_names(security)
}

/// TCP, and QUIC if that is compiled in.
fn without_names(security: &Security) -> io::Result<Boxed<(PeerId, StreamMuxerBox)>> {
    let tcp = libp2p_tcp::Config::default().nodelay(true);
    let tcp = Exclusive::new(libp2p_tcp::tokio::Transport::new(tcp));
    let tcp = tcp.map(|stream, _| {
        pointsub_swarm::system::keep_alive(&stream.0);
        stream
    });
    let tcp = security.establish(tcp);
    #[cfg(feature = "quic")]
    let tcp = {
        let quic = with_driver(quic::Transport::with_security(security)?);
        tcp.or_transport(quic).map(|either, _| either.into_inner()).boxed()
    };
    Ok(tcp)
}

/// The program in the README, so that it is true.
#[cfg(all(doctest, feature = "service", feature = "tower"))]
#[doc = include_str!("../../README.md")]
struct Readme;

/// The same in Chinese.
#[cfg(all(doctest, feature = "service", feature = "tower"))]
#[doc = include_str!("../../README.zh.md")]
struct ReadmeInChinese;
