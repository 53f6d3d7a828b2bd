//! What happens in a fleet.

use bytes::Bytes;

/// Something that happens at a time.
#[derive(Debug)]
pub(super) enum Event {
    /// A caller of this client asks.
    Arrival(u32),
    /// A caller asks again, for the `n`th time, what it first asked at a time.
    Again(Ask),
    /// Something of a client's reaches the server end of a link.
    ToServer(LinkKey, Carried),
    /// Something of a server's reaches the client end of a link.
    ToClient(LinkKey, Carried),
    /// The client's request for a stream has come to the server.
    Opening(LinkKey),
    /// Its answer is back: whether the stream is there.
    Opened(LinkKey, bool),
    /// A client wants to be called.
    ClientTimer(u32),
    /// A server wants to be called.
    ServerTimer(u32),
    /// A worker of a server has done a job, in the server's nth life.
    Done { server: u32, life: u32, job: u32 },
    /// The nth fault begins or ends.
    Fault(u32),
    /// A drained or killed server comes back.
    Restart(u32),
    /// Counters are read.
    Watch,
}

/// A caller that asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask {
    pub(super) client: u32,
    /// When it first asked, in nanoseconds.
    pub(super) since: u64,
    /// How often it has asked before.
    pub(super) times: u32,
}

/// A link, and which of those that had its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LinkKey {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// What a link carries.
#[derive(Debug)]
pub(super) enum Carried {
    Bytes(Bytes),
    Finished,
    /// The other end has reset the stream.
    Reset,
    /// The connection is gone.
    Lost,
}
