//! The private network in which a node takes part.

use clap::Args;
use pointsub_tokio::{Kademlia, NetworkSecret, NodeBuilder, Tokio};

use super::or;
use super::sources::{named, with_peer};
use crate::config::Config;
use crate::error::Failure;
use crate::target::Target;

/// Which private network a node takes part in.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct KadArgs {
    /// Take part in the private network in which this node is, where servers are listed and found without a
    /// registry: its ticket, an address of it that ends in /p2p/PEER, or its name in the configuration; may be given
    /// several times
    #[arg(long, value_name = "NODE")]
    pub(super) kad: Vec<String>,

    /// What the nodes of the private network share, and nobody else: a long text that is not to be guessed
    #[arg(long, value_name = "TEXT", env = "POINTSUB_KAD_SECRET", hide_env_values = true)]
    kad_secret: Option<String>,
}

/// A private network.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    secret: NetworkSecret,
    /// The nodes of it that are known, each as it was named, and what that stands for.
    pub(crate) nodes: Vec<(String, Target)>,
}

impl KadArgs {
    /// The network; `None` if there is none. One without known nodes begins with this one.
    pub(crate) fn network(&self, config: &Config) -> Result<Option<Network>, Failure> {
        let profile = &config.profile;
        let nodes = or(&self.kad, &profile.kad);
        let secret = self.kad_secret.as_ref().or(profile.kad_secret.as_ref());
        let Some(secret) = secret.filter(|secret| !secret.is_empty()) else {
            return match nodes {
                [] => Ok(None),
                _ => Err(Failure::usage("a private network has a secret, and none is given")
                    .next("add --kad-secret TEXT, or set POINTSUB_KAD_SECRET")),
            };
        };
        let how =
            "a node of the network is named by its ticket, or by an address that ends in /p2p/PEER";
        let nodes = nodes.iter().map(|node| named(node, config, how)).collect::<Result<_, _>>()?;
        Ok(Some(Network { secret: NetworkSecret::from_phrase(secret), nodes }))
    }
}

impl Network {
    /// Has a node take part in it, if there is one.
    pub(crate) fn join(network: Option<&Self>, node: NodeBuilder<Tokio>) -> NodeBuilder<Tokio> {
        let Some(Self { secret, nodes }) = network else { return node };
        let known = nodes.iter().flat_map(|(_, node)| with_peer(node));
        node.kademlia(Kademlia::new(secret.clone()).bootstrap(known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_a_secret_and_perhaps_nodes() {
        let mut config = Config::default();
        let node = "/ip4/192.0.2.7/tcp/1/p2p/12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X";
        let of = |kad: &[&str], secret: Option<&str>, config: &Config| {
            let kad = kad.iter().map(|node| (*node).to_owned()).collect();
            let args = KadArgs { kad, kad_secret: secret.map(str::to_owned) };
            args.network(config).map(|network| network.map(|network| network.nodes.len()))
        };
        assert_eq!(of(&[], None, &config).ok(), Some(None));
        assert_eq!(of(&[], Some("s"), &config).ok(), Some(Some(0)));
        assert_eq!(of(&[node], Some("s"), &config).ok(), Some(Some(1)));
        let failure = of(&[node], None, &config).expect_err("a secret is needed");
        assert!(failure.lines().1.is_some_and(|next| next.contains("--kad-secret")));
        of(&["nowhere"], Some("s"), &config).expect_err("it is no node");
        config.profile.kad = vec![node.to_owned()];
        config.profile.kad_secret = Some("s".to_owned());
        assert_eq!(of(&[], None, &config).ok(), Some(Some(1)));
    }
}
