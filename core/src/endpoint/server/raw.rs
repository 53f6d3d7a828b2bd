//! Raw streams that peers open: no frames, and a limit of their own.

use super::admission::Admission;
use super::origin::Origin;
use super::share::Places;
use super::streams::{Kind, StreamKey};
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
        match self.admit_raw(key) {
            Ok(()) => Ok(key),
            Err(status) => {
                self.forget(key, now);
                Err(status)
            }
        }
    }

    /// A raw stream is not used any more. To be called once for each that was let in.
    pub fn close_raw(&mut self, key: StreamKey, now: Timestamp) {
        self.release_raw(key);
        self.forget(key, now);
    }

    /// Lets a raw stream in, or says with which status a request would be refused.
    fn admit_raw(&mut self, stream: StreamKey) -> Result<(), Status> {
        let free = self.max_raws.saturating_sub(self.raws.taken());
        let places = Places { limit: self.max_raws, free, room: free };
        let Some((connection, peer)) = self.connections.get_mut(stream) else {
            return Err(self.refuse_unserved());
        };
        if !self.protocols.contains_key(connection.protocol) {
            return Err(self.refuse_unserved());
        }
        if peer.penalty.is_lost() && !peer.trusted {
            self.counters.kept_out += 1;
            return Err(self.refuse_busy("too many offences"));
        }
        if !self.place(stream) {
            return Err(self.refuse_busy("too many streams"));
        }
        if !self.share(stream, Kind::Raw, places) {
            self.counters.no_place += 1;
            return Err(self.refuse_busy(""));
        }
        Ok(())
    }

    /// A raw stream that was let in is not used any more.
    fn release_raw(&mut self, stream: StreamKey) {
        self.give(stream, Kind::Raw);
    }
}
