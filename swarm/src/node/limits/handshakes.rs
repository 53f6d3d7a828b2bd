//! Who is in the middle of a handshake with this node.
//!
//! libp2p refuses newcomers while so many handshakes are under way, which keeps everybody out as soon
//! as one host opens as many connections and says nothing. Here newcomers are let in, and one that
//! has said nothing makes room.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::task::AtomicWaker;
use futures::{FutureExt, ready};
use libp2p_core::multiaddr::Protocol;
use libp2p_core::muxing::StreamMuxerBox;
use libp2p_core::transport::{Boxed, DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p_core::{Multiaddr, Transport};
use libp2p_identity::PeerId;
use parking_lot::Mutex;

use super::places::{PlaceId, Places};
use crate::clock::{Clock, Sleep};
use crate::node::addresses::ip::prefix;

/// How many connections of others are accepted before the first of them has been polled.
const UNHEARD: usize = 32;

type Muxed = (PeerId, StreamMuxerBox);
type Inner = Boxed<Muxed>;

/// A transport that limits handshakes: how many others make at a time, and how long each takes.
pub(in crate::node) struct Handshakes {
    inner: Inner,
    places: Arc<Mutex<Places<Arc<Eviction>>>>,
    /// Who accepts, to go on when those who have come had their turn.
    accepts: Arc<AtomicWaker>,
    inbound: Duration,
    outbound: Duration,
    clock: Clock,
}

thread_local! {
    /// What is polled on this thread has heard from its peer.
    static HEARD: Cell<bool> = const { Cell::new(false) };
}

/// The handshake that is being polled has heard from its peer. Transports are nested and hide each
/// other's futures, so that it cannot be told by what they return.
pub(crate) fn heard() {
    HEARD.set(true);
}

/// Tells a handshake that it has to make room.
#[derive(Debug, Default)]
struct Eviction {
    evicted: AtomicBool,
    waker: AtomicWaker,
}

impl Handshakes {
    /// At most `limit` handshakes that others begin, each of which may take `inbound`. Those that
    /// this node begins may take `outbound`.
    pub(in crate::node) fn new(
        inner: Inner,
        limit: usize,
        inbound: Duration,
        outbound: Duration,
        clock: Clock,
    ) -> Self {
        let (places, accepts) = (Arc::new(Mutex::new(Places::new(limit))), Arc::default());
        Self { inner, places, accepts, inbound, outbound, clock }
    }

    fn place(&self, remote: &Multiaddr) -> Place {
        let eviction = Arc::new(Eviction::default());
        let (id, evicted) = self.places.lock().enter(prefix(remote), eviction.clone());
        if let Some(evicted) = evicted {
            evicted.evicted.store(true, Ordering::Release);
            evicted.waker.wake();
        }
        let quic = remote.iter().any(|part| part == Protocol::QuicV1);
        let (places, accepts) = (self.places.clone(), self.accepts.clone());
        Place { id, eviction, places, accepts, quic, polled: false, heard: false }
    }
}

impl Transport for Handshakes {
    type Output = Muxed;
    type Error = io::Error;
    type ListenerUpgrade = Handshake;
    type Dial = Limited<<Inner as Transport>::Dial>;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<io::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        let dial = self.inner.dial(address, options)?;
        Ok(Limited::new(dial, self.outbound, &self.clock))
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Handshake, io::Error>> {
        // Further ones wait in the system's queue, so that those who have come can speak before they
        // have to make room.
        self.accepts.register(cx.waker());
        if self.places.lock().new_ones() >= UNHEARD {
            return Poll::Pending;
        }
        let event = ready!(Pin::new(&mut self.inner).poll(cx));
        let place = match &event {
            TransportEvent::Incoming { send_back_addr, .. } => Some(self.place(send_back_addr)),
            _ => None,
        };
        let limited = |upgrade| Limited::new(upgrade, self.inbound, &self.clock);
        Poll::Ready(event.map_upgrade(|upgrade| Handshake { place, upgrade: limited(upgrade) }))
    }
}

/// The place of a handshake; given back when it is dropped.
#[derive(Debug)]
struct Place {
    id: PlaceId,
    eviction: Arc<Eviction>,
    places: Arc<Mutex<Places<Arc<Eviction>>>>,
    accepts: Arc<AtomicWaker>,
    quic: bool,
    polled: bool,
    heard: bool,
}

impl Place {
    /// Whether the handshake may go on.
    fn poll(&self, cx: &Context<'_>) -> io::Result<()> {
        self.eviction.waker.register(cx.waker());
        if self.eviction.evicted.load(Ordering::Acquire) {
            return Err(io::Error::other("too many handshakes at a time: it made room"));
        }
        HEARD.set(false);
        Ok(())
    }

    /// It was polled. A handshake of QUIC is when it begins, and then when its peer has spoken.
    fn polled(&mut self) {
        let heard = HEARD.take() || (self.polled && self.quic);
        if !self.heard {
            self.places.lock().had_turn(self.id, heard);
        }
        if !self.polled {
            self.accepts.wake();
        }
        self.polled = true;
        self.heard |= heard;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().leave(self.id);
        self.accepts.wake();
    }
}

/// A handshake that somebody else has begun.
pub(in crate::node) struct Handshake {
    upgrade: Limited<<Inner as Transport>::ListenerUpgrade>,
    place: Option<Place>,
}

impl Future for Handshake {
    type Output = io::Result<Muxed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(place) = &mut self.place {
            place.poll(cx)?;
        }
        let outcome = self.upgrade.poll_unpin(cx);
        if let Some(place) = &mut self.place {
            place.polled();
        }
        outcome
    }
}

/// A future that fails if it takes too long.
pub(in crate::node) struct Limited<F> {
    future: F,
    limit: Duration,
    timer: Sleep,
}

impl<F> Limited<F> {
    fn new(future: F, limit: Duration, clock: &Clock) -> Self {
        Self { future, limit, timer: clock.sleep(limit) }
    }
}

impl<F: Future<Output = io::Result<Muxed>> + Unpin> Future for Limited<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(outcome) = self.future.poll_unpin(cx) {
            return Poll::Ready(outcome);
        }
        ready!(self.timer.poll_unpin(cx));
        let late = format!("no connection within {:?}", self.limit);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, late)))
    }
}
