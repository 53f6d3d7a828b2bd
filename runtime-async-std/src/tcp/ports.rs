//! Which local ports a connection may start from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use libp2p_core::transport::ListenerId;
use parking_lot::Mutex;

/// The addresses of all listeners of a transport.
#[derive(Debug, Clone, Default)]
pub(super) struct Ports(Arc<Mutex<Vec<(ListenerId, SocketAddr)>>>);

impl Ports {
    pub(super) fn add(&self, listener: ListenerId, address: SocketAddr) {
        self.0.lock().push((listener, address));
    }

    pub(super) fn remove(&self, listener: ListenerId, address: SocketAddr) {
        self.0.lock().retain(|known| *known != (listener, address));
    }

    /// Forgets all addresses of a listener.
    pub(super) fn forget(&self, listener: ListenerId) {
        self.0.lock().retain(|(known, _)| *known != listener);
    }

    /// What to bind a socket to before it connects to `remote`: the port of a listener that could
    /// be reached from there. Its address is left to the routes, which know better.
    pub(super) fn towards(&self, remote: IpAddr) -> Option<SocketAddr> {
        let fits = |local: IpAddr| {
            local.is_ipv4() == remote.is_ipv4() && local.is_loopback() == remote.is_loopback()
        };
        let known = self.0.lock();
        let port = known.iter().find(|(_, local)| fits(local.ip()))?.1.port();
        Some(match remote {
            IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, port).into(),
            IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, port).into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(text: &str) -> SocketAddr {
        text.parse().expect("a socket address")
    }

    fn port_towards(ports: &Ports, remote: &str) -> Option<u16> {
        let bind = ports.towards(remote.parse().expect("an IP address"))?;
        assert!(bind.ip().is_unspecified());
        Some(bind.port())
    }

    #[test]
    fn the_port_is_of_the_same_family_and_reach() {
        let (ports, id) = (Ports::default(), ListenerId::next());
        assert_eq!(port_towards(&ports, "192.0.2.1"), None);
        for (local, remote) in [
            ("127.0.0.1:1", "127.0.0.2"),
            ("[::1]:2", "::1"),
            ("192.0.2.7:3", "203.0.113.1"),
            ("[2001:db8::7]:4", "2001:db8::1"),
        ] {
            assert_eq!(port_towards(&ports, remote), None, "before {local}");
            ports.add(id, socket(local));
            assert_eq!(port_towards(&ports, remote), Some(socket(local).port()), "{local}");
        }
    }

    #[test]
    fn a_listener_that_is_gone_lends_its_port_to_nobody() {
        let (ports, one, two) = (Ports::default(), ListenerId::next(), ListenerId::next());
        ports.add(one, socket("192.0.2.7:1"));
        ports.add(one, socket("192.0.2.8:1"));
        ports.add(two, socket("192.0.2.7:2"));
        ports.remove(one, socket("192.0.2.7:1"));
        assert_eq!(port_towards(&ports, "192.0.2.1"), Some(1));
        ports.forget(one);
        assert_eq!(port_towards(&ports, "192.0.2.1"), Some(2));
        ports.forget(two);
        assert_eq!(port_towards(&ports, "192.0.2.1"), None);
    }
}
