//! Raw streams: those that are dialled, and those that are open.

use alloc::vec::Vec;

use slotmap::SlotMap;

use super::keys::{DialId, PeerKey};
use crate::endpoint::stream_info::StreamInfo;
use crate::error::Cause;
use crate::id::{PeerId, ProtocolName};
use crate::time::Timestamp;

/// ```text
///  Dialling ──dialed──▶ Open ──hung up──▶ (removed)
///     └──────failed or hung up────────────▲
/// ```
#[derive(Debug)]
pub(crate) struct Dial {
    peer: PeerKey,
    peer_id: PeerId,
    protocol: ProtocolName,
    /// When it was asked for, or when it was there.
    since: Timestamp,
    /// When it must be there; `None` once it is.
    due: Option<Timestamp>,
    /// The limit that `due` comes from.
    late: Cause,
}

impl Dial {
    pub(crate) fn peer(&self) -> PeerKey {
        self.peer
    }

    /// When it must be there; `None` once it is.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        self.due
    }

    /// What it fails with if it is not there in time.
    pub(crate) fn late(&self) -> &Cause {
        &self.late
    }

    /// Whether it should be there by now and is not.
    pub(crate) fn is_late(&self, now: Timestamp) -> bool {
        self.due.is_some_and(|due| due <= now)
    }
}

/// The raw streams of a client.
#[derive(Debug, Default)]
pub(crate) struct Dials {
    dials: SlotMap<DialId, Dial>,
}

impl Dials {
    /// A raw stream is dialled, until `due` at the latest, and fails as `late` then.
    pub(crate) fn begin(
        &mut self,
        (peer, peer_id): (PeerKey, PeerId),
        protocol: ProtocolName,
        (due, late): (Timestamp, Cause),
        now: Timestamp,
    ) -> DialId {
        self.dials.insert(Dial { peer, peer_id, protocol, since: now, due: Some(due), late })
    }

    /// It is there. Returns when it was to be; `None` if nobody waits for it.
    pub(crate) fn opened(&mut self, dial: DialId, now: Timestamp) -> Option<Timestamp> {
        let dial = self.dials.get_mut(dial)?;
        let due = dial.due.take()?;
        dial.since = now;
        Some(due)
    }

    pub(crate) fn get(&self, dial: DialId) -> Option<&Dial> {
        self.dials.get(dial)
    }

    /// Whether it is waited for.
    pub(crate) fn is_pending(&self, dial: DialId) -> bool {
        self.dials.get(dial).is_some_and(|dial| dial.due.is_some())
    }

    pub(crate) fn remove(&mut self, dial: DialId) -> Option<Dial> {
        self.dials.remove(dial)
    }

    pub(crate) fn ids(&self) -> Vec<DialId> {
        self.dials.keys().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.dials.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.dials.is_empty()
    }

    /// What is reported of those that are open.
    pub(crate) fn info(&self, now: Timestamp) -> impl Iterator<Item = StreamInfo> {
        let open = self.dials.values().filter(|dial| dial.due.is_none());
        open.map(move |dial| StreamInfo {
            peer: dial.peer_id,
            protocol: dial.protocol.clone(),
            format: None,
            created: dial.since,
            last_active: dial.since,
            idle: now.since(dial.since),
            requests: 1,
            in_flight: 1,
            memory: 0,
        })
    }
}
