//! Health, load and description of a node, over the network.

use std::time::Duration;

use futures::future::{Either, select};
use pointsub_service::info::{Health, InfoClient, InfoError, InfoService};
use pointsub_service::{Cx, Failure, service};
use pointsub_swarm::{Bytes, PeerId, ProtocolName, ServerConfig, StatusCode};

use crate::common::*;

/// Numbers.
#[service("/numbers/1")]
trait Numbers {
    /// Doubles one.
    async fn double(&self, cx: &Cx, number: u32) -> Result<u32, Failure>;
}

struct Doubling;

impl Numbers for Doubling {
    async fn double(&self, _cx: &Cx, number: u32) -> Result<u32, Failure> {
        Ok(number * 2)
    }
}

const NUMBERS: ProtocolName = ProtocolName::from_static("/numbers/1");

/// A node that offers numbers and tells everybody of itself, and another's view of it.
async fn told() -> (Node, InfoService, Node, InfoClient) {
    let server = start(ServerConfig::default(), once()).await;
    NumbersServer::new(Doubling).serve(server.server()).expect("first");
    let info = InfoService::new(server.server(), |_: &PeerId| true);
    info.serve().expect("first");
    let node = client_of(&server, once()).await;
    let client = InfoClient::peer(node.client(), server.peer_id());
    (server, info, node, client)
}

#[test]
fn a_node_describes_itself() {
    run(async {
        let (_server, info, node, client) = told().await;
        info.set_label("region", "west");
        info.describe_service(&NumbersServer::<Doubling>::DESCRIPTION);
        let payload = Bytes::from_static(b"\x00\xff");
        assert_eq!(client.ping(payload.clone()).await.expect("a pong"), payload);
        let told = client.describe().await.expect("a description");
        assert!(told.software.starts_with("pointsub/"), "{}", told.software);
        assert_eq!(told.labels["region"], "west");
        assert_eq!(told.protocols, ["/numbers/1", "/pointsub-info/1"]);
        let [numbers] = &*told.services else { panic!("one is described: {told:?}") };
        assert_eq!((&*numbers.protocol, &*numbers.documentation), ("/numbers/1", "Numbers."));
        assert_eq!(numbers.methods[0].arguments, [("number".to_owned(), "u32".to_owned())]);

        NumbersClient::peer(node.client(), _server.peer_id()).double(4).await.expect("8");
        let load = client.load().await.expect("a load");
        assert!(load.ok >= 3 && load.in_flight >= 1 && load.peers == 1, "{load:?}");
    });
}

#[test]
fn other_languages_ask_in_json() {
    run(async {
        let (server, _info, node, _client) = told().await;
        let info = ProtocolName::from_static("/pointsub-info/1");
        let health = node.client().send(server.peer_id(), &info, r#"{"protocol":"/numbers/1"}"#);
        let health = health.method("health").metadata("codec", "json").await.expect("an answer");
        assert_eq!(health.body(), &r#""serving""#);
    });
}

#[test]
fn only_those_may_ask_whom_the_application_lets() {
    run(async {
        let server = start(ServerConfig::default(), once()).await;
        let nobody = InfoService::new(server.server(), |_: &PeerId| false);
        nobody.serve().expect("first");
        let node = client_of(&server, once()).await;
        let client = InfoClient::peer(node.client(), server.peer_id());
        let refused = client.load().await.expect_err("it may not");
        assert_eq!(refused.service(), Some(&InfoError::NotAllowed), "{refused}");
        let refused = client.watch(None).await.expect_err("it may not");
        assert_eq!(refused.service(), Some(&InfoError::NotAllowed), "{refused}");
        // Whoever does not know the type of the error sees what it means.
        let info = ProtocolName::from_static("/pointsub-info/1");
        let refused = node.client().send(server.peer_id(), &info, "{}").method("load");
        let refused = refused.metadata("codec", "json").await.expect_err("it may not");
        let code = refused.status().map(|status| status.code);
        assert_eq!(code, Some(StatusCode::PermissionDenied));
    });
}

#[test]
fn health_is_that_of_the_protocol_and_what_the_application_says() {
    run(async {
        let (server, info, _node, client) = told().await;
        let health = async |protocol: Option<&str>| {
            client.health(protocol.map(str::to_owned)).await.expect("an answer")
        };
        assert_eq!(health(None).await, Health::Serving);
        assert_eq!(health(Some("/numbers/1")).await, Health::Serving);
        assert_eq!(health(Some("/letters/1")).await, Health::Unknown);
        info.set_health(&NUMBERS, Some(Health::NotServing));
        assert_eq!(health(Some("/numbers/1")).await, Health::NotServing);
        assert_eq!(health(None).await, Health::Serving);
        info.set_health(&NUMBERS, None);
        assert_eq!(health(Some("/numbers/1")).await, Health::Serving);
        assert!(server.server().unregister(&NUMBERS));
        assert_eq!(health(Some("/numbers/1")).await, Health::Unknown);
    });
}

#[test]
fn whoever_watches_hears_of_every_change() {
    run(async {
        let (server, info, _node, client) = told().await;
        let mut watch = client.watch(Some("/numbers/1".to_owned())).await.expect("it is open");
        let mut next = async || watch.recv().await.expect("it goes on");
        assert_eq!(next().await, Some(Health::Serving));
        info.set_health(&NUMBERS, Some(Health::NotServing));
        assert_eq!(next().await, Some(Health::NotServing));
        info.set_health(&NUMBERS, None);
        assert_eq!(next().await, Some(Health::Serving));
        assert!(server.server().unregister(&NUMBERS));
        assert_eq!(next().await, Some(Health::Unknown));
        // A stop without a word is heard too, and ends the watch.
        server.server().stop(Duration::from_secs(5)).await;
        assert_eq!(next().await, Some(Health::NotServing));
        assert_eq!(next().await, None);
    });
}

#[test]
fn a_server_says_that_it_stops_before_it_refuses() {
    run(async {
        let (server, info, node, client) = told().await;
        let numbers = NumbersClient::peer(node.client(), server.peer_id());
        let mut watch = client.watch(None).await.expect("it is open");
        assert_eq!(watch.recv().await.expect("it goes on"), Some(Health::Serving));
        // Longer than the test asks.
        let stopping = Box::pin(info.stop(Duration::from_secs(600), Duration::ZERO));
        let asking = Box::pin(async {
            assert_eq!(watch.recv().await.expect("it goes on"), Some(Health::NotServing));
            assert_eq!(client.health(None).await.expect("an answer"), Health::NotServing);
            assert_eq!(numbers.double(21).await.expect("it still serves"), 42);
        });
        assert!(matches!(select(stopping, asking).await, Either::Right(_)), "it has stopped");

        let stopped = info.stop(Duration::ZERO, Duration::from_secs(5)).await;
        assert_eq!(stopped.cut_off, 0, "{stopped:?}");
        assert_eq!(watch.recv().await.expect("it ends well"), None);
        numbers.double(21).await.expect_err("it has stopped");

        // And again.
        NumbersServer::new(Doubling).serve(server.server()).expect("it serves again");
        info.serve().expect("it serves again");
        assert_eq!(client.health(None).await.expect("an answer"), Health::Serving);
    });
}
