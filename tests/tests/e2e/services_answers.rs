//! Services: what comes beside results and errors, and the ends of calls whose halves are apart.

use futures::StreamExt;
use pointsub_service::{
    CallError, Codec, Cx, Metadata, Rejection, Rx, ServiceError, Stub, Tx, service,
};
use pointsub_swarm::{Delivery, PeerId, ServerConfig, StatusCode};
use serde::{Deserialize, Serialize};

use crate::common::*;

#[derive(Debug, PartialEq, thiserror::Error, Serialize, Deserialize)]
enum SumError {
    #[error("{most} is the most")]
    TooMuch { most: u64 },
    #[error("too many at a time")]
    Busy,
    #[error("the call is over: {0}")]
    Over(String),
}

impl<E: std::fmt::Display> From<CallError<E>> for SumError {
    fn from(error: CallError<E>) -> Self {
        Self::Over(error.to_string())
    }
}

impl ServiceError for SumError {
    fn code(&self) -> StatusCode {
        match self {
            Self::TooMuch { .. } => StatusCode::Application(7),
            Self::Busy => StatusCode::Busy,
            Self::Over(_) => StatusCode::Internal,
        }
    }
}

#[service("/sum/1")]
trait Sum {
    async fn add(&self, cx: &Cx, a: u64, b: u64) -> Result<u64, SumError>;
    /// Sends back what has come so far, after each number.
    async fn sum(&self, cx: &Cx, rx: Rx<u64>, tx: Tx<u64>) -> Result<u64, SumError>;
}

const MOST: u64 = 1000;

#[derive(Clone)]
struct Sums;

impl Sum for Sums {
    async fn add(&self, cx: &Cx, a: u64, b: u64) -> Result<u64, SumError> {
        let accepted = cx.accept(Metadata::new());
        assert!(!accepted, "there is nothing to accept");
        cx.tell("rounded", "no").expect("it can travel");
        // Clones tell the same caller, and what cannot travel disturbs nothing.
        cx.clone().tell("from", b"\x00\xff").expect("it can travel");
        cx.tell("From", "").expect_err("capital letters do not travel");
        match a + b {
            0 => Err(SumError::Busy),
            sum if sum > MOST => Err(SumError::TooMuch { most: MOST }),
            sum => Ok(sum),
        }
    }

    async fn sum(&self, cx: &Cx, mut rx: Rx<u64>, mut tx: Tx<u64>) -> Result<u64, SumError> {
        let mut early = Metadata::new();
        early.insert("most", MOST.to_string()).expect("it can travel");
        assert!(cx.accept(early.clone()), "it is the first");
        assert!(!cx.accept(early), "it was accepted");
        let mut sum = 0;
        while let Some(number) = rx.recv().await? {
            sum += number;
            if sum > MOST {
                return Err(SumError::TooMuch { most: MOST });
            }
            tx.send(sum).await?;
        }
        cx.tell("late", sum.to_string()).expect("it can travel");
        Ok(sum)
    }
}

async fn serving() -> Node {
    let node = start(ServerConfig::default(), once()).await;
    SumServer::new(Sums).serve(node.server()).expect("first");
    node
}

/// Clients of every kind, each with whom it calls; nobody is known of a local one.
async fn clients(server: &Node, node: &Node) -> Vec<(SumClient, Option<PeerId>)> {
    let peer = server.peer_id();
    node.client().add_server_node(&SumClient::PROTOCOL, peer).expect("a node");
    let to_peer = SumClient::peer(node.client(), peer);
    let service = node.client().to_peer(peer);
    vec![
        (to_peer.clone().with_codec(Codec::Json), Some(peer)),
        (to_peer, Some(peer)),
        (SumClient::closest(node.client()), Some(peer)),
        (SumClient::from(Stub::through(service, SumClient::PROTOCOL)), Some(peer)),
        (SumClient::local(Sums), None),
    ]
}

fn pairs(metadata: &Metadata) -> Vec<(&str, &[u8])> {
    metadata.iter().collect()
}

#[test]
fn what_a_method_tells_comes_beside_its_result() {
    run(async {
        let server = serving().await;
        let node = client_of(&server, once()).await;
        for (client, peer) in clients(&server, &node).await {
            let answer = client.add(2, 3).metadata("tenant", "blue").answer().await;
            let answer = answer.expect("an answer");
            let told = [("rounded", &b"no"[..]), ("from", b"\x00\xff")];
            assert_eq!((*answer, &pairs(answer.metadata())[..]), (5, &told[..]));
            assert!(peer.is_none_or(|peer| answer.peer() == peer), "{answer:?}");
            // Whoever does not ask for it gets the result.
            assert_eq!(client.add(2, 4).await.expect("an answer"), 6);

            // Before the first message, and behind the last.
            let mut call = client.sum().await.expect("it is open");
            call.send(3).await.expect("it takes more");
            assert_eq!(call.recv().await.expect("it goes on"), Some(3));
            assert_eq!(pairs(&call.metadata()), [("most", &b"1000"[..])]);
            let answer = call.answer().await.expect("a result");
            assert_eq!((*answer, answer.metadata().get("late")), (3, Some(&b"3"[..])));
            assert!(peer.is_none_or(|peer| answer.peer() == peer), "{answer:?}");
            assert_eq!(answer.into_value(), 3);
        }
        let answer = SumClient::closest(node.client()).add(1, 1).answer().await;
        assert_eq!(answer.expect("an answer").attempts().len(), 1);
    });
}

#[test]
fn a_call_whose_halves_are_apart_has_a_result() {
    run(async {
        let server = serving().await;
        let node = client_of(&server, once()).await;
        for (client, _) in clients(&server, &node).await {
            let (mut tx, mut receiving) = client.sum().await.expect("it is open").split();
            let sending = spawn(async move {
                for number in 1..=40 {
                    tx.send(number).await.expect("it takes more");
                }
                tx.finish();
                tx
            });
            for number in 1..=40 {
                let sum = receiving.recv().await.expect("it goes on");
                assert_eq!(sum, Some(number * (number + 1) / 2));
            }
            let answer = receiving.answer().await.expect("a result");
            assert_eq!((*answer, answer.metadata().get("late")), (820, Some(&b"820"[..])));
            // Who sends lives longer than the call.
            drop(sending.await);

            // Messages that nobody received are no hindrance.
            let (mut tx, receiving) = client.sum().await.expect("it is open").split();
            for number in 1..=20 {
                tx.send(number).await.expect("it takes more");
            }
            tx.finish();
            assert_eq!(receiving.finish().await.expect("a result"), 210);
        }
    });
}

#[test]
fn a_call_whose_halves_are_apart_fails_with_the_error_of_the_service() {
    run(async {
        let server = serving().await;
        let node = client_of(&server, once()).await;
        for (client, _) in clients(&server, &node).await {
            for received in [false, true] {
                let (mut tx, mut receiving) = client.sum().await.expect("it is open").split();
                tx.send(1).await.expect("it takes more");
                assert_eq!(receiving.recv().await.expect("it goes on"), Some(1));
                tx.send(MOST).await.expect("it takes more");
                let error = match received {
                    true => receiving.next().await.expect("it is told").expect_err("it fails"),
                    false => receiving.finish().await.expect_err("it fails"),
                };
                assert_eq!(error.service(), Some(&SumError::TooMuch { most: MOST }), "{error}");
                let status = error.status().expect("it has one");
                assert_eq!(status.code, StatusCode::Application(7));
            }
        }
    });
}

#[test]
fn an_error_of_a_service_has_its_status_and_delivery() {
    run(async {
        let server = serving().await;
        let node = client_of(&server, once()).await;
        for (client, peer) in clients(&server, &node).await {
            let error = client.add(MOST, 1).await.expect_err("it is too much");
            assert_eq!(error.delivery(), Some(Delivery::Processed), "{error:?}");
            assert_eq!(error.to_string(), "1000 is the most");
            let status = error.status().expect("it has one");
            assert_eq!(status.code, StatusCode::Application(7));
            assert_eq!(status.message, "1000 is the most");
            // What was not encoded has none.
            assert_eq!(status.detail.is_empty(), peer.is_none());
            assert!(!error.may_retry(true) && !error.is_busy(), "{error:?}");
            let CallError::Service { error, request, .. } = error else { panic!("{error:?}") };
            assert_eq!(error, SumError::TooMuch { most: MOST });
            assert!(request.status().is_some());

            let error = client.add(0, 0).max_retries(0).await.expect_err("it is busy");
            assert!(error.is_busy() && error.may_retry(true), "{error:?}");
            assert_eq!(error.into_service().expect("it is of the service"), SumError::Busy);
        }
        // Whoever asks the closest learns which one said so.
        let closest = SumClient::closest(node.client());
        let error = closest.add(MOST, 1).await.expect_err("it is too much");
        let [attempt] = error.attempts() else { panic!("{error:?}") };
        assert_eq!(attempt.node, server.peer_id());

        let stub = Stub::peer(node.client(), server.peer_id(), SumClient::PROTOCOL);
        let error = stub.call::<_, (), SumError>("third", ()).await.expect_err("there is none");
        let CallError::Rejected { reason, request, .. } = &error else { panic!("{error:?}") };
        assert_eq!(*reason, Rejection::UnknownMethod);
        let status = request.status().expect("it has one");
        assert_eq!(status.code, StatusCode::Unimplemented);
        assert_eq!(error.to_string(), format!("{reason}: {}", status.message));
    });
}
