//! This library with its ready-made nodes and their defaults.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pointsub_swarm::{ClientConfig, Node, PeerId, ProtocolName, Request, Runtime, ServerConfig};

use super::{Caller, ECHO, Failure};

/// Serves at an address of libp2p's.
pub(super) async fn serve<R: Runtime>(listen: &str, compress: bool) -> Result<String, Failure> {
    let config = ServerConfig::default().with_compression(compress);
    let node = Node::<R>::builder().listen(listen.parse()?).server_config(config).build().await?;
    node.server().register(&ProtocolName::new(ECHO)?, echo)?;
    let address = node.addresses().await.remove(0).to_string();
    // It serves for as long as the process lives.
    std::mem::forget(node);
    Ok(address)
}

/// The handler.
pub(super) async fn echo(request: Request) -> io::Result<Bytes> {
    Ok(request.body)
}

/// Connects a node.
pub(super) async fn connect<R: Runtime>(
    address: &str,
    compress: bool,
) -> Result<impl Caller, Failure> {
    // A peer that shares its core with two others may take long to answer a first time.
    let config = ClientConfig::default()
        .with_compression(compress)
        .with_connect_timeout(Duration::from_secs(10))
        .with_max_retries(0);
    let node = Node::<R>::builder().client_config(config).build().await?;
    let peer = node.connect(address.parse()?).await?;
    Ok(Connected { protocol: ProtocolName::new(ECHO)?, node: Arc::new(node), peer })
}

struct Connected<R> {
    node: Arc<Node<R>>,
    peer: PeerId,
    protocol: ProtocolName,
}

impl<R> Clone for Connected<R> {
    fn clone(&self) -> Self {
        Self { node: self.node.clone(), peer: self.peer, protocol: self.protocol.clone() }
    }
}

impl<R: Runtime> Caller for Connected<R> {
    async fn call(&self, body: Bytes) -> Result<Bytes, Failure> {
        Ok(self.node.client().send(self.peer, &self.protocol, body).await?)
    }
}
