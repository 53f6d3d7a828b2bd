//! The certificates of libp2p's TLS: made, read and checked.
//!
//! A certificate is made for the connections of one node and signed with its own key. An extension
//! says whose it is: it holds the peer's public key, and what that key has signed, which is a text of
//! the dialect and the certificate's key. Everything that
//! <https://github.com/libp2p/specs/blob/master/tls/tls.md> has checked of it is checked here.

#[cfg(test)]
pub(super) mod tests;

use libp2p_identity::{Keypair, PeerId, PublicKey};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use rustls::SignatureScheme;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use thiserror::Error;
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::Oid;
use x509_parser::der_parser::asn1_rs::Tag;
use x509_parser::oid_registry as oid;
use x509_parser::prelude::FromDer;
use x509_parser::signature_algorithm::SignatureAlgorithm;
use x509_parser::x509::AlgorithmIdentifier;

use super::Dialect;

/// The extension that says whose a certificate is.
const EXTENSION: [u64; 9] = [1, 3, 6, 1, 4, 1, 53594, 1, 1];

/// Why a certificate does not prove who a peer is. Nothing can be done about it at this end.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The peer presents none.
    #[error("the peer presents no certificate")]
    Missing,
    /// The peer presents more than one.
    #[error("the peer presents more than one certificate")]
    Several,
    /// It cannot be read.
    #[error("the peer's certificate is not one of X.509")]
    NotX509,
    /// An extension is critical and not known, so that nobody can say what it changes.
    #[error("the peer's certificate has an unknown critical extension, {0}")]
    CriticalExtension(String),
    /// It does not say whose it is.
    #[error("the peer's certificate does not name a peer: it has no extension of libp2p")]
    NoPeer,
    /// It says more than once whose it is.
    #[error("the peer's certificate names more than one peer")]
    SeveralPeers,
    /// What says whose it is cannot be read.
    #[error("what the peer's certificate says of its peer is malformed")]
    MalformedPeer,
    /// The peer's own key is of a kind that is not known here, or malformed.
    #[error("the peer's key cannot be used: {0}")]
    PeerKey(String),
    /// It is not valid now. Is the clock right at both ends?
    #[error("the peer's certificate is not valid at this time")]
    NotValidNow,
    /// The curve of the certificate's key has no name.
    #[error("the curve of the certificate's key is not a named one")]
    UnnamedCurve,
    /// The kinds of its key and of its signature are unknown, too weak, or do not belong together.
    #[error("the peer's certificate is signed in a way that is not accepted, {0}")]
    Algorithm(String),
    /// It was not signed with its own key.
    #[error("the peer's certificate was not signed with its own key")]
    SelfSignature,
    /// The peer that it names has not signed for it, in neither dialect.
    #[error("the peer that the certificate names has not signed for it")]
    PeerSignature,
    /// The peer has signed for it in the other dialect.
    #[error("the peer's certificate is that of {found}, where {expected} was agreed on")]
    OtherDialect {
        /// What the handshake speaks.
        expected: Dialect,
        /// What the certificate speaks.
        found: Dialect,
    },
    /// It is that of another peer than the one that was dialled.
    #[error("the peer is {0}")]
    WrongPeer(PeerId),
    /// The handshake is signed in another way than the certificate.
    #[error("the handshake and the peer's certificate are signed in different ways")]
    SchemeMismatch,
}

/// Why no certificate could be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// The peer's key cannot sign.
    #[error("the key of this peer cannot sign: {0}")]
    Sign(#[from] libp2p_identity::SigningError),
    /// The certificate's own key or its signature could not be made.
    #[error("no certificate could be made: {0}")]
    Certificate(#[from] rcgen::Error),
}

/// A certificate for connections of the peer with this key, and the certificate's own key.
///
/// # Errors
/// If the key cannot sign, or there is no randomness.
pub fn generate(
    keypair: &Keypair,
    dialect: Dialect,
) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), GenerateError> {
    let own = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let signature = keypair.sign(&signed(dialect, &own.public_key_der()))?;
    let peer = yasna::encode_der(&(keypair.public().encode_protobuf(), signature));
    let mut extension = CustomExtension::from_oid_content(&EXTENSION, peer);
    extension.set_criticality(true);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions.push(extension);
    let certificate = params.self_signed(&own)?;
    Ok((certificate.into(), PrivatePkcs8KeyDer::from(own.serialize_der()).into()))
}

/// What a peer signs for a certificate with this key, which is a SubjectPublicKeyInfo.
fn signed(dialect: Dialect, key: &[u8]) -> Vec<u8> {
    [dialect.certificate_prefix(), key].concat()
}

/// Reads and checks a certificate, in which a peer vouches in the `expected` dialect.
///
/// # Errors
/// [`CertificateError`]. [`OtherDialect`](CertificateError::OtherDialect) says that all is well with
/// it, in the other dialect.
pub fn parse(
    certificate: &CertificateDer<'_>,
    expected: Dialect,
) -> Result<PeerId, CertificateError> {
    let (peer, found) = Unverified::read(certificate)?.verify(expected)?;
    if found == expected {
        Ok(peer)
    } else {
        Err(CertificateError::OtherDialect { expected, found })
    }
}

/// A certificate that can be read, of which nothing is proven.
pub(super) struct Unverified<'a> {
    x509: X509Certificate<'a>,
    peer: PublicKey,
    signature: Vec<u8>,
}

impl<'a> Unverified<'a> {
    pub(super) fn read(certificate: &'a CertificateDer<'_>) -> Result<Self, CertificateError> {
        let (_, x509) =
            X509Certificate::from_der(certificate).map_err(|_| CertificateError::NotX509)?;
        let is_peer = |oid: &Oid<'_>| oid.iter().is_some_and(|arcs| arcs.eq(EXTENSION));
        let mut peer = None;
        for extension in x509.extensions() {
            if is_peer(&extension.oid) {
                if peer.is_some() {
                    return Err(CertificateError::SeveralPeers);
                }
                peer = Some(read_peer(extension.value)?);
            } else if extension.critical {
                let oid = extension.oid.to_id_string();
                return Err(CertificateError::CriticalExtension(oid));
            }
        }
        let (peer, signature) = peer.ok_or(CertificateError::NoPeer)?;
        Ok(Self { x509, peer, signature })
    }

    /// Who the peer is, and in which dialect it vouches; the expected one is tried first.
    fn verify(&self, expected: Dialect) -> Result<(PeerId, Dialect), CertificateError> {
        if !self.x509.validity().is_valid() {
            return Err(CertificateError::NotValidNow);
        }
        let key = &self.x509.public_key().subject_public_key;
        let key = UnparsedPublicKey::new(algorithm(self.scheme()?)?, &key.data);
        let (content, own) = (self.x509.tbs_certificate.as_ref(), &self.x509.signature_value);
        key.verify(content, &own.data).map_err(|_| CertificateError::SelfSignature)?;
        let vouches =
            |dialect: &Dialect| self.peer.verify(&signed(*dialect, self.key()), &self.signature);
        let found = [expected, expected.other()].into_iter().find(vouches);
        Ok((self.peer.to_peer_id(), found.ok_or(CertificateError::PeerSignature)?))
    }

    /// The certificate's own key, a SubjectPublicKeyInfo.
    pub(super) fn key(&self) -> &'a [u8] {
        self.x509.tbs_certificate.subject_pki.raw
    }

    /// How the certificate is signed, which is also how its key signs handshakes.
    pub(super) fn scheme(&self) -> Result<SignatureScheme, CertificateError> {
        let (key, signature) = (&self.x509.public_key().algorithm, &self.x509.signature_algorithm);
        let scheme = if key.algorithm == oid::OID_PKCS1_RSAENCRYPTION {
            of_rsa(signature)
        } else if key.algorithm == oid::OID_KEY_TYPE_EC_PUBLIC_KEY {
            of_curve(key, signature)?
        } else if key.algorithm == oid::OID_SIG_ED25519 && signature.algorithm == key.algorithm {
            Some(SignatureScheme::ED25519)
        } else {
            None
        };
        scheme.ok_or_else(|| CertificateError::Algorithm(signature.algorithm.to_id_string()))
    }
}

/// The peer's key, and what it has signed.
fn read_peer(extension: &[u8]) -> Result<(PublicKey, Vec<u8>), CertificateError> {
    let (key, signature): (Vec<u8>, Vec<u8>) =
        yasna::decode_der(extension).map_err(|_| CertificateError::MalformedPeer)?;
    let key = PublicKey::try_decode_protobuf(&key);
    Ok((key.map_err(|why| CertificateError::PeerKey(why.to_string()))?, signature))
}

/// Hashes of less than 256 bits are not accepted: SHA-1 and MD5 collide.
fn of_rsa(signature: &AlgorithmIdentifier<'_>) -> Option<SignatureScheme> {
    let algorithm = &signature.algorithm;
    if *algorithm == oid::OID_PKCS1_SHA256WITHRSA {
        return Some(SignatureScheme::RSA_PKCS1_SHA256);
    } else if *algorithm == oid::OID_PKCS1_SHA384WITHRSA {
        return Some(SignatureScheme::RSA_PKCS1_SHA384);
    } else if *algorithm == oid::OID_PKCS1_SHA512WITHRSA {
        return Some(SignatureScheme::RSA_PKCS1_SHA512);
    }
    let Ok(SignatureAlgorithm::RSASSA_PSS(params)) = SignatureAlgorithm::try_from(signature) else {
        return None;
    };
    let hash = params.hash_algorithm_oid();
    if *hash == oid::OID_NIST_HASH_SHA256 {
        Some(SignatureScheme::RSA_PSS_SHA256)
    } else if *hash == oid::OID_NIST_HASH_SHA384 {
        Some(SignatureScheme::RSA_PSS_SHA384)
    } else if *hash == oid::OID_NIST_HASH_SHA512 {
        Some(SignatureScheme::RSA_PSS_SHA512)
    } else {
        None
    }
}

/// Each curve goes with one hash in TLS 1.3.
fn of_curve(
    key: &AlgorithmIdentifier<'_>,
    signature: &AlgorithmIdentifier<'_>,
) -> Result<Option<SignatureScheme>, CertificateError> {
    let named = key.parameters.as_ref().filter(|curve| curve.tag() == Tag::Oid);
    let curve =
        named.and_then(|curve| curve.as_oid().ok()).ok_or(CertificateError::UnnamedCurve)?;
    let is = |named, signed| curve == named && signature.algorithm == signed;
    Ok(if is(oid::OID_EC_P256, oid::OID_SIG_ECDSA_WITH_SHA256) {
        Some(SignatureScheme::ECDSA_NISTP256_SHA256)
    } else if is(oid::OID_NIST_EC_P384, oid::OID_SIG_ECDSA_WITH_SHA384) {
        Some(SignatureScheme::ECDSA_NISTP384_SHA384)
    } else {
        None
    })
}

/// Those that certificates and handshakes are checked with, the best first.
pub(super) const SCHEMES: [SignatureScheme; 9] = [
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PKCS1_SHA512,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA256,
];

fn algorithm(
    scheme: SignatureScheme,
) -> Result<&'static dyn VerificationAlgorithm, CertificateError> {
    Ok(match scheme {
        SignatureScheme::ECDSA_NISTP256_SHA256 => &signature::ECDSA_P256_SHA256_ASN1,
        SignatureScheme::ECDSA_NISTP384_SHA384 => &signature::ECDSA_P384_SHA384_ASN1,
        SignatureScheme::ED25519 => &signature::ED25519,
        SignatureScheme::RSA_PSS_SHA256 => &signature::RSA_PSS_2048_8192_SHA256,
        SignatureScheme::RSA_PSS_SHA384 => &signature::RSA_PSS_2048_8192_SHA384,
        SignatureScheme::RSA_PSS_SHA512 => &signature::RSA_PSS_2048_8192_SHA512,
        SignatureScheme::RSA_PKCS1_SHA256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        SignatureScheme::RSA_PKCS1_SHA384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        SignatureScheme::RSA_PKCS1_SHA512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        other => return Err(CertificateError::Algorithm(format!("{other:?}"))),
    })
}
