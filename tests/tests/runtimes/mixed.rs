//! Nodes on different runtimes, in one process: the bytes between them are the same.

use std::future::pending;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::{Either, join_all, select};
use libp2p_core::multiaddr::Protocol;
use pointsub_async_std::{AsyncStd, Smol};
use pointsub_swarm::{
    Cause, ClientConfig, ClientStats, HandlerError, Multiaddr, Node, PeerId, ProtocolName, Request,
    Runtime,
};
use pointsub_tokio::Tokio;

const MIB: usize = 1024 * 1024;

/// Runs a test on tokio; async-std and smol have threads of their own. Fails if it hangs.
fn run(test: impl Future<Output = ()>) {
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let tokio = tokio.expect("a tokio runtime");
    let limit = Duration::from_secs(60);
    let in_time = tokio.block_on(async { tokio::time::timeout(limit, test).await });
    in_time.expect("it does not hang");
}

fn name(name: &str) -> ProtocolName {
    ProtocolName::new(name).expect("a protocol name")
}

/// A node that listens, and answers with its own Peer ID and what it was sent.
async fn start<R: Runtime + Default>() -> Node<R> {
    let any = "/ip4/127.0.0.1/tcp/0".parse().expect("an address");
    let client = ClientConfig::default().with_max_retries(0);
    let node = Node::<R>::builder().listen(any).client_config(client);
    let node = node.build().await.expect("a node");
    let own = node.peer_id();
    let answer =
        move |request: Request| async move { [own.to_bytes(), request.body.to_vec()].concat() };
    node.server().register(&name("/echo/1.0.0"), answer).expect("first");
    node
}

async fn address<R: Runtime>(node: &Node<R>) -> Multiaddr {
    node.addresses().await.into_iter().next().expect("the node listens")
}

/// Connects two nodes, so that both know of it.
async fn meet<A: Runtime, B: Runtime>(listens: &Node<A>, dials: &Node<B>) {
    dials.connect(address(listens).await).await.expect("it listens");
    check(dials, listens.peer_id(), "pleased to meet you").await;
}

async fn check<R: Runtime>(from: &Node<R>, to: PeerId, body: impl Into<Bytes>) {
    let body = body.into();
    let answer = from.client().send(to, &name("/echo/1.0.0"), body.clone()).await;
    let answer = answer.expect("an answer");
    assert!(answer == [&to.to_bytes(), &body[..]].concat(), "{} bytes came back", answer.len());
}

/// Bytes without any pattern, which do not compress.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let step = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (state >> 56) as u8
    };
    (0..len).map(step).collect()
}

/// `A` listens, `B` dials; both ask.
async fn small_requests<A: Runtime + Default, B: Runtime + Default>() {
    let (one, two) = (start::<A>().await, start::<B>().await);
    meet(&one, &two).await;
    let forth = (0..200).map(|n| check(&two, one.peer_id(), format!("request {n}")));
    let back = (0..200).map(|n| check(&one, two.peer_id(), format!("request {n}")));
    futures::join!(join_all(forth), join_all(back));
    let counted = |stats: ClientStats| (stats.ok, stats.failed);
    assert_eq!(counted(one.client().stats()), (200, 0));
    assert_eq!(counted(two.client().stats()), (201, 0));
}

/// Flow control and frames of many segments, with small requests beside them.
async fn large_bodies<A: Runtime + Default, B: Runtime + Default>() {
    let (one, two) = (start::<A>().await, start::<B>().await);
    meet(&one, &two).await;
    let large = [4 * MIB, MIB, 65 * 1024];
    let forth = large.map(|len| check(&two, one.peer_id(), noise(len, 1)));
    let back = large.map(|len| check(&one, two.peer_id(), noise(len, 2)));
    let small = (0..100).map(|n| check(&two, one.peer_id(), format!("request {n}")));
    futures::join!(join_all(forth), join_all(back), join_all(small));
}

/// A node that ends is seen to end: nobody waits for a timeout.
async fn an_end<A: Runtime + Default, B: Runtime + Default>() {
    let (one, two) = (start::<A>().await, start::<B>().await);
    let (started, is_started) = futures::channel::mpsc::unbounded();
    let hang = move |_: Request| {
        let told = started.unbounded_send(());
        async move {
            told.expect("the test waits");
            pending::<Result<Bytes, HandlerError>>().await
        }
    };
    one.server().register(&name("/hang"), hang).expect("first");
    meet(&one, &two).await;
    let (client, hang, peer) = (two.client(), name("/hang"), one.peer_id());
    let call = client.send(peer, &hang, "are you there?").into_future();
    let end = async {
        is_started.into_future().await;
        drop(one);
        pending::<()>().await;
    };
    let Either::Left((outcome, _)) = select(call, pin!(end)).await else { return };
    let error = outcome.expect_err("nobody answers");
    assert!(matches!(error.cause, Cause::Lost(_) | Cause::RemoteClosed), "{error:?}");
}

/// Makes a module of tests for two runtimes, in both directions.
macro_rules! between {
    ($($module:ident: $one:ty, $two:ty;)*) => {$(
        mod $module {
            use super::*;

            #[test]
            fn small_requests_pass_both_ways() {
                run(small_requests::<$one, $two>());
                run(small_requests::<$two, $one>());
            }

            #[test]
            fn large_bodies_pass_both_ways() {
                run(large_bodies::<$one, $two>());
                run(large_bodies::<$two, $one>());
            }

            #[test]
            fn the_end_of_a_node_is_seen() {
                run(an_end::<$one, $two>());
                run(an_end::<$two, $one>());
            }
        }
    )*};
}

between! {
    tokio_and_async_std: Tokio, AsyncStd;
    tokio_and_smol: Tokio, Smol;
    async_std_and_smol: AsyncStd, Smol;
}

#[test]
fn a_name_leads_to_a_node_on_another_runtime() {
    run(async {
        let (one, two) = (start::<Tokio>().await, start::<AsyncStd>().await);
        let host = Protocol::Dns4("localhost".into());
        let by_name = address(&one).await.replace(0, |_| Some(host)).expect("a first part");
        assert_eq!(two.connect(by_name).await.expect("it listens"), one.peer_id());
        check(&two, one.peer_id(), "found").await;
    });
}
