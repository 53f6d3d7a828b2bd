//! The thread of a TCP proxy.
//!
//! Sides and directions have the same numbers: bytes of direction 0 come from side 0, the client,
//! and go to side 1, the server.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use socket2::{Domain, Protocol, Socket, Type};

use super::control::{Counters, Inbox, Order, wait};
use super::path::{Link, Path};

const BACKLOG: i32 = 1024;
/// What one connection may have on its way in one direction.
const ON_THE_WAY: usize = 64 * 1024 * 1024;
/// What may be due and not taken, unless the builder says otherwise.
const NOT_TAKEN: usize = 64 * 1024;

/// A socket that is bound, with buffers that are set before it listens or connects.
fn socket(domain: Domain, buffers: Option<usize>) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if let Some(bytes) = buffers {
        socket.set_recv_buffer_size(bytes)?;
        socket.set_send_buffer_size(bytes)?;
    }
    Ok(socket)
}

/// A listener on loopback. What it accepts has its buffers.
pub(super) fn listen(buffers: Option<usize>) -> io::Result<Socket> {
    let listener = socket(Domain::IPV4, buffers)?;
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    listener.listen(BACKLOG)?;
    Ok(listener)
}

enum Content {
    Bytes(Vec<u8>),
    /// The sender has closed its half.
    End,
    /// The sender's connection broke.
    Reset,
}

/// One direction of a connection.
#[derive(Default)]
struct Stream {
    /// What is on its way, with the times at which it arrives.
    pieces: VecDeque<(Instant, Content)>,
    /// How many bytes that are.
    bytes: usize,
    /// Nothing more will be read.
    ended: bool,
    /// The receiver knows of the end.
    told: bool,
}

impl Stream {
    fn due(&self, now: Instant) -> usize {
        let due = self.pieces.iter().take_while(|(at, _)| *at <= now);
        due.map(|(_, content)| if let Content::Bytes(bytes) = content { bytes.len() } else { 0 })
            .sum()
    }
}

struct Connection {
    sides: [Socket; 2],
    /// As far as is known, reading from that side would not block.
    readable: [bool; 2],
    writable: [bool; 2],
    /// The server has accepted.
    connected: bool,
    streams: [Stream; 2],
    /// It was cut in good order: what still comes is thrown away.
    finished: bool,
}

/// A connection that is to be reset.
struct Broken;

impl Connection {
    fn new(client: Socket, to: SocketAddr, buffers: Option<usize>) -> io::Result<Self> {
        let server = socket(Domain::for_address(to), buffers)?;
        for side in [&client, &server] {
            side.set_tcp_nodelay(true)?;
        }
        client.set_nonblocking(true)?;
        // It is under way; how it went is seen when the socket is writable.
        let _under_way = server.connect(&to.into());
        Ok(Self {
            sides: [client, server],
            readable: [false; 2],
            writable: [true, false],
            connected: false,
            streams: Default::default(),
            finished: false,
        })
    }

    fn reset(&self) {
        for side in &self.sides {
            // Whoever has ended already cannot be reset.
            let _linger = side.set_linger(Some(Duration::ZERO));
        }
    }

    fn finish(&mut self) {
        for side in &self.sides {
            let _gone = side.shutdown(Shutdown::Write);
        }
        self.streams.iter_mut().for_each(|stream| stream.pieces.clear());
        self.finished = true;
    }

    /// Whether the thread wants to know when a side can be read or written.
    fn interest(&self, side: usize, frozen: bool) -> PollFlags {
        let mut interest = PollFlags::empty();
        if !self.readable[side]
            && !self.streams[side].ended
            && self.connected
            && (self.finished || !frozen)
        {
            interest |= PollFlags::IN;
        }
        let waits = !self.connected || !self.streams[1 - side].pieces.is_empty();
        if !self.writable[side] && waits && !frozen {
            interest |= PollFlags::OUT;
        }
        interest
    }

    fn is_done(&self) -> bool {
        let done = |stream: &Stream| if self.finished { stream.ended } else { stream.told };
        self.streams.iter().all(done)
    }

    /// Writes what has arrived. Returns how many bytes.
    fn deliver(&mut self, direction: usize, now: Instant) -> Result<usize, Broken> {
        let (to, mut written) = (1 - direction, 0);
        while self.writable[to] && self.connected {
            let stream = &mut self.streams[direction];
            let Some((_, content)) = stream.pieces.front_mut().filter(|(at, _)| *at <= now) else {
                break;
            };
            match content {
                Content::Bytes(bytes) => match self.sides[to].write(bytes) {
                    Ok(n) => {
                        bytes.drain(..n);
                        stream.bytes -= n;
                        written += n;
                        if !bytes.is_empty() {
                            continue;
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        self.writable[to] = false;
                        continue;
                    }
                    Err(_) => return Err(Broken),
                },
                Content::End => {
                    let _gone = self.sides[to].shutdown(Shutdown::Write);
                    stream.told = true;
                }
                Content::Reset => return Err(Broken),
            }
            stream.pieces.pop_front();
        }
        Ok(written)
    }

    /// Whether a direction would take more in, if its link were free.
    fn wants(&self, direction: usize, not_taken: usize, now: Instant) -> bool {
        let stream = &self.streams[direction];
        let full = || !self.writable[1 - direction] && stream.due(now) >= not_taken;
        self.readable[direction]
            && self.connected
            && !stream.ended
            && !self.finished
            && stream.bytes < ON_THE_WAY
            && !full()
    }

    /// Reads one piece. Returns how many bytes it has.
    fn take(
        &mut self,
        direction: usize,
        link: &mut Link,
        scratch: &mut [u8],
        now: Instant,
    ) -> usize {
        let stream = &mut self.streams[direction];
        let (bytes, content) = match self.sides[direction].read(&mut scratch[..link.piece()]) {
            Ok(0) => (0, Content::End),
            Ok(n) => (n, Content::Bytes(scratch[..n].to_vec())),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable[direction] = false;
                return 0;
            }
            Err(_) => (0, Content::Reset),
        };
        stream.ended = bytes == 0;
        stream.bytes += bytes;
        stream.pieces.push_back((link.enter(bytes, now), content));
        bytes
    }

    /// Throws away what still comes after the end.
    fn throw_away(&mut self, scratch: &mut [u8]) {
        for side in 0..2 {
            while self.readable[side] && !self.streams[side].ended {
                match self.sides[side].read(scratch) {
                    Ok(1..) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        self.readable[side] = false;
                    }
                    _ => self.streams[side].ended = true,
                }
            }
        }
    }
}

pub(super) struct Carrier {
    listener: Socket,
    to: SocketAddr,
    buffers: Option<usize>,
    connections: Vec<Connection>,
    links: [Link; 2],
    /// Whose turn it is to use a link.
    turns: [usize; 2],
    frozen: bool,
    counters: Arc<Counters>,
}

impl Carrier {
    pub(super) fn new(
        listener: Socket,
        to: SocketAddr,
        paths: [Path; 2],
        buffers: Option<usize>,
        counters: Arc<Counters>,
    ) -> Self {
        let links = paths.map(|path| Link::new(path, Instant::now()));
        let connections = Vec::new();
        Self { listener, to, buffers, connections, links, turns: [0; 2], frozen: false, counters }
    }

    pub(super) fn run(mut self, inbox: &Inbox) {
        let mut scratch = vec![0; 64 * 1024];
        while inbox.work_off(|order| self.carry_out(order)) {
            if !self.frozen {
                self.accept();
                self.carry(&mut scratch);
            }
            self.connections.retain_mut(|connection| {
                if connection.finished {
                    connection.throw_away(&mut scratch);
                }
                !connection.is_done()
            });
            self.counters.set_open(self.connections.len());
            self.sleep(inbox);
        }
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Freeze => self.frozen = true,
            Order::Thaw => self.frozen = false,
            Order::Reset => {
                self.connections.drain(..).for_each(|connection| connection.reset());
                self.counters.set_open(0);
            }
            Order::Finish => self.connections.iter_mut().for_each(Connection::finish),
            Order::Stop => {}
        }
    }

    fn accept(&mut self) {
        while let Ok((client, _)) = self.listener.accept() {
            self.counters.accept();
            let connection = Connection::new(client, self.to, self.buffers);
            self.connections.push(connection.expect("a socket for each connection"));
        }
    }

    fn carry(&mut self, scratch: &mut [u8]) {
        let now = Instant::now();
        for direction in 0..2 {
            self.connections.retain_mut(|connection| {
                let delivered =
                    if connection.finished { Ok(0) } else { connection.deliver(direction, now) };
                if let Ok(bytes) = delivered {
                    self.counters.pass(direction, bytes);
                } else {
                    connection.reset();
                }
                delivered.is_ok()
            });
            self.take(direction, scratch, now);
        }
    }

    /// Lets pieces into a link while it is free, of one connection after the other.
    fn take(&mut self, direction: usize, scratch: &mut [u8], now: Instant) {
        let (link, not_taken) = (&mut self.links[direction], self.buffers.unwrap_or(NOT_TAKEN));
        let count = self.connections.len();
        for turn in self.turns[direction]..self.turns[direction] + count {
            if link.free_at() > now {
                break;
            }
            let connection = &mut self.connections[turn % count];
            if connection.wants(direction, not_taken, now) {
                let bytes = connection.take(direction, link, scratch, now);
                self.counters.take(direction, bytes);
                self.turns[direction] = (turn + 1) % count;
            }
        }
    }

    /// Waits until there is something to do.
    fn sleep(&mut self, inbox: &Inbox) {
        let now = Instant::now();
        let not_taken = self.buffers.unwrap_or(NOT_TAKEN);
        let mut until: Option<Instant> = None;
        let mut sockets = vec![PollFd::new(&inbox.waker, PollFlags::IN)];
        if !self.frozen {
            sockets.push(PollFd::new(&self.listener, PollFlags::IN));
        }
        let first = sockets.len();
        let mut polled = Vec::new();
        for (index, connection) in self.connections.iter().enumerate() {
            for side in 0..2 {
                let interest = connection.interest(side, self.frozen);
                if !interest.is_empty() {
                    sockets.push(PollFd::new(&connection.sides[side], interest));
                    polled.push((index, side));
                }
                if self.frozen || connection.finished {
                    continue;
                }
                let arrives = connection.streams[side].pieces.front().map(|(at, _)| *at);
                let arrives =
                    arrives.filter(|_| connection.connected && connection.writable[1 - side]);
                let wants = connection.wants(side, not_taken, now);
                let free = wants.then(|| self.links[side].free_at());
                until = until.into_iter().chain(arrives).chain(free).min();
            }
        }
        wait(&mut sockets, until);
        let happened: Vec<PollFlags> = sockets[first..].iter().map(PollFd::revents).collect();
        for ((index, side), events) in polled.into_iter().zip(happened) {
            let connection = &mut self.connections[index];
            let broken = events.intersects(PollFlags::ERR | PollFlags::HUP);
            connection.readable[side] |= broken || events.contains(PollFlags::IN);
            connection.writable[side] |= broken || events.contains(PollFlags::OUT);
            connection.connected |= side == 1 && connection.writable[1];
        }
    }
}
