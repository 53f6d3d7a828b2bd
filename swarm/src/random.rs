//! Randomness that differs from node to node and from call to call. Not for secrets.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Any number. It spreads what many nodes or connections would do at the same moment.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
