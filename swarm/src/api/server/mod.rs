//! The server's handle: usable from any task, clones share everything.

pub(crate) mod error;
pub(crate) mod error_log;
mod fair;
pub(crate) mod gate;
pub(crate) mod handler;
mod listen;
pub(crate) mod mailbox;
pub(crate) mod semaphore;
pub(crate) mod shared;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use pointsub_core::endpoint::{RateLimit, RateScope, RegisterError};
use pointsub_core::{ProtocolName, ServerStats};

pub use self::error::{BoxError, HandlerError};
pub use self::handler::{Handler, Spawned};
pub use self::listen::Listener;
use self::shared::ServerShared;
use super::admission::Admission;
use super::stream_info::StreamInfo;
pub use pointsub_core::endpoint::Stopped;

/// Serves protocols. Cheap to clone; clones share handlers, limits and counters.
#[derive(Clone)]
pub struct Server {
    shared: Arc<ServerShared>,
}

impl Server {
    pub(crate) fn new(shared: Arc<ServerShared>) -> Self {
        Self { shared }
    }

    /// Serves a protocol from now on, on connections that are open already too; peers learn of it
    /// through identify. Its message has room for some 40 protocols with names of 30 bytes. Beyond that
    /// peers learn neither protocols nor addresses, and do not find this node as a server. A
    /// [`Node`](crate::Node) tells that as [`NodeEvent::AnnouncementTooLong`](crate::NodeEvent), and logs a
    /// warning; requests are served all the same.
    ///
    /// # Errors
    /// [`RegisterError`] if the protocol has a handler already, or the server is stopping.
    pub fn register(
        &self,
        protocol: &ProtocolName,
        handler: impl Handler,
    ) -> Result<(), RegisterError> {
        self.shared.register(protocol, Arc::new(handler))
    }

    /// Stops serving a protocol. Requests at work are finished, later ones are answered
    /// `not found`. Returns whether it was served.
    pub fn unregister(&self, protocol: &ProtocolName) -> bool {
        self.shared.unregister(protocol)
    }

    /// The names of all protocols that are registered, raw ones included.
    #[must_use]
    pub fn protocols(&self) -> Vec<ProtocolName> {
        self.shared.protocols()
    }

    /// Whether a protocol is registered and the server is not stopping.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.shared.state.lock().admission.is_running()
    }

    /// Limits how much may come in a while, or lifts a limit with [`RateLimit::new`]. It holds from then
    /// on, for everybody anew. A request beyond it is answered `busy`, with the time after which it may
    /// come, and clients of this library wait for that. Up to 64 requests that follow each other on one
    /// stream pass before a limit is seen, and are paid for afterwards.
    ///
    /// ```
    /// use pointsub_swarm::{ProtocolName, Quota, RateLimit, RateScope, Server};
    ///
    /// fn limit(server: &Server) {
    ///     const UPLOAD: ProtocolName = ProtocolName::from_static("/upload/1");
    ///     let slow = RateLimit::new().requests(Quota::per_second(5).with_burst(50));
    ///     server.set_rate_limit(RateScope::EachPeerOf(UPLOAD), slow);
    /// }
    /// ```
    pub fn set_rate_limit(&self, scope: RateScope, limit: RateLimit) {
        self.shared.set_rate_limit(scope, limit);
    }

    /// Asks the [rules of who may come](crate::Admission) again, about every connection that others have
    /// made and every stream that is open: to be called when the rules have changed. What may not stay
    /// ends: connections and raw streams at once, other streams with the requests that are at work.
    pub fn recheck(&self) {
        self.shared.recheck();
    }

    /// The first that is set stays.
    pub(crate) fn set_admission(&self, rules: Arc<dyn Admission>) {
        self.shared.rules.set(rules);
    }

    /// Counters so far, and how things stand.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        self.shared.state.lock().admission.stats()
    }

    /// All streams that peers have open at this server, in no particular order. No request is let
    /// in while they are collected: ask every second, not every millisecond.
    #[doc(alias = "connections_info")]
    #[must_use]
    pub fn streams(&self) -> Vec<StreamInfo> {
        let clock = &self.shared.clock;
        let infos = self.shared.state.lock().admission.streams(clock.now());
        infos.into_iter().map(|info| StreamInfo::new(info, clock)).collect()
    }

    /// Unregisters every protocol, takes no further requests, tells clients so, finishes what is
    /// at work, and closes every stream. Clients that ask meanwhile are told that the server is
    /// [draining](crate::StatusCode::Draining), and try again. What is still at work after `grace`
    /// is cut off, also if the future of this is dropped before.
    ///
    /// When this returns, clients of this library have got their answers: each of them confirms it
    /// by ending its streams. Protocols can be [registered](Self::register) again, and the server
    /// serves again. Until then registering is [`RegisterError::Draining`].
    pub async fn stop(&self, grace: Duration) -> Stopped {
        self.shared.stop(grace, false).await.unwrap_or_default()
    }

    /// Stops for good: the node ends.
    pub(crate) async fn end(&self, grace: Duration) -> Stopped {
        self.shared.stop(grace, true).await.unwrap_or_default()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("stats", &self.stats()).finish()
    }
}
