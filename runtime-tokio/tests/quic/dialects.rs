//! Peers that speak one dialect or both.

use std::io;
use std::sync::Arc;

use futures::FutureExt;
use libp2p_core::muxing::StreamMuxerBox;
use libp2p_core::transport::TransportEvent;
use libp2p_core::{Endpoint, Multiaddr};
use libp2p_identity::{Keypair, PeerId};
use pointsub_tokio::certificate::CertificateError;
use pointsub_tokio::{Dialect, DialectError, Dialects, Security};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::rustls::server::{ClientHello, ResolvesServerCert};
use quinn::rustls::sign::CertifiedKey;

use crate::support::{NEW, Node, PUNCH, REUSE, multiaddr, run, why};

const LOOPBACK: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
const LIBP2P: Dialects = Dialects::Only(Dialect::Libp2p);
const DEP2P: Dialects = Dialects::Only(Dialect::Dep2p);
const BOTH: Dialects = Dialects::Both { noise: Dialect::Libp2p };

type Outcome = io::Result<(PeerId, StreamMuxerBox)>;

fn security(dialects: Dialects) -> Security {
    Security::with_dialects(&Keypair::generate_ed25519(), dialects).expect("the key can sign")
}

fn speaking(dialects: Dialects) -> Node {
    Node::secured(&security(dialects))
}

/// What comes of a dial at both ends; at the end that is dialled, of each connection that it took.
async fn meet(from: &mut Node, to: &mut Node, at: &Multiaddr) -> (Outcome, Vec<Outcome>) {
    meet_as(from, to, at, NEW).await
}

async fn meet_as(
    from: &mut Node,
    to: &mut Node,
    at: &Multiaddr,
    how: (Endpoint, libp2p_core::transport::PortUse),
) -> (Outcome, Vec<Outcome>) {
    let mut dial = from.dial(at, how).fuse();
    let (mut dialled, mut accepted) = (None, Vec::new());
    loop {
        let connection = futures::select! {
            outcome = dial => {
                dialled = Some(outcome);
                None
            }
            event = to.next().fuse() => match event {
                TransportEvent::Incoming { upgrade, .. } => Some(tokio::spawn(upgrade)),
                event => panic!("no connection: {event:?}"),
            },
        };
        accepted.extend(connection);
        if let Some(dialled) = dialled.take() {
            let mut outcomes = Vec::new();
            for upgrade in accepted {
                outcomes.push(upgrade.await.expect("no panic"));
            }
            return (dialled, outcomes);
        }
    }
}

/// How many connections it takes until two nodes know each other.
async fn connections(from: &mut Node, to: &mut Node, at: &Multiaddr) -> usize {
    let (dialled, accepted) = meet(from, to, at).await;
    assert_eq!(dialled.expect("they understand each other").0, to.peer);
    let last = accepted.last().expect("it is the last").as_ref();
    assert_eq!(last.expect("they understand each other").0, from.peer);
    accepted.len()
}

#[test]
fn whoever_speaks_both_reaches_everybody_and_libp2p_at_once() {
    run(async {
        for (dials, listens, expected) in [
            (BOTH, BOTH, 1),
            (BOTH, LIBP2P, 1),
            (BOTH, DEP2P, 2),
            (LIBP2P, BOTH, 1),
            (DEP2P, BOTH, 1),
            (DEP2P, DEP2P, 1),
        ] {
            let (mut one, mut two) = (speaking(dials), speaking(listens));
            let (_, at) = two.listen(LOOPBACK).await;
            let took = connections(&mut one, &mut two, &at).await;
            assert_eq!(took, expected, "{dials:?} dials {listens:?}");
        }
    });
}

#[test]
fn what_a_peer_speaks_is_remembered_of_it_and_of_its_address() {
    run(async {
        let (mut node, mut peer) = (speaking(BOTH), speaking(DEP2P));
        let (_, at) = peer.listen(LOOPBACK).await;
        assert_eq!(connections(&mut node, &mut peer, &at).await, 2, "a stranger");
        assert_eq!(connections(&mut node, &mut peer, &at).await, 1, "a known address");
        let (_, elsewhere) = peer.listen(LOOPBACK).await;
        let whole = elsewhere.with_p2p(peer.peer).expect("no peer yet");
        assert_eq!(connections(&mut node, &mut peer, &whole).await, 1, "a known peer");
    });
}

#[test]
fn what_a_peer_speaks_that_dialled_is_remembered() {
    run(async {
        let (mut node, mut peer) = (speaking(BOTH), speaking(DEP2P));
        let (_, at) = node.listen(LOOPBACK).await;
        assert_eq!(connections(&mut peer, &mut node, &at).await, 1);
        let (_, at) = peer.listen(LOOPBACK).await;
        let at = at.with_p2p(peer.peer).expect("no peer yet");
        assert_eq!(connections(&mut node, &mut peer, &at).await, 1);
    });
}

#[test]
fn nodes_without_a_dialect_in_common_say_so_at_both_ends() {
    run(async {
        for (dials, listens, spoken) in
            [(DEP2P, LIBP2P, Dialect::Dep2p), (LIBP2P, DEP2P, Dialect::Libp2p)]
        {
            let (mut one, mut two) = (speaking(dials), speaking(listens));
            let (_, at) = two.listen(LOOPBACK).await;
            let (dialled, accepted) = meet(&mut one, &mut two, &at).await;
            let [accepted] = <[Outcome; 1]>::try_from(accepted).expect("one connection");
            let refused = why(&dialled.expect_err("it is not served"));
            assert!(refused.contains(&format!("{:?}", DialectError::Refused(spoken))), "{refused}");
            let refused = why(&accepted.expect_err("it is not served"));
            let expected = format!("{:?}", DialectError::NotOffered(spoken.other()));
            assert!(refused.contains(&expected), "{refused}");
        }
    });
}

#[test]
fn somebody_else_than_was_dialled_is_refused_in_dep2p_too() {
    run(async {
        let (mut node, mut peer) = (speaking(BOTH), speaking(DEP2P));
        let (_, at) = peer.listen(LOOPBACK).await;
        let instead = at.with_p2p(PeerId::random()).expect("no peer yet");
        let (dialled, accepted) = meet(&mut node, &mut peer, &instead).await;
        let refused = why(&dialled.expect_err("it is somebody else"));
        assert!(refused.contains(&CertificateError::WrongPeer(peer.peer).to_string()), "{refused}");
        assert_eq!(accepted.len(), 2, "one for each dialect");
        assert!(accepted.iter().all(io::Result::is_err), "nobody learns who has dialled");
    });
}

/// A hole is punched by the end that listens then, in the dialect of the end that dials.
#[test]
fn a_hole_is_punched_towards_a_peer_that_speaks_dep2p() {
    run(async {
        let (mut node, mut peer) = (speaking(BOTH), speaking(DEP2P));
        let (_, there) = node.listen(LOOPBACK).await;
        let (_, back) = peer.listen(LOOPBACK).await;
        let punched = node.dial(&back, PUNCH);
        let dialled = peer.dial(&there, REUSE);
        let both = futures::future::join(punched, dialled);
        let (punched, dialled) = futures::select! {
            both = both.fuse() => both,
            event = node.next().fuse() => panic!("it was expected: {event:?}"),
            event = peer.next().fuse() => panic!("nobody dials it: {event:?}"),
        };
        assert_eq!(punched.expect("a connection").0, peer.peer);
        assert_eq!(dialled.expect("a connection").0, node.peer);
    });
}

/// Whoever dials in one dialect with the certificate of the other one.
#[test]
fn a_client_with_a_certificate_of_the_other_dialect_is_refused() {
    run(async {
        for expected in [Dialect::Libp2p, Dialect::Dep2p] {
            let mixes = security(BOTH);
            let config = |dialect| mixes.tls_client(dialect, None).expect("it is spoken");
            let (mut tls, found) = (config(expected), expected.other());
            tls.client_auth_cert_resolver = config(found).client_auth_cert_resolver;
            let tls = QuicClientConfig::try_from(tls).expect("TLS 1.3");
            let mut node = speaking(BOTH);
            let (_, at) = node.listen(LOOPBACK).await;
            let endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).expect("a socket");
            let config = quinn::ClientConfig::new(Arc::new(tls));
            let socket = crate::support::socket(&at);
            let dial = endpoint.connect_with(config, socket, "0.0.0.0").expect("a handshake");
            let dial = tokio::spawn(dial.into_future());
            let refused = why(&node.accept().await.map(drop).expect_err("it is mixed"));
            let why = format!("{:?}", CertificateError::OtherDialect { expected, found });
            assert!(refused.contains(&why), "{refused}");
            drop(dial.await);
        }
    });
}

/// Presents one certificate, whatever is offered.
#[derive(Debug)]
struct Presents(Arc<CertifiedKey>);

impl ResolvesServerCert for Presents {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

/// Whoever answers in one dialect with the certificate of the other one.
#[test]
fn a_server_with_a_certificate_of_the_other_dialect_is_refused() {
    run(async {
        for expected in [Dialect::Libp2p, Dialect::Dep2p] {
            let (mixes, found) = (security(BOTH), expected.other());
            let other = mixes.tls_client(found, None).expect("it is spoken");
            let other = other.client_auth_cert_resolver.resolve(&[], &[]).expect("a certificate");
            let mut tls = quinn::rustls::ServerConfig::clone(&mixes.tls_server());
            tls.cert_resolver = Arc::new(Presents(other));
            let tls = QuicServerConfig::try_from(tls).expect("TLS 1.3");
            let config = quinn::ServerConfig::with_crypto(Arc::new(tls));
            let at = ([127, 0, 0, 1], 0).into();
            let endpoint = quinn::Endpoint::server(config, at).expect("a socket");
            let at = multiaddr(endpoint.local_addr().expect("it is bound"));
            let accept = tokio::spawn(async move {
                if let Some(incoming) = endpoint.accept().await {
                    drop(incoming.await);
                }
            });
            let mut node = speaking(Dialects::Only(expected));
            let refused = why(&node.dial(&at, NEW).await.map(drop).expect_err("it is mixed"));
            let why = CertificateError::OtherDialect { expected, found }.to_string();
            assert!(refused.contains(&why), "{refused}");
            accept.await.expect("no panic");
        }
    });
}
