//! PointSub beside other behaviours, in a swarm of the `libp2p` crate.

use std::error::Error;
use std::time::Duration;

use libp2p::core::upgrade::Version;
use libp2p::futures::StreamExt;
use libp2p::identity::Keypair;
use libp2p::swarm::{Config, NetworkBehaviour, Swarm, SwarmEvent};
use libp2p::{SwarmBuilder, ping};
use pointsub_tokio::{Behaviour, ClientConfig, ProtocolName, Request, ServerConfig, Tokio};

#[derive(NetworkBehaviour)]
struct Mine {
    pointsub: Behaviour,
    ping: ping::Behaviour,
}

fn swarm() -> Result<Swarm<Mine>, Box<dyn Error>> {
    let builder = SwarmBuilder::with_new_identity().with_tokio();
    // TCP, QUIC and DNS names, with the connection driver. `build` ends handshakes that take too long.
    let transport = |keypair: &Keypair| Ok(pointsub_tokio::transport(keypair)?);
    let builder = builder.with_other_transport(transport)?;
    let builder = builder.with_behaviour(|keypair| {
        let (client, server) = (ClientConfig::default(), ServerConfig::default());
        let local = keypair.public().to_peer_id();
        let pointsub = Behaviour::new(local, client, server, Tokio::current())?;
        Ok(Mine { pointsub, ping: ping::Behaviour::default() })
    })?;
    Ok(builder.with_swarm_config(config).build())
}

/// What a node of PointSub sets too.
fn config(config: Config) -> Config {
    config
        // A new stream to a peer that has answered before costs no round trip.
        .with_substream_upgrade_protocol_override(Version::V1Lazy)
        // While more inbound streams than this negotiate, libp2p drops further ones.
        .with_max_negotiating_inbound_streams(512)
        .with_idle_connection_timeout(Duration::from_secs(60))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let double = ProtocolName::new("/double/1.0.0")?;

    let mut server = swarm()?;
    let peer = *server.local_peer_id();
    let handler = |request: Request| async move { Ok::<_, std::io::Error>(request.body.repeat(2)) };
    server.behaviour().pointsub.server().register(&double, handler)?;
    server.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = server.select_next_some().await {
            break address;
        }
    };
    tokio::spawn(server.for_each(|_| async {}));

    let mut swarm = swarm()?;
    // The behaviour dials by itself. The handle works on any task.
    swarm.behaviour_mut().pointsub.add_address(peer, address);
    let client = swarm.behaviour().pointsub.client();
    tokio::spawn(swarm.for_each(|_| async {}));
    let answer = client.send(peer, &double, "ab").await?;
    assert_eq!(answer, "abab");
    println!("{peer} answered {answer:?}");
    Ok(())
}
