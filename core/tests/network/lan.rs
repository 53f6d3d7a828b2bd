//! Multicast DNS: who is asked and told when, and what is made of what is heard.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use pointsub_core::network::lan::{Announced, Lan, LanFact, LanMessage, LanOrder, LinkId};
use pointsub_core::{PeerId, ProtocolName, Timestamp};

const SEARCH: ProtocolName = ProtocolName::from_static("/search/1.0.0");
const OTHER: ProtocolName = ProtocolName::from_static("/other/1.0.0");
const ETH0: LinkId = LinkId(0);
const WLAN: LinkId = LinkId(1);
const TTL: Duration = Duration::from_secs(360);

fn millis(millis: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_millis(millis)
}

fn peer(n: u8) -> PeerId {
    PeerId::from_bytes(&[n]).expect("an id")
}

fn with_link() -> Lan {
    let mut lan = Lan::new(peer(0), 1);
    lan.handle(LanFact::LinkUp(ETH0), Timestamp::ZERO);
    lan
}

fn orders(lan: &mut Lan) -> Vec<LanOrder> {
    std::iter::from_fn(|| lan.poll_order()).collect()
}

/// When the machine orders something of a kind until a time has come, in milliseconds.
fn times(lan: &mut Lan, until: u64, of: impl Fn(&LanOrder) -> bool) -> Vec<u64> {
    let mut times = Vec::new();
    while let Some(due) = lan.next_deadline().filter(|due| *due <= millis(until)) {
        lan.handle(LanFact::Tick, due);
        let due = due.since(Timestamp::ZERO).as_millis() as u64;
        times.extend(orders(lan).iter().filter(|order| of(order)).map(|_| due));
    }
    times
}

fn is_query(order: &LanOrder) -> bool {
    matches!(order, LanOrder::Query(_))
}

fn is_announcement(order: &LanOrder) -> bool {
    matches!(order, LanOrder::Announce(_))
}

fn announced(n: u8, services: Option<Vec<ProtocolName>>) -> LanFact {
    let announced = Announced { peer: peer(n), services, ttl: TTL };
    LanFact::Heard(ETH0, LanMessage::Announcement(vec![announced]))
}

#[test]
fn it_asks_at_once_and_then_more_and_more_seldom() {
    let mut lan = with_link();
    lan.handle(LanFact::LookUp(SEARCH), Timestamp::ZERO);
    assert_eq!(orders(&mut lan), [LanOrder::Query(ETH0)]);
    let seconds = [1, 3, 7, 15, 31, 63, 123, 183];
    assert_eq!(times(&mut lan, 200_000, is_query), seconds.map(|second| second * 1000));
    lan.handle(LanFact::LookUp(OTHER), millis(200_000));
    assert_eq!(orders(&mut lan), [LanOrder::Query(ETH0)], "something else is wanted");
    lan.handle(LanFact::Forget(SEARCH), millis(200_500));
    lan.handle(LanFact::LookUp(SEARCH), millis(200_500));
    assert_eq!(times(&mut lan, 201_500, is_query), [201_000], "once a second");
    lan.handle(LanFact::Forget(SEARCH), millis(201_600));
    lan.handle(LanFact::Forget(OTHER), millis(201_600));
    assert_eq!(lan.next_deadline(), None, "nothing is wanted");
}

#[test]
fn a_link_that_comes_is_asked_and_told() {
    let mut lan = with_link();
    lan.handle(LanFact::LookUp(SEARCH), Timestamp::ZERO);
    times(&mut lan, 5000, |_| true);
    lan.handle(LanFact::LinkUp(WLAN), millis(5000));
    assert_eq!(orders(&mut lan), [LanOrder::Query(WLAN)]);
    let told = times(&mut lan, 7000, |order| *order == LanOrder::Announce(WLAN));
    assert_eq!(told.len(), 2, "{told:?}");
    lan.handle(LanFact::LinkDown(WLAN), millis(7000));
    assert!(times(&mut lan, 90_000, |order| *order == LanOrder::Query(WLAN)).is_empty());
}

#[test]
fn however_many_ask_a_link_is_told_once_a_second() {
    let mut lan = with_link();
    times(&mut lan, 3000, |_| true);
    let mut told = Vec::new();
    for at in 3000..8000 {
        lan.handle(LanFact::Heard(ETH0, LanMessage::Query), millis(at));
        told.extend(orders(&mut lan).iter().filter(|order| is_announcement(order)).map(|_| at));
    }
    assert!((3020..=3121).contains(&told[0]), "{told:?}");
    assert!(told.windows(2).all(|two| two[1] - two[0] >= 1000), "{told:?}");
    assert_eq!(told.len(), 5, "{told:?}");
}

#[test]
fn what_has_changed_is_said_twice() {
    let mut lan = with_link();
    times(&mut lan, 3000, |_| true);
    lan.handle(LanFact::Changed, millis(3000));
    lan.handle(LanFact::Changed, millis(3000));
    let told = times(&mut lan, 60_000, is_announcement);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!((3020..=3120).contains(&told[0]) && told[1] == told[0] + 1000, "{told:?}");
}

#[test]
fn at_its_slowest_it_leaves_three_queries_to_others_and_no_more() {
    let mut lan = with_link();
    lan.handle(LanFact::LookUp(SEARCH), Timestamp::ZERO);
    let asked = times(&mut lan, 64_000, is_query);
    assert_eq!(asked.last(), Some(&63_000));
    let mut asked = Vec::new();
    for second in 65..600 {
        lan.handle(LanFact::Heard(ETH0, LanMessage::Query), millis(second * 1000));
        asked.extend(times(&mut lan, second * 1000, is_query));
        asked
            .extend(orders(&mut lan).iter().filter(|order| is_query(order)).map(|_| second * 1000));
    }
    assert!(asked.len() >= 6, "somebody who always asks keeps it from asking: {asked:?}");
    assert!(asked.len() <= 9, "{asked:?}");
}

#[test]
fn who_serves_what_is_wanted_is_found_and_who_does_not_is_not_dialled() {
    let mut lan = with_link();
    lan.handle(announced(1, Some(vec![SEARCH])), Timestamp::ZERO);
    assert_eq!(orders(&mut lan), [], "nothing is wanted");
    lan.handle(LanFact::LookUp(SEARCH), Timestamp::ZERO);
    orders(&mut lan);
    let found = |n, service| LanOrder::Found { peer: peer(n), service, ttl: TTL };
    lan.handle(announced(1, Some(vec![OTHER, SEARCH])), Timestamp::ZERO);
    assert_eq!(orders(&mut lan), [found(1, Some(SEARCH))]);
    lan.handle(announced(2, None), Timestamp::ZERO);
    assert_eq!(orders(&mut lan), [found(2, None)], "any libp2p node may serve it");
    lan.handle(announced(3, Some(vec![OTHER])), Timestamp::ZERO);
    assert_eq!(orders(&mut lan), [LanOrder::Lost { peer: peer(3), service: Some(SEARCH) }]);
    lan.handle(announced(0, Some(vec![SEARCH])), Timestamp::ZERO);
    assert_eq!(orders(&mut lan), [], "it hears itself");
    let gone = Announced { peer: peer(1), services: None, ttl: Duration::ZERO };
    lan.handle(LanFact::Heard(ETH0, LanMessage::Announcement(vec![gone])), Timestamp::ZERO);
    assert_eq!(orders(&mut lan), [LanOrder::Lost { peer: peer(1), service: None }]);
}

#[test]
fn of_one_message_sixteen_peers_are_looked_at() {
    let mut lan = with_link();
    lan.handle(LanFact::LookUp(SEARCH), Timestamp::ZERO);
    orders(&mut lan);
    let many = (1..=200).map(|n| Announced { peer: peer(n), services: None, ttl: TTL });
    let message = LanMessage::Announcement(many.collect());
    lan.handle(LanFact::Heard(ETH0, message), Timestamp::ZERO);
    assert_eq!(orders(&mut lan).len(), 16);
}

#[test]
fn who_floods_is_not_heard_and_others_are() {
    let mut lan = with_link();
    let [liar, honest] = [1, 2].map(|n| IpAddr::V4(Ipv4Addr::new(192, 0, 2, n)));
    let heard = (0..10_000).filter(|_| lan.admits(ETH0, liar, Timestamp::ZERO)).count();
    assert_eq!(heard, 64);
    assert!(lan.admits(ETH0, honest, Timestamp::ZERO));
    assert!(lan.admits(ETH0, liar, millis(63)), "one more after a sixteenth of a second");
    assert!(!lan.admits(ETH0, liar, millis(63)));
    assert!(!lan.admits(WLAN, honest, millis(63)), "there is no such link");
}

#[test]
fn it_says_goodbye_and_nothing_after_that() {
    let mut lan = with_link();
    lan.handle(LanFact::LookUp(SEARCH), Timestamp::ZERO);
    lan.handle(LanFact::Stop, millis(10));
    assert_eq!(orders(&mut lan), [LanOrder::Goodbye(ETH0)]);
    lan.handle(LanFact::LinkUp(WLAN), millis(20));
    lan.handle(LanFact::Changed, millis(20));
    assert_eq!((orders(&mut lan), lan.next_deadline()), (vec![], None));
}
