//! Packets of multicast DNS, as libp2p's specification has them, and what this library adds.
//!
//! Whoever is there answers with its name under `_p2p._udp.local` (PTR), and with a record of that name
//! (TXT) which has its addresses, `dnsaddr=/ip4/…/p2p/…`. A host of that name (SRV, A, AAAA) is there for
//! the library of Go, which hears nobody that has none. Nodes of this library add what they serve,
//! `pointsub=/echo/1.0.0`, if all of it fits; others ignore that.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::{A, AAAA, PTR, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use libp2p_core::Multiaddr;
use libp2p_core::multiaddr::Protocol;
use libp2p_identity::PeerId;
use pointsub_core::ProtocolName;

use crate::node::addresses::ip::first_ip;

const SERVICE: &str = "_p2p._udp.local.";
/// What tools ask that list the services of a network (RFC 6763, section 9).
const SERVICES: &str = "_services._dns-sd._udp.local.";
const ADDRESS: &str = "dnsaddr=";
const PROTOCOL: &str = "pointsub=";
/// For how long an announcement holds, as with libp2p.
pub(super) const TTL: Duration = Duration::from_secs(360);
/// The longest packet there is (RFC 6762, section 17).
pub(super) const MAX_PACKET: usize = 9000;
/// How many questions and records of a packet are looked at; one that has more is ignored.
const RECORDS: usize = 128;
/// How many peers of a packet.
const PEERS: usize = 16;
/// How many addresses of a peer.
const ADDRESSES: usize = 16;
/// How many protocols of a peer.
const PROTOCOLS: usize = 64;
/// How many bytes of addresses and protocols are announced: a packet stays within one frame of Ethernet.
const ANNOUNCED: usize = 1000;
const MAX_STRING: usize = 255;
const HEADER: usize = 12;

/// What a packet says that concerns this library.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet {
    Query,
    Announcement(Vec<Heard>),
}

/// What a packet says of a peer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) peer: PeerId,
    /// `None` if it does not say, or not all that it serves.
    pub(super) services: Option<Vec<ProtocolName>>,
    /// Without its id.
    pub(super) addresses: Vec<Multiaddr>,
    pub(super) ttl: Duration,
}

/// What this node says of itself on a link.
#[derive(Debug)]
pub(super) struct Announcement<'a> {
    /// A label that is nobody else's.
    pub(super) name: &'a str,
    pub(super) peer: PeerId,
    pub(super) addresses: Vec<Multiaddr>,
    pub(super) services: &'a [ProtocolName],
    /// Zero says goodbye.
    pub(super) ttl: Duration,
}

/// Asks who is there.
pub(super) fn query() -> Option<Vec<u8>> {
    let mut message = Message::new(0, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(SERVICE).ok()?, RecordType::PTR));
    message.to_vec().ok()
}

impl Announcement<'_> {
    /// `None` if this node is reached nowhere on the link.
    pub(super) fn to_packet(&self) -> Option<Vec<u8>> {
        let strings = self.strings();
        if strings.is_empty() {
            return None;
        }
        let service = Name::from_ascii(SERVICE).ok()?;
        let instance = service.prepend_label(self.name).ok()?;
        let host = Name::from_ascii("local.").ok()?.prepend_label(self.name).ok()?;
        let ttl = self.ttl.as_secs() as u32;
        let mut message = Message::response(0, OpCode::Query);
        message.metadata.authoritative = true;
        let pointer = RData::PTR(PTR(instance.clone()));
        message.add_answer(Record::from_rdata(service.clone(), ttl, pointer));
        let all = Name::from_ascii(SERVICES).ok()?;
        message.add_answer(Record::from_rdata(all, ttl, RData::PTR(PTR(service))));
        let text = TXT::from_bytes(strings.iter().map(String::as_bytes).collect());
        message.add_additional(Record::from_rdata(instance.clone(), ttl, RData::TXT(text)));
        let at = RData::SRV(SRV::new(0, 0, self.port(), host.clone()));
        message.add_additional(Record::from_rdata(instance, ttl, at));
        let ips: BTreeSet<IpAddr> = self.addresses.iter().filter_map(first_ip).collect();
        for ip in ips.into_iter().take(ADDRESSES) {
            let data = match ip {
                IpAddr::V4(ip) => RData::A(A(ip)),
                IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
            };
            message.add_additional(Record::from_rdata(host.clone(), ttl, data));
        }
        message.to_vec().ok()
    }

    /// The addresses that fit, and the protocols if all of them do. Empty if no address does.
    fn strings(&self) -> Vec<String> {
        let mut room = ANNOUNCED;
        let mut strings: Vec<String> = Vec::new();
        for address in self.addresses.iter().take(ADDRESSES) {
            let string = format!("{ADDRESS}{address}/p2p/{}", self.peer);
            if string.len() <= MAX_STRING && string.len() < room {
                room -= string.len() + 1;
                strings.push(string);
            }
        }
        let none = self.services.is_empty().then(|| PROTOCOL.to_owned());
        let protocols = self.services.iter().map(|name| format!("{PROTOCOL}{name}")).chain(none);
        let protocols: Vec<String> = protocols.collect();
        let fit = protocols.len() <= PROTOCOLS
            && protocols.iter().all(|string| string.len() <= MAX_STRING)
            && protocols.iter().map(|string| string.len() + 1).sum::<usize>() <= room;
        if fit && !strings.is_empty() {
            strings.extend(protocols);
        }
        strings
    }

    fn port(&self) -> u16 {
        let ports = self.addresses.iter().flatten().filter_map(|part| match part {
            Protocol::Tcp(port) | Protocol::Udp(port) => Some(port),
            _ => None,
        });
        ports.into_iter().next().unwrap_or_default()
    }
}

/// Reads a packet; `None` if it is not one of this service, whatever else it is.
pub(super) fn decode(packet: &[u8]) -> Option<Packet> {
    let header: &[u8; HEADER] = packet.first_chunk()?;
    let counts =
        header[4..].chunks_exact(2).map(|count| usize::from(count[0]) << 8 | usize::from(count[1]));
    if packet.len() > MAX_PACKET || counts.sum::<usize>() > RECORDS {
        return None;
    }
    let message = Message::from_vec(packet).ok()?;
    if message.metadata.op_code != OpCode::Query {
        return None;
    }
    let service = Name::from_ascii(SERVICE).ok()?;
    match message.metadata.message_type {
        MessageType::Query => {
            let services = Name::from_ascii(SERVICES).ok()?;
            let asks = message.queries.iter().any(|query| {
                let kind = matches!(query.query_type, RecordType::PTR | RecordType::ANY);
                kind && (query.name == service || query.name == services)
            });
            asks.then_some(Packet::Query)
        }
        MessageType::Response => {
            let pointers = message.answers.iter().filter(|record| record.name == service);
            let heard = pointers.filter_map(|record| match &record.data {
                RData::PTR(name) => heard(&message, &name.0, record.ttl),
                _ => None,
            });
            let heard: Vec<Heard> = heard.take(PEERS).collect();
            (!heard.is_empty()).then_some(Packet::Announcement(heard))
        }
    }
}

/// What the records of a name say. All addresses have to be of the same peer.
fn heard(message: &Message, name: &Name, ttl: u32) -> Option<Heard> {
    let (mut of, mut addresses, mut services) = (None, Vec::new(), None::<Vec<ProtocolName>>);
    let mut complete = true;
    let records = message.all_sections().filter(|record| record.name == *name);
    let strings = records.filter_map(|record| match &record.data {
        RData::TXT(text) => Some(text.txt_data.iter()),
        _ => None,
    });
    for string in strings.flatten().filter_map(|string| std::str::from_utf8(string).ok()) {
        if let Some(text) = string.strip_prefix(ADDRESS) {
            if addresses.len() == ADDRESSES {
                continue;
            }
            let Ok(mut address) = text.parse::<Multiaddr>() else { continue };
            let Some(Protocol::P2p(peer)) = address.pop() else { continue };
            if *of.get_or_insert(peer) != peer {
                return None;
            }
            addresses.push(address);
        } else if let Some(text) = string.strip_prefix(PROTOCOL) {
            let services = services.get_or_insert_default();
            match ProtocolName::new(text) {
                Ok(name) if services.len() < PROTOCOLS => services.push(name),
                _ if text.is_empty() => {}
                _ => complete = false,
            }
        }
    }
    let (services, ttl) = (services.filter(|_| complete), Duration::from_secs(ttl.into()));
    Some(Heard { peer: of?, services, addresses, ttl })
}

#[cfg(test)]
mod tests;
