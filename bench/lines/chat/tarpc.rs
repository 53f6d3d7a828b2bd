//! Chat rooms with presence, with tarpc. It has no streams: who is in a room asks again and again what has
//! happened, and who has not asked for a while has left.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tarpc::serde_transport::tcp;
use tarpc::server::{BaseChannel, Channel};
use tarpc::tokio_serde::formats::Bincode;
use tarpc::{client, context};
use tokio::sync::watch;
use tokio::time::{interval, timeout};

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Event {
    Here(BTreeSet<String>),
    Came(String),
    Left(String),
    Line { from: String, text: String },
}

#[tarpc::service]
trait Chat {
    /// Enters a room. Says who is there, and after how many events.
    async fn join(room: String, name: String) -> (Event, usize);
    async fn say(room: String, name: String, text: String);
    async fn leave(room: String, name: String);
    /// What has happened since, when something has, and how many events there were.
    async fn events(room: String, name: String, since: usize) -> (Vec<Event>, usize);
}

/// How long a request for events waits, and how long somebody stays who does not ask.
const WAIT: Duration = Duration::from_secs(5);
const STAY: Duration = Duration::from_secs(15);

#[derive(Default)]
struct Room {
    /// With when they have asked last.
    names: Mutex<BTreeMap<String, Instant>>,
    events: watch::Sender<Vec<Event>>,
}

impl Room {
    fn tell(&self, event: Event) {
        self.events.send_modify(|all| all.push(event));
    }

    fn remove(&self, name: String) {
        if self.names.lock().unwrap().remove(&name).is_some() {
            self.tell(Event::Left(name));
        }
    }

    fn remove_silent(&self) {
        let names = self.names.lock().unwrap().clone();
        for (name, _) in names.into_iter().filter(|(_, asked)| asked.elapsed() > STAY) {
            self.remove(name);
        }
    }
}

#[derive(Clone, Default)]
struct Rooms(Arc<Mutex<HashMap<String, Arc<Room>>>>);

impl Rooms {
    fn room(&self, name: String) -> Arc<Room> {
        self.0.lock().unwrap().entry(name).or_default().clone()
    }
}

impl Chat for Rooms {
    async fn join(self, _: context::Context, room: String, name: String) -> (Event, usize) {
        let room = self.room(room);
        room.tell(Event::Came(name.clone()));
        let mut names = room.names.lock().unwrap();
        names.insert(name, Instant::now());
        (Event::Here(names.keys().cloned().collect()), room.events.borrow().len())
    }

    async fn say(self, _: context::Context, room: String, name: String, text: String) {
        self.room(room).tell(Event::Line { from: name, text });
    }

    async fn leave(self, _: context::Context, room: String, name: String) {
        self.room(room).remove(name);
    }

    async fn events(
        self,
        _: context::Context,
        room: String,
        name: String,
        since: usize,
    ) -> (Vec<Event>, usize) {
        let room = self.room(room);
        if let Some(asked) = room.names.lock().unwrap().get_mut(&name) {
            *asked = Instant::now();
        }
        let mut events = room.events.subscribe();
        let _ = timeout(WAIT, events.wait_for(|all| all.len() > since)).await;
        let all = room.events.borrow();
        (all.iter().skip(since).cloned().collect(), all.len())
    }
}

struct Member {
    chat: ChatClient,
    name: String,
    seen: usize,
}

impl Member {
    async fn enter(chat: ChatClient, name: &str) -> Result<(Self, Event), Box<dyn Error>> {
        let (here, seen) = chat.join(context::current(), "lobby".into(), name.into()).await?;
        Ok((Self { chat, name: name.into(), seen }, here))
    }

    async fn recv(&mut self) -> Result<Vec<Event>, Box<dyn Error>> {
        loop {
            let (cx, room, name) = (context::current(), "lobby".into(), self.name.clone());
            let (events, seen) = self.chat.events(cx, room, name, self.seen).await?;
            self.seen = seen;
            if !events.is_empty() {
                return Ok(events);
            }
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut listener = tcp::listen("127.0.0.1:0", Bincode::default).await?;
    let address = listener.local_addr();
    let rooms = Rooms::default();
    let watched = rooms.clone();
    tokio::spawn(async move {
        let mut interval = interval(WAIT);
        loop {
            interval.tick().await;
            let rooms: Vec<_> = watched.0.lock().unwrap().values().cloned().collect();
            rooms.iter().for_each(|room| room.remove_silent());
        }
    });
    tokio::spawn(async move {
        while let Some(Ok(transport)) = listener.next().await {
            let requests = BaseChannel::with_defaults(transport).execute(rooms.clone().serve());
            tokio::spawn(requests.for_each(|request| async {
                tokio::spawn(request);
            }));
        }
    });

    let transport = tcp::connect(address, Bincode::default).await?;
    let chat = ChatClient::new(client::Config::default(), transport).spawn();
    let (mut alice, here) = Member::enter(chat.clone(), "alice").await?;
    println!("{here:?}");
    let (mut bob, here) = Member::enter(chat.clone(), "bob").await?;
    println!("{here:?} {:?}", alice.recv().await?);
    let cx = context::current;
    chat.say(cx(), "lobby".into(), "bob".into(), "hello".into()).await?;
    println!("{:?} {:?}", alice.recv().await?, bob.recv().await?);
    chat.leave(cx(), "lobby".into(), "bob".into()).await?;
    println!("{:?}", alice.recv().await?);
    Ok(())
}
