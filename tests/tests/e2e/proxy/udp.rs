//! A proxy for datagrams, which is to say for QUIC.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pointsub_swarm::Multiaddr;
use rustix::event::{PollFd, PollFlags};

use super::control::{Control, Counters, Inbox, Order, wait};
use super::{replaced, socket_address};

/// What may be on its way in one direction; beyond that datagrams are lost.
const ON_THE_WAY: usize = 64 * 1024;

/// What a UDP proxy is to be like. Without further words it passes on everything at once.
#[derive(Debug)]
pub(crate) struct UdpBuilder {
    server: Multiaddr,
    delay: Duration,
    loss: u32,
}

impl UdpBuilder {
    /// Every datagram arrives so much later, each way.
    pub(crate) fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// So many of a thousand datagrams are lost, each way. It is the same ones in each run.
    pub(crate) fn loss(mut self, per_thousand: u32) -> Self {
        self.loss = per_thousand;
        self
    }

    pub(crate) fn start(self) -> UdpProxy {
        let front = socket();
        let address = replaced(&self.server, front.local_addr().expect("it is bound"));
        let counters = Arc::new(Counters::default());
        let counted = counters.clone();
        let control = Control::start("UDP proxy", move |inbox| {
            let carrier = Carrier {
                front,
                to: socket_address(&self.server),
                clients: Vec::new(),
                delay: self.delay,
                loss: self.loss,
                state: 1,
                on_the_way: VecDeque::new(),
                frozen: false,
                counters: counted,
            };
            carrier.run(&inbox);
        });
        UdpProxy { address, control, counters }
    }
}

/// A UDP proxy. To the server, each client has a port of its own.
#[derive(Debug)]
pub(crate) struct UdpProxy {
    address: Multiaddr,
    control: Control,
    counters: Arc<Counters>,
}

impl UdpProxy {
    /// A proxy to a server.
    pub(crate) fn to(server: Multiaddr) -> UdpBuilder {
        UdpBuilder { server, delay: Duration::ZERO, loss: 0 }
    }

    /// Where it listens: the server's address with another port.
    pub(crate) fn address(&self) -> Multiaddr {
        self.address.clone()
    }

    /// From now on every datagram is lost, those that are on their way too.
    pub(crate) fn freeze(&self) {
        self.control.order(Order::Freeze);
    }

    /// Datagrams pass again.
    pub(crate) fn thaw(&self) {
        self.control.order(Order::Thaw);
    }

    /// How many datagrams have come from clients.
    pub(crate) fn taken_up(&self) -> u64 {
        self.counters.taken(0)
    }

    /// How many datagrams have gone to the server.
    pub(crate) fn passed_up(&self) -> u64 {
        self.counters.passed(0)
    }

    /// How many datagrams have gone to clients.
    pub(crate) fn passed_down(&self) -> u64 {
        self.counters.passed(1)
    }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    socket.set_nonblocking(true).expect("a socket can be non-blocking");
    socket
}

struct Datagram {
    arrives: Instant,
    client: usize,
    /// 0 to the server, 1 to the client.
    direction: usize,
    bytes: Vec<u8>,
}

struct Carrier {
    front: UdpSocket,
    to: SocketAddr,
    /// Clients, each with its socket to the server.
    clients: Vec<(SocketAddr, UdpSocket)>,
    delay: Duration,
    loss: u32,
    /// Of the generator of losses.
    state: u64,
    on_the_way: VecDeque<Datagram>,
    frozen: bool,
    counters: Arc<Counters>,
}

impl Carrier {
    fn run(mut self, inbox: &Inbox) {
        let mut scratch = vec![0; 64 * 1024];
        loop {
            let go_on = inbox.work_off(|order| {
                self.frozen = matches!(order, Order::Freeze);
                if self.frozen {
                    self.on_the_way.clear();
                }
            });
            if !go_on {
                break;
            }
            self.take(&mut scratch);
            self.deliver();
            let mut sockets = vec![PollFd::new(&inbox.waker, PollFlags::IN)];
            let all = std::iter::once(&self.front).chain(self.clients.iter().map(|(_, to)| to));
            sockets.extend(all.map(|socket| PollFd::new(socket, PollFlags::IN)));
            wait(&mut sockets, self.on_the_way.front().map(|datagram| datagram.arrives));
        }
    }

    /// Takes in what has come. While frozen, this loses it.
    fn take(&mut self, scratch: &mut [u8]) {
        while let Ok((len, from)) = self.front.recv_from(scratch) {
            let known = self.clients.iter().position(|(client, _)| *client == from);
            let client = known.unwrap_or_else(|| {
                let to = socket();
                to.connect(self.to).expect("a loopback address");
                self.clients.push((from, to));
                self.clients.len() - 1
            });
            self.send(client, 0, &scratch[..len]);
        }
        for client in 0..self.clients.len() {
            while let Ok(len) = self.clients[client].1.recv(scratch) {
                self.send(client, 1, &scratch[..len]);
            }
        }
    }

    fn send(&mut self, client: usize, direction: usize, bytes: &[u8]) {
        self.counters.take(direction, 1);
        if !self.frozen && !self.is_lost() && self.on_the_way.len() < ON_THE_WAY {
            let arrives = Instant::now() + self.delay;
            self.on_the_way.push_back(Datagram {
                arrives,
                client,
                direction,
                bytes: bytes.to_vec(),
            });
        }
    }

    fn is_lost(&mut self) -> bool {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % 1000 < u64::from(self.loss)
    }

    fn deliver(&mut self) {
        let now = Instant::now();
        while self.on_the_way.front().is_some_and(|datagram| datagram.arrives <= now) {
            let Some(datagram) = self.on_the_way.pop_front() else { break };
            let (client, to) = &self.clients[datagram.client];
            // Counted first: whoever has received it finds it counted.
            self.counters.pass(datagram.direction, 1);
            // What the kernel refuses is lost, as on any way.
            let _lost = match datagram.direction {
                0 => to.send(&datagram.bytes),
                _ => self.front.send_to(&datagram.bytes, client),
            };
        }
    }
}
