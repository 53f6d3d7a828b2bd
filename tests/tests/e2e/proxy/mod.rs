//! A bad network between two loopback addresses: one that is slow, narrow, silent or cut.
//!
//! [`Proxy`] carries TCP connections and [`UdpProxy`] datagrams. Each has one thread of its own and
//! blocking system calls, so that it runs whatever becomes of the runtime under test. Dropping a
//! proxy ends its thread and its connections.
//!
//! Of a client's connection, *up* is the way to the server and *down* the way back.

mod control;
mod path;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use libp2p_core::multiaddr::Protocol;
use pointsub_swarm::Multiaddr;

pub(crate) use path::Path;
pub(crate) use udp::UdpProxy;

use control::{Control, Counters, Order};

/// What a TCP proxy is to be like. Without further words it passes on everything at once.
#[derive(Debug)]
pub(crate) struct Builder {
    server: Multiaddr,
    paths: [Path; 2],
    buffers: Option<usize>,
}

impl Builder {
    /// Every byte arrives so much later, each way. This does not limit the throughput.
    pub(crate) fn delay(mut self, delay: Duration) -> Self {
        self.paths.iter_mut().for_each(|path| path.delay = delay);
        self
    }

    /// So many bytes pass in a second, each way, of all connections together and in equal parts.
    pub(crate) fn rate(mut self, bytes_per_second: u64) -> Self {
        self.paths.iter_mut().for_each(|path| path.rate = Some(bytes_per_second));
        self
    }

    /// What the way to the server is like.
    pub(crate) fn up(mut self, path: Path) -> Self {
        self.paths[0] = path;
        self
    }

    /// What the way back is like.
    pub(crate) fn down(mut self, path: Path) -> Self {
        self.paths[1] = path;
        self
    }

    /// The sizes of the kernel's buffers of all sockets of the proxy, and of what it holds itself of
    /// bytes that are due and not taken. The kernel doubles its part, and has a minimum of some
    /// 2 KiB. The default is the kernel's own and 64 KiB.
    pub(crate) fn buffers(mut self, bytes: usize) -> Self {
        self.buffers = Some(bytes);
        self
    }

    pub(crate) fn start(self) -> Proxy {
        let counters = Arc::new(Counters::default());
        let to = socket_address(&self.server);
        let listener = tcp::listen(self.buffers).expect("a port is free");
        let address = listener.local_addr().expect("it is bound").as_socket().expect("it is of IP");
        let counted = counters.clone();
        let control = Control::start("proxy", move |inbox| {
            tcp::Carrier::new(listener, to, self.paths, self.buffers, counted).run(&inbox);
        });
        Proxy { address: replaced(&self.server, address), control, counters }
    }
}

/// A TCP proxy. Its kernel accepts connections as long as it lives, even while it is frozen.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: Multiaddr,
    control: Control,
    counters: Arc<Counters>,
}

impl Proxy {
    /// A proxy to a server.
    pub(crate) fn to(server: Multiaddr) -> Builder {
        Builder { server, paths: [Path::default(); 2], buffers: None }
    }

    /// Where it listens: the server's address with another port.
    pub(crate) fn address(&self) -> Multiaddr {
        self.address.clone()
    }

    /// From now on nothing moves. Connections stay open, new ones stay unanswered.
    pub(crate) fn freeze(&self) {
        self.control.order(Order::Freeze);
    }

    /// Everything moves again. What was due meanwhile arrives at once.
    pub(crate) fn thaw(&self) {
        self.control.order(Order::Thaw);
    }

    /// Resets all connections that there are, and loses what is on its way. New ones pass.
    pub(crate) fn cut_rst(&self) {
        self.control.order(Order::Reset);
    }

    /// Ends all connections that there are as if either side had closed its own in good order, and
    /// loses what is on its way. New ones pass.
    pub(crate) fn cut_fin(&self) {
        self.control.order(Order::Finish);
    }

    /// How many connections were accepted. Those that wait for [`Proxy::thaw`] are not among them.
    pub(crate) fn accepted(&self) -> u64 {
        self.counters.accepted()
    }

    /// How many connections there are now.
    pub(crate) fn open(&self) -> u64 {
        self.counters.open()
    }

    /// How many bytes were read from clients.
    pub(crate) fn taken_up(&self) -> u64 {
        self.counters.taken(0)
    }

    /// How many bytes were written to the server. They are counted a moment after they are written.
    pub(crate) fn bytes_up(&self) -> u64 {
        self.counters.passed(0)
    }

    /// How many bytes were written to clients. They are counted a moment after they are written.
    pub(crate) fn bytes_down(&self) -> u64 {
        self.counters.passed(1)
    }
}

/// The IP address and port that an address begins with.
fn socket_address(address: &Multiaddr) -> SocketAddr {
    let mut parts = address.iter();
    let ip: IpAddr = match parts.next() {
        Some(Protocol::Ip4(ip)) => ip.into(),
        Some(Protocol::Ip6(ip)) => ip.into(),
        _ => panic!("{address} does not begin with an IP address"),
    };
    match parts.next() {
        Some(Protocol::Tcp(port) | Protocol::Udp(port)) => (ip, port).into(),
        _ => panic!("{address} has no port behind its IP address"),
    }
}

/// `address` with another IP address and port.
fn replaced(address: &Multiaddr, by: SocketAddr) -> Multiaddr {
    let parts = address.iter().map(|part| match part {
        Protocol::Ip4(_) | Protocol::Ip6(_) => by.ip().into(),
        Protocol::Tcp(_) => Protocol::Tcp(by.port()),
        Protocol::Udp(_) => Protocol::Udp(by.port()),
        other => other,
    });
    parts.collect()
}
