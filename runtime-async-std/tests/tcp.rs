//! The transport alone, over real sockets of the loopback interface.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use async_std::task::block_on;
use futures::future::{Either, poll_fn, select};
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use futures_timer::Delay;
use libp2p_core::multiaddr::Protocol;
use libp2p_core::transport::{DialOpts, ListenerId, PortUse, TransportError, TransportEvent};
use libp2p_core::{Endpoint, Multiaddr, Transport as _};
use pointsub_async_std::tcp::{Stream, Transport};

type Event = TransportEvent<std::future::Ready<std::io::Result<Stream>>, std::io::Error>;

/// No test takes nearly as long: whatever does hangs.
const HUNG: Duration = Duration::from_secs(60);

fn run(test: impl Future<Output = ()>) {
    block_on(async {
        match select(pin!(test), Delay::new(HUNG)).await {
            Either::Left(_) => {}
            Either::Right(_) => panic!("not done within {HUNG:?}"),
        }
    });
}

fn parsed(address: &str) -> Multiaddr {
    address.parse().expect("a multiaddress")
}

async fn next(transport: &mut Transport) -> Event {
    poll_fn(|cx| Pin::new(&mut *transport).poll(cx)).await
}

/// Begins to listen, and waits for an address.
async fn listen(transport: &mut Transport, address: &str) -> (ListenerId, Multiaddr) {
    let id = ListenerId::next();
    transport.listen_on(id, parsed(address)).expect("it can be listened on");
    match next(transport).await {
        TransportEvent::NewAddress { listener_id, listen_addr } => {
            assert_eq!(listener_id, id);
            (id, listen_addr)
        }
        event => panic!("no address: {event:?}"),
    }
}

fn options(port_use: PortUse) -> DialOpts {
    DialOpts { role: Endpoint::Dialer, port_use }
}

async fn dial(
    transport: &mut Transport,
    to: &Multiaddr,
    port_use: PortUse,
) -> std::io::Result<Stream> {
    transport.dial(to.clone(), options(port_use)).expect("it can be dialled").await
}

struct Accepted {
    stream: Stream,
    listener: ListenerId,
    local: Multiaddr,
    remote: Multiaddr,
}

/// The next connection; wildcards may tell of more addresses before.
async fn accept(transport: &mut Transport) -> Accepted {
    loop {
        match next(transport).await {
            TransportEvent::Incoming { listener_id, upgrade, local_addr, send_back_addr } => {
                return Accepted {
                    stream: upgrade.await.expect("a connection"),
                    listener: listener_id,
                    local: local_addr,
                    remote: send_back_addr,
                };
            }
            TransportEvent::NewAddress { .. } => {}
            event => panic!("no connection: {event:?}"),
        }
    }
}

/// A connection from one transport to a listener of the other: both its ends.
async fn pair(from: &mut Transport, to: &mut Transport, at: &Multiaddr) -> (Stream, Accepted) {
    let (dialled, accepted) = futures::join!(dial(from, at, PortUse::New), accept(to));
    (dialled.expect("a connection"), accepted)
}

fn socket(address: &Multiaddr) -> SocketAddr {
    let mut parts = address.iter();
    match (parts.next(), parts.next()) {
        (Some(Protocol::Ip4(ip)), Some(Protocol::Tcp(port))) => (ip, port).into(),
        (Some(Protocol::Ip6(ip)), Some(Protocol::Tcp(port))) => (ip, port).into(),
        _ => panic!("not a socket address: {address}"),
    }
}

fn with_port(host: &str, address: &Multiaddr) -> Multiaddr {
    parsed(&format!("{host}/tcp/{}", socket(address).port()))
}

#[test]
fn both_families_carry_bytes_both_ways() {
    run(async {
        for address in ["/ip4/127.0.0.1/tcp/0", "/ip6/::1/tcp/0"] {
            let (mut one, mut two) = (Transport::new(), Transport::new());
            let (id, at) = listen(&mut one, address).await;
            let (mut dialled, mut accepted) = pair(&mut two, &mut one, &at).await;
            assert_eq!((accepted.listener, &accepted.local), (id, &at));
            let local = dialled.get_ref().local_addr().expect("it is bound");
            assert_eq!(socket(&accepted.remote), local);
            for end in [&dialled, &accepted.stream] {
                assert!(end.get_ref().nodelay().expect("an option"), "small writes must not wait");
            }

            dialled.write_all(b"there").await.expect("the other end reads");
            let mut bytes = [0; 5];
            accepted.stream.read_exact(&mut bytes).await.expect("five bytes");
            assert_eq!(&bytes, b"there");
            accepted.stream.write_all(b"back").await.expect("the other end reads");
            dialled.read_exact(&mut bytes[..4]).await.expect("four bytes");
            assert_eq!(&bytes[..4], b"back");
        }
    });
}

#[test]
fn a_closed_direction_ends_and_the_other_goes_on() {
    run(async {
        let (mut one, mut two) = (Transport::new(), Transport::new());
        let (_, at) = listen(&mut one, "/ip4/127.0.0.1/tcp/0").await;
        let (mut dialled, mut accepted) = pair(&mut two, &mut one, &at).await;
        dialled.write_all(b"last words").await.expect("the other end reads");
        dialled.close().await.expect("it can be closed");
        let mut text = String::new();
        accepted.stream.read_to_string(&mut text).await.expect("text, then the end");
        assert_eq!(text, "last words");

        accepted.stream.write_all(b"heard").await.expect("this direction is open");
        accepted.stream.close().await.expect("it can be closed");
        text.clear();
        dialled.read_to_string(&mut text).await.expect("text, then the end");
        assert_eq!(text, "heard");
        dialled.close().await.expect("closing again harms nobody");
    });
}

#[test]
fn where_nobody_listens_dialling_fails() {
    run(async {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("it is bound").port();
        drop(free);
        for host in ["/ip4/127.0.0.1", "/dns4/localhost"] {
            let at = parsed(&format!("{host}/tcp/{port}"));
            let error = dial(&mut Transport::new(), &at, PortUse::Reuse).await;
            assert_eq!(error.expect_err("nobody").kind(), ErrorKind::ConnectionRefused, "{at}");
        }
    });
}

#[test]
fn what_is_not_supported_is_left_to_others() {
    let mut transport = Transport::new();
    for address in ["/ip4/127.0.0.1/udp/1", "/dns/localhost/tcp/0", "/dnsaddr/example.org"] {
        let outcome = transport.listen_on(ListenerId::next(), parsed(address));
        assert!(matches!(outcome, Err(TransportError::MultiaddrNotSupported(_))), "{address}");
    }
    for address in ["/ip4/0.0.0.0/tcp/1", "/ip6/::/tcp/1", "/ip4/127.0.0.1/tcp/0", "/memory/1"] {
        let outcome = transport.dial(parsed(address), options(PortUse::New));
        assert!(matches!(outcome, Err(TransportError::MultiaddrNotSupported(_))), "{address}");
    }
}

#[test]
fn a_dial_that_is_not_polled_does_nothing() {
    run(async {
        let (mut one, mut two) = (Transport::new(), Transport::new());
        let (_, at) = listen(&mut one, "/ip4/127.0.0.1/tcp/0").await;
        let idle = two.dial(at.clone(), options(PortUse::New)).expect("it can be dialled");
        let (dialled, accepted) = pair(&mut two, &mut one, &at).await;
        let local = dialled.get_ref().local_addr().expect("it is bound");
        assert_eq!(socket(&accepted.remote), local, "the first to arrive is the one polled");
        drop(idle);
        assert!(next(&mut one).now_or_never().is_none(), "and it is the only one");
    });
}

/// Collects the addresses of a listener until `last` is among them.
async fn addresses(transport: &mut Transport, last: &Protocol<'_>) -> Vec<Multiaddr> {
    let mut seen = Vec::new();
    loop {
        match next(transport).await {
            TransportEvent::NewAddress { listen_addr, .. } => {
                let is_last = listen_addr.iter().next().as_ref() == Some(last);
                seen.push(listen_addr);
                if is_last {
                    return seen;
                }
            }
            event => panic!("no address: {event:?}"),
        }
    }
}

#[test]
fn a_wildcard_is_reported_as_the_addresses_of_its_family() {
    run(async {
        let mut one = Transport::new();
        one.listen_on(ListenerId::next(), parsed("/ip4/0.0.0.0/tcp/0")).expect("a free port");
        let v4 = addresses(&mut one, &Protocol::Ip4([127, 0, 0, 1].into())).await;
        let at = v4.last().expect("loopback is among them").clone();
        assert!(v4.iter().all(|seen| socket(seen).is_ipv4()), "{v4:?}");
        assert!(v4.iter().all(|seen| socket(seen).port() == socket(&at).port()), "{v4:?}");

        // The other wildcard has the same port at the same time, and its own addresses.
        let mut two = Transport::new();
        two.listen_on(ListenerId::next(), with_port("/ip6/::", &at)).expect("the port is free");
        let loopback = Protocol::Ip6(std::net::Ipv6Addr::LOCALHOST);
        let v6 = addresses(&mut two, &loopback).await;
        assert!(v6.iter().all(|seen| socket(seen).is_ipv6()), "{v6:?}");

        let mut three = Transport::new();
        let (_, accepted) = pair(&mut three, &mut one, &at).await;
        assert_eq!(accepted.local, at);
        drop(one);
        let error = dial(&mut three, &at, PortUse::New).await.expect_err("it is not for IPv4");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let at = v6.last().expect("loopback is among them").clone();
        let (_, accepted) = pair(&mut three, &mut two, &at).await;
        assert_eq!(accepted.local, at);
    });
}

#[test]
fn listeners_are_told_apart_and_go_one_by_one() {
    run(async {
        let (mut one, mut two) = (Transport::new(), Transport::new());
        let (first, first_at) = listen(&mut one, "/ip4/127.0.0.1/tcp/0").await;
        let (second, second_at) = listen(&mut one, "/ip6/::1/tcp/0").await;
        for (id, at) in [(second, &second_at), (first, &first_at), (second, &second_at)] {
            let (_, accepted) = pair(&mut two, &mut one, at).await;
            assert_eq!(accepted.listener, id);
        }

        assert!(one.remove_listener(first));
        assert!(!one.remove_listener(first), "it is gone");
        assert!(!one.remove_listener(ListenerId::next()), "it never was");
        match next(&mut one).await {
            TransportEvent::ListenerClosed { listener_id, reason: Ok(()) } => {
                assert_eq!(listener_id, first);
            }
            event => panic!("not closed: {event:?}"),
        }
        assert!(next(&mut one).now_or_never().is_none(), "nothing else happens");
        let error = dial(&mut two, &first_at, PortUse::New).await.expect_err("nobody listens");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let (_, accepted) = pair(&mut two, &mut one, &second_at).await;
        assert_eq!(accepted.listener, second);
    });
}

struct Flag(AtomicBool);

impl Flag {
    fn is_raised(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Polls until nothing happens, and nobody is woken to see that again.
fn fall_asleep(transport: &mut Transport) -> Arc<Flag> {
    loop {
        let woken = Arc::new(Flag(AtomicBool::new(false)));
        let waker = Waker::from(woken.clone());
        let event = Pin::new(&mut *transport).poll(&mut Context::from_waker(&waker));
        if event.is_pending() && !woken.is_raised() {
            return woken;
        }
    }
}

/// A swarm that is asleep hears of listeners that come and go.
#[test]
fn adding_and_removing_a_listener_wakes_the_transport() {
    let mut transport = Transport::new();
    let woken = fall_asleep(&mut transport);
    let id = ListenerId::next();
    transport.listen_on(id, parsed("/ip4/127.0.0.1/tcp/0")).expect("a free port");
    assert!(woken.is_raised(), "by the new listener");
    let woken = fall_asleep(&mut transport);
    assert!(transport.remove_listener(id));
    assert!(woken.is_raised(), "by the removed listener");
}

#[test]
fn connections_start_from_a_listeners_port_when_that_is_asked_for() {
    run(async {
        for address in ["/ip4/127.0.0.1/tcp/0", "/ip6/::1/tcp/0"] {
            let (mut one, mut two) = (Transport::new(), Transport::new());
            let (_, at) = listen(&mut one, address).await;
            let (_, own) = listen(&mut two, address).await;
            let port = socket(&own).port();

            let (_new, accepted) = pair(&mut two, &mut one, &at).await;
            assert_ne!(socket(&accepted.remote).port(), port, "it was not asked for");

            let (reused, accepted) =
                futures::join!(dial(&mut two, &at, PortUse::Reuse), accept(&mut one));
            assert_eq!(socket(&accepted.remote).port(), port);
            let _reused = reused.expect("a connection");

            // Two connections between the same two ports cannot be: the second one is made anyway.
            let (another, accepted) =
                futures::join!(dial(&mut two, &at, PortUse::Reuse), accept(&mut one));
            another.expect("a connection");
            assert_ne!(socket(&accepted.remote).port(), port);

            // The listener still listens.
            let (_, accepted) = pair(&mut one, &mut two, &own).await;
            assert_eq!(accepted.local, own);
        }
    });
}

#[test]
fn without_a_listener_of_the_family_a_new_port_is_taken() {
    run(async {
        let (mut one, mut two) = (Transport::new(), Transport::new());
        let (_, at) = listen(&mut one, "/ip4/127.0.0.1/tcp/0").await;
        let (id, own) = listen(&mut two, "/ip6/::1/tcp/0").await;
        let other_family = async {
            let (_, accepted) =
                futures::join!(dial(&mut two, &at, PortUse::Reuse), accept(&mut one));
            socket(&accepted.remote).port()
        };
        assert_ne!(other_family.await, socket(&own).port());

        let (own, own_at) = listen(&mut two, "/ip4/127.0.0.1/tcp/0").await;
        assert!(two.remove_listener(own) && two.remove_listener(id));
        let (dialled, accepted) =
            futures::join!(dial(&mut two, &at, PortUse::Reuse), accept(&mut one));
        dialled.expect("a connection");
        assert_ne!(socket(&accepted.remote).port(), socket(&own_at).port(), "it is closed");
    });
}

#[test]
fn names_are_resolved_to_the_family_they_ask_for() {
    run(async {
        let (mut one, mut two) = (Transport::new(), Transport::new());
        let (_, v4) = listen(&mut one, "/ip4/127.0.0.1/tcp/0").await;
        for host in ["/dns/localhost", "/dns4/localhost", "/dns/127.0.0.1"] {
            let (_, accepted) = pair(&mut two, &mut one, &with_port(host, &v4)).await;
            assert_eq!(accepted.local, v4, "{host}");
        }
        let (_, v6) = listen(&mut one, "/ip6/::1/tcp/0").await;
        let (_, accepted) = pair(&mut two, &mut one, &with_port("/dns6/::1", &v6)).await;
        assert_eq!(accepted.local, v6);

        let wrong = with_port("/dns6/127.0.0.1", &v4);
        let error = dial(&mut two, &wrong, PortUse::New).await.expect_err("no such address");
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}
