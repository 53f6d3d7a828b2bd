//! The server's handle: usable from any task, clones share everything.

pub(crate) mod driver;
mod handler;
pub(crate) mod hub;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};
use futures_timer::Delay;
use pointsub_core::server::RegisterError;
use pointsub_core::{ProtocolName, ServerStats};

pub use self::handler::{Handler, HandlerError, Request, Spawned};
use self::hub::ServerHub;

/// Serves protocols. Cheap to clone; clones share handlers, limits and counters.
#[derive(Clone)]
pub struct Server {
    hub: Arc<ServerHub>,
}

impl Server {
    pub(crate) fn new(hub: Arc<ServerHub>) -> Self {
        Self { hub }
    }

    /// Serves a protocol from now on, on connections that are open already too; peers learn of it
    /// through identify.
    ///
    /// # Errors
    /// [`RegisterError`] if the protocol has a handler already, or the server is stopping.
    pub fn register(
        &self,
        protocol: &ProtocolName,
        handler: impl Handler,
    ) -> Result<(), RegisterError> {
        self.hub.register(protocol, Arc::new(handler))
    }

    /// Stops serving a protocol. Requests at work are finished, later ones are answered
    /// `not found`. Returns whether it was served.
    pub fn unregister(&self, protocol: &ProtocolName) -> bool {
        self.hub.unregister(protocol)
    }

    /// Counters so far.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        self.hub.gate.lock().stats()
    }

    /// Takes no further requests, tells clients so, finishes what is at work, and closes every
    /// stream. What is still at work after `grace` is cut off. A stopped server stays stopped.
    pub async fn stop(&self, grace: Duration) {
        let drained = self.hub.drain();
        if let Either::Right(((), drained)) = select(drained, Delay::new(grace)).await {
            self.hub.reset();
            let _gone = drained.await;
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("stats", &self.stats()).finish()
    }
}
