//! This library with its ready-made nodes and their defaults.

pub(super) mod typed;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use futures_timer::Delay;
use pointsub_metrics::prometheus::PrometheusRecorder;
use pointsub_swarm::{
    BoxError, Cause, Client, ClientConfig, IncomingCall, LimitPolicy, Node, PeerId, ProtocolName,
    Request, RequestError, Runtime, ServerConfig, StatusCode,
};

use super::feed::Feed;
use super::{Caller, ECHO, Failure, PUSH, ROOM};

/// How often a subscription is asked for again that was refused as `busy`.
const TRIES: u32 = 10;
/// The pause before the first time.
const BUSY: Duration = Duration::from_millis(50);

/// Serves at an address of libp2p's.
pub(super) async fn serve<R: Runtime + Default>(
    listen: &str,
    config: &ServerConfig,
    records: bool,
) -> Result<String, Failure> {
    let node = Node::<R>::builder().listen(listen.parse()?).server_config(config.clone());
    let node = if records { node.recorder(recorder()) } else { node };
    let node = node.build().await?;
    node.server().register(&ProtocolName::new(ECHO)?, echo)?;
    node.server().register_call(&ProtocolName::new(PUSH)?, push)?;
    typed::serve(&node.server())?;
    let address = node.addresses().await.remove(0).to_string();
    // It serves for as long as the process lives.
    std::mem::forget(node);
    Ok(address)
}

/// A recorder that nobody reads.
fn recorder() -> Arc<PrometheusRecorder> {
    Arc::default()
}

/// The handler.
pub(super) async fn echo(request: Request) -> io::Result<Bytes> {
    Ok(request.body)
}

/// The handler of calls.
async fn push(call: IncomingCall) -> Result<(), BoxError> {
    let mut sender = call.sender;
    let mut messages = Feed::decode(&call.argument)?.messages();
    while let Some(message) = messages.next().await {
        sender.send(message).await?;
    }
    Ok(())
}

/// A server with the default limits.
pub(super) fn server(compress: bool) -> ServerConfig {
    ServerConfig::default().with_compression(compress)
}

/// A server that works on twice as many requests as 10 000 streams have: full to the brim, every
/// peer has but its fair share.
pub(super) fn roomy_server() -> ServerConfig {
    server(false).with_max_concurrent_requests(20_000).with_limit_policy(LimitPolicy::Fixed)
}

/// A client with the default limits.
pub(super) fn client(compress: bool) -> ClientConfig {
    // A peer that shares its core with two others may take long to answer a first time.
    ClientConfig::default()
        .with_compression(compress)
        .with_connect_timeout(Duration::from_secs(10))
        .with_max_retries(0)
}

/// A client that opens more streams to a peer, and keeps all of them.
pub(super) fn roomy_client() -> ClientConfig {
    client(false)
        .with_max_streams_per_peer(ROOM)
        .with_max_idle_streams_per_peer(ROOM)
        .with_max_idle_streams(10_000)
}

/// Connects a node to all those servers; `caller` makes what asks each of them.
pub(super) async fn connect<R: Runtime + Default, C>(
    addresses: &[&str],
    config: &ClientConfig,
    records: bool,
    caller: impl Fn(Client, PeerId) -> Result<C, Failure>,
) -> Result<Vec<C>, Failure> {
    let node = Node::<R>::builder().client_config(config.clone());
    let node = if records { node.recorder(recorder()) } else { node };
    let node = node.build().await?;
    let mut callers = Vec::new();
    for address in addresses {
        let peer = node.connect(address.parse()?).await?;
        callers.push(caller(node.client(), peer)?);
    }
    // It stays connected for as long as the process lives.
    std::mem::forget(node);
    Ok(callers)
}

fn is_busy(error: &RequestError) -> bool {
    matches!(&error.cause, Cause::Remote(status) if status.code == StatusCode::Busy)
}

/// A client and one of its servers.
#[derive(Clone)]
pub(super) struct Connected {
    client: Client,
    peer: PeerId,
    protocol: ProtocolName,
}

impl Connected {
    pub(super) fn new(client: Client, peer: PeerId) -> Result<Self, Failure> {
        Ok(Self { client, peer, protocol: ProtocolName::new(ECHO)? })
    }
}

impl Caller for Connected {
    async fn call(&self, body: Bytes) -> Result<Bytes, Failure> {
        Ok(self.client.send(self.peer, &self.protocol, body).await?.into_body())
    }

    async fn subscribe(
        &self,
        feed: Feed,
    ) -> Result<BoxStream<'static, Result<Bytes, Failure>>, Failure> {
        let protocol = ProtocolName::new(PUSH)?;
        let open = || self.client.open(self.peer, &protocol, feed.encode()).receive_only();
        let mut tries = 0;
        let call = loop {
            match open().await {
                // Thousands at once can be more than a server takes: with the default, a client asks again.
                Err(error) if is_busy(&error) && tries < TRIES => {
                    tries += 1;
                    Delay::new(BUSY * tries).await;
                }
                opened => break opened?,
            }
        };
        Ok(call.err_into().boxed())
    }

    fn streams(&self) -> usize {
        let streams = self.client.streams();
        streams.iter().filter(|stream| stream.peer == self.peer).count()
    }
}

/// The same, which names a method with every request.
#[derive(Clone)]
pub(super) struct Named(Connected);

impl Named {
    pub(super) fn new(client: Client, peer: PeerId) -> Result<Self, Failure> {
        Connected::new(client, peer).map(Self)
    }
}

impl Caller for Named {
    async fn call(&self, body: Bytes) -> Result<Bytes, Failure> {
        let Connected { client, peer, protocol } = &self.0;
        Ok(client.send(*peer, protocol, body).method("echo").await?.into_body())
    }
}
