//! Copies of messages that have come.

use bytes::{Bytes, BytesMut};

/// The largest buffer that messages share.
const SHARED: usize = 4 * 1024;

/// Copies of messages, which wait for their application and must not keep the block that they were read
/// in. Those that follow each other in one call share buffers.
#[derive(Debug, Default)]
pub(in crate::connection::calls) struct Copies {
    /// Whose messages come, and how many bytes of them have.
    call: u64,
    bytes: usize,
    /// Room for further ones.
    room: BytesMut,
}

impl Copies {
    /// Copies a message of this call. A buffer is no larger than what has come in a row of the same call
    /// before, and than the least window, which is counted for a call whatever has come.
    pub(in crate::connection::calls) fn copy(&mut self, call: u64, message: &[u8]) -> Bytes {
        if self.call != call {
            *self = Self { call, ..Self::default() };
        }
        if self.room.capacity() < message.len() {
            let room = self.bytes.min(SHARED);
            if room < 2 * message.len() {
                self.bytes += message.len();
                return Bytes::copy_from_slice(message);
            }
            self.room = BytesMut::with_capacity(room);
        }
        self.bytes += message.len();
        self.room.extend_from_slice(message);
        self.room.split().freeze()
    }
}
