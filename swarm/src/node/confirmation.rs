//! Calls of `connect` that have a connection, and wait for the peer to say something on it.

use std::task::Context;
use std::time::Duration;

use libp2p_identity::PeerId;
use libp2p_swarm::ConnectionId;
use pointsub_core::Timestamp;

use super::dialing::Connect;
use crate::clock::Clock;
use crate::timer::Timer;

/// How long a peer may take to give a sign of life.
const ANSWER: Duration = Duration::from_secs(1);

/// All who wait for a sign of life.
#[derive(Debug)]
pub(crate) struct Confirmations {
    waiting: Vec<Confirmation>,
    timer: Timer,
}

/// One who waits.
#[derive(Debug)]
pub(crate) struct Confirmation {
    pub(crate) peer: PeerId,
    pub(crate) connection: ConnectionId,
    pub(crate) connect: Connect,
    pub(crate) origin: Origin,
    until: Timestamp,
}

/// Where the connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It was dialled for this call. The handshake was a sign of life; that the peer has the muxer is
    /// to be seen.
    Dialled,
    /// It was there already, or the peer has made it meanwhile. It may lead nowhere.
    Found,
}

impl Confirmations {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { waiting: Vec::new(), timer: Timer::new(clock) }
    }

    /// Somebody waits whether a peer answers on this connection.
    pub(crate) fn add(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        connect: Connect,
        origin: Origin,
        now: Timestamp,
    ) {
        let until = now + ANSWER;
        self.waiting.push(Confirmation { peer, connection, connect, origin, until });
    }

    /// All is known of this connection.
    pub(crate) fn resolve(&mut self, connection: ConnectionId) -> Vec<Confirmation> {
        self.waiting.extract_if(.., |waiting| waiting.connection == connection).collect()
    }

    /// Those who have waited long enough.
    pub(crate) fn poll(&mut self, now: Timestamp, cx: &mut Context<'_>) -> Vec<Confirmation> {
        // All wait equally long, so that they are in the order of their ends.
        let due = self.waiting.partition_point(|waiting| waiting.until <= now);
        let over = self.waiting.drain(..due).collect();
        let next = self.waiting.first().map(|waiting| waiting.until);
        if self.timer.poll_due(next, cx) {
            cx.waker().wake_by_ref();
        }
        over
    }
}
