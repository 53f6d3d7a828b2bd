//! A chat room: whoever is in it has one call open, on which the room pushes what others say, and who
//! comes and goes.
//!
//! ```sh
//! cargo run --example chat
//! ```

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pointsub_tokio::{
    HandlerError, IncomingCall, Node, PeerId, ProtocolName, RequestError, StreamingCall,
};
use tokio::sync::broadcast::{self, error::RecvError};

const ROOM: ProtocolName = ProtocolName::from_static("/chat-room/1.0.0");

/// What the members of the room share.
struct Room {
    lines: broadcast::Sender<String>,
    members: Mutex<BTreeSet<String>>,
}

impl Room {
    fn tell(&self, line: String) {
        // It fails where nobody is there to hear it.
        let _heard = self.lines.send(line);
    }

    fn members(&self) -> String {
        let members = self.members.lock().expect("nobody panics with it");
        members.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

/// A member for as long as this lives: it is dropped with the handler, however the call ends.
struct Member {
    room: Arc<Room>,
    name: String,
}

impl Member {
    fn enter(room: &Arc<Room>, name: &str) -> Self {
        room.members.lock().expect("nobody panics with it").insert(name.to_owned());
        room.tell(format!("* {name} has come"));
        Self { room: room.clone(), name: name.to_owned() }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.room.members.lock().expect("nobody panics with it").remove(&self.name);
        self.room.tell(format!("* {} has gone", self.name));
    }
}

/// Handles the call of one member, whose name is the argument.
async fn attend(room: Arc<Room>, call: IncomingCall) -> Result<String, HandlerError> {
    let IncomingCall { argument, mut sender, mut receiver, .. } = call;
    let name = std::str::from_utf8(&argument)?.to_owned();
    let mut lines = room.lines.subscribe();
    let _member = Member::enter(&room, &name);
    sender.send(format!("* here are: {}", room.members())).await?;
    loop {
        tokio::select! {
            said = receiver.recv() => match said? {
                Some(text) => room.tell(format!("{name}: {}", String::from_utf8_lossy(&text))),
                None => return Ok(format!("goodbye, {name}")),
            },
            // Whoever reads slowly misses lines instead of holding up the room.
            line = lines.recv() => match line {
                Ok(line) => sender.send(line).await?,
                Err(RecvError::Lagged(count)) => sender.send(format!("* {count} lines missed")).await?,
                Err(RecvError::Closed) => return Ok("the room is closed".to_owned()),
            },
        }
    }
}

/// Somebody with a node of its own.
struct Guest {
    name: &'static str,
    node: Node,
    call: StreamingCall,
}

impl Guest {
    async fn join(name: &'static str, server: &Node) -> Result<Self, Box<dyn Error>> {
        let node = Node::builder().build().await?;
        let peer: PeerId = node.connect(server.address().await.ok_or("it listens")?).await?;
        let call = node.client().open(peer, &ROOM, name).await?;
        Ok(Self { name, node, call })
    }

    async fn say(&mut self, text: &'static str) -> Result<(), RequestError> {
        self.call.send(text).await
    }

    /// Prints the next lines that the room pushes.
    async fn sees(&mut self, lines: usize) -> Result<(), Box<dyn Error>> {
        for _ in 0..lines {
            let line = self.call.recv().await?.ok_or("the room has closed")?;
            println!("{:>6} | {}", self.name, String::from_utf8_lossy(&line));
        }
        Ok(())
    }

    async fn leave(self) -> Result<(), Box<dyn Error>> {
        let goodbye = self.call.finish().await?;
        println!("{:>6} | = {}", self.name, goodbye.text()?);
        self.node.shutdown(Duration::from_secs(1)).await;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = Node::builder().listen("/ip4/127.0.0.1/tcp/0".parse()?).build().await?;
    let (lines, members) = (broadcast::Sender::new(256), Mutex::default());
    let room = Arc::new(Room { lines, members });
    server.server().register_call(&ROOM, move |call| attend(room.clone(), call))?;

    let mut alice = Guest::join("alice", &server).await?;
    alice.sees(2).await?;
    let mut bob = Guest::join("bob", &server).await?;
    bob.sees(2).await?;
    alice.sees(1).await?;
    alice.say("hello, bob").await?;
    alice.sees(1).await?;
    bob.sees(1).await?;
    bob.say("hello, alice").await?;
    bob.sees(1).await?;
    alice.sees(1).await?;
    // Without a word, as when a machine is switched off.
    drop(bob);
    alice.sees(1).await?;
    alice.leave().await?;
    server.shutdown(Duration::from_secs(1)).await;
    Ok(())
}
