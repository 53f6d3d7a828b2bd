//! Calls that are not accepted, beside the requests as which the dispatcher knows them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use pointsub_core::RequestId;
use pointsub_core::connection::CallOpening;
use slotmap::SecondaryMap;

use super::channel::Channel;

type Opening = (CallOpening, Arc<Channel>);

/// Calls that are not accepted. A stream's driver asks for each request that it starts, so that
/// asking costs no lock while there is none.
#[derive(Debug, Default)]
pub(crate) struct Openings {
    count: AtomicUsize,
    calls: Mutex<SecondaryMap<RequestId, Opening>>,
}

impl Openings {
    pub(crate) fn insert(&self, request: RequestId, opening: Opening) {
        let mut calls = self.calls.lock();
        calls.insert(request, opening);
        self.count.store(calls.len(), Ordering::Release);
    }

    pub(crate) fn remove(&self, request: RequestId) {
        let mut calls = self.calls.lock();
        calls.remove(request);
        self.count.store(calls.len(), Ordering::Release);
    }

    /// What a request is to open, if it is no request.
    pub(crate) fn get(&self, request: RequestId) -> Option<Opening> {
        match self.count.load(Ordering::Acquire) {
            0 => None,
            _ => self.calls.lock().get(request).cloned(),
        }
    }
}
