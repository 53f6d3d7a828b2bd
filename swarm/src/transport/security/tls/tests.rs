use std::pin::Pin;
use std::sync::Arc;

use futures::executor::block_on;
use futures::future::{join, poll_fn};
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p_core::Transport;
use libp2p_core::transport::memory::Channel;
use libp2p_core::transport::{DialOpts, ListenerId, MemoryTransport, PortUse, TransportEvent};
use libp2p_core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use libp2p_core::{Endpoint, multiaddr};
use libp2p_identity::Keypair;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, NamedGroup};

use super::config::Certified;
use super::*;
use crate::transport::security::Dialects;

type Io = Channel<Vec<u8>>;
/// What comes of a handshake, at the end that dials and at the other one.
type Dialled = io::Result<(PeerId, TlsStream<Io>)>;
type Accepted = io::Result<(PeerId, Dialect, TlsStream<Io>)>;

/// Both ends of a connection in memory.
fn connection() -> (Io, Io) {
    let mut transport = MemoryTransport::new();
    let anywhere = multiaddr::Protocol::Memory(0).into();
    transport.listen_on(ListenerId::next(), anywhere).expect("there is a free port");
    let mut event = || block_on(poll_fn(|cx| Pin::new(&mut transport).poll(cx)));
    let TransportEvent::NewAddress { listen_addr, .. } = event() else {
        panic!("it tells where it listens first");
    };
    let how = DialOpts { role: Endpoint::Dialer, port_use: PortUse::Reuse };
    let dial = MemoryTransport::new().dial(listen_addr, how).expect("it listens");
    let dialler = block_on(dial).expect("it listens");
    let TransportEvent::Incoming { upgrade, .. } = event() else {
        panic!("somebody has dialled");
    };
    (dialler, block_on(upgrade).expect("a connection"))
}

/// A certificate and its key.
type Made = (CertificateDer<'static>, PrivateKeyDer<'static>);

fn made(keypair: &Keypair, dialect: Dialect) -> Made {
    certificate::generate(keypair, dialect).expect("a certificate")
}

/// These certificates, as those of a dialect, with this key.
fn certified(
    dialect: Dialect,
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Certified {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = provider.key_provider.load_private_key(key).expect("a key of a known kind");
    (dialect, Arc::new(CertifiedKey::new(certificates, key)))
}

/// A node with this key on a processor that has AES or not, that speaks these dialects.
fn node(keypair: &Keypair, aes: bool, dialects: Dialects) -> Configs {
    let certified = |dialect| {
        let (certificate, key) = made(keypair, dialect);
        certified(dialect, vec![certificate], key)
    };
    Configs::of(dialects.iter().map(certified).collect(), aes).expect("the ciphers are known")
}

const BOTH: Dialects = Dialects::Both { noise: Dialect::Libp2p };

fn speaks(keypair: &Keypair, dialects: Dialects) -> Configs {
    Configs::new(keypair, dialects).expect("a key")
}

fn keys() -> (Keypair, Keypair) {
    (Keypair::generate_ed25519(), Keypair::generate_ed25519())
}

/// What comes of a dial in a dialect at both ends.
fn meet(dials: &Configs, dialect: Dialect, listens: &Configs) -> (Dialled, Accepted) {
    let (dialler, listener) = connection();
    block_on(join(connect(dials, dialler, dialect), accept(listens, listener)))
}

/// Says something in both directions.
async fn talk(one: &mut TlsStream<Io>, two: &mut TlsStream<Io>) {
    for said in [b"hello", b"again"] {
        one.write_all(said).await.expect("written");
        one.flush().await.expect("written");
        let mut heard = [0; 5];
        two.read_exact(&mut heard).await.expect("something is said");
        assert_eq!(&heard, said);
        std::mem::swap(one, two);
    }
}

#[test]
fn both_ends_learn_who_the_other_is_in_either_dialect() {
    let (one, two) = keys();
    let (ours, theirs) = (speaks(&one, BOTH), speaks(&two, BOTH));
    for dialect in Dialect::ALL {
        for listens in [&theirs, &speaks(&two, Dialects::Only(dialect))] {
            let (dialled, accepted) = meet(&ours, dialect, listens);
            let (mut dialled, mut accepted) =
                (dialled.expect("secured"), accepted.expect("secured"));
            assert_eq!(dialled.0, two.public().to_peer_id());
            assert_eq!((accepted.0, accepted.1), (one.public().to_peer_id(), dialect));
            block_on(talk(&mut dialled.1, &mut accepted.2));
            let stream = dialled.1.get_ref().1;
            assert_eq!(stream.alpn_protocol(), Some(dialect.alpn()));
            assert_eq!(stream.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
            let group = stream.negotiated_key_exchange_group().expect("it is secured");
            assert_eq!(group.name(), NamedGroup::X25519MLKEM768, "safe from quantum computers");
        }
    }
}

#[test]
fn a_dialect_that_is_not_spoken_is_refused_at_both_ends_for_that_reason() {
    let (one, two) = keys();
    for refused in Dialect::ALL {
        let (ours, theirs) = (speaks(&one, BOTH), speaks(&two, Dialects::Only(refused.other())));
        let client = ours.client(refused).expect("it is spoken").clone();
        let (dialled, accepted) = served(client, &theirs);
        let error = dialled.expect_err("it is not served");
        assert!(is_refusal(&error), "{error:?}");
        let error = accepted.expect_err("it is not served");
        let error = error.into_inner().expect("an error with a cause").downcast::<DialectError>();
        assert_eq!(*error.expect("that of a dialect"), DialectError::NotServed(refused));
        let error = connect_error(&theirs, refused);
        assert!(error.to_string().contains(&refused.to_string()), "it cannot be dialled: {error}");
    }
}

fn connect_error(configs: &Configs, dialect: Dialect) -> io::Error {
    configs.client_for(dialect, None).expect_err("it is not spoken")
}

#[test]
fn the_cipher_is_the_one_that_the_dialler_is_best_at() {
    let ((one, two), aes) = (keys(), CipherSuite::TLS13_AES_128_GCM_SHA256);
    let chacha20 = CipherSuite::TLS13_CHACHA20_POLY1305_SHA256;
    for (dials, listens, expected) in
        [(true, true, aes), (true, false, aes), (false, true, chacha20), (false, false, chacha20)]
    {
        for dialect in Dialect::ALL {
            let (ours, theirs) = (node(&one, dials, BOTH), node(&two, listens, BOTH));
            let (dialled, accepted) = meet(&ours, dialect, &theirs);
            for stream in [dialled.expect("secured").1, accepted.expect("secured").2] {
                let chosen = stream.get_ref().1.negotiated_cipher_suite().expect("it is secured");
                assert_eq!(chosen.suite(), expected, "AES at the ends: {dials}, {listens}");
            }
        }
    }
}

#[test]
fn a_peer_with_the_tls_of_libp2p_is_understood_whoever_dials() {
    const NAME: &str = "/tls/1.0.0";
    let (one, two) = keys();
    let (ours, theirs) = (one.public().to_peer_id(), two.public().to_peer_id());
    for aes in [true, false] {
        let node = node(&one, aes, BOTH);
        let stock = libp2p_tls::Config::new(&two).expect("a key");
        let (dialler, listener) = connection();
        block_on(async {
            let accept = stock.clone().upgrade_inbound(listener, NAME);
            let (dialled, accepted) = join(connect(&node, dialler, Dialect::Libp2p), accept).await;
            let (mut dialled, mut accepted) =
                (dialled.expect("secured"), accepted.expect("secured"));
            assert_eq!((dialled.0, accepted.0), (theirs, ours));
            talk(&mut dialled.1, &mut accepted.1).await;
        });
        let (dialler, listener) = connection();
        block_on(async {
            let connect = stock.upgrade_outbound(dialler, NAME);
            let (dialled, accepted) = join(connect, accept(&node, listener)).await;
            let (mut dialled, mut accepted) =
                (dialled.expect("secured"), accepted.expect("secured"));
            assert_eq!((dialled.0, accepted.0, accepted.1), (ours, theirs, Dialect::Libp2p));
            talk(&mut dialled.1, &mut accepted.2).await;
        });
    }
}

/// A client that offers something else in ALPN than its dialect's name.
fn offering(keypair: &Keypair, dialect: Dialect, names: &[&[u8]]) -> Arc<rustls::ClientConfig> {
    let mut client = speaks(keypair, BOTH).client_for(dialect, None).expect("it is spoken");
    client.alpn_protocols = names.iter().map(|name| name.to_vec()).collect();
    Arc::new(client)
}

/// What a node makes of a client.
fn served(
    client: Arc<rustls::ClientConfig>,
    node: &Configs,
) -> (io::Result<()>, io::Result<(PeerId, Dialect)>) {
    // It stays open behind what is said last.
    let (dialler, mut listener) = connection();
    let nameless = ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into());
    let connect = TlsConnector::from(client).connect(nameless, dialler);
    let (dialled, accepted) = block_on(join(connect, accept(node, &mut listener)));
    (dialled.map(drop), accepted.map(|(peer, dialect, _)| (peer, dialect)))
}

/// Of go-libp2p and go-dep2p, which offer their muxers first, and of clients that offer nothing.
#[test]
fn a_client_is_answered_in_the_dialect_that_it_offers_beside_other_names() {
    let (one, two) = keys();
    let (peer, node) = (one.public().to_peer_id(), speaks(&two, BOTH));
    let [libp2p, dep2p] = Dialect::ALL;
    let yamux: &[u8] = b"/yamux/1.0.0";
    let offers: [(Dialect, &[&[u8]]); 5] = [
        (libp2p, &[yamux, b"/mplex/6.7.0", b"libp2p"]),
        (dep2p, &[yamux, b"dep2p"]),
        (libp2p, &[b"dep2p", b"libp2p"]),
        (libp2p, &[b"libp2p", b"dep2p"]),
        (libp2p, &[]),
    ];
    for (dialect, names) in offers {
        let (dialled, accepted) = served(offering(&one, dialect, names), &node);
        dialled.expect("the server's certificate is that of the dialect");
        assert_eq!(accepted.expect("let in"), (peer, dialect), "{names:?}");
    }
    let (dialled, accepted) = served(offering(&one, libp2p, &[yamux]), &node);
    assert!(is_refusal(&dialled.expect_err("nothing is agreed on")));
    let error = accepted.expect_err("nothing is agreed on").into_inner().expect("a cause");
    assert_eq!(error.downcast_ref(), Some(&Error::NoApplicationProtocol));
}

/// Without a name it is libp2p's.
#[test]
fn a_client_that_offers_nothing_is_refused_where_dep2p_alone_is_served() {
    let (one, two) = keys();
    let node = speaks(&two, Dialects::Only(Dialect::Dep2p));
    for dialect in Dialect::ALL {
        let (_, accepted) = served(offering(&one, dialect, &[]), &node);
        let error = accepted.expect_err("it is not served").into_inner().expect("a cause");
        assert_eq!(error.downcast_ref(), Some(&DialectError::NotServed(Dialect::Libp2p)));
    }
}

/// An end that presents these certificates in both dialects and signs with this key.
fn presenting(certificates: Vec<CertificateDer<'static>>, key: &PrivateKeyDer<'static>) -> Configs {
    let certified = |dialect| certified(dialect, certificates.clone(), key.clone_key());
    Configs::of(Dialect::ALL.map(certified).into(), true).expect("the ciphers are known")
}

/// Why each end turns the other away, as dialler and as listener.
fn refusals(other: &Configs, dialect: Dialect) -> [String; 2] {
    fn why<T>(outcome: io::Result<T>) -> String {
        let Err(error) = outcome else { panic!("it was let in") };
        crate::node::dialing::reason::root(&error)
    }
    let ours = speaks(&Keypair::generate_ed25519(), BOTH);
    let (dialled, _) = meet(&ours, dialect, other);
    let (_, accepted) = meet(other, dialect, &ours);
    [why(dialled), why(accepted)]
}

/// Both ends turn the other away for this reason, in both dialects.
#[track_caller]
fn check_refused(other: &Configs, reason: impl Fn(Dialect) -> CertificateError) {
    for dialect in Dialect::ALL {
        let expected = reason(dialect).to_string();
        assert_eq!(refusals(other, dialect), [expected.clone(), expected], "{dialect}");
    }
}

fn somebody(dialect: Dialect) -> Made {
    made(&Keypair::generate_ed25519(), dialect)
}

#[test]
fn a_peer_without_a_certificate_is_refused() {
    let (_, key) = somebody(Dialect::Libp2p);
    check_refused(&presenting(Vec::new(), &key), |_| CertificateError::Missing);
}

#[test]
fn a_peer_with_two_certificates_is_refused() {
    let ((one, key), (two, _)) = (somebody(Dialect::Libp2p), somebody(Dialect::Libp2p));
    check_refused(&presenting(vec![one, two], &key), |_| CertificateError::Several);
}

#[test]
fn a_certificate_that_no_peer_vouches_for_is_refused() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
    let rcgen::CertifiedKey { cert, key_pair } = made.expect("a certificate");
    let key = PrivatePkcs8KeyDer::from(key_pair.serialize_der()).into();
    check_refused(&presenting(vec![cert.into()], &key), |_| CertificateError::NoPeer);
}

#[test]
fn the_certificate_of_somebody_else_is_refused() {
    for dialect in Dialect::ALL {
        let ((theirs, _), (_, own)) = (somebody(dialect), somebody(dialect));
        let forged = Error::from(rustls::CertificateError::BadSignature).to_string();
        let why = refusals(&presenting(vec![theirs], &own), dialect);
        assert_eq!(why, [forged.clone(), forged]);
    }
}

#[test]
fn a_handshake_that_is_signed_in_another_way_than_the_certificate_is_refused() {
    for dialect in Dialect::ALL {
        let (certificate, key) = certificate::tests::of_pkcs1(dialect);
        let why = CertificateError::SchemeMismatch.to_string();
        let refused = refusals(&presenting(vec![certificate], &key), dialect);
        assert_eq!(refused, [why.clone(), why]);
    }
}

/// A certificate of one dialect where the handshake speaks the other one.
#[test]
fn a_certificate_of_the_other_dialect_is_refused() {
    for found in Dialect::ALL {
        let (certificate, key) = somebody(found);
        let expected = found.other();
        let mixed = presenting(vec![certificate], &key);
        let why = CertificateError::OtherDialect { expected, found }.to_string();
        assert_eq!(refusals(&mixed, expected), [why.clone(), why]);
    }
}

#[test]
fn whoever_is_not_the_expected_peer_is_refused_before_it_learns_who_dials() {
    let (one, two) = keys();
    let (ours, theirs) = (speaks(&one, BOTH), speaks(&two, BOTH));
    let (who, somebody) = (two.public().to_peer_id(), PeerId::random());
    for dialect in Dialect::ALL {
        let expecting = |peer| Arc::new(ours.client_for(dialect, Some(peer)).expect("spoken"));
        let (dialled, accepted) = served(expecting(somebody), &theirs);
        let error = explained(dialled.expect_err("it is somebody else"));
        let error = error.into_inner().expect("a cause");
        assert_eq!(error.downcast_ref(), Some(&CertificateError::WrongPeer(who)));
        accepted.expect_err("nobody was named");
        let (dialled, accepted) = served(expecting(who), &theirs);
        dialled.expect("the expected peer");
        assert_eq!(accepted.expect("let in"), (one.public().to_peer_id(), dialect));
    }
}

#[test]
fn nothing_is_resumed() {
    let node = speaks(&Keypair::generate_ed25519(), BOTH);
    assert_eq!(node.server().send_tls13_tickets, 0);
    assert_eq!(node.server().max_early_data_size, 0);
    assert!(!node.client(Dialect::Dep2p).expect("spoken").enable_early_data);
}
