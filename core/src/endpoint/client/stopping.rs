//! The end of a client: nothing is accepted, and everything comes to its outcome.

use alloc::vec::Vec;

use super::directive::{ClientEvent, Directive};
use super::dispatch::{Dispatcher, Place};
use super::pool::Pooled;
use crate::error::{Cause, Delivery, Phase, RequestError};
use crate::id::{RequestId, StreamId};
use crate::time::Timestamp;

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Stopping {
    No,
    Draining,
    Drained,
}

impl Dispatcher {
    /// Accepts no further requests, lets those under way end, closes every stream as it falls
    /// idle, and tells [`ClientEvent::Drained`] when nothing is left.
    pub fn drain(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        if self.stopping == Stopping::No {
            self.stopping = Stopping::Draining;
            let streams: Vec<StreamId> = self.streams.keys().collect();
            for stream in streams {
                self.close_if_stopping(stream);
            }
            self.finish_drain();
        }
    }

    /// Like [`drain`](Self::drain), but fails what is still under way with [`Cause::Closed`].
    pub fn close(&mut self, now: Timestamp) {
        self.drain(now);
        self.close_calls();
        self.close_dials();
        let requests: Vec<RequestId> = self.requests.keys().collect();
        for id in requests {
            let sent = self.requests.get(id).and_then(|request| match request.place {
                Place::On(stream) => Some(stream),
                Place::Waiting | Place::Resting { .. } => None,
            });
            let (phase, delivery) = match sent {
                Some(_) => (Phase::Wait, Delivery::Unknown),
                None => (Phase::Connect, Delivery::NotProcessed),
            };
            if let Some(stream) = sent {
                self.directives.push_back(Directive::Cancel { stream, request: id });
            }
            self.fail(id, RequestError::new(Cause::Closed, phase, delivery));
        }
        let streams: Vec<StreamId> = self.streams.keys().collect();
        for stream in streams {
            if self.streams.get(stream).is_some_and(Pooled::is_opening) {
                self.directives.push_back(Directive::Abandon { stream });
                self.fail_open(stream, Cause::Closed);
            } else {
                self.directives.push_back(Directive::Close { stream });
            }
        }
        self.finish_drain();
    }

    /// Whether nothing is left to do, and nothing can come: [`ClientEvent::Drained`] was told.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.stopping == Stopping::Drained
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping != Stopping::No
    }

    pub(super) fn finish_drain(&mut self) {
        if self.stopping == Stopping::Draining
            && self.requests.is_empty()
            && self.calls.is_empty()
            && self.dials.is_empty()
            && self.streams.is_empty()
        {
            self.stopping = Stopping::Drained;
            self.tell(ClientEvent::Drained);
        }
    }
}
