//! A peer that does not have the protocol says so with a code.

use std::io::ErrorKind;
use std::sync::Arc;

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p_core::upgrade::NegotiationError;
use libp2p_identity::Keypair;
use quinn::VarInt;

use crate::support::{NEW, Node, multiaddr, outbound, run};

/// A peer that does with each stream what `code` says: resets it.
fn refusing(code: u32) -> (quinn::Endpoint, libp2p_core::Multiaddr) {
    let keypair = Keypair::generate_ed25519();
    let tls = libp2p_tls::make_server_config(&keypair).expect("it can sign");
    let tls = quinn::crypto::rustls::QuicServerConfig::try_from(tls).expect("TLS 1.3");
    let config = quinn::ServerConfig::with_crypto(Arc::new(tls));
    let at = ([127, 0, 0, 1], 0).into();
    let endpoint = quinn::Endpoint::server(config, at).expect("a socket");
    let at = multiaddr(endpoint.local_addr().expect("it is bound"));
    let peer = endpoint.clone();
    tokio::spawn(async move {
        let connection = peer.accept().await.expect("it runs").await.expect("a connection");
        while let Ok((mut send, mut recv)) = connection.accept_bi().await {
            send.write_all(b"not read any more").await.expect("written");
            send.reset(VarInt::from_u32(code)).expect("it is open");
            let _ended = recv.stop(VarInt::from_u32(code));
        }
    });
    (endpoint, at)
}

#[test]
fn a_refused_negotiation_is_told_from_other_resets() {
    run(async {
        for (code, is_refused) in [(0x1001, true), (0, false), (0x1002, false)] {
            let (_peer, at) = refusing(code);
            let (_, mut muxer) = Node::new().dial(&at, NEW).await.expect("a connection");
            let mut stream = outbound(&mut muxer).await.expect("a stream");
            stream.write_all(b"anything").await.expect("written");
            let read = stream.read(&mut [0]).await.expect_err("it is reset");
            let written = loop {
                if let Err(error) = stream.write_all(b"more").await {
                    break error;
                }
            };
            for error in [read, written] {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
                let says = matches!(inner, Some(NegotiationError::Failed));
                assert_eq!(says, is_refused, "{error:?}");
            }
        }
    });
}
