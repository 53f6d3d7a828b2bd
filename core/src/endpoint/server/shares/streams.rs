//! The open streams and the peers that opened them.

use alloc::collections::BTreeMap;
use slotmap::{SlotMap, new_key_type};

use super::groups::{GroupKey, Groups};
use super::holding::Holding;
use super::origin::{LEVELS, Origin};
use crate::endpoint::server::penalty::{Penalty, Remembered};
use crate::endpoint::stream_info::StreamInfo;
use crate::id::{PeerId, ProtocolName};
use crate::time::Timestamp;
use crate::wire::Format;

new_key_type! {
    /// A registered protocol. Stale once the protocol is unregistered.
    pub(crate) struct ProtocolKey;

    /// An open stream as admission control knows it.
    pub struct StreamKey;

    /// A peer with open streams.
    pub(in crate::endpoint::server) struct PeerKey;
}

/// A stream.
#[derive(Debug)]
pub(in crate::endpoint::server) struct Connection {
    pub(in crate::endpoint::server) peer: PeerKey,
    /// The groups of the address that it came from; stale keys where there are none.
    pub(in crate::endpoint::server) groups: [GroupKey; LEVELS],
    pub(in crate::endpoint::server) protocol: ProtocolKey,
    pub(in crate::endpoint::server) name: ProtocolName,
    /// `None` if it is a raw one.
    pub(in crate::endpoint::server) format: Option<Format>,
    pub(in crate::endpoint::server) created: Timestamp,
    pub(in crate::endpoint::server) last_active: Timestamp,
    pub(in crate::endpoint::server) requests: u64,
    pub(in crate::endpoint::server) in_flight: usize,
    pub(in crate::endpoint::server) memory: usize,
    /// Bytes of it that wait for the peer: to send the rest of a message, or to take an answer.
    pub(in crate::endpoint::server) waiting: usize,
    /// Its calls that have a place.
    pub(in crate::endpoint::server) calls: usize,
    /// It has answered what it was asked, and nothing is on its way in or out.
    pub(in crate::endpoint::server) idle: bool,
    /// It has a place among all streams.
    pub(in crate::endpoint::server) placed: bool,
    /// It was told to end in favour of another one.
    pub(in crate::endpoint::server) displaced: bool,
}

/// A peer.
#[derive(Debug)]
pub(in crate::endpoint::server) struct Peer {
    pub(in crate::endpoint::server) id: PeerId,
    open: usize,
    pub(in crate::endpoint::server) has: Holding,
    pub(in crate::endpoint::server) penalty: Penalty,
    /// A request of it was answered since it is known.
    pub(in crate::endpoint::server) answered: bool,
    /// It is never cut off.
    pub(in crate::endpoint::server) trusted: bool,
}

impl Peer {
    pub(in crate::endpoint::server) fn is_answered_and_idle(&self) -> bool {
        self.answered && self.has.requests == 0
    }
}

/// All streams, their peers and the groups of these. A peer is known for as long as it has a stream
/// open, and a while longer after an offence.
///
/// Peers are looked up by name when a stream opens, in a tree: their names are theirs to choose,
/// and a hash without a secret could be made to collide.
#[derive(Debug, Default)]
pub(in crate::endpoint::server) struct Connections {
    pub(in crate::endpoint::server) open: SlotMap<StreamKey, Connection>,
    pub(in crate::endpoint::server) peers: SlotMap<PeerKey, Peer>,
    /// Peers of which a request was answered, and that have none at work.
    pub(in crate::endpoint::server) answered_idle: usize,
    /// The widest first.
    pub(in crate::endpoint::server) groups: [Groups; LEVELS],
    by_id: BTreeMap<PeerId, PeerKey>,
    gone: Remembered<PeerId, Penalty>,
}

impl Connections {
    pub(in crate::endpoint::server) fn open(
        &mut self,
        origin: Origin,
        protocol: ProtocolKey,
        name: ProtocolName,
        format: Option<Format>,
        now: Timestamp,
    ) -> StreamKey {
        let mut groups = [GroupKey::default(); LEVELS];
        let mut credit = None;
        for ((key, id), known) in groups.iter_mut().zip(origin.groups).zip(&mut self.groups) {
            let Some(id) = id else { continue };
            *key = known.enter(id, now);
            credit = known.get(*key).map(|group| group.credit);
        }
        let id = origin.peer;
        let peer = *self.by_id.entry(id).or_insert_with(|| {
            let penalty = self.gone.take(&id);
            let penalty = penalty.unwrap_or_else(|| Penalty::new(credit.as_ref(), now));
            let has = Holding::default();
            self.peers.insert(Peer { id, open: 0, has, penalty, answered: false, trusted: false })
        });
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.open += 1;
            peer.trusted = origin.trusted;
            peer.penalty.refill(now);
        }
        self.open.insert(Connection {
            peer,
            groups,
            protocol,
            name,
            format,
            created: now,
            last_active: now,
            requests: 0,
            in_flight: 0,
            memory: 0,
            waiting: 0,
            calls: 0,
            idle: false,
            placed: false,
            displaced: false,
        })
    }

    /// The score of a peer, with or without streams.
    pub(in crate::endpoint::server) fn penalty(
        &mut self,
        id: &PeerId,
        now: Timestamp,
    ) -> Option<&Penalty> {
        let known = self.by_id.get(id).and_then(|key| self.peers.get_mut(*key));
        let penalty = match known {
            Some(peer) if peer.trusted => return None,
            Some(peer) => &mut peer.penalty,
            None => self.gone.get(id)?,
        };
        penalty.refill(now);
        Some(penalty)
    }

    /// Of these streams, the one that has been idle for the longest time.
    pub(in crate::endpoint::server) fn longest_idle(
        &mut self,
        among: impl IntoIterator<Item = StreamKey>,
    ) -> Option<(StreamKey, &mut Connection)> {
        let since = |key| {
            self.open.get(key).filter(|c| c.idle && !c.displaced).map(|c| (c.last_active, key))
        };
        let (_, key) = among.into_iter().filter_map(since).min()?;
        Some((key, self.open.get_mut(key)?))
    }

    /// Forgets a stream, of which nothing may be counted any more.
    pub(in crate::endpoint::server) fn close(&mut self, key: StreamKey, now: Timestamp) {
        let Some(connection) = self.open.remove(key) else { return };
        for (key, known) in connection.groups.into_iter().zip(&mut self.groups) {
            known.leave(key, now);
        }
        let Some(peer) = self.peers.get_mut(connection.peer) else { return };
        peer.open -= 1;
        if peer.open == 0
            && let Some(peer) = self.peers.remove(connection.peer)
        {
            self.answered_idle -= usize::from(peer.is_answered_and_idle());
            self.by_id.remove(&peer.id);
            self.gone.keep(peer.id, peer.penalty, now);
        }
    }

    pub(in crate::endpoint::server) fn info(
        &self,
        now: Timestamp,
    ) -> impl Iterator<Item = StreamInfo> {
        self.open.values().filter_map(move |stream| self.info_of(stream, stream.last_active, now))
    }

    /// A stream, on which bytes came or left at `active`.
    pub(in crate::endpoint::server) fn info_of(
        &self,
        connection: &Connection,
        active: Timestamp,
        now: Timestamp,
    ) -> Option<StreamInfo> {
        let last_active = connection.last_active.max(active);
        Some(StreamInfo {
            peer: self.peers.get(connection.peer)?.id,
            protocol: connection.name.clone(),
            format: connection.format,
            created: connection.created,
            last_active,
            idle: now.since(last_active),
            requests: connection.requests,
            in_flight: connection.in_flight,
            memory: connection.memory,
        })
    }
}
