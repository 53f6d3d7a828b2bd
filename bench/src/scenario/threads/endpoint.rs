//! The machines of one connection, at both ends, over endpoints that connections may share behind a
//! lock each. Locks are taken where `pointsub-swarm` takes them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use pointsub_core::connection::{ClientStream, ServerStream, ServerStreamEvent, StreamCommand};
use pointsub_core::endpoint::{
    Admission, CallOptions, ClientEvent, Directive, Dispatcher, StreamKey,
};
use pointsub_core::{
    Body, ClientConfig, Format, PeerId, ProtocolName, RequestId, ServerConfig, StreamEvent,
    StreamId, StreamOp, Timestamp,
};
use slotmap::SecondaryMap;

const PROTOCOL: &str = "/echo";
const BODY: &[u8] = &[7; 32];

/// The server's half of an endpoint.
pub(super) type ServerEndpoint = Arc<Mutex<Admission>>;

/// The client's half of an endpoint.
pub(super) type ClientEndpoint = Arc<Mutex<Requests>>;

/// The dispatcher, and what it wants done.
pub(super) struct Requests {
    dispatcher: Dispatcher,
    /// Who waits for which request: the number of a connection.
    waiters: SecondaryMap<RequestId, usize>,
    /// What connections are to do, by stream.
    mailboxes: SecondaryMap<StreamId, Vec<Start>>,
    /// Answers that connections have not counted yet.
    answered: Vec<usize>,
    /// A stream that is to be opened.
    open: Option<StreamId>,
}

/// A request that is to be sent.
struct Start {
    request: RequestId,
    body: Body,
}

/// How long a lock was held.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Held {
    pub(super) time: Duration,
    pub(super) sections: u64,
}

/// Both ends of one connection, with nothing between them.
pub(super) struct Connection {
    number: usize,
    peer: PeerId,
    at_client: ClientEndpoint,
    at_server: ServerEndpoint,
    id: StreamId,
    asks: ClientStream,
    serves: ServerStream,
    /// The name of its stream at the server.
    key: StreamKey,
    /// Bytes from the client that the server has not looked at.
    news: Option<StreamEvent>,
    start: Instant,
    /// Whether to read the clock under locks.
    timed: bool,
    /// Under the lock of the server, and of the client.
    pub(super) held: [Held; 2],
}

/// A server's half.
pub(super) fn server() -> ServerEndpoint {
    let mut admission = Admission::new(&server_config());
    admission.register(&protocol()).expect("the first");
    Arc::new(Mutex::new(admission))
}

/// A client's half, for so many connections.
pub(super) fn client(connections: usize) -> ClientEndpoint {
    let dispatcher = Dispatcher::new(client_config(), None, 0);
    Arc::new(Mutex::new(Requests {
        dispatcher,
        waiters: SecondaryMap::new(),
        mailboxes: SecondaryMap::new(),
        answered: vec![0; connections],
        open: None,
    }))
}

impl Connection {
    /// Connects, as the connection of this number of both endpoints, with so many requests under way.
    pub(super) fn open(
        number: usize,
        at_client: &ClientEndpoint,
        at_server: &ServerEndpoint,
        in_flight: usize,
    ) -> Self {
        let (now, protocol) = (Timestamp::ZERO, protocol());
        let [peer, local] = [[b'p'], [b'l']].map(|kind| peer(kind[0], number));
        let mut requests = at_client.lock();
        for _ in 0..in_flight {
            requests.send(number, &peer, now);
        }
        let id = requests.open.take().expect("the first request opens a stream");
        assert!(requests.dispatcher.opened(id, Format::Native, now), "somebody waits for it");
        let asks = ClientStream::new(Format::Native, requests.dispatcher.config(), now);
        requests.mailboxes.insert(id, Vec::new());
        requests.apply();
        drop(requests);
        let mut serves = ServerStream::new(Format::Native, &server_config(), now);
        let (key, verdict) = at_server.lock().open(local, &protocol, Format::Native, true, now);
        serves.handle_verdict(verdict, now);
        Self {
            number,
            peer,
            at_client: at_client.clone(),
            at_server: at_server.clone(),
            id,
            asks,
            serves,
            key,
            news: None,
            start: Instant::now(),
            timed: false,
            held: [Held::default(); 2],
        }
    }

    /// From now on, notes how long locks are held.
    pub(super) fn time_locks(&mut self) {
        self.timed = true;
        self.held = [Held::default(); 2];
    }

    /// Lets requests be answered for a time, each followed by another. Returns how many were.
    pub(super) fn run(&mut self, time: Duration) -> u64 {
        let (start, mut answered) = (Instant::now(), 0);
        while start.elapsed() < time {
            answered += self.turn();
        }
        answered
    }

    /// What waits goes to the server, and its answers come back.
    fn turn(&mut self) -> u64 {
        let now = Timestamp::ZERO + self.start.elapsed();
        let (id, number) = (self.id, self.number);
        let starts = self.with_client(|requests| std::mem::take(&mut requests.mailboxes[id]));
        for Start { request, body } in starts {
            self.asks.start(request, body, None, now);
        }
        while let Some(op) = self.asks.poll_op() {
            let StreamOp::Write(bytes) = op else { panic!("the client was not to {op:?}") };
            self.news = Some(StreamEvent::Received(bytes));
            self.serve(now);
            self.asks.handle(StreamEvent::Written, now);
        }
        while let Some(op) = self.serves.poll_op() {
            let StreamOp::Write(bytes) = op else { panic!("the server was not to {op:?}") };
            self.asks.handle(StreamEvent::Received(bytes), now);
            self.news = Some(StreamEvent::Written);
            self.serve(now);
        }
        let answered = self.report(now);
        for _ in 0..answered {
            let peer = self.peer;
            self.with_client(|requests| requests.send(number, &peer, now));
        }
        answered as u64
    }

    /// The server's end takes in what has happened, and answers every request at once.
    fn serve(&mut self, now: Timestamp) {
        if let Some(event) = self.news.take() {
            self.serves.handle(event, now);
        }
        loop {
            match self.serves.poll_event(now) {
                Some(ServerStreamEvent::Request { call, payload, .. }) => {
                    let body = payload.into_bytes().expect("it was not compressed");
                    self.serves.respond(call, Ok(Body::uncompressed(body)), now);
                }
                Some(other) => panic!("the server was not to {other:?}"),
                None if self.serves.is_asking() => self.exchange(now),
                None => break,
            }
        }
        if self.serves.has_news() {
            self.exchange(now);
        }
    }

    /// Tells admission control what has happened, and the stream what it says.
    fn exchange(&mut self, now: Timestamp) {
        let Some(report) = self.serves.take_report() else { return };
        let (key, admission) = (self.key, self.at_server.clone());
        let verdict = locked(&admission, self.timed, &mut self.held[0], |admission| {
            admission.handle(key, report, now)
        });
        self.serves.handle_verdict(verdict, now);
    }

    /// The client's end reports. Returns how many requests were answered.
    fn report(&mut self, now: Timestamp) -> usize {
        let (id, number, endpoint) = (self.id, self.number, self.at_client.clone());
        let asks = &mut self.asks;
        locked(&endpoint, self.timed, &mut self.held[1], |requests| {
            while let Some(report) = asks.poll_report() {
                requests.dispatcher.report(id, report, now);
                requests.apply();
            }
            std::mem::take(&mut requests.answered[number])
        })
    }

    fn with_client<T>(&mut self, f: impl FnOnce(&mut Requests) -> T) -> T {
        locked(&self.at_client, self.timed, &mut self.held[1], f)
    }
}

impl Requests {
    fn send(&mut self, number: usize, peer: &PeerId, now: Timestamp) {
        let body = Body::uncompressed(Bytes::from_static(BODY));
        let request = self.dispatcher.send(peer, PROTOCOL, body, CallOptions::default(), now);
        self.waiters.insert(request.expect("there is room"), number);
        self.apply();
    }

    /// Carries out what the dispatcher decided.
    fn apply(&mut self) {
        while let Some(directive) = self.dispatcher.poll_directive() {
            match directive {
                Directive::Command {
                    stream,
                    command: StreamCommand::Start { request, body, .. },
                } => {
                    self.mailboxes[stream].push(Start { request, body });
                }
                Directive::Event(ClientEvent::Response { request, .. }) => {
                    let waiter = self.waiters.remove(request).expect("somebody waits");
                    self.answered[waiter] += 1;
                }
                Directive::Open { stream, .. } => self.open = Some(stream),
                other => panic!("the client was not to {other:?}"),
            }
        }
    }
}

/// Does something under a lock.
fn locked<T, R>(lock: &Mutex<T>, timed: bool, held: &mut Held, f: impl FnOnce(&mut T) -> R) -> R {
    let mut guard = lock.lock();
    if !timed {
        return f(&mut guard);
    }
    let start = Instant::now();
    let result = f(&mut guard);
    held.time += start.elapsed();
    held.sections += 1;
    result
}

fn protocol() -> ProtocolName {
    ProtocolName::new(PROTOCOL).expect("a usable name")
}

/// One stream for each connection, and no limit in the way.
fn client_config() -> ClientConfig {
    ClientConfig::default()
        .with_max_streams_per_peer(1)
        .with_max_in_flight(1024)
        .with_compression(false)
}

fn server_config() -> ServerConfig {
    ServerConfig::default()
        .with_max_in_flight(1024)
        .with_max_concurrent_requests(100_000)
        .with_compression(false)
}

fn peer(kind: u8, number: usize) -> PeerId {
    let name = format!("{}{number:030}", char::from(kind));
    PeerId::from_bytes(name.as_bytes()).expect("a short name is an id")
}
