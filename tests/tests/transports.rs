//! What the tokio adapter has beyond plain TCP: QUIC and DNS names.

use bytes::Bytes;
use pointsub_tokio::{Multiaddr, Node, ProtocolName, Request};

fn echo() -> ProtocolName {
    ProtocolName::new("/echo/1.0.0").expect("a protocol name")
}

async fn server(listen: &[&str]) -> Node {
    let listen = listen.iter().map(|address| address.parse().expect("an address"));
    let node = listen.fold(Node::builder(), |builder, address| builder.listen(address));
    let node = node.build().await.expect("a node");
    let handler = |request: Request| async move { Ok::<_, std::io::Error>(request.body) };
    node.server().register(&echo(), handler).expect("first");
    node
}

async fn check_echo(from: &Node, to: &Node, len: usize) {
    let body = Bytes::from(vec![len as u8; len]);
    let answer = from.client().send(to.peer_id(), &echo(), body.clone()).await;
    assert!(answer.expect("an echo") == body);
}

fn is_quic(address: &Multiaddr) -> bool {
    address.to_string().contains("/quic-v1")
}

#[tokio::test]
async fn requests_go_over_quic() {
    let server = server(&["/ip4/127.0.0.1/udp/0/quic-v1", "/ip6/::1/udp/0/quic-v1"]).await;
    let addresses = server.addresses().await;
    assert!(addresses.len() == 2 && addresses.iter().all(is_quic), "{addresses:?}");
    for address in addresses {
        let node = Node::builder().build().await.expect("a node");
        assert_eq!(node.connect(address).await.expect("it listens"), server.peer_id());
        for len in [0, 1, 70_000, 5 << 20] {
            check_echo(&node, &server, len).await;
        }
    }
}

#[tokio::test]
async fn one_node_listens_on_tcp_and_quic() {
    let server = server(&["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"]).await;
    for address in server.addresses().await {
        let node = Node::builder().build().await.expect("a node");
        node.connect(address).await.expect("it listens");
        check_echo(&node, &server, 100).await;
    }
}

#[tokio::test]
async fn a_name_can_be_dialled() {
    let server = server(&["/ip4/127.0.0.1/tcp/0"]).await;
    let address = server.addresses().await.remove(0).to_string();
    let named = address.replace("/ip4/127.0.0.1/", "/dns4/localhost/");
    assert_ne!(named, address);
    let node = Node::builder().build().await.expect("a node");
    let peer = node.connect(named.parse().expect("an address")).await.expect("it listens");
    assert_eq!(peer, server.peer_id());
    check_echo(&node, &server, 100).await;
}

#[tokio::test]
async fn a_raw_stream_goes_over_quic() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let server = server(&["/ip4/127.0.0.1/udp/0/quic-v1"]).await;
    let raw = ProtocolName::new("/raw").expect("a protocol name");
    let mut listener = server.server().listen(&raw).expect("first");
    let node = Node::builder().build().await.expect("a node");
    let peer = node.connect(server.addresses().await.remove(0)).await.expect("it listens");
    let mut one = node.client().dial(peer, &raw).await.expect("it listens");
    one.write_all(b"over UDP").await.expect("written");
    one.shutdown().await.expect("closed");
    let mut two = listener.accept().await.expect("it runs");
    let mut heard = String::new();
    two.read_to_string(&mut heard).await.expect("an end");
    assert_eq!(heard, "over UDP");
    two.write_all(b"and back").await.expect("written");
    two.shutdown().await.expect("closed");
    let mut answer = String::new();
    one.read_to_string(&mut answer).await.expect("an end");
    assert_eq!(answer, "and back");
}
