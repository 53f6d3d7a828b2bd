//! Raw streams that peers open: no frames, and a limit of their own.

use super::admission::Admission;
use super::shares::{Kind, Origin, StreamKey};
use crate::error::Status;
use crate::id::ProtocolName;
use crate::time::Timestamp;

impl Admission {
    /// Lets in a raw stream. It has a place among
    /// [`max_raw_streams`](crate::ServerConfig::max_raw_streams), from here until it is
    /// [closed](Self::close_raw), and is no request: the limit of those and the load do not change.
    ///
    /// # Errors
    /// The [`Status`] that a request would be refused with. There is no way to tell the peer:
    /// reset the stream.
    pub fn accept_raw(
        &mut self,
        origin: impl Into<Origin>,
        protocol: &ProtocolName,
        now: Timestamp,
    ) -> Result<StreamKey, Status> {
        let key = self.open_stream(origin.into(), protocol, None, now);
        let account = self.connections.account(key);
        let admitted = match account {
            Some(mut account) => self.capacity.admit_raw(&mut account),
            None => Err(self.capacity.refuse_unserved()),
        };
        match admitted {
            Ok(()) => Ok(key),
            Err(status) => {
                self.forget(key, now);
                Err(status)
            }
        }
    }

    /// A raw stream is not used any more. To be called once for each that was let in.
    pub fn close_raw(&mut self, key: StreamKey, now: Timestamp) {
        if let Some(mut account) = self.connections.account(key) {
            self.capacity.give(&mut account, Kind::Raw, 1);
        }
        self.forget(key, now);
    }
}
