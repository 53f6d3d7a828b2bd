//! Two nodes on smol: requests, and a stream of bytes.
//!
//! ```sh
//! cargo run --example smol
//! ```

use std::error::Error;
use std::time::Duration;

use pointsub_async_std::{ProtocolName, Request, SmolNode};
use smol::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

fn main() -> Result<(), Box<dyn Error>> {
    smol::block_on(talk())
}

async fn talk() -> Result<(), Box<dyn Error>> {
    let alice = SmolNode::builder().listen("/ip4/127.0.0.1/tcp/0".parse()?).build().await?;
    let bob = SmolNode::builder().build().await?;

    let shout = ProtocolName::new("/shout/1.0.0")?;
    alice
        .server()
        .register(&shout, |request: Request| async move { request.body.to_ascii_uppercase() })?;
    let count = ProtocolName::new("/count/1.0.0")?;
    let mut listener = alice.server().listen(&count)?;
    smol::spawn(async move {
        while let Some(mut stream) = listener.accept().await {
            for number in 1..=3 {
                stream.write_all(format!("{number}\n").as_bytes()).await?;
            }
            stream.close().await?;
        }
        Ok::<_, std::io::Error>(())
    })
    .detach();

    bob.connect(alice.address().await.ok_or("it listens nowhere")?).await?;
    let answer = bob.client().send(alice.peer_id(), &shout, "hello from smol").await?;
    println!("a request: {}", String::from_utf8_lossy(&answer));

    let mut lines = BufReader::new(bob.client().dial(alice.peer_id(), &count).await?);
    let mut line = String::new();
    while lines.read_line(&mut line).await? > 0 {
        print!("a line of a stream: {line}");
        line.clear();
    }

    bob.shutdown(Duration::from_secs(1)).await;
    alice.shutdown(Duration::from_secs(1)).await;
    Ok(())
}
