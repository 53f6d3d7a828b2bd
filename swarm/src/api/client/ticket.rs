//! The duty to open one stream.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use libp2p_swarm::ConnectionId;
use pointsub_core::{DialId, PeerId, ProtocolName, StreamError, StreamId};

use crate::connection::negotiation::Names;

/// Who wants streams to be opened.
pub(crate) trait Opener: fmt::Debug + Send + Sync {
    /// A stream could not be opened.
    fn open_failed(self: Arc<Self>, wanted: Wanted, error: StreamError);
}

/// The duty to answer one open. Dropped on whatever path, it answers that the connection is gone,
/// so no open is ever forgotten.
#[derive(Debug)]
pub struct OpenTicket {
    /// `None` once it is answered.
    opener: Option<Arc<dyn Opener>>,
    pub(crate) wanted: Wanted,
    pub(crate) peer: PeerId,
    pub(crate) protocol: ProtocolName,
    /// What to propose.
    pub(crate) names: Names,
    /// After this the dispatcher has given up, whatever has been reached by then.
    pub(crate) timeout: Duration,
    /// The connection goes through a relay.
    pub(crate) relayed: bool,
    /// On which it is opened.
    pub(crate) connection: Option<ConnectionId>,
}

/// What is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A stream for requests.
    Pooled(StreamId),
    Raw(DialId),
}

impl OpenTicket {
    pub(crate) fn new(
        opener: Arc<dyn Opener>,
        timeout: Duration,
        wanted: Wanted,
        peer: PeerId,
        protocol: ProtocolName,
        names: Names,
    ) -> Self {
        Self {
            opener: Some(opener),
            wanted,
            peer,
            protocol,
            names,
            timeout,
            relayed: false,
            connection: None,
        }
    }

    /// The stream is there, and its opener is told elsewhere.
    pub(crate) fn answered(&mut self) {
        self.opener = None;
    }

    /// There will be no such stream.
    pub(crate) fn fail(mut self, error: StreamError) {
        self.fail_with(error);
    }

    fn fail_with(&mut self, error: StreamError) {
        if let Some(opener) = self.opener.take() {
            let error = if self.relayed { error.over_relay() } else { error };
            opener.open_failed(self.wanted, error);
        }
    }
}

impl Drop for OpenTicket {
    fn drop(&mut self) {
        self.fail_with(StreamError::Lost(Arc::from("the connection closed")));
    }
}
