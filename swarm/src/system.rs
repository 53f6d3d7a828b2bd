//! What the operating system does for connections, for whoever writes a [`Runtime`](crate::Runtime): the
//! same on each of them.

use std::io;
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, future};
use if_watch::IfEvent;
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

/// Has the system watch a TCP connection, so that one whose peer has vanished ends within a minute and a
/// half. Where the system cannot, the connection is as it was.
pub fn keep_alive<'a>(socket: impl Into<SockRef<'a>>) {
    if let Err(error) = set_keep_alive(&socket.into()) {
        tracing::debug!(
            target: "pointsub::system",
            %error,
            "a connection is not watched by the system"
        );
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

/// Each time an address of this machine comes or goes, but for those of this machine alone: what
/// [`Runtime::interface_changes`](crate::Runtime::interface_changes) is to tell, from the `IfWatcher` of a
/// runtime. Where the system does not tell, nothing comes.
pub fn interface_changes<W>(watcher: io::Result<W>) -> BoxStream<'static, ()>
where
    W: Stream<Item = io::Result<IfEvent>> + Send + 'static,
{
    match watcher {
        Ok(watcher) => {
            let events = watcher.take_while(|event| future::ready(event.is_ok()));
            events.filter_map(|event| future::ready(event.ok().and_then(change))).boxed()
        }
        Err(error) => {
            tracing::debug!(
                target: "pointsub::system",
                %error,
                "changes of network interfaces are not noticed"
            );
            stream::pending().boxed()
        }
    }
}

fn change(event: IfEvent) -> Option<()> {
    let (IfEvent::Up(net) | IfEvent::Down(net)) = event;
    (!net.addr().is_loopback()).then_some(())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use futures::FutureExt;

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

    #[test]
    fn addresses_of_this_machine_alone_are_no_change() {
        let at = |net: &str| net.parse().expect("a network");
        let events = [
            Ok(IfEvent::Up(at("127.0.0.1/8"))),
            Ok(IfEvent::Up(at("192.0.2.7/24"))),
            Ok(IfEvent::Down(at("::1/128"))),
            Ok(IfEvent::Down(at("2001:db8::7/64"))),
            Err(io::ErrorKind::Other.into()),
            Ok(IfEvent::Up(at("192.0.2.8/24"))),
        ];
        let changes = interface_changes(Ok(stream::iter(events)));
        assert_eq!(changes.count().now_or_never(), Some(2), "and none after an error");
        let failed = io::Result::<stream::Empty<_>>::Err(io::ErrorKind::Unsupported.into());
        assert_eq!(interface_changes(failed).next().now_or_never(), None);
    }
}
