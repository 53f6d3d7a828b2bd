//! A ready-made libp2p node for programs that have no swarm of their own.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use futures::channel::{mpsc, oneshot};
use futures::future::{Either, select};
use futures::{SinkExt, StreamExt};
use futures_timer::Delay;
use libp2p_core::multiaddr::Protocol;
use libp2p_core::muxing::StreamMuxerBox;
use libp2p_core::transport::Boxed;
use libp2p_core::transport::ListenerId;
use libp2p_core::transport::timeout::TransportTimeout;
use libp2p_core::{Multiaddr, Transport, upgrade};
use libp2p_dcutr as dcutr;
use libp2p_identify as identify;
use libp2p_identity::{Keypair, PeerId};
use libp2p_noise as noise;
use libp2p_ping as ping;
use libp2p_relay as relay;
use libp2p_swarm::behaviour::toggle::Toggle;
use libp2p_swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p_swarm::{
    Config as SwarmConfig, ConnectionId, DialError, NetworkBehaviour, Swarm, SwarmEvent,
};
use libp2p_yamux as yamux;
use pointsub_core::{ClientConfig, ConfigError, ServerConfig};
use thiserror::Error;

use crate::RelayConfig;
use crate::behaviour::Behaviour;
use crate::client::Client;
use crate::pointsub::PointSub;
use crate::runtime::Runtime;
use crate::server::Server;

/// How long a connection without streams is kept.
const IDLE_CONNECTION: Duration = Duration::from_secs(60);
/// How many inbound streams of one connection may negotiate at a time; libp2p drops those beyond.
const NEGOTIATING: usize = 512;
const COMMANDS: usize = 64;

/// An identity, transports, a server and a client, running on the runtime `R`.
///
/// Dropping it ends its connections; [`shutdown`](Self::shutdown) does so in good order.
pub struct Node<R> {
    peer: PeerId,
    client: Client,
    server: Server,
    commands: mpsc::Sender<Command>,
    connect_timeout: Duration,
    runtime: PhantomData<fn() -> R>,
}

/// Collects what a [`Node`] starts with.
#[derive(Debug)]
#[must_use = "call build"]
pub struct NodeBuilder<R> {
    keypair: Option<Keypair>,
    listen: Vec<Multiaddr>,
    external: Vec<Multiaddr>,
    client: ClientConfig,
    server: ServerConfig,
    relay: Option<RelayConfig>,
    runtime: PhantomData<fn() -> R>,
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
    Transport(#[from] std::io::Error),
    /// A listen address cannot be used. Is another program listening there?
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// What the transport says.
        reason: String,
    },
}

/// Why a connection was not made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// A node cannot connect to itself.
    #[error("a node cannot connect to itself")]
    SelfDial,
    /// Nobody answers at the address, or not as the peer that was expected.
    #[error("cannot connect to {address}: {reason}")]
    Unreachable {
        /// The address.
        address: Multiaddr,
        /// What the transport says.
        reason: String,
    },
    /// No connection within `connect_timeout`.
    #[error("no connection to {address} within {after:?}")]
    TimedOut {
        /// The address.
        address: Multiaddr,
        /// The limit.
        after: Duration,
    },
    /// The node was shut down.
    #[error("the node was shut down")]
    Shutdown,
}

#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p_swarm::derive_prelude")]
struct Parts {
    pointsub: Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    relayed: relay::client::Behaviour,
    relay: Toggle<relay::Behaviour>,
    dcutr: dcutr::Behaviour,
}

#[derive(Debug)]
enum Command {
    Connect { address: Multiaddr, done: oneshot::Sender<Result<PeerId, ConnectError>> },
    AddAddress { peer: PeerId, address: Multiaddr, done: oneshot::Sender<()> },
    Addresses { done: oneshot::Sender<Vec<Multiaddr>> },
    Shutdown { done: oneshot::Sender<()> },
}

impl<R: Runtime> Node<R> {
    /// Begins to build a node. Without further calls it has a fresh identity and listens nowhere.
    pub fn builder() -> NodeBuilder<R> {
        NodeBuilder {
            keypair: None,
            listen: Vec::new(),
            external: Vec::new(),
            client: ClientConfig::default(),
            server: ServerConfig::default(),
            relay: None,
            runtime: PhantomData,
        }
    }

    /// The name under which other peers reach this node.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.peer
    }

    /// The handle that sends requests.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The handle that registers protocols.
    #[must_use]
    pub fn server(&self) -> Server {
        self.server.clone()
    }

    /// Both handles as one.
    #[must_use]
    pub fn pointsub(&self) -> PointSub {
        PointSub::new(self.client.clone(), self.server.clone())
    }

    /// The addresses at which this node listens, each with its peer id: what another node needs
    /// for [`connect`](Self::connect). Empty after a shutdown.
    pub async fn addresses(&self) -> Vec<Multiaddr> {
        let (done, answer) = oneshot::channel();
        self.command(Command::Addresses { done }).await;
        answer.await.unwrap_or_default()
    }

    /// Connects to a peer at an address and returns the peer's id. If the address ends in
    /// `/p2p/…`, nobody else is accepted there, and it is remembered for dialling again.
    ///
    /// # Errors
    /// [`ConnectError`]
    pub async fn connect(&self, address: Multiaddr) -> Result<PeerId, ConnectError> {
        let (done, answer) = oneshot::channel();
        self.command(Command::Connect { address: address.clone(), done }).await;
        match select(answer, Delay::new(self.connect_timeout)).await {
            Either::Left((answer, _)) => answer.unwrap_or(Err(ConnectError::Shutdown)),
            Either::Right(_) => {
                Err(ConnectError::TimedOut { address, after: self.connect_timeout })
            }
        }
    }

    /// Remembers an address of a peer, for when a request has to go there.
    pub async fn add_address(&self, peer: PeerId, address: Multiaddr) {
        let (done, answer) = oneshot::channel();
        self.command(Command::AddAddress { peer, address, done }).await;
        let _gone = answer.await;
    }

    /// Stops the server (requests at work have `grace` to end), fails what the client still waits
    /// for, and closes all connections.
    pub async fn shutdown(self, grace: Duration) {
        self.pointsub().stop(grace).await;
        let (done, answer) = oneshot::channel();
        self.command(Command::Shutdown { done }).await;
        let _gone = answer.await;
    }

    async fn command(&self, command: Command) {
        // An error means that the node has ended; the answer's channel says so too.
        let _ended = self.commands.clone().send(command).await;
    }
}

impl<R> fmt::Debug for Node<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl<R: Runtime> NodeBuilder<R> {
    /// The node's identity. Default: a fresh Ed25519 key, so a new peer id at each start.
    pub fn keypair(mut self, keypair: Keypair) -> Self {
        self.keypair = Some(keypair);
        self
    }

    /// An address to listen on, such as `/ip4/0.0.0.0/tcp/4001`; may be called several times.
    /// Port 0 takes any free port.
    ///
    /// A relay's address with `/p2p/RELAY/p2p-circuit` behind it makes the node reachable through
    /// that relay, which is asked for a reservation. Relays limit what a connection may carry: by
    /// default 128 KiB and 2 min, after which it breaks, and is made anew by the next request. The
    /// two ends try to make a direct connection meanwhile (DCUtR), and use that from then on. For
    /// this to work through a NAT, give an ordinary address to listen on before that at the relay.
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
    pub fn relay_server(mut self, config: RelayConfig) -> Self {
        self.relay = Some(config);
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

    /// Starts the node and waits until it listens.
    ///
    /// # Errors
    /// [`NodeError`]
    pub async fn build(self) -> Result<Node<R>, NodeError> {
        let keypair = self.keypair.unwrap_or_else(Keypair::generate_ed25519);
        let peer = keypair.public().to_peer_id();
        let connect_timeout = self.client.connect_timeout();
        let executor: crate::Executor = std::sync::Arc::new(|future| R::spawn(future));
        let pointsub = Behaviour::new(peer, self.client, self.server, executor)?;
        let (client, server) = (pointsub.client(), pointsub.server());
        let identify = identify::Config::new("/pointsub/1".into(), keypair.public())
            .with_push_listen_addr_updates(true);
        let (circuits, relayed) = relay::client::new(peer);
        let parts = Parts {
            pointsub,
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::default(),
            relayed,
            relay: self.relay.map(|config| relay::Behaviour::new(peer, config)).into(),
            dcutr: dcutr::Behaviour::new(peer),
        };
        let config = SwarmConfig::with_executor(R::spawn)
            .with_idle_connection_timeout(IDLE_CONNECTION)
            .with_max_negotiating_inbound_streams(NEGOTIATING)
            // A sole proposal goes out with the first request, without waiting for the answer.
            .with_substream_upgrade_protocol_override(upgrade::Version::V1Lazy);
        // Ends handshakes that lead nowhere, in both directions. Whoever waits for a connection
        // gives up before, and knows why.
        let transport = with_circuits(circuits, R::transport(&keypair)?, &keypair)?;
        let transport = TransportTimeout::new(transport, connect_timeout * 2).boxed();
        let mut swarm = Swarm::new(transport, parts, peer, config);
        self.external.into_iter().for_each(|address| swarm.add_external_address(address));
        listen(&mut swarm, self.listen).await?;
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let life = Life { swarm, inbox, connecting: HashMap::new() };
        R::spawn(Box::pin(life.run()));
        Ok(Node { peer, client, server, commands, connect_timeout, runtime: PhantomData })
    }
}

type Muxed = Boxed<(PeerId, StreamMuxerBox)>;

/// Adds connections that go through a relay, encrypted from end to end like all others.
fn with_circuits(
    circuits: relay::client::Transport,
    direct: Muxed,
    keypair: &Keypair,
) -> std::io::Result<Muxed> {
    let noise = noise::Config::new(keypair).map_err(std::io::Error::other)?;
    let circuits = circuits
        .upgrade(upgrade::Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    Ok(circuits.or_transport(direct).map(|either, _| either.into_inner()).boxed())
}

/// Waits until every address is listened on.
async fn listen(swarm: &mut Swarm<Parts>, addresses: Vec<Multiaddr>) -> Result<(), NodeError> {
    let mut waiting: HashSet<ListenerId> = HashSet::new();
    let failed = |address, reason| NodeError::Listen { address, reason };
    for address in addresses {
        let id = swarm.listen_on(address.clone());
        waiting.insert(id.map_err(|error| failed(address, error.to_string()))?);
    }
    while !waiting.is_empty() {
        match swarm.select_next_some().await {
            SwarmEvent::NewListenAddr { listener_id, .. } => {
                waiting.remove(&listener_id);
            }
            SwarmEvent::ListenerClosed { listener_id, addresses, reason }
                if waiting.contains(&listener_id) =>
            {
                let address = addresses.into_iter().next().unwrap_or_else(Multiaddr::empty);
                let reason = reason.err().map_or_else(String::new, |error| error.to_string());
                return Err(failed(address, reason));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The task that polls the swarm for as long as the node lives.
struct Life {
    swarm: Swarm<Parts>,
    inbox: mpsc::Receiver<Command>,
    connecting: HashMap<ConnectionId, Connecting>,
}

struct Connecting {
    address: Multiaddr,
    done: oneshot::Sender<Result<PeerId, ConnectError>>,
}

impl Life {
    async fn run(mut self) {
        loop {
            futures::select! {
                event = self.swarm.select_next_some() => self.on_event(event),
                command = self.inbox.next() => match command {
                    Some(Command::Shutdown { done }) => {
                        drop(self);
                        let _gone = done.send(());
                        return;
                    }
                    Some(command) => self.on_command(command),
                    None => return,
                },
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Connect { address, done } => self.connect(address, done),
            Command::AddAddress { peer, address, done } => {
                self.swarm.behaviour_mut().pointsub.add_address(peer, address);
                let _gone = done.send(());
            }
            Command::Addresses { done } => {
                let peer = *self.swarm.local_peer_id();
                // An address at a relay ends in the peer id already.
                let with_peer = |address: &Multiaddr| {
                    address.clone().with_p2p(peer).unwrap_or_else(|address| address)
                };
                let _gone = done.send(self.swarm.listeners().map(with_peer).collect());
            }
            Command::Shutdown { .. } => {}
        }
    }

    fn connect(&mut self, address: Multiaddr, done: oneshot::Sender<Result<PeerId, ConnectError>>) {
        let peer = peer_of(&address);
        let own = self.swarm.listeners().any(|own| *own == address);
        if own || peer == Some(*self.swarm.local_peer_id()) {
            let _gone = done.send(Err(ConnectError::SelfDial));
            return;
        }
        let opts = match peer {
            Some(peer) => {
                self.swarm.behaviour_mut().pointsub.add_address(peer, address.clone());
                if self.swarm.is_connected(&peer) {
                    let _gone = done.send(Ok(peer));
                    return;
                }
                let opts = DialOpts::peer_id(peer).addresses(vec![address.clone()]);
                opts.condition(PeerCondition::Always).allocate_new_port().build()
            }
            None => {
                let opts = DialOpts::unknown_peer_id().address(address.clone());
                opts.allocate_new_port().build()
            }
        };
        let id = opts.connection_id();
        match self.swarm.dial(opts) {
            Ok(()) => {
                self.connecting.insert(id, Connecting { address, done });
            }
            Err(error) => drop(done.send(Err(dial_error(address, &error)))),
        }
    }

    fn on_event(&mut self, event: SwarmEvent<PartsEvent>) {
        match event {
            SwarmEvent::ConnectionEstablished { connection_id, peer_id, .. } => {
                if let Some(connecting) = self.connecting.remove(&connection_id) {
                    let pointsub = &mut self.swarm.behaviour_mut().pointsub;
                    pointsub.add_address(peer_id, connecting.address);
                    let _gone = connecting.done.send(Ok(peer_id));
                }
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                if let Some(Connecting { address, done }) = self.connecting.remove(&connection_id) {
                    let error = dial_error(address, &error);
                    let _gone = done.send(Err(error));
                }
            }
            SwarmEvent::Behaviour(event) => tracing::trace!(?event),
            _ => {}
        }
    }
}

fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last()? {
        Protocol::P2p(peer) => Some(peer),
        _ => None,
    }
}

fn dial_error(address: Multiaddr, error: &DialError) -> ConnectError {
    match error {
        DialError::LocalPeerId { .. } => ConnectError::SelfDial,
        error => ConnectError::Unreachable { address, reason: error.to_string() },
    }
}
