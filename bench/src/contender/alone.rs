//! This library's behaviour in a swarm that has no other: what it costs above libp2p's own.

use std::sync::Arc;

use libp2p_identity::Keypair;
use libp2p_swarm::{NetworkBehaviour, Swarm};
use pointsub_tokio::{Behaviour, ClientConfig, ProtocolName, Runtime, ServerConfig, Tokio};

use super::pointsub::{Connected, echo};
use super::{ECHO, Failure, stack};

/// Serves on tokio; `wrap` makes something else of the behaviour.
pub(super) async fn serve<B: NetworkBehaviour + Send>(
    config: &ServerConfig,
    wrap: impl FnOnce(Behaviour) -> B,
) -> Result<String, Failure> {
    let mut swarm = swarm(&ClientConfig::default(), config, |behaviour| {
        behaviour.server().register(&ProtocolName::new(ECHO)?, echo)?;
        Ok(wrap(behaviour))
    })?;
    let address = stack::listen(&mut swarm).await?;
    tokio::spawn(stack::run(swarm));
    Ok(address)
}

/// Connects to all those servers.
pub(super) async fn connect(
    addresses: &[&str],
    config: &ClientConfig,
) -> Result<Vec<Connected>, Failure> {
    let mut swarm = swarm(config, &ServerConfig::default(), Ok)?;
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
    client: &ClientConfig,
    server: &ServerConfig,
    wrap: impl FnOnce(Behaviour) -> Result<B, Failure>,
) -> Result<Swarm<B>, Failure> {
    let keypair = Keypair::generate_ed25519();
    let local = keypair.public().to_peer_id();
    let executor = Arc::new(Tokio::spawn);
    let behaviour = Behaviour::new(local, client.clone(), server.clone(), executor)?;
    Ok(stack::swarm_over(Tokio::transport(&keypair)?, wrap(behaviour)?, &keypair))
}
