//! Servers that are found in a table which the nodes of a network keep together, and members that lie.

use std::borrow::Cow;
use std::iter::{Empty, empty};
use std::time::Duration;

use futures::future::join_all;
use futures::{FutureExt, StreamExt};
use libp2p_identify as identify;
use libp2p_identity::Keypair;
use libp2p_kad as kad;
use libp2p_kad::store::RecordStore;
use libp2p_kad::{ProviderRecord, Record, RecordKey};
use libp2p_swarm::{Config, NetworkBehaviour, StreamProtocol, Swarm, SwarmEvent};
use pointsub_swarm::{
    CandidateState, Cause, ClientConfig, Discover, Kademlia, Multiaddr, NetworkSecret, Part,
    PeerId, Runtime, Source,
};

use crate::common::*;
use crate::support::rt;

const OURS: &str = "what only members know";

/// A client that waits longer than it takes that others have told where they are.
fn waits(time: Duration) -> ClientConfig {
    once().with_connect_timeout(time)
}

fn network(secret: &str) -> Kademlia {
    Kademlia::new(NetworkSecret::from_phrase(secret))
}

async fn node(network: Kademlia, config: ClientConfig) -> Node {
    let node = Node::builder().listen(loopback()).client_config(config);
    node.discover(Discover::manual()).kademlia(network).build().await.expect("a node")
}

/// The first node of a network, whose address is all that others know.
async fn first() -> Node {
    node(network(OURS).trusted(), once()).await
}

/// A node that knows one other.
async fn member(first: &Node) -> Node {
    let known = network(OURS).bootstrap([address(first).await]);
    node(known, waits(Duration::from_secs(30))).await
}

/// The same, and it serves this.
async fn serving(first: &Node, served: &str) -> Node {
    let node = member(first).await;
    node.server().register(&name(served), echo).expect("first");
    node
}

#[test]
fn servers_are_found_by_those_who_know_one_node_alone() {
    run(async {
        let first = first().await;
        let served = ["/a/1", "/b/1", "/c/1", "/d/1"];
        let servers = join_all(served.map(|served| serving(&first, served))).await;
        let clients = [member(&first).await, member(&first).await];
        for client in &clients {
            for (served, server) in served.iter().zip(&servers) {
                let answer = client.client().send_closest(&name(served), "x").await;
                let answer = answer.expect("it is found");
                let how = (answer.peer(), answer.source());
                assert_eq!(how, (server.peer_id(), Some(Source::Dht)), "{served}");
            }
        }
        let answer = servers[0].client().send_closest(&name("/b/1"), "x").await;
        assert_eq!(answer.expect("servers find each other").peer(), servers[1].peer_id());
        let answer = first.client().send_closest(&name("/c/1"), "x").await;
        assert_eq!(answer.expect("the first one finds them too").peer(), servers[2].peer_id());
    });
}

/// A caller that comes first waits for a server that comes later, and one that goes is not asked any more.
#[test]
fn a_server_that_comes_is_found_and_one_that_goes_is_not_asked_any_more() {
    run(async {
        let first = first().await;
        let node = member(&first).await;
        let client = node.client();
        let waiting = spawn(async move { client.send_closest(&name("/a/1"), "x").await });
        let old = serving(&first, "/a/1").await;
        assert_eq!(waiting.await.expect("it is found").peer(), old.peer_id());
        old.shutdown(Duration::ZERO).await;
        while !node.client().server_nodes(&name("/a/1")).is_empty() {
            // It is dialled in vain.
            let _failed = node.client().send_closest(&name("/a/1"), "x").await;
        }
        let new = serving(&first, "/a/1").await;
        for _ in 0..10 {
            let answer = node.client().send_closest(&name("/a/1"), "x").await;
            assert_eq!(answer.expect("it is found").peer(), new.peer_id());
        }
        assert_eq!(node.client().server_nodes(&name("/a/1")), [new.peer_id()]);
    });
}

/// The table still has a server that does not serve any more. It is asked itself, and gets no request.
#[test]
fn who_is_listed_and_does_not_serve_is_not_used() {
    run(async {
        let first = first().await;
        let [gone, honest] = [serving(&first, "/a/1").await, serving(&first, "/a/1").await];
        let early = member(&first).await;
        early.client().wait_for_server(&name("/a/1")).await.expect("they are listed");
        until(|| early.client().server_nodes(&name("/a/1")).len() == 2).await;
        assert!(gone.server().unregister(&name("/a/1")));
        let late = member(&first).await;
        for _ in 0..10 {
            let answer = late.client().send_closest(&name("/a/1"), "x").await;
            assert_eq!(answer.expect("one serves").peer(), honest.peer_id());
        }
        until(|| early.client().server_nodes(&name("/a/1")) == [honest.peer_id()]).await;
        assert_eq!(late.client().server_nodes(&name("/a/1")), [honest.peer_id()]);
    });
}

/// Who asks does not have to listen, nor to keep a part of the table.
#[test]
fn a_node_that_listens_nowhere_finds_servers() {
    run(async {
        let first = first().await;
        let server = serving(&first, "/a/1").await;
        let known = network(OURS).bootstrap([address(&first).await]).part(Part::Asker);
        let node = Node::builder().client_config(waits(Duration::from_secs(30)));
        let node = node.discover(Discover::manual()).kademlia(known).build().await;
        let node = node.expect("a node");
        let answer = node.client().send_closest(&name("/a/1"), "x").await.expect("it is found");
        assert_eq!(answer.peer(), server.peer_id());
    });
}

#[test]
fn a_node_with_another_secret_finds_nothing() {
    run(async {
        let first = first().await;
        let _server = serving(&first, "/a/1").await;
        let member = member(&first).await;
        member.client().send_closest(&name("/a/1"), "x").await.expect("members find it");
        let known = network("another secret").bootstrap([address(&first).await]);
        let stranger = node(known, waits(Duration::from_secs(1))).await;
        let error = stranger.client().send_closest(&name("/a/1"), "x").await.expect_err("nobody");
        let asked = [Source::Dht].into_iter().collect();
        assert_eq!(error.error.cause, Cause::NoServerFound { asked });
        assert!(error.to_string().contains("the DHT"), "{error}");
    });
}

/// Says that it and many others serve everything.
struct Claims(PeerId, Vec<PeerId>);

impl RecordStore for Claims {
    type RecordsIter<'a> = Empty<Cow<'a, Record>>;
    type ProvidedIter<'a> = Empty<Cow<'a, ProviderRecord>>;

    fn get(&self, _: &RecordKey) -> Option<Cow<'_, Record>> {
        None
    }

    fn put(&mut self, _: Record) -> kad::store::Result<()> {
        Ok(())
    }

    fn remove(&mut self, _: &RecordKey) {}

    fn records(&self) -> Self::RecordsIter<'_> {
        empty()
    }

    fn add_provider(&mut self, _: ProviderRecord) -> kad::store::Result<()> {
        Ok(())
    }

    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        let nobody: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().expect("an address");
        let of = |peer: &PeerId| ProviderRecord::new(key.clone(), *peer, vec![nobody.clone()]);
        let own = ProviderRecord::new(key.clone(), self.0, Vec::new());
        [own].into_iter().chain(self.1.iter().map(of)).collect()
    }

    fn provided(&self) -> Self::ProvidedIter<'_> {
        empty()
    }

    fn remove_provider(&mut self, _: &RecordKey, _: &PeerId) {}
}

#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p_swarm::derive_prelude")]
struct Liar {
    kad: kad::Behaviour<Claims>,
    identify: identify::Behaviour,
}

impl Liar {
    /// Takes part in the network, and lies there.
    async fn start(first: &Node) -> PeerId {
        let keypair = Keypair::generate_ed25519();
        let peer = keypair.public().to_peer_id();
        let protocol = NetworkSecret::from_phrase(OURS).protocol();
        let protocol = StreamProtocol::try_from_owned(protocol).expect("a name");
        let others = (0..100).map(|_| PeerId::random()).collect();
        let mut kad =
            kad::Behaviour::with_config(peer, Claims(peer, others), kad::Config::new(protocol));
        kad.set_mode(Some(kad::Mode::Server));
        let identify = identify::Config::new("/liar/1".into(), keypair.public());
        let liar = Self { kad, identify: identify::Behaviour::new(identify) };
        let config = Config::with_executor(|task| rt().spawn(task))
            .with_idle_connection_timeout(Duration::from_secs(600));
        let mut swarm = Swarm::new(transport(&keypair), liar, peer, config);
        swarm.listen_on(loopback()).expect("loopback can be listened on");
        swarm.dial(address(first).await).expect("an address");
        loop {
            let event = swarm.select_next_some().await;
            if let SwarmEvent::Behaviour(LiarEvent::Kad(kad::Event::RoutingUpdated { .. })) = event
            {
                break;
            }
        }
        rt().spawn(
            async move {
                loop {
                    swarm.select_next_some().await;
                }
            }
            .boxed(),
        );
        peer
    }
}

/// Members that claim every service are asked what they serve, and get no request; honest servers are found.
#[test]
fn members_that_claim_every_service_are_not_used() {
    run(async {
        let first = first().await;
        let liars = [Liar::start(&first).await, Liar::start(&first).await];
        let honest = serving(&first, "/a/1").await;
        let node = member(&first).await;
        let client = node.client();
        for _ in 0..10 {
            let answer = client.send_closest(&name("/a/1"), "x").await.expect("one serves");
            assert_eq!(answer.peer(), honest.peer_id());
        }
        assert_eq!(client.server_nodes(&name("/a/1")), [honest.peer_id()]);
        let claimed = client.server_nodes_info(&name("/a/1")).into_iter();
        let mut serving = claimed.filter(|info| info.state == CandidateState::Serving);
        assert!(serving.all(|info| !liars.contains(&info.node)));
    });
}
