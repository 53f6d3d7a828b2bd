//! What travels beside the bodies of requests and answers: methods and metadata.

use pointsub_swarm::{
    Cause, Client, HandlerError, Metadata, Method, PeerId, Reply, Request, RequestError,
    ServerConfig, StatusCode,
};

use crate::common::*;
use crate::raw::*;

/// Says what it was asked for, and by which tenant; its answer has the length in its metadata.
async fn describe(request: Request) -> Result<Reply, HandlerError> {
    let method = request.method.as_ref().map_or("nothing", Method::as_str);
    let tenant = request.metadata.get("tenant").unwrap_or(b"nobody");
    let answer = format!("{method} for {}", String::from_utf8_lossy(tenant));
    let mut metadata = Metadata::new();
    metadata.insert("body-len", request.body.len().to_string()).expect("a key");
    Ok(Reply::new(answer).with_metadata(metadata))
}

async fn describing() -> (Node, Node, PeerId) {
    let server = start(ServerConfig::default(), once()).await;
    server.server().register(&echo_name(), describe).expect("first");
    let client = client_of(&server, once()).await;
    let peer = server.peer_id();
    (server, client, peer)
}

#[test]
fn a_request_and_its_answer_have_something_beside_their_bodies() {
    run(async {
        let (_server, node, peer) = describing().await;
        // The first before the peer has said what it takes, and one of each that is compressed.
        for body in ["".into(), "small".into(), text(3000, 5), noise(MIB, 7), text(MIB, 9)] {
            let len = body.len();
            let sent = node.client().send(peer, &echo_name(), body).method("users.Get");
            let answer = sent.metadata("tenant", "blue").metadata("other", "").await;
            let answer = answer.expect("an answer");
            assert_eq!(answer, "users.Get for blue");
            assert_eq!(answer.metadata().get("body-len"), Some(len.to_string().as_bytes()));
            assert_eq!(answer.metadata().iter().count(), 1);
        }
        let answer = node.client().send(peer, &echo_name(), "plainly").await.expect("an answer");
        assert_eq!(answer, "nothing for nobody");
    });
}

#[test]
fn a_request_to_the_closest_node_has_them_at_whichever_node_answers() {
    run(async {
        let (server, node, peer) = describing().await;
        let client = node.client();
        client.add_server_node(&echo_name(), peer).expect("a node");
        // Fails, and is followed by the other.
        let gone = start(ServerConfig::default(), once()).await;
        client.add_server_node(&echo_name(), connect(&node, &gone).await).expect("a node");
        for number in 0..10 {
            let sent = client.send_closest(&echo_name(), format!("{number}")).method("m");
            let answer = sent.metadata("tenant", "red").await.expect("one of them answers");
            assert_eq!((answer.peer(), answer.text()), (server.peer_id(), Ok("m for red")));
            assert_eq!(answer.metadata().get("body-len"), Some(&b"1"[..]));
        }
    });
}

#[test]
fn what_cannot_travel_is_refused_before_anything_is_sent() {
    run(async {
        let (server, node, peer) = describing().await;
        let send = || node.client().send(peer, &echo_name(), "");
        let long = vec![7; 13_000];
        for refused in [
            send().method(""),
            send().method(&"m".repeat(256)),
            send().metadata("Tenant", "blue").metadata("tenant", "blue"),
            send().metadata("k", &long),
        ] {
            let error = refused.await.expect_err("it is refused");
            assert!(matches!(error.cause, Cause::Refused(_)), "{error}");
        }
        assert_eq!(server.server().stats().started, 0);
    });
}

#[test]
fn a_plain_peer_is_not_asked_for_a_method() {
    run(async {
        let old = RawPeer::start(&[PLAIN], |mut stream| async move {
            while let Some(body) = read_plain(&mut stream).await {
                write(&mut stream, &plain(&body)).await.expect("the client reads");
            }
        })
        .await;
        let node = client(once()).await;
        let peer = node.connect(old.address.clone()).await.expect("the old peer listens");
        let send = || node.client().send(peer, &echo_name(), "hello");
        for refused in [send().method("m"), send().metadata("k", "v")] {
            let (status, error) = status(refused.await);
            assert_eq!(status.code, StatusCode::Unimplemented);
            assert!(error.may_retry(false) == error.may_retry(true), "it was surely not processed");
        }
        assert_eq!(send().await.expect("an answer"), "hello");
    });
}

#[test]
fn a_client_without_a_network_hands_them_on() {
    run(async {
        let respond = |_: PeerId, request: Request| async move {
            describe(request).await.map_err(RequestError::from)
        };
        let client = Client::from_fn(respond);
        let sent = client.send(PeerId::random(), &echo_name(), "abc").method("m");
        let answer = sent.metadata("tenant", "blue").await.expect("an answer");
        assert_eq!(answer, "m for blue");
        assert_eq!(answer.metadata().get("body-len"), Some(&b"3"[..]));
        let open = client.open(PeerId::random(), &echo_name(), "").await;
        let error = open.expect_err("there are no calls without a network");
        assert_eq!(error.status().map(|status| status.code), Some(StatusCode::Unimplemented));
    });
}
