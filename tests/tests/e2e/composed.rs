//! The behaviour beside others in somebody's own swarm.

use std::time::Duration;

use futures::channel::mpsc;
use futures::{FutureExt, StreamExt};
use libp2p_identify as identify;
use libp2p_identity::Keypair;
use libp2p_ping as ping;
use libp2p_swarm::{Config, NetworkBehaviour, Swarm, SwarmEvent};
use pointsub_swarm::{Behaviour, Multiaddr, PeerId, Request, Runtime, Server, ServerConfig};

use crate::common::*;
use crate::raw::{NATIVE, PLAIN};
use crate::support::rt;

#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p_swarm::derive_prelude")]
struct Mine {
    ping: ping::Behaviour,
    pointsub: Behaviour,
    identify: identify::Behaviour,
}

struct Composed {
    peer: PeerId,
    address: Multiaddr,
    client: pointsub_swarm::Client,
    server: Server,
    events: mpsc::UnboundedReceiver<SwarmEvent<MineEvent>>,
    dial: mpsc::UnboundedSender<Multiaddr>,
}

impl Composed {
    async fn start() -> Self {
        let keypair = Keypair::generate_ed25519();
        let peer = keypair.public().to_peer_id();
        let pointsub = Behaviour::new(peer, once(), ServerConfig::default(), rt())
            .expect("defaults are valid");
        let (client, server) = (pointsub.client(), pointsub.server());
        let identify = identify::Config::new("/mine/1".into(), keypair.public());
        let mine = Mine {
            ping: ping::Behaviour::default(),
            pointsub,
            identify: identify::Behaviour::new(identify),
        };
        let config = Config::with_executor(|task| rt().spawn(task))
            .with_idle_connection_timeout(Duration::from_secs(600));
        let transport = transport(&keypair);
        let mut swarm = Swarm::new(transport, mine, peer, config);
        swarm.listen_on(loopback()).expect("loopback can be listened on");
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address.with_p2p(peer).expect("the address has no peer yet");
            }
        };
        let (tell, events) = mpsc::unbounded();
        let (dial, mut dials) = mpsc::unbounded::<Multiaddr>();
        let life = async move {
            loop {
                futures::select! {
                    event = swarm.select_next_some() => drop(tell.unbounded_send(event)),
                    address = dials.next() => match address {
                        Some(address) => swarm.dial(address).expect("an address"),
                        None => return,
                    },
                }
            }
        };
        rt().spawn(life.boxed());
        Self { peer, address, client, server, events, dial }
    }

    /// The next thing that happens of which `pick` makes something.
    async fn next<T>(&mut self, mut pick: impl FnMut(MineEvent) -> Option<T>) -> T {
        loop {
            let event = self.events.next().await.expect("the swarm lives");
            if let SwarmEvent::Behaviour(event) = event
                && let Some(picked) = pick(event)
            {
                return picked;
            }
        }
    }
}

/// The protocols of the peer that identify tells of.
fn protocols(event: MineEvent) -> Option<Vec<String>> {
    match event {
        MineEvent::Identify(identify::Event::Received { info, .. }) => {
            Some(info.protocols.iter().map(ToString::to_string).collect())
        }
        _ => None,
    }
}

/// W8.
#[test]
fn a_composed_behaviour_and_a_node_ask_each_other() {
    run(async {
        let mine = Composed::start().await;
        mine.server.register(&echo_name(), echo).expect("first");
        let node = echo_server(ServerConfig::default()).await;
        assert_eq!(node.connect(mine.address.clone()).await.expect("it listens"), mine.peer);
        for number in 0..50 {
            let body = format!("request {number}");
            check_echo(&node, mine.peer, body.clone()).await;
            let answer = mine.client.send(node.peer_id(), &echo_name(), body.clone()).await;
            assert_eq!(answer.expect("an echo"), body);
        }
        assert_eq!((mine.server.stats().ok, mine.client.stats().ok), (50, 50));
    });
}

#[test]
fn the_other_behaviours_of_a_swarm_keep_working() {
    run(async {
        let mut mine = Composed::start().await;
        let node = echo_server(ServerConfig::default()).await;
        let peer = node.peer_id();
        mine.dial.unbounded_send(address(&node).await).expect("the swarm lives");
        let listed = mine.next(protocols).await;
        assert!(listed.iter().any(|name| name == NATIVE), "{listed:?}");
        assert!(listed.iter().any(|name| name == PLAIN), "{listed:?}");
        mine.next(|event| match event {
            MineEvent::Ping(ping) => {
                ping.result.expect("a pong");
                (ping.peer == peer).then_some(())
            }
            _ => None,
        })
        .await;
    });
}

/// Peers learn through identify what is registered later, in both formats.
#[test]
fn identify_tells_of_protocols_registered_later() {
    run(async {
        let mut mine = Composed::start().await;
        let node = start(ServerConfig::default(), once()).await;
        mine.dial.unbounded_send(address(&node).await).expect("the swarm lives");
        let listed = mine.next(protocols).await;
        assert!(!listed.iter().any(|name| name.contains("/echo/")), "{listed:?}");
        let handler = |request: Request| async move { request.body };
        node.server().register(&echo_name(), handler).expect("first");
        let both =
            |listed: &[String]| [NATIVE, PLAIN].iter().all(|n| listed.iter().any(|l| l == n));
        while !both(&mine.next(protocols).await) {}
        node.server().unregister(&echo_name());
        while mine.next(protocols).await.iter().any(|name| name.contains("/echo/")) {}
    });
}
