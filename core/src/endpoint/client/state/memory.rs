//! What is known of each peer: in which format it serves which protocol, and whether it keeps plain
//! streams.

use alloc::collections::VecDeque;
use core::hash::Hash;

use hashbrown::{Equivalent, HashMap};

use super::routes::{RouteName, RouteRef};
use crate::hash::FixedState;
use crate::id::PeerId;
use crate::wire::Format;

/// How many peers a client remembers, and how many protocols of theirs, each with the format that it
/// is served in. To forget one costs a round trip.
const CAPACITY: usize = 8192;

/// What a peer was seen to do.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
struct Known {
    /// It has served a protocol in the native format, so it does so with others, as far as is known.
    native: bool,
    keep_alive: KeepAlive,
}

/// How a peer serves one protocol.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Served {
    Native,
    /// In the plain format: a raw listener looks the same. If that was learned before the peer was
    /// seen to speak native at all, it may have changed.
    Plain {
        beside_native: bool,
    },
    /// What was guessed was refused: to be asked.
    Unsure,
}

/// What a plain peer does with a stream after it has answered. The format does not say, and Go
/// libraries differ: 1.1.x keeps the stream, 1.0.x closes it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeepAlive {
    Unknown,
    Keeps,
    /// It closes them, as far as is known; looked at again after so many streams, because a
    /// connection that broke at the wrong time looks the same.
    Closes(u8),
}

impl KeepAlive {
    pub(crate) const CLOSES: Self = Self::Closes(100);
}

/// What was learned last, up to [`CAPACITY`] of it.
#[derive(Debug)]
struct Recent<K, V> {
    known: HashMap<K, V, FixedState>,
    /// In the order of learning.
    order: VecDeque<K>,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self { known: HashMap::default(), order: VecDeque::new() }
    }
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    fn get(&self, key: &(impl Equivalent<K> + Hash + ?Sized)) -> Option<&V> {
        self.known.get(key)
    }

    fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.known.get_mut(key)
    }

    fn learn(&mut self, key: &K, value: V) {
        if let Some(known) = self.known.get_mut(key) {
            *known = value;
            return;
        }
        self.known.insert(key.clone(), value);
        self.order.push_back(key.clone());
        if self.order.len() > CAPACITY
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

/// What was learned of each peer last.
///
/// Formats are remembered by peer and protocol. Of a protocol of which nothing is known, native is
/// guessed if the peer has served another so; plain is never guessed.
#[derive(Debug, Default)]
pub(crate) struct PeerMemory {
    peers: Recent<PeerId, Known>,
    protocols: Recent<RouteName, Served>,
}

impl PeerMemory {
    /// In which format a protocol is expected to be served: streams propose just that.
    pub(crate) fn format(&self, peer: &PeerId, protocol: &str) -> Option<Format> {
        let native = self.peers.get(peer).is_some_and(|known| known.native);
        match self.protocols.get(&RouteRef { peer, protocol }) {
            Some(Served::Unsure) => None,
            Some(Served::Native) => Some(Format::Native),
            Some(Served::Plain { beside_native }) if *beside_native || !native => {
                Some(Format::Plain)
            }
            Some(Served::Plain { .. }) | None => native.then_some(Format::Native),
        }
    }

    /// What the peer does with its plain streams.
    pub(crate) fn keep_alive(&self, peer: &PeerId) -> KeepAlive {
        self.peers.get(peer).map_or(KeepAlive::Unknown, |known| known.keep_alive)
    }

    /// Whether the peer is expected to close its plain streams; counts the times it is asked.
    pub(crate) fn expect_close(&mut self, peer: &PeerId) -> bool {
        let Some(known) = self.peers.get_mut(peer) else { return false };
        let KeepAlive::Closes(left) = known.keep_alive else { return false };
        known.keep_alive = left.checked_sub(1).map_or(KeepAlive::Unknown, KeepAlive::Closes);
        true
    }

    /// The peer has agreed to a format for a protocol, or answered in it.
    pub(crate) fn learn_format(&mut self, name: &RouteName, format: Format) {
        let native = format == Format::Native;
        let known = self.peers.get(&name.peer).copied();
        let known = known.unwrap_or(Known { native: false, keep_alive: KeepAlive::Unknown });
        let served = match format {
            Format::Native => Served::Native,
            Format::Plain => Served::Plain { beside_native: known.native },
        };
        self.peers.learn(&name.peer, Known { native: known.native || native, ..known });
        self.protocols.learn(name, served);
    }

    pub(crate) fn learn_keep_alive(&mut self, peer: &PeerId, keep_alive: KeepAlive) {
        if let Some(known) = self.peers.get_mut(peer) {
            known.keep_alive = keep_alive;
        }
    }

    /// The peer has refused the format that was expected.
    pub(crate) fn doubt(&mut self, name: &RouteName) {
        if self.format(&name.peer, name.protocol.as_str()).is_some() {
            self.protocols.learn(name, Served::Unsure);
        }
    }
}
