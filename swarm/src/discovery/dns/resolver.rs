//! hickory's resolver on the runtime of the node.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{BoxFuture, Either, select};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use futures_timer::Delay;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::{DnsTcpStream, DnsUdpSocket, RuntimeProvider, Spawn, Time};
use hickory_resolver::system_conf::read_system_conf;
use parking_lot::Mutex;

use super::stream::Tcp;
use crate::clock::Clock;

pub(super) type Resolver = hickory_resolver::Resolver<Provider>;

/// The longest answer by UDP that is read; longer ones come by TCP.
const MAX_PACKET: usize = 4096;
/// How long an answer may take until it is asked for again, or elsewhere.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A resolver that asks these name servers, or else those that the system names now.
pub(super) fn resolver(servers: &[SocketAddr], clock: Clock) -> Result<Resolver, NetError> {
    let (config, mut options) = match servers {
        [] => read_system_conf().map_err(|error| NetError::from(error.to_string()))?,
        servers => {
            let servers = servers.iter().map(|at| name_server(*at)).collect();
            (ResolverConfig::from_parts(None, Vec::new(), servers), Default::default())
        }
    };
    options.timeout = options.timeout.min(TIMEOUT);
    // The machine knows what holds, and for how long.
    options.cache_size = 0;
    // There are no such records in it.
    options.use_hosts_file = ResolveHosts::Never;
    options.os_port_selection = true;
    let builder = Resolver::builder_with_config(config, Provider(clock));
    builder.with_options(options).build()
}

fn name_server(at: SocketAddr) -> NameServerConfig {
    let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    connections.iter_mut().for_each(|connection| connection.port = at.port());
    NameServerConfig::new(at.ip(), true, connections)
}

/// Sockets, tasks and timers for the resolver.
#[derive(Clone)]
pub(super) struct Provider(Clock);

#[derive(Clone)]
pub(super) struct Tasks(Clock);

impl Spawn for Tasks {
    fn spawn_bg(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn("pointsub resolver", future.boxed());
    }
}

/// Timers of the system.
pub(super) struct SystemTime;

#[async_trait]
impl Time for SystemTime {
    async fn delay_for(duration: Duration) {
        Delay::new(duration).await;
    }

    async fn timeout<F: 'static + Future + Send>(
        duration: Duration,
        future: F,
    ) -> io::Result<F::Output> {
        match select(pin!(future), Delay::new(duration)).await {
            Either::Left((output, _)) => Ok(output),
            Either::Right(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// A UDP socket that a runtime watches.
pub(super) struct Udp {
    sender: UdpSocket,
    receiver: Mutex<BoxStream<'static, (Vec<u8>, SocketAddr)>>,
}

impl DnsUdpSocket for Udp {
    type Time = SystemTime;

    fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.receiver.lock().poll_next_unpin(cx).map(|packet| {
            let (packet, from) = packet.ok_or(io::ErrorKind::BrokenPipe)?;
            let length = packet.len().min(buffer.len());
            buffer[..length].copy_from_slice(&packet[..length]);
            Ok((length, from))
        })
    }

    /// What does not fit into the system's buffer is lost, as it can be on the way: it is sent again.
    fn poll_send_to(
        &self,
        _: &mut Context<'_>,
        buffer: &[u8],
        to: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(self.sender.send_to(buffer, to))
    }
}

impl DnsTcpStream for Tcp {
    type Time = SystemTime;
}

impl RuntimeProvider for Provider {
    type Handle = Tasks;
    type Timer = SystemTime;
    type Udp = Udp;
    type Tcp = Tcp;

    fn create_handle(&self) -> Tasks {
        Tasks(self.0.clone())
    }

    fn connect_tcp(
        &self,
        to: SocketAddr,
        _: Option<SocketAddr>,
        timeout: Option<Duration>,
    ) -> BoxFuture<'static, io::Result<Tcp>> {
        let connecting = self.0.runtime().tcp(to);
        let timeout = timeout.unwrap_or(TIMEOUT);
        async move { Ok(SystemTime::timeout(timeout, connecting).await??.into()) }.boxed()
    }

    fn bind_udp(&self, local: SocketAddr, _: SocketAddr) -> BoxFuture<'static, io::Result<Udp>> {
        let bound = UdpSocket::bind(local).and_then(|socket| {
            socket.set_nonblocking(true)?;
            let sender = socket.try_clone()?;
            let receiver = Mutex::new(self.0.runtime().datagrams(socket, MAX_PACKET)?);
            Ok(Udp { sender, receiver })
        });
        futures::future::ready(bound).boxed()
    }
}
