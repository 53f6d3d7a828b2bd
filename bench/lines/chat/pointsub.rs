//! Chat rooms with presence, with PointSub.

use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::sync::{Arc, Mutex};

use pointsub_tokio::service::{Cx, Failure, Rx, Tx};
use pointsub_tokio::{Node, service};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Event {
    Here(BTreeSet<String>),
    Came(String),
    Left(String),
    Line { from: String, text: String },
}

#[service("/chat/1")]
trait Chat {
    /// Enters a room, until `said` ends or the call is dropped.
    async fn join(
        &self,
        cx: &Cx,
        room: String,
        name: String,
        said: Rx<String>,
        events: Tx<Event>,
    ) -> Result<(), Failure>;
}

struct Room {
    names: Mutex<BTreeSet<String>>,
    events: broadcast::Sender<Event>,
}

/// Somebody in a room, who leaves it when this is dropped.
struct Member(Arc<Room>, String);

impl Member {
    fn enter(room: Arc<Room>, name: String) -> Self {
        let _ = room.events.send(Event::Came(name.clone()));
        room.names.lock().unwrap().insert(name.clone());
        Self(room, name)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.0.names.lock().unwrap().remove(&self.1);
        let _ = self.0.events.send(Event::Left(self.1.clone()));
    }
}

#[derive(Default)]
struct Rooms(Mutex<HashMap<String, Arc<Room>>>);

impl Rooms {
    fn room(&self, name: String) -> Arc<Room> {
        let room = || Room { names: Mutex::default(), events: broadcast::Sender::new(256) };
        self.0.lock().unwrap().entry(name).or_insert_with(|| Arc::new(room())).clone()
    }
}

impl Chat for Rooms {
    async fn join(
        &self,
        _cx: &Cx,
        room: String,
        name: String,
        mut said: Rx<String>,
        mut events: Tx<Event>,
    ) -> Result<(), Failure> {
        let room = self.room(room);
        let _member = Member::enter(room.clone(), name.clone());
        let mut new = room.events.subscribe();
        let here = room.names.lock().unwrap().clone();
        events.send(Event::Here(here)).await?;
        loop {
            tokio::select! {
                text = said.recv() => match text? {
                    Some(text) => {
                        let _ = room.events.send(Event::Line { from: name.clone(), text });
                    }
                    None => return Ok(()),
                },
                Ok(event) = new.recv() => events.send(event).await?,
            }
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = Node::builder().listen("/ip4/127.0.0.1/tcp/0".parse()?).build().await?;
    ChatServer::new(Rooms::default()).serve(server.server())?;

    let node = Node::builder().build().await?;
    let peer = node.connect(server.address().await.ok_or("no address")?).await?;
    let chat = ChatClient::peer(node.client(), peer);
    let mut alice = chat.join("lobby".into(), "alice".into()).await?;
    println!("{:?}", alice.recv().await?);
    let mut bob = chat.join("lobby".into(), "bob".into()).await?;
    println!("{:?} {:?}", bob.recv().await?, alice.recv().await?);
    bob.send("hello".into()).await?;
    println!("{:?} {:?}", alice.recv().await?, bob.recv().await?);
    drop(bob);
    println!("{:?}", alice.recv().await?);
    Ok(())
}
