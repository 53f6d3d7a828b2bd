//! Sockets with the options that both ends need.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

/// How many connections the system keeps until they are accepted.
const BACKLOG: i32 = 1024;

/// How long nothing has come before the system asks the peer whether it is there.
const IDLE: Duration = Duration::from_secs(30);
/// How often it asks again, and how long it waits for the last answer.
const INTERVAL: Duration = Duration::from_secs(15);
const RETRIES: u32 = 4;
/// How long what was sent may go unacknowledged, where the system knows that: a little less than all of
/// these together. Without it, that is a quarter of an hour.
#[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
const UNACKNOWLEDGED: Duration = Duration::from_secs(85);

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

/// Has the system watch a connection. Where it cannot, the connection is as it was.
pub(super) fn keep_alive(stream: &TcpStream) {
    if let Err(error) = set_keep_alive(&SockRef::from(stream)) {
        tracing::debug!(%error, "a connection is not watched by the system");
    }
}

fn set_keep_alive(socket: &SockRef<'_>) -> io::Result<()> {
    let keep_alive = TcpKeepalive::new().with_time(IDLE).with_interval(INTERVAL);
    #[cfg(not(target_os = "windows"))]
    let keep_alive = keep_alive.with_retries(RETRIES);
    #[cfg(target_os = "windows")]
    let _fixed = RETRIES;
    socket.set_tcp_keepalive(&keep_alive)?;
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_watches_a_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let stream = TcpStream::connect(address).expect("it listens");
        keep_alive(&stream);
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().expect("an option"));
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().expect("an option"), Some(UNACKNOWLEDGED));
    }
}
