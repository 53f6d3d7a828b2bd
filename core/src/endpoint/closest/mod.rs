//! The closest node: which of several servers a request goes to, and to which one next.
//!
//! Three parts, none of which does I/O or knows about streams:
//!
//! * [`Nodes`] is the set of servers of one protocol and what is known of each: latency, load,
//!   whether it backs off after failures.
//! * A [`Strategy`] says what a node costs for a request: [`NearFirst`] (the default), [`XorOrder`],
//!   [`Weighted`], [`PeakEwma`], [`Rendezvous`], or one of your own.
//! * A [`Selection`] belongs to one request and names the nodes to try, best first, each once.
//!
//! ```
//! use core::time::Duration;
//! use pointsub_core::endpoint::closest::{Nodes, Selection, Weighted};
//! use pointsub_core::{PeerId, Timestamp};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (start, later) = (Timestamp::ZERO, Timestamp::ZERO + Duration::from_millis(20));
//! let mut nodes = Nodes::new(None);
//! nodes.add(PeerId::from_bytes(b"alice")?, start)?;
//! nodes.add(PeerId::from_bytes(b"bob")?, start)?;
//!
//! let strategy = Weighted::default();
//! let mut selection = Selection::new(b"the request's body", 0);
//! let first = selection.next(&nodes, &strategy, start).expect("two nodes are usable");
//! let attempt = nodes.begin(&first, start).expect("it is one of the nodes");
//! nodes.failed(attempt, later); // it backs off for a second
//!
//! let second = selection.next(&nodes, &strategy, later).expect("one node is left");
//! assert_ne!(first, second);
//! assert_eq!(selection.next(&nodes, &strategy, later), None);
//! # Ok(())
//! # }
//! ```

mod distance;
mod health;
mod latency;
mod near;
mod node;
mod nodes;
mod quantiles;
mod selection;
mod strategy;

pub use distance::{Distance, Point};
pub use health::{BACKOFF_BASE, BACKOFF_MAX};
pub use latency::{INITIAL_PEAK, LATENCY_FRESH, PEAK_HALF_LIFE};
pub use node::{LOAD_FRESH, Node};
pub use nodes::{AddNodeError, Attempt, MAX_NODES, Nodes};
pub use selection::Selection;
pub use strategy::{
    Candidate, Choices, NearFirst, PeakEwma, Rendezvous, Strategy, Weighted, XorOrder,
};
