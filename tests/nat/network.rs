//! A public network with a relay in it, and two private ones behind NATs.

use std::process::{Command, id};

/// Where the relay is.
pub(crate) const RELAY_IP: &str = "198.51.100.1";

/// How the NATs give out ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nat {
    /// The same one for all destinations: hole punching works.
    Cone,
    /// A random one for each destination: it does not.
    Symmetric,
}

/// The version of IP that a local network has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ip {
    V4,
    V6,
}

/// Namespaces, removed when dropped, with what runs in them.
pub(crate) struct Network {
    names: Vec<String>,
}

impl Network {
    pub(crate) fn new(nat: Nat) -> Result<Self, String> {
        let mut network = Self { names: Vec::new() };
        let relay = network.add("relay")?;
        sh(&format!(
            "ip -n {relay} link add public type bridge
             ip -n {relay} addr add {RELAY_IP}/24 dev public
             ip -n {relay} link set public up"
        ))?;
        for side in 0..2 {
            network.add_private(&relay, side, nat)?;
        }
        Ok(network)
    }

    /// A local network without a router, with so many nodes.
    pub(crate) fn lan(nodes: usize, ip: Ip) -> Result<Self, String> {
        let mut network = Self { names: Vec::new() };
        let switch = network.add("switch")?;
        sh(&format!(
            "ip -n {switch} link add lan type bridge
             ip -n {switch} link set lan up"
        ))?;
        let (setting, value, prefix) = match ip {
            Ip::V4 => ("disable_ipv6", 1, "10.2.0."),
            // Addresses are used at once.
            Ip::V6 => ("accept_dad", 0, "fd00:2::"),
        };
        let length = if ip == Ip::V4 { "24" } else { "64 nodad" };
        for n in 0..nodes {
            let node = network.add(&format!("node{n}"))?;
            let host = n + 1;
            sh(&format!(
                "ip netns exec {node} sh -c 'for of in all default; do
                     echo {value} > /proc/sys/net/ipv6/conf/$of/{setting}
                 done'
                 ip -n {switch} link add to{n} type veth peer name eth0 netns {node}
                 ip -n {switch} link set to{n} master lan up
                 ip -n {node} addr add {prefix}{host}/{length} dev eth0
                 ip -n {node} link set eth0 up"
            ))?;
        }
        Ok(network)
    }

    /// The namespace of a node of a local network.
    pub(crate) fn node(&self, n: usize) -> String {
        self.names[1 + n].clone()
    }

    /// The namespace of the relay.
    pub(crate) fn public(&self) -> String {
        self.names[0].clone()
    }

    /// The namespace of a node behind a NAT, 0 or 1.
    pub(crate) fn behind(&self, side: usize) -> String {
        self.names[2 + 2 * side].clone()
    }

    fn add(&mut self, name: &str) -> Result<String, String> {
        let name = format!("pointsub-{}-{name}", id());
        sh(&format!("ip netns add {name}"))?;
        self.names.push(name.clone());
        sh(&format!("ip -n {name} link set lo up"))?;
        Ok(name)
    }

    fn add_private(&mut self, relay: &str, side: usize, nat: Nat) -> Result<(), String> {
        let router = self.add(&format!("router{side}"))?;
        let node = self.add(&format!("node{side}"))?;
        let (outside, inside) = (format!("198.51.100.{}", 10 + side), format!("10.0.{side}"));
        let ports = match nat {
            Nat::Cone => "",
            Nat::Symmetric => "random,fully-random",
        };
        // A link's two ends are made where they belong, so that names clash with nothing outside.
        // What arrives unasked for is dropped without a word, as home routers do.
        sh(&format!(
            "ip -n {relay} link add to{side} type veth peer name wan netns {router}
             ip -n {relay} link set to{side} master public up
             ip -n {router} addr add {outside}/24 dev wan
             ip -n {router} link set wan up
             ip -n {router} link add lan type veth peer name eth0 netns {node}
             ip -n {router} addr add {inside}.1/24 dev lan
             ip -n {router} link set lan up
             ip -n {node} addr add {inside}.2/24 dev eth0
             ip -n {node} link set eth0 up
             ip -n {node} route add default via {inside}.1
             ip netns exec {router} sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
             ip netns exec {router} nft -f - <<'rules'
             table ip nat {{
                 chain out {{
                     type nat hook postrouting priority 100
                     oifname wan masquerade {ports}
                 }}
             }}
             table ip filter {{
                 chain through {{
                     type filter hook forward priority 0; policy drop
                     iifname lan accept
                     ct state established,related accept
                 }}
                 chain here {{
                     type filter hook input priority 0; policy drop
                     ct state established,related accept
                 }}
             }}\nrules"
        ))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in self.names.iter().rev() {
            // A namespace lives on for as long as something runs in it.
            let removed =
                sh(&format!("ip netns pids {name} | xargs -r kill -9; ip netns del {name}"));
            if let Err(why) = removed {
                eprintln!("{name} stays behind: {why}");
            }
        }
    }
}

fn sh(script: &str) -> Result<(), String> {
    let output = Command::new("sh").args(["-ec", script]).output();
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{script}\n{}", String::from_utf8_lossy(&output.stderr)))
}
