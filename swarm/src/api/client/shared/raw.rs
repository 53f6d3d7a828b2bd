//! Raw streams that callers dial.

use std::sync::Arc;

use futures::channel::oneshot;
use libp2p_swarm::Stream;
use pointsub_core::{DialId, PeerId, ProtocolName, SendError, Timestamp};

use super::ClientShared;
use super::effects::DialOutcome;
use crate::api::raw::{CancelHandle, Place, RawStream};
use crate::peer;

impl ClientShared {
    /// Asks for a raw stream.
    pub(crate) fn dial(
        self: &Arc<Self>,
        peer: &PeerId,
        protocol: &str,
        deadline: Option<Timestamp>,
    ) -> Result<(DialId, oneshot::Receiver<DialOutcome>), SendError> {
        let now = self.clock.now();
        let (sender, receiver) = oneshot::channel();
        let id = self.update(|state| {
            let id = state.dispatcher.dial(peer, protocol, deadline, now)?;
            state.dial_waiters.insert(id, sender);
            Ok::<_, SendError>(id)
        })?;
        Ok((id, receiver))
    }

    /// A raw stream is not used any more, or not waited for.
    pub(crate) fn hang_up(self: &Arc<Self>, dial: DialId) {
        let now = self.clock.now();
        self.update(|state| {
            state.dial_waiters.remove(dial);
            state.cancel_handles.remove(dial);
            state.dispatcher.hang_up(dial, now);
        });
    }

    /// A raw stream is there.
    pub(crate) fn dialed(
        self: &Arc<Self>,
        dial: DialId,
        io: Stream,
        peer: &PeerId,
        protocol: &ProtocolName,
        share: Arc<()>,
    ) {
        let now = self.clock.now();
        let cancel = Arc::<CancelHandle>::default();
        let waiter = self.update(|state| {
            if !state.dispatcher.dialed(dial, now) {
                return None;
            }
            state.cancel_handles.insert(dial, cancel.clone());
            state.dial_waiters.remove(dial)
        });
        if let Some(waiter) = waiter {
            let (local, peer) = (self.local, peer::to_libp2p(peer));
            let shared = self.clone();
            let place = Place::new(self.clock.clone(), share, move || shared.hang_up(dial));
            let stream = RawStream::new(io, place, local, peer, protocol.clone(), cancel);
            // If the caller has gone, dropping the stream hangs it up.
            let _gone = waiter.send(Ok(stream));
        }
    }

    pub(crate) fn expire_dial(self: &Arc<Self>, dial: DialId) {
        let now = self.clock.now();
        self.update(|state| state.dispatcher.expire_dial(dial, now));
    }
}
