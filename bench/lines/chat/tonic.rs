//! Chat rooms with presence, with tonic.

mod proto {
    tonic::include_proto!("chat");
}

use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::sync::{Arc, Mutex};

use proto::chat_client::ChatClient;
use proto::chat_server::{Chat, ChatServer};
use proto::event::Event as Kind;
use proto::said::Said as Saying;
use proto::{Enter, Event, Line, Members, Said};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status, Streaming};

struct Room {
    names: Mutex<BTreeSet<String>>,
    events: broadcast::Sender<Kind>,
}

/// Somebody in a room, who leaves it when this is dropped.
struct Member(Arc<Room>, String);

impl Member {
    fn enter(room: Arc<Room>, name: String) -> Self {
        let _ = room.events.send(Kind::Came(name.clone()));
        room.names.lock().unwrap().insert(name.clone());
        Self(room, name)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.0.names.lock().unwrap().remove(&self.1);
        let _ = self.0.events.send(Kind::Left(self.1.clone()));
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

type Events = mpsc::Sender<Result<Event, Status>>;

/// Until the client is gone.
async fn join(room: Arc<Room>, name: String, mut said: Streaming<Said>, events: Events) {
    let _member = Member::enter(room.clone(), name.clone());
    let mut new = room.events.subscribe();
    let names = room.names.lock().unwrap().iter().cloned().collect();
    let mut event = Kind::Here(Members { names });
    loop {
        if events.send(Ok(Event { event: Some(event) })).await.is_err() {
            return;
        }
        event = loop {
            tokio::select! {
                said = said.message() => match said {
                    Ok(Some(Said { said: Some(Saying::Text(text)) })) => {
                        let _ = room.events.send(Kind::Line(Line { from: name.clone(), text }));
                    }
                    _ => return,
                },
                Ok(event) = new.recv() => break event,
            }
        };
    }
}

#[tonic::async_trait]
impl Chat for Rooms {
    type JoinStream = ReceiverStream<Result<Event, Status>>;

    async fn join(
        &self,
        request: Request<Streaming<Said>>,
    ) -> Result<Response<Self::JoinStream>, Status> {
        let mut said = request.into_inner();
        let Some(Said { said: Some(Saying::Enter(enter)) }) = said.message().await? else {
            return Err(Status::invalid_argument("say first who enters which room"));
        };
        let (tx, rx) = mpsc::channel(16);
        tokio::spawn(join(self.room(enter.room), enter.name, said, tx));
        Ok(Response::new(ReceiverStream::new(rx)))
    }
}

async fn enter(
    mut chat: ChatClient<Channel>,
    name: &str,
) -> Result<(mpsc::Sender<Said>, Streaming<Event>), Box<dyn Error>> {
    let (tx, rx) = mpsc::channel(16);
    let enter = Enter { room: "lobby".into(), name: name.into() };
    tx.send(Said { said: Some(Saying::Enter(enter)) }).await?;
    Ok((tx, chat.join(ReceiverStream::new(rx)).await?.into_inner()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let server = Server::builder().add_service(ChatServer::new(Rooms::default()));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));

    let chat = ChatClient::connect(address).await?;
    let (_alice, mut events) = enter(chat.clone(), "alice").await?;
    println!("{:?}", events.message().await?);
    let (bob, mut bobs) = enter(chat, "bob").await?;
    println!("{:?} {:?}", bobs.message().await?, events.message().await?);
    bob.send(Said { said: Some(Saying::Text("hello".into())) }).await?;
    println!("{:?} {:?}", events.message().await?, bobs.message().await?);
    drop((bob, bobs));
    println!("{:?}", events.message().await?);
    Ok(())
}
