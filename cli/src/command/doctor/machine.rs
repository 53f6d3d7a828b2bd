//! What can be wrong on this machine.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use pointsub_tokio::{KeyFileError, Multiaddr, Node, NodeError, Protocol};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::{Check, State};
use crate::command::relay::outward;
use crate::config::Config;

/// How long a datagram may take from this machine to itself.
const DATAGRAM: Duration = Duration::from_secs(2);

/// The key file.
pub(super) async fn key(given: Option<&PathBuf>, config: &Config) -> Check {
    let given = given.or(config.profile.key.as_ref()).cloned();
    let path = given.or_else(|| config.folder.as_ref().map(|folder| folder.join("key")));
    let Some(path) = path else {
        return Check::new("key", State::Unknown, "no file: HOME is not set")
            .next("give --key FILE to commands, or --ephemeral");
    };
    let shown = path.display().to_string();
    if !path.exists() {
        return Check::new("key", State::Unknown, format_args!("{shown} is not there yet"))
            .next("`pointsub serve` makes it, and so does `pointsub key new`");
    }
    // A node without a network reads the key as every node does.
    match Node::builder().in_memory().key_file(path).build().await {
        Ok(node) => Check::new("key", State::Good, format_args!("{} in {shown}", node.peer_id())),
        Err(error) => {
            let next = match &error {
                NodeError::KeyFile(KeyFileError::Exposed { .. }) => format!("chmod 600 {shown}"),
                NodeError::KeyFile(KeyFileError::Key { .. }) => {
                    format!("restore {shown} from a copy, or move it away for a new Peer ID")
                }
                _ => format!("may you read it? ls -l {shown}"),
            };
            Check::new("key", State::Bad, error).next(next)
        }
    }
}

/// Whether a server could listen at an address.
pub(super) async fn port(address: &Multiaddr) -> Check {
    let fine = format!("{address} can be listened on");
    let error = match socket(address) {
        Some((at, true)) => std::net::TcpListener::bind(at).err(),
        Some((at, false)) => std::net::UdpSocket::bind(at).err(),
        None => {
            return Check::new("port", State::Unknown, format_args!("{address} has no port"));
        }
    };
    let Some(error) = error else { return Check::new("port", State::Good, fine) };
    let check = Check::new("port", State::Bad, format_args!("{address}: {error}"));
    match error.kind() {
        ErrorKind::AddrInUse => check.next(
            "another program listens there (`ss -lntup` names it): end it, or choose another port",
        ),
        ErrorKind::PermissionDenied => {
            check.next("ports below 1024 are for root alone: choose a higher one")
        }
        ErrorKind::AddrNotAvailable => check.next(
            "no interface has this address (`ip address` lists them): 0.0.0.0 is all of them",
        ),
        _ => check,
    }
}

/// The socket of an address, and whether it is one of TCP.
pub(super) fn socket(address: &Multiaddr) -> Option<(SocketAddr, bool)> {
    let mut parts = address.iter();
    let ip: IpAddr = match parts.next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    match parts.next()? {
        Protocol::Tcp(port) => Some(((ip, port).into(), true)),
        Protocol::Udp(port) => Some(((ip, port).into(), false)),
        _ => None,
    }
}

/// Whether a datagram gets from this machine to itself.
pub(super) async fn udp() -> Check {
    let outward = outward(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
    let ip = outward.unwrap_or(Ipv4Addr::LOCALHOST.into());
    let sent = async {
        let (from, to) = (UdpSocket::bind((ip, 0)).await?, UdpSocket::bind((ip, 0)).await?);
        from.send_to(b"pointsub", to.local_addr()?).await?;
        to.recv(&mut [0; 16]).await
    };
    match timeout(DATAGRAM, sent).await {
        Ok(Ok(_)) => Check::new(
            "udp",
            State::Good,
            format_args!("datagrams pass at {ip}, within this machine"),
        ),
        Ok(Err(error)) => Check::new("udp", State::Bad, format_args!("{ip}: {error}"))
            .next("QUIC needs UDP: look at this machine's firewall; TCP works without"),
        Err(_) => Check::new("udp", State::Bad, format_args!("a datagram to {ip} was lost"))
            .next("QUIC needs UDP: look at this machine's firewall; TCP works without"),
    }
}
