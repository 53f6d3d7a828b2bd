//! Those who have a connection, and wait for the peer to say something on it.

use alloc::vec::Vec;
use core::time::Duration;

use super::dialing::Connect;
use crate::id::PeerId;
use crate::time::Timestamp;

/// How long a peer may take to give a sign of life.
const ANSWER: Duration = Duration::from_secs(1);
/// The same, if a dial that came second has just reached it. Before that, its silence is judged.
const REACHED: Duration = Duration::from_secs(5);

/// All who wait for a sign of life.
#[derive(Debug)]
pub(super) struct Confirmations<K> {
    waiting: Vec<Confirmation<K>>,
}

/// One who waits.
#[derive(Debug)]
pub(super) struct Confirmation<K> {
    pub(super) peer: PeerId,
    pub(super) connection: K,
    pub(super) connect: Connect,
    pub(super) origin: Origin,
    until: Timestamp,
}

/// Where the connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// It was dialled for this call. The handshake was a sign of life; that the peer has the muxer is
    /// to be seen.
    Dialled,
    /// It was there already, or the peer has made it meanwhile. It may lead nowhere.
    Found,
    /// Likewise, and a dial that came second has just reached the peer. A further dial would come
    /// second too, unless the connection is suspect.
    Reached,
}

impl<K: Copy + PartialEq> Confirmations<K> {
    pub(super) fn new() -> Self {
        Self { waiting: Vec::new() }
    }

    /// Somebody waits whether a peer answers on this connection.
    pub(super) fn add(
        &mut self,
        peer: PeerId,
        connection: K,
        connect: Connect,
        origin: Origin,
        now: Timestamp,
    ) {
        let until = now + if origin == Origin::Reached { REACHED } else { ANSWER };
        self.waiting.push(Confirmation { peer, connection, connect, origin, until });
    }

    /// Nobody waits for this any more.
    pub(super) fn abandon(&mut self, connect: super::ConnectId) {
        self.waiting.retain(|waiting| waiting.connect.id != connect);
    }

    /// All is known of this connection.
    pub(super) fn resolve(&mut self, connection: K) -> Vec<Confirmation<K>> {
        self.waiting.extract_if(.., |waiting| waiting.connection == connection).collect()
    }

    /// Those who have waited long enough.
    pub(super) fn expire(&mut self, now: Timestamp) -> Vec<Confirmation<K>> {
        self.waiting.extract_if(.., |waiting| waiting.until <= now).collect()
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.waiting.iter().map(|waiting| waiting.until).min()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}
