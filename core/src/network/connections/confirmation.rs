//! Those who have a connection, and wait for the peer to say something on it.

use alloc::vec::Vec;
use core::time::Duration;

use crate::id::PeerId;
use crate::network::ConnectId;
use crate::network::dialing::Connect;
use crate::time::Timestamp;

/// How long a peer may take to give a sign of life.
const ANSWER: Duration = Duration::from_secs(1);
/// The same, if a dial that came second has just reached it. Before that, its silence is judged as a rule;
/// where much is on its way to it, that takes longer.
const REACHED: Duration = Duration::from_secs(10);

/// A peer that is far away has so many round trips, if that is longer.
const RTTS: u32 = 4;
/// No round trip counts as longer here: the answer stood behind something else.
const LONGEST_RTT: Duration = Duration::from_secs(2);

/// All who wait for a sign of life.
#[derive(Debug)]
pub(in crate::network) struct Confirmations<K> {
    waiting: Vec<(Confirmation<K>, Timestamp)>,
}

/// One who waits.
#[derive(Debug)]
pub(in crate::network) struct Confirmation<K> {
    pub(in crate::network) peer: PeerId,
    pub(in crate::network) connection: K,
    pub(in crate::network) connect: Connect,
    pub(in crate::network) origin: Origin,
}

/// Where the connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::network) enum Origin {
    /// It was dialled for this call. The handshake was a sign of life; that the peer has the muxer is
    /// to be seen.
    Dialled,
    /// It was there already, or the peer has made it meanwhile. It may lead nowhere.
    Found,
    /// Likewise, and a dial that came second has just reached the peer. A further dial would come
    /// second too, unless the connection is suspect or doubtful.
    Reached,
}

impl<K: Copy + PartialEq> Confirmations<K> {
    pub(in crate::network) fn new() -> Self {
        Self { waiting: Vec::new() }
    }

    /// Somebody waits whether a peer answers on a connection, on which that takes `rtt` at least.
    pub(in crate::network) fn add(
        &mut self,
        waiting: Confirmation<K>,
        rtt: Duration,
        now: Timestamp,
    ) {
        let least = if waiting.origin == Origin::Reached { REACHED } else { ANSWER };
        self.waiting.push((waiting, now + least.max(rtt.min(LONGEST_RTT) * RTTS)));
    }

    /// Nobody waits for this any more.
    pub(in crate::network) fn abandon(&mut self, connect: ConnectId) {
        self.waiting.retain(|(waiting, _)| waiting.connect.id != connect);
    }

    /// All is known of this connection.
    pub(in crate::network) fn resolve(&mut self, connection: K) -> Vec<Confirmation<K>> {
        self.take(|waiting, _| waiting.connection == connection)
    }

    /// Those who have waited long enough.
    pub(in crate::network) fn expire(&mut self, now: Timestamp) -> Vec<Confirmation<K>> {
        self.take(|_, until| until <= now)
    }

    /// This node has slept, and could not hear the peers meanwhile.
    pub(in crate::network) fn restart(&mut self, now: Timestamp) {
        self.waiting.iter_mut().for_each(|(_, until)| *until = (*until).max(now + ANSWER));
    }

    pub(in crate::network) fn next_deadline(&self) -> Option<Timestamp> {
        self.waiting.iter().map(|(_, until)| *until).min()
    }

    pub(in crate::network) fn len(&self) -> usize {
        self.waiting.len()
    }

    fn take(&mut self, goes: impl Fn(&Confirmation<K>, Timestamp) -> bool) -> Vec<Confirmation<K>> {
        let gone = self.waiting.extract_if(.., |(waiting, until)| goes(waiting, *until));
        gone.map(|(waiting, _)| waiting).collect()
    }
}
