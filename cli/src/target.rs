//! Whom a command is for: a ticket, an address, a Peer ID, or a name from the configuration.

use clap::Args;
use pointsub_tokio::{Multiaddr, PeerId, Protocol};

use crate::config::Config;
use crate::error::Failure;
use crate::ticket::Ticket;

/// The peer that a command is for.
#[derive(Debug, Clone, Args)]
pub(crate) struct TargetArgs {
    /// The peer: a ticket, an address that ends in /p2p/PEER, a Peer ID with --address, or a name from
    /// the configuration
    #[arg(value_name = "TARGET")]
    target: String,

    /// Where the peer is, if the target is a Peer ID; may be given several times
    #[arg(long, value_name = "ADDRESS", global = false)]
    address: Vec<Multiaddr>,
}

/// A peer and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) peer: PeerId,
    /// At least one.
    pub(crate) addresses: Vec<Multiaddr>,
}

impl TargetArgs {
    pub(crate) const fn new(target: String, address: Vec<Multiaddr>) -> Self {
        Self { target, address }
    }

    pub(crate) fn resolve(&self, config: &Config) -> Result<Target, Failure> {
        let text = config.peers.get(&self.target).unwrap_or(&self.target);
        let mut target = parse(text.trim(), config)?;
        target.addresses.extend(self.address.iter().cloned());
        if target.addresses.is_empty() {
            return Err(Failure::usage(format_args!("nothing says where {} is", target.peer))
                .next(
                    "add --address /ip4/…/tcp/…, or use the ticket that `pointsub serve` prints",
                ));
        }
        Ok(target)
    }
}

/// Whether a word that begins with `/` is meant to be an address, and not the name of a protocol: it begins
/// as those of the internet do, or ends in `/p2p/PEER`.
pub(crate) fn is_address(word: &str) -> bool {
    const HOSTS: [&str; 6] = ["/ip4/", "/ip6/", "/dns/", "/dns4/", "/dns6/", "/dnsaddr/"];
    let of_peer = || word.rsplit_once('/').is_some_and(|(before, _)| before.ends_with("/p2p"));
    HOSTS.iter().any(|host| word.starts_with(host)) || of_peer()
}

fn parse(text: &str, config: &Config) -> Result<Target, Failure> {
    if text.starts_with('/') {
        return of_address(text);
    }
    if let Ok(peer) = text.parse::<PeerId>() {
        return Ok(Target { peer, addresses: Vec::new() });
    }
    if Ticket::is_like(text) {
        let ticket: Ticket = text.parse().map_err(|error| {
            Failure::usage(error).next("`pointsub serve` prints a new one at the other end")
        })?;
        return Ok(Target { peer: ticket.peer(), addresses: ticket.addresses().to_vec() });
    }
    let known: Vec<&str> = config.peers.keys().map(String::as_str).collect();
    let next = match known.is_empty() {
        true => "tickets begin with psu, Peer IDs with 12D3KooW, addresses with /".to_owned(),
        false => format!("peers in the configuration: {}", known.join(", ")),
    };
    Err(Failure::usage(format_args!("{text:?} is no ticket, address, Peer ID or known name"))
        .next(next))
}

fn of_address(text: &str) -> Result<Target, Failure> {
    let address: Multiaddr = text
        .parse()
        .map_err(|error| Failure::usage(format_args!("{text:?} is no address: {error}")))?;
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Ok(Target { peer, addresses: vec![address] }),
        _ => Err(Failure::usage(format_args!("{address} does not say who is there"))
            .next("add /p2p/ and the Peer ID; `pointsub id ADDRESS` tells it")),
    }
}

/// An address without a Peer ID, also as `HOST:PORT`.
pub(crate) fn anybody(text: &str) -> Result<Multiaddr, Failure> {
    let wrong = || {
        Failure::usage(format_args!("{text:?} is no address"))
            .next("such as 192.0.2.7:4001, example.org:4001, or /ip4/192.0.2.7/udp/4001/quic-v1")
    };
    if text.starts_with('/') {
        return text.parse().map_err(|_| wrong());
    }
    if let Ok(at) = text.parse::<std::net::SocketAddr>() {
        return Ok(Multiaddr::from(at.ip()).with(Protocol::Tcp(at.port())));
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().map_err(|_| wrong())?;
    let usable = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-');
    if host.is_empty() || !host.chars().all(usable) {
        return Err(wrong());
    }
    Ok(Multiaddr::empty().with(Protocol::Dns(host.into())).with(Protocol::Tcp(port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X";

    fn resolve(target: &str, address: &[&str], config: &Config) -> Result<Target, Failure> {
        let address = address.iter().map(|text| text.parse().expect("an address")).collect();
        TargetArgs { target: target.to_owned(), address }.resolve(config)
    }

    #[test]
    fn a_peer_is_named_in_four_ways() {
        let mut config = Config::default();
        let at = "/ip4/192.0.2.7/tcp/1";
        let with_peer = format!("{at}/p2p/{PEER}");
        let target = resolve(PEER, &[at], &config).expect("a Peer ID and an address");
        let ticket = Ticket::new(target.peer, target.addresses.clone()).to_string();
        assert_eq!(resolve(&ticket, &[], &config).expect("a ticket"), target);
        let of_address = resolve(&with_peer, &[], &config).expect("an address");
        assert_eq!(of_address.peer, target.peer);
        config.peers.insert("home".to_owned(), ticket);
        assert_eq!(resolve("home", &[], &config).expect("a name"), target);
        assert_eq!(resolve("home", &[at], &config).expect("both").addresses.len(), 2);
    }

    #[test]
    fn what_is_missing_is_named() {
        let config = Config::default();
        let failed = |text| resolve(text, &[], &config).expect_err("it is not enough");
        assert!(failed(PEER).lines().1.is_some_and(|next| next.contains("--address")));
        assert!(failed("/ip4/1.2.3.4/tcp/1").lines().1.is_some_and(|next| next.contains("/p2p/")));
        assert!(failed("psuaaaa").lines().0.contains("copy all of it again"));
        assert!(failed("hme").lines().0.contains("\"hme\" is no ticket"));
    }

    #[test]
    fn anybody_is_named_by_host_and_port_too() {
        let of = |text| anybody(text).map(|address| address.to_string()).ok();
        assert_eq!(of("192.0.2.7:4001").as_deref(), Some("/ip4/192.0.2.7/tcp/4001"));
        assert_eq!(of("[::1]:4001").as_deref(), Some("/ip6/::1/tcp/4001"));
        assert_eq!(of("example.org:1").as_deref(), Some("/dns/example.org/tcp/1"));
        for wrong in ["", ":1", "host", "host:x", "a b:1", "/nothing/1", "host:70000"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
