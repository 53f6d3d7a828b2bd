//! Listens where nobody else does.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use libp2p_core::multiaddr::Protocol;
use libp2p_core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p_core::{Multiaddr, Transport};
use socket2::{Domain, Socket, Type};

/// libp2p shares the ports of its listeners (`SO_REUSEPORT`), so that connections can start from
/// them, which is what punches holes. The system then shares them among programs as well, each of
/// which gets a part of the connections, without a word. So a port is tried without that before.
/// Of two programs that start at the same moment both may find it free.
#[derive(Debug)]
pub(crate) struct Exclusive<T> {
    tcp: T,
}

impl<T> Exclusive<T> {
    pub(crate) fn new(tcp: T) -> Self {
        Self { tcp }
    }
}

impl<T: Transport<Error = io::Error> + Unpin> Transport for Exclusive<T> {
    type Output = T::Output;
    type Error = io::Error;
    type ListenerUpgrade = T::ListenerUpgrade;
    type Dial = T::Dial;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<io::Error>> {
        if let Some(socket) = of_listener(&address) {
            try_bind(socket).map_err(TransportError::Other)?;
        }
        self.tcp.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.tcp.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        self.tcp.dial(address, options)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        Pin::new(&mut self.tcp).poll(cx)
    }
}

/// The socket that an address names; any port that is free needs no trial.
fn of_listener(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    let ip: IpAddr = match parts.next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    match parts.next()? {
        Protocol::Tcp(port) if port != 0 => Some((ip, port).into()),
        _ => None,
    }
}

/// Fails if somebody listens there. Connections that are being forgotten are no obstacle.
fn try_bind(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Elsewhere this would share the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())
}
