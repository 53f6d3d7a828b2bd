// Included by `program.rs`, with `pointsub` as the crate of one runtime.

use std::error::Error;
use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt};
use pointsub::{
    ClientConfig, Delivery, HandlerError, Hedge, Keypair, Node, NodeError, ProtocolName, Request,
    RequestError, ServerConfig,
};

async fn reverse(request: Request) -> Result<Vec<u8>, HandlerError> {
    match &request.body[..] {
        b"" => Err(HandlerError::new(42, "nothing to reverse")),
        body => Ok(body.iter().rev().copied().collect()),
    }
}

async fn node() -> Result<Node, NodeError> {
    Node::builder()
        .keypair(Keypair::generate_ed25519())
        .listen("/ip4/127.0.0.1/tcp/0".parse().expect("an address"))
        .server_config(ServerConfig::default().with_max_block_size(1024))
        .client_config(ClientConfig::default().with_max_retries(1))
        .build()
        .await
}

pub(super) async fn program() -> Result<(), Box<dyn Error>> {
    let name = ProtocolName::new("/reverse/1.0.0")?;
    let raw = ProtocolName::new("/raw/1.0.0")?;
    let (alice, bob) = (node().await?, node().await?);
    let mut listener = alice.server().listen(&raw)?;
    alice.server().register(&name, reverse)?;
    let peer = bob.connect(alice.addresses().await.remove(0)).await?;
    assert_eq!(peer, alice.peer_id());

    let client = bob.client();
    let call = client.send(peer, &name, "stressed").timeout(Duration::from_secs(30));
    assert_eq!(call.await?, "desserts");
    let error: RequestError = client.send(peer, &name, "").await.expect_err("it is empty");
    assert_eq!(error.delivery, Delivery::Processed, "the handler saw it");

    client.add_server_node(&name, peer)?;
    let answer = client.send_closest(&name, "live").hedge(Hedge::after(Duration::from_secs(1)));
    let answer = answer.await?;
    assert_eq!((&answer[..], answer.peer()), (&b"evil"[..], peer));

    let mut stream = client.dial(peer, &raw).await?;
    AsyncWriteExt::close(&mut stream).await?;
    let mut accepted = listener.accept().await.ok_or("the server runs")?;
    let mut bytes = Vec::new();
    assert_eq!(AsyncReadExt::read_to_end(&mut accepted, &mut bytes).await?, 0);
    drop((stream, accepted));

    assert_eq!(client.stats().ok, 2);
    alice.pointsub().stop(Duration::from_secs(1)).await;
    alice.shutdown(Duration::from_secs(1)).await;
    bob.shutdown(Duration::from_secs(1)).await;
    Ok(())
}
