//! What the choice of a node costs.

use std::hint::black_box;
use std::time::{Duration, Instant};

use pointsub_core::endpoint::closest::{
    NearFirst, Nodes, PeakEwma, Point, Selection, Strategy, Weighted,
};
use pointsub_core::{PeerId, Timestamp};

use super::{Options, Table};

/// How often is chosen.
const CHOICES: u32 = 20_000;

/// Nanoseconds for a choice, by strategy and number of nodes. The clock is read here.
pub(super) fn selection(_: &Options) -> Table {
    let mut table = Table::new(&["strategy", "nodes", "ns / choice"]);
    let strategies: [(&str, &dyn Strategy); 3] = [
        ("near first", &NearFirst),
        ("two choices", &PeakEwma),
        ("weighted", &Weighted::default()),
    ];
    for (name, strategy) in strategies {
        for count in [50, 10_000_u32] {
            let mut nodes = known(count);
            let (mut now, key) = (Timestamp::ZERO + Duration::from_secs(1), Point::of_key(b"key"));
            let choices = if count > 50 && name != "near first" { CHOICES / 20 } else { CHOICES };
            let begun = Instant::now();
            for random in 0..choices {
                // 10 000 calls a second.
                now = now + Duration::from_micros(100);
                nodes.refresh(now);
                let mut selection = Selection::at(key, u64::from(random));
                black_box(selection.next(&nodes, strategy, now));
            }
            let each = begun.elapsed().as_nanos() / u128::from(choices);
            table.row([name.to_string(), count.to_string(), each.to_string()]);
        }
    }
    table
}

/// Nodes that have answered twice.
fn known(count: u32) -> Nodes {
    let mut nodes = Nodes::new(None);
    for number in 0..count {
        let peer = PeerId::from_bytes(&[&[b'n'][..], &number.to_be_bytes()[..]].concat());
        let peer = peer.expect("a usable id");
        nodes.add(peer, Timestamp::ZERO).expect("few enough");
        for _ in 0..2 {
            let attempt = nodes.begin(&peer, Timestamp::ZERO).expect("it was added");
            let took = Duration::from_millis(10 + u64::from(number % 10));
            nodes.succeeded(attempt, Timestamp::ZERO + took);
        }
    }
    nodes
}
