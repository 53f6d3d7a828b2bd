//! Two nodes in one process, on real sockets, that know each other by nothing but a Peer ID.
//!
//! ```sh
//! cargo run --example quickstart
//! ```

use std::error::Error;
use std::time::{Duration, Instant};

use pointsub_tokio::{Delivery, HandlerError, Node, ProtocolName, Request};

const CHAT: ProtocolName = ProtocolName::from_static("/chat/1.0.0");
const NOBODY: ProtocolName = ProtocolName::from_static("/nobody/1.0.0");

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    println!("Two nodes start. Each makes itself a key; its Peer ID is the key's fingerprint.");
    let alice = Node::builder().listen("/ip4/127.0.0.1/tcp/0".parse()?).build().await?;
    let bob = Node::builder().build().await?;
    println!("  alice  {}\n  bob    {}\n", alice.peer_id(), bob.peer_id());

    println!("Alice serves {CHAT}: a handler is any async function from a request to an answer.");
    alice.server().register(&CHAT, |request: Request| async move {
        match std::str::from_utf8(&request.body) {
            Ok("") => Err(HandlerError::new(42, "say something")),
            Ok(text) => Ok(format!("alice heard {text:?}")),
            Err(_) => Err(HandlerError::invalid_request("that was no text")),
        }
    })?;

    let address = alice.address().await.ok_or("it listens nowhere")?;
    println!("Bob connects once, to {address}");
    bob.connect(address).await?;
    println!("From here on, all he needs is her Peer ID.\n");

    let client = bob.client();
    for text in ["hello", "how are you?", ""] {
        print!("bob says {text:?}: ");
        match client.send(alice.peer_id(), &CHAT, text).await {
            Ok(answer) => println!("{}", String::from_utf8_lossy(&answer)),
            Err(error) => println!("{error}"),
        }
    }

    println!("\nA thousand calls at once travel together, on one encrypted stream:");
    let before = Instant::now();
    let calls = (0..1000)
        .map(|i| tokio::spawn(client.send(alice.peer_id(), &CHAT, format!("message {i}"))));
    for (i, call) in calls.collect::<Vec<_>>().into_iter().enumerate() {
        assert_eq!(call.await??, format!("alice heard \"message {i}\""));
    }
    let stats = client.stats();
    println!("  1000 answers, each to its question, in {:?}", before.elapsed());
    println!("  streams opened: {}, calls that found one open: {}\n", stats.opens, stats.reused);

    println!("Errors say what to do next:");
    if let Err(error) = client.send(alice.peer_id(), &NOBODY, "hello?").await {
        println!("  {error}");
    }
    if let Err(error) = client.send(bob.peer_id(), &CHAT, "me?").await {
        assert_eq!(error.delivery, Delivery::NotProcessed);
        println!("  {error}");
    }

    alice.shutdown(Duration::from_secs(1)).await;
    bob.shutdown(Duration::from_secs(1)).await;
    println!("\nBoth have shut down. Next: cargo run --example echo -- serve");
    Ok(())
}
