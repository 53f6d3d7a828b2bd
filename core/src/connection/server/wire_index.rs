//! Requests at work by their ids on the wire, for cancellations.

use alloc::vec::Vec;

use slab::Slab;

use super::calls::Call;

/// So few requests are looked through one by one.
const FEW: usize = 32;
/// An index that nobody asks is dropped when it has so many entries.
const KEPT: usize = 4096;

/// Made when a cancellation comes while many requests are at work. Ids rise, so that it stays in order
/// by itself; entries of requests that have ended are left in it.
#[derive(Debug, Default)]
pub(super) struct WireIndex(Option<Vec<(u64, usize)>>);

impl WireIndex {
    /// A request with a higher id than all before has begun.
    #[inline]
    pub(super) fn begun(&mut self, wire_id: u64, slot: usize) {
        if let Some(known) = &mut self.0 {
            if known.len() == KEPT {
                self.0 = None;
            } else {
                known.push((wire_id, slot));
            }
        }
    }

    /// Where the request with this id is, if it is at work.
    pub(super) fn find(&mut self, calls: &Slab<Call>, wire_id: u64) -> Option<usize> {
        let entry = |(slot, call): (usize, &Call)| (call.wire_id, slot);
        if calls.len() <= FEW {
            self.0 = None;
            return calls.iter().map(entry).find(|(id, _)| *id == wire_id).map(|(_, slot)| slot);
        }
        let known = match &mut self.0 {
            Some(known) if known.len() <= 2 * calls.len() => known,
            made => {
                let mut known: Vec<_> = calls.iter().map(entry).collect();
                known.sort_unstable();
                made.insert(known)
            }
        };
        let at = known.binary_search_by_key(&wire_id, |(id, _)| *id).ok()?;
        let (_, slot) = *known.get(at)?;
        calls.get(slot).filter(|call| call.wire_id == wire_id).map(|_| slot)
    }
}
