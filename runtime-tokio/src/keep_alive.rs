//! TCP connections whose peers have vanished end within a minute and a half.

use std::io;
use std::time::Duration;

use libp2p_core::Transport;
use socket2::{SockRef, TcpKeepalive};

/// How long nothing has come before the system asks the peer whether it is there.
const IDLE: Duration = Duration::from_secs(30);
/// How often it asks again, and how long it waits for the last answer.
const INTERVAL: Duration = Duration::from_secs(15);
const RETRIES: u32 = 4;
/// How long what was sent may go unacknowledged, where the system knows that: a little less than all of
/// these together. Without it, that is a quarter of an hour.
#[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
const UNACKNOWLEDGED: Duration = Duration::from_secs(85);

/// What the transport makes.
type TcpStream = <libp2p_tcp::tokio::Transport as Transport>::Output;

/// Sets the options of a connection. Where the system does not have them, the connection is as it was.
pub(crate) fn keep_alive(stream: TcpStream) -> TcpStream {
    if let Err(error) = set(&SockRef::from(&stream.0)) {
        tracing::debug!(%error, "a connection is not watched by the system");
    }
    stream
}

fn set(socket: &SockRef<'_>) -> io::Result<()> {
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
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_system_watches_a_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let stream = TcpStream::connect(address).expect("it listens");
        let socket = SockRef::from(&stream);
        set(&socket).expect("the system has such options");
        assert!(socket.keepalive().expect("an option"));
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().expect("an option"), Some(UNACKNOWLEDGED));
    }
}
