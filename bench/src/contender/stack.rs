//! The stock libp2p of the contenders that are not ours: TCP without Nagle's delay, Noise, Yamux,
//! with the settings that these crates have by themselves.

use std::time::Duration;

use futures::StreamExt;
use libp2p_core::muxing::StreamMuxerBox;
use libp2p_core::transport::Boxed;
use libp2p_core::upgrade::Version;
use libp2p_core::{Multiaddr, Transport as _};
use libp2p_identity::{Keypair, PeerId};
use libp2p_swarm::{Config, NetworkBehaviour, Swarm, SwarmEvent};

use super::Failure;

/// Longer than any measurement.
const IDLE: Duration = Duration::from_secs(600);
/// How many inbound streams may negotiate at a time; beyond that libp2p drops them.
const NEGOTIATING: usize = 512;

/// A swarm on tokio with a fresh identity.
pub(super) fn swarm<B: NetworkBehaviour>(behaviour: B) -> Result<Swarm<B>, Failure> {
    let keypair = Keypair::generate_ed25519();
    Ok(swarm_over(transport(&keypair)?, behaviour, &keypair, config()))
}

/// A connection's peer and its streams.
pub(super) type Transport = Boxed<(PeerId, StreamMuxerBox)>;

/// On tokio.
pub(super) fn transport(keypair: &Keypair) -> Result<Transport, Failure> {
    let tcp = libp2p_tcp::Config::default().nodelay(true);
    Ok(libp2p_tcp::tokio::Transport::new(tcp)
        .upgrade(Version::V1Lazy)
        .authenticate(libp2p_noise::Config::new(keypair)?)
        .multiplex(libp2p_yamux::Config::default())
        .boxed())
}

/// On tokio.
pub(super) fn config() -> Config {
    let spawn = |future| drop(tokio::spawn(future));
    Config::with_executor(spawn)
        .with_idle_connection_timeout(IDLE)
        .with_max_negotiating_inbound_streams(NEGOTIATING)
}

/// A swarm on tokio over a transport.
pub(super) fn swarm_over<B: NetworkBehaviour>(
    transport: Transport,
    behaviour: B,
    keypair: &Keypair,
    config: Config,
) -> Swarm<B> {
    Swarm::new(transport, behaviour, keypair.public().to_peer_id(), config)
}

/// Listens on loopback; returns the address with the peer id.
pub(super) async fn listen<B: NetworkBehaviour>(swarm: &mut Swarm<B>) -> Result<String, Failure> {
    swarm.listen_on(super::TCP.parse()?)?;
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            return Ok(format!("{address}/p2p/{}", swarm.local_peer_id()));
        }
    }
}

/// Connects to whoever listens at `address`.
pub(super) async fn dial<B: NetworkBehaviour>(
    swarm: &mut Swarm<B>,
    address: &str,
) -> Result<PeerId, Failure> {
    swarm.dial(address.parse::<Multiaddr>()?)?;
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::ConnectionEstablished { peer_id, .. } => return Ok(peer_id),
            SwarmEvent::OutgoingConnectionError { error, .. } => return Err(error.into()),
            _ => {}
        }
    }
}

/// Polls a swarm of whose events none matters.
pub(super) async fn run<B: NetworkBehaviour>(mut swarm: Swarm<B>) {
    loop {
        swarm.select_next_some().await;
    }
}
