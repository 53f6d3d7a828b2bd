//! Where servers are looked for that nobody has named, and where a server is announced.

use std::net::{IpAddr, SocketAddr};

use clap::Args;
use pointsub_core::network::dns::DnsName;
use pointsub_tokio::service::registry;
use pointsub_tokio::{
    Discover, DnsList, Multiaddr, NodeBuilder, PeerId, Protocol, Source, Sources, Tokio,
};

use super::{KadArgs, Network, bare, or};
use crate::config::Config;
use crate::error::Failure;
use crate::target::{Target, TargetArgs};

/// The port of name servers.
const DNS_PORT: u16 = 53;

/// Where servers are looked for.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct FindArgs {
    /// Do not look on the local network
    #[arg(long)]
    no_lan: bool,

    /// Look at a registry, too: its ticket, an address of it that ends in /p2p/PEER, or its name in the
    /// configuration; may be given several times
    #[arg(long, value_name = "REGISTRY")]
    registry: Vec<String>,

    /// Look in the list of this name in the DNS, too: the TXT records of _dnsaddr.NAME; may be given several
    /// times
    #[arg(long, value_name = "NAME")]
    dns: Vec<String>,

    /// The name server to ask for such lists; may be given several times. Default: those of the system
    #[arg(long, value_name = "IP[:PORT]", value_parser = name_server)]
    dns_server: Vec<SocketAddr>,

    /// Believe such lists also where they lead to this machine, to private networks, through relays and to
    /// further names. Without it, they lead to addresses on the internet alone
    #[arg(long)]
    dns_trusted: bool,

    #[command(flatten)]
    kad: KadArgs,
}

/// The places to look at, read.
#[derive(Debug, Clone)]
pub(crate) struct Sought {
    discover: Discover,
    network: Option<Network>,
}

impl Sought {
    /// Which places these are.
    pub(crate) fn sources(&self) -> Sources {
        let sources = self.discover.sources();
        if self.network.is_some() { sources.with(Source::Dht) } else { sources }
    }

    /// Has a node look there.
    pub(crate) fn apply(self, node: NodeBuilder<Tokio>) -> NodeBuilder<Tokio> {
        Network::join(self.network.as_ref(), node.discover(self.discover))
    }
}

/// Where a server is announced.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct AnnounceArgs {
    /// Do not announce this server on the local network, where `pointsub call PROTOCOL` and
    /// `pointsub discover` find it otherwise
    #[arg(long)]
    no_lan: bool,

    /// Announce this server at a registry, too: its ticket, an address of it that ends in /p2p/PEER, or its
    /// name in the configuration; may be given several times
    #[arg(long, value_name = "REGISTRY")]
    registry: Vec<String>,

    /// Print the TXT records with which the list of this name in the DNS has this server; may be given
    /// several times. Whoever has the name has to add them
    #[arg(long, value_name = "NAME")]
    dns: Vec<String>,

    #[command(flatten)]
    kad: KadArgs,
}

/// Where a server is announced, read.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) lan: bool,
    /// Each as it was named, and what that stands for.
    pub(crate) registries: Vec<(String, Target)>,
    pub(crate) dns: Vec<DnsName>,
    /// The private network in which it is listed.
    pub(crate) network: Option<Network>,
}

impl FindArgs {
    /// Whether something is said of where to look, apart from the local network.
    pub(crate) fn names_places(&self) -> bool {
        !self.registry.is_empty() || !self.dns.is_empty() || !self.kad.kad.is_empty()
    }

    /// The places to look at: one at least.
    pub(crate) fn places(&self, config: &Config) -> Result<Sought, Failure> {
        let profile = &config.profile;
        let mut discover = Discover::manual();
        if !self.no_lan && profile.lan != Some(false) {
            discover = discover.and(Discover::lan());
        }
        for name in or(&self.dns, &profile.dns) {
            let list = DnsList::new(dns_name(name)?.as_str());
            let list = list.asking(or(&self.dns_server, &profile.dns_server).iter().copied());
            discover = discover.and(Discover::dns(match self.dns_trusted || profile.dns_trusted {
                true => list.trusted(),
                false => list,
            }));
        }
        let registries = registries(or(&self.registry, &profile.registry), config)?;
        if !registries.is_empty() {
            discover = discover.and(at_registries(&registries)?);
        }
        let discover = discover.without_connected();
        // A network of which no other node is known has no servers.
        let network = self.kad.network(config)?.filter(|network| !network.nodes.is_empty());
        let sought = Sought { discover, network };
        match sought.sources().is_empty() {
            false => Ok(sought),
            true => Err(Failure::usage("there is nowhere to look: the local network is left out")
                .next("add --registry, --dns or --kad, or name a target by its ticket")),
        }
    }
}

impl AnnounceArgs {
    pub(crate) fn places(&self, config: &Config) -> Result<Places, Failure> {
        let profile = &config.profile;
        Ok(Places {
            lan: !self.no_lan && profile.lan != Some(false),
            registries: registries(or(&self.registry, &profile.registry), config)?,
            dns: or(&self.dns, &profile.dns)
                .iter()
                .map(|name| dns_name(name))
                .collect::<Result<_, _>>()?,
            network: self.kad.network(config)?,
        })
    }
}

impl Places {
    /// What announces the server, but in a private network.
    pub(crate) fn discover(&self) -> Result<Discover, Failure> {
        let mut discover = Discover::connected();
        if self.lan {
            discover = discover.and(Discover::lan());
        }
        if !self.registries.is_empty() {
            discover = discover.and(at_registries(&self.registries)?);
        }
        Ok(discover)
    }

    /// A node is not announced at itself, which it would be if it had the key of a registry.
    pub(crate) fn are_others(&self, server: PeerId) -> Result<(), Failure> {
        match self.registries.iter().any(|(_, registry)| registry.peer == server) {
            false => Ok(()),
            true => Err(Failure::usage("this server has the same key as its registry")
                .next("give one of them another key with --key FILE, or --ephemeral")),
        }
    }

    /// The names and texts of the records in the DNS that have a server.
    pub(crate) fn records(&self, server: &Target) -> Vec<(String, String)> {
        let of_name = |name: &DnsName| {
            let name = name.txt_name();
            with_peer(server).map(move |at| (name.clone(), format!("dnsaddr={at}")))
        };
        self.dns.iter().flat_map(of_name).collect()
    }
}

/// The addresses of a peer, each with the peer at its end.
pub(crate) fn with_peer(target: &Target) -> impl Iterator<Item = Multiaddr> {
    target.addresses.iter().map(|address| bare(address).with(Protocol::P2p(target.peer)))
}

fn at_registries(registries: &[(String, Target)]) -> Result<Discover, Failure> {
    let addresses = registries.iter().flat_map(|(_, registry)| with_peer(registry));
    registry::discover(addresses).map_err(Failure::usage)
}

fn registries(named: &[String], config: &Config) -> Result<Vec<(String, Target)>, Failure> {
    let how = "a registry is named by the ticket that `pointsub registry` prints, or by an address \
               that ends in /p2p/PEER";
    named.iter().map(|text| self::named(text, config, how)).collect()
}

/// A peer as it was named, and what that stands for; `how` says how it is named.
pub(super) fn named(text: &str, config: &Config, how: &str) -> Result<(String, Target), Failure> {
    let target = TargetArgs::new(text.to_owned(), Vec::new()).resolve(config);
    target.map(|target| (text.to_owned(), target)).map_err(|failure| failure.next(how))
}

fn dns_name(name: &str) -> Result<DnsName, Failure> {
    DnsName::new(name).map_err(|error| Failure::usage(error).next("such as --dns example.org"))
}

/// Reads an IP address with or without a port.
pub(crate) fn name_server(text: &str) -> Result<SocketAddr, String> {
    let with_port = |_| text.parse::<IpAddr>().map(|ip| SocketAddr::from((ip, DNS_PORT)));
    text.parse().or_else(with_port).map_err(|_| "such as 192.0.2.53 or 127.0.0.1:8600".to_owned())
}

/// What helps where no server was found in these places.
pub(crate) fn nobody_there(asked: Sources) -> String {
    let mut next = Vec::new();
    if asked.contains(Source::Lan) {
        next.push("is `pointsub serve` running on this network, without --no-lan?");
    }
    if asked.contains(Source::Registry) {
        next.push(
            "Does the registry answer (`pointsub id REGISTRY`), and has the server the same --registry?",
        );
    }
    if asked.contains(Source::Dns) {
        next.push(
            "Does the list have the server (`dig TXT _dnsaddr.NAME`)? Addresses that are not on the \
             internet need --dns-trusted.",
        );
    }
    if asked.contains(Source::Dht) {
        next.push(
            "Does the node that --kad names answer (`pointsub id NODE`), and has the server the same \
             --kad-secret?",
        );
    }
    next.push(match asked.contains(Source::Lan) && asked.iter().count() == 1 {
        true => {
            "A server elsewhere is named by its ticket, or found with --registry, --dns or --kad"
        }
        false => "A server elsewhere is named by its ticket",
    });
    next.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X";

    fn registry() -> String {
        format!("/ip4/192.0.2.7/tcp/1/p2p/{PEER}")
    }

    #[test]
    fn what_is_said_comes_before_the_profile() {
        let mut config = Config::default();
        let of = |args: &FindArgs, config: &Config| {
            args.places(config).map(|places| places.sources()).map_err(|failure| failure.exit)
        };
        let none = FindArgs::default();
        assert_eq!(of(&none, &config).ok(), Some(Sources::from_iter([Source::Lan])));
        config.profile.lan = Some(false);
        assert_eq!(of(&none, &config).err(), Some(crate::error::Exit::Usage));
        config.profile.dns = vec!["example.org".to_owned()];
        assert_eq!(of(&none, &config).ok(), Some(Sources::from_iter([Source::Dns])));
        let given = FindArgs { registry: vec![registry()], ..FindArgs::default() };
        let both = Sources::from_iter([Source::Dns, Source::Registry]);
        assert_eq!(of(&given, &config).ok(), Some(both));
    }

    #[test]
    fn what_is_no_place_is_said() {
        let config = Config::default();
        for wrong in ["home", "/ip4/192.0.2.7/tcp/1", PEER] {
            let args = FindArgs { registry: vec![wrong.to_owned()], ..FindArgs::default() };
            let failure = args.places(&config).expect_err("it is none");
            assert!(failure.lines().1.is_some_and(|next| next.contains("pointsub registry")));
        }
        let args = FindArgs { dns: vec!["no name".to_owned()], ..FindArgs::default() };
        args.places(&config).expect_err("it has a space");
        assert_eq!(name_server("127.0.0.1").map(|at| at.port()), Ok(53));
        assert_eq!(name_server("[::1]:8600").map(|at| at.port()), Ok(8600));
        name_server("example.org").expect_err("a name would have to be asked for");
    }

    #[test]
    fn records_have_each_address_with_its_peer() {
        let args = AnnounceArgs { dns: vec!["example.org".to_owned()], ..AnnounceArgs::default() };
        let places = args.places(&Config::default()).expect("a name");
        let server = TargetArgs::new(registry(), Vec::new()).resolve(&Config::default());
        let records = places.records(&server.expect("an address"));
        let text = format!("dnsaddr={}", registry());
        assert_eq!(records, [("_dnsaddr.example.org.".to_owned(), text)]);
    }
}
