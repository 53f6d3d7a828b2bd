//! Services: typed methods, over the network.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use pointsub_service::{
    CallError, Codec, CodecError, Cx, Failure, Limits, Rejection, Rx, ServiceError, Stub, Tx,
    service,
};
use pointsub_swarm::{Bytes, Delivery, PeerId, ServerConfig, StatusCode};
use serde::{Deserialize, Serialize};

use crate::common::*;

#[derive(Debug, PartialEq, Clone, Serialize, Deserialize)]
struct Entry {
    key: String,
    value: Bytes,
    tags: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
enum Tree {
    Leaf,
    Node(Box<Self>),
}

#[derive(Debug, PartialEq, thiserror::Error, Serialize, Deserialize)]
enum StoreError {
    #[error("there is no key {key:?}")]
    NoKey { key: String },
    #[error("the disk has failed: {0}")]
    #[serde(skip)]
    Disk(String),
    #[error("the call is over")]
    Over,
}

impl From<CallError> for StoreError {
    fn from(_: CallError) -> Self {
        Self::Over
    }
}

impl ServiceError for StoreError {
    fn code(&self) -> StatusCode {
        match self {
            Self::NoKey { .. } => StatusCode::NoSuchResource,
            _ => StatusCode::Application(3),
        }
    }
}

#[service("/store/1")]
trait Store {
    async fn get(&self, cx: &Cx, key: String) -> Result<Entry, StoreError>;
    async fn context(&self, cx: &Cx, hops: u32) -> Result<Vec<Option<Duration>>, StoreError>;
    async fn depth(&self, cx: &Cx, tree: Tree) -> Result<(), StoreError>;
    async fn watch(&self, cx: &Cx, count: u32, tx: Tx<Entry>) -> Result<u32, StoreError>;
    async fn put(&self, cx: &Cx, entries: Rx<Entry>) -> Result<usize, StoreError>;
    async fn swap(&self, cx: &Cx, rx: Rx<Entry>, tx: Tx<Entry>) -> Result<(), StoreError>;
    async fn forever(&self, cx: &Cx, tx: Tx<u32>) -> Result<(), StoreError>;
}

/// A store that asks the next one, if there is one.
#[derive(Default)]
struct Mine {
    next: Option<StoreClient>,
    alive: Alive,
}

fn entry(key: &str) -> Entry {
    let tags = vec!["a".to_owned(), "b".to_owned()];
    Entry { key: key.to_owned(), value: Bytes::from_static(b"\x00\xff"), tags }
}

impl Store for Mine {
    async fn get(&self, _cx: &Cx, key: String) -> Result<Entry, StoreError> {
        match &*key {
            "none" => Err(StoreError::NoKey { key }),
            "disk" => Err(StoreError::Disk("sda1".to_owned())),
            _ => Ok(entry(&key)),
        }
    }

    async fn context(&self, cx: &Cx, hops: u32) -> Result<Vec<Option<Duration>>, StoreError> {
        let trace = (cx.metadata().get("traceparent"), cx.metadata().get("secret"));
        assert_eq!(trace.0, Some(&b"00-7-1-01"[..]), "the trace is handed on");
        assert_eq!(trace.1.is_some(), self.next.is_some(), "and nothing else is");
        let mut times = vec![cx.remaining()];
        if let Some(next) = &self.next {
            let context = next.context(hops + 1).timeout(Duration::from_secs(3600)).child_of(cx);
            times.extend(context.await.map_err(|_| StoreError::Over)?);
        }
        Ok(times)
    }

    async fn depth(&self, _cx: &Cx, _tree: Tree) -> Result<(), StoreError> {
        Ok(())
    }

    async fn watch(&self, _cx: &Cx, count: u32, mut tx: Tx<Entry>) -> Result<u32, StoreError> {
        match count {
            0 => return Err(StoreError::NoKey { key: "0".to_owned() }),
            _ => {
                for number in 0..count {
                    tx.send(entry(&number.to_string())).await?;
                }
            }
        }
        if count == 13 { Err(StoreError::NoKey { key: "13".to_owned() }) } else { Ok(count) }
    }

    async fn put(&self, _cx: &Cx, entries: Rx<Entry>) -> Result<usize, StoreError> {
        Ok(entries.try_collect::<Vec<_>>().await?.len())
    }

    async fn swap(&self, _cx: &Cx, mut rx: Rx<Entry>, mut tx: Tx<Entry>) -> Result<(), StoreError> {
        while let Some(entry) = rx.recv().await? {
            tx.send(entry).await?;
        }
        Ok(())
    }

    async fn forever(&self, _cx: &Cx, mut tx: Tx<u32>) -> Result<(), StoreError> {
        let _alive = self.alive.enter();
        for number in 0.. {
            tx.send(number).await?;
        }
        Ok(())
    }
}

async fn serving(store: impl Store) -> Node {
    let node = start(ServerConfig::default(), once()).await;
    StoreServer::new(store).serve(node.server()).expect("first");
    node
}

async fn stores() -> (Node, Node, StoreClient) {
    let server = serving(Mine::default()).await;
    let node = client_of(&server, once()).await;
    let client = StoreClient::peer(node.client(), server.peer_id());
    (server, node, client)
}

fn no_key(key: &str) -> StoreError {
    StoreError::NoKey { key: key.to_owned() }
}

#[test]
fn every_kind_of_method_works_in_every_codec() {
    run(async {
        let (_server, _node, client) = stores().await;
        for codec in [Codec::Cbor, Codec::Postcard, Codec::Json] {
            every_kind(client.clone().with_codec(codec)).await;
        }
        // And without a network.
        every_kind(StoreClient::local(Mine::default())).await;
    });
}

async fn every_kind(client: StoreClient) {
    assert_eq!(client.get("a".to_owned()).await.expect("an entry"), entry("a"));
    let error = client.get("none".to_owned()).await.expect_err("there is none");
    assert_eq!(error.service(), Some(&no_key("none")), "{error}");

    let mut watch = client.watch(100).await.expect("it is open");
    for number in 0..100 {
        let next = watch.recv().await.expect("it goes on");
        assert_eq!(next, Some(entry(&number.to_string())));
    }
    assert_eq!(watch.recv().await.expect("it has ended"), None);
    assert_eq!(watch.finish().await.expect("a result"), 100);
    let refused = client.watch(0).await.expect_err("it is refused");
    assert_eq!(refused.service(), Some(&no_key("0")), "{refused}");
    let failing: Vec<_> = client.watch(13).await.expect("it is open").collect().await;
    let (last, entries) = failing.split_last().expect("there are some");
    assert_eq!(entries.iter().filter(|entry| entry.is_ok()).count(), 13);
    let failed = last.as_ref().expect_err("it has failed");
    assert_eq!(failed.service(), Some(&no_key("13")), "{failed}");

    let mut put = client.put().await.expect("it is open");
    for number in 0..100 {
        put.send(entry(&number.to_string())).await.expect("it takes more");
    }
    assert_eq!(put.finish().await.expect("a result"), 100);

    let (mut tx, mut rx) = client.swap().await.expect("it is open").split();
    let sending = async {
        for number in 0..100 {
            tx.send(entry(&number.to_string())).await.expect("it takes more");
        }
        tx.finish();
    };
    let receiving = async {
        let mut count = 0;
        while rx.recv().await.expect("it goes on").is_some() {
            count += 1;
        }
        count
    };
    assert_eq!(futures::join!(sending, receiving).1, 100);
}

#[test]
fn an_error_that_does_not_travel_is_hidden_and_others_have_their_code() {
    run(async {
        let (server, node, client) = stores().await;
        let hidden = client.get("disk".to_owned()).await.expect_err("it fails");
        let status = hidden.status().expect("a status");
        assert!(status.message.starts_with("internal error, reference "), "{hidden}");
        assert!(!hidden.to_string().contains("sda1"), "{hidden}");
        // To somebody who does not know the type.
        let stub = Stub::peer(node.client(), server.peer_id(), StoreClient::PROTOCOL);
        let key = std::collections::BTreeMap::from([("key", "none")]);
        let error = stub.call::<_, Entry, Failure>("get", key).await.expect_err("there is none");
        let status = error.status().expect("a status");
        assert_eq!(status.code, StatusCode::NoSuchResource);
        assert_eq!(status.message, "there is no key \"none\"");
    });
}

#[test]
fn what_a_server_cannot_read_is_rejected_and_harms_nobody() {
    run(async {
        let (server, node, client) = stores().await;
        let stub = Stub::peer(node.client(), server.peer_id(), StoreClient::PROTOCOL);
        let reason = |error: CallError<Failure>| match error {
            CallError::Rejected { reason, .. } => reason,
            other => panic!("{other}"),
        };
        let unknown = stub.call::<_, (), _>("third", ()).await.expect_err("there is none");
        assert_eq!(reason(unknown), Rejection::UnknownMethod);
        let unknown = stub.open::<_, u8, u8, (), _>("third", ()).await.expect_err("there is none");
        assert_eq!(reason(unknown), Rejection::UnknownMethod);
        let other = stub.call::<_, (), _>("get", 7).await.expect_err("it takes a key");
        assert_eq!(reason(other), Rejection::InvalidArguments);
        let unary = stub.call::<_, (), _>("put", [0; 0]).await.expect_err("it has messages");
        assert_eq!(reason(unary), Rejection::NotStreaming);

        // More nested than is taken, in each codec that can say so.
        let deep = |depth| (0..depth).fold(Tree::Leaf, |tree, _| Tree::Node(Box::new(tree)));
        client.depth(deep(50)).await.expect("it is not too deep");
        for codec in [Codec::Cbor, Codec::Postcard, Codec::Json] {
            let error = client.clone().with_codec(codec).depth(deep(300)).await;
            let error = error.expect_err("it is too deep");
            let (reason, why) = (Rejection::InvalidArguments, CodecError::TooDeep { limit: 64 });
            assert_eq!(error.to_string(), format!("{reason}: {why}"));
        }

        // Bytes that no client of this library sends.
        let raw = |codec: &'static str, body: &'static [u8]| {
            let call = node.client().send(server.peer_id(), &StoreClient::PROTOCOL, body);
            call.method("get").metadata("codec", codec)
        };
        let answer = raw("json", br#"{"key":"a"}"#).await.expect("JSON is always understood");
        assert_eq!(answer, r#"{"key":"a","value":[0,255],"tags":["a","b"]}"#);
        for (codec, body) in [("json", &b"{"[..]), ("cbor", b"\x9f"), ("xml", b""), ("json", b"")] {
            let error = raw(codec, body).await.expect_err("it is rejected");
            let code = error.status().expect("a status").code;
            let wanted = match codec {
                "xml" => StatusCode::Unimplemented,
                _ => StatusCode::BadRequest,
            };
            assert_eq!(code, wanted, "{error}");
        }
        client.get("a".to_owned()).await.expect("it still answers");
    });
}

#[test]
fn what_a_client_does_not_take_is_an_error_of_its_own() {
    run(async {
        let (_server, _node, client) = stores().await;
        let strict = client.with_limits(Limits::new().max_depth(1));
        let error = strict.get("a".to_owned()).await.expect_err("it is too deep");
        assert!(matches!(error, CallError::Codec(CodecError::TooDeep { limit: 1 })), "{error}");
    });
}

#[test]
fn time_and_trace_are_handed_on_over_several_hops() {
    run(async {
        let last = serving(Mine::default()).await;
        let middle = start(ServerConfig::default(), once()).await;
        connect(&middle, &last).await;
        let next = StoreClient::peer(middle.client(), last.peer_id());
        let mine = Mine { next: Some(next), ..Mine::default() };
        StoreServer::shared(Arc::new(mine)).serve(middle.server()).expect("first");
        let node = client_of(&middle, once()).await;
        let client = StoreClient::peer(node.client(), middle.peer_id());
        let call = client.context(0).timeout(Duration::from_secs(30));
        let call = call.metadata("traceparent", "00-7-1-01").metadata("secret", "x");
        let times = call.await.expect("both answer");
        let [Some(first), Some(second)] = times[..] else { panic!("{times:?}") };
        assert!(second <= first && first <= Duration::from_secs(30), "{times:?}");
    });
}

#[test]
fn a_call_that_is_dropped_stops_its_method() {
    run(async {
        let alive = Alive::default();
        let server = serving(Mine { alive: alive.clone(), next: None }).await;
        let node = client_of(&server, once()).await;
        let client = StoreClient::peer(node.client(), server.peer_id());
        let mut forever = client.forever().await.expect("it is open");
        assert_eq!(forever.recv().await.expect("it goes on"), Some(0));
        assert_eq!(alive.now(), 1);
        drop(forever);
        until(|| alive.now() == 0).await;
    });
}

#[test]
fn the_closest_server_that_has_the_method_answers() {
    /// The service as it was before most of its methods.
    #[service("/store/1")]
    trait Old {
        async fn get(&self, cx: &Cx, key: String) -> Result<Entry, Failure>;
    }
    struct Without;
    impl Old for Without {
        async fn get(&self, _cx: &Cx, key: String) -> Result<Entry, Failure> {
            Ok(entry(&key))
        }
    }
    run(async {
        let node = client(once()).await;
        let old = start(ServerConfig::default(), once()).await;
        OldServer::new(Without).serve(old.server()).expect("first");
        let new = serving(Mine::default()).await;
        for server in [&old, &new] {
            let peer: PeerId = connect(&node, server).await;
            node.client().add_server_node(&StoreClient::PROTOCOL, peer).expect("a node");
        }
        let client = StoreClient::closest(node.client());
        for number in 0..10u32 {
            client.get(number.to_string()).await.expect("both have it");
            // Also what may not be done twice: whoever does not have a method has done nothing.
            let (key, depth) = (number.to_be_bytes(), client.depth(Tree::Leaf));
            depth.key(&key).idempotent(false).await.expect("one has it");
            let call = client.put().key(&key).await.expect("one has it");
            assert_eq!(call.peer(), new.peer_id());
        }
        let error = client.depth(Tree::Leaf).exclude([new.peer_id()]).await;
        let error = error.expect_err("the other does not have it");
        assert!(error.is_unknown_method(), "{error}");
    });
}

/// What a method says about itself holds: whether it may be run again when its answer was lost.
#[test]
fn a_method_that_is_not_idempotent_is_run_once() {
    #[service("/tally/1")]
    trait Tally {
        #[method(idempotent = false)]
        async fn once(&self, cx: &Cx) -> Result<usize, Failure>;
        async fn again(&self, cx: &Cx) -> Result<usize, Failure>;
    }

    /// Cuts the connection under whoever calls for the first time.
    #[derive(Clone)]
    struct Cutting(Node, Arc<AtomicUsize>);

    impl Cutting {
        async fn count(&self, cx: &Cx) -> usize {
            let count = self.1.fetch_add(1, Ordering::SeqCst) + 1;
            if count == 1 {
                self.0.disconnect(cx.peer()).await;
                futures::future::pending::<()>().await;
            }
            count
        }
    }

    impl Tally for Cutting {
        async fn once(&self, cx: &Cx) -> Result<usize, Failure> {
            Ok(self.count(cx).await)
        }

        async fn again(&self, cx: &Cx) -> Result<usize, Failure> {
            Ok(self.count(cx).await)
        }
    }

    run(async {
        let server = start(ServerConfig::default(), once()).await;
        let cutting = Cutting(server.clone(), Arc::default());
        TallyServer::new(cutting.clone()).serve(server.server()).expect("first");
        let node = client(patient()).await;
        let tally = TallyClient::peer(node.client(), connect(&node, &server).await);

        let error = tally.once().await.expect_err("its answer was lost");
        let request = error.request().expect("it is not the service's");
        assert_eq!(request.delivery, Delivery::Unknown, "{request}");
        assert_eq!(cutting.1.swap(0, Ordering::SeqCst), 1);
        assert_eq!(tally.again().await.expect("it is asked for again"), 2);
    });
}
