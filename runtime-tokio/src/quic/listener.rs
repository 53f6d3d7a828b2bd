//! A socket to which others connect, and the addresses at which it can be reached.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, ready};
use if_watch::IfEvent;
use if_watch::tokio::IfWatcher;
use libp2p_core::transport::{ListenerId, TransportEvent};
use quinn::{Endpoint, Incoming};

use super::Error;
use super::address::multiaddr;
use super::config::Config;
use super::dial::{self, Upgrade};
use super::punch::Punches;
use super::socket;

/// How many attempts to connect are looked at before other tasks have their turn.
const TURN: usize = 64;

type Event = TransportEvent<Upgrade, Error>;

/// A stream of what happens at one socket. `W` tells of the interfaces.
pub(super) struct Listener<W = IfWatcher> {
    id: ListenerId,
    endpoint: Endpoint,
    /// The same socket again, for what is not QUIC.
    socket: UdpSocket,
    address: SocketAddr,
    /// Only for a wildcard address, which stands for whatever addresses the machine has.
    interfaces: Option<W>,
    incoming: BoxStream<'static, Incoming>,
    /// Each handshake under way has a share of it.
    handshakes: Arc<()>,
    config: Config,
    punches: Punches,
    /// What is told before anything else.
    events: VecDeque<Event>,
    closed: bool,
    waker: Option<Waker>,
}

impl Listener {
    pub(super) fn bind(
        id: ListenerId,
        address: SocketAddr,
        config: Config,
        punches: Punches,
    ) -> io::Result<Self> {
        let interfaces = address.ip().is_unspecified().then(IfWatcher::new).transpose()?;
        Self::new(id, address, interfaces, config, punches)
    }
}

impl<W> Listener<W> {
    fn new(
        id: ListenerId,
        address: SocketAddr,
        interfaces: Option<W>,
        config: Config,
        punches: Punches,
    ) -> io::Result<Self> {
        let socket = socket::bind(address)?;
        let address = socket.local_addr()?;
        let endpoint = socket::run(socket.try_clone()?, &config, Some(config.server.clone()))?;
        let accept = |endpoint: Endpoint| async {
            let incoming = endpoint.accept().await?;
            Some((incoming, endpoint))
        };
        let mut listener = Self {
            id,
            incoming: futures::stream::unfold(endpoint.clone(), accept).fuse().boxed(),
            endpoint,
            socket,
            address,
            interfaces,
            handshakes: Arc::default(),
            config,
            punches,
            events: VecDeque::new(),
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

    pub(super) fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }

    pub(super) fn socket(&self) -> io::Result<UdpSocket> {
        self.socket.try_clone()
    }

    /// Whether its socket can send to `remote`, and is reached from there.
    pub(super) fn fits(&self, remote: IpAddr) -> bool {
        let local = self.address.ip();
        let reaches = local.is_unspecified() || local.is_loopback() == remote.is_loopback();
        !self.closed && local.is_ipv4() == remote.is_ipv4() && reaches
    }

    /// Ends the listener; `false` if it has ended already. Its connections live on.
    pub(super) fn close(&mut self) -> bool {
        !self.closed && self.end(Ok(()))
    }

    fn end(&mut self, reason: Result<(), Error>) -> bool {
        self.closed = true;
        self.refuse();
        self.events.clear();
        self.events.push_back(TransportEvent::ListenerClosed { listener_id: self.id, reason });
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        true
    }

    /// Lets nobody in any more.
    fn refuse(&mut self) {
        self.endpoint.set_server_config(None);
        while let Some(Some(incoming)) = self.incoming.next().now_or_never() {
            incoming.refuse();
        }
    }

    fn up(&self, address: SocketAddr) -> Event {
        tracing::debug!(target: "pointsub::transport", %address, "listening");
        TransportEvent::NewAddress { listener_id: self.id, listen_addr: multiaddr(address) }
    }

    fn down(&self, address: SocketAddr) -> Event {
        tracing::debug!(target: "pointsub::transport", %address, "not listening any more");
        TransportEvent::AddressExpired { listener_id: self.id, listen_addr: multiaddr(address) }
    }

    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        for _ in 0..TURN {
            let Some(incoming) = ready!(self.incoming.poll_next_unpin(cx)) else {
                return Poll::Ready(None);
            };
            if let Some(event) = self.accept(incoming) {
                return Poll::Ready(Some(event));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// A connection for the swarm, if it is one.
    fn accept(&self, incoming: Incoming) -> Option<Event> {
        let remote = incoming.remote_address();
        let under_way = Arc::strong_count(&self.handshakes) - 1;
        let proven = incoming.remote_address_validated() || self.punches.expects(remote);
        if under_way >= self.config.unproven && !proven {
            // It takes no place until it comes again, with what is sent to it now.
            let _sent = incoming.retry();
            return None;
        }
        let connecting = match incoming.accept() {
            Ok(connecting) => connecting,
            Err(error) => {
                tracing::debug!(target: "pointsub::transport", %remote, %error, "not a connection");
                return None;
            }
        };
        let local = connecting.local_ip().unwrap_or(self.address.ip());
        let (place, config) = (self.handshakes.clone(), self.config.clone());
        let at = multiaddr(remote);
        let upgrade = async {
            let _place = place;
            dial::accept(connecting, at, config).await
        };
        let upgrade = self.punches.hand_over(remote, upgrade.boxed())?;
        Some(TransportEvent::Incoming {
            listener_id: self.id,
            upgrade,
            local_addr: multiaddr((local, self.address.port()).into()),
            send_back_addr: multiaddr(remote),
        })
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
                    // It may fail for good. Others can connect all the same, at the addresses that
                    // were told.
                    self.interfaces = None;
                    let error = error.into();
                    return Poll::Ready(TransportEvent::ListenerError {
                        listener_id: self.id,
                        error,
                    });
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
        if let Poll::Ready(event) = self.poll_interfaces(cx) {
            return Poll::Ready(Some(event));
        }
        if let Some(event) = ready!(self.poll_incoming(cx)) {
            return Poll::Ready(Some(event));
        }
        self.end(Err(io::Error::other("the socket has failed").into()));
        Poll::Ready(self.events.pop_front())
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
        // Its connections keep the socket, at which nobody waits for others any more.
        self.refuse();
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
    use if_watch::IpNet;
    use libp2p_identity::Keypair;
    use pointsub_swarm::Security;

    use super::*;

    type Told = UnboundedReceiver<io::Result<IfEvent>>;

    fn new<W>(address: SocketAddr, interfaces: Option<W>) -> Listener<W> {
        let security = Security::new(&Keypair::generate_ed25519()).expect("it can sign");
        let config = Config::new(&security).expect("its TLS will do");
        let listener =
            Listener::new(ListenerId::next(), address, interfaces, config, Punches::default());
        listener.expect("a listener")
    }

    /// A listener on all interfaces, of which `tell` tells.
    fn wildcard() -> (Listener<Told>, UnboundedSender<io::Result<IfEvent>>) {
        let (tell, told) = unbounded();
        (new((Ipv4Addr::UNSPECIFIED, 0).into(), Some(told)), tell)
    }

    fn net(address: &str) -> IpNet {
        address.parse().expect("an address and the bits of its network")
    }

    fn next<W: futures::Stream<Item = io::Result<IfEvent>> + Unpin>(
        listener: &mut Listener<W>,
    ) -> Option<Event> {
        listener.next().now_or_never().map(|event| event.expect("it is not closed"))
    }

    #[tokio::test]
    async fn addresses_come_and_go_with_the_interfaces() {
        let (mut listener, tell) = wildcard();
        let (id, port) = (listener.id, listener.address.port());
        assert!(next(&mut listener).is_none());
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
        tell(IfEvent::Down(net("2001:db8::7/64")));
        tell(IfEvent::Down(net("192.0.2.7/24")));
        match next(&mut listener) {
            Some(TransportEvent::AddressExpired { listener_id, listen_addr }) => {
                assert_eq!((listener_id, &listen_addr), (id, &address));
            }
            event => panic!("{event:?}"),
        }
        assert!(next(&mut listener).is_none());
    }

    /// What is not known of the interfaces does not keep others from connecting.
    #[tokio::test]
    async fn a_listener_accepts_when_its_interfaces_are_lost_for_good() {
        let lost = || Err(io::Error::from(io::ErrorKind::BrokenPipe));
        let interfaces = futures::stream::repeat_with(lost);
        let mut listener = new((Ipv4Addr::UNSPECIFIED, 0).into(), Some(interfaces));
        match next(&mut listener) {
            Some(TransportEvent::ListenerError { error: Error::Io(error), .. }) => {
                assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
            }
            event => panic!("{event:?}"),
        }
        let at = ([127, 0, 0, 1], listener.address.port()).into();
        let target = super::super::address::Target { socket: at, peer: None };
        let endpoint = new::<Told>(([127, 0, 0, 1], 0).into(), None).endpoint();
        let dial = dial::connect(endpoint, multiaddr(at), target, listener.config.clone());
        let accepted = async {
            match listener.next().await {
                Some(TransportEvent::Incoming { upgrade, .. }) => upgrade.await,
                event => panic!("{event:?}"),
            }
        };
        let (dialled, accepted) = futures::join!(dial, accepted);
        dialled.expect("a connection");
        accepted.expect("a connection");
    }

    #[test]
    fn a_listener_ends_with_what_drives_its_socket() {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let mut listener = runtime.block_on(async { wildcard() }).0;
        listener.interfaces = None;
        drop(runtime);
        let end = next(&mut listener);
        assert!(
            matches!(end, Some(TransportEvent::ListenerClosed { reason: Err(_), .. })),
            "{end:?}"
        );
        assert!(matches!(listener.next().now_or_never(), Some(None)));
        assert!(!listener.close(), "it has ended");
    }

    #[tokio::test]
    async fn a_socket_is_dialled_from_if_it_reaches_the_peer() {
        let (v4, v6) = (IpAddr::from([192, 0, 2, 7]), "2001:db8::7".parse().expect("an address"));
        let (loopback, other): (IpAddr, _) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        let fits = |local: &str| {
            let mut listener = new::<Told>(local.parse().expect("an address"), None);
            let all = [v4, v6, loopback, other].map(|remote| listener.fits(remote));
            listener.close();
            assert!(!listener.fits(loopback), "it is closed");
            all
        };
        assert_eq!(fits("0.0.0.0:0"), [true, false, true, true]);
        assert_eq!(fits("127.0.0.1:0"), [false, false, true, true]);
        assert_eq!(fits("[::]:0"), [false, true, false, false]);
        assert_eq!(fits("[::1]:0"), [false; 4]);
    }
}
