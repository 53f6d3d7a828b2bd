//! Lists of servers in the DNS: what is read of a record, when a list is read, and who is found in it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pointsub_core::network::Address;
use pointsub_core::network::dns::{
    Dns, DnsAnswer, DnsEntry, DnsFact, DnsName, DnsOrder, DnsOutcome, QueryId,
};
use pointsub_core::{PeerId, Timestamp};

const PEER: &str = "12D3KooWNvSZnPi3RrhrTwEY4LuuBeB6K6facKUCJcyWG1aoDd2p";
const RSA: &str = "QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN";
const TTL: Duration = Duration::from_secs(100);

type Entry = DnsEntry<Address>;

fn seconds(seconds: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_secs(seconds)
}

fn name(text: &str) -> DnsName {
    DnsName::new(text).expect("a name")
}

fn peer(n: u8) -> PeerId {
    PeerId::from_bytes(&[n + 1]).expect("an id")
}

fn address(n: u8) -> Address {
    Address::new(&[n])
}

fn at(n: u8) -> Entry {
    DnsEntry::Peer { peer: peer(n), address: address(n) }
}

fn list(text: &str) -> Entry {
    DnsEntry::List { name: name(text), peer: None }
}

fn list_of(text: &str, n: u8) -> Entry {
    DnsEntry::List { name: name(text), peer: Some(peer(n)) }
}

fn dns() -> Dns {
    Dns::new(name("a"), Some(peer(0)), 1)
}

fn orders(dns: &mut Dns) -> Vec<DnsOrder> {
    std::iter::from_fn(|| dns.poll_order()).collect()
}

fn queries(orders: &[DnsOrder]) -> Vec<(QueryId, String)> {
    let queries = orders.iter().filter_map(|order| match order {
        DnsOrder::Query(id, name) => Some((*id, name.to_string())),
        _ => None,
    });
    queries.collect()
}

fn found(n: u8, ttl: Duration) -> DnsOrder {
    DnsOrder::Found { peer: peer(n), addresses: vec![address(n)], ttl }
}

/// Looks up, with these records of each name; other names have none, and `silent` is not answered. Returns
/// what is ordered besides queries, and the names that were asked for.
fn read(
    dns: &mut Dns,
    zone: &[(&str, Vec<Entry>)],
    now: Timestamp,
) -> (Vec<DnsOrder>, Vec<String>) {
    dns.handle(DnsFact::LookUp, now);
    let (mut rest, mut names) = (Vec::new(), Vec::new());
    loop {
        let all = orders(dns);
        let asked = queries(&all);
        rest.extend(all.into_iter().filter(|order| !matches!(order, DnsOrder::Query(..))));
        if asked.is_empty() {
            return (rest, names);
        }
        for (id, name) in asked {
            let records = zone.iter().find(|(of, _)| *of == name).map(|(_, records)| records);
            let entries = records.cloned().unwrap_or_default();
            dns.handle(
                match name.as_str() {
                    "silent" => DnsFact::Failed(id),
                    _ => DnsFact::Answered(id, DnsAnswer { ttl: TTL, entries }),
                },
                now,
            );
            names.push(name);
        }
    }
}

fn outcome(orders: &[DnsOrder]) -> DnsOutcome {
    let Some(DnsOrder::Ended(outcome)) = orders.last() else { panic!("not ended: {orders:?}") };
    *outcome
}

fn peers(orders: &[DnsOrder]) -> BTreeSet<PeerId> {
    let peers = orders.iter().filter_map(|order| match order {
        DnsOrder::Found { peer, .. } => Some(*peer),
        _ => None,
    });
    peers.collect()
}

fn lost(orders: &[DnsOrder]) -> Vec<PeerId> {
    let lost = orders.iter().filter_map(|order| match order {
        DnsOrder::Lost(peer) => Some(*peer),
        _ => None,
    });
    lost.collect()
}

#[test]
fn records_are_read_as_libp2p_writes_them() {
    let parse = |text: &str| DnsEntry::parse(text.as_bytes()).map(|entry| format!("{entry:?}"));
    for id in [PEER, RSA] {
        let text = format!("dnsaddr=/ip4/192.0.2.1/udp/4001/quic-v1/p2p/{id}");
        let Some(DnsEntry::Peer { peer, address }) = DnsEntry::parse(text.as_bytes()) else {
            panic!("{text}")
        };
        assert_eq!((peer.to_string().as_str(), address), (id, "/ip4/192.0.2.1/udp/4001/quic-v1"));
    }
    let relayed = format!("dnsaddr=/ip4/192.0.2.1/tcp/1/p2p/{RSA}/p2p-circuit/p2p/{PEER}");
    let Some(DnsEntry::Peer { peer, address }) = DnsEntry::parse(relayed.as_bytes()) else {
        panic!("{relayed}")
    };
    assert_eq!(peer.to_string(), PEER);
    assert_eq!(address, format!("/ip4/192.0.2.1/tcp/1/p2p/{RSA}/p2p-circuit"));
    let nested = format!("dnsaddr=/dnsaddr/Sv15.bootstrap.libp2p.io/p2p/{RSA}");
    let Some(DnsEntry::List { name, peer: Some(peer) }) = DnsEntry::parse(nested.as_bytes()) else {
        panic!("{nested}")
    };
    assert_eq!((name.as_str(), peer.to_string().as_str()), ("sv15.bootstrap.libp2p.io", RSA));
    let whole = DnsEntry::parse(b"dnsaddr=/dnsaddr/example.org");
    assert!(matches!(whole, Some(DnsEntry::List { peer: None, .. })), "{whole:?}");

    let long = format!("dnsaddr=/{}/p2p/{PEER}", "x".repeat(1024));
    let digest = format!("dnsaddr=/ip4/192.0.2.1/tcp/1/p2p/{}", "1".repeat(80));
    let other = format!("addr=/ip4/192.0.2.1/tcp/1/p2p/{PEER}");
    let suffix = format!("dnsaddr=/dnsaddr/example.org/tcp/1/p2p/{PEER}");
    let bare = format!("dnsaddr=/p2p/{PEER}");
    for wrong in [
        "",
        "dnsaddr=",
        "v=spf1 -all",
        "dnsaddr=/ip4/192.0.2.1/tcp/1",
        "dnsaddr=/ip4/1/p2p/",
        "dnsaddr=/ip4/192.0.2.1/tcp/1/p2p/l0O",
        "dnsaddr=/ip4/192.0.2.1/tcp/1/p2p/12D3KooW",
        "dnsaddr=/dnsaddr/",
        "dnsaddr=/dnsaddr/a..b",
        "dnsaddr=/dnsaddr/example.org/",
        &long,
        &digest,
        &other,
        &suffix,
        &bare,
    ] {
        assert_eq!(parse(wrong), None, "{wrong}");
    }
    assert_eq!(DnsEntry::parse(&[0xff; 40]), None);
}

#[test]
fn names_are_those_of_the_dns() {
    assert_eq!(name("Example.ORG.").txt_name(), "_dnsaddr.example.org.");
    let (label, long) = ("x".repeat(64), format!("{}org", "example.".repeat(31)));
    for wrong in ["", ".", "a..b", "a b", "a/b", "é.org", "_dnsaddr.example.org", &label, &long] {
        let error = DnsName::new(wrong).expect_err(wrong).to_string();
        assert!(error.contains("244 characters"), "{error}");
    }
    assert!(DnsName::new(&format!("{}org", "example.".repeat(30))).is_ok());
}

#[test]
fn who_is_listed_is_found_and_who_is_not_any_more_is_lost() {
    let mut dns = dns();
    let (ordered, asked) = read(&mut dns, &[("a", vec![at(1), at(2), at(0)])], seconds(0));
    assert_eq!(asked, ["a"]);
    assert_eq!(peers(&ordered), BTreeSet::from([peer(1), peer(2)]), "and not itself");
    assert!(ordered.contains(&found(1, TTL)), "{ordered:?}");
    assert_eq!((outcome(&ordered).peers, dns.next_deadline()), (2, None));

    let (ordered, asked) = read(&mut dns, &[], seconds(79));
    assert!(asked.is_empty(), "the records still hold: {asked:?}");
    assert_eq!(peers(&ordered).len(), 2);
    assert!(ordered.contains(&found(1, Duration::from_secs(21))), "{ordered:?}");

    let (ordered, asked) = read(&mut dns, &[("a", vec![at(2), at(3)])], seconds(80));
    assert_eq!(asked, ["a"]);
    assert_eq!(peers(&ordered), BTreeSet::from([peer(2), peer(3)]));
    assert_eq!(lost(&ordered), [peer(1)]);
}

#[test]
fn lists_lead_to_lists_and_end_where_they_lead_back() {
    let zone = [
        ("a", vec![list("b"), at(1), list("a")]),
        ("b", vec![at(2), list("a"), list("c"), list("b")]),
        ("c", vec![list("a"), at(3)]),
    ];
    let (ordered, mut asked) = read(&mut dns(), &zone, seconds(0));
    asked.sort();
    assert_eq!(asked, ["a", "b", "c"], "each of them once");
    assert_eq!(peers(&ordered), [1, 2, 3].map(peer).into());
    assert!(!outcome(&ordered).cut, "a circle is no more than it is");
}

#[test]
fn of_a_list_for_one_peer_only_that_one_counts() {
    let zone = [
        ("a", vec![list_of("b", 1)]),
        ("b", vec![at(1), at(2), list("c"), list_of("d", 2), list_of("e", 1)]),
        ("c", vec![at(3), DnsEntry::Peer { peer: peer(1), address: address(9) }]),
        ("d", vec![at(1), at(4)]),
    ];
    let (ordered, mut asked) = read(&mut dns(), &zone, seconds(0));
    asked.sort();
    assert_eq!(asked, ["a", "b", "c", "e"], "no peer is both");
    assert_eq!(peers(&ordered), [peer(1)].into());
}

#[test]
fn it_is_no_deeper_than_four_and_asks_for_no_more_than_thirty_two() {
    let deep = [
        ("a", vec![list("b")]),
        ("b", vec![list("c")]),
        ("c", vec![list("d")]),
        ("d", vec![list("e"), at(1)]),
        ("e", vec![at(2)]),
    ];
    let (ordered, asked) = read(&mut dns(), &deep, seconds(0));
    assert_eq!(asked, ["a", "b", "c", "d"]);
    assert_eq!((peers(&ordered), outcome(&ordered).cut), ([peer(1)].into(), true));

    let many = (0..60).map(|n| list(&format!("n{n}"))).collect();
    let (ordered, asked) = read(&mut dns(), &[("a", many)], seconds(0));
    let outcome = outcome(&ordered);
    assert_eq!((asked.len(), outcome.queries, outcome.cut), (32, 32, true));
}

#[test]
fn of_floods_little_is_believed() {
    let crowd: Vec<Entry> = (1..=200).map(at).collect();
    let homes = (1..=60).map(|n| DnsEntry::Peer { peer: peer(1), address: address(n) });
    let (ordered, _) = read(&mut dns(), &[("a", crowd.clone())], seconds(0));
    assert_eq!((peers(&ordered).len(), outcome(&ordered).cut), (64, true));
    let zone = [("a", [crowd, vec![list("b")]].concat()), ("b", (1..=64).map(at).collect())];
    let (ordered, _) = read(&mut dns(), &zone, seconds(0));
    assert!(peers(&ordered).len() <= 64);
    let (ordered, _) = read(&mut dns(), &[("a", homes.collect())], seconds(0));
    let Some(DnsOrder::Found { addresses, .. }) = ordered.first() else { panic!("{ordered:?}") };
    assert_eq!(addresses.len(), 8);
}

#[test]
fn nodes_read_a_long_list_in_different_orders() {
    let crowd: Vec<Entry> = (1..=200).map(at).collect();
    let of = |seed| {
        let mut dns = Dns::new(name("a"), None, seed);
        peers(&read(&mut dns, &[("a", crowd.clone())], seconds(0)).0)
    };
    assert_ne!(of(1), of(2));
}

#[test]
fn ttls_are_at_least_thirty_seconds_and_at_most_an_hour() {
    for (ttl, clamped) in [(0, 30), (29, 30), (31, 31), (3601, 3600), (u64::MAX, 3600)] {
        let mut dns = dns();
        dns.handle(DnsFact::LookUp, seconds(0));
        let [(id, _)] = queries(&orders(&mut dns)).try_into().expect("one query");
        let answer = DnsAnswer { ttl: Duration::from_secs(ttl), entries: vec![at(1)] };
        dns.handle(DnsFact::Answered(id, answer), seconds(0));
        assert_eq!(orders(&mut dns)[0], found(1, Duration::from_secs(clamped)), "{ttl}");
        dns.handle(DnsFact::LookUp, seconds(clamped * 4 / 5 - 1));
        assert!(queries(&orders(&mut dns)).is_empty(), "{ttl}");
        dns.handle(DnsFact::LookUp, seconds(clamped * 4 / 5 + 1));
        assert_eq!(queries(&orders(&mut dns)).len(), 1, "{ttl}");
    }
}

#[test]
fn a_list_of_no_use_is_read_again_after_longer_and_longer_pauses() {
    let mut dns = dns();
    let mut times = Vec::new();
    for second in 0..200 {
        if !read(&mut dns, &[], seconds(second)).1.is_empty() {
            times.push(second);
        }
    }
    assert_eq!(times, [0, 1, 3, 7, 15, 31, 63, 123, 183]);
    let (ordered, _) = read(&mut dns, &[("a", vec![at(1)])], seconds(300));
    assert_eq!(peers(&ordered).len(), 1);
    assert_eq!(read(&mut dns, &[], seconds(400)).1.len(), 1);
    assert_eq!(read(&mut dns, &[], seconds(401)).1.len(), 1, "the pauses begin anew");
}

#[test]
fn what_is_not_answered_takes_nobody_away() {
    let mut dns = dns();
    read(&mut dns, &[("a", vec![at(1), list("b")]), ("b", vec![at(2)])], seconds(0));
    let partly = [("a", vec![at(1), list("silent")])];
    let (ordered, _) = read(&mut dns, &partly, seconds(80));
    assert_eq!((lost(&ordered), outcome(&ordered).unanswered), (vec![], 1));
    let (ordered, asked) = read(&mut dns, &partly, seconds(80));
    assert_eq!((peers(&ordered), asked), ([peer(1), peer(2)].into(), vec![]), "both are known");
    let (ordered, asked) = read(&mut dns, &[("a", vec![at(1)])], seconds(81));
    assert_eq!((lost(&ordered), asked.len()), (vec![peer(2)], 1), "it asks soon, and is answered");
}

#[test]
fn an_answer_that_does_not_come_is_not_waited_for() {
    let mut dns = dns();
    dns.handle(DnsFact::LookUp, seconds(0));
    let [(late, _)] = queries(&orders(&mut dns)).try_into().expect("one query");
    assert_eq!(dns.next_deadline(), Some(seconds(15)));
    dns.handle(DnsFact::LookUp, seconds(14));
    dns.handle(DnsFact::Tick, seconds(14));
    assert_eq!(orders(&mut dns), []);
    dns.handle(DnsFact::Tick, seconds(15));
    assert_eq!(outcome(&orders(&mut dns)).unanswered, 1);
    dns.handle(DnsFact::LookUp, seconds(16));
    let [(id, _)] = queries(&orders(&mut dns)).try_into().expect("one query");
    let answer = |n| DnsAnswer { ttl: TTL, entries: vec![at(n)] };
    dns.handle(DnsFact::Answered(late, answer(1)), seconds(16));
    assert_eq!(orders(&mut dns), [], "it is not the answer that is waited for");
    dns.handle(DnsFact::Answered(id, answer(2)), seconds(16));
    assert_eq!(peers(&orders(&mut dns)), [peer(2)].into());
    dns.handle(DnsFact::Answered(id, answer(3)), seconds(16));
    assert_eq!(orders(&mut dns), [], "once");
}

/// A generator for what follows.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    fn entry(&mut self, names: u64) -> Entry {
        let (n, to) = (self.below(12) as u8, format!("n{}", self.below(names)));
        match self.below(4) {
            0 | 1 => DnsEntry::Peer { peer: peer(n), address: address(self.below(20) as u8) },
            2 => list(&to),
            _ => list_of(&to, n),
        }
    }
}

/// Who is listed, by the definition: names that are asked for whole and names for one peer, four deep.
fn listed(zone: &BTreeMap<String, Vec<Entry>>) -> BTreeSet<PeerId> {
    let mut all = BTreeSet::new();
    let mut level = BTreeSet::from([("n0".to_owned(), None)]);
    for _ in 0..4 {
        let mut next = BTreeSet::new();
        for (of, only) in level {
            for entry in &zone[&of] {
                match entry {
                    DnsEntry::Peer { peer, .. } if only.is_none_or(|only| only == *peer) => {
                        all.insert(*peer);
                    }
                    DnsEntry::List { name, peer }
                        if only.is_none() || peer.is_none() || only == *peer =>
                    {
                        next.insert((name.to_string(), only.or(*peer)));
                    }
                    _ => {}
                }
            }
        }
        level = next;
    }
    all.remove(&peer(0));
    all
}

/// In whichever way a list is made, and in whichever order its parts are answered, late, or not at all: a
/// round ends, it asks for little, finds nobody who is not listed, finds all if it could, and never takes back
/// who is listed.
#[test]
fn whatever_a_list_is_like_it_is_read_to_its_end() {
    let (mut whole, mut cut) = (0, 0);
    for seed in 0..2000_u64 {
        let mut draw = Draw(seed);
        let names = 1 + draw.below(12);
        let zone: BTreeMap<String, Vec<Entry>> = (0..names)
            .map(|n| (format!("n{n}"), (0..draw.below(9)).map(|_| draw.entry(names)).collect()))
            .collect();
        let (expected, fails) = (listed(&zone), draw.below(3) == 0);
        let mut dns = Dns::new(name("n0"), Some(peer(0)), seed);
        let (mut now, mut under_way, mut asked) = (seconds(draw.below(9)), Vec::new(), 0);
        let mut all = Vec::new();
        dns.handle(DnsFact::LookUp, now);
        let outcome = loop {
            let new = orders(&mut dns);
            asked += queries(&new).len();
            under_way.extend(queries(&new));
            all.extend(new);
            if let Some(DnsOrder::Ended(outcome)) = all.last() {
                break *outcome;
            }
            assert!(under_way.len() <= 4 && asked <= 32, "seed {seed}: {asked}");
            assert!(
                !under_way.is_empty(),
                "seed {seed}: nothing is under way, and it has not ended"
            );
            let (id, of) = under_way.swap_remove(draw.below(under_way.len() as u64) as usize);
            now = now + Duration::from_millis(draw.below(200));
            if fails && draw.below(4) == 0 {
                dns.handle(DnsFact::Failed(id), now);
            } else {
                let answer = DnsAnswer { ttl: TTL, entries: zone[&of].clone() };
                dns.handle(DnsFact::Answered(id, answer), now);
            }
        };
        let found = peers(&all);
        assert_eq!((outcome.peers, outcome.queries), (found.len(), asked), "seed {seed}");
        assert!(found.is_subset(&expected), "seed {seed}: {found:?} of {expected:?}");
        assert_eq!((lost(&all), dns.next_deadline()), (vec![], None), "seed {seed}");
        if outcome.unanswered == 0 && !outcome.cut {
            assert_eq!(found, expected, "seed {seed}");
            whole += 1;
        }
        cut += usize::from(outcome.cut);
    }
    assert!(whole > 100 && cut > 100, "{whole} were read whole, {cut} cut: both are to be met");
}
