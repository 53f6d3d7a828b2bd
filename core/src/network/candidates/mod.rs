//! Servers that nobody has named: who may serve a protocol, who is asked whether it does, and who does.
//!
//! [`Candidates`] is one machine for a whole node. A *source* says that a peer may serve something:
//! the local network, a registry, connected peers. Such a peer is a candidate, and gets no request. It
//! is dialled, and becomes a node when it says itself, on a connection (identify), that it serves the
//! protocol. It stops being one when it says that it does not any more. So a lie costs one dial, of
//! which there are few at a time and in a minute.
//!
//! ```text
//!  Found ──▶ Waiting ── Verify ──▶ Verifying ── Identified: it does ──▶ Serving (Add)
//!              ▲  │                    │                                   │
//!              │  └── too often ──▶ forgotten ◀── it does not ── Identified ┤ (Remove)
//!              └───── Unreachable ─────┘◀───────────────────── Unreachable ┘
//! ```
//!
//! The loop is that of [`Network`](super::Network): facts in with [`Candidates::handle`], orders out with
//! [`Candidates::poll_order`], and [`CandidateFact::Tick`] at [`Candidates::next_deadline`]. Facts that
//! come twice, late or of peers that are not known are harmless.
//!
//! ```
//! use pointsub_core::network::candidates::*;
//! use pointsub_core::{PeerId, ProtocolName, Timestamp};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! const SEARCH: ProtocolName = ProtocolName::from_static("/search/1.0.0");
//! let (now, bob) = (Timestamp::ZERO, PeerId::from_bytes(b"bob")?);
//! let mut candidates = Candidates::new(Sources::NONE.with(Source::Lan), None, 0);
//!
//! candidates.handle(CandidateFact::Wanted(SEARCH), now);
//! assert_eq!(candidates.poll_order(), Some(CandidateOrder::LookUp(SEARCH, Source::Lan)));
//!
//! let (service, until, network) = (None, None, None);
//! let found = Found { peer: bob, service, source: Source::Lan, until, network };
//! candidates.handle(CandidateFact::Found(found), now);
//! assert_eq!(candidates.poll_order(), Some(CandidateOrder::Verify(bob)));
//!
//! candidates.handle(CandidateFact::Connected(bob, None), now);
//! candidates.handle(CandidateFact::Identified(bob, vec![SEARCH]), now);
//! assert_eq!(candidates.poll_order(), Some(CandidateOrder::Add(SEARCH, bob, Source::Lan)));
//! # Ok(())
//! # }
//! ```
//!
//! # What it decides
//!
//! * **Who is a candidate.** At most 64 for a service, half of them from one source and 4 of one network
//!   of the internet. One that was not reached makes room for another. What the application names is
//!   not counted, and never forgotten.
//! * **Who is dialled.** 4 at a time, and 32 strangers a minute. Sources take turns, so that one which
//!   tells lies does not keep the others waiting.
//! * **When sources are asked.** At once, then after 1 s to 5 min as long as nobody is found, and at 80 %
//!   of the time for which the last one stands by what it has found. If who was found is not reached or does
//!   not serve, and nobody else does, it goes on as if nobody had been found.
//! * **Who stays.** A server to which there is no connection is dialled again after some minutes. One that is not
//!   reached is no node any more, unless nobody is reached at all: then it is this node that is cut off,
//!   and it keeps the servers that it knows.

mod lookups;
mod machine;
mod order;
mod source;
mod table;
mod verifying;

pub use machine::Candidates;
pub use order::{Candidate, CandidateFact, CandidateOrder, CandidateState, Found};
pub use source::{Source, Sources};
