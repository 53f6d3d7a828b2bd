//! Raw streams that are dialled: no frames, but the same limits and the same connect timeout.

use slotmap::new_key_type;

use super::directive::{ClientEvent, Directive};
use super::dispatch::{Dispatcher, Timer};
use super::route::PeerKey;
use crate::endpoint::stream_info::ConnectionInfo;
use crate::error::{Cause, Delivery, Phase, RequestError, SendError, StreamError};
use crate::id::{PeerId, ProtocolName};
use crate::time::Timestamp;

new_key_type! {
    /// A raw stream of a client, from [`Client::dial`](crate::client::Client::dial) until it is hung up.
    pub struct DialId;
}

/// ```text
///  Dialling ──dialed──▶ Open ──hung up──▶ (removed)
///     └──────failed or hung up────────────▲
/// ```
#[derive(Debug)]
pub(super) struct Dialled {
    peer: PeerKey,
    protocol: ProtocolName,
    /// When it was asked for, or when it was there.
    since: Timestamp,
    /// When it must be there; `None` once it is.
    due: Option<Timestamp>,
    /// The limit that `due` comes from.
    late: Cause,
}

impl Dialled {
    /// Whether it should be there by now and is not.
    pub(super) fn is_late(&self, now: Timestamp) -> bool {
        self.due.is_some_and(|due| due <= now)
    }
}

impl Dispatcher {
    /// Opens a raw stream to a peer. It counts among the streams of that peer until it is
    /// [hung up](Self::hang_up); where there is no room, idle pooled streams make some.
    ///
    /// Exactly one [`ClientEvent::Dialed`] or [`ClientEvent::DialFailed`] follows, unless it is
    /// hung up before.
    ///
    /// # Errors
    /// [`SendError`] if it is not accepted: [`TooManyStreams`](SendError::TooManyStreams) if as many
    /// streams as are allowed are in use.
    pub fn dial(
        &mut self,
        peer: &PeerId,
        protocol: &str,
        deadline: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<DialId, SendError> {
        self.now = self.now.max(now);
        if self.is_stopping() {
            return Err(SendError::Closed);
        }
        if self.local.as_ref() == Some(peer) {
            return Err(SendError::SelfRequest);
        }
        let protocol = ProtocolName::new(protocol)?;
        let key = self.peer(peer);
        if let Err(error) = self.make_room(key) {
            self.forget_peer_if_unused(key);
            return Err(error);
        }
        self.peers[key].streams += 1;
        let timeout = self.config.connect_timeout;
        let (due, late) = match deadline {
            Some(deadline) if deadline < self.now + timeout => (deadline, Cause::Deadline),
            _ => (self.now + timeout, Cause::TimedOut(timeout)),
        };
        let dial = self.dials.insert(Dialled {
            peer: key,
            protocol: protocol.clone(),
            since: self.now,
            due: Some(due),
            late,
        });
        self.stats.opens += 1;
        self.timers.insert((due, Timer::Dialling(dial)));
        self.directives.push_back(Directive::Dial { dial, peer: *peer, protocol });
        Ok(dial)
    }

    /// A raw stream is there. Returns whether it is still wanted; if not, reset it.
    pub fn dialed(&mut self, dial: DialId, now: Timestamp) -> bool {
        self.now = self.now.max(now);
        let Some(dialled) = self.dials.get_mut(dial) else { return false };
        let Some(due) = dialled.due.take() else { return false };
        dialled.since = self.now;
        self.timers.remove(&(due, Timer::Dialling(dial)));
        self.tell(ClientEvent::Dialed { dial });
        true
    }

    /// A raw stream could not be opened.
    pub fn dial_failed(&mut self, dial: DialId, error: StreamError, now: Timestamp) {
        self.now = self.now.max(now);
        if self.dials.get(dial).is_some_and(|dialled| dialled.due.is_some()) {
            self.fail_dial(dial, error.into());
        }
    }

    /// Nobody uses a raw stream any more, or waits for it. No event follows.
    pub fn hang_up(&mut self, dial: DialId, now: Timestamp) {
        self.now = self.now.max(now);
        if self.forget_dial(dial).is_some_and(|dialled| dialled.due.is_some()) {
            self.directives.push_back(Directive::AbandonDial { dial });
        }
    }

    /// A raw stream is not there in time.
    pub(super) fn dial_due(&mut self, dial: DialId) {
        if let Some(late) = self.dials.get(dial).map(|dialled| dialled.late.clone()) {
            self.directives.push_back(Directive::AbandonDial { dial });
            self.fail_dial(dial, late);
        }
    }

    /// The client closes: raw streams end with it.
    pub(super) fn close_dials(&mut self) {
        let dials: alloc::vec::Vec<DialId> = self.dials.keys().collect();
        for dial in dials {
            if self.dials.get(dial).is_some_and(|dialled| dialled.due.is_some()) {
                self.directives.push_back(Directive::AbandonDial { dial });
                self.fail_dial(dial, Cause::Closed);
            } else {
                self.forget_dial(dial);
                self.directives.push_back(Directive::HangUp { dial });
            }
        }
    }

    fn fail_dial(&mut self, dial: DialId, cause: Cause) {
        if self.forget_dial(dial).is_some() {
            let error = RequestError::new(cause, Phase::Connect, Delivery::NotProcessed);
            self.tell(ClientEvent::DialFailed { dial, error });
        }
    }

    fn forget_dial(&mut self, dial: DialId) -> Option<Dialled> {
        let dialled = self.dials.remove(dial)?;
        if let Some(due) = dialled.due {
            self.timers.remove(&(due, Timer::Dialling(dial)));
        }
        if let Some(peer) = self.peers.get_mut(dialled.peer) {
            peer.streams -= 1;
        }
        self.forget_peer_if_unused(dialled.peer);
        self.open_needed_of(dialled.peer);
        self.feed_starved();
        self.finish_drain();
        Some(dialled)
    }

    /// Makes room for one more stream to a peer. A stream that is about to be gone is room.
    fn make_room(&mut self, peer: PeerKey) -> Result<(), SendError> {
        let here = self.peers[peer].streams - self.peers[peer].leaving;
        let limit = self.config.max_streams_per_peer;
        if here >= limit && !self.close_longest_idle(|stream| stream.peer == peer) {
            return Err(SendError::TooManyStreams { limit });
        }
        let limit = self.config.max_total_conns;
        let in_all = self.streams_in_all() - self.leaving;
        if in_all >= limit && !self.close_longest_idle(|_| true) {
            return Err(SendError::TooManyStreams { limit });
        }
        Ok(())
    }

    /// What is reported of the raw streams that are open.
    pub(super) fn dials_info(&self, now: Timestamp) -> impl Iterator<Item = ConnectionInfo> {
        let open = self.dials.values().filter(|dialled| dialled.due.is_none());
        open.filter_map(move |dialled| {
            Some(ConnectionInfo {
                peer: self.peers.get(dialled.peer)?.id,
                protocol: dialled.protocol.clone(),
                format: None,
                created: dialled.since,
                last_active: dialled.since,
                idle: now.since(dialled.since),
                requests: 1,
                in_flight: 1,
                memory: 0,
            })
        })
    }

    /// Streams of all kinds, open or being opened.
    pub(super) fn streams_in_all(&self) -> usize {
        self.streams.len() + self.dials.len()
    }
}
