//! TLS 1.3 as libp2p defines it, with the cipher that this processor is best at, in both dialects.

mod config;
#[cfg(test)]
mod tests;
mod verifier;

use std::io;
use std::net::Ipv4Addr;

use futures::{AsyncRead, AsyncWrite};
use futures_rustls::{LazyConfigAcceptor, TlsConnector};
use libp2p_identity::PeerId;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{Acceptor, ClientHello};
use rustls::{AlertDescription, CommonState, Error};

pub(super) use self::config::Configs;
use self::verifier::Wrong;
use super::certificate::{self, CertificateError};
use super::{Dialect, DialectError};

pub(super) use futures_rustls::TlsStream;

/// Encrypts what was dialled, in one dialect.
pub(super) async fn connect<C>(
    configs: &Configs,
    io: C,
    dialect: Dialect,
) -> io::Result<(PeerId, TlsStream<C>)>
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    // With an address for a name nothing is said of it, as libp2p has it.
    let nameless = ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into());
    let connector = TlsConnector::from(configs.client(dialect)?.clone());
    let stream = connector.connect(nameless, io).await.map_err(explained)?;
    let peer = who(stream.get_ref().1, dialect)?;
    Ok((peer, stream.into()))
}

/// Encrypts what the peer has dialled, in the dialect that it offers.
pub(super) async fn accept<C>(
    configs: &Configs,
    io: C,
) -> io::Result<(PeerId, Dialect, TlsStream<C>)>
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let start = LazyConfigAcceptor::new(Acceptor::default(), io).await?;
    let not_served = not_served(configs, &start.client_hello());
    let stream = match start.into_stream(configs.server().clone()).await {
        Ok(stream) => stream,
        Err(error) => return Err(not_served.map_or_else(|| explained(error), Into::into)),
    };
    let state = stream.get_ref().1;
    let dialect = Dialect::of_alpn(state.alpn_protocol());
    let dialect = dialect.ok_or_else(|| io::Error::other(Error::NoApplicationProtocol))?;
    let peer = who(state, dialect)?;
    Ok((peer, dialect, stream.into()))
}

/// What a peer speaks that offers nothing that is served.
fn not_served(configs: &Configs, hello: &ClientHello<'_>) -> Option<DialectError> {
    let offered: Vec<_> = match hello.alpn() {
        Some(names) => names.filter_map(|name| Dialect::of_alpn(Some(name))).collect(),
        None => vec![Dialect::Libp2p],
    };
    let served = |dialect: &Dialect| configs.client(*dialect).is_ok();
    let first = offered.first().filter(|_| !offered.iter().any(served))?;
    Some(DialectError::NotServed(*first))
}

/// Who is at the other end of a connection whose handshake is done.
fn who(state: &CommonState, dialect: Dialect) -> io::Result<PeerId> {
    identify(state.peer_certificates().unwrap_or_default(), dialect).map_err(invalid)
}

/// Whom certificates belong to that were presented in a handshake.
pub(super) fn identify(
    certificates: &[CertificateDer<'_>],
    dialect: Dialect,
) -> Result<PeerId, CertificateError> {
    match certificates {
        [] => Err(CertificateError::Missing),
        [certificate] => certificate::parse(certificate, dialect),
        [_, _, ..] => Err(CertificateError::Several),
    }
}

/// Whether a dial failed because the peer does not speak the dialect: it says so with an alert.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    let alert = error.get_ref().and_then(|error| error.downcast_ref());
    alert == Some(&Error::AlertReceived(AlertDescription::NoApplicationProtocol))
}

/// rustls has a certificate's error inside of two of its own, and prints the names of their types.
fn explained(error: io::Error) -> io::Error {
    let tls = error.get_ref().and_then(|error| error.downcast_ref());
    match tls {
        Some(Error::InvalidCertificate(rustls::CertificateError::Other(other))) => {
            let wrong = other.0.downcast_ref::<Wrong>().map(|Wrong(why)| why.clone());
            wrong.map_or(error, invalid)
        }
        Some(Error::NoCertificatesPresented) => invalid(CertificateError::Missing),
        _ => error,
    }
}

fn invalid(error: CertificateError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
