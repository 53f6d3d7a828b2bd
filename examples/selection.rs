//! What it costs to choose among many nodes: `cargo run --release --example selection [NODES]`.
//!
//! Each line is one strategy. The first choice is all that a request needs which the first node
//! answers; the sort is what the Go library does for every request.

use std::hint::black_box;
use std::time::{Duration, Instant};

use pointsub_core::endpoint::closest::{
    Distance, Nodes, PeakEwma, Selection, Strategy, Weighted, XorOrder,
};
use pointsub_core::{PeerId, Timestamp};

const ROUNDS: u32 = 200;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count = std::env::args().nth(1).map_or(Ok(10_000), |count| count.parse())?;
    let now = Timestamp::ZERO + Duration::from_secs(1);
    let mut nodes = Nodes::new(None);
    let mut peers = Vec::new();
    for number in 0..count {
        let mut id = [7; 38];
        id[..8].copy_from_slice(&u64::to_be_bytes(number));
        let peer = PeerId::from_bytes(&id)?;
        nodes.add(peer, Timestamp::ZERO)?;
        // Something is known of each.
        if let Some(attempt) = nodes.begin(&peer, Timestamp::ZERO) {
            nodes.succeeded(attempt, now);
        }
        peers.push(peer);
    }
    println!("{count} nodes, mean of {ROUNDS}");
    let strategies: [(&str, Box<dyn Strategy>); 3] = [
        ("xor", Box::new(XorOrder)),
        ("weighted", Box::new(Weighted::default())),
        ("two choices", Box::new(PeakEwma)),
    ];
    for (name, strategy) in &strategies {
        let choose = |choices: u32| {
            let took = timed(|round| {
                let mut selection = Selection::new(&round.to_be_bytes(), u64::from(round));
                for _ in 0..choices {
                    black_box(selection.next(&nodes, &**strategy, now));
                }
            });
            took.as_secs_f64() * 1e6
        };
        println!("{name:>12}: first {:7.1} µs, first three {:7.1} µs", choose(1), choose(3));
    }
    let sort = timed(|round| {
        let mut order = peers.clone();
        order.sort_by_cached_key(|peer| Distance::between(&round.to_be_bytes(), peer));
        black_box(order);
    });
    println!("{:>12}: {:13.1} µs", "hash and sort", sort.as_secs_f64() * 1e6);
    Ok(())
}

fn timed(mut f: impl FnMut(u32)) -> Duration {
    f(0);
    let begin = Instant::now();
    (0..ROUNDS).for_each(&mut f);
    begin.elapsed() / ROUNDS
}
