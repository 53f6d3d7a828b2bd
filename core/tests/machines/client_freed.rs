//! The client: what it holds is freed with it, and with the requests.

use std::sync::Arc;

use crate::support::{ClientScript, KIB, id, plain, request, response};
use bytes::Bytes;
use pointsub_core::client::Offer;
use pointsub_core::nearest::XorOrder;
use pointsub_core::{ClientConfig, Format};

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
    c.client.set_strategy(Box::new(XorOrder));
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
