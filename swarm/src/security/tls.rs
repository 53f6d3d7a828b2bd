//! TLS 1.3 as libp2p defines it, with the cipher that this processor is best at.
//!
//! The certificates, how they are checked and what they say are libp2p's; its own upgrade differs in
//! that it prefers ChaCha20 everywhere.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use futures::{AsyncRead, AsyncWrite};
use futures_rustls::{TlsAcceptor, TlsConnector, rustls};
use libp2p_identity::{Keypair, PeerId};
use libp2p_tls::certificate::{self, P2pCertificate};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, CipherSuite, ClientConfig, CommonState, DigitallySignedStruct,
    DistinguishedName, Error, PeerIncompatible, ServerConfig, SignatureScheme,
};

pub(super) use futures_rustls::TlsStream;

/// Both ends of TLS for one node.
#[derive(Clone)]
pub(super) struct Tls {
    client: TlsConnector,
    server: TlsAcceptor,
}

impl Tls {
    pub(super) fn new(keypair: &Keypair) -> io::Result<Self> {
        let client = libp2p_tls::make_client_config(keypair, None).map_err(io::Error::other)?;
        let server = libp2p_tls::make_server_config(keypair).map_err(io::Error::other)?;
        Self::with_ciphers(client, server, has_aes()).map_err(io::Error::other)
    }

    /// From what libp2p would use: the same keys and certificates, other preferences.
    fn with_ciphers(theirs: ClientConfig, ours: ServerConfig, aes: bool) -> Result<Self, Error> {
        let mut provider = CryptoProvider::clone(theirs.crypto_provider());
        if aes {
            let rank = |suite| match suite {
                CipherSuite::TLS13_AES_128_GCM_SHA256 => 0,
                CipherSuite::TLS13_AES_256_GCM_SHA384 => 1,
                _ => 2,
            };
            provider.cipher_suites.sort_by_key(|cipher| rank(cipher.suite()));
        }
        let (provider, versions) = (Arc::new(provider), [&rustls::version::TLS13]);
        let mut client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(SelfSigned))
            .with_client_cert_resolver(theirs.client_auth_cert_resolver);
        client.alpn_protocols = theirs.alpn_protocols;
        // A connection is dialled for long; every handshake proves who the peer is.
        client.resumption = Resumption::disabled();
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)?
            .with_client_cert_verifier(Arc::new(SelfSigned))
            .with_cert_resolver(ours.cert_resolver);
        server.alpn_protocols = ours.alpn_protocols;
        server.send_tls13_tickets = 0;
        Ok(Self { client: Arc::new(client).into(), server: Arc::new(server).into() })
    }

    pub(super) async fn connect<C>(self, io: C) -> io::Result<(PeerId, TlsStream<C>)>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        // With an address for a name nothing is said of it, as libp2p has it.
        let nameless = ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into());
        let stream = self.client.connect(nameless, io).await?;
        Ok((peer(stream.get_ref().1)?, stream.into()))
    }

    pub(super) async fn accept<C>(self, io: C) -> io::Result<(PeerId, TlsStream<C>)>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = self.server.accept(io).await?;
        Ok((peer(stream.get_ref().1)?, stream.into()))
    }
}

/// Whether the processor encrypts with AES by itself; otherwise ChaCha20 is faster.
fn has_aes() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[allow(unreachable_code)]
    false
}

/// Who is at the other end of a connection whose handshake is done.
fn peer(state: &CommonState) -> io::Result<PeerId> {
    let certificate = state.peer_certificates().and_then(<[_]>::first);
    let certificate =
        certificate.ok_or(Error::NoCertificatesPresented).map_err(io::Error::other)?;
    let certificate = certificate::parse(certificate).map_err(io::Error::other)?;
    Ok(certificate.peer_id())
}

/// Checks certificates of libp2p: one, signed with its own key, in which the key of the peer vouches
/// for it. See <https://github.com/libp2p/specs/blob/master/tls/tls.md>.
#[derive(Debug)]
struct SelfSigned;

impl SelfSigned {
    fn check<'a>(
        certificate: &'a CertificateDer<'_>,
        others: &[CertificateDer<'_>],
    ) -> Result<P2pCertificate<'a>, Error> {
        if !others.is_empty() {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(certificate::parse(certificate)?)
    }

    fn check_signature(
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let certificate = certificate::parse(certificate)?;
        certificate.verify_signature(signed.scheme, message, signed.signature())?;
        Ok(HandshakeSignatureValid::assertion())
    }
}

/// Those that the certificates of libp2p's implementations are checked with.
fn schemes() -> Vec<SignatureScheme> {
    vec![
        SignatureScheme::ECDSA_NISTP384_SHA384,
        SignatureScheme::ECDSA_NISTP256_SHA256,
        SignatureScheme::ED25519,
        SignatureScheme::RSA_PSS_SHA512,
        SignatureScheme::RSA_PSS_SHA384,
        SignatureScheme::RSA_PSS_SHA256,
        SignatureScheme::RSA_PKCS1_SHA512,
        SignatureScheme::RSA_PKCS1_SHA384,
        SignatureScheme::RSA_PKCS1_SHA256,
    ]
}

/// Not reached, since nothing below TLS 1.3 is offered.
const TOO_OLD: Error = Error::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled);

impl ServerCertVerifier for SelfSigned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Self::check(certificate, others).map(|_| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(TOO_OLD)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}

impl ClientCertVerifier for SelfSigned {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Self::check(certificate, others).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(TOO_OLD)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}
