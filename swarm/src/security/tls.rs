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
        // The first random bytes of a process take some 20 ms, until enough entropy is gathered. The
        // first peer is not to wait for it, twice: once at each end.
        provider.secure_random.fill(&mut [0; 32])?;
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

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use futures::executor::block_on;
    use futures::future::{join, poll_fn};
    use futures::{AsyncReadExt, AsyncWriteExt};
    use libp2p_core::Transport;
    use libp2p_core::transport::memory::Channel;
    use libp2p_core::transport::{DialOpts, ListenerId, MemoryTransport, PortUse, TransportEvent};
    use libp2p_core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
    use libp2p_core::{Endpoint, multiaddr};
    use rustls::client::ResolvesClientCert;
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use rustls::server::{ClientHello, ResolvesServerCert};
    use rustls::sign::CertifiedKey;

    use super::*;

    type Io = Channel<Vec<u8>>;

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

    fn configs(keypair: &Keypair) -> (ClientConfig, ServerConfig) {
        let client = libp2p_tls::make_client_config(keypair, None).expect("a certificate");
        (client, libp2p_tls::make_server_config(keypair).expect("a certificate"))
    }

    /// A node with this key on a processor that has AES or not.
    fn on(aes: bool, keypair: &Keypair) -> Tls {
        let (client, server) = configs(keypair);
        Tls::with_ciphers(client, server, aes).expect("the ciphers are known")
    }

    fn keys() -> (Keypair, Keypair) {
        (Keypair::generate_ed25519(), Keypair::generate_ed25519())
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
    fn both_ends_learn_who_the_other_is() {
        let ((one, two), (dialler, listener)) = (keys(), connection());
        block_on(async {
            let connect = Tls::new(&one).expect("a key").connect(dialler);
            let accept = Tls::new(&two).expect("a key").accept(listener);
            let (dialled, accepted) = join(connect, accept).await;
            let (mut dialled, mut accepted) =
                (dialled.expect("secured"), accepted.expect("secured"));
            assert_eq!(dialled.0, two.public().to_peer_id());
            assert_eq!(accepted.0, one.public().to_peer_id());
            talk(&mut dialled.1, &mut accepted.1).await;
        });
    }

    #[test]
    fn the_cipher_is_the_one_that_the_dialler_is_best_at() {
        let ((one, two), aes) = (keys(), CipherSuite::TLS13_AES_128_GCM_SHA256);
        let chacha20 = CipherSuite::TLS13_CHACHA20_POLY1305_SHA256;
        for (dials, listens, expected) in [
            (true, true, aes),
            (true, false, aes),
            (false, true, chacha20),
            (false, false, chacha20),
        ] {
            let (dialler, listener) = connection();
            let both = join(on(dials, &one).connect(dialler), on(listens, &two).accept(listener));
            let (dialled, accepted) = block_on(both);
            for (_, stream) in [dialled.expect("secured"), accepted.expect("secured")] {
                let chosen = stream.get_ref().1.negotiated_cipher_suite().expect("it is secured");
                assert_eq!(chosen.suite(), expected, "AES at the ends: {dials}, {listens}");
            }
        }
    }

    #[test]
    fn a_peer_with_the_tls_of_libp2p_is_understood_whoever_dials() {
        const NAME: &str = "/tls/1.0.0";
        let (one, two) = keys();
        let (ours, theirs) = (one.public().to_peer_id(), two.public().to_peer_id());
        for aes in [true, false] {
            let stock = libp2p_tls::Config::new(&two).expect("a key");
            let (dialler, listener) = connection();
            block_on(async {
                let accept = stock.clone().upgrade_inbound(listener, NAME);
                let (dialled, accepted) = join(on(aes, &one).connect(dialler), accept).await;
                let (mut dialled, mut accepted) =
                    (dialled.expect("secured"), accepted.expect("secured"));
                assert_eq!((dialled.0, accepted.0), (theirs, ours));
                talk(&mut dialled.1, &mut accepted.1).await;
            });
            let (dialler, listener) = connection();
            block_on(async {
                let connect = stock.upgrade_outbound(dialler, NAME);
                let (dialled, accepted) = join(connect, on(aes, &one).accept(listener)).await;
                let (mut dialled, mut accepted) =
                    (dialled.expect("secured"), accepted.expect("secured"));
                assert_eq!((dialled.0, accepted.0), (ours, theirs));
                talk(&mut dialled.1, &mut accepted.1).await;
            });
        }
    }

    /// Presents the same certificates to everyone.
    #[derive(Debug, Clone)]
    struct Presents(Arc<CertifiedKey>);

    impl ResolvesClientCert for Presents {
        fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
            Some(self.0.clone())
        }

        fn has_certs(&self) -> bool {
            true
        }
    }

    impl ResolvesServerCert for Presents {
        fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            Some(self.0.clone())
        }
    }

    /// An end that presents these certificates and signs with this key.
    fn presenting(certificates: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Tls {
        let (mut client, mut server) = configs(&Keypair::generate_ed25519());
        let key = client.crypto_provider().key_provider.load_private_key(key);
        let key = key.expect("a key of a known kind");
        let presents = Presents(Arc::new(CertifiedKey::new(certificates, key)));
        client.client_auth_cert_resolver = Arc::new(presents.clone());
        server.cert_resolver = Arc::new(presents);
        Tls::with_ciphers(client, server, true).expect("the ciphers are known")
    }

    /// Why each end turns the other away, as dialler and as listener.
    fn refusals(other: Tls) -> [Error; 2] {
        fn why<T>(outcome: io::Result<T>) -> Error {
            let Err(error) = outcome else { panic!("it was let in") };
            let error = error.into_inner().expect("an error with a cause").downcast();
            *error.expect("an error of the handshake")
        }
        let ours = Tls::new(&Keypair::generate_ed25519()).expect("a key");
        let (dialler, listener) = connection();
        let (dialled, _) =
            block_on(join(ours.clone().connect(dialler), other.clone().accept(listener)));
        let (dialler, listener) = connection();
        let (_, accepted) = block_on(join(other.connect(dialler), ours.accept(listener)));
        [why(dialled), why(accepted)]
    }

    fn certificate() -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        certificate::generate(&Keypair::generate_ed25519()).expect("a certificate")
    }

    #[test]
    fn a_peer_without_a_certificate_is_refused() {
        let (_, key) = certificate();
        let refused = refusals(presenting(Vec::new(), key));
        assert_eq!(refused, [Error::NoCertificatesPresented, Error::NoCertificatesPresented]);
    }

    #[test]
    fn a_peer_with_two_certificates_is_refused() {
        let ((one, key), (two, _)) = (certificate(), certificate());
        let invalid = Error::from(CertificateError::ApplicationVerificationFailure);
        assert_eq!(refusals(presenting(vec![one, two], key)), [invalid.clone(), invalid]);
    }

    #[test]
    fn a_certificate_that_no_peer_vouches_for_is_refused() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
        let rcgen::CertifiedKey { cert, key_pair } = made.expect("a certificate");
        let key = PrivatePkcs8KeyDer::from(key_pair.serialize_der());
        for why in refusals(presenting(vec![cert.into()], key.into())) {
            assert!(matches!(why, Error::InvalidCertificate(_)), "{why:?}");
        }
    }

    #[test]
    fn the_certificate_of_somebody_else_is_refused() {
        let ((theirs, _), (_, own)) = (certificate(), certificate());
        let why = refusals(presenting(vec![theirs], own));
        let forged = Error::from(CertificateError::BadSignature);
        assert_eq!(why, [forged.clone(), forged]);
    }
}
