//! What the checkers are shown.

use bytes::Bytes;
use pointsub_core::endpoint::closest::Point;
use pointsub_core::{
    ClosestAnswer, ClosestFailure, Format, NodeTry, PeerId, ProtocolName, RequestError, SendError,
    StreamOp, Timestamp,
};

use super::calls::{Asked, Sent};
use super::link::Side;
use super::note::Who;

/// Something that happened. What is not said here is in the [`World`](super::World).
#[derive(Debug)]
pub enum Event<'a> {
    /// A request was accepted.
    Accepted {
        /// What the client calls it.
        asked: Asked,
        /// What it is.
        sent: &'a Sent,
        /// How many waited for a stream before.
        waiting: u64,
    },
    /// A request was not accepted.
    Refused(&'a SendError),
    /// A call to the closest node chose whom to ask first.
    Chose {
        /// The nodes and what was known of each before.
        nodes: &'a [Known],
        /// Where the key lies.
        key: Point,
        /// Whom it excludes.
        exclude: &'a [PeerId],
        /// Whom it chose.
        chosen: PeerId,
    },
    /// The caller gave up.
    Cancelled(Asked),
    /// The client named an outcome.
    Outcome(Asked),
    /// A request was answered.
    Answered {
        /// Which request.
        sent: &'a Sent,
        /// By whom.
        peer: usize,
        /// With what.
        body: &'a Bytes,
    },
    /// A request failed.
    Failed {
        /// Which request.
        sent: &'a Sent,
        /// How.
        error: &'a RequestError,
    },
    /// Which nodes a call has asked.
    Attempts {
        /// Which call.
        sent: &'a Sent,
        /// What it says.
        attempts: &'a [NodeTry],
        /// What came of it.
        outcome: Result<&'a ClosestAnswer, &'a ClosestFailure>,
    },
    /// A handler sees a request of the client.
    Handler {
        /// At which peer.
        peer: usize,
        /// Which request.
        number: u64,
    },
    /// A server of ours let a request in, of whomever.
    Admitted {
        /// Which peer.
        peer: usize,
        /// Who asks.
        from: PeerId,
        /// Under which protocol.
        protocol: &'a ProtocolName,
    },
    /// The client opens a stream.
    Opening {
        /// Its number.
        link: u32,
    },
    /// It is open.
    Opened {
        /// Its number.
        link: u32,
        /// In which format.
        format: Format,
    },
    /// A machine wants something done on a stream.
    Output {
        /// Which stream.
        link: u32,
        /// In which direction.
        to: Side,
        /// What.
        op: &'a StreamOp,
    },
    /// A machine wants something done on a stream that it has ended or that is gone.
    Stray(&'a StreamOp),
    /// A reader was given bytes.
    Delivered {
        /// Which stream.
        link: u32,
        /// On which side.
        to: Side,
        /// Which bytes.
        bytes: &'a Bytes,
    },
    /// One end was told that a stream is gone.
    Gone {
        /// Which stream.
        link: u32,
    },
    /// Time has passed at a machine, and it has done what was due.
    Ticked {
        /// Whose.
        who: Who,
        /// What its clock said.
        at: Timestamp,
        /// When it wants to be called next.
        next: Option<Timestamp>,
    },
    /// A machine says that it has stopped.
    Drained {
        /// Which one.
        who: Who,
        /// Whether it was asked to.
        asked: bool,
    },
    /// The driver and a machine disagree about what there is.
    Confused(&'static str),
}

/// What was known of a node.
#[derive(Debug, Clone)]
pub struct Known {
    /// Who it is.
    pub peer: PeerId,
    /// Where it lies.
    pub point: Point,
    /// Whether it could be asked.
    pub usable: bool,
    /// How many nanoseconds it takes to answer.
    pub latency: Option<u64>,
    /// Its load in thousandths.
    pub load: Option<u16>,
    /// Whether there is a connection.
    pub online: Option<bool>,
    /// Attempts under way.
    pub in_flight: u32,
}
