//! A node that is dropped takes everything along that it started.

use std::sync::Arc;

use futures::future::pending;
use pointsub_swarm::{HandlerError, RegisterError, Request, ServerConfig};

use crate::common::*;

#[test]
fn a_listener_ends_with_its_node() {
    run(async {
        let node = start(ServerConfig::default(), once()).await;
        let mut listener = node.server().listen(&name("/raw")).expect("first");
        let accepts = spawn(async move { listener.accept().await.is_none() });
        drop(node);
        assert!(accepts.await, "there is nobody left to dial it");
    });
}

#[test]
fn handlers_that_hold_their_own_node_are_freed_with_it() {
    run(async {
        let node = start(ServerConfig::default(), once()).await;
        let owned = Arc::new(());
        let freed = Arc::downgrade(&owned);
        let own = node.pointsub();
        let handler = move |request: Request| {
            let _both = (&owned, &own);
            async move { request.body }
        };
        node.server().register(&echo_name(), handler).expect("first");
        drop(node);
        until(|| freed.upgrade().is_none()).await;
    });
}

#[test]
fn handlers_at_work_are_stopped_with_their_node() {
    run(async {
        let server = start(ServerConfig::default(), once()).await;
        let alive = Alive::default();
        let counted = alive.clone();
        let handler = move |_: Request| {
            let guard = counted.enter();
            async move {
                let _guard = guard;
                pending::<Result<bytes::Bytes, HandlerError>>().await
            }
        };
        server.server().register(&echo_name(), handler).expect("first");
        let node = client_of(&server, once()).await;
        let (client, peer) = (node.client(), server.peer_id());
        let call = spawn(async move { client.send(peer, &echo_name(), "?").await });
        until(|| alive.now() == 1).await;
        drop(server);
        call.await.expect_err("the server is gone");
        until(|| alive.dropped() == 1).await;
    });
}

#[test]
fn a_server_whose_node_is_gone_says_so() {
    run(async {
        let node = echo_server(ServerConfig::default()).await;
        let server = node.server();
        drop(node);
        until(|| !server.is_running()).await;
        assert_eq!(server.register(&name("/late"), echo), Err(RegisterError::Closed));
        assert!(matches!(server.listen(&name("/late")), Err(RegisterError::Closed)));
    });
}
