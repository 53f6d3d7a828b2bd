//! What travels compressed, as a peer sees it that reads frames by hand.

use pointsub_swarm::ServerConfig;

use crate::common::*;
use crate::raw::*;

/// The flag COMPRESSED.
const COMPRESSED: u8 = 1;
/// Enough to be compressed while nothing is known of the link.
const LARGE: usize = 64 * 1024;
/// Not enough for that.
const SMALL: usize = 4 * 1024;

/// Whether the first requests of these lengths on a new connection are compressed.
async fn requests(compression: bool, lens: &[usize]) -> Vec<bool> {
    let server = RawPeer::start(&[NATIVE], |mut stream| async move {
        while let Some(request) = next_of(&mut stream, REQUEST).await {
            let answer = native(RESPONSE, request.id, &[], &[request.flags]);
            write(&mut stream, &answer).await.expect("the client reads");
        }
    })
    .await;
    let node = client(once().with_compression(compression)).await;
    assert_eq!(node.connect(server.address.clone()).await.expect("it is there"), server.id);
    let mut compressed = Vec::new();
    for len in lens {
        let answer = node.client().send(server.id, &echo_name(), text(*len, 1)).await;
        compressed.push(answer.expect("its flags").as_ref()[0] & COMPRESSED != 0);
    }
    compressed
}

/// Whether the first answers of these lengths on a new connection are compressed.
async fn answers(compression: bool, lens: &[usize]) -> Vec<bool> {
    let server = echo_server(ServerConfig::default().with_compression(compression)).await;
    let peer = RawPeer::client().await;
    let id = peer.dial(address(&server).await).await;
    let mut stream = peer.open(id, NATIVE).await.expect("the native name is announced");
    let mut compressed = Vec::new();
    for (number, len) in lens.iter().enumerate() {
        let request = native(REQUEST, number as u64 + 1, &[], &text(*len, 1));
        write(&mut stream, &request).await.expect("the server reads");
        let answer = next_of(&mut stream, RESPONSE).await.expect("an answer");
        compressed.push(answer.flags & COMPRESSED != 0);
    }
    compressed
}

/// C6, S11, W7: what is small is sent as it is while nothing is known of the link, what is large not.
#[test]
fn with_compression_the_first_large_bodies_travel_compressed() {
    run(async {
        assert_eq!(requests(true, &[SMALL, LARGE]).await, [false, true]);
        assert_eq!(answers(true, &[SMALL, LARGE]).await, [false, true]);
    });
}

/// C6, S11.
#[test]
fn without_compression_nothing_travels_compressed() {
    run(async {
        assert_eq!(requests(false, &[SMALL, LARGE, MIB]).await, [false; 3]);
        assert_eq!(answers(false, &[SMALL, LARGE, MIB]).await, [false; 3]);
    });
}
