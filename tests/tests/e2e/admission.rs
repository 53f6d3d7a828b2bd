//! Who may come: the application's rules at each of their points, lists that change, rates, and what
//! becomes of whoever costs too much.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use pointsub_swarm::{
    Access, AccessList, Admission, ConnectError, IpNet, Multiaddr, NodeEvent, PeerId, ProtocolName,
    Quota, RateLimit, RateScope, ServerConfig, StatusCode, Verdict,
};

use crate::common::*;
use crate::raw::{NATIVE, REQUEST, RawPeer, native, next_of, write};

/// A node that listens and answers every echo of whoever it admits.
async fn guarded(rules: impl Admission, config: ServerConfig) -> Node {
    let node = Node::builder().listen(loopback()).server_config(config).client_config(once());
    let node = node.admission(rules).build().await.expect("a node");
    node.server().register(&echo_name(), echo).expect("nothing is registered yet");
    node
}

async fn refused(node: &Node, server: &Node) -> ConnectError {
    node.connect(address(server).await).await.expect_err("it is not admitted")
}

#[test]
fn an_address_is_refused_before_the_handshake() {
    run(async {
        let list = AccessList::open();
        let loopback: IpNet = "127.0.0.0/8".parse().expect("a network");
        list.set_network(loopback, Access::Block);
        let server = guarded(list.clone(), ServerConfig::default()).await;
        let node = client(once()).await;
        refused(&node, &server).await;
        assert!(server.server().stats().denied > 0);
        assert!(server.peers().await.is_empty());
        list.remove_network(&loopback);
        connect(&node, &server).await;
        check_echo(&node, server.peer_id(), "now").await;
    });
}

#[test]
fn a_peer_is_refused_when_it_has_proved_who_it_is() {
    run(async {
        let list = AccessList::closed();
        let server = guarded(list.clone(), ServerConfig::default()).await;
        let [friend, stranger] = [client(once()).await, client(once()).await];
        list.set_peer(friend.peer_id(), Access::Allow);
        connect(&friend, &server).await;
        check_echo(&friend, server.peer_id(), "a friend").await;
        // The handshake of TLS 1.3 is over at the dialler's end before the listener has seen it.
        let _maybe = stranger.connect(address(&server).await).await;
        let asked = stranger.client().send(server.peer_id(), &echo_name(), "hello").await;
        assert!(asked.is_err(), "{asked:?}");
        assert!(server.server().stats().denied > 0);
        assert_eq!(server.server().stats().started, 1);
    });
}

/// Lets those in alone who ask for something else than the echo, and counts how often it is asked.
struct NoEcho {
    verdict: Verdict,
    asked: Arc<AtomicUsize>,
}

impl Admission for NoEcho {
    fn protocol(&self, _: &PeerId, protocol: &ProtocolName) -> Verdict {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if protocol == &echo_name() { self.verdict.clone() } else { Verdict::Allow }
    }
}

#[test]
fn a_request_is_refused_with_the_status_that_the_rules_say() {
    run(async {
        for (verdict, code) in [
            (Verdict::permission_denied("members only"), StatusCode::PermissionDenied),
            (Verdict::unauthenticated("members only"), StatusCode::Unauthenticated),
        ] {
            let asked = Arc::<AtomicUsize>::default();
            let rules = NoEcho { verdict, asked: asked.clone() };
            let server = guarded(rules, ServerConfig::default()).await;
            let other = name("/other/1");
            server.server().register(&other, echo).expect("the first");
            let node = client_of(&server, once()).await;
            let small = node.client().send(server.peer_id(), &echo_name(), "hello").await;
            let (small, error) = status(small);
            assert_eq!((small.code, &*small.message), (code, "members only"));
            assert!(!error.may_retry(true), "asking again changes nothing");
            let large = node.client().send(server.peer_id(), &echo_name(), noise(MIB, 7)).await;
            assert_eq!(status(large).0.code, code);
            let other = node.client().send(server.peer_id(), &other, "hello").await;
            assert_eq!(other.expect("it is allowed"), "hello");
            let stats = server.server().stats();
            assert_eq!((stats.started, stats.denied), (1, 2), "no handler saw the others");
            assert_eq!(asked.load(Ordering::SeqCst), 3, "once for each stream");
        }
    });
}

/// The refusal comes at the sight of the header: nothing of the body was sent.
#[test]
fn a_large_request_is_refused_before_its_body_comes() {
    run(async {
        let rules = NoEcho { verdict: Verdict::permission_denied("no"), asked: Arc::default() };
        let server = guarded(rules, ServerConfig::default()).await;
        let peer = RawPeer::client().await;
        let id = peer.dial(address(&server).await).await;
        let mut stream = peer.open(id, NATIVE).await.expect("the name is announced");
        let header = native(REQUEST, 1, &[], &vec![0; MIB])[..16].to_vec();
        write(&mut stream, &header).await.expect("the server reads");
        let answer = next_of(&mut stream, crate::raw::RESPONSE).await.expect("an answer");
        assert_eq!((answer.id, answer.flags), (1, 0x40), "not processed");
        assert_eq!(answer.fields[..4], [3, 0, 1, 13], "permission denied");
    });
}

#[test]
fn a_raw_stream_is_refused_too() {
    run(async {
        let list = AccessList::open();
        let server = guarded(list.clone(), ServerConfig::default()).await;
        let raw = name("/raw/1");
        let mut listener = server.server().listen(&raw).expect("the first");
        let node = client_of(&server, once()).await;
        list.allow_protocol(raw.clone(), server.peer_id());
        let mut denied = node.client().dial(server.peer_id(), &raw).await.expect("it is agreed on");
        let read = denied.read(&mut [0]).await;
        assert!(matches!(read, Err(_) | Ok(0)), "it was reset: {read:?}");
        assert_eq!(server.server().stats().denied, 1);
        list.allow_protocol(raw.clone(), node.peer_id());
        let mut stream = node.client().dial(server.peer_id(), &raw).await.expect("allowed");
        stream.write_all(b"x").await.expect("open");
        stream.flush().await.expect("open");
        let mut accepted = listener.accept().await.expect("a stream");
        let mut byte = [0];
        accepted.read_exact(&mut byte).await.expect("open");
        // And what is open already ends when the rules are asked again.
        list.disallow_protocol(&raw, &node.peer_id());
        server.server().recheck();
        let end = accepted.read(&mut byte).await;
        assert!(end.is_err(), "{end:?}");
    });
}

#[test]
fn who_is_blocked_later_is_disconnected() {
    run(async {
        let list = AccessList::open();
        let server = guarded(list.clone(), ServerConfig::default()).await;
        let mut events = server.events();
        let [one, two] = [client_of(&server, once()).await, client_of(&server, once()).await];
        check_echo(&one, server.peer_id(), "before").await;
        check_echo(&two, server.peer_id(), "before").await;
        list.set_peer(one.peer_id(), Access::Block);
        check_echo(&one, server.peer_id(), "the rules were not asked again").await;
        server.server().recheck();
        loop {
            match events.next().await.expect("the node has not ended") {
                NodeEvent::PeerDisconnected { peer, .. } if peer == one.peer_id() => break,
                NodeEvent::PeerDisconnected { peer, .. } => panic!("{peer} is not blocked"),
                _ => {}
            }
        }
        check_echo(&two, server.peer_id(), "it stays").await;
        let again = one.client().send(server.peer_id(), &echo_name(), "again").await;
        assert!(again.is_err(), "{again:?}");
    });
}

/// Whoever is asked holds no lock: it may use the node.
struct Curious {
    server: Arc<std::sync::OnceLock<pointsub_swarm::Server>>,
}

impl Curious {
    fn look(&self) -> Verdict {
        if let Some(server) = self.server.get() {
            let _stats = server.stats();
            server.set_rate_limit(RateScope::EachPeer, RateLimit::new());
        }
        Verdict::Allow
    }
}

impl Admission for Curious {
    fn address(&self, _: &Multiaddr) -> Verdict {
        self.look()
    }

    fn peer(&self, _: &PeerId, _: &Multiaddr) -> Verdict {
        self.look()
    }

    fn protocol(&self, _: &PeerId, _: &ProtocolName) -> Verdict {
        self.look()
    }

    fn trusts(&self, _: &PeerId) -> bool {
        !self.look().is_allowed()
    }
}

#[test]
fn rules_may_use_the_node() {
    run(async {
        let handle = Arc::<std::sync::OnceLock<_>>::default();
        let rules = Curious { server: handle.clone() };
        let server = guarded(rules, ServerConfig::default()).await;
        handle.set(server.server()).expect("once");
        let node = client_of(&server, once()).await;
        check_echo(&node, server.peer_id(), "hello").await;
        server.server().recheck();
        check_echo(&node, server.peer_id(), "again").await;
    });
}

#[test]
fn a_rate_limit_says_when_to_come_again() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let node = client_of(&server, once()).await;
        let limit = RateLimit::new().requests(Quota::per_second(1).with_burst(2));
        server.server().set_rate_limit(RateScope::EachPeerOf(echo_name()), limit);
        check_echo(&node, server.peer_id(), "one").await;
        check_echo(&node, server.peer_id(), "two").await;
        let third = node.client().send(server.peer_id(), &echo_name(), "three").await;
        let (busy, _) = status(third);
        assert_eq!(busy.code, StatusCode::Busy);
        let wait = busy.retry_after.expect("it says when");
        assert!(wait.as_millis() <= 1000, "{wait:?}");
        assert_eq!(server.server().stats().rate_limited, 1);
        let other = client_of(&server, once()).await;
        check_echo(&other, server.peer_id(), "another peer").await;
        server.server().set_rate_limit(RateScope::EachPeerOf(echo_name()), RateLimit::new());
        check_echo(&node, server.peer_id(), "lifted").await;
    });
}

/// Breaks the format on one stream after the other, until it is not let in any more.
async fn misbehave(peer: &RawPeer, server: PeerId) {
    loop {
        let Ok(mut stream) = peer.open(server, NATIVE).await else { return };
        let _gone = write(&mut stream, &[0xff; 64]).await;
        while stream.read(&mut [0; 1024]).await.is_ok_and(|n| n > 0) {}
    }
}

#[test]
fn who_costs_too_much_is_disconnected_and_kept_out() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let mut events = server.events();
        let honest = client_of(&server, once()).await;
        let hostile = RawPeer::client().await;
        hostile.dial(address(&server).await).await;
        let attack = spawn({
            let server = server.peer_id();
            async move {
                misbehave(&hostile, server).await;
                hostile
            }
        });
        let (mut kept_out, mut gone) = (None, None);
        while kept_out.is_none() || gone.is_none() {
            match events.next().await.expect("the node has not ended") {
                NodeEvent::PeerKeptOut { peer, times, .. } => kept_out = Some((peer, times)),
                NodeEvent::PeerDisconnected { peer, .. } => gone = Some(peer),
                _ => {}
            }
        }
        let hostile = attack.await;
        assert_eq!((kept_out, gone), (Some((hostile.id, 1)), Some(hostile.id)));
        check_echo(&honest, server.peer_id(), "somebody else").await;
        // It comes again at once, and is closed again.
        let before = server.server().stats().kept_out;
        let address = address(&server).await;
        // It has to stay for as long as its handshake takes.
        let coming = spawn(async move {
            hostile.dial(address).await;
            hostile
        });
        until(|| server.server().stats().kept_out > before).await;
        drop(coming);
        assert_eq!(server.server().stats().cut_off, 1);
    });
}

#[test]
fn who_is_trusted_may_cost_what_it_likes() {
    run(async {
        let list = AccessList::open();
        let server = guarded(list.clone(), ServerConfig::default()).await;
        let hostile = RawPeer::client().await;
        list.trust(hostile.id);
        let id = hostile.dial(address(&server).await).await;
        for _ in 0..30 {
            let mut stream = hostile.open(id, NATIVE).await.expect("it is connected");
            let _gone = write(&mut stream, &[0xff; 64]).await;
            while stream.read(&mut [0; 1024]).await.is_ok_and(|n| n > 0) {}
        }
        let stats = server.server().stats();
        assert_eq!((stats.violations, stats.cut_off), (30, 0));
    });
}

#[test]
fn a_handler_ends_after_the_longest_time() {
    run(async {
        let config =
            ServerConfig::default().with_max_handler_time(std::time::Duration::from_millis(50));
        let server = start(config, once()).await;
        let alive = Alive::default();
        let at_work = alive.clone();
        let handler = move |_| hang(at_work.clone());
        server.server().register(&echo_name(), handler).expect("the first");
        let node = client_of(&server, once()).await;
        let outcome = node.client().send(server.peer_id(), &echo_name(), "hello").await;
        assert_eq!(status(outcome).0.code, StatusCode::DeadlineExceeded);
        until(|| alive.dropped() == 1).await;
    });
}

#[test]
fn a_raw_stream_that_is_idle_for_too_long_ends() {
    run(async {
        let config =
            ServerConfig::default().with_max_raw_idle(std::time::Duration::from_millis(80));
        let server = start(config, once()).await;
        let raw = name("/raw/1");
        let mut listener = server.server().listen(&raw).expect("the first");
        let node = client_of(&server, once()).await;
        let mut stream = node.client().dial(server.peer_id(), &raw).await.expect("a stream");
        stream.write_all(b"x").await.expect("open");
        stream.flush().await.expect("open");
        let mut accepted = listener.accept().await.expect("a stream");
        let mut byte = [0];
        accepted.read_exact(&mut byte).await.expect("open");
        assert!(accepted.read(&mut byte).await.is_err(), "nothing came any more");
        drop(accepted);
        until(|| server.server().stats().raw_streams == 0).await;
    });
}
