//! Servers that are found through registries, and registries and strangers that lie.

use futures::future::join_all;
use pointsub_service::registry::{
    self, Accepted, Announcement, Change, Listed, RecordError, Registry, RegistryClient,
    RegistryError, RegistryServer, RegistryService, RegistryUse,
};
use pointsub_service::{CallError, Cx, Rx, Streaming, Tx};
use pointsub_swarm::{
    Bytes, Cause, ClientConfig, Discover, Keypair, Multiaddr, PeerId, PeerRecord, ServerConfig,
    Source, StatusCode,
};

use crate::common::*;

type Watch = Streaming<pointsub_service::Never, Change, (), RegistryError>;

/// A node that serves a registry for everybody.
async fn registry() -> (Node, RegistryService) {
    let node = start(ServerConfig::default(), once()).await;
    let service = RegistryService::new(node.server());
    service.serve().expect("first");
    (node, service)
}

async fn at(registries: &[&Node]) -> Discover {
    let addresses = join_all(registries.iter().map(|registry| address(registry))).await;
    registry::discover(addresses).expect("each has a Peer ID").without_connected()
}

/// A node that knows these registries, and nothing else.
async fn member(registries: &[&Node]) -> Node {
    let node = Node::builder().listen(loopback()).client_config(once());
    node.discover(at(registries).await).build().await.expect("a node")
}

/// The same, and it serves the echo.
async fn serving(registries: &[&Node]) -> Node {
    let node = member(registries).await;
    node.server().register(&echo_name(), echo).expect("first");
    node
}

/// A client of a registry, by hand.
async fn client_at(node: &Node, registry: &Node) -> RegistryClient {
    connect(node, registry).await;
    RegistryClient::peer(node.client(), registry.peer_id())
}

async fn watch(client: &RegistryClient) -> Watch {
    client.watch(echo_name().as_str().to_owned()).await.expect("it is open")
}

async fn next(watch: &mut Watch) -> Change {
    watch.recv().await.expect("it goes on").expect("there is more")
}

fn gone(peer: PeerId) -> Change {
    Change::Gone(peer.to_bytes().into())
}

/// What a peer says of itself that serves the echo.
fn says(keypair: &Keypair, at: &str) -> Announcement {
    let at: Multiaddr = at.parse().expect("an address");
    let record = PeerRecord::new_interop(keypair, vec![at]).expect("the key can sign");
    Announcement::new(vec![echo_name().as_str().to_owned()], &record)
}

#[test]
fn a_server_is_found_by_those_who_know_a_registry_alone() {
    run(async {
        let (hub, service) = registry().await;
        let server = serving(&[&hub]).await;
        let node = member(&[&hub]).await;
        let answer = node.client().send_closest(&echo_name(), "x").await.expect("it is found");
        assert_eq!((answer.peer(), answer.source()), (server.peer_id(), Some(Source::Registry)));
        assert_eq!(service.size().servers, 1, "who serves nothing is not listed");
    });
}

/// A caller that comes first waits for a server that comes later.
#[test]
fn whoever_waits_is_told_of_a_server_that_comes_and_of_one_that_goes() {
    run(async {
        let (hub, _service) = registry().await;
        let node = member(&[&hub]).await;
        let client = node.client();
        let waiting = spawn(async move { client.send_closest(&echo_name(), "x").await });
        let server = serving(&[&hub]).await;
        assert_eq!(waiting.await.expect("it is found").peer(), server.peer_id());

        assert!(server.server().unregister(&echo_name()));
        until(|| node.client().server_nodes(&echo_name()).is_empty()).await;
        server.server().register(&echo_name(), echo).expect("it is free");
        until(|| node.client().server_nodes(&echo_name()) == [server.peer_id()]).await;
        drop(server);
        until(|| node.client().server_nodes(&echo_name()).is_empty()).await;
    });
}

#[test]
fn an_entry_has_what_its_server_says_and_goes_with_it() {
    run(async {
        let (hub, service) = registry().await;
        let node = client(once()).await;
        let mut watch = watch(&client_at(&node, &hub).await).await;
        assert_eq!(
            [next(&mut watch).await, next(&mut watch).await],
            [Change::Begin, Change::Complete]
        );
        let server = serving(&[&hub]).await;
        let Change::Here(listed) = next(&mut watch).await else { panic!("it is listed") };
        let (peer, addresses) = listed.read().expect("it has signed it");
        assert_eq!((peer, listed.load), (server.peer_id(), 0));
        let mut own = address(&server).await;
        own.pop();
        assert!(addresses.contains(&own), "{addresses:?}");

        assert!(server.server().unregister(&echo_name()));
        while next(&mut watch).await != gone(peer) {}
        assert_eq!(service.size().servers, 0, "it serves nothing");
        server.server().register(&echo_name(), echo).expect("it is free");
        assert!(matches!(next(&mut watch).await, Change::Here(_)));
        // The connection is cut, and comes back.
        assert!(hub.disconnect(peer).await);
        while next(&mut watch).await != gone(peer) {}
        assert!(matches!(next(&mut watch).await, Change::Here(_)));
        drop(server);
        while next(&mut watch).await != gone(peer) {}
        assert_eq!((service.size().servers, service.size().watches), (0, 1));
        drop(watch);
        until(|| service.size().watches == 0).await;
    });
}

#[test]
fn one_of_two_registries_is_enough() {
    run(async {
        let [(first, _), (second, service)] = [registry().await, registry().await];
        let server = serving(&[&first, &second]).await;
        let node = member(&[&first, &second]).await;
        node.client().send_closest(&echo_name(), "x").await.expect("it is found");
        until(|| service.size().servers == 1).await;
        drop(first);
        let other = member(&[&second]).await;
        let answer = other.client().send_closest(&echo_name(), "x").await.expect("it is found");
        assert_eq!(answer.peer(), server.peer_id());
        node.client().send_closest(&echo_name(), "x").await.expect("it is known");
    });
}

#[test]
fn a_registry_that_restarts_hears_of_everybody_again() {
    run(async {
        let keypair = Keypair::generate_ed25519();
        let start = async |at: Multiaddr| {
            let node = Node::builder().keypair(keypair.clone()).listen(at);
            let node = node.build().await.expect("the port is free");
            let service = RegistryService::new(node.server());
            service.serve().expect("first");
            (node, service)
        };
        let (hub, service) = start(loopback()).await;
        let mut address = address(&hub).await;
        let server = serving(&[&hub]).await;
        let node = member(&[&hub]).await;
        node.client().send_closest(&echo_name(), "x").await.expect("it is found");
        hub.shutdown(std::time::Duration::ZERO).await;
        drop((hub, service));

        address.pop();
        let (hub, service) = start(address).await;
        until(|| service.size().servers == 1 && service.size().watches > 0).await;
        let other = member(&[&hub]).await;
        let answer = other.client().send_closest(&echo_name(), "x").await.expect("it is found");
        assert_eq!(answer.peer(), server.peer_id());
    });
}

/// Whoever announces another peer, or says what nobody has signed, is refused.
#[test]
fn a_peer_announces_itself_alone() {
    run(async {
        let (hub, service) = registry().await;
        let node = client(once()).await;
        let hub = client_at(&node, &hub).await;
        let refused = async |announcement: Announcement| {
            let mut call = hub.announce().await.expect("it is open");
            call.send(announcement).await.expect("it is taken");
            match call.recv().await.expect_err("it is refused") {
                CallError::Service { error, .. } => error,
                error => panic!("{error}"),
            }
        };
        let other = Keypair::generate_ed25519();
        let honest = says(&other, "/ip4/127.0.0.1/tcp/1");
        let error = refused(honest.clone()).await;
        assert_eq!(error, RegistryError::Record(RecordError::OtherPeer));
        let mut forged = honest.clone();
        forged.record = forged.record.iter().rev().copied().collect();
        let error = refused(forged).await;
        assert_eq!(error, RegistryError::Record(RecordError::NotSigned));
        let mut long = honest;
        long.record = vec![0; 5000].into();
        let error = refused(long).await;
        assert_eq!(error, RegistryError::Record(RecordError::TooLong));
        assert_eq!(service.size().servers, 0);
    });
}

/// However many calls a peer opens, it is listed once, and what it says too much of is refused.
#[test]
fn a_peer_that_announces_often_has_one_entry() {
    run(async {
        let (hub, service) = registry().await;
        let keypair = Keypair::generate_ed25519();
        let node = Node::builder().keypair(keypair.clone()).client_config(patient());
        let node = node.build().await.expect("a node");
        let hub = client_at(&node, &hub).await;
        let says = says(&keypair, "/ip4/127.0.0.1/tcp/1");
        let mut calls = Vec::new();
        for _ in 0..20 {
            let mut call = hub.announce().await.expect("it is open");
            call.send(says.clone()).await.expect("it is taken");
            assert!(call.recv().await.expect("it is listed").is_some());
            calls.push(call);
            assert_eq!(service.size().servers, 1);
        }
        let ended = calls[0].recv().await.expect_err("another one has its place");
        assert_eq!(ended.service(), Some(&RegistryError::Replaced), "{ended}");
        let mut call = hub.announce().await.expect("it is open");
        let mut much = says;
        much.protocols = (0..200).map(|n| format!("/protocol/{n}")).collect();
        call.send(much).await.expect("it is taken");
        let refused = call.recv().await.expect_err("it is too much");
        assert!(matches!(refused.service(), Some(RegistryError::TooLarge { .. })), "{refused}");
    });
}

/// What a server says too much of later ends its call, and nothing else.
#[test]
fn an_announcement_that_is_refused_later_takes_the_entry_with_it_and_nothing_else() {
    run(async {
        let (hub, service) = registry().await;
        let keypair = Keypair::generate_ed25519();
        let node = Node::builder().keypair(keypair.clone()).client_config(patient());
        let node = node.build().await.expect("a node");
        let client = client_at(&node, &hub).await;
        let mut says = says(&keypair, "/ip4/127.0.0.1/tcp/1");
        let mut call = client.announce().await.expect("it is open");
        call.send(says.clone()).await.expect("it is taken");
        assert!(call.recv().await.expect("it is listed").is_some());
        says.protocols = (0..200).map(|n| format!("/protocol/{n}")).collect();
        call.send(says).await.expect("it is taken");
        let refused = call.recv().await.expect_err("it is too much");
        assert!(matches!(refused.service(), Some(RegistryError::TooLarge { .. })), "{refused}");
        until(|| service.size().servers == 0).await;
        let _server = serving(&[&hub]).await;
        until(|| service.size().servers == 1).await;
    });
}

#[test]
fn only_those_use_a_registry_whom_the_application_lets() {
    run(async {
        let node = start(ServerConfig::default(), once()).await;
        let service = RegistryService::new(node.server());
        let service = service.with_rule(|_, what| what == RegistryUse::Watch);
        service.serve().expect("first");
        let stranger = client(once()).await;
        let hub = client_at(&stranger, &node).await;
        let keypair = Keypair::generate_ed25519();
        let error = match hub.announce().await {
            Err(error) => error,
            Ok(mut call) => {
                let _refused = call.send(says(&keypair, "/ip4/127.0.0.1/tcp/1")).await;
                call.recv().await.expect_err("it may not")
            }
        };
        assert_eq!(error.service(), Some(&RegistryError::NotAllowed), "{error}");
        let code = error.request().and_then(|error| error.status()).map(|status| status.code);
        assert_ne!(code, Some(StatusCode::Busy));
        assert_eq!(next(&mut watch(&hub).await).await, Change::Begin);
    });
}

/// A registry that says what it likes.
struct Lying(Vec<Bytes>);

impl Registry for Lying {
    async fn announce(
        &self,
        _cx: &Cx,
        mut announcements: Rx<Announcement>,
        mut accepted: Tx<Accepted>,
    ) -> Result<(), RegistryError> {
        while announcements.recv().await?.is_some() {}
        accepted.finish();
        Ok(())
    }

    async fn watch(
        &self,
        _cx: &Cx,
        _protocol: String,
        mut changes: Tx<Change>,
    ) -> Result<(), RegistryError> {
        changes.send(Change::Begin).await?;
        for record in &self.0 {
            changes.send(Change::Here(Listed::new(record.clone(), 0))).await?;
        }
        changes.send(Change::Gone(Bytes::from_static(&[7; 100]))).await?;
        changes.send(Change::Complete).await?;
        changes.draining().await;
        Ok(())
    }
}

/// What is not signed by whom it concerns is not dialled, and hides nobody.
#[test]
fn a_registry_cannot_say_where_somebody_is() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let mut at = address(&server).await;
        at.pop();
        let mut forged = says(&Keypair::generate_ed25519(), &at.to_string()).record.to_vec();
        let last = forged.len() - 1;
        forged[last] ^= 1;
        let hub = start(ServerConfig::default(), once()).await;
        let many = std::iter::repeat_n(Bytes::from(forged), 1000);
        let lying = Lying(many.chain([Bytes::from_static(b"nothing")]).collect());
        RegistryServer::new(lying).serve(hub.server()).expect("first");
        let (honest, _service) = registry().await;
        let real = serving(&[&honest]).await;
        let node = member(&[&hub, &honest]).await;
        let answer = node.client().send_closest(&echo_name(), "x").await.expect("it is found");
        assert_eq!(answer.peer(), real.peer_id());
        assert!(server.peers().await.is_empty(), "nobody has dialled what is forged");
        assert_eq!(node.client().server_nodes_info(&echo_name()).len(), 1);
    });
}

#[test]
fn a_registry_that_is_not_there_is_named_in_the_error() {
    run(async {
        let nobody = Keypair::generate_ed25519().public().to_peer_id();
        let at: Multiaddr =
            format!("/ip4/127.0.0.1/tcp/1/p2p/{nobody}").parse().expect("an address");
        let without = "/ip4/127.0.0.1/tcp/1".parse().expect("an address");
        registry::discover([without]).expect_err("nobody is named");
        let discover = registry::discover([at]).expect("it has a Peer ID").without_connected();
        let config = ClientConfig::default().with_max_retries(0);
        let config = config.with_connect_timeout(std::time::Duration::from_secs(1));
        let node = Node::builder().client_config(config).discover(discover).build().await;
        let node = node.expect("a node");
        let error = node.client().send_closest(&echo_name(), "x").await.expect_err("nobody");
        let asked = [Source::Registry].into_iter().collect();
        assert_eq!(error.error.cause, Cause::NoServerFound { asked });
    });
}
