//! Calls that are not accepted, beside the requests as which they travel.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use pointsub_core::connection::CallOpening;

use super::channel::Channel;

pub(crate) type Opening = (CallOpening, Arc<Channel>);

/// Calls that are not accepted, each by the number that is in the body of its request.
#[derive(Debug, Default)]
pub(crate) struct Openings(Mutex<Numbered>);

#[derive(Debug, Default)]
struct Numbered {
    last: u64,
    calls: HashMap<u64, Opening>,
}

impl Openings {
    /// The call's number.
    pub(crate) fn insert(&self, opening: Opening) -> u64 {
        let mut numbered = self.0.lock();
        numbered.last += 1;
        let number = numbered.last;
        numbered.calls.insert(number, opening);
        number
    }

    pub(crate) fn remove(&self, number: u64) {
        self.0.lock().calls.remove(&number);
    }

    /// What a request is to open, unless its caller has gone.
    pub(crate) fn get(&self, number: u64) -> Option<Opening> {
        self.0.lock().calls.get(&number).cloned()
    }
}
