//! Packets of this library, of libp2p in Rust and in Go, and others.

use std::path::Path;

use super::*;
use crate::discovery::lan::fuzz::lan_packet;

const PEER: &str = "12D3KooWNvSZnPi3RrhrTwEY4LuuBeB6K6facKUCJcyWG1aoDd2p";
const OTHER: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

fn peer() -> PeerId {
    PEER.parse().expect("an id")
}

fn addresses(all: &[&str]) -> Vec<Multiaddr> {
    all.iter().map(|text| text.parse().expect("an address")).collect()
}

fn protocols(all: &[&str]) -> Vec<ProtocolName> {
    all.iter().map(|name| ProtocolName::new(name).expect("a name")).collect()
}

fn announce(addresses: Vec<Multiaddr>, services: &[ProtocolName]) -> Option<Vec<u8>> {
    Announcement { name: "0123abcd", peer: peer(), addresses, services, ttl: TTL }.to_packet()
}

fn read(packet: &[u8]) -> Heard {
    let Some(Packet::Announcement(mut heard)) = decode(packet) else { panic!("no announcement") };
    assert_eq!(heard.len(), 1);
    heard.remove(0)
}

/// A packet as other implementations write it: PTR in the answers, TXT elsewhere.
fn foreign(strings: &[&str]) -> Vec<u8> {
    let service = Name::from_ascii(SERVICE).expect("a name");
    let name = Name::from_ascii("x7ks0q.").expect("a name");
    let mut message = Message::response(7, OpCode::Query);
    let pointer = RData::PTR(PTR(name.clone()));
    message.add_answer(Record::from_rdata(service, 120, pointer));
    for string in strings {
        let text = RData::TXT(TXT::from_bytes(vec![string.as_bytes()]));
        let mut record = Record::from_rdata(name.clone(), 120, text);
        record.mdns_cache_flush = true;
        message.add_additional(record);
    }
    message.to_vec().expect("a packet")
}

#[test]
fn what_is_announced_is_read() {
    let at = addresses(&["/ip4/192.0.2.1/tcp/4001", "/ip6/2001:db8::1/udp/4001/quic-v1"]);
    let services = protocols(&["/echo/1.0.0", "/search/2"]);
    let packet = announce(at.clone(), &services).expect("a packet");
    assert!(packet.len() < 1200, "{}", packet.len());
    let read = read(&packet);
    let expected = Heard { peer: peer(), services: Some(services), addresses: at, ttl: TTL };
    assert_eq!(read, expected);
}

#[test]
fn who_serves_nothing_says_so_and_who_is_nowhere_says_nothing() {
    let packet = announce(addresses(&["/ip4/192.0.2.1/tcp/1"]), &[]).expect("a packet");
    assert_eq!(read(&packet).services, Some(Vec::new()));
    assert_eq!(announce(Vec::new(), &protocols(&["/echo/1"])), None);
}

/// Else a protocol that did not fit would not be found.
#[test]
fn unless_all_protocols_fit_none_is_named() {
    let names: Vec<String> = (0..100).map(|n| format!("/a/long/name/of/a/protocol/{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let many: Vec<String> = (0..40).map(|n| format!("/ip4/192.0.2.{n}/tcp/4001")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (at, names) in [(&["/ip4/192.0.2.1/tcp/1"][..], &names[..]), (&many[..], &names[..5])] {
        let packet = announce(addresses(at), &protocols(names)).expect("a packet");
        assert!(packet.len() < 1400, "{}", packet.len());
        let read = read(&packet);
        assert_eq!(read.services, None);
        assert!(!read.addresses.is_empty());
    }
}

/// The library of Go hears nobody that has no host with an address.
#[test]
fn there_is_a_host_with_an_address() {
    let packet = announce(addresses(&["/ip4/192.0.2.1/tcp/4001"]), &[]).expect("a packet");
    let message = Message::from_vec(&packet).expect("a message");
    let of = |kind| message.additionals.iter().find(move |record| record.record_type() == kind);
    let Some(RData::SRV(at)) = of(RecordType::SRV).map(|record| &record.data) else { panic!() };
    assert_eq!(of(RecordType::A).map(|record| &record.name), Some(&at.target));
}

#[test]
fn nodes_of_other_libraries_are_read() {
    let [one, two] = ["/ip4/192.0.2.1/tcp/1", "/ip4/127.0.0.1/tcp/1"];
    let strings = [format!("dnsaddr={one}/p2p/{PEER}"), format!("dnsaddr={two}/p2p/{PEER}")];
    let heard = read(&foreign(&strings.each_ref().map(String::as_str)));
    assert_eq!((heard.peer, heard.services), (peer(), None));
    assert_eq!(heard.addresses, addresses(&[one, two]));
    assert_eq!(heard.ttl, Duration::from_secs(120));
}

#[test]
fn what_makes_no_sense_is_ignored() {
    let good = format!("dnsaddr=/ip4/192.0.2.1/tcp/1/p2p/{PEER}");
    let other = format!("dnsaddr=/ip4/192.0.2.1/tcp/1/p2p/{OTHER}");
    for strings in [&["dnsaddr=/ip4/192.0.2.1/tcp/1"][..], &["dnsaddr="], &[&good, &other], &[]] {
        assert_eq!(decode(&foreign(strings)), None, "{strings:?}");
    }
    let heard = read(&foreign(&["dnsaddr=nonsense", "else=1", &good, "pointsub=no slash"]));
    assert_eq!((heard.addresses.len(), heard.services), (1, None));
    let many: Vec<String> =
        (0..60).map(|n| format!("dnsaddr=/ip4/192.0.2.{n}/tcp/1/p2p/{PEER}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(read(&foreign(&many)).addresses.len(), ADDRESSES);
}

#[test]
fn who_asks_for_peers_or_for_services_is_answered() {
    let query = query().expect("a packet");
    assert_eq!(decode(&query), Some(Packet::Query));
    let ask = |name, kind| {
        let mut message = Message::new(1, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
        decode(&message.to_vec().expect("a packet"))
    };
    assert_eq!(ask(SERVICES, RecordType::PTR), Some(Packet::Query));
    assert_eq!(ask("_P2P._udp.LOCAL.", RecordType::ANY), Some(Packet::Query));
    assert_eq!(ask("_http._tcp.local.", RecordType::PTR), None);
    assert_eq!(ask(SERVICE, RecordType::A), None);
}

#[test]
fn a_packet_that_promises_too_much_is_not_looked_at() {
    let mut packet = foreign(&[&format!("dnsaddr=/ip4/192.0.2.1/tcp/1/p2p/{PEER}")]);
    assert!(decode(&packet).is_some());
    packet[8] = 1;
    assert_eq!(decode(&packet), None);
    assert_eq!(decode(&[0; MAX_PACKET + 1]), None);
}

/// The corpus of the fuzzer. `UPDATE_CORPUS=1` writes what is in it at first.
#[test]
fn corpus() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/lan_packet");
    if std::env::var_os("UPDATE_CORPUS").is_some() {
        let at = || addresses(&["/ip4/192.0.2.1/tcp/4001", "/ip6/2001:db8::1/udp/1/quic-v1"]);
        let own = announce(at(), &protocols(&["/echo/1.0.0"])).expect("a packet");
        let other = foreign(&[&format!("dnsaddr=/ip4/192.0.2.1/tcp/1/p2p/{PEER}")]);
        let cut = own[..own.len() / 2].to_vec();
        let files =
            [("own", own), ("libp2p", other), ("cut", cut), ("query", query().expect("one"))];
        for (name, packet) in files {
            std::fs::write(dir.join(name), packet).expect("writable");
        }
    }
    let files = std::fs::read_dir(&dir).expect("a corpus");
    let run = files
        .map(|file| lan_packet(&std::fs::read(file.expect("a file").path()).expect("readable")));
    assert!(run.count() > 0);
}
