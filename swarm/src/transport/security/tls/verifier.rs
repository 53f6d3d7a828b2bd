//! Has rustls check the certificates of libp2p: one, signed with its own key, in which the key of the
//! peer vouches for it. See <https://github.com/libp2p/specs/blob/master/tls/tls.md>.

use std::fmt;
use std::sync::Arc;

use libp2p_identity::PeerId;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerIncompatible, SignatureScheme,
};

use crate::transport::security::Dialect;
use crate::transport::security::certificate::{self, CertificateError, SCHEMES, Unverified};

/// What is wrong with a certificate, within an error of rustls, which prints it as it is debugged.
#[derive(thiserror::Error)]
#[error("{0}")]
pub(super) struct Wrong(pub(super) CertificateError);

impl fmt::Debug for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl From<CertificateError> for Error {
    fn from(error: CertificateError) -> Self {
        let wrong = OtherError(Arc::new(Wrong(error)));
        Self::InvalidCertificate(rustls::CertificateError::Other(wrong))
    }
}

/// Who presents this certificate, which has to be the only one.
fn check(
    certificate: &CertificateDer<'_>,
    others: &[CertificateDer<'_>],
    dialect: Dialect,
) -> Result<PeerId, CertificateError> {
    if !others.is_empty() {
        return Err(CertificateError::Several);
    }
    certificate::parse(certificate, dialect)
}

/// Whether the handshake is signed with the certificate's key, in the way in which the certificate
/// itself is. That one was checked before.
fn check_signature(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let certificate = Unverified::read(certificate)?;
    if certificate.scheme()? != signed.scheme {
        return Err(CertificateError::SchemeMismatch.into());
    }
    let key = SubjectPublicKeyInfoDer::from(certificate.key());
    verify_tls13_signature_with_raw_key(message, &key, signed, algorithms)
}

/// Not reached, since nothing below TLS 1.3 is offered.
const TOO_OLD: Error = Error::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled);

/// Checks whoever answers a dial.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    pub(super) dialect: Dialect,
    pub(super) expected: Option<PeerId>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let peer = check(certificate, others, self.dialect)?;
        match self.expected {
            Some(expected) if expected != peer => Err(CertificateError::WrongPeer(peer).into()),
            _ => Ok(ServerCertVerified::assertion()),
        }
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
        check_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}

/// Checks whoever dials. It is not told here on which dialect the handshake has agreed: when it is
/// over, the certificate has to be of that one.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    pub(super) served: Vec<Dialect>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let first = self.served.first().copied().unwrap_or(Dialect::Libp2p);
        match check(certificate, others, first) {
            Err(CertificateError::OtherDialect { found, .. }) if self.served.contains(&found) => {}
            outcome => drop(outcome?),
        }
        Ok(ClientCertVerified::assertion())
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
        check_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}
