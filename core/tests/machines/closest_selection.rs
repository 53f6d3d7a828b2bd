//! Which node is the closest, and who comes next.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use crate::support::endpoints::{Random, START, answer, begin, fail, ms, nodes, order, peer};
use pointsub_core::endpoint::closest::{
    Attempt, Candidate, Choices, Distance, LATENCY_FRESH, LOAD_FRESH, MAX_NODES, NearFirst, Node,
    Nodes, PeakEwma, Selection, Strategy, Weighted, XorOrder,
};
use pointsub_core::{PeerId, Timestamp};

/// Least busy first, of all.
#[derive(Debug)]
struct LeastBusy;

impl Strategy for LeastBusy {
    fn cost(&self, candidate: &Candidate<'_>) -> u64 {
        u64::from(candidate.node.in_flight())
    }
}

/// Notes how often another strategy was asked, and its last answer.
#[derive(Debug, Default)]
struct Watched<S>(S, Mutex<(u32, u64)>);

impl<S: Strategy> Strategy for Watched<S> {
    fn cost(&self, candidate: &Candidate<'_>) -> u64 {
        let (mut watched, cost) = (self.1.lock().expect("no panic"), self.0.cost(candidate));
        *watched = (watched.0 + 1, cost);
        cost
    }

    fn choices(&self) -> Choices {
        self.0.choices()
    }
}

/// The public keys of the Ed25519 seeds [1; 32] to [8; 32].
const GO_KEYS: [&str; 8] = [
    "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c",
    "8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394",
    "ed4928c628d1c2c6eae90338905995612959273a5c63f93636c14614ac8737d1",
    "ca93ac1705187071d67b83c7ff0efe8108e8ec4530575d7726879333dbdabe7c",
    "6e7a1cdd29b0b78fd13af4c5598feff4ef2a97166e3ca6f2e4fbfccd80505bf1",
    "8a875fff1eb38451577acd5afee405456568dd7c89e090863a0557bc7af49f17",
    "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c",
    "1398f62c6d1a457c51ba6a4b5f3dbd2f69fca93216218dc8997e416bd17d93ca",
];

/// What Go gives for them and three keys: `sha256.Sum256` of the key and of the peer id, which is a
/// Go string of raw bytes, XORed as `big.Int`, ascending. Number of the seed, distance.
const GO_ORDERS: [(&str, &str); 3] = [
    (
        "",
        "7 1b3f3d2ccee0c84a95dd9bee0331f55dc3a03483dfbcc1edb601541f4057e25e
     6 4349e2d82791dd2d7659277fa900e3f340c66d88e2f321f33c58e2632eb57224
     5 74137f337712344f0f8c8f3b4e3474406971bcb11db774071c28d3f32bbdf5e0
     2 96450c333b29001454efb9489a6b4c1e5b140df3cb87ad33e9f4ee663e8ed627
     8 bf866c43ba375836a4ab4f703180766e4454f0610bc9ee52e3cf8df3f34d3076
     1 cd195a462fde72af937e9b15b5524e8ef27584d9d8208241fa8a6f500e74aa7b
     3 d61152ce48cb776e7d847e15ead5a83839469147ba470c8e737f4246cc46a460
     4 e1e0e6f6339f91e5fc795af5772e483d3a94075c8e3ccca0672ce7304996ad1c",
    ),
    (
        "hello",
        "1 025bd3bee892cdb52f6d54f7e9841534cecddb61a31c53532d1bc529e5ad8a0a
     3 1953db368f87c874c197b1f7b603f38205feceffc17bdd9ca4eee83f279f8411
     4 2ea26f0ef4d32eff406a95172bf81387062c58e4f5001db2b0bd4d49a24f8d6d
     2 590785cbfc65bf0ee8fc76aac6bd17a467ac524bb0bb7c213e65441fd557f656
     8 70c4e5bb7d7be72c18b880926d562dd478ecafd970f53f40345e278a18941007
     6 8c0b6b20e0dd6237ca4ae89df5d6b8497c7e323099cff0e1ebc9481ac56c5255
     5 bb51f6cbb05e8b55b39f40d912e22ffa55c9e309668ba515cbb9798ac064d591
     7 d47db4d409ac775029ce540c5fe7aee7ff186b3ba48010ff6190fe66ab8ec22f",
    ),
    (
        "请求数据",
        "3 02f2b28de177c0a5fbd25f5fd7aafc1c32895e083b7846654c169c092682c1ff
     1 19faba058662c5641528ba5f882d1aaaf9ba4b96591fc8aac5e3b11fe4b0cfe4
     4 350306b59a23262e7a2f7bbf4a511c19315bc8130f03864b5845397fa352c883
     2 42a6ec709295b7dfd2b99802a714183a50dbc2bc4ab8e7d8d69d3029d44ab3b8
     8 6b658c00138beffd22fd6e3a0cff224a4f9b3f2e8af6a4b9dca653bc198955e9
     6 97aa029b8e2d6ae6f00f0635947fb7d74b09a2c763cc6b1803313c2cc47117bb
     5 a0f09f70deae838489daae71734b206462be73fe9c883eec23410dbcc179907f
     7 cfdcdd6f675c7f81138bbaa43e4ea179c86ffbcc5e838b0689688a50aa9387c1",
    ),
];

fn go_peer(seed: usize) -> PeerId {
    let key = GO_KEYS[seed - 1];
    let bytes = (0..32).map(|i| u8::from_str_radix(&key[2 * i..2 * i + 2], 16).expect("hex"));
    let bytes: Vec<u8> = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20].into_iter().chain(bytes).collect();
    PeerId::from_bytes(&bytes).expect("38 bytes")
}

/// N2: known answers of Go's SHA-256 and big.Int.
#[test]
fn distances_and_their_order_are_those_of_go() {
    let mut nodes = Nodes::new(None);
    (1..=8).for_each(|seed| assert_eq!(nodes.add(go_peer(seed), START), Ok(true)));
    for (key, rows) in GO_ORDERS {
        let mut expected = Vec::new();
        for (seed, distance) in rows.lines().filter_map(|row| row.trim().split_once(' ')) {
            expected.push(go_peer(seed.parse().expect("a number")));
            let got = Distance::between(key.as_bytes(), &expected[expected.len() - 1]);
            assert_eq!(format!("{got:?}"), format!("Distance({distance})"));
            assert_eq!(format!("{:016x}", got.leading_bits()), distance[..16]);
        }
        assert_eq!(expected.len(), 8);
        let selection = Selection::new(key.as_bytes(), 7);
        assert_eq!(order(&nodes, &XorOrder, selection, START), expected);
    }
}

/// Up to 40 nodes with a past.
fn with_a_past(seed: u64, reversed: bool) -> (Nodes, Timestamp) {
    let mut random = Random(seed);
    let count = 1 + random.below(40);
    let mut nodes = Nodes::new(None);
    for place in 0..count {
        let number = if reversed { count - 1 - place } else { place };
        assert_eq!(nodes.add(peer(number), START), Ok(true));
    }
    for step in 0..4 * count {
        let (number, now) = (random.below(count), ms(100 * step));
        match random.below(6) {
            0 => nodes.set_load(&peer(number), random.below(1200) as u16, now),
            1 => nodes.set_online(&peer(number), random.below(2) == 0),
            2 => fail(&mut nodes, number, now),
            3 => drop(begin(&mut nodes, number, now)),
            _ => answer(&mut nodes, number, random.below(500), now),
        }
    }
    (nodes, ms(400 * count + random.below(1000)))
}

/// N2, N8: without sorting.
#[test]
fn a_selection_is_a_full_sort_without_the_unusable() {
    for seed in 0..300 {
        let (nodes, now) = with_a_past(seed, false);
        let key = seed.to_be_bytes();
        let mut random = Random(seed ^ 0xabcd);
        let excluded: Vec<PeerId> =
            nodes.iter().map(|node| *node.peer()).filter(|_| random.below(5) == 0).collect();
        let check = |strategy: &dyn Strategy, cost: &dyn Fn(&Node, &Distance) -> u64| {
            let mut sorted: Vec<_> = nodes
                .iter()
                .filter(|node| node.is_usable(now) && !excluded.contains(node.peer()))
                .map(|node| {
                    let distance = Distance::between(&key, node.peer());
                    (cost(node, &distance), distance, *node.peer())
                })
                .collect();
            sorted.sort();
            let sorted: Vec<PeerId> = sorted.into_iter().map(|(_, _, peer)| peer).collect();
            let mut selection = Selection::new(&key, seed);
            excluded.iter().for_each(|peer| selection.exclude(*peer));
            assert_eq!(order(&nodes, strategy, selection, now), sorted, "seed {seed}");
        };
        check(&XorOrder, &|_, _| 0);
        check(&LeastBusy, &|node, _| u64::from(node.in_flight()));
        let weighted = Weighted::default();
        check(&weighted, &|node, distance| {
            1_000_000
                - 40 * u64::from(Weighted::distance_part(distance))
                - 30 * u64::from(weighted.latency_part(node.latency(now)))
                - 20 * u64::from(Weighted::load_part(node.load(now)))
                - 10 * u64::from(Weighted::online_part(node.online()))
        });
    }
}

/// N2: the order is total.
#[test]
fn the_order_of_adding_plays_no_part() {
    for seed in 0..100 {
        let (one, now) = with_a_past(seed, false);
        let (other, _) = with_a_past(seed, true);
        let strategies: [&dyn Strategy; 3] = [&XorOrder, &Weighted::default(), &PeakEwma];
        for strategy in strategies {
            let selection = Selection::new(b"key", seed);
            let named = order(&one, strategy, selection.clone(), now);
            assert_eq!(named, order(&other, strategy, selection, now), "{strategy:?}");
            let usable = one.iter().filter(|node| node.is_usable(now)).count();
            assert_eq!(named.len(), usable, "each once");
        }
    }
}

/// N4: no float, no overflow.
#[test]
fn the_parts_of_the_score_at_their_extremes() {
    let weighted = Weighted::default();
    let half = Distance::from_bytes(std::array::from_fn(|i| if i == 0 { 0x80 } else { 0 }));
    let distances = [Distance::MIN, half, Distance::MAX];
    assert_eq!(distances.map(|d| Weighted::distance_part(&d)), [10_000, 5_000, 1]);
    let parts = [0, 1, 100, 300, 1_000_000, 2_000_000]
        .map(|millis| weighted.latency_part(Some(Duration::from_millis(millis))));
    assert_eq!(parts, [10_000, 9_900, 5_000, 2_500, 0, 0]);
    assert_eq!(weighted.latency_part(None), 5_000);
    let mut extreme = weighted;
    extreme.half_latency = Duration::ZERO;
    let latencies = [Duration::ZERO, Duration::MAX].map(|l| extreme.latency_part(Some(l)));
    assert_eq!(latencies, [10_000, 0]);
    extreme.half_latency = Duration::MAX;
    assert_eq!(extreme.latency_part(Some(Duration::MAX)), 5_000);
    let loads = [None, Some(0), Some(250), Some(1000), Some(u16::MAX)];
    assert_eq!(loads.map(Weighted::load_part), [5_000, 10_000, 7_500, 0, 0]);
    assert_eq!([None, Some(true), Some(false)].map(Weighted::online_part), [5_000, 10_000, 0]);
}

/// N4: 40, 30, 20, 10.
#[test]
fn the_score_is_the_weighted_sum() {
    let mut nodes = nodes(1);
    let weighted = Watched::<Weighted>::default();
    let distance_part = Weighted::distance_part(&Distance::between(b"k", &peer(0)));
    let score = |nodes: &Nodes, now| {
        Selection::new(b"k", 0).next(nodes, &weighted, now).expect("it is usable");
        1_000_000 - weighted.1.lock().expect("no panic").1 - 40 * u64::from(distance_part)
    };
    assert_eq!(score(&nodes, START), 300_000, "nothing is known");
    answer(&mut nodes, 0, 300, START);
    assert_eq!(score(&nodes, ms(300)), 30 * 2_500 + 20 * 5_000 + 10 * 10_000);
    nodes.set_load(&peer(0), 100, ms(300));
    assert_eq!(score(&nodes, ms(300)), 30 * 2_500 + 20 * 9_000 + 10 * 10_000);
    nodes.set_online(&peer(0), false);
    assert_eq!(score(&nodes, ms(300)), 30 * 2_500 + 20 * 9_000);
    assert_eq!(score(&nodes, ms(301) + LOAD_FRESH), 30 * 2_500 + 20 * 5_000, "stale load");
    assert_eq!(score(&nodes, ms(301) + LATENCY_FRESH), 50 * 5_000, "stale latency");
}

#[test]
fn two_choices_avoid_the_busy_one_and_share_the_rest_evenly() {
    let mut nodes = nodes(10);
    (0..10).for_each(|number| answer(&mut nodes, number, 10, START));
    let _busy = begin(&mut nodes, 4, ms(10));
    let mut counts = BTreeMap::<PeerId, u32>::new();
    let mut random = Random(1);
    for _ in 0..9000 {
        let mut selection = Selection::new(b"always the same", random.next());
        *counts.entry(selection.next(&nodes, &PeakEwma, ms(10)).expect("usable")).or_default() += 1;
    }
    assert!(!counts.contains_key(&peer(4)), "the busy one loses against any");
    assert!(counts.values().all(|count| (880..=1120).contains(count)), "{counts:?}");
}

/// N4: peak EWMA.
#[test]
fn two_choices_send_slow_nodes_less_but_something() {
    let mut nodes = nodes(8);
    let mut random = Random(2);
    let mut ends: Vec<(Timestamp, Attempt)> = Vec::new();
    let mut counts = [0_u32; 8];
    for tick in 0..40_000 {
        let now = ms(tick);
        while let Some(due) = ends.iter().position(|(end, _)| *end <= now) {
            nodes.succeeded(ends.swap_remove(due).1, now);
        }
        let mut selection = Selection::new(b"", random.next());
        let chosen = selection.next(&nodes, &PeakEwma, now).expect("all are usable");
        let number = (0..8).find(|n| peer(*n) == chosen).expect("one of them");
        counts[number as usize] += 1;
        let took = if number < 2 { 200 } else { 20 };
        ends.push((ms(tick + took), nodes.begin(&chosen, now).expect("it is a node")));
    }
    let slow = counts[..2].iter().max().expect("two");
    let fast = counts[2..].iter().min().expect("six");
    assert!(slow * 3 < *fast, "{counts:?}");
    assert!(counts.iter().all(|count| *count > 0), "nobody starves: {counts:?}");
}

/// N8: one look at each, no sort.
#[test]
fn the_first_of_ten_thousand_needs_one_look_at_each() {
    let nodes = nodes(MAX_NODES as u64);
    let weighted = Watched::<Weighted>::default();
    let mut selection = Selection::new(b"key", 0);
    for asked in [10_000, 19_999, 29_997] {
        selection.next(&nodes, &weighted, START).expect("all are usable");
        assert_eq!(weighted.1.lock().expect("no panic").0, asked);
    }
    let two = Watched::<PeakEwma>::default();
    Selection::new(b"key", 0).next(&nodes, &two, START).expect("all are usable");
    assert_eq!(two.1.lock().expect("no panic").0, 2);
}

/// Of two that are idle, the faster one; the peak counts even if nothing waits.
#[test]
fn two_choices_prefer_the_faster_of_two_idle_nodes() {
    let mut nodes = nodes(2);
    answer(&mut nodes, 0, 200, ms(0));
    answer(&mut nodes, 1, 2, ms(0));
    let now = ms(201);
    for rng in 0..64 {
        let mut selection = Selection::new(b"key", rng);
        assert_eq!(selection.next(&nodes, &PeakEwma, now), Some(peer(1)));
    }
}

/// Callers without a deadline report nothing of a node that falls silent. That it says nothing although
/// something is under way there is seen all the same.
#[test]
fn a_silent_node_is_avoided_although_no_attempt_has_failed() {
    let mut nodes = nodes(2);
    for number in [0, 1] {
        answer(&mut nodes, number, 10, ms(0));
        answer(&mut nodes, number, 10, ms(20));
    }
    let _silent = begin(&mut nodes, 0, ms(100));
    let mut busy: Vec<_> = (0..5).map(|_| begin(&mut nodes, 1, ms(500))).collect();
    nodes.succeeded(busy.pop().expect("five"), ms(510));
    let chosen = |nodes: &mut Nodes, now: Timestamp| {
        nodes.refresh(now);
        let mut random = Random(1);
        let mut first =
            || Selection::new(b"", random.next()).next(nodes, &NearFirst, now).expect("usable");
        (0..200).filter(|_| first() == peer(0)).count()
    };
    // One draw in four is of the same node twice.
    let (soon, later) = (chosen(&mut nodes, ms(550)), chosen(&mut nodes, ms(700)));
    assert!((20..80).contains(&soon), "chosen {soon} times although it costs more");
    assert!(later < 5, "chosen {later} times although it is silent");
    let silence = nodes.get(&peer(0)).expect("a node").silence(ms(700));
    assert_eq!(silence, Duration::from_millis(600));

    nodes.heard(&peer(0), ms(700));
    let back = chosen(&mut nodes, ms(700));
    assert!(back > 120, "chosen {back} times although it has less to do");
}

/// To go far costs more than to be refused now and then. Where near nodes are busy time and again, some
/// requests go to far ones from the beginning, until near ones have answered for a while.
#[test]
fn near_nodes_that_are_busy_time_and_again_send_some_requests_far_for_a_while() {
    let mut nodes = nodes(8);
    let near = |number: u64| number < 4;
    for at in [0, 1000] {
        for number in 0..8 {
            answer(&mut nodes, number, if near(number) { 5 } else { 200 }, ms(at));
        }
    }
    let far = |nodes: &mut Nodes, now: Timestamp| {
        nodes.refresh(now);
        let mut random = Random(7);
        let far_ones = [4, 5, 6, 7].map(peer);
        let mut first =
            || Selection::new(b"", random.next()).next(nodes, &NearFirst, now).expect("usable");
        (0..2000).filter(|_| far_ones.contains(&first())).count()
    };
    assert!(far(&mut nodes, ms(2000)) < 40);
    let busy = |nodes: &mut Nodes, number: u64| {
        let attempt = begin(nodes, number, ms(2000));
        nodes.busy(attempt, ms(2000));
    };
    busy(&mut nodes, 0);
    // When what it told of its load is old.
    let once = far(&mut nodes, ms(5000));
    assert!(once < 40, "{once} of 2000 went far although a node was busy once");
    (0..4).for_each(|number| busy(&mut nodes, number));
    let soon = far(&mut nodes, ms(5000));
    assert!((200..800).contains(&soon), "{soon} of 2000 went far");
    (0..600).for_each(|n| answer(&mut nodes, 1 + n % 3, 5, ms(5000)));
    let later = far(&mut nodes, ms(6100));
    assert!(later < 60, "{later} of 2000 went far");
}
