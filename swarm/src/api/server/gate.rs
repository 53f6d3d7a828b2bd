//! Who is let in, and who is turned away after that: the application's rules, and the prices of
//! admission control.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use pointsub_core::Status;
use pointsub_core::endpoint::{Notice, Origin, RateLimit, RateScope, StreamKey};
use thiserror::Error;

use super::mailbox::Command;
use super::shared::ServerShared;
use crate::api::admission::{Admission, Everybody, Verdict};
use crate::peer;

/// A stream that is idle is looked at so often before it has been idle for too long.
const LOOKS: u32 = 4;

/// Why a connection was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum NotAdmitted {
    #[error("the application does not admit it: {0}")]
    Denied(String),
    #[error("the peer has cost too much, and is kept out for another {0:?}")]
    KeptOut(Duration),
}

/// The application's rules; everybody may come if there are none.
#[derive(Default)]
pub(crate) struct Rules(std::sync::OnceLock<Arc<dyn Admission>>);

impl Rules {
    /// They are set once, before the first connection.
    pub(crate) fn set(&self, rules: Arc<dyn Admission>) {
        let _later_ones_do_not_hold = self.0.set(rules);
    }

    pub(crate) fn get(&self) -> &dyn Admission {
        self.0.get().map_or(&Everybody, |rules| &**rules)
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules").field("set", &self.0.get().is_some()).finish()
    }
}

impl ServerShared {
    /// Whether somebody may connect from an address.
    pub(crate) fn admit_address(&self, address: &Multiaddr) -> Result<(), NotAdmitted> {
        self.judge(self.rules.get().address(address))
    }

    /// Whether a peer may be connected. It has come from this address, which is that of its origin.
    pub(crate) fn admit_peer(
        &self,
        peer: &PeerId,
        address: &Multiaddr,
        origin: Origin,
    ) -> Result<(), NotAdmitted> {
        let origin = origin.trusted(self.rules.get().trusts(peer));
        let kept_out = self.state.lock().admission.kept_out(origin, self.clock.now());
        match kept_out {
            Some(time) => Err(NotAdmitted::KeptOut(time)),
            None => self.judge(self.rules.get().peer(peer, address)),
        }
    }

    /// What the requests of a stream are answered with if they are not allowed.
    pub(crate) fn denial(
        &self,
        peer: &PeerId,
        protocol: &pointsub_core::ProtocolName,
    ) -> Option<Status> {
        self.rules.get().protocol(peer, protocol).into_status()
    }

    fn judge(&self, verdict: Verdict) -> Result<(), NotAdmitted> {
        match verdict.into_status() {
            None => Ok(()),
            Some(status) => {
                self.state.lock().admission.note_denied();
                Err(NotAdmitted::Denied(status.message))
            }
        }
    }

    /// Does what admission control wants beyond its verdict on a report.
    pub(crate) fn attend(&self) {
        let mut state = self.state.lock();
        let stalled = state.admission.take_stalled();
        let mailboxes: Vec<_> =
            stalled.into_iter().filter_map(|key| state.mailboxes.get(key).cloned()).collect();
        while let Some(notice) = state.admission.poll_notice() {
            state.notices.push(notice);
        }
        let tells = !state.notices.is_empty();
        drop(state);
        mailboxes.iter().for_each(|mailbox| mailbox.push(Command::Reset));
        if tells {
            self.wake_swarm();
        }
    }

    /// What the behaviour is to do about peers.
    pub(crate) fn take_notices(&self) -> Vec<Notice> {
        std::mem::take(&mut self.state.lock().notices)
    }

    /// Asks the rules again about every open stream, and has the behaviour do so for connections.
    pub(crate) fn recheck(&self) {
        let mut state = self.state.lock();
        state.rechecks = true;
        let keys = state.mailboxes.keys().chain(state.cancel_handles.keys());
        let open: Vec<_> =
            keys.filter_map(|key| Some((key, state.admission.whose(key)?))).collect();
        drop(state);
        let denied = open.into_iter().filter_map(|(key, (peer, protocol))| {
            self.denial(&peer::to_libp2p(&peer), &protocol).map(|_| key)
        });
        let denied: Vec<StreamKey> = denied.collect();
        let state = self.state.lock();
        let mailboxes = denied.iter().filter_map(|key| state.mailboxes.get(*key).cloned());
        let mailboxes: Vec<_> = mailboxes.collect();
        let raws = denied.iter().filter_map(|key| state.cancel_handles.get(*key).cloned());
        let raws: Vec<_> = raws.collect();
        drop(state);
        // What is at work ends, and nothing follows it.
        mailboxes.iter().for_each(|mailbox| mailbox.push(Command::Drain { stop: false }));
        raws.iter().for_each(|raw| raw.hang_up());
        self.wake_swarm();
    }

    /// Whether connections are to be looked at, once.
    pub(crate) fn take_recheck(&self) -> bool {
        std::mem::take(&mut self.state.lock().rechecks)
    }

    pub(crate) fn set_rate_limit(&self, scope: RateScope, limit: RateLimit) {
        self.state.lock().admission.set_rate_limit(scope, limit);
    }

    /// Begins to look for raw streams that are idle, if those end by themselves.
    pub(crate) fn watch_raw_streams(self: &Arc<Self>) {
        let Some(idle) = self.config.max_raw_idle() else { return };
        if self.watches_raws.swap(true, Ordering::Relaxed) {
            return;
        }
        let (shared, clock) = (Arc::downgrade(self), self.clock.clone());
        self.clock.spawn(
            "pointsub server",
            async move {
                loop {
                    clock.sleep(idle / LOOKS).await;
                    let Some(shared) = shared.upgrade() else { return };
                    shared.end_idle_raws();
                }
            }
            .boxed(),
        );
    }

    fn end_idle_raws(&self) {
        let raws: Vec<_> = self.state.lock().cancel_handles.values().cloned().collect();
        raws.iter().filter(|raw| raw.looked_idle() > LOOKS).for_each(|raw| raw.hang_up());
    }
}
