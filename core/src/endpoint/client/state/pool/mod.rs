//! Streams kept for reuse: which to use, and how many there may be.

pub(crate) mod stream;

use alloc::vec::Vec;
use core::time::Duration;

use hashbrown::HashMap;
use slotmap::{SecondaryMap, SlotMap};

use self::stream::{PooledStream, Purpose, StreamState};
use super::keys::{PeerKey, RouteKey};
use crate::config::ClientConfig;
use crate::endpoint::stream_info::StreamInfo;
use crate::hash::FixedState;
use crate::id::{PeerId, StreamId};
use crate::time::Timestamp;
use crate::wire::Format;

/// A plain peer that has not closed a stream for this long after its first answer keeps it.
const TRIAL: Duration = Duration::from_millis(50);

/// The streams to one peer, over all protocols.
#[derive(Debug)]
struct PeerStreams {
    id: PeerId,
    /// Streams that exist, raw ones too, whatever their state.
    streams: usize,
    /// Of those, streams without a request.
    idle: usize,
    /// Of those, streams that take no further requests.
    draining: usize,
    /// Of those, streams that carry a large body now.
    bulk: usize,
    /// A plain stream that has answered once, and is watched for whether the peer keeps it.
    trial: Option<StreamId>,
}

/// Streams kept for reuse, and counts of all streams to each peer.
#[derive(Debug)]
pub(crate) struct Pool {
    config: ClientConfig,
    streams: SlotMap<StreamId, PooledStream>,
    peers: SlotMap<PeerKey, PeerStreams>,
    by_id: HashMap<PeerId, PeerKey, FixedState>,
    idle: usize,
    /// Streams that take no further requests.
    draining: usize,
    /// Raw streams, which others have.
    raw: usize,
}

/// An open that has come to its end.
#[derive(Debug)]
pub(crate) struct OpenEnded {
    pub(crate) purpose: Purpose,
    /// When it was to be there.
    pub(crate) due: Timestamp,
}

/// A request was put on a stream.
#[derive(Debug)]
pub(crate) struct Placed {
    /// Signs of life that the stream had given.
    pub(crate) signs: u64,
    /// It has answered another request before.
    pub(crate) reused: bool,
}

/// A request less is on a stream.
#[derive(Debug)]
pub(crate) struct Vacated {
    pub(crate) peer: PeerKey,
    pub(crate) route: RouteKey,
    /// It carried a large body.
    pub(crate) was_bulk: bool,
    pub(crate) is_idle: bool,
    /// It can show whether its peer keeps plain streams.
    pub(crate) can_be_tried: bool,
    /// It has carried as many requests as it should.
    pub(crate) is_worn: bool,
}

/// A stream takes no further requests.
#[derive(Debug)]
pub(crate) struct Draining {
    pub(crate) route: RouteKey,
    /// When its timer for being idle runs out.
    pub(crate) watched_until: Timestamp,
    /// When its trial would have ended.
    pub(crate) trial_due: Option<Timestamp>,
}

/// A stream is gone.
#[derive(Debug)]
pub(crate) struct Gone {
    pub(crate) peer: PeerKey,
    pub(crate) route: RouteKey,
    /// Requests were put on it of which it knew nothing.
    pub(crate) has_requests: bool,
    /// The server took no further requests on it.
    pub(crate) drained: bool,
    pub(crate) was_bulk: bool,
}

impl Pool {
    pub(crate) fn new(config: ClientConfig) -> Self {
        Self {
            config,
            streams: SlotMap::with_key(),
            peers: SlotMap::with_key(),
            by_id: HashMap::default(),
            idle: 0,
            draining: 0,
            raw: 0,
        }
    }

    pub(crate) fn config(&self) -> &ClientConfig {
        &self.config
    }

    // Peers.

    pub(crate) fn peer(&mut self, id: &PeerId) -> PeerKey {
        let unused =
            PeerStreams { id: *id, streams: 0, idle: 0, draining: 0, bulk: 0, trial: None };
        let peers = &mut self.peers;
        *self.by_id.entry(*id).or_insert_with(|| peers.insert(unused))
    }

    pub(crate) fn peer_id(&self, peer: PeerKey) -> Option<&PeerId> {
        self.peers.get(peer).map(|peer| &peer.id)
    }

    /// Forgets a peer without any stream.
    pub(crate) fn forget_peer_if_unused(&mut self, peer: PeerKey) {
        if self.peers.get(peer).is_some_and(|peer| peer.streams == 0)
            && let Some(peer) = self.peers.remove(peer)
        {
            self.by_id.remove(&peer.id);
        }
    }

    pub(crate) fn peers(&self) -> usize {
        self.peers.len()
    }

    // Room.

    /// Streams of all kinds, open or being opened.
    fn in_all(&self) -> usize {
        self.streams.len() + self.raw
    }

    /// How many more streams there may be to a peer, and how many in all.
    pub(crate) fn room(&self, peer: PeerKey) -> (usize, usize) {
        let here = self.config.max_streams_per_peer.saturating_sub(self.peers[peer].streams);
        (here, self.config.max_total_streams.saturating_sub(self.in_all()))
    }

    /// How many more streams to a peer may carry large bodies.
    pub(crate) fn bulk_room(&self, peer: PeerKey) -> usize {
        self.config.max_bulk_streams.saturating_sub(self.peers[peer].bulk)
    }

    /// Streams about to be gone: those to a peer, and all.
    pub(crate) fn draining(&self, peer: PeerKey) -> (usize, usize) {
        (self.peers[peer].draining, self.draining)
    }

    /// How many streams there are to a peer, and in all, without those about to be gone.
    pub(crate) fn staying(&self, peer: PeerKey) -> (usize, usize) {
        let at_peer = &self.peers[peer];
        (at_peer.streams - at_peer.draining, self.in_all() - self.draining)
    }

    /// Whether a peer has as many streams as it may.
    pub(crate) fn is_full(&self, peer: PeerKey) -> bool {
        self.peers[peer].streams >= self.config.max_streams_per_peer
    }

    /// A raw stream is opened, which counts among those of its peer.
    pub(crate) fn add_raw(&mut self, peer: PeerKey) {
        self.peers[peer].streams += 1;
        self.raw += 1;
    }

    pub(crate) fn remove_raw(&mut self, peer: PeerKey) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.streams -= 1;
        }
        self.raw -= 1;
    }

    // Streams.

    #[inline]
    pub(crate) fn get(&self, stream: StreamId) -> Option<&PooledStream> {
        self.streams.get(stream)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, stream: StreamId) -> Option<&mut PooledStream> {
        self.streams.get_mut(stream)
    }

    pub(crate) fn len(&self) -> usize {
        self.streams.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Streams without a request.
    pub(crate) fn idle(&self) -> usize {
        self.idle
    }

    pub(crate) fn ids(&self) -> Vec<StreamId> {
        self.streams.keys().collect()
    }

    pub(crate) fn begin_open(
        &mut self,
        purpose: Purpose,
        due: Timestamp,
        now: Timestamp,
    ) -> StreamId {
        self.peers[purpose.peer].streams += 1;
        self.streams.insert(PooledStream::new(purpose, due, now))
    }

    /// A stream is open, and idle. `None` if nobody waits for it.
    pub(crate) fn opened(
        &mut self,
        stream: StreamId,
        format: Format,
        now: Timestamp,
    ) -> Option<OpenEnded> {
        let pooled = self.streams.get_mut(stream)?;
        let StreamState::Opening { due } = pooled.state else { return None };
        pooled.opened(format, self.config.max_in_flight, now);
        let purpose = pooled.purpose.clone();
        self.idle += 1;
        self.peers[purpose.peer].idle += 1;
        Some(OpenEnded { purpose, due })
    }

    /// A stream will not be open. `None` if nobody waits for it.
    pub(crate) fn open_failed(&mut self, stream: StreamId) -> Option<OpenEnded> {
        let StreamState::Opening { due } = self.streams.get(stream)?.state else { return None };
        let purpose = self.streams.remove(stream)?.purpose;
        self.peers[purpose.peer].streams -= 1;
        Some(OpenEnded { purpose, due })
    }

    /// Of these streams to a peer, one that can take a request now.
    ///
    /// A small one goes to the oldest native stream with room, so that surplus streams fall idle
    /// and expire; a large one to the newest that is free, so that the two keep out of each
    /// other's way. Of plain streams, the one that was used last: it is the least likely to have
    /// been closed, and the others expire.
    #[inline]
    pub(crate) fn pick(
        &self,
        streams: &[StreamId],
        peer: PeerKey,
        bulk: bool,
        now: Timestamp,
    ) -> Option<StreamId> {
        if bulk && self.bulk_room(peer) == 0 {
            return None;
        }
        let (mut newest, mut plain): (_, Option<(Timestamp, StreamId)>) = (None, None);
        for id in streams {
            let Some(stream) = self.streams.get(*id) else { continue };
            if !stream.can_take(bulk) || self.is_stale(stream, now) {
                continue;
            }
            match stream.format {
                Format::Native if bulk => newest = Some(*id),
                Format::Native => return Some(*id),
                Format::Plain if plain.is_none_or(|(since, _)| since <= stream.idle_since) => {
                    plain = Some((stream.idle_since, *id));
                }
                Format::Plain => {}
            }
        }
        newest.or(plain.map(|(_, id)| id))
    }

    /// Idle for too long, although no timer has said so yet: the clock may have stood still.
    fn is_stale(&self, stream: &PooledStream, now: Timestamp) -> bool {
        stream.is_idle() && stream.idle_since + self.config.idle_stream_timeout <= now
    }

    /// Puts a request on a stream.
    #[inline]
    pub(crate) fn place(&mut self, stream: StreamId, bulk: bool, now: Timestamp) -> Option<Placed> {
        let pooled = self.streams.get_mut(stream)?;
        if pooled.in_flight == 0 {
            self.idle -= 1;
            self.peers[pooled.purpose.peer].idle -= 1;
        }
        pooled.in_flight += 1;
        pooled.placed += 1;
        pooled.last_active = now;
        if bulk {
            pooled.bulk = true;
            self.peers[pooled.purpose.peer].bulk += 1;
        }
        Some(Placed { signs: pooled.signs, reused: pooled.answered > 0 })
    }

    /// One request less is on a stream.
    #[inline]
    pub(crate) fn vacate(&mut self, stream: StreamId, now: Timestamp) -> Option<Vacated> {
        let pooled = self.streams.get_mut(stream)?;
        pooled.in_flight = pooled.in_flight.saturating_sub(1);
        pooled.last_active = now;
        let (peer, route) = (pooled.purpose.peer, pooled.purpose.route);
        let was_bulk = core::mem::take(&mut pooled.bulk);
        let is_idle = pooled.is_idle();
        if was_bulk {
            self.peers[peer].bulk -= 1;
        }
        if is_idle {
            pooled.idle_since = now;
            self.idle += 1;
            self.peers[peer].idle += 1;
        }
        let (can_be_tried, is_worn) = (pooled.can_be_tried(), pooled.is_worn());
        Some(Vacated { peer, route, was_bulk, is_idle, can_be_tried, is_worn })
    }

    /// Whose stream this is, if it is idle.
    #[inline]
    pub(crate) fn peer_of_idle(&self, stream: StreamId) -> Option<PeerKey> {
        self.streams.get(stream).filter(|s| s.is_idle()).map(|s| s.purpose.peer)
    }

    /// The stream that is idle for the longest time among those.
    pub(crate) fn longest_idle(&self, of: impl Fn(&Purpose) -> bool) -> Option<StreamId> {
        if self.idle == 0 {
            return None;
        }
        let idle = self.streams.iter().filter(|(_, s)| s.is_idle() && of(&s.purpose));
        idle.min_by_key(|(id, stream)| (stream.idle_since, *id)).map(|(id, _)| id)
    }

    /// A stream that is idle beyond the caps, of this peer or of all.
    pub(crate) fn surplus(&self, peer: PeerKey) -> Option<StreamId> {
        if self.peers.get(peer)?.idle > self.config.max_idle_streams_per_peer
            && let Some(longest) = self.longest_idle(|purpose| purpose.peer == peer)
        {
            return Some(longest);
        }
        if self.idle > self.config.max_idle_streams { self.longest_idle(|_| true) } else { None }
    }

    /// Looks at a stream's idleness again at `due`. That is not moved when the stream is used, but
    /// set again if it comes too early.
    pub(crate) fn watch_until(&mut self, stream: StreamId, due: Timestamp) {
        if let Some(pooled) = self.streams.get_mut(stream) {
            pooled.watched_until = due;
        }
    }

    /// When a stream will have been idle for too long; `None` if it is not in use any more.
    pub(crate) fn idle_until(&self, stream: StreamId, now: Timestamp) -> Option<Timestamp> {
        let pooled = self.streams.get(stream).filter(|s| s.is_ready())?;
        let since = if pooled.is_idle() { pooled.idle_since } else { now };
        Some(since + self.config.idle_stream_timeout)
    }

    // Trials of plain peers.

    /// Puts no second request on a plain stream before it is known that the peer keeps it: it
    /// would be lost, and nobody could say whether it was processed. Returns when that is known;
    /// `None` if another stream of the peer is on trial.
    pub(crate) fn begin_trial(&mut self, stream: StreamId, now: Timestamp) -> Option<Timestamp> {
        let pooled = self.streams.get_mut(stream)?;
        let peer = &mut self.peers[pooled.purpose.peer];
        if peer.trial.is_some() {
            return None;
        }
        peer.trial = Some(stream);
        pooled.suspect = true;
        Some(now + TRIAL)
    }

    /// What a peer did with the stream on trial is known. Returns whose it was, and when the trial
    /// would have ended.
    pub(crate) fn end_trial(&mut self, stream: StreamId) -> Option<(PeerKey, Timestamp)> {
        let pooled = self.streams.get_mut(stream)?;
        let peer = &mut self.peers[pooled.purpose.peer];
        peer.trial.take_if(|on_trial| *on_trial == stream)?;
        pooled.suspect = false;
        Some((pooled.purpose.peer, pooled.idle_since + TRIAL))
    }

    // Ends.

    /// A stream takes no further requests. `None` if it took none before.
    pub(crate) fn drain(&mut self, stream: StreamId) -> Option<Draining> {
        let pooled = self.streams.get_mut(stream).filter(|s| s.is_ready())?;
        let peer = &mut self.peers[pooled.purpose.peer];
        if pooled.in_flight == 0 {
            self.idle -= 1;
            peer.idle -= 1;
        }
        peer.draining += 1;
        self.draining += 1;
        pooled.state = StreamState::Draining;
        let on_trial = peer.trial.take_if(|on_trial| *on_trial == stream).is_some();
        Some(Draining {
            route: pooled.purpose.route,
            watched_until: pooled.watched_until,
            trial_due: on_trial.then(|| pooled.idle_since + TRIAL),
        })
    }

    /// A stream that took no further requests is gone.
    pub(crate) fn remove(&mut self, stream: StreamId) -> Option<Gone> {
        let pooled = self.streams.remove(stream)?;
        let purpose = &pooled.purpose;
        let peer = &mut self.peers[purpose.peer];
        peer.bulk -= usize::from(pooled.bulk);
        peer.streams -= 1;
        peer.draining -= 1;
        self.draining -= 1;
        Some(Gone {
            peer: purpose.peer,
            route: purpose.route,
            has_requests: pooled.in_flight > 0,
            drained: pooled.drained,
            was_bulk: pooled.bulk,
        })
    }

    /// One entry for each open stream; `memory` is the bytes held for each.
    pub(crate) fn info(
        &self,
        memory: &SecondaryMap<StreamId, usize>,
        now: Timestamp,
    ) -> impl Iterator<Item = StreamInfo> {
        let open = self.streams.iter().filter(|(_, stream)| !stream.is_opening());
        open.map(move |(id, stream)| StreamInfo {
            peer: stream.purpose.peer_id,
            protocol: stream.purpose.protocol.clone(),
            format: Some(stream.format),
            created: stream.created,
            last_active: stream.last_active,
            idle: now.since(stream.last_active),
            requests: stream.placed,
            in_flight: stream.in_flight,
            memory: memory.get(id).copied().unwrap_or(0),
        })
    }
}
