//! The open streams and the peers that opened them.

use alloc::collections::BTreeMap;
use slotmap::{SlotMap, new_key_type};

use super::admission::ProtocolKey;
use super::penalty::{Penalty, Remembered};
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
    pub(super) protocol: ProtocolKey,
    pub(super) name: ProtocolName,
    /// `None` if it is a raw one.
    pub(super) format: Option<Format>,
    pub(super) created: Timestamp,
    pub(super) last_active: Timestamp,
    pub(super) requests: u64,
    pub(super) in_flight: usize,
    pub(super) memory: usize,
    /// It has answered what it was asked, and nothing is on its way in or out.
    pub(super) idle: bool,
}

/// What a peer has of everything, over all its streams.
#[derive(Debug)]
pub(super) struct Peer {
    id: PeerId,
    streams: usize,
    /// Handlers at work, and those that were told to stop.
    pub(super) requests: usize,
    pub(super) raws: usize,
    pub(super) memory: usize,
    pub(super) penalty: Penalty,
}

/// All streams and their peers. A peer is known for as long as it has a stream open, and a while
/// longer after an offence.
///
/// Peers are looked up by name when a stream opens, in a tree: their names are theirs to choose,
/// and a hash without a secret could be made to collide.
#[derive(Debug, Default)]
pub(super) struct Connections {
    pub(super) open: SlotMap<StreamKey, Connection>,
    pub(super) peers: SlotMap<PeerKey, Peer>,
    by_id: BTreeMap<PeerId, PeerKey>,
    gone: Remembered,
}

impl Connections {
    pub(super) fn open(
        &mut self,
        id: PeerId,
        protocol: ProtocolKey,
        name: ProtocolName,
        format: Option<Format>,
        now: Timestamp,
    ) -> StreamKey {
        let peer = *self.by_id.entry(id).or_insert_with(|| {
            let penalty = self.gone.take(&id, now);
            self.peers.insert(Peer { id, streams: 0, requests: 0, raws: 0, memory: 0, penalty })
        });
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.streams += 1;
            peer.penalty.refill(now);
        }
        self.open.insert(Connection {
            peer,
            protocol,
            name,
            format,
            created: now,
            last_active: now,
            requests: 0,
            in_flight: 0,
            memory: 0,
            idle: false,
        })
    }

    /// Of these streams, the one that has been idle for the longest time.
    pub(super) fn longest_idle(
        &mut self,
        among: impl IntoIterator<Item = StreamKey>,
    ) -> Option<(StreamKey, &mut Connection)> {
        let since = |key| self.open.get(key).filter(|c| c.idle).map(|c| (c.last_active, key));
        let (_, key) = among.into_iter().filter_map(since).min()?;
        Some((key, self.open.get_mut(key)?))
    }

    /// Forgets a stream, of which nothing may be counted any more.
    pub(super) fn close(&mut self, key: StreamKey, now: Timestamp) {
        let Some(connection) = self.open.remove(key) else { return };
        let Some(peer) = self.peers.get_mut(connection.peer) else { return };
        peer.streams -= 1;
        if peer.streams == 0
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
