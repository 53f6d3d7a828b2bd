//! Raw streams that break never read as if they had ended.

use std::io::{self, ErrorKind};

use futures::{AsyncReadExt, AsyncWriteExt};
use pointsub_swarm::{Listener, RawStream, ServerConfig};

use crate::common::*;
use crate::proxy::Proxy;

/// A stream through a proxy, both ends of it, on which half of what was promised has come.
async fn halfway() -> (Proxy, [Node; 2], Listener, RawStream, RawStream) {
    let server = start(ServerConfig::default(), once()).await;
    let mut listener = server.server().listen(&name("/raw")).expect("first");
    let way = Proxy::to(address(&server).await).start();
    let node = client(once()).await;
    let peer = node.connect(way.address()).await.expect("it listens");
    let mut near = node.client().dial(peer, &name("/raw")).await.expect("it listens");
    let mut far = listener.accept().await.expect("it was dialled");
    AsyncWriteExt::write_all(&mut far, &noise(100_000, 1)).await.expect("it is open");
    AsyncWriteExt::flush(&mut far).await.expect("it is open");
    AsyncReadExt::read_exact(&mut near, &mut vec![0; 100_000]).await.expect("it has come");
    (way, [server, node], listener, near, far)
}

async fn end(mut stream: RawStream) -> io::Result<usize> {
    AsyncReadExt::read_to_end(&mut stream, &mut Vec::new()).await
}

#[test]
fn a_cut_connection_is_an_error() {
    run(async {
        for cut in [Proxy::cut_rst, Proxy::cut_fin] {
            let (way, _nodes, _listener, near, far) = halfway().await;
            cut(&way);
            assert_eq!(end(near).await.expect_err("cut").kind(), ErrorKind::ConnectionAborted);
            assert_eq!(end(far).await.expect_err("cut").kind(), ErrorKind::ConnectionAborted);
        }
    });
}

#[test]
fn a_reset_is_an_error() {
    run(async {
        let (_way, _nodes, _listener, near, far) = halfway().await;
        far.reset();
        assert_eq!(end(near).await.expect_err("reset").kind(), ErrorKind::ConnectionReset);
        // Also for who has closed its own side.
        let (_way, _nodes, _listener, mut near, far) = halfway().await;
        AsyncWriteExt::close(&mut near).await.expect("it is open");
        drop(far);
        assert_eq!(end(near).await.expect_err("dropped").kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_node_that_is_gone_is_an_error() {
    run(async {
        let (_way, [server, _node], _listener, near, _far) = halfway().await;
        drop(server);
        end(near).await.expect_err("nobody closed it");
    });
}

#[test]
fn a_stream_that_was_closed_ends() {
    run(async {
        let (_way, _nodes, _listener, near, mut far) = halfway().await;
        AsyncWriteExt::close(&mut far).await.expect("it is open");
        assert_eq!(end(near).await.expect("closed in good order"), 0);
    });
}
