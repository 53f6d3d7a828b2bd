//! This library's behaviour in a swarm of one's own, over the transport of its nodes or libp2p's.

use libp2p_core::upgrade::Version;
use libp2p_identity::Keypair;
use libp2p_swarm::{NetworkBehaviour, Swarm};
use pointsub_tokio::{Behaviour, ClientConfig, ProtocolName, ServerConfig, Tokio};

use super::pointsub::{Connected, echo};
use super::{ECHO, Failure, stack};

/// What makes a transport for a key.
type Transport = fn(&Keypair) -> Result<stack::Transport, Failure>;

fn ours(keypair: &Keypair) -> Result<stack::Transport, Failure> {
    Ok(pointsub_tokio::transport(keypair)?)
}

/// Serves on tokio; `wrap` makes something else of the behaviour.
pub(super) async fn serve<B: NetworkBehaviour + Send>(
    config: &ServerConfig,
    wrap: impl FnOnce(Behaviour) -> B,
) -> Result<String, Failure> {
    serve_over(ours, config, wrap).await
}

/// The same over libp2p's stock transport.
pub(super) async fn serve_stock(config: &ServerConfig) -> Result<String, Failure> {
    serve_over(stack::transport, config, |behaviour| behaviour).await
}

/// Connects to all those servers.
pub(super) async fn connect(
    addresses: &[&str],
    config: &ClientConfig,
) -> Result<Vec<Connected>, Failure> {
    connect_over(ours, addresses, config).await
}

/// The same over libp2p's stock transport.
pub(super) async fn connect_stock(
    addresses: &[&str],
    config: &ClientConfig,
) -> Result<Vec<Connected>, Failure> {
    connect_over(stack::transport, addresses, config).await
}

async fn serve_over<B: NetworkBehaviour + Send>(
    transport: Transport,
    config: &ServerConfig,
    wrap: impl FnOnce(Behaviour) -> B,
) -> Result<String, Failure> {
    let mut swarm = swarm(transport, &ClientConfig::default(), config, |behaviour| {
        behaviour.server().register(&ProtocolName::new(ECHO)?, echo)?;
        Ok(wrap(behaviour))
    })?;
    let address = stack::listen(&mut swarm).await?;
    tokio::spawn(stack::run(swarm));
    Ok(address)
}

async fn connect_over(
    transport: Transport,
    addresses: &[&str],
    config: &ClientConfig,
) -> Result<Vec<Connected>, Failure> {
    let mut swarm = swarm(transport, config, &ServerConfig::default(), Ok)?;
    let client = swarm.behaviour().client();
    let mut callers = Vec::new();
    for address in addresses {
        let peer = stack::dial(&mut swarm, address).await?;
        callers.push(Connected::new(client.clone(), peer)?);
    }
    tokio::spawn(stack::run(swarm));
    Ok(callers)
}

fn swarm<B: NetworkBehaviour>(
    transport: Transport,
    client: &ClientConfig,
    server: &ServerConfig,
    wrap: impl FnOnce(Behaviour) -> Result<B, Failure>,
) -> Result<Swarm<B>, Failure> {
    let keypair = Keypair::generate_ed25519();
    let local = keypair.public().to_peer_id();
    let behaviour = Behaviour::new(local, client.clone(), server.clone(), Tokio::current())?;
    // As the documentation of `pointsub_tokio::transport` recommends.
    let config = stack::config().with_substream_upgrade_protocol_override(Version::V1Lazy);
    Ok(stack::swarm_over(transport(&keypair)?, wrap(behaviour)?, &keypair, config))
}
