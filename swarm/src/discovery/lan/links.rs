//! The network interfaces of this machine, and a socket on each of them in each version of IP.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};

use if_addrs::{IfAddr, Interface};
use ipnet::IpNet;
use socket2::{Domain, Socket, Type};

const PORT: u16 = 5353;
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
/// What shows that a packet has not come through a router (RFC 6762, section 11).
const HOPS: u32 = 255;

/// Where a link is: an interface, and one of its addresses if it is that of IPv4.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    index: u32,
    v4: Option<Ipv4Addr>,
    /// The networks that are reached there, in both versions.
    networks: Vec<IpNet>,
}

/// The links that this machine has now.
pub(super) fn places() -> io::Result<Vec<Place>> {
    let mut interfaces: BTreeMap<u32, Vec<Interface>> = BTreeMap::new();
    for interface in if_addrs::get_if_addrs()? {
        // A tunnel is no local network.
        if let Some(index) = interface.index.filter(|_| !interface.is_p2p()) {
            interfaces.entry(index).or_default().push(interface);
        }
    }
    let mut places = Vec::new();
    for (index, addresses) in interfaces {
        let mut networks: Vec<IpNet> = addresses.iter().filter_map(network).collect();
        networks.sort_unstable();
        networks.dedup();
        let mut v4: Vec<Ipv4Addr> = addresses.iter().filter_map(ip_v4).collect();
        v4.sort_unstable();
        if let Some(v4) = v4.first().copied() {
            places.push(Place { index, v4: Some(v4), networks: networks.clone() });
        }
        if addresses.iter().any(|interface| interface.ip().is_ipv6()) {
            places.push(Place { index, v4: None, networks });
        }
    }
    Ok(places)
}

fn network(interface: &Interface) -> Option<IpNet> {
    let (ip, length) = match &interface.addr {
        IfAddr::V4(v4) => (IpAddr::V4(v4.ip), v4.prefixlen),
        IfAddr::V6(v6) => (IpAddr::V6(v6.ip), v6.prefixlen),
    };
    IpNet::new(ip, length).ok().map(|network| network.trunc())
}

fn ip_v4(interface: &Interface) -> Option<Ipv4Addr> {
    match interface.ip() {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    }
}

impl Place {
    /// Whether a packet has come from a machine on this link. Which socket has got it does not say so: some
    /// also get what comes in on other links where the same group was joined.
    pub(super) fn hears(&self, sender: SocketAddr) -> bool {
        if self.v4.is_some() != sender.is_ipv4() {
            return false;
        }
        match sender {
            SocketAddr::V6(sender) if sender.ip().is_unicast_link_local() => {
                sender.scope_id() == self.index
            }
            sender => self.contains(sender.ip()),
        }
    }

    fn contains(&self, ip: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&ip))
    }

    /// Whether it can be dialled there. Those of IPv6 that each link has for itself need the name of an
    /// interface, which an address of libp2p does not have.
    pub(super) fn reaches(&self, ip: IpAddr) -> bool {
        let of_the_link = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        !of_the_link && !ip.is_unspecified() && !ip.is_multicast() && self.contains(ip)
    }

    /// Where all nodes on this link listen.
    pub(super) fn group(&self) -> SocketAddr {
        match self.v4 {
            Some(_) => (GROUP_V4, PORT).into(),
            None => SocketAddrV6::new(GROUP_V6, PORT, 0, self.index).into(),
        }
    }

    /// A socket that hears and speaks on this link alone. It shares the port with others of this
    /// machine.
    pub(super) fn open(&self) -> io::Result<UdpSocket> {
        let domain = if self.v4.is_some() { Domain::IPV4 } else { Domain::IPV6 };
        let socket = Socket::new(domain, Type::DGRAM, None)?;
        socket.set_reuse_address(true)?;
        // On Linux, it would be one of the sockets that gets a packet, and not all.
        #[cfg(all(unix, not(any(target_os = "android", target_os = "linux"))))]
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        match self.v4 {
            Some(ip) => {
                #[cfg(any(target_os = "android", target_os = "linux"))]
                socket.set_multicast_all_v4(false)?;
                socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)).into())?;
                socket.join_multicast_v4(&GROUP_V4, &ip)?;
                socket.set_multicast_if_v4(&ip)?;
                socket.set_multicast_loop_v4(true)?;
                socket.set_multicast_ttl_v4(HOPS)?;
            }
            None => {
                #[cfg(any(target_os = "android", target_os = "linux"))]
                socket.set_multicast_all_v6(false)?;
                socket.set_only_v6(true)?;
                socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT)).into())?;
                socket.join_multicast_v6(&GROUP_V6, self.index)?;
                socket.set_multicast_if_v6(self.index)?;
                socket.set_multicast_loop_v6(true)?;
                socket.set_multicast_hops_v6(HOPS)?;
            }
        }
        Ok(socket.into())
    }
}
