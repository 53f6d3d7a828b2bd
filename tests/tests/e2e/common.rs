//! Nodes, bodies and waiting, for all scenarios.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::{Either, Shared, select};
use futures_timer::Delay;
use libp2p_core::muxing::StreamMuxerBox;
use libp2p_core::transport::Boxed;
use libp2p_identity::Keypair;
use pointsub_swarm::{
    ClientConfig, Handler, HandlerError, Multiaddr, PeerId, ProtocolName, Request, RequestError,
    Response, Runtime, Security, ServerConfig, Status,
};

use crate::support::{Rt, block_on, rt};

pub(crate) type Node = pointsub_swarm::Node<Rt>;

pub(crate) const MIB: usize = 1024 * 1024;
/// No test takes nearly as long: whatever does hangs.
const HUNG: Duration = Duration::from_secs(60);

/// A client that tries each request once: `retry.rs` is about the others.
pub(crate) fn once() -> ClientConfig {
    ClientConfig::default().with_max_retries(0)
}

/// A client that tries each request until it is let in: a server on a slow machine may say that it is busy.
pub(crate) fn patient() -> ClientConfig {
    let config = ClientConfig::default().with_max_retries(100).with_retry_budget(10_000);
    config.with_retry_interval(Duration::from_millis(5))
}

/// Runs a test; fails if it hangs.
pub(crate) fn run(test: impl Future<Output = ()>) {
    block_on(within(HUNG, test));
}

/// Fails if `future` takes longer than `limit`.
pub(crate) async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> T {
    match select(pin!(future), Delay::new(limit)).await {
        Either::Left((output, _)) => output,
        Either::Right(_) => panic!("not done within {limit:?}"),
    }
}

/// Starts a task; the future returned gives its output.
pub(crate) fn spawn<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = T> + Send {
    let (done, output) = oneshot::channel();
    rt().spawn(async move { drop(done.send(future.await)) }.boxed());
    output.map(|output| output.expect("a spawned task panicked"))
}

/// Waits until `condition` holds.
pub(crate) async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        yield_now().await;
    }
}

pub(crate) async fn yield_now() {
    let mut yielded = false;
    futures::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Something that many wait for and one makes happen.
#[derive(Clone)]
pub(crate) struct Gate(Shared<oneshot::Receiver<()>>);

/// Opens its [`Gate`] when it is dropped.
pub(crate) struct Opener(
    #[expect(dead_code, reason = "dropping it is its use")] oneshot::Sender<()>,
);

impl Gate {
    pub(crate) fn new() -> (Opener, Self) {
        let (opener, opened) = oneshot::channel();
        (Opener(opener), Self(opened.shared()))
    }

    pub(crate) async fn opened(self) {
        let _opened = self.0.await;
    }
}

/// Counts how many futures hold a [`Guard`], and how many were dropped.
#[derive(Clone, Default)]
pub(crate) struct Alive(Arc<Counts>);

#[derive(Default)]
struct Counts {
    alive: AtomicUsize,
    peak: AtomicUsize,
    dropped: AtomicUsize,
}

pub(crate) struct Guard(Alive);

impl Alive {
    pub(crate) fn enter(&self) -> Guard {
        let now = self.0.alive.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.peak.fetch_max(now, Ordering::SeqCst);
        Guard(self.clone())
    }

    pub(crate) fn now(&self) -> usize {
        self.0.alive.load(Ordering::SeqCst)
    }

    pub(crate) fn peak(&self) -> usize {
        self.0.peak.load(Ordering::SeqCst)
    }

    pub(crate) fn dropped(&self) -> usize {
        self.0.dropped.load(Ordering::SeqCst)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.0.alive.fetch_sub(1, Ordering::SeqCst);
        self.0.0.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

pub(crate) fn name(name: &str) -> ProtocolName {
    ProtocolName::new(name).expect("a protocol name")
}

pub(crate) fn echo_name() -> ProtocolName {
    name("/echo/1.0.0")
}

pub(crate) async fn echo(request: Request) -> Result<Bytes, HandlerError> {
    Ok(request.body)
}

/// Tells that it was called, then never ends.
pub(crate) async fn hang(alive: Alive) -> Result<Bytes, HandlerError> {
    let _guard = alive.enter();
    pending().await
}

pub(crate) fn loopback() -> Multiaddr {
    "/ip4/127.0.0.1/tcp/0".parse().expect("an address")
}

/// What a node with this key reaches others with.
pub(crate) fn transport(keypair: &Keypair) -> Boxed<(PeerId, StreamMuxerBox)> {
    let security = Security::new(keypair).expect("the key can sign");
    rt().transport(&security).expect("a transport")
}

/// A node that listens.
pub(crate) async fn start(server: ServerConfig, client: ClientConfig) -> Node {
    let node = Node::builder().listen(loopback()).server_config(server).client_config(client);
    node.build().await.expect("a node")
}

/// A node that listens and answers every echo.
pub(crate) async fn echo_server(config: ServerConfig) -> Node {
    let node = start(config, once()).await;
    node.server().register(&echo_name(), echo).expect("nothing is registered yet");
    node
}

/// A handler that answers every echo once the gate is open.
pub(crate) fn echo_behind(gate: Gate) -> impl Handler {
    move |request: Request| {
        let gate = gate.clone();
        async move {
            gate.opened().await;
            request.body
        }
    }
}

/// A node that does not listen.
pub(crate) async fn client(config: ClientConfig) -> Node {
    Node::builder().client_config(config).build().await.expect("a node")
}

pub(crate) async fn address(node: &Node) -> Multiaddr {
    node.addresses().await.into_iter().next().expect("the node listens")
}

/// Connects one node to the other.
pub(crate) async fn connect(from: &Node, to: &Node) -> PeerId {
    from.connect(address(to).await).await.expect("the other node listens")
}

/// A client with defaults, connected to `server`.
pub(crate) async fn client_of(server: &Node, config: ClientConfig) -> Node {
    let node = client(config).await;
    connect(&node, server).await;
    node
}

/// Sends `body` to the echo at `peer`, and checks that it comes back.
pub(crate) async fn check_echo(node: &Node, peer: PeerId, body: impl Into<Bytes>) {
    let body = body.into();
    let answer = node.client().send(peer, &echo_name(), body.clone()).await;
    let answer = answer.expect("an echo");
    assert!(answer == body, "{} bytes came back changed, as {}", body.len(), answer.len());
}

/// The status of a call that the server answered with a failure.
pub(crate) fn status(outcome: Result<Response, RequestError>) -> (Status, RequestError) {
    let error = outcome.expect_err("the server answers with a failure");
    let status = error.status().unwrap_or_else(|| panic!("not answered: {error:?}")).clone();
    (status, error)
}

/// Bytes without any pattern.
pub(crate) fn noise(len: usize, seed: u64) -> Bytes {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}

/// Text, which compresses to a fraction.
pub(crate) fn text(len: usize, seed: u64) -> Bytes {
    const WORDS: [&[u8]; 8] =
        [b"peer ", b"request ", b"stream ", b"\n", b"answer ", b"of ", b"the ", b"retry: "];
    let picks = noise(16 * 1024, seed);
    let page = picks.iter().flat_map(|pick| WORDS[usize::from(pick % 8)]).copied();
    let page: Vec<u8> = page.collect();
    let mut bytes = Vec::with_capacity(len + page.len());
    while bytes.len() < len {
        bytes.extend_from_slice(&page);
    }
    bytes.truncate(len);
    bytes.into()
}

/// Whether something has happened.
#[derive(Clone, Default)]
pub(crate) struct Flag(Arc<AtomicBool>);

impl Flag {
    pub(crate) fn raise(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
