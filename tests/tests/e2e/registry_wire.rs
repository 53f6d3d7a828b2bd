//! Section 7 of `WIRE.md`: its vectors are what is written, and are understood.

use std::collections::BTreeMap;
use std::fmt::Debug;

use futures::channel::mpsc;
use futures::{SinkExt, StreamExt};
use libp2p_core::SignedEnvelope;
use pointsub_service::registry::{
    Accepted, Announcement, Change, Listed, RecordError, RegistryClient, RegistryError,
};
use pointsub_service::{Codec, Limits};
use pointsub_swarm::{Bytes, IncomingCall, Keypair, Multiaddr, ServerConfig};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::common::*;

const WIRE: &str = include_str!("../../../WIRE.md");
const VECTORS: usize = 14;

fn bytes(hex: &str) -> Bytes {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// The fields of each block, by its name.
fn vectors() -> BTreeMap<&'static str, BTreeMap<&'static str, &'static str>> {
    let blocks = WIRE.split("```registry\n").skip(1);
    let fields = blocks.map(|block| {
        let lines = block.lines().take_while(|line| !line.starts_with("```"));
        lines.map(|line| line.split_once(": ").expect("a field")).collect::<BTreeMap<_, _>>()
    });
    let vectors: BTreeMap<_, _> = fields.map(|fields| (fields["name"], fields)).collect();
    assert_eq!(vectors.len(), VECTORS);
    vectors
}

fn vector(name: &str) -> Bytes {
    bytes(vectors()[name]["hex"])
}

fn same<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, encoded: &[u8]) {
    assert_eq!(&Codec::Cbor.encode(value).expect("it can be encoded")[..], encoded, "{value:?}");
    let decoded: T = Codec::Cbor.decode(encoded, Limits::default()).expect("it is understood");
    assert_eq!(&decoded, value);
}

fn keypair() -> Keypair {
    Keypair::ed25519_from_bytes([7; 32]).expect("a key")
}

fn changes() -> Vec<(&'static str, Change)> {
    let gone = Change::Gone(keypair().public().to_peer_id().to_bytes().into());
    let here = Change::Here(Listed::new(vector("record"), 250));
    vec![("begin", Change::Begin), ("here", here), ("gone", gone), ("complete", Change::Complete)]
}

fn announcement() -> Announcement {
    let decoded = Codec::Cbor.decode(&vector("announcement"), Limits::default());
    let announcement: Announcement = decoded.expect("it is understood");
    assert_eq!(announcement.protocols, ["/chat/1.0.0"]);
    assert_eq!((&announcement.record, announcement.load), (&vector("record"), 250));
    announcement
}

#[test]
fn the_record_is_what_its_peer_signs() {
    let payload = bytes(vectors()["record"]["payload"]).to_vec();
    let domain = "libp2p-peer-record".to_owned();
    let envelope = SignedEnvelope::new(&keypair(), domain, vec![3, 1], payload);
    let envelope = envelope.expect("the key can sign").into_protobuf_encoding();
    assert_eq!(Bytes::from(envelope), vector("record"));
    let (peer, addresses) = Listed::new(vector("record"), 0).read().expect("it is signed");
    let at: Multiaddr = "/ip4/192.0.2.1/tcp/4001".parse().expect("an address");
    assert_eq!((peer, addresses), (keypair().public().to_peer_id(), vec![at]));
}

#[test]
fn values_are_what_the_chapter_says() {
    changes().iter().for_each(|(name, change)| same(change, &vector(name)));
    same(&announcement(), &vector("announcement"));
    same(&(), &vector("result"));
    let full = "the registry has its 8192: try later, or another one".to_owned();
    let errors = [
        ("detail, record not signed", RegistryError::Record(RecordError::NotSigned)),
        ("detail, replaced", RegistryError::Replaced),
        ("detail, full", RegistryError::Full { message: full }),
        ("detail, name", RegistryError::Name { name: "chat".to_owned() }),
    ];
    for (name, error) in errors {
        let detail = vector(name);
        assert_eq!(detail[0], 1, "CBOR");
        same(&error, &detail[1..]);
    }
}

/// A registry by hand: what comes, and what it sends.
#[test]
fn calls_are_what_the_chapter_says() {
    run(async {
        let hub = start(ServerConfig::default(), once()).await;
        let (came, mut seen) = mpsc::channel::<(String, Bytes)>(8);
        let handler = move |mut call: IncomingCall| {
            let mut came = came.clone();
            async move {
                let method = call.method.as_ref().expect("it names one").to_string();
                let _open = came.send((method.clone(), call.argument.clone())).await;
                if method == "watch" {
                    for (name, _) in changes() {
                        let _gone = call.sender.send(vector(name)).await;
                    }
                } else if let Ok(Some(message)) = call.receiver.recv().await {
                    let _open = came.send(("message".to_owned(), message)).await;
                    let _gone = call.sender.send(vector("accepted")).await;
                }
                vector("result")
            }
        };
        let name = pointsub_swarm::ProtocolName::new("/pointsub-registry/1").expect("a name");
        hub.server().register_call(&name, handler).expect("first");
        let node = client(once()).await;
        connect(&node, &hub).await;
        let client = RegistryClient::peer(node.client(), hub.peer_id());

        let mut watch = client.watch("/chat/1.0.0".to_owned()).await.expect("it is open");
        let asked = seen.next().await.expect("it came");
        assert_eq!(asked, ("watch".to_owned(), vector("argument of watch")));
        for (_, change) in changes() {
            assert_eq!(watch.recv().await.expect("it goes on"), Some(change));
        }
        watch.finish().await.expect("it has ended well");

        let mut call = client.announce().await.expect("it is open");
        let asked = seen.next().await.expect("it came");
        assert_eq!(asked, ("announce".to_owned(), vector("argument of announce")));
        call.send(announcement()).await.expect("it is taken");
        let message = seen.next().await.expect("it came").1;
        assert_eq!(message, vector("announcement"));
        let accepted: Option<Accepted> = call.recv().await.expect("it goes on");
        assert!(accepted.is_some());
        call.finish().await.expect("it has ended well");
    });
}
