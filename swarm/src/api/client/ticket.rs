//! The duty to open one stream.

use std::sync::Arc;
use std::time::Duration;

use libp2p_swarm::{ConnectionId, Stream};
use pointsub_core::{DialId, PeerId, ProtocolName, StreamError, StreamId};

use super::shared::ClientShared;
use crate::connection::client::ClientDriver;
use crate::connection::negotiation::{Names, Speaks};
use crate::connection::streams::coalescing::Coalescing;

/// The duty to answer one open. Dropped on whatever path, it answers that the connection is gone,
/// so no open is ever forgotten.
#[derive(Debug)]
pub struct OpenTicket {
    /// `None` once it is answered.
    shared: Option<Arc<ClientShared>>,
    pub(crate) wanted: Wanted,
    pub(crate) peer: PeerId,
    protocol: ProtocolName,
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
        shared: &Arc<ClientShared>,
        wanted: Wanted,
        peer: PeerId,
        protocol: ProtocolName,
        names: Names,
    ) -> Self {
        let timeout = shared.config.connect_timeout();
        Self {
            shared: Some(shared.clone()),
            wanted,
            peer,
            protocol,
            names,
            timeout,
            relayed: false,
            connection: None,
        }
    }

    /// The stream is there, and this was agreed on. Returns what is to run in the task of its
    /// connection. A raw stream holds its `share` of the connection.
    pub(crate) fn succeed(
        mut self,
        io: Stream,
        speaks: Speaks,
        coalescing: Coalescing,
        share: Arc<()>,
    ) -> Option<ClientDriver> {
        match (self.wanted, speaks) {
            (Wanted::Pooled(id), Speaks::Messages(format)) => {
                let shared = self.shared.take()?;
                let machine = shared.opened(id, format, self.connection, self.relayed)?;
                Some(ClientDriver::new(id, shared, machine, io, format, coalescing))
            }
            (Wanted::Raw(dial), Speaks::Raw) => {
                self.shared.take()?.dialed(dial, io, &self.peer, &self.protocol, share);
                None
            }
            _ => {
                self.fail(StreamError::Unsupported);
                None
            }
        }
    }

    /// There will be no such stream.
    pub(crate) fn fail(mut self, error: StreamError) {
        self.fail_with(error);
    }

    fn fail_with(&mut self, error: StreamError) {
        if let Some(shared) = self.shared.take() {
            let error = if self.relayed { error.over_relay() } else { error };
            shared.open_failed(self.wanted, error);
        }
    }
}

impl Drop for OpenTicket {
    fn drop(&mut self) {
        self.fail_with(StreamError::Lost(Arc::from("the connection closed")));
    }
}
