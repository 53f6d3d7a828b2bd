//! Servers on a local network are found by multicast DNS: what runs there, `announce RUNTIME LISTEN` and
//! `find RUNTIME LISTEN COUNT`.

use std::future::pending;
use std::time::{Duration, Instant};

use futures_timer::Delay;
use pointsub_swarm::{Discover, Node, ProtocolName, Request, Runtime};

use crate::network::{Ip, Network};
use crate::peer::Outcome;
use crate::program::Program;

const SEARCH: ProtocolName = ProtocolName::from_static("/search/1.0.0");
const SERVERS: usize = 10;
/// Whoever takes longer does not find them.
const LIMIT: Duration = Duration::from_secs(20);

/// Servers on both runtimes, and one node that looks for them; returns how long that took.
pub(crate) fn find_all(ip: Ip, runtime: &str) -> Result<String, String> {
    let network = Network::lan(SERVERS + 1, ip)?;
    let listen = match ip {
        Ip::V4 => "/ip4/0.0.0.0/tcp/0",
        Ip::V6 => "/ip6/::/tcp/0",
    };
    let mut servers = Vec::new();
    for n in 0..SERVERS {
        let runtime = ["tokio", "async-std"][n % 2];
        let server = Program::start(&network.node(n), &["announce", runtime, listen])?;
        server.line()?;
        servers.push(server);
    }
    let find = ["find", runtime, listen, &SERVERS.to_string()];
    Program::start(&network.node(SERVERS), &find)?.line()
}

pub(crate) async fn announce<R: Runtime + Default>(listen: &str) -> Outcome {
    let node = node::<R>(listen).await?;
    node.server().register(&SEARCH, |request: Request| async move { request.body })?;
    println!("{}", node.peer_id());
    pending().await
}

pub(crate) async fn find<R: Runtime + Default>(listen: &str, count: usize) -> Outcome {
    let began = Instant::now();
    let node = node::<R>(listen).await?;
    let client = node.client();
    client.send_closest(&SEARCH, "what?").await?;
    let first = began.elapsed();
    while client.server_nodes(&SEARCH).len() < count {
        if began.elapsed() > LIMIT {
            return Err(format!("found {:?}", client.server_nodes(&SEARCH)).into());
        }
        Delay::new(Duration::from_millis(1)).await;
    }
    let (all, first) = (began.elapsed().as_millis(), first.as_millis());
    println!("the first answered after {first} ms, all {count} were found after {all} ms");
    Ok(())
}

async fn node<R: Runtime + Default>(listen: &str) -> Outcome<Node<R>> {
    let node = Node::<R>::builder().listen(listen.parse()?);
    Ok(node.discover(Discover::lan()).build().await?)
}
