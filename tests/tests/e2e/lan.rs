//! Servers on the local network, here on that of this machine alone. `tests/nat` has a real one.

use pointsub_swarm::{Discover, ServerConfig, Source};

use crate::common::*;

async fn lan_node(served: Option<&str>) -> Node {
    let discover = Discover::connected().and(Discover::lan());
    let node = Node::builder().listen(loopback()).discover(discover).client_config(once());
    let node = node.server_config(ServerConfig::default()).build().await.expect("a node");
    if let Some(served) = served {
        node.server().register(&name(served), echo).expect("nothing is registered");
    }
    node
}

/// Servers are found that nobody has named, and one that ends says goodbye.
#[test]
fn servers_on_the_local_network_are_found() {
    run(async {
        let served = "/lan/echo/1.0.0";
        let servers = [lan_node(Some(served)).await, lan_node(Some(served)).await];
        let _other = lan_node(Some("/lan/other/1.0.0")).await;
        let node = lan_node(None).await;
        let answer = node.client().send_closest(&name(served), "x").await.expect("one is found");
        assert_eq!(answer.source(), Some(Source::Lan));
        until(|| node.client().server_nodes(&name(served)).len() == servers.len()).await;
        servers[0].shutdown(std::time::Duration::ZERO).await;
        until(|| node.client().server_nodes(&name(served)) == [servers[1].peer_id()]).await;
    });
}

/// A server that registers later is found then, by whoever looks already.
#[test]
fn a_server_that_registers_later_is_found_then() {
    run(async {
        let served = "/lan/later/1.0.0";
        let server = lan_node(None).await;
        let node = lan_node(None).await;
        let call = node.client().send_closest(&name(served), "x");
        let call = spawn(call);
        server.server().register(&name(served), echo).expect("nothing is registered");
        let answer = call.await.expect("it is found");
        assert_eq!((answer.peer(), answer.source()), (server.peer_id(), Some(Source::Lan)));
    });
}

/// Who only waits for a server looks for one.
#[test]
fn who_waits_for_a_server_looks_for_one() {
    run(async {
        let served = "/lan/awaited/1.0.0";
        let server = lan_node(Some(served)).await;
        let node = lan_node(None).await;
        node.client().wait_for_server(&name(served)).await.expect("it is found");
        assert_eq!(node.client().server_nodes(&name(served)), [server.peer_id()]);
    });
}
