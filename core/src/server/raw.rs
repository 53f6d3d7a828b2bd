//! Raw streams that peers open: no frames, and a limit of their own.

use alloc::vec::Vec;

use super::gate::Gate;
use super::{ConnectionKey, Server, ServerOutput};
use crate::error::Status;
use crate::id::{PeerId, ProtocolName};
use crate::time::Timestamp;

impl Gate {
    /// Lets in a raw stream. It has a place among
    /// [`max_raw_streams`](crate::ServerConfig::max_raw_streams), from here until it is
    /// [closed](Self::close_raw), and is no request: the limit of those and the load do not change.
    ///
    /// # Errors
    /// The [`Status`] that a request would be refused with. There is no way to tell the peer:
    /// reset the stream.
    pub fn accept_raw(
        &mut self,
        peer: PeerId,
        protocol: &ProtocolName,
        now: Timestamp,
    ) -> Result<ConnectionKey, Status> {
        let key = self.open(peer, protocol, None, now);
        match self.admit_raw(key) {
            Ok(()) => Ok(key),
            Err(status) => {
                self.close(key, now);
                Err(status)
            }
        }
    }

    /// A raw stream is not used any more. To be called once for each that was let in.
    pub fn close_raw(&mut self, key: ConnectionKey, now: Timestamp) {
        self.release_raw(key);
        self.close(key, now);
    }
}

impl Server {
    /// Lets in a raw stream that a peer opened and negotiated. It has a place among
    /// [`max_raw_streams`](crate::ServerConfig::max_raw_streams) until
    /// [`close_raw`](Self::close_raw). Its bytes do not pass through this machine.
    ///
    /// # Errors
    /// The [`Status`] that a request would be refused with. There is no way to tell the peer:
    /// reset the stream.
    pub fn accept_raw(
        &mut self,
        peer: PeerId,
        protocol: &ProtocolName,
        now: Timestamp,
    ) -> Result<ConnectionKey, Status> {
        self.now = self.now.max(now);
        let key = self.gate.accept_raw(peer, protocol, self.now)?;
        self.raws.insert(key);
        Ok(key)
    }

    /// Says that a raw stream is not used any more. Unknown ones are ignored.
    pub fn close_raw(&mut self, key: ConnectionKey, now: Timestamp) {
        self.now = self.now.max(now);
        if self.raws.remove(&key) {
            self.gate.close_raw(key, self.now);
        }
    }

    /// A drain gives up on raw streams.
    pub(super) fn hang_up_raws(&mut self) {
        let raws: Vec<ConnectionKey> = self.raws.iter().copied().collect();
        for key in raws {
            self.outputs.push_back(ServerOutput::HangUp(key));
            self.close_raw(key, self.now);
        }
    }
}
