//! A listening socket, and the addresses at which it can be reached.

use std::collections::VecDeque;
use std::future::Ready;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_io::Async;
use futures::{FutureExt, StreamExt, ready};
use futures_timer::Delay;
use if_watch::IfEvent;
use if_watch::smol::IfWatcher;
use libp2p_core::transport::{ListenerId, TransportEvent};

use super::address::multiaddr;
use super::ports::Ports;
use super::socket;
use super::stream::Stream;

/// How long a listener rests after an error. Most are about too many open files, and would come
/// back at once.
const PAUSE: Duration = Duration::from_millis(100);

type Event = TransportEvent<Ready<io::Result<Stream>>, io::Error>;

/// A stream of what happens at one socket. `W` tells of the interfaces.
pub(super) struct Listener<W = IfWatcher> {
    id: ListenerId,
    socket: Async<TcpListener>,
    address: SocketAddr,
    /// Only for a wildcard address, which stands for whatever addresses the machine has.
    interfaces: Option<W>,
    ports: Ports,
    /// What is told before anything else.
    events: VecDeque<Event>,
    pause: Option<Delay>,
    closed: bool,
    waker: Option<Waker>,
}

impl Listener {
    pub(super) fn bind(id: ListenerId, address: SocketAddr, ports: Ports) -> io::Result<Self> {
        let socket = socket::listen(address)?;
        let interfaces = address.ip().is_unspecified().then(IfWatcher::new).transpose()?;
        Self::new(id, socket, interfaces, ports)
    }
}

impl<W> Listener<W> {
    fn new(
        id: ListenerId,
        socket: TcpListener,
        interfaces: Option<W>,
        ports: Ports,
    ) -> io::Result<Self> {
        let socket = Async::new(socket)?;
        let address = socket.get_ref().local_addr()?;
        let mut listener = Self {
            id,
            socket,
            address,
            interfaces,
            ports,
            events: VecDeque::new(),
            pause: None,
            closed: false,
            waker: None,
        };
        if listener.interfaces.is_none() {
            let event = listener.up(address);
            listener.events.push_back(event);
        }
        Ok(listener)
    }

    pub(super) fn id(&self) -> ListenerId {
        self.id
    }

    /// Ends the listener; `false` if it has ended already. The socket lives until this is polled.
    pub(super) fn close(&mut self) -> bool {
        if self.closed {
            return false;
        }
        self.closed = true;
        self.ports.forget(self.id);
        self.events.clear();
        self.events
            .push_back(TransportEvent::ListenerClosed { listener_id: self.id, reason: Ok(()) });
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        true
    }

    fn up(&self, address: SocketAddr) -> Event {
        tracing::debug!(target: "pointsub::transport", %address, "listening");
        self.ports.add(self.id, address);
        TransportEvent::NewAddress { listener_id: self.id, listen_addr: multiaddr(address) }
    }

    fn down(&self, address: SocketAddr) -> Event {
        tracing::debug!(target: "pointsub::transport", %address, "not listening any more");
        self.ports.remove(self.id, address);
        TransportEvent::AddressExpired { listener_id: self.id, listen_addr: multiaddr(address) }
    }

    fn rest(&mut self, error: io::Error) -> Event {
        tracing::debug!(
            target: "pointsub::transport",
            address = %self.address,
            %error,
            "the listener rests"
        );
        self.pause = Some(Delay::new(PAUSE));
        TransportEvent::ListenerError { listener_id: self.id, error }
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Event>> {
        let (stream, remote) = loop {
            match self.socket.get_ref().accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.socket.poll_readable(cx))?;
                }
                outcome => break outcome?,
            }
        };
        let local = stream.local_addr()?;
        let stream = Async::new(stream).and_then(Stream::new);
        Poll::Ready(Ok(TransportEvent::Incoming {
            listener_id: self.id,
            upgrade: std::future::ready(stream),
            local_addr: multiaddr(local),
            send_back_addr: multiaddr(remote),
        }))
    }
}

impl<W: futures::Stream<Item = io::Result<IfEvent>> + Unpin> Listener<W> {
    fn poll_interfaces(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let Some(interfaces) = &mut self.interfaces else { return Poll::Pending };
        let (family, port) = (self.address.is_ipv4(), self.address.port());
        while let Poll::Ready(Some(event)) = interfaces.poll_next_unpin(cx) {
            match event {
                Ok(IfEvent::Up(net)) if net.addr().is_ipv4() == family => {
                    return Poll::Ready(self.up((net.addr(), port).into()));
                }
                Ok(IfEvent::Down(net)) if net.addr().is_ipv4() == family => {
                    return Poll::Ready(self.down((net.addr(), port).into()));
                }
                Ok(_) => {}
                Err(error) => {
                    // It may fail for good. The socket accepts all the same, at the addresses
                    // that were told.
                    self.interfaces = None;
                    return Poll::Ready(self.rest(error));
                }
            }
        }
        Poll::Pending
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(Some(event));
        }
        if self.closed {
            return Poll::Ready(None);
        }
        if let Some(pause) = &mut self.pause {
            ready!(pause.poll_unpin(cx));
            self.pause = None;
        }
        if let Poll::Ready(event) = self.poll_interfaces(cx) {
            return Poll::Ready(Some(event));
        }
        let accepted = ready!(self.poll_accept(cx));
        Poll::Ready(Some(accepted.unwrap_or_else(|error| self.rest(error))))
    }
}

impl<W: futures::Stream<Item = io::Result<IfEvent>> + Unpin> futures::Stream for Listener<W> {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let event = self.poll_event(cx);
        if event.is_pending() {
            self.waker = Some(cx.waker().clone());
        }
        event
    }
}

impl<W> Drop for Listener<W> {
    fn drop(&mut self) {
        self.ports.forget(self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};

    use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
    use if_watch::IpNet;

    use super::*;

    type Told = UnboundedReceiver<io::Result<IfEvent>>;

    /// A listener on all interfaces, of which `tell` tells.
    fn wildcard(ports: &Ports) -> (Listener<Told>, UnboundedSender<io::Result<IfEvent>>) {
        let (tell, told) = unbounded();
        let socket = socket::listen((Ipv4Addr::UNSPECIFIED, 0).into()).expect("a free port");
        let listener = Listener::new(ListenerId::next(), socket, Some(told), ports.clone());
        (listener.expect("a listener"), tell)
    }

    fn net(address: &str) -> IpNet {
        address.parse().expect("an address and the bits of its network")
    }

    fn next(listener: &mut Listener<Told>) -> Option<Event> {
        listener.next().now_or_never().map(|event| event.expect("it is not closed"))
    }

    #[test]
    fn addresses_come_and_go_with_the_interfaces() {
        let ports = Ports::default();
        let (mut listener, tell) = wildcard(&ports);
        let (id, port) = (listener.id, listener.address.port());
        assert!(next(&mut listener).is_none());

        let far = "203.0.113.1".parse().expect("an IP address");
        let tell = |event| tell.unbounded_send(Ok(event)).expect("the listener lives");
        tell(IfEvent::Up(net("2001:db8::7/64")));
        tell(IfEvent::Up(net("192.0.2.7/24")));
        let address = multiaddr(([192, 0, 2, 7], port).into());
        match next(&mut listener) {
            Some(TransportEvent::NewAddress { listener_id, listen_addr }) => {
                assert_eq!((listener_id, &listen_addr), (id, &address));
            }
            event => panic!("{event:?}"),
        }
        assert_eq!(ports.towards(far).map(|bind| bind.port()), Some(port));

        tell(IfEvent::Down(net("2001:db8::7/64")));
        tell(IfEvent::Down(net("192.0.2.7/24")));
        match next(&mut listener) {
            Some(TransportEvent::AddressExpired { listener_id, listen_addr }) => {
                assert_eq!((listener_id, &listen_addr), (id, &address));
            }
            event => panic!("{event:?}"),
        }
        assert_eq!(ports.towards(far), None);
        assert!(next(&mut listener).is_none());
    }

    #[test]
    fn a_listener_that_ends_lends_its_port_to_nobody() {
        let far = "203.0.113.1".parse().expect("an IP address");
        let ports = Ports::default();
        for is_closed_first in [true, false] {
            let (mut listener, tell) = wildcard(&ports);
            tell.unbounded_send(Ok(IfEvent::Up(net("192.0.2.7/24")))).expect("the listener lives");
            assert!(next(&mut listener).is_some());
            assert!(ports.towards(far).is_some());
            if is_closed_first {
                assert!(listener.close());
                assert!(ports.towards(far).is_none());
            }
            drop(listener);
            assert!(ports.towards(far).is_none());
        }
    }

    /// What is not known of the interfaces does not keep others from connecting.
    #[test]
    fn a_listener_accepts_when_its_interfaces_are_lost_for_good() {
        let lost = || Err(io::Error::from(io::ErrorKind::BrokenPipe));
        let socket = socket::listen((Ipv4Addr::UNSPECIFIED, 0).into()).expect("a free port");
        let interfaces = Some(futures::stream::repeat_with(lost));
        let listener = Listener::new(ListenerId::next(), socket, interfaces, Ports::default());
        let mut listener = listener.expect("a listener");
        match listener.next().now_or_never().flatten() {
            Some(TransportEvent::ListenerError { error, .. }) => {
                assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
            }
            event => panic!("{event:?}"),
        }
        let at = (Ipv4Addr::LOCALHOST, listener.address.port());
        let _waiting = TcpStream::connect(at).expect("somebody listens");
        let event = async_io::block_on(listener.next());
        assert!(matches!(event, Some(TransportEvent::Incoming { .. })), "{event:?}");
    }
}
