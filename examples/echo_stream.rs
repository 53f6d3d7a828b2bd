//! Streams in both directions: what goes out as a stream comes back as one, while more goes out.
//!
//! ```sh
//! cargo run --example echo_stream
//! ```

use std::error::Error;
use std::time::Duration;

use futures::{SinkExt, StreamExt, stream};
use pointsub_tokio::{HandlerError, IncomingCall, Node, ProtocolName};

const ECHO: ProtocolName = ProtocolName::from_static("/echo-stream/1.0.0");
const MESSAGES: usize = 5;

/// Sends back what comes, as it comes.
async fn echo(call: IncomingCall) -> Result<String, HandlerError> {
    let IncomingCall { mut sender, mut receiver, .. } = call;
    let mut count = 0;
    while let Some(message) = receiver.recv().await? {
        // Waits for a client that does not read, and then nothing more is read from it.
        sender.send(message).await?;
        count += 1;
    }
    Ok(format!("{count} messages"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = Node::builder().listen("/ip4/127.0.0.1/tcp/0".parse()?).build().await?;
    server.server().register_call(&ECHO, echo)?;
    let client = Node::builder().build().await?;
    let peer = client.connect(server.address().await.ok_or("it listens nowhere")?).await?;

    // The two halves are a sink and a stream, for two tasks. The one that receives gets the result too.
    let (mut sender, mut receiver) = client.client().open(peer, &ECHO, "").await?.split();
    let sending = tokio::spawn(async move {
        let messages = (1..=MESSAGES).map(|number| Ok(format!("message {number}").into()));
        sender.send_all(&mut stream::iter(messages)).await?;
        // Says that no more come.
        sender.close().await
    });
    while let Some(message) = receiver.next().await {
        println!("echo: {}", String::from_utf8_lossy(&message?));
    }
    println!("result: {}", receiver.finish().await?.text()?);
    sending.await??;

    // One message at a time, and the result behind the last.
    let mut call = client.client().open(peer, &ECHO, "").await?;
    for text in ["ping", "pong"] {
        call.send(text).await?;
        let message = call.recv().await?.ok_or("it ended early")?;
        println!("{text}: {}", String::from_utf8_lossy(&message));
    }
    println!("result: {}", call.finish().await?.text()?);

    client.shutdown(Duration::from_secs(1)).await;
    server.shutdown(Duration::from_secs(1)).await;
    Ok(())
}
