//! What the TLS of a node's connections is made with.

use std::io;
use std::sync::Arc;

use libp2p_identity::{Keypair, PeerId};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CipherSuite, ClientConfig, ServerConfig};

use super::verifier::{ClientVerifier, ServerVerifier};
use crate::transport::security::certificate;
use crate::transport::security::{Dialect, Dialects};

/// Made once for a node: a certificate for each dialect, which all its connections use.
#[derive(Debug)]
pub(in crate::transport::security) struct Configs {
    clients: Vec<(Dialect, Arc<ClientConfig>)>,
    server: Arc<ServerConfig>,
}

impl Configs {
    pub(in crate::transport::security) fn new(
        keypair: &Keypair,
        dialects: Dialects,
    ) -> io::Result<Self> {
        let mut certificates = Vec::new();
        for dialect in dialects.iter() {
            let made = certificate::generate(keypair, dialect).map_err(io::Error::other)?;
            certificates.push((dialect, made));
        }
        let certificates = certificates
            .into_iter()
            .map(|(dialect, (certificate, key))| {
                let key = default_provider().key_provider.load_private_key(key)?;
                Ok((dialect, Arc::new(CertifiedKey::new(vec![certificate], key))))
            })
            .collect::<Result<Vec<_>, rustls::Error>>();
        let made = certificates.and_then(|certificates| Self::of(certificates, has_aes()));
        made.map_err(io::Error::other)
    }

    /// With these certificates, on a processor that has AES or not.
    pub(super) fn of(certificates: Vec<Certified>, aes: bool) -> Result<Self, rustls::Error> {
        let provider = Arc::new(provider(aes));
        // The first random bytes of a process take some 20 ms, until enough entropy is writer. The
        // first peer is not to wait for it, twice: once at each end.
        provider.secure_random.fill(&mut [0; 32])?;
        let clients = certificates.iter().map(|certified| client(&provider, certified));
        let clients = clients.collect::<Result<_, _>>()?;
        Ok(Self { clients, server: Arc::new(server(provider, certificates)?) })
    }

    /// For a dial in one of the dialects, and whoever answers it.
    pub(super) fn client(&self, dialect: Dialect) -> io::Result<&Arc<ClientConfig>> {
        let client = self.clients.iter().find(|(of, _)| *of == dialect);
        let client = client.map(|(_, client)| client);
        client.ok_or_else(|| io::Error::other(format!("this node does not speak {dialect}")))
    }

    /// For a dial in one of the dialects. Whoever answers and is not the expected peer does not learn
    /// who dials.
    pub(in crate::transport::security) fn client_for(
        &self,
        dialect: Dialect,
        expected: Option<PeerId>,
    ) -> io::Result<ClientConfig> {
        let mut client = ClientConfig::clone(self.client(dialect)?);
        let algorithms = client.crypto_provider().signature_verification_algorithms;
        let verifier = ServerVerifier { dialect, expected, algorithms };
        client.dangerous().set_certificate_verifier(Arc::new(verifier));
        Ok(client)
    }

    /// For whoever dials, in any of the dialects.
    pub(in crate::transport::security) fn server(&self) -> &Arc<ServerConfig> {
        &self.server
    }
}

/// TLS 1.3, of which the client chooses the cipher: the one that its processor is best at.
fn provider(aes: bool) -> CryptoProvider {
    let mut cipher_suites = vec![
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS13_AES_128_GCM_SHA256,
    ];
    if aes {
        cipher_suites.sort_by_key(|cipher| match cipher.suite() {
            CipherSuite::TLS13_AES_128_GCM_SHA256 => 0,
            CipherSuite::TLS13_AES_256_GCM_SHA384 => 1,
            _ => 2,
        });
    }
    // What is recorded today is safe from the quantum computers of tomorrow, with peers that can.
    let kx_groups =
        vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];
    CryptoProvider { cipher_suites, kx_groups, ..default_provider() }
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

/// A certificate of this node and its key.
pub(super) type Certified = (Dialect, Arc<CertifiedKey>);

fn client(
    provider: &Arc<CryptoProvider>,
    (dialect, certified): &Certified,
) -> Result<(Dialect, Arc<ClientConfig>), rustls::Error> {
    let algorithms = provider.signature_verification_algorithms;
    let verifier = ServerVerifier { dialect: *dialect, expected: None, algorithms };
    let mut client = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified.clone())));
    client.alpn_protocols = vec![dialect.alpn().to_vec()];
    // A connection is dialled for long; every handshake proves who the peer is.
    client.resumption = Resumption::disabled();
    Ok((*dialect, Arc::new(client)))
}

fn server(
    provider: Arc<CryptoProvider>,
    certificates: Vec<Certified>,
) -> Result<ServerConfig, rustls::Error> {
    let algorithms = provider.signature_verification_algorithms;
    let served: Vec<_> = certificates.iter().map(|(dialect, _)| *dialect).collect();
    let alpn = served.iter().map(|dialect| dialect.alpn().to_vec()).collect();
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(ClientVerifier { served, algorithms }))
        .with_cert_resolver(Arc::new(ByAlpn(certificates)));
    server.alpn_protocols = alpn;
    server.send_tls13_tickets = 0;
    Ok(server)
}

/// Presents the certificate of the dialect that the handshake is about to agree on.
#[derive(Debug)]
struct ByAlpn(Vec<Certified>);

impl ResolvesServerCert for ByAlpn {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let Some(offered) = hello.alpn() else {
            let libp2p = self.0.iter().find(|(dialect, _)| *dialect == Dialect::Libp2p);
            return libp2p.map(|(_, certified)| certified.clone());
        };
        let offered: Vec<_> = offered.collect();
        let agreed = self.0.iter().find(|(dialect, _)| offered.contains(&dialect.alpn()));
        // If there is none, the handshake fails for that reason, which the peer is told, instead of
        // for want of a certificate.
        agreed.or(self.0.first()).map(|(_, certified)| certified.clone())
    }
}
