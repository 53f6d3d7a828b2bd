//! What is done to a server.

use arbitrary::Arbitrary;

#[derive(Debug, Arbitrary)]
pub(super) enum Op {
    Accept {
        peer: u8,
        protocol: u8,
        native: bool,
    },
    Request {
        stream: u8,
        step: u8,
        len: u32,
        timeout: Option<u16>,
        flags: u8,
        field: Option<u8>,
    },
    Compressed {
        stream: u8,
        step: u8,
        size: u32,
        bytes: Vec<u8>,
    },
    Announce {
        stream: u8,
        step: u8,
        kind: u8,
        body: u32,
    },
    Cancel {
        stream: u8,
        nth: u8,
    },
    Settings {
        stream: u8,
        max_body: u32,
    },
    Other {
        stream: u8,
        kind: u8,
        flags: u8,
        id: u64,
    },
    Bytes(u8, Vec<u8>),
    Fill(u8, u16),
    Filled(u8, u16),
    Written(u8),
    Finished(u8),
    Failed(u8),
    Answer {
        nth: u8,
        len: u32,
        compress: bool,
    },
    Refuse {
        nth: u8,
        code: u8,
        message: u16,
        detail: u32,
    },
    Abandoned(u8),
    /// Time passes, and the server is told.
    Advance(u32),
    /// Time passes.
    Later(u32),
    Timeout,
    /// The server is told of a time that is over.
    Earlier(u32),
    Poll,
    Register(u8),
    Unregister(u8),
    Drain(u32),
}
