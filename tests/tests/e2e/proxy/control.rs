//! The thread of a proxy: how it is told what to do, what it counts, and how it ends.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, Timespec, poll};

#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    Freeze,
    Thaw,
    Reset,
    Finish,
    Stop,
}

type Told = (Order, mpsc::Sender<()>);

/// A proxy's thread, as its owner holds it.
#[derive(Debug)]
pub(super) struct Control {
    orders: mpsc::Sender<Told>,
    waker: UdpSocket,
    thread: Option<JoinHandle<()>>,
}

/// A proxy's orders, as its thread holds them.
#[derive(Debug)]
pub(super) struct Inbox {
    orders: mpsc::Receiver<Told>,
    /// Readable when there is an order: a thread that polls sockets can wait for it.
    pub(super) waker: UdpSocket,
}

impl Control {
    pub(super) fn start(name: &str, body: impl FnOnce(Inbox) + Send + 'static) -> Self {
        let (orders, told) = mpsc::channel();
        // Sends to itself.
        let waker = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        waker.connect(waker.local_addr().expect("it is bound")).expect("its own address");
        waker.set_nonblocking(true).expect("a socket can be non-blocking");
        let inbox = Inbox { orders: told, waker: waker.try_clone().expect("a file descriptor") };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || body(inbox));
        Self { orders, waker, thread: Some(thread.expect("a thread")) }
    }

    /// Returns when the order was carried out.
    pub(super) fn order(&self, order: Order) {
        let (done, when_done) = mpsc::channel();
        // If the thread has panicked, nobody carries out anything.
        if self.orders.send((order, done)).is_ok() {
            let _woken = self.waker.send(&[0]);
            let _done = when_done.recv();
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.order(Order::Stop);
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            ended.expect("it is joined once").expect("the proxy's thread panicked");
        }
    }
}

impl Inbox {
    /// Carries out all orders that there are, in turn. Returns whether the thread goes on.
    pub(super) fn work_off(&self, mut carry_out: impl FnMut(Order)) -> bool {
        while self.waker.recv(&mut [0]).is_ok() {}
        for (order, done) in self.orders.try_iter() {
            if matches!(order, Order::Stop) {
                return false;
            }
            carry_out(order);
            let _gone = done.send(());
        }
        true
    }
}

/// Waits until something happens to one of the sockets, or until a time.
pub(super) fn wait(sockets: &mut [PollFd<'_>], until: Option<Instant>) {
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    let left = left.map(|left| left.min(Duration::from_secs(3600)));
    let left = left.map(|left| Timespec::try_from(left).expect("an hour can be told"));
    // Interrupted by a signal, it comes back.
    let _ready = poll(sockets, left.as_ref());
}

/// What a proxy has done so far.
#[derive(Debug, Default)]
pub(super) struct Counters {
    accepted: AtomicU64,
    open: AtomicU64,
    /// Read from clients, and from the server.
    taken: [AtomicU64; 2],
    /// Written to the server, and to clients.
    passed: [AtomicU64; 2],
}

impl Counters {
    pub(super) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::SeqCst)
    }

    pub(super) fn accept(&self) {
        self.accepted.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn open(&self) -> u64 {
        self.open.load(Ordering::SeqCst)
    }

    pub(super) fn set_open(&self, connections: usize) {
        self.open.store(connections as u64, Ordering::SeqCst);
    }

    pub(super) fn taken(&self, direction: usize) -> u64 {
        self.taken[direction].load(Ordering::SeqCst)
    }

    pub(super) fn take(&self, direction: usize, amount: usize) {
        self.taken[direction].fetch_add(amount as u64, Ordering::SeqCst);
    }

    pub(super) fn passed(&self, direction: usize) -> u64 {
        self.passed[direction].load(Ordering::SeqCst)
    }

    pub(super) fn pass(&self, direction: usize, amount: usize) {
        self.passed[direction].fetch_add(amount as u64, Ordering::SeqCst);
    }
}
