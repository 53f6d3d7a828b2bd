//! What is to happen in a simulated life, as plain data.
//!
//! Everything is an explicit list at virtual times, so that taking an element away leaves the rest
//! as meaningful as before; and everything is made of numbers, choices and lists, so that a
//! scenario prints as the Rust source that makes it again ([`source`]).

mod generate;
mod plan;
mod shrink;

pub use plan::{ClientPlan, Kind, LIMIT, LinkPlan, PeerPlan, Policy, ServerPlan, Strategy};
pub use shrink::shrink;

/// Everything that a source needs in scope.
pub mod literal {
    pub use super::Fault::*;
    pub use super::Kind::*;
    pub use super::Op::*;
    pub use super::Policy::*;
    pub use super::Refusal::*;
    pub use super::Strategy::*;
    pub use super::Way::*;
    pub use super::{ClientPlan, LinkPlan, PeerPlan, Scenario, ServerPlan};
}

/// One life. Times are microseconds since it began. Peers and protocols are named by number,
/// modulo how many there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// Decides what is not said here: where bytes are cut, how much each is delayed.
    pub seed: u64,
    /// Everything that happens at one instant is told before anything is asked.
    pub batched: bool,
    /// The options of the client.
    pub client: ClientPlan,
    /// Those that it speaks to.
    pub peers: Vec<PeerPlan>,
    /// What the applications want, and when.
    pub ops: Vec<(u32, Op)>,
    /// What goes wrong, and when.
    pub faults: Vec<(u32, Fault)>,
    /// When every fault ends, and no further one begins.
    pub heal: u32,
}

/// What an application wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Some requests to one peer at once.
    Send {
        /// To whom.
        peer: u8,
        /// Under which protocol.
        protocol: u8,
        /// How many.
        count: u8,
        /// How long their bodies are.
        len: u32,
        /// Whether they are compressed, if that pays.
        compress: bool,
        /// Whether a handler may see them twice.
        idempotent: bool,
        /// Milliseconds that the caller waits.
        deadline_ms: Option<u16>,
        /// Milliseconds until the caller gives them up.
        cancel_ms: Option<u16>,
    },
    /// A call to the closest node.
    Closest {
        /// Under which protocol.
        protocol: u8,
        /// How long its body is.
        len: u32,
        /// Whether several nodes may see it.
        idempotent: bool,
        /// A peer that is not asked.
        exclude: Option<u8>,
        /// Milliseconds until one more node is asked.
        hedge_ms: Option<u16>,
        /// Milliseconds that the caller waits.
        deadline_ms: Option<u16>,
        /// Milliseconds until the caller gives it up.
        cancel_ms: Option<u16>,
    },
    /// A peer becomes a node of a protocol.
    AddNode {
        /// Which peer.
        peer: u8,
        /// Of which protocol.
        protocol: u8,
    },
    /// A peer is no node of a protocol any more.
    RemoveNode {
        /// Which peer.
        peer: u8,
        /// Of which protocol.
        protocol: u8,
    },
    /// A protocol has no nodes any more.
    ClearNodes {
        /// Which protocol.
        protocol: u8,
    },
    /// The client hears whether there is a connection to a peer.
    Online {
        /// Which peer.
        peer: u8,
        /// Whether there is one.
        online: bool,
    },
    /// A raw stream is opened.
    Dial {
        /// To whom.
        peer: u8,
        /// Under which protocol.
        protocol: u8,
        /// Milliseconds that the caller waits.
        deadline_ms: Option<u16>,
        /// Milliseconds until it is hung up.
        life_ms: u16,
    },
    /// A server stops in good order, and begins another life.
    Stop {
        /// Which peer.
        peer: u8,
        /// Milliseconds until what is at work is cut off.
        grace_ms: u16,
    },
    /// A protocol is not served for a while.
    Unregister {
        /// By which peer.
        peer: u8,
        /// Which protocol.
        protocol: u8,
        /// For how many milliseconds.
        for_ms: u16,
    },
    /// There is a better connection: the streams to a peer retire.
    Retire {
        /// Which peer.
        peer: u8,
    },
    /// A stranger opens a stream to a peer's server and speaks nonsense on it.
    Intrude {
        /// To whom.
        peer: u8,
        /// In which format.
        native: bool,
        /// How many frames it sends.
        frames: u8,
        /// Decides which.
        script: u32,
    },
    /// The client takes no further requests.
    Drain,
    /// The client gives up everything.
    Close,
}

/// In which direction, or on whose side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Towards the server.
    ToServer,
    /// Towards the client.
    ToClient,
    /// Both.
    BothWays,
}

/// How an open fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no connection.
    Unreachable,
    /// The peer does not know the protocol.
    Unsupported,
    /// The connection breaks.
    Lost,
    /// Nothing comes of it.
    Silence,
}

/// What goes wrong. Each ends at [`Scenario::heal`] at the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// One of the streams to a peer stands still.
    Stall {
        /// Which peer.
        peer: u8,
        /// Which of its streams.
        nth: u8,
        /// In which direction.
        way: Way,
        /// For how many milliseconds.
        for_ms: u16,
    },
    /// Nothing gets through to or from a peer.
    Partition {
        /// Which peer.
        peer: u8,
        /// In which direction.
        way: Way,
        /// For how many milliseconds.
        for_ms: u16,
    },
    /// One of the streams to a peer breaks once so many more bytes have come through.
    Reset {
        /// Which peer.
        peer: u8,
        /// Which of its streams.
        nth: u8,
        /// After how many bytes.
        after: u32,
    },
    /// One direction of a stream ends, perhaps inside a frame.
    HalfClose {
        /// Which peer.
        peer: u8,
        /// Which of its streams.
        nth: u8,
        /// In which direction.
        way: Way,
    },
    /// The process of a peer is killed, and started again.
    Crash {
        /// Which peer.
        peer: u8,
        /// After how many milliseconds it is back.
        down_ms: u16,
        /// Nobody tells the client.
        silent: bool,
        /// What is back speaks another format.
        changed: bool,
    },
    /// The connection to a peer breaks, with every stream on it.
    Cut {
        /// Which peer.
        peer: u8,
    },
    /// No stream to a peer can be opened.
    Refuse {
        /// Which peer.
        peer: u8,
        /// How it fails.
        how: Refusal,
        /// For how many milliseconds.
        for_ms: u16,
    },
    /// Opening a stream to a peer takes longer.
    SlowOpens {
        /// Which peer.
        peer: u8,
        /// By how many milliseconds.
        by_ms: u16,
        /// For how many milliseconds.
        for_ms: u16,
    },
    /// The handlers of a peer take longer.
    SlowHandlers {
        /// Which peer.
        peer: u8,
        /// By how many milliseconds.
        by_ms: u16,
        /// For how many milliseconds.
        for_ms: u16,
    },
    /// A clock stands still, then jumps to the truth.
    ClockStall {
        /// Of which peer; of the client if there is none.
        peer: Option<u8>,
        /// For how many milliseconds.
        for_ms: u16,
    },
}

impl Scenario {
    /// Whether nothing goes wrong in it, nobody is impatient or in a hurry, and nobody is there who
    /// would do harm.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        let harmless = |(_, op): &(u32, Op)| {
            use Op::{AddNode, ClearNodes, Closest, Dial, Online, RemoveNode, Send};
            let nodes = matches!(op, AddNode { .. } | RemoveNode { .. } | ClearNodes { .. });
            let few = matches!(op, Send { count, .. } if *count <= plan::FEW);
            nodes || few || matches!(op, Closest { .. } | Dial { .. } | Online { .. })
        };
        let patient = |peer: &PeerPlan| {
            let ServerPlan { read_timeout, write_timeout, .. } = peer.server;
            let steady = peer.slow == 0 && peer.work <= 200_000 && peer.link.window >= 100_000;
            let near = peer.link.latency <= 20_000 && peer.link.jitter <= 20_000;
            // A plain server refuses what is too large for it by a reset.
            let roomy =
                peer.server.memory_per_peer >= 100_000_000 && peer.server.max_block >= LIMIT;
            peer.kind.is_honest()
                && steady
                && near
                && roomy
                && read_timeout.min(write_timeout) >= 2_000
        };
        let ClientPlan { read_timeout, write_timeout, connect_timeout, .. } = self.client;
        self.faults.is_empty()
            && read_timeout.min(write_timeout) >= 2_000
            && connect_timeout >= 200
            && self.ops.iter().all(harmless)
            && self.peers.iter().all(patient)
    }

    /// Whether the client's clock ever stands still.
    #[must_use]
    pub fn stalls_client_clock(&self) -> bool {
        let stalls = |fault: &Fault| matches!(fault, Fault::ClockStall { peer: None, .. });
        self.faults.iter().any(|(_, fault)| stalls(fault))
    }
}

/// The scenario as the source of a Rust expression; [`literal`] has what it needs in scope.
#[must_use]
pub fn source(scenario: &Scenario) -> String {
    // Nothing but lists prints brackets.
    let mut source = format!("{scenario:#?}").replace('[', "vec![");
    source.push('\n');
    source
}
