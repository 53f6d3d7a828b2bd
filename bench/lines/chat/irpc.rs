//! Chat rooms with presence, with irpc.

use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use irpc::channel::mpsc;
use irpc::rpc::{RemoteService, listen};
use irpc::util::{make_client_endpoint, make_server_endpoint};
use irpc::{Client, WithChannels, rpc_requests};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Event {
    Here(BTreeSet<String>),
    Came(String),
    Left(String),
    Line { from: String, text: String },
}

#[rpc_requests(message = ChatMessage)]
#[derive(Debug, Serialize, Deserialize)]
enum ChatProtocol {
    /// Enters a room, until what is said ends or nobody receives the events any more.
    #[rpc(rx=mpsc::Receiver<String>, tx=mpsc::Sender<Event>)]
    #[wrap(Join)]
    Join { room: String, name: String },
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
struct Rooms(HashMap<String, Arc<Room>>);

impl Rooms {
    fn room(&mut self, name: String) -> Arc<Room> {
        let room = || Room { names: Mutex::default(), events: broadcast::Sender::new(256) };
        self.0.entry(name).or_insert_with(|| Arc::new(room())).clone()
    }
}

async fn join(room: Arc<Room>, join: WithChannels<Join, ChatProtocol>) -> irpc::Result<()> {
    let WithChannels { inner: Join { name, .. }, tx, mut rx, .. } = join;
    let _member = Member::enter(room.clone(), name.clone());
    let mut new = room.events.subscribe();
    let here = room.names.lock().unwrap().clone();
    tx.send(Event::Here(here)).await?;
    loop {
        tokio::select! {
            text = rx.recv() => match text? {
                Some(text) => {
                    let _ = room.events.send(Event::Line { from: name.clone(), text });
                }
                None => return Ok(()),
            },
            Ok(event) = new.recv() => tx.send(event).await?,
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    let (endpoint, certificate) = make_server_endpoint(any)?;
    let address = endpoint.local_addr()?;
    let (tx, mut rx) = tokio::sync::mpsc::channel(16);
    tokio::spawn(async move {
        let mut rooms = Rooms::default();
        while let Some(ChatMessage::Join(call)) = rx.recv().await {
            tokio::spawn(join(rooms.room(call.room.clone()), call));
        }
    });
    let local = Client::<ChatProtocol>::local(tx).as_local().ok_or("it is local")?;
    tokio::spawn(listen(endpoint, ChatProtocol::remote_handler(local)));

    let endpoint = make_client_endpoint(any, &[&certificate])?;
    let chat = Client::<ChatProtocol>::noq(endpoint, address);
    let enter = |name: &str| Join { room: "lobby".into(), name: name.into() };
    let (_alice, mut events) = chat.bidi_streaming(enter("alice"), 16, 16).await?;
    println!("{:?}", events.recv().await?);
    let (bob, mut bobs) = chat.bidi_streaming(enter("bob"), 16, 16).await?;
    println!("{:?} {:?}", bobs.recv().await?, events.recv().await?);
    bob.send("hello".into()).await?;
    println!("{:?} {:?}", events.recv().await?, bobs.recv().await?);
    drop((bob, bobs));
    println!("{:?}", events.recv().await?);
    Ok(())
}
