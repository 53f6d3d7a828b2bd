//! Raw streams: no frames, but the same limits and the same connect timeout.

use super::Dispatcher;
use crate::endpoint::client::directive::{ClientEvent, Directive};
use crate::endpoint::client::state::dials::Dial;
use crate::endpoint::client::state::keys::{DialId, PeerKey};
use crate::endpoint::client::state::timers::TimerKind;
use crate::error::{Cause, Delivery, Phase, RequestError, SendError, StreamError};
use crate::id::{PeerId, ProtocolName};
use crate::time::Timestamp;

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
        let key = self.pool.peer(peer);
        if let Err(error) = self.make_room(key) {
            self.forget_peer_if_unused(key);
            return Err(error);
        }
        self.pool.add_raw(key);
        let timeout = self.config().connect_timeout;
        let (due, late) = match deadline {
            Some(deadline) if deadline < self.now + timeout => (deadline, Cause::Deadline),
            _ => (self.now + timeout, Cause::TimedOut(timeout)),
        };
        let dial = self.dials.begin((key, *peer), protocol.clone(), (due, late), self.now);
        self.stats.opens += 1;
        self.timers.set(due, TimerKind::Dial(dial));
        self.directives.push_back(Directive::Dial { dial, peer: *peer, protocol });
        Ok(dial)
    }

    /// A raw stream is there. Returns whether it is still wanted; if not, reset it.
    pub fn dialed(&mut self, dial: DialId, now: Timestamp) -> bool {
        self.now = self.now.max(now);
        let Some(due) = self.dials.opened(dial, self.now) else { return false };
        self.timers.cancel(due, TimerKind::Dial(dial));
        self.tell(ClientEvent::Dialed { dial });
        true
    }

    /// A raw stream could not be opened.
    pub fn dial_failed(&mut self, dial: DialId, error: StreamError, now: Timestamp) {
        self.now = self.now.max(now);
        if self.dials.is_pending(dial) {
            self.fail_dial(dial, error.into());
        }
    }

    /// Nobody uses a raw stream any more, or waits for it. No event follows.
    pub fn hang_up(&mut self, dial: DialId, now: Timestamp) {
        self.now = self.now.max(now);
        if self.forget_dial(dial).is_some_and(|dialled| dialled.due().is_some()) {
            self.directives.push_back(Directive::AbandonDial { dial });
        }
    }

    /// A raw stream is not there in time.
    pub(super) fn dial_due(&mut self, dial: DialId) {
        if let Some(late) = self.dials.get(dial).map(|dialled| dialled.late().clone()) {
            self.directives.push_back(Directive::AbandonDial { dial });
            self.fail_dial(dial, late);
        }
    }

    /// The client closes: raw streams end with it.
    pub(super) fn close_dials(&mut self) {
        for dial in self.dials.ids() {
            if self.dials.is_pending(dial) {
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

    fn forget_dial(&mut self, id: DialId) -> Option<Dial> {
        let dial = self.dials.remove(id)?;
        if let Some(due) = dial.due() {
            self.timers.cancel(due, TimerKind::Dial(id));
        }
        self.pool.remove_raw(dial.peer());
        self.forget_peer_if_unused(dial.peer());
        self.open_needed_of(dial.peer());
        self.serve_waiting_for_capacity();
        self.finish_drain();
        Some(dial)
    }

    /// Makes room for one more stream to a peer. A stream that is about to be gone is room.
    fn make_room(&mut self, peer: PeerKey) -> Result<(), SendError> {
        let limit = self.config().max_streams_per_peer;
        let (here, _) = self.pool.staying(peer);
        if here >= limit && !self.close_longest_idle(|stream| stream.peer == peer) {
            return Err(SendError::TooManyStreams { limit });
        }
        let limit = self.config().max_total_streams;
        let (_, in_all) = self.pool.staying(peer);
        if in_all >= limit && !self.close_longest_idle(|_| true) {
            return Err(SendError::TooManyStreams { limit });
        }
        Ok(())
    }
}
