//! Time as tokio has it, and runtimes as values.

use std::time::Duration;

use futures::executor::block_on;
use pointsub_tokio::{Bytes, Node, NodeBuilder, ProtocolName, Request, Tokio};
use tokio::time::{Instant, sleep};

const SLOW: ProtocolName = ProtocolName::from_static("/slow/1.0.0");
const MINUTE: Duration = Duration::from_secs(60);

async fn slow(request: Request) -> Bytes {
    sleep(60 * MINUTE).await;
    request.body
}

/// A request with a limit of ten minutes to a handler that takes an hour fails, and one with two hours
/// does not. Neither takes any time.
#[tokio::test(start_paused = true)]
async fn limits_follow_the_clock_of_tokio_where_it_is_paused() {
    let server = Node::builder().in_memory().listen("/memory/0".parse().expect("an address"));
    let server = server.build().await.expect("a node");
    server.server().register(&SLOW, slow).expect("the first");
    let client = Node::builder().in_memory().build().await.expect("a node");
    let peer = client.connect(server.address().await.expect("it listens")).await.expect("there");

    let began = Instant::now();
    let error = client.client().send(peer, &SLOW, "x").timeout(10 * MINUTE).await;
    assert!(error.expect_err("too slow").is_timeout());
    assert!(began.elapsed() >= 10 * MINUTE && began.elapsed() < 11 * MINUTE);
    let answer = client.client().send(peer, &SLOW, "x").timeout(120 * MINUTE).await;
    assert_eq!(answer.expect("slow, and in time"), "x");
}

/// Its tasks run on the runtime that is named, wherever it is built.
#[test]
fn a_node_is_built_outside_of_the_runtime_that_it_is_given() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let node = || NodeBuilder::on(Tokio::on(runtime.handle().clone()));
    let (answer, down) = block_on(async {
        let server = node().listen("/ip4/127.0.0.1/tcp/0".parse().expect("an address"));
        let server = server.build().await.expect("a node");
        let echo = |request: Request| async move { request.body };
        server.server().register(&SLOW, echo).expect("the first");
        let client = node().build().await.expect("a node");
        let peer = client.connect(server.address().await.expect("it listens")).await;
        let call = client.client().send(peer.expect("there"), &SLOW, "x").timeout(MINUTE);
        (call.await, client.shutdown(MINUTE).await)
    });
    assert_eq!(answer.expect("an answer"), "x");
    assert!(down.is_clean(), "{down:?}");
}
