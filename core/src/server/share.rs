//! Fair shares of the places at work.
//!
//! Dynamic thresholds, as Choudhury and Hahne gave them to the queues that share a switch's
//! memory (1998): each flow may have a multiple of what is free at the moment. One greedy flow
//! then stops by itself while about a ninth of the places is still free, `n` greedy ones come to
//! equal shares, and whoever has nothing at work finds a place. Nothing is reserved: a flow that
//! is alone has everything.

/// A flow may have this many times the places that are left after its next request.
const MULTIPLE: usize = 8;

/// Whether a flow with `active` requests at work may have another one, while `free` places are
/// left to all flows together.
pub(super) fn admits(active: usize, free: usize) -> bool {
    let left = free.saturating_sub(1);
    free > 0 && (active == 0 || active < left.saturating_mul(MULTIPLE))
}
