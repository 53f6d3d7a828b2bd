//! What differs between runtimes, and nothing else.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures_timer::Delay;
use libp2p_core::muxing::StreamMuxerBox;
use libp2p_core::transport::Boxed;
use libp2p_identity::PeerId;

#[cfg(feature = "dns-discovery")]
use crate::discovery::PlainStream;
use crate::transport::security::Security;

/// An async runtime, as a value: how to run tasks on it, what time it is there, and how to reach other
/// machines with it.
///
/// A node keeps one, and so does a [`Behaviour`](crate::Behaviour). A runtime has to run tasks. Its time
/// is that of the system unless it says otherwise, and without a transport it serves nodes
/// [in memory](crate::NodeBuilder::in_memory) and swarms of your own. [`Executor`] is the shortest one.
///
/// With `now` and `sleep_until` of its own, a runtime decides how fast time passes for PointSub: all of
/// its limits and timers follow these two. Timers inside of libp2p, such as those of ping, keep the
/// system's time.
pub trait Runtime: Send + Sync + 'static {
    /// Runs a future to its end on a task of its own. It is called on any thread.
    fn spawn(&self, future: BoxFuture<'static, ()>);

    /// The same, with a name for tools that list tasks: of `pointsub node`, `pointsub connection`,
    /// `pointsub handler`, `pointsub timer`, `pointsub server` and
    /// `pointsub resolver`. Default: without the name.
    fn spawn_named(&self, name: &'static str, future: BoxFuture<'static, ()>) {
        let _ = name;
        self.spawn(future);
    }

    /// What time it is. It never goes back. Default: the system's monotonic clock.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// Ends when [`now`](Self::now) has reached `deadline`. It is polled on tasks of this runtime alone.
    /// Default: a timer of the system's time, which any executor can poll.
    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        Box::pin(Delay::new(deadline.saturating_duration_since(self.now())))
    }

    /// Called once, where a node is built: a runtime that depends on where it is used finds its place
    /// here. `false` if there is none, on which [`NodeBuilder::build`](crate::NodeBuilder::build) fails.
    fn attach(&mut self) -> bool {
        true
    }

    /// Tells each time that the system reports something new of a network interface. Whoever cannot tell
    /// keeps the default, which never does: then [`Node::network_changed`](crate::Node::network_changed)
    /// is for the application to call.
    fn interface_changes(&self) -> BoxStream<'static, ()> {
        futures::stream::pending().boxed()
    }

    /// What arrives at a UDP socket that does not block, and from where, up to `limit` bytes of each
    /// packet; it ends when that fails. Sources of servers use
    /// it: `Discover::lan` and `Discover::dns`.
    ///
    /// # Errors
    /// Any I/O error of watching the socket. Default: [`io::ErrorKind::Unsupported`].
    #[cfg(any(feature = "dns-discovery", feature = "lan"))]
    fn datagrams(
        &self,
        socket: std::net::UdpSocket,
        limit: usize,
    ) -> io::Result<BoxStream<'static, (Vec<u8>, std::net::SocketAddr)>> {
        let _ = (socket, limit);
        let why = "this runtime has no UDP: implement `Runtime::datagrams`";
        Err(io::Error::new(io::ErrorKind::Unsupported, why))
    }

    /// Connects to a TCP server, for a stream of plain bytes. `Discover::dns` uses it for answers that do not
    /// fit into a packet.
    ///
    /// # Errors
    /// Any I/O error of connecting. Default: [`io::ErrorKind::Unsupported`].
    #[cfg(feature = "dns-discovery")]
    fn tcp(&self, to: std::net::SocketAddr) -> BoxFuture<'static, io::Result<PlainStream>> {
        let why = format!("this runtime has no TCP for {to}: implement `Runtime::tcp`");
        Box::pin(async { Err(io::Error::new(io::ErrorKind::Unsupported, why)) })
    }

    /// The transports that a [`Node`](crate::Node) uses, all of which share its `security`:
    /// [`Security::establish`] adds it to one of plain bytes. A transport that is made in another way
    /// gets the connection driver from [`with_driver`](crate::with_driver).
    ///
    /// # Errors
    /// Any I/O error of setting them up. Default: [`io::ErrorKind::Unsupported`].
    fn transport(&self, security: &Security) -> io::Result<Boxed<(PeerId, StreamMuxerBox)>> {
        let _ = security;
        let why = "this runtime has no transport: build the node with `in_memory`, or implement \
                   `Runtime::transport`";
        Err(io::Error::new(io::ErrorKind::Unsupported, why))
    }
}

/// The shortest [`Runtime`]: a way to run tasks, and the system's time.
///
/// ```
/// use futures::executor::ThreadPool;
/// use pointsub_swarm::Executor;
///
/// let pool = ThreadPool::new()?;
/// let executor = Executor::new(move |task| pool.spawn_ok(task));
/// # let _ = executor;
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Executor(Arc<dyn Fn(BoxFuture<'static, ()>) + Send + Sync>);

impl Executor {
    /// Runs tasks with `spawn`.
    pub fn new(spawn: impl Fn(BoxFuture<'static, ()>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(spawn))
    }
}

impl Runtime for Executor {
    fn spawn(&self, future: BoxFuture<'static, ()>) {
        (self.0)(future);
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor").finish_non_exhaustive()
    }
}
