//! The client: what it holds is freed with it, and with the requests.

use std::sync::Arc;

use crate::support::{ClientScript, KIB, id, peer, plain, request, response};
use bytes::Bytes;
use pointsub_core::endpoint::Offer;
use pointsub_core::endpoint::closest::XorOrder;
use pointsub_core::{Cause, ClientConfig, ClientOutput, Format, ProtocolName, StreamError};

/// A body that holds a share of `alive` for as long as anybody holds it.
fn body(alive: &Arc<()>, len: usize) -> Bytes {
    struct Owner(Vec<u8>, #[expect(dead_code, reason = "counts")] Arc<()>);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    Bytes::from_owner(Owner(vec![7; len], alive.clone()))
}

/// C12: no thread, no cycle, nothing that outlives the machine.
#[test]
fn dropping_a_client_frees_all_it_holds() {
    let alive = Arc::new(());
    let (mut c, s) = ClientScript::native(ClientConfig::default());
    c.client.set_strategy(XorOrder);
    c.add_node(2).expect("not itself");
    // Waiting for a stream, written, large, and tried at a node.
    c.send_to(3, "/other", body(&alive, 10));
    c.expect_open_to(3, "/other", Offer::Both);
    c.send(body(&alive, 10));
    c.expect_sent(s, [request(id(2, 0), body(&alive, 10))]);
    c.send(body(&alive, 100 * KIB));
    c.expect_open(Offer::Only(Format::Native));
    assert!(Arc::strong_count(&alive) > 3);
    drop(c);
    assert_eq!(Arc::strong_count(&alive), 1);
}

/// C12: a request that has ended leaves nothing of its body behind, in neither format.
#[test]
fn an_answered_request_is_freed() {
    let alive = Arc::new(());
    let (mut c, s) = ClientScript::native(ClientConfig::default());
    let a = c.send(body(&alive, 10));
    c.expect_sent(s, [request(id(2, 0), body(&alive, 10))]);
    c.receives(s, [response(id(2, 0), "A")]);
    c.expect_response(a, "A");
    assert_eq!(Arc::strong_count(&alive), 1);
    assert_eq!(c.client.buffered(), 0);

    let (mut c, s) = ClientScript::plain(ClientConfig::default());
    let a = c.send(body(&alive, 100 * KIB));
    c.expect_sent(s, [plain(body(&alive, 100 * KIB))]);
    c.receives(s, [plain("A")]);
    c.expect_response(a, "A");
    assert_eq!(Arc::strong_count(&alive), 1);
    assert_eq!(c.client.buffered(), 0);
}

/// C12: peers and protocols with which there is nothing are forgotten, however it ended.
#[test]
fn peers_are_forgotten_with_the_last_that_is_under_way() {
    let used = |c: &mut ClientScript| (c.stats().peers, c.stats().routes);
    let (mut c, s) = ClientScript::native(ClientConfig::default());
    assert_eq!(used(&mut c), (1, 1));
    // One that waits for a stream and is cancelled, with the opening.
    let waits = c.send_to(1, "/other", "b");
    let open = c.expect_open_to(1, "/other", Offer::Only(Format::Native));
    assert_eq!(used(&mut c), (1, 2));
    c.cancel(waits);
    c.opened(open, Format::Native);
    c.expect_sent(open, [c.settings()]);
    c.breaks(open);
    assert_eq!(used(&mut c), (1, 1));
    // One that rests until it is tried again.
    let rests = c.send_to(2, "/other", "c");
    let open = c.expect_open_to(2, "/other", Offer::Both);
    c.open_fails(open, StreamError::Unreachable("no route".into()));
    c.expect_quiet();
    assert_eq!(used(&mut c), (2, 2));
    c.cancel(rests);
    assert_eq!(used(&mut c), (1, 1));
    c.breaks(s);
    assert_eq!(used(&mut c), (0, 0));
}

/// C12: a request that rests when the client closes keeps nothing either.
#[test]
fn a_closed_client_remembers_no_peer() {
    let mut c = ClientScript::new(ClientConfig::default());
    let rests = c.send("a");
    let open = c.expect_open(Offer::Both);
    c.open_fails(open, StreamError::Unreachable("no route".into()));
    c.expect_quiet();
    c.close();
    assert_eq!(c.expect_error(rests).cause, Cause::Closed);
    c.expect_drained();
    assert_eq!((c.stats().peers, c.stats().routes), (0, 0));
}

/// C12: a peer without a stream has no share in what its streams held.
#[test]
fn a_stream_that_is_gone_takes_no_room_from_dials() {
    let config = ClientConfig::default().with_max_streams_per_peer(1).with_max_retries(0);
    let (mut c, s) = ClientScript::native(config);
    let a = c.send("a");
    c.expect_sent(s, [request(id(2, 0), "a")]);
    c.breaks(s);
    c.expect_error(a);
    for _ in 0..2 {
        let dial = c.client.dial(&peer(1), "/raw", None, c.now).expect("there is room");
        let name = ProtocolName::new("/raw").expect("a usable name");
        c.expect_raw(ClientOutput::Dial { dial, peer: peer(1), protocol: name });
        c.client.hang_up(dial, c.now);
        c.expect_raw(ClientOutput::AbandonDial(dial));
    }
    assert_eq!(c.stats().peers, 0);
}
