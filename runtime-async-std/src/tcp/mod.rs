//! TCP for libp2p on `async-io`, the reactor of async-std and smol.
//!
//! It does what `libp2p-tcp` does on tokio, and resolves names besides.
//!
//! ```text
//!   listen_on ──▶ Listener ── a socket, the interfaces, pauses ──▶ events, Stream
//!                    │ registers its addresses
//!                    ▼
//!                  Ports ── which local port a connection may start from
//!                    ▲
//!   dial ──▶ Target ─┴─ resolve ── connect, several with a head start each ──▶ Stream
//! ```

mod address;
mod dial;
mod listener;
mod ports;
mod socket;
mod stream;

use std::fmt;
use std::future::Ready;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures::future::BoxFuture;
use futures::stream::SelectAll;
use futures::{FutureExt, StreamExt};
use libp2p_core::Multiaddr;
use libp2p_core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};

use self::address::Target;
use self::listener::Listener;
use self::ports::Ports;

pub use self::stream::Stream;

/// A libp2p transport over TCP sockets. It needs no executor, and `async-io` brings its reactor.
///
/// * Listens on `/ip4/…/tcp/…` and `/ip6/…/tcp/…`, on as many addresses as you like. A wildcard
///   address is reported as the addresses of all interfaces, as they come and go.
/// * Dials those and `/dns/…/tcp/…`, `/dns4/…/tcp/…`, `/dns6/…/tcp/…`. A name with several
///   addresses is tried at the next one when one fails or takes its time.
/// * Dials from the port of a listener if `PortUse::Reuse` asks for it and there is one, so that a
///   NAT shows the same address as for the listener.
/// * Sends small writes at once (`TCP_NODELAY`).
#[derive(Default)]
pub struct Transport {
    ports: Ports,
    listeners: SelectAll<Listener>,
    /// Who polls, to hear of new listeners.
    waker: Option<Waker>,
}

impl Transport {
    /// A transport without listeners.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("ports", &self.ports).finish_non_exhaustive()
    }
}

impl libp2p_core::Transport for Transport {
    type Output = Stream;
    type Error = io::Error;
    type ListenerUpgrade = Ready<io::Result<Stream>>;
    type Dial = BoxFuture<'static, io::Result<Stream>>;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<io::Error>> {
        let Some(Target::Socket(socket)) = address::parse(&address) else {
            return Err(TransportError::MultiaddrNotSupported(address));
        };
        let listener = Listener::bind(id, socket, self.ports.clone());
        self.listeners.push(listener.map_err(TransportError::Other)?);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.listeners.iter_mut().any(|listener| listener.id() == id && listener.close())
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        opts: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        match address::parse(&address) {
            Some(target) if target.can_be_dialled() => {
                Ok(dial::dial(target, opts.port_use, self.ports.clone()).boxed())
            }
            _ => Err(TransportError::MultiaddrNotSupported(address)),
        }
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        // `None` says that there are no listeners, and more may come.
        if let Poll::Ready(Some(event)) = self.listeners.poll_next_unpin(cx) {
            return Poll::Ready(event);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
