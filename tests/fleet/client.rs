//! A client process: callers who do not wait for each other.

use std::io::Write;
use std::time::{Duration, Instant};

use pointsub_swarm::Multiaddr;
use pointsub_tests::fleet::{Setup, draw};
use pointsub_tests::sim::Rng;
use pointsub_tokio::Node;
use tokio::sync::mpsc;

use crate::server::{identity, protocol};

/// How often a client without calls looks whether there are some to be made.
const LULL: Duration = Duration::from_millis(50);

/// Reads the servers' addresses, connects, says so, and begins when it is told. Prints a line for each
/// call: when it began and how long it took, in microseconds, the latter 0 if it was of no use.
pub(crate) async fn call(setup: &Setup, number: u64) {
    let mut lines = std::io::stdin().lines().map(|line| line.expect("a line"));
    let node = Node::builder().client_config(setup.client.clone()).build().await.expect("a node");
    for server in 0..setup.servers {
        let address: Multiaddr = lines.next().expect("an address").parse().expect("an address");
        let peer = identity(server as u8).public().to_peer_id();
        let address = address.with_p2p(peer).expect("no other peer's");
        node.client().add_server_node(&protocol(), peer).expect("there is room");
        assert_eq!(node.connect(address).await.expect("it is up"), peer);
    }
    println!("ready");
    lines.next();
    let (sender, mut receiver) = mpsc::unbounded_channel::<(u64, u64)>();
    let (setup, rng) = (setup.clone(), Rng::of(setup.seed, &[4, number]));
    tokio::spawn(arrivals(setup, node, rng, sender));
    let mut out = std::io::BufWriter::new(std::io::stdout());
    while let Some((began, took)) = receiver.recv().await {
        writeln!(out, "{began} {took}").expect("the parent reads");
    }
    out.flush().expect("the parent reads");
}

/// Calls come as in the simulator: a Poisson process, whatever becomes of those before.
async fn arrivals(
    setup: Setup,
    node: Node,
    mut rng: Rng,
    sender: mpsc::UnboundedSender<(u64, u64)>,
) {
    let begun = Instant::now();
    let mut next = Duration::ZERO;
    loop {
        let rate = setup.rate(next.as_nanos() as u64) / setup.clients as f64;
        let pause = Duration::from_nanos(draw::exponential(&mut rng, rate));
        // A rate that changes meanwhile is looked at again.
        let comes = pause <= LULL * 20;
        next += pause.min(LULL * 20);
        if next > setup.until {
            return;
        }
        tokio::time::sleep_until((begun + next).into()).await;
        if comes {
            tokio::spawn(one(setup.clone(), node.client().clone(), begun, sender.clone()));
        }
    }
}

async fn one(
    setup: Setup,
    client: pointsub_tokio::Client,
    begun: Instant,
    sender: mpsc::UnboundedSender<(u64, u64)>,
) {
    let asked = Instant::now();
    let mut call = client.send_closest(&protocol(), "a key of some bytes").idempotent(true);
    if let Some(deadline) = setup.deadline {
        call = call.timeout(deadline);
    }
    let answer = call.await;
    let took = asked.elapsed();
    let good = answer.is_ok() && took <= setup.worth;
    let took = if good { took.as_micros().max(1) as u64 } else { 0 };
    _ = sender.send(((asked - begun).as_micros() as u64, took));
}
