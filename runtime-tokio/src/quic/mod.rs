//! QUIC for libp2p on tokio.
//!
//! It reaches whoever `libp2p-quic` and the implementations in other languages reach, and differs in
//! what its streams and connections say when they end: [`Stream`] and [`Connection`] tell.
//!
//! ```text
//!   listen_on ──▶ Listener ── a socket, the interfaces, proofs of address ──▶ events, Connection
//!                    │ its socket                                                  │
//!                    ▼                                                             ▼
//!   dial ──▶ Target ─┬─ connect, from there or from another socket ──▶ Connection ──▶ Stream
//!                    └─ punch: noise, until the peer connects ───────────▲
//! ```

mod address;
mod config;
mod connection;
mod dial;
mod error;
mod listener;
mod punch;
mod socket;
mod stream;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures::stream::SelectAll;
use futures::{FutureExt, StreamExt};
use libp2p_core::transport::{DialOpts, ListenerId, PortUse, TransportError, TransportEvent};
use libp2p_core::{Endpoint as Role, Multiaddr};
use libp2p_identity::{Keypair, PeerId};
use pointsub_swarm::Security;

use self::config::Config;
use self::dial::Upgrade;
use self::listener::Listener;
use self::punch::Punches;

pub use self::connection::Connection;
pub use self::error::Error;
pub use self::stream::Stream;

/// A libp2p transport over QUIC. It runs on tokio.
///
/// * Listens on `/ip4/…/udp/…/quic-v1` and `/ip6/…/udp/…/quic-v1`, on as many addresses as you like.
///   A wildcard address is reported as the addresses of all interfaces, as they come and go. Where
///   128 handshakes are under way, further peers have to prove their address first.
/// * Dials these, with or without `/p2p/…` behind them: with it, whoever is not that peer does not
///   learn who dials. From the port of a listener if `PortUse::Reuse` asks for it and there is one.
/// * Punches holes: a dial whose role is that of a listener sends noise from a listener's port until
///   the peer has connected to it.
/// * Keeps connections alive, from the end that has dialled and each 5 s, and gives them up when there
///   was no sign of the peer for 15 s, or 3 probe timeouts if that is longer.
/// * Takes 256 streams at a time of a peer, and 512 KiB on each beyond what was read: 128 MiB for one
///   connection at worst. A stream that is not read keeps nothing from the others.
pub struct Transport {
    config: Config,
    listeners: SelectAll<Listener>,
    /// From where is dialled while no listener fits.
    unlistened: Vec<quinn::Endpoint>,
    punches: Punches,
    /// Who polls, to hear of new listeners.
    waker: Option<Waker>,
}

impl Transport {
    /// A transport without listeners, for a node with this key that speaks
    /// [`Dialects::default`](crate::Dialects).
    ///
    /// # Errors
    /// If the key cannot sign.
    pub fn new(keypair: &Keypair) -> io::Result<Self> {
        Self::with_security(&Security::new(keypair)?)
    }

    /// A transport without listeners, which shares what is remembered of peers with other transports
    /// of the node.
    ///
    /// # Errors
    /// If there is no TLS for it.
    pub fn with_security(security: &Security) -> io::Result<Self> {
        Ok(Self::with(Config::new(security)?))
    }

    fn with(config: Config) -> Self {
        Self {
            config,
            listeners: SelectAll::new(),
            unlistened: Vec::new(),
            punches: Punches::default(),
            waker: None,
        }
    }

    /// A socket that dials use together, so that a NAT shows the same address for all of them.
    fn shared_endpoint(&mut self, remote: IpAddr) -> io::Result<quinn::Endpoint> {
        if let Some(listener) = self.listeners.iter().find(|listener| listener.fits(remote)) {
            return Ok(listener.endpoint());
        }
        for endpoint in &self.unlistened {
            if endpoint.local_addr()?.is_ipv4() == remote.is_ipv4() {
                return Ok(endpoint.clone());
            }
        }
        let endpoint = new_endpoint(remote, &self.config)?;
        self.unlistened.push(endpoint.clone());
        Ok(endpoint)
    }
}

/// A socket for one dial.
fn new_endpoint(remote: IpAddr, config: &Config) -> io::Result<quinn::Endpoint> {
    socket::run(socket::bind(address::anywhere(remote))?, config, None)
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listeners = self.listeners.len();
        f.debug_struct("Transport").field("listeners", &listeners).finish_non_exhaustive()
    }
}

impl libp2p_core::Transport for Transport {
    type Output = (PeerId, Connection);
    type Error = Error;
    type ListenerUpgrade = Upgrade;
    type Dial = Upgrade;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<Error>> {
        let Some(target) = address::parse(&address) else {
            return Err(TransportError::MultiaddrNotSupported(address));
        };
        let (config, punches) = (self.config.clone(), self.punches.clone());
        let listener = Listener::bind(id, target.socket, config, punches);
        self.listeners.push(listener.map_err(|error| TransportError::Other(error.into()))?);
        // Connections from there live on.
        let is_other = |local: SocketAddr| local.is_ipv4() != target.socket.is_ipv4();
        self.unlistened.retain(|endpoint| endpoint.local_addr().is_ok_and(is_other));
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
    ) -> Result<Upgrade, TransportError<Error>> {
        let Some(to) = address::parse(&address).filter(address::Target::can_be_dialled) else {
            return Err(TransportError::MultiaddrNotSupported(address));
        };
        let (config, remote) = (self.config.clone(), to.socket.ip());
        let failed = |error: io::Error| TransportError::Other(error.into());
        // Without a listener there is nobody to connect to, and nothing better than to dial.
        if opts.role == Role::Listener
            && let Some(listener) = self.listeners.iter().find(|listener| listener.fits(remote))
        {
            let socket = listener.socket().map_err(failed)?;
            let expected = self.punches.expect(to.socket).map_err(TransportError::Other)?;
            return Ok(punch::punch(socket, to, expected, config).boxed());
        }
        Ok(match opts.port_use {
            PortUse::Reuse => {
                let endpoint = self.shared_endpoint(remote).map_err(failed)?;
                dial::connect(endpoint, address, to, config).boxed()
            }
            PortUse::New => {
                let connect = async move {
                    dial::connect(new_endpoint(remote, &config)?, address, to, config).await
                };
                connect.boxed()
            }
        })
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Upgrade, Error>> {
        // `None` says that there are no listeners, and more may come.
        if let Poll::Ready(Some(event)) = self.listeners.poll_next_unpin(cx) {
            return Poll::Ready(event);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
