//! How many calls one connection may have.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

/// The places of calls on one connection, which all its streams share.
#[derive(Clone, Debug)]
pub struct CallPlaces {
    limit: usize,
    taken: Arc<AtomicUsize>,
}

impl CallPlaces {
    /// So many.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, taken: Arc::default() }
    }
}

/// Those that one stream has. They are free again when it is dropped.
#[derive(Debug, Default)]
pub(super) struct TakenPlaces {
    places: Option<CallPlaces>,
    count: usize,
}

impl TakenPlaces {
    pub(super) fn of(places: CallPlaces) -> Self {
        Self { places: Some(places), count: 0 }
    }

    /// The limit of the connection, if it is reached.
    pub(super) fn full(&self) -> Option<usize> {
        let places = self.places.as_ref()?;
        (places.taken.load(Ordering::Relaxed) >= places.limit).then_some(places.limit)
    }

    /// The stream has so many calls.
    pub(super) fn set(&mut self, count: usize) {
        if let Some(places) = &self.places
            && count != self.count
        {
            places.taken.fetch_add(count, Ordering::Relaxed);
            places.taken.fetch_sub(self.count, Ordering::Relaxed);
            self.count = count;
        }
    }
}

impl Drop for TakenPlaces {
    fn drop(&mut self) {
        self.set(0);
    }
}
