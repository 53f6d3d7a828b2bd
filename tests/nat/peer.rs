//! What runs in the namespaces: `relay LISTEN BYTES SECONDS`, `serve RUNTIME LISTEN RELAY` and
//! `ask RUNTIME LISTEN ADDRESS direct|relayed`.

use std::error::Error;
use std::future::pending;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_timer::Delay;
use libp2p_core::multiaddr::Protocol;
use pointsub_async_std::AsyncStd;
use pointsub_swarm::{
    Cause, ClientConfig, HandlerError, Multiaddr, Node, Path, PeerId, ProtocolName, RelayConfig,
    Request, Runtime,
};
use pointsub_tokio::Tokio;

use crate::lan;
use crate::subscription::{self, Subscription};

const MIB: usize = 1024 * 1024;

pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// What the asking node is to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    /// The connection becomes a direct one.
    Direct,
    /// It stays one through the relay.
    Relayed,
}

impl Expect {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Relayed => "relayed",
        }
    }
}

pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        ["relay", ..] => on_tokio(relay(&arguments[1..])),
        ["serve", "tokio", ..] => on_tokio(serve::<Tokio>(&arguments[2..])),
        ["serve", "async-std", ..] => async_std::task::block_on(serve::<AsyncStd>(&arguments[2..])),
        ["ask", "tokio", ..] => on_tokio(ask::<Tokio>(&arguments[2..])),
        ["ask", "async-std", ..] => async_std::task::block_on(ask::<AsyncStd>(&arguments[2..])),
        ["announce", "tokio", listen] => on_tokio(lan::announce::<Tokio>(listen)),
        ["announce", _, listen] => async_std::task::block_on(lan::announce::<AsyncStd>(listen)),
        ["find", runtime, listen, count] => match (runtime, count.parse()) {
            ("tokio", Ok(count)) => on_tokio(lan::find::<Tokio>(listen, count)),
            (_, Ok(count)) => async_std::task::block_on(lan::find::<AsyncStd>(listen, count)),
            (_, Err(error)) => Err(error.into()),
        },
        _ => Err("an argument that nobody knows".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", arguments.join(" "));
            ExitCode::FAILURE
        }
    }
}

fn on_tokio(program: impl Future<Output = Outcome>) -> Outcome {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(program)
}

async fn relay(arguments: &[&str]) -> Outcome {
    let [listen, bytes, seconds] = arguments else {
        return Err("relay LISTEN BYTES SECONDS".into());
    };
    let listen: Multiaddr = listen.parse()?;
    let config = RelayConfig {
        max_circuit_bytes: bytes.parse()?,
        max_circuit_duration: Duration::from_secs(seconds.parse()?),
        ..RelayConfig::default()
    };
    let node = Node::<Tokio>::builder().listen(listen.clone()).external_address(listen);
    let node = node.relay_server(config).build().await?;
    println!("{}", node.addresses().await.remove(0));
    pending().await
}

fn name(name: &str) -> ProtocolName {
    ProtocolName::new(name).expect("a protocol name")
}

async fn serve<R: Runtime + Default>(arguments: &[&str]) -> Outcome {
    let [listen, relay] = arguments else { return Err("serve RUNTIME LISTEN RELAY".into()) };
    let circuit = relay.parse::<Multiaddr>()?.with(Protocol::P2pCircuit);
    let node = Node::<R>::builder().listen(listen.parse()?).listen(circuit).build().await?;
    let echo = |request: Request| async move { request.body };
    node.server().register(&name("/echo"), echo)?;
    let hang = |_: Request| pending::<Result<Bytes, HandlerError>>();
    node.server().register(&name("/hang"), hang)?;
    subscription::serve(&node)?;
    let is_circuit = |address: &Multiaddr| address.iter().any(|part| part == Protocol::P2pCircuit);
    let address = node.addresses().await.into_iter().find(is_circuit).ok_or("no reservation")?;
    println!("{address}");
    pending().await
}

async fn ask<R: Runtime + Default>(arguments: &[&str]) -> Outcome {
    let [listen, address, expect] = arguments else {
        return Err("ask RUNTIME LISTEN ADDRESS direct|relayed".into());
    };
    let began = Instant::now();
    let node = Node::<R>::builder().listen(listen.parse()?);
    let node = node.client_config(ClientConfig::default()).build().await?;
    let peer = node.connect(address.parse()?).await?;
    check_echo(&node, peer, 100).await?;
    let relayed = began.elapsed();
    if *expect == Expect::Direct.as_str() {
        let mut subscription = Subscription::open(&node, peer, 1).await?;
        // A machine that is slow enough is direct before it subscribes.
        let moves = !is_direct(&node, peer).await;
        subscription.receive_some(10).await?;
        becomes_direct(&node, peer).await?;
        let direct = began.elapsed();
        // Far more than the relay carries.
        for _ in 0..8 {
            check_echo(&node, peer, MIB).await?;
        }
        if moves {
            subscription.is_resumed(1).await?;
        }
        subscription.is_direct().await?;
        let (numbers, resumed) = subscription.seen();
        println!(
            "through the relay after {relayed:.0?}, direct after {direct:.0?}, 16 MiB moved; \
             {numbers} numbers of a subscription that was resumed {resumed} times"
        );
        return Ok(());
    }
    is_cut_at_the_limit_of_bytes(&node, peer).await?;
    let cut = is_cut_at_the_limit_of_time(&node, peer).await?;
    // It has had the time to punch holes, and could not.
    is_cut_at_the_limit_of_bytes(&node, peer).await?;
    if !node.external_addresses().await.is_empty() {
        return Err("it believes that others can dial it".into());
    }
    let subscriptions = subscription::outlives_limits(&node, peer).await?;
    println!("requests go through the relay; cut at 128 KiB, and after {cut:.0?}; {subscriptions}");
    Ok(())
}

async fn check_echo<R: Runtime>(node: &Node<R>, peer: PeerId, len: usize) -> Outcome {
    let body = noise(len);
    let answer = node.client().send(peer, &name("/echo"), body.clone()).await?;
    if answer == body { Ok(()) } else { Err("another answer".into()) }
}

/// Bytes without any pattern, which do not compress.
fn noise(len: usize) -> Bytes {
    let mut state = len as u64;
    let step = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (state >> 56) as u8
    };
    (0..len).map(step).collect()
}

/// Asks until a stream was opened on another connection.
async fn becomes_direct<R: Runtime>(node: &Node<R>, peer: PeerId) -> Outcome {
    while !is_direct(node, peer).await {
        check_echo(node, peer, 1).await?;
        // Not faster than this, or these requests alone reach the relay's limit.
        Delay::new(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Whether the best path to the peer goes through no relay.
async fn is_direct<R: Runtime>(node: &Node<R>, peer: PeerId) -> bool {
    node.peers().await.iter().any(|info| info.peer == peer && info.path == Path::Direct)
}

async fn is_cut_at_the_limit_of_bytes<R: Runtime>(node: &Node<R>, peer: PeerId) -> Outcome {
    for _ in 0..20 {
        check_echo(node, peer, 100).await?;
    }
    match node.client().send(peer, &name("/echo"), noise(MIB)).idempotent(false).await {
        Err(error) if matches!(error.cause, Cause::RelayLost(_)) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Err("the relay carries 1 MiB, or is not used".into()),
    }
}

async fn is_cut_at_the_limit_of_time<R: Runtime>(
    node: &Node<R>,
    peer: PeerId,
) -> Outcome<Duration> {
    check_echo(node, peer, 100).await?;
    let began = Instant::now();
    match node.client().send(peer, &name("/hang"), "").idempotent(false).await {
        Err(error) if matches!(error.cause, Cause::RelayLost(_)) => Ok(began.elapsed()),
        Err(error) => Err(error.into()),
        Ok(_) => Err("an answer that nobody gave".into()),
    }
}
