//! What a node starts with, and its start.

mod observers;
pub(super) mod options;
mod policy;
mod rules;

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::channel::{mpsc, oneshot};
use libp2p_core::transport::MemoryTransport;
use libp2p_core::{Multiaddr, Transport, upgrade};
use libp2p_identity::Keypair;
use libp2p_swarm::{Config as SwarmConfig, Swarm};
#[cfg(feature = "kad")]
use pointsub_core::Source;
use pointsub_core::{ClientConfig, ConfigError, ProtocolName, ServerConfig};
use thiserror::Error;

use self::observers::Observers;
use self::options::Keeping;
use self::rules::Rules;
use super::behaviour::Behaviour;
#[cfg(feature = "relay")]
use super::circuits::Relaying;
use super::event_loop::{EventLoop, NodeBehaviour};
use super::events::Listeners;
#[cfg(feature = "kad")]
use super::kademlia::{Kademlia, Table};
use super::limits::Limits;
use super::limits::handshakes::Handshakes;
use super::stored::key_file::KeyFileError;
use super::watch::Watch;
use super::{Inner, ListenFailure, Node};
#[cfg(feature = "relay")]
use crate::RelayConfig;
use crate::api::client::Policy;
use crate::clock::Clock;
use crate::discovery::Discover;
use crate::runtime::Runtime;
use crate::transport::security::{Dialects, Security};

/// How long a connection without streams is kept, by default.
const IDLE_CONNECTION: Duration = Duration::from_secs(60);
/// How many inbound streams of one connection may be in the middle of negotiating their protocol.
const NEGOTIATING: usize = 512;
/// How many connections of others may be in the middle of their handshake.
const HANDSHAKES: usize = 256;
/// How long the handshake of a connection that another peer begins may take, by default.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How many connections others may have to a node, by default.
const INCOMING: u32 = 10_000;
/// How many calls to a node, such as `connect` or `addresses`, wait for its task.
const COMMANDS: usize = 64;
/// Collects what a [`Node`] starts with.
#[derive(Debug)]
#[must_use = "call build"]
pub struct NodeBuilder<R> {
    keypair: Option<Keypair>,
    listen: Vec<Multiaddr>,
    external: Vec<Multiaddr>,
    client: ClientConfig,
    server: ServerConfig,
    #[cfg(feature = "relay")]
    relay: Option<RelayConfig>,
    max_incoming: u32,
    idle_connection_timeout: Duration,
    handshake_timeout: Duration,
    dialects: Dialects,
    in_memory: bool,
    /// In the order in which they were given; of all protocols, or of one.
    policies: Vec<(Option<ProtocolName>, Policy)>,
    keeping: Keeping,
    rules: Rules,
    observers: Observers,
    discover: Discover,
    #[cfg(feature = "kad")]
    pub(super) kademlia: Option<Kademlia>,
    runtime: R,
}

/// Why a node did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NodeError {
    /// An option is outside its range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A transport could not be set up.
    #[error("cannot set up the transport: {0}")]
    Transport(std::io::Error),
    /// The file with the node's identity cannot be used.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// A node runs on the runtime in which it is built, and there is none here.
    #[error("a node has to be built inside of its runtime, and none is running here")]
    NoRuntime,
    /// A listen address cannot be used.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// Why.
        reason: ListenFailure,
    },
    /// The node was shut down.
    #[error("the node was shut down")]
    Shutdown,
}

// By hand: what is printed with the error must not be its source as well.
impl From<std::io::Error> for NodeError {
    fn from(error: std::io::Error) -> Self {
        Self::Transport(error)
    }
}

impl<R: Runtime> NodeBuilder<R> {
    /// Begins to build a node on this runtime. Without further calls it has a fresh identity and listens
    /// nowhere.
    pub fn on(runtime: R) -> Self {
        Self {
            keypair: None,
            listen: Vec::new(),
            external: Vec::new(),
            client: ClientConfig::default(),
            server: ServerConfig::default(),
            #[cfg(feature = "relay")]
            relay: None,
            max_incoming: INCOMING,
            idle_connection_timeout: IDLE_CONNECTION,
            handshake_timeout: HANDSHAKE,
            dialects: Dialects::default(),
            in_memory: false,
            policies: Vec::new(),
            keeping: Keeping::default(),
            rules: Rules::default(),
            observers: Observers::default(),
            discover: Discover::default(),
            #[cfg(feature = "kad")]
            kademlia: None,
            runtime,
        }
    }

    /// The node's identity. Default: a fresh Ed25519 key, so a new peer id at each start. A key that
    /// is kept in a file is for [`key_file`](Self::key_file).
    pub fn keypair(mut self, keypair: Keypair) -> Self {
        self.keypair = Some(keypair);
        self
    }

    /// An address to listen on, such as `/ip4/0.0.0.0/tcp/4001`; may be called several times.
    /// Port 0 takes any free port.
    ///
    /// A relay's address with `/p2p/RELAY/p2p-circuit` behind it makes the node reachable through
    /// that relay, which is asked for a reservation. Relays limit what a connection may carry: by
    /// default 128 KiB and 2 min, after which it breaks
    /// ([`Cause::RelayLost`](crate::Cause::RelayLost)), and is made anew by the next request. The
    /// two ends try to make a direct connection meanwhile (DCUtR), and use that from then on. For
    /// this to work through a NAT, give an ordinary address to listen on before that at the relay.
    ///
    /// A relay that cannot be reached is no obstacle to [`build`](Self::build): it is asked again for
    /// as long as the node lives, after pauses of 1 s to 30 s, and so is one that restarts or to which
    /// the connection is lost.
    pub fn listen(mut self, address: Multiaddr) -> Self {
        self.listen.push(address);
        self
    }

    /// An address at which others reach this node although it cannot know that by itself; may be
    /// called several times. A relay needs at least one, to tell those whom it serves.
    pub fn external_address(mut self, address: Multiaddr) -> Self {
        self.external.push(address);
        self
    }

    /// Relays connections between peers that cannot reach each other (circuit relay v2), within
    /// these limits.
    #[cfg(feature = "relay")]
    pub fn relay_server(mut self, config: RelayConfig) -> Self {
        self.relay = Some(config);
        self
    }

    /// The most connections that others may have to this node; further ones are closed. Default
    /// 10 000. A network (an IPv4 /24 or an IPv6 /48) may have eight times what is left of them, and 8
    /// in any case. Of one peer there are at most 8, of which one makes room for a further one.
    /// Those without a stream are closed after
    /// [`idle_connection_timeout`](Self::idle_connection_timeout).
    ///
    /// At most 256 connections may be in the middle of their handshake. One that has said nothing
    /// makes room for a further one.
    pub fn max_incoming_connections(mut self, max_incoming: u32) -> Self {
        self.max_incoming = max_incoming;
        self
    }

    /// How long the handshake of a connection that another peer makes may take. Default 5 s. The
    /// client's `connect_timeout` is for those that this node makes.
    pub fn handshake_timeout(mut self, handshake_timeout: Duration) -> Self {
        self.handshake_timeout = handshake_timeout;
        self
    }

    /// The texts that peers sign inside their handshakes: libp2p's, or those of go-dep2p, the host of
    /// the Go library. Default: both are served and dialled, and a peer that speaks neither libp2p's
    /// nor is remembered costs a second connection. [`Dialects::Only`] refuses the other one; the log
    /// then says of each peer that was refused for it that this option would let it in.
    pub fn dialects(mut self, dialects: Dialects) -> Self {
        self.dialects = dialects;
        self
    }

    /// How long a connection without streams is kept, counted by each end for itself. Default 60 s.
    /// Streams that wait for further requests count, so that the client's
    /// [`idle_stream_timeout`](ClientConfig::with_idle_stream_timeout) comes first.
    pub fn idle_connection_timeout(mut self, timeout: Duration) -> Self {
        self.idle_connection_timeout = timeout;
        self
    }

    /// Reaches nodes of the same process alone, without sockets, for tests: listen at `/memory/0`, and
    /// connect to what [`Node::address`] returns. Everything above the transport is as usual,
    /// encryption included.
    ///
    /// ```
    /// use pointsub_swarm::{Node, ProtocolName, Request, Runtime};
    ///
    /// async fn test<R: Runtime + Default>() -> Result<(), Box<dyn std::error::Error>> {
    ///     const ECHO: ProtocolName = ProtocolName::from_static("/echo/1.0.0");
    ///     let server = Node::<R>::builder().in_memory().listen("/memory/0".parse()?).build().await?;
    ///     server.server().register(&ECHO, |request: Request| async { request.body })?;
    ///     let client = Node::<R>::builder().in_memory().build().await?;
    ///     let peer = client.connect(server.address().await.ok_or("no address")?).await?;
    ///     assert_eq!(client.client().send(peer, &ECHO, "hello").await?, "hello");
    ///     Ok(())
    /// }
    /// ```
    pub fn in_memory(mut self) -> Self {
        self.in_memory = true;
        self
    }

    /// Where servers are looked for that nobody has named, in place of the default: among connected
    /// peers. See [`Discover`].
    pub fn discover(mut self, discover: Discover) -> Self {
        self.discover = discover;
        self
    }

    /// How the client behaves.
    pub fn client_config(mut self, config: ClientConfig) -> Self {
        self.client = config;
        self
    }

    /// How the server behaves.
    pub fn server_config(mut self, config: ServerConfig) -> Self {
        self.server = config;
        self
    }

    /// Starts the node and waits until it listens, for 10 s at most. Relays that have not answered by
    /// then are waited for in the background.
    ///
    /// # Errors
    /// [`NodeError`]
    pub async fn build(self) -> Result<Node<R>, NodeError> {
        // A swarm takes several KiB, which callers should not carry in their own futures.
        Box::pin(self.start()).await
    }

    async fn start(mut self) -> Result<Node<R>, NodeError> {
        if !self.runtime.attach() {
            return Err(NodeError::NoRuntime);
        }
        let runtime = Arc::new(self.runtime);
        let clock = Clock::new(runtime.clone());
        let keypair = self.keeping.keypair(self.keypair)?;
        let peer = keypair.public().to_peer_id();
        let connect_timeout = self.client.connect_timeout();
        let pointsub = Behaviour::on(peer, self.client, self.server, clock.clone())?;
        let mut pointsub = self.observers.apply(pointsub);
        pointsub.set_keypair(keypair.clone());
        pointsub.discover(self.discover);
        #[cfg(feature = "kad")]
        let table = self.kademlia.map(|options| {
            let finder = pointsub.finder(Source::Dht);
            Table::new(peer, options, finder, clock.clone())
        });
        let (client, server) = (pointsub.client(), pointsub.server());
        for (protocol, policy) in self.policies {
            client.set_policy(protocol, policy);
        }
        self.rules.apply(&server);
        let limits = Limits::new(self.max_incoming as usize);
        // Ends handshakes that lead nowhere, in both directions. Whoever waits for a connection
        // gives up before, and knows why.
        let security = Security::with_dialects(&keypair, self.dialects)?.with_clock(clock.clone());
        let direct = match self.in_memory {
            true => security.establish(MemoryTransport::default()),
            false => runtime.transport(&security)?,
        };
        #[cfg(feature = "relay")]
        let (relaying, direct) = Relaying::new(peer, self.relay, direct, &security);
        let parts = NodeBehaviour::new(
            &keypair,
            pointsub,
            #[cfg(feature = "relay")]
            relaying,
            limits,
            #[cfg(feature = "kad")]
            table,
            #[cfg(feature = "autonat")]
            clock.clone(),
        );
        let (inbound, outbound) = (self.handshake_timeout, connect_timeout * 2);
        let transport =
            Handshakes::new(direct, HANDSHAKES, inbound, outbound, clock.clone()).boxed();
        let config = swarm_config(clock.clone(), self.idle_connection_timeout);
        let mut swarm = Swarm::new(transport, parts, peer, config);
        self.external.into_iter().for_each(|address| swarm.add_external_address(address));
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let listeners = Listeners::default();
        let interfaces = match self.in_memory {
            true => futures::stream::pending().boxed(),
            false => runtime.interface_changes(),
        };
        let watch = Watch::new(clock.clone(), interfaces);
        let (events, keeping) = (listeners.clone(), self.keeping);
        let event_loop = EventLoop::new(swarm, inbox, events, clock.clone(), watch, keeping);
        let mut event_loop = Box::new(event_loop);
        event_loop.load_addresses();
        run(event_loop, self.listen, &clock).await?;
        let inner = Inner { peer, client, server, commands, listeners, connect_timeout, clock };
        Ok(Node { inner: Arc::new(inner), runtime: PhantomData })
    }
}

fn swarm_config(tasks: Clock, idle_connection_timeout: Duration) -> SwarmConfig {
    SwarmConfig::with_executor(move |task| tasks.spawn("pointsub connection", task))
        .with_idle_connection_timeout(idle_connection_timeout)
        .with_max_negotiating_inbound_streams(NEGOTIATING)
        // A sole proposal goes out with the first request, without waiting for the answer.
        .with_substream_upgrade_protocol_override(upgrade::Version::V1Lazy)
}

/// Runs a node's loop on a task of the runtime, since the caller may be elsewhere; returns once it listens.
async fn run(
    mut event_loop: Box<EventLoop>,
    listen: Vec<Multiaddr>,
    clock: &Clock,
) -> Result<(), NodeError> {
    let (begun, listening) = oneshot::channel();
    clock.spawn(
        "pointsub node",
        Box::pin(async move {
            let listens = event_loop.listen(listen).await;
            let is_up = listens.is_ok();
            if begun.send(listens).is_ok() && is_up {
                event_loop.run().await;
            }
        }),
    );
    listening.await.unwrap_or(Err(NodeError::NoRuntime))
}
