//! The open streams and the peers that opened them.

use alloc::collections::BTreeMap;
use slotmap::{SlotMap, new_key_type};

use super::admission::ProtocolKey;
use super::budget::{Holder, MemoryBudget, moved};
use super::groups::{GroupKey, Groups};
use super::origin::{LEVELS, Origin};
use super::penalty::{Penalty, Remembered};
use super::share::{Flow, KINDS};
use crate::endpoint::stream_info::StreamInfo;
use crate::id::{PeerId, ProtocolName};
use crate::time::Timestamp;
use crate::wire::Format;

new_key_type! {
    /// An open stream as admission control knows it.
    pub struct StreamKey;

    /// A peer with open streams.
    pub(super) struct PeerKey;
}

/// A stream.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: PeerKey,
    /// The groups of the address that it came from; stale keys where there are none.
    pub(super) groups: [GroupKey; LEVELS],
    pub(super) protocol: ProtocolKey,
    pub(super) name: ProtocolName,
    /// `None` if it is a raw one.
    pub(super) format: Option<Format>,
    pub(super) created: Timestamp,
    pub(super) last_active: Timestamp,
    pub(super) requests: u64,
    pub(super) in_flight: usize,
    pub(super) memory: usize,
    /// Bytes of it that wait for the peer: to send the rest of a message, or to take an answer.
    pub(super) waiting: usize,
    /// Its calls that have a place.
    pub(super) calls: usize,
    /// It has answered what it was asked, and nothing is on its way in or out.
    pub(super) idle: bool,
    /// It has a place among all streams.
    pub(super) placed: bool,
    /// It was told to end in favour of another one.
    pub(super) displaced: bool,
}

/// What somebody has of everything, over all streams.
#[derive(Debug, Default)]
pub(super) struct Holding {
    /// Streams that have a place among all streams.
    pub(super) streams: usize,
    /// Handlers at work, and those that were told to stop.
    pub(super) requests: usize,
    pub(super) raws: usize,
    /// Calls that are open, or about to be.
    pub(super) calls: usize,
    pub(super) memory: usize,
}

/// What is shared, each with a number of places.
#[derive(Copy, Clone, Debug)]
pub(super) enum Kind {
    Stream,
    Request,
    Raw,
    Call,
}

impl Holding {
    pub(super) const fn of(&self, kind: Kind) -> usize {
        match kind {
            Kind::Stream => self.streams,
            Kind::Request => self.requests,
            Kind::Raw => self.raws,
            Kind::Call => self.calls,
        }
    }

    pub(super) const fn of_mut(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Stream => &mut self.streams,
            Kind::Request => &mut self.requests,
            Kind::Raw => &mut self.raws,
            Kind::Call => &mut self.calls,
        }
    }
}

/// A peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) id: PeerId,
    open: usize,
    pub(super) has: Holding,
    pub(super) penalty: Penalty,
    /// It is never cut off.
    pub(super) trusted: bool,
}

/// All streams, their peers and the groups of these. A peer is known for as long as it has a stream
/// open, and a while longer after an offence.
///
/// Peers are looked up by name when a stream opens, in a tree: their names are theirs to choose,
/// and a hash without a secret could be made to collide.
#[derive(Debug, Default)]
pub(super) struct Connections {
    pub(super) open: SlotMap<StreamKey, Connection>,
    pub(super) peers: SlotMap<PeerKey, Peer>,
    /// The widest first.
    pub(super) groups: [Groups; LEVELS],
    by_id: BTreeMap<PeerId, PeerKey>,
    gone: Remembered<PeerId, Penalty>,
}

impl Connections {
    pub(super) fn open(
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
            self.peers.insert(Peer { id, open: 0, has, penalty, trusted: false })
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
    pub(super) fn penalty(&mut self, id: &PeerId, now: Timestamp) -> Option<&Penalty> {
        let known = self.by_id.get(id).and_then(|key| self.peers.get_mut(*key));
        let penalty = match known {
            Some(peer) if peer.trusted => return None,
            Some(peer) => &mut peer.penalty,
            None => self.gone.get(id)?,
        };
        penalty.refill(now);
        Some(penalty)
    }

    /// What the peer and the groups of a stream have of something, and its protocol of which there are
    /// so many.
    pub(super) fn flows(
        &self,
        stream: &Connection,
        kind: Kind,
        protocol: Option<Flow>,
    ) -> [Option<Flow>; KINDS] {
        let group = |level: usize| {
            let (key, known) = (stream.groups.get(level)?, self.groups.get(level)?);
            Some(Flow { has: known.get(*key)?.has.of(kind), known: known.len() })
        };
        let peer = self.peers.get(stream.peer);
        let peer = peer.map(|peer| Flow { has: peer.has.of(kind), known: self.peers.len() });
        [group(0), group(1), peer, protocol]
    }

    /// The counts of the peer and of the groups of a stream, and that of its protocol.
    pub(super) fn counts<'a>(
        &'a mut self,
        peer: PeerKey,
        groups: [GroupKey; LEVELS],
        kind: Kind,
        protocol: Option<&'a mut usize>,
    ) -> [Option<&'a mut usize>; KINDS] {
        let ([wide, narrow], [first, second]) = (groups, &mut self.groups);
        let wide = first.get_mut(wide).map(|group| group.has.of_mut(kind));
        let narrow = second.get_mut(narrow).map(|group| group.has.of_mut(kind));
        let peer = self.peers.get_mut(peer).map(|peer| peer.has.of_mut(kind));
        [wide, narrow, peer, protocol]
    }

    /// Peers of these groups have committed offences, and so many requests of theirs were answered.
    pub(super) fn settle(
        &mut self,
        groups: [GroupKey; LEVELS],
        offences: u32,
        answered: u32,
        now: Timestamp,
    ) {
        for (key, known) in groups.into_iter().zip(&mut self.groups) {
            if let Some(group) = known.get_mut(key) {
                group.credit.settle(offences, answered, now);
            }
        }
    }

    /// Whether a stream may hold so many bytes.
    pub(super) fn fits(&self, budget: &MemoryBudget, key: StreamKey, bytes: usize) -> bool {
        let Some(stream) = self.open.get(key) else { return false };
        let Some(peer) = self.peers.get(stream.peer) else { return false };
        let peer = Holder { holds: peer.has.memory, known: self.peers.len() };
        let groups = stream.groups.iter().zip(&self.groups).filter_map(|(key, known)| {
            let group = known.get(*key)?;
            Some(Holder { holds: group.has.memory, known: known.len() })
        });
        budget.fits(stream.memory, bytes, peer, groups)
    }

    /// A stream holds so many bytes.
    #[inline]
    pub(super) fn charge(&mut self, budget: &mut MemoryBudget, key: StreamKey, bytes: usize) {
        let Some(stream) = self.open.get_mut(key) else { return };
        let before = core::mem::replace(&mut stream.memory, bytes);
        if before == bytes {
            return;
        }
        budget.charge(before, bytes);
        if let Some(peer) = self.peers.get_mut(stream.peer) {
            peer.has.memory = moved(peer.has.memory, before, bytes);
        }
        for (key, known) in stream.groups.into_iter().zip(&mut self.groups) {
            if let Some(group) = known.get_mut(key) {
                group.has.memory = moved(group.has.memory, before, bytes);
            }
        }
    }

    /// Of these streams, the one that has been idle for the longest time.
    pub(super) fn longest_idle(
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
    pub(super) fn close(&mut self, key: StreamKey, now: Timestamp) {
        let Some(connection) = self.open.remove(key) else { return };
        for (key, known) in connection.groups.into_iter().zip(&mut self.groups) {
            known.leave(key, now);
        }
        let Some(peer) = self.peers.get_mut(connection.peer) else { return };
        peer.open -= 1;
        if peer.open == 0
            && let Some(peer) = self.peers.remove(connection.peer)
        {
            self.by_id.remove(&peer.id);
            self.gone.keep(peer.id, peer.penalty, now);
        }
    }

    /// A stream and its peer.
    pub(super) fn get_mut(&mut self, key: StreamKey) -> Option<(&mut Connection, &mut Peer)> {
        let connection = self.open.get_mut(key)?;
        let peer = self.peers.get_mut(connection.peer)?;
        Some((connection, peer))
    }

    pub(super) fn info(&self, now: Timestamp) -> impl Iterator<Item = StreamInfo> {
        self.open.values().filter_map(move |connection| {
            Some(StreamInfo {
                peer: self.peers.get(connection.peer)?.id,
                protocol: connection.name.clone(),
                format: connection.format,
                created: connection.created,
                last_active: connection.last_active,
                idle: now.since(connection.last_active),
                requests: connection.requests,
                in_flight: connection.in_flight,
                memory: connection.memory,
            })
        })
    }
}
