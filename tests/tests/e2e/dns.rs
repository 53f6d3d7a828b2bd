//! Servers that a name in the DNS lists, with a name server on this machine.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{RData, Record, RecordType};
use parking_lot::Mutex;
use pointsub_swarm::{
    Cause, ClientConfig, Delivery, Discover, DnsList, Phase, ServerConfig, Source, Sources,
};

use crate::common::*;

/// The longest answer by UDP.
const PACKET: usize = 1232;

/// What a name server says of a name.
enum Zone {
    Records(Vec<String>),
    Fails,
}

/// A name server over UDP and TCP.
struct NameServer {
    at: SocketAddr,
    zones: Arc<Mutex<BTreeMap<String, Zone>>>,
    threads: Vec<JoinHandle<()>>,
}

impl NameServer {
    fn start() -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = tcp.local_addr().expect("an address");
        let udp = UdpSocket::bind(at).expect("the same port");
        let zones = Arc::<Mutex<BTreeMap<String, Zone>>>::default();
        let of = zones.clone();
        let by_udp = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((length @ 1.., from)) = udp.recv_from(&mut buffer) {
                let answer = answer(&buffer[..length], &of.lock(), PACKET);
                udp.send_to(&answer, from).expect("the client is on this machine");
            }
        });
        let of = zones.clone();
        let by_tcp = std::thread::spawn(move || {
            for stream in tcp.incoming() {
                let mut stream = stream.expect("a connection");
                let mut length = [0; 2];
                if stream.read_exact(&mut length).is_err() {
                    return;
                }
                let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut query).expect("a query");
                let answer = answer(&query, &of.lock(), usize::from(u16::MAX));
                let length = (answer.len() as u16).to_be_bytes();
                stream.write_all(&[&length[..], &answer].concat()).expect("it waits for it");
            }
        });
        Self { at, zones, threads: vec![by_udp, by_tcp] }
    }

    fn set(&self, name: &str, zone: Zone) {
        self.zones.lock().insert(format!("_dnsaddr.{name}."), zone);
    }

    fn list(&self, name: &str, addresses: impl IntoIterator<Item = String>) {
        let records = addresses.into_iter().map(|address| format!("dnsaddr={address}"));
        self.set(name, Zone::Records(records.collect()));
    }

    /// A list of nodes on this machine.
    fn source(&self, name: &str) -> Discover {
        Discover::dns(DnsList::new(name).asking([self.at]).trusted())
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        let udp = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(&[], self.at));
        let tcp = std::net::TcpStream::connect(self.at);
        drop((udp, tcp));
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

fn answer(query: &[u8], zones: &BTreeMap<String, Zone>, limit: usize) -> Vec<u8> {
    let query = Message::from_vec(query).expect("a query");
    let asked = query.queries[0].clone();
    let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
    answer.metadata.recursion_available = true;
    answer.add_query(asked.clone());
    let name = asked.name().to_ascii().to_lowercase();
    match zones.get(&name).filter(|_| asked.query_type() == RecordType::TXT) {
        Some(Zone::Records(records)) => {
            for record in records {
                // Longer ones have several strings.
                let strings = record.as_bytes().chunks(100).collect();
                let data = RData::TXT(TXT::from_bytes(strings));
                answer.add_answer(Record::from_rdata(asked.name().clone(), 300, data));
            }
        }
        Some(Zone::Fails) => answer.metadata.response_code = ResponseCode::ServFail,
        None => answer.metadata.response_code = ResponseCode::NXDomain,
    }
    let bytes = answer.to_vec().expect("it can be encoded");
    if bytes.len() <= limit {
        return bytes;
    }
    answer.answers.clear();
    answer.metadata.truncation = true;
    answer.to_vec().expect("it can be encoded")
}

async fn listed(server: &Node) -> String {
    format!("{}/p2p/{}", address(server).await, server.peer_id())
}

async fn looking(discover: Discover, config: ClientConfig) -> Node {
    Node::builder().client_config(config).discover(discover).build().await.expect("a node")
}

/// Fails soon.
fn hasty() -> ClientConfig {
    once().with_connect_timeout(Duration::from_millis(300))
}

/// A server is found that a list names, although the list leads back to itself, and to one that is not there.
#[test]
fn a_server_is_found_by_a_name() {
    run(async {
        let dns = NameServer::start();
        let server = echo_server(ServerConfig::default()).await;
        dns.list("a.example", ["/dnsaddr/b.example".into(), "/dnsaddr/nobody.example".into()]);
        let peer = format!("/dnsaddr/c.example/p2p/{}", server.peer_id());
        dns.list("b.example", ["/dnsaddr/a.example".into(), "/ip4/1/what".into(), peer]);
        dns.list("c.example", ["/dnsaddr/b.example".into(), listed(&server).await]);
        let node = looking(dns.source("A.Example"), once()).await;
        let answer = node.client().send_closest(&echo_name(), "x").await.expect("it is found");
        assert_eq!((answer.peer(), answer.source()), (server.peer_id(), Some(Source::Dns)));
    });
}

/// A list that does not fit into a packet is read over TCP.
#[test]
fn a_long_list_is_read_whole() {
    run(async {
        let dns = NameServer::start();
        let server = echo_server(ServerConfig::default()).await;
        // Nobody is dialled there: these lead to further lists, with what is between the lines of no use.
        let more = (0..20).map(|n| format!("/dnsaddr/{}{n}.example", "long-".repeat(9)));
        dns.list("long.example", more.chain([listed(&server).await]));
        let node = looking(dns.source("long.example"), once()).await;
        let answer = node.client().send_closest(&echo_name(), "x").await.expect("it is found");
        assert_eq!((answer.peer(), answer.source()), (server.peer_id(), Some(Source::Dns)));
    });
}

/// While a name server fails, or a list is not there, a call fails and says where it was looked; when the list
/// is there, its server is found without a further call.
#[test]
fn a_list_that_is_gone_and_returns() {
    run(async {
        let dns = NameServer::start();
        let server = echo_server(ServerConfig::default()).await;
        dns.set("gone.example", Zone::Fails);
        let discover = dns.source("gone.example").without_connected();
        let node = looking(discover, hasty()).await;
        let error = node.client().send_closest(&echo_name(), "x").await.expect_err("nobody");
        let asked = Sources::from_iter([Source::Dns]);
        assert_eq!(error.error.cause, Cause::NoServerFound { asked });
        assert_eq!(error.error.phase, Phase::Discover);
        assert_eq!(error.error.delivery, Delivery::NotProcessed);
        assert!(error.error.to_string().contains("DNS"), "{error}");

        dns.list("gone.example", [listed(&server).await]);
        until(|| node.client().has_available_nodes(&echo_name())).await;
        let answer = node.client().send_closest(&echo_name(), "x").await.expect("it is listed");
        assert_eq!((answer.peer(), answer.source()), (server.peer_id(), Some(Source::Dns)));
    });
}

/// Records of strangers do not have this node dial its own machine, and a text that is no name finds nobody.
#[test]
fn a_list_of_strangers_leads_nowhere_near() {
    run(async {
        let dns = NameServer::start();
        let server = echo_server(ServerConfig::default()).await;
        dns.list("near.example", [listed(&server).await]);
        for name in ["near.example", "no name"] {
            let list = Discover::dns(DnsList::new(name).asking([dns.at]));
            let node = looking(list.without_connected(), hasty()).await;
            let error = node.client().send_closest(&echo_name(), "x").await.expect_err("nobody");
            let asked = Sources::from_iter([Source::Dns]);
            assert_eq!(error.error.cause, Cause::NoServerFound { asked }, "{name}");
            assert_eq!(server.connections().await.len(), 0, "{name}");
        }
    });
}
