//! UDP sockets, and what drives the connections of one.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use quinn::{Endpoint, ServerConfig, TokioRuntime};
use socket2::{Domain, Protocol, Socket, Type};

use super::config::Config;

pub(super) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // So that both wildcards can be listened on at once, and each reports its own family.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Runs connections over a socket, for as long as there are any or somebody has the endpoint. With a
/// `server`, others may connect to it.
pub(super) fn run(
    socket: UdpSocket,
    config: &Config,
    server: Option<ServerConfig>,
) -> io::Result<Endpoint> {
    Endpoint::new(config.endpoint.clone(), server, socket, Arc::new(TokioRuntime))
}
