//! Certificates that a peer may present, in both dialects, against the parser of libp2p-tls.

use std::sync::OnceLock;

use arbitrary::{Arbitrary, Unstructured};
use libp2p_identity::Keypair;
use pointsub_swarm::certificate::{CertificateError, parse};
use pointsub_swarm::{Dialect, PeerId};
use rcgen::{CertificateParams, CustomExtension, KeyPair, date_time_ymd};

/// The extension that says whose a certificate is.
const PEER: [u64; 9] = [1, 3, 6, 1, 4, 1, 53594, 1, 1];

#[derive(Debug, Arbitrary)]
enum Input<'a> {
    /// Anything.
    Any(&'a [u8]),
    /// What is signed with its own key, so that what it says is looked at.
    Signed(Signed<'a>),
}

#[derive(Debug, Arbitrary)]
struct Signed<'a> {
    kind: Kind,
    /// Years after 1950.
    from: u8,
    until: u8,
    extensions: Vec<Extension<'a>>,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Kind {
    P256,
    P384,
    Ed25519,
}

#[derive(Debug, Arbitrary)]
enum Extension<'a> {
    /// A peer vouches.
    Vouches { dep2p: bool, critical: bool },
    /// Something like it.
    Like { key: &'a [u8], signature: &'a [u8], critical: bool },
    /// Anything in its place.
    Malformed { content: &'a [u8], critical: bool },
    /// Something else.
    Other { number: u8, content: &'a [u8], critical: bool },
}

/// Any bytes as a certificate: they are read without a panic, in libp2p's dialect as libp2p-tls reads
/// them, and what is wrong in one dialect is wrong in the other one, unless it is the dialect itself.
pub fn certificate(data: &[u8]) {
    let Ok(input) = Input::arbitrary_take_rest(Unstructured::new(data)) else { return };
    let certificate = match input {
        Input::Any(bytes) => bytes.to_vec(),
        Input::Signed(signed) => match sign(signed) {
            Some(certificate) => certificate,
            None => return,
        },
    };
    check(certificate);
}

fn check(certificate: Vec<u8>) {
    let certificate = certificate.into();
    let [libp2p, dep2p] =
        [Dialect::Libp2p, Dialect::Dep2p].map(|dialect| parse(&certificate, dialect));
    let stock = libp2p_tls::certificate::parse(&certificate).map(|read| read.peer_id());
    assert_eq!(libp2p.clone().ok(), stock.ok(), "libp2p-tls does not agree: {libp2p:?}");
    match (libp2p, dep2p) {
        (Ok(_), refused) => check_other(&refused, Dialect::Libp2p),
        (refused, Ok(_)) => check_other(&refused, Dialect::Dep2p),
        (libp2p, dep2p) => assert_eq!(libp2p, dep2p, "what is wrong depends on the dialect"),
    }
}

/// It was read in the one dialect in which it is `found`.
fn check_other(refused: &Result<PeerId, CertificateError>, found: Dialect) {
    let expected = found.other();
    assert_eq!(*refused, Err(CertificateError::OtherDialect { expected, found }));
}

/// A certificate that is signed with its own key; `None` if it cannot be written.
fn sign(signed: Signed<'_>) -> Option<Vec<u8>> {
    let own = own_key(signed.kind);
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(1950 + i32::from(signed.from), 1, 1);
    params.not_after = date_time_ymd(1950 + i32::from(signed.until), 1, 1);
    for extension in signed.extensions.into_iter().take(8) {
        params.custom_extensions.push(written(extension, own));
    }
    Some(params.self_signed(own).ok()?.der().to_vec())
}

fn written(extension: Extension<'_>, own: &KeyPair) -> CustomExtension {
    let (oid, content, critical) = match extension {
        Extension::Vouches { dep2p, critical } => {
            let dialect = if dep2p { Dialect::Dep2p } else { Dialect::Libp2p };
            let text = [dialect.certificate_prefix(), &own.public_key_der()].concat();
            let signature = peer().sign(&text).expect("the key can sign");
            (PEER.to_vec(), two(&peer().public().encode_protobuf(), &signature), critical)
        }
        Extension::Like { key, signature, critical } => {
            (PEER.to_vec(), two(key, signature), critical)
        }
        Extension::Malformed { content, critical } => (PEER.to_vec(), content.to_vec(), critical),
        Extension::Other { number, content, critical } => {
            (vec![1, 3, u64::from(number)], content.to_vec(), critical)
        }
    };
    let mut extension = CustomExtension::from_oid_content(&oid, content);
    extension.set_criticality(critical);
    extension
}

/// A sequence of two octet strings, as DER has them up to 127 bytes.
fn two(one: &[u8], two: &[u8]) -> Vec<u8> {
    let content = [&[4, one.len() as u8], one, &[4, two.len() as u8], two].concat();
    [&[0x30, content.len() as u8], &content[..]].concat()
}

fn peer() -> &'static Keypair {
    static PEER: OnceLock<Keypair> = OnceLock::new();
    PEER.get_or_init(Keypair::generate_ed25519)
}

/// Made once, since that takes long.
fn own_key(kind: Kind) -> &'static KeyPair {
    static KEYS: OnceLock<[KeyPair; 3]> = OnceLock::new();
    let kinds =
        [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519];
    let keys = KEYS.get_or_init(|| kinds.map(|kind| KeyPair::generate_for(kind).expect("a key")));
    &keys[kind as usize]
}
