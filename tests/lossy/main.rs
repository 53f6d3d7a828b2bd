//! Requests over QUIC on a link that loses datagrams, beside libp2p's own request-response:
//! `cargo run --release -p pointsub-tests --example lossy -- [SECONDS]` (30 for each cell).
//!
//! Both ends are in this process. A proxy carries each datagram 100 ms later, each way, and loses 20 of
//! 1000. All cells of one side go over one connection, as a program has it.

mod stock;

/// A bad network, shared with the end-to-end tests.
#[allow(dead_code, reason = "the tests use all of it")]
#[path = "../tests/e2e/proxy/mod.rs"]
mod proxy;

use std::future::Future;
use std::time::{Duration, Instant};

use pointsub_swarm::{Bytes, Multiaddr, PeerId, ProtocolName, Request};
use pointsub_tests::sim::Rng;
use pointsub_tokio::Node;

use proxy::UdpProxy;
use stock::Stock;

/// Each way.
const DELAY: Duration = Duration::from_millis(100);
/// Of a thousand datagrams, each way.
const LOSS: u32 = 20;
/// How long each cell runs before anything is counted.
const WARM_UP: Duration = Duration::from_secs(3);
/// Bytes of a body, and how many callers ask one after the other.
const CELLS: [(usize, usize); 4] = [(512, 1), (512, 64), (64 * 1024, 8), (1024 * 1024, 2)];
const ECHO: ProtocolName = ProtocolName::from_static("/echo/1.0.0");

/// Sends a body and gets it back.
trait Caller: Clone + Send + Sync + 'static {
    fn call(&self, body: Bytes) -> impl Future<Output = Result<Bytes, String>> + Send;
}

#[derive(Clone)]
struct Ours {
    node: Node,
    server: PeerId,
}

impl Caller for Ours {
    async fn call(&self, body: Bytes) -> Result<Bytes, String> {
        let answer = self.node.client().send(self.server, &ECHO, body).await;
        answer.map(Bytes::from).map_err(|error| error.to_string())
    }
}

/// What came of a cell.
#[derive(Default)]
struct Tally {
    took: Vec<Duration>,
    failed: u64,
}

#[tokio::main]
async fn main() {
    let seconds = std::env::args().nth(1).map_or(30, |text| text.parse().expect("seconds"));
    let time = Duration::from_secs(seconds);
    println!("| bytes × callers | | requests/s | p50 ms | p99 ms | failed |");
    println!("|---|---|---|---|---|---|");
    let server = serve().await;
    let way = through(server.address().await.expect("it listens"));
    let node = Node::builder().build().await.expect("a node");
    node.connect(way.address()).await.expect("it gets through");
    let ours = Ours { node, server: server.peer_id() };
    let way_to_stock = through(stock::serve().await);
    let stock = Stock::connect(way_to_stock.address()).await;
    for cell in CELLS {
        tell(cell, "PointSub", &ours, time).await;
        tell(cell, "libp2p-request-response", &stock, time).await;
    }
}

async fn serve() -> Node {
    let quic = "/ip4/127.0.0.1/udp/0/quic-v1".parse().expect("an address");
    let node = Node::builder().listen(quic).build().await.expect("a node");
    node.server().register(&ECHO, |request: Request| async move { request.body }).expect("first");
    node
}

fn through(address: Multiaddr) -> UdpProxy {
    UdpProxy::to(address).delay(DELAY).loss(LOSS).start()
}

async fn tell((size, callers): (usize, usize), name: &str, caller: &impl Caller, time: Duration) {
    measure(size, callers, caller, WARM_UP).await;
    let began = Instant::now();
    let mut tally = measure(size, callers, caller, time).await;
    let lasted = began.elapsed().as_secs_f64();
    tally.took.sort();
    let quantile = |part: f64| {
        let index = (tally.took.len() as f64 * part) as usize;
        let took = tally.took.get(index.min(tally.took.len().saturating_sub(1)));
        took.map_or(f64::NAN, |took| took.as_secs_f64() * 1e3)
    };
    println!(
        "| {size} × {callers} | {name} | {:.1} | {:.0} | {:.0} | {} |",
        tally.took.len() as f64 / lasted,
        quantile(0.5),
        quantile(0.99),
        tally.failed,
    );
}

/// So many callers ask for so long, and wait for their last answers.
async fn measure(size: usize, callers: usize, caller: &impl Caller, time: Duration) -> Tally {
    // It does not get smaller by compression.
    let mut rng = Rng::new(1);
    let body: Bytes = (0..size).map(|_| rng.next_u64() as u8).collect::<Vec<u8>>().into();
    let until = Instant::now() + time;
    let tasks = (0..callers).map(|_| {
        let (caller, body) = (caller.clone(), body.clone());
        tokio::spawn(async move {
            let mut tally = Tally::default();
            while Instant::now() < until {
                let asked = Instant::now();
                match caller.call(body.clone()).await {
                    Ok(answer) if answer == body => tally.took.push(asked.elapsed()),
                    _ => tally.failed += 1,
                }
            }
            tally
        })
    });
    let mut sum = Tally::default();
    for task in tasks.collect::<Vec<_>>() {
        let tally = task.await.expect("no panic");
        sum.failed += tally.failed;
        sum.took.extend(tally.took);
    }
    sum
}
