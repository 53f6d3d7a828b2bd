//! Calls of `connect` to peers that are connected: whether they are still there is to be seen.

use std::task::Context;
use std::time::Duration;

use libp2p_identity::PeerId;
use libp2p_swarm::ConnectionId;
use pointsub_core::Timestamp;

use crate::clock::Clock;
use crate::dialing::Connect;
use crate::timer::Timer;

/// How long a peer may take to give a sign of life before it is dialled again.
const ANSWER: Duration = Duration::from_secs(1);

/// Who waits for a sign of life on a connection.
#[derive(Debug)]
pub(crate) struct Doubts {
    waiting: Vec<Doubt>,
    timer: Timer,
}

/// One who waits.
#[derive(Debug)]
pub(crate) struct Doubt {
    pub(crate) peer: PeerId,
    pub(crate) connection: ConnectionId,
    pub(crate) connect: Connect,
    until: Timestamp,
}

impl Doubts {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { waiting: Vec::new(), timer: Timer::new(clock) }
    }

    /// Somebody waits whether a peer answers on this connection.
    pub(crate) fn add(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        connect: Connect,
        now: Timestamp,
    ) {
        self.waiting.push(Doubt { peer, connection, connect, until: now + ANSWER });
    }

    /// All is known of this connection.
    pub(crate) fn resolve(&mut self, connection: ConnectionId) -> Vec<Doubt> {
        self.waiting.extract_if(.., |doubt| doubt.connection == connection).collect()
    }

    /// Those who have waited long enough.
    pub(crate) fn poll(&mut self, now: Timestamp, cx: &mut Context<'_>) -> Vec<Doubt> {
        let over = self.waiting.extract_if(.., |doubt| doubt.until <= now).collect();
        let next = self.waiting.iter().map(|doubt| doubt.until).min();
        if self.timer.poll_due(next, cx) {
            cx.waker().wake_by_ref();
        }
        over
    }
}
