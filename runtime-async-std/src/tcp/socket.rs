//! Sockets with the options that both ends need.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};

use socket2::{Domain, Protocol, Socket, Type};

/// How many connections the system keeps until they are accepted.
const BACKLOG: i32 = 1024;

/// Whether others may bind to the same port: connections that start from a listener's port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Port {
    Shared,
    Own,
}

fn open(address: SocketAddr, port: Port) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // So that both wildcards can be listened on at once, and each reports its own family.
        socket.set_only_v6(true)?;
    }
    // A listener can start again while connections of its predecessor are being forgotten.
    socket.set_reuse_address(true)?;
    // Elsewhere the option above does this one's work.
    #[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos"))))]
    socket.set_reuse_port(port == Port::Shared)?;
    #[cfg(not(all(unix, not(any(target_os = "solaris", target_os = "illumos")))))]
    let _ = port;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Listens where nobody else does. A port that is shared, so that connections can start from it, is
/// shared among programs as well, each of which gets a part of the connections. So it is tried
/// without that before. Of two programs that start at the same moment both may find it free.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    #[cfg(unix)]
    if address.port() != 0 {
        open(address, Port::Own)?.bind(&address.into())?;
    }
    let socket = open(address, Port::Shared)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Begins to connect. The socket is writable when that has succeeded or failed.
pub(super) fn connect(to: SocketAddr, from: Option<SocketAddr>) -> io::Result<TcpStream> {
    let socket = open(to, if from.is_some() { Port::Shared } else { Port::Own })?;
    if let Some(from) = from {
        socket.bind(&from.into())?;
    }
    match socket.connect(&to.into()) {
        Err(error) if !is_under_way(&error) => Err(error),
        _ => Ok(socket.into()),
    }
}

fn is_under_way(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(libc::EINPROGRESS) {
        return true;
    }
    error.kind() == io::ErrorKind::WouldBlock
}
