//! PointSub on async-std and on smol: request and response by Peer ID over libp2p.
//!
//! The API is that of `pointsub-tokio`, and no tokio is compiled. A [`Node`] is server and client
//! at once. Register handlers under protocol names with its [`Server`], send requests to peers
//! with its [`Client`]:
//!
//! ```
//! use pointsub_async_std::{Node, ProtocolName, Request};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! async_std::task::block_on(async {
//!     let double = ProtocolName::new("/double/1.0.0")?;
//!     let server = Node::builder().listen("/ip4/127.0.0.1/tcp/0".parse()?).build().await?;
//!     server.server().register(&double, |request: Request| async move {
//!         request.body.repeat(2)
//!     })?;
//!
//!     let client = Node::builder().build().await?;
//!     client.connect(server.address().await.ok_or("it listens nowhere")?).await?;
//!     let answer = client.client().send(server.peer_id(), &double, "ab").await?;
//!     assert_eq!(answer, "abab");
//!     Ok(())
//! })
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
//! | have a stream of bytes instead of messages | [`Client::dial`], [`Server::listen`], [`RawStream`] |
//! | add it to a libp2p swarm that you have already | [`Behaviour`], [`transport`] |
//!
//! The rest is as `pointsub-swarm` says, which this crate exports whole. Raw streams implement the
//! `AsyncRead` and `AsyncWrite` of `futures`, which are those of async-std and smol.
//!
//! # async-std is discontinued
//!
//! Its makers ended it in 2025 and recommend smol ([RUSTSEC-2025-0052]). This crate is for programs
//! that still run on it, and for those that have moved on: both runtimes share their reactor,
//! `async-io`, and so the same sockets work under either.
//!
//! | runtime | feature | node | in `Cargo.toml` |
//! |---|---|---|---|
//! | async-std | `async-std`, on by default | [`Node`] | `pointsub-async-std = "…"` |
//! | smol | `smol` | `SmolNode` | `{ version = "…", default-features = false, features = ["smol", "relay", "dcutr", "autonat"] }` |
//! | an executor of smol's of your own | `smol` | `NodeBuilder::on(Smol::on(executor))` | likewise |
//! | any other executor on `async-io` | none | `pointsub_swarm::Node` with your [`Runtime`] | `{ version = "…", default-features = false }` |
//!
//! Features `relay`, `dcutr` and `autonat`, on by default, are what `pointsub-tokio` has under these names,
//! and so is `service`, for typed services, which is not, with `prost`. `tower` brings layers around handlers,
//! clients and services: the modules `middleware`. `lan` brings `Discover::lan`, which finds servers on the
//! local network, `dns-discovery` `Discover::dns`, which finds those that a name in the DNS lists, and `kad`
//! `NodeBuilder::kademlia`, which finds those that a private network lists.
//! With the second or third line nothing of async-std is compiled, and the advisory does not
//! concern you. A [`Runtime`] of your own spawns as it likes and returns
//! [`transport_with_security`].
//!
//! # What there is
//!
//! TCP with TLS or Noise, and Yamux, IPv4 and IPv6, and names (`/dns`, `/dns4`, `/dns6`) as the
//! operating system resolves them, multicast DNS with feature `lan`, and lists of servers in the DNS with
//! feature `dns-discovery`. libp2p has no QUIC or `/dnsaddr` addresses for these runtimes. Its TCP is for tokio alone as well, so this crate brings one: [`tcp::Transport`], which serves any
//! libp2p swarm on `async-io`, with or without PointSub.
//!
//! [RUSTSEC-2025-0052]: https://rustsec.org/advisories/RUSTSEC-2025-0052

pub mod tcp;

use std::io;

use futures::stream::BoxStream;
use libp2p_core::muxing::StreamMuxerBox;
use libp2p_core::transport::Boxed;

#[cfg(feature = "service")]
pub use pointsub_service as service;
#[cfg(feature = "service")]
#[doc(inline)]
pub use pointsub_service::macros::service_on_async_std as service;
pub use pointsub_swarm::*;

/// What runtimes on `async-io` have in common: the reactor.
#[cfg(any(feature = "async-std", feature = "smol"))]
macro_rules! reactor {
    () => {
        fn interface_changes(&self) -> BoxStream<'static, ()> {
            interface_changes()
        }

        #[cfg(any(feature = "dns-discovery", feature = "lan"))]
        fn datagrams(
            &self,
            socket: std::net::UdpSocket,
            limit: usize,
        ) -> io::Result<BoxStream<'static, (Vec<u8>, std::net::SocketAddr)>> {
            datagrams(socket, limit)
        }

        #[cfg(feature = "dns-discovery")]
        fn tcp(
            &self,
            to: std::net::SocketAddr,
        ) -> futures::future::BoxFuture<'static, io::Result<PlainStream>> {
            Box::pin(tcp_stream(to))
        }

        fn transport(&self, security: &Security) -> io::Result<Boxed<(PeerId, StreamMuxerBox)>> {
            Ok(transport_with_security(security))
        }
    };
}

/// A libp2p node on async-std: TCP, TLS or Noise, Yamux.
#[cfg(feature = "async-std")]
pub type Node = pointsub_swarm::Node<AsyncStd>;

/// The async-std runtime. Its tasks run on the threads that async-std starts for all of a process.
#[cfg(feature = "async-std")]
#[derive(Debug, Clone, Copy, Default)]
pub struct AsyncStd;

#[cfg(feature = "async-std")]
impl Runtime for AsyncStd {
    fn spawn(&self, future: futures::future::BoxFuture<'static, ()>) {
        async_std::task::spawn(future);
    }

    fn spawn_named(&self, name: &'static str, future: futures::future::BoxFuture<'static, ()>) {
        // It has no way to fail.
        let _task = async_std::task::Builder::new().name(name.to_owned()).spawn(future);
    }

    reactor!();
}

/// A libp2p node on smol: TCP, TLS or Noise, Yamux.
#[cfg(feature = "smol")]
pub type SmolNode = pointsub_swarm::Node<Smol>;

/// The smol runtime. By default its tasks run on the global executor, whose number of threads
/// `SMOL_THREADS` sets; without that, there is one. [`Smol::on`] is an executor of your own:
///
/// ```
/// use std::sync::Arc;
///
/// use pointsub_async_std::{NodeBuilder, Smol};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let executor = Arc::new(smol::Executor::new());
/// let node = NodeBuilder::on(Smol::on(executor.clone()));
/// let node = smol::block_on(executor.run(node.build()))?;
/// # drop(node);
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "smol")]
#[derive(Debug, Clone, Default)]
pub struct Smol(Option<std::sync::Arc<smol::Executor<'static>>>);

#[cfg(feature = "smol")]
impl Smol {
    /// An executor that the application runs.
    #[must_use]
    pub fn on(executor: std::sync::Arc<smol::Executor<'static>>) -> Self {
        Self(Some(executor))
    }
}

#[cfg(feature = "smol")]
impl Runtime for Smol {
    fn spawn(&self, future: futures::future::BoxFuture<'static, ()>) {
        match &self.0 {
            Some(executor) => executor.spawn(future).detach(),
            None => smol::spawn(future).detach(),
        }
    }

    reactor!();
}

/// The transport of a node of this crate, for a libp2p swarm of your own: [`tcp::Transport`] with
/// [`establish()`]. It includes the connection driver. Such a swarm is as fast as a node. It runs on every
/// executor.
///
/// There is no limit to the duration of a handshake. A node sets one; here, libp2p's
/// `TransportTimeout` does.
///
/// # Errors
/// If the key cannot sign.
pub fn transport(keypair: &Keypair) -> io::Result<Boxed<(PeerId, StreamMuxerBox)>> {
    Ok(transport_with_security(&Security::new(keypair)?))
}

/// The same as [`transport`] with a [`Security`] that has other [`Dialects`], such as the one that a
/// [`Runtime`] is given.
pub fn transport_with_security(security: &Security) -> Boxed<(PeerId, StreamMuxerBox)> {
    security.establish(tcp::Transport::new())
}

/// What happens to network interfaces, for a [`Runtime`] of your own on `async-io`.
#[must_use]
pub fn interface_changes() -> BoxStream<'static, ()> {
    pointsub_swarm::system::interface_changes(if_watch::smol::IfWatcher::new())
}

/// What arrives at a UDP socket that does not block, for a [`Runtime`] of your own on `async-io`.
///
/// # Errors
/// If the socket cannot be watched.
#[cfg(any(feature = "dns-discovery", feature = "lan"))]
pub fn datagrams(
    socket: std::net::UdpSocket,
    limit: usize,
) -> io::Result<BoxStream<'static, (Vec<u8>, std::net::SocketAddr)>> {
    let socket = async_io::Async::new_nonblocking(socket)?;
    let buffer = vec![0; limit];
    let packets = futures::stream::unfold((socket, buffer), |(socket, mut buffer)| async {
        let (length, sender) = socket.recv_from(&mut buffer).await.ok()?;
        Some(((buffer[..length].to_vec(), sender), (socket, buffer)))
    });
    Ok(Box::pin(packets))
}

/// Connects to a TCP server for a stream of plain bytes, for a [`Runtime`] of your own on `async-io`.
///
/// # Errors
/// Any I/O error of connecting.
#[cfg(feature = "dns-discovery")]
pub async fn tcp_stream(to: std::net::SocketAddr) -> io::Result<PlainStream> {
    let stream = async_io::Async::<std::net::TcpStream>::connect(to).await?;
    Ok(PlainStream::new(stream))
}
