//! A stream as the world around a server sees it.

use std::collections::BTreeSet;

use pointsub_core::Format;
use pointsub_core::wire::{Decoder, Frame, Kind};

/// What the world knows of one stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) format: Format,
    /// The server did its last operation.
    pub(super) ended: bool,
    /// The world ended it.
    pub(super) gone: bool,
    pub(super) writing: bool,
    /// Reads what the server writes.
    pub(super) decoder: Decoder,
    pub(super) last_id: u64,
    /// Native: ids of requests that were sent.
    pub(super) ids: BTreeSet<u64>,
    /// Bytes were sent of which the world does not know what they are.
    pub(super) wild: bool,
    /// Native: ids that were answered.
    pub(super) answered: BTreeSet<u64>,
    /// Plain: answers that came, and requests that a handler saw.
    pub(super) answers: u64,
    pub(super) requests: u64,
    /// The id of DRAIN.
    pub(super) drain: Option<u64>,
}

impl Stream {
    /// A frame that the server wrote.
    pub(super) fn read(&mut self, frame: &Frame) {
        if self.format == Format::Plain {
            self.answers += 1;
            assert!(self.answers <= self.requests, "more answers than requests");
            return;
        }
        let id = frame.header.id;
        match frame.header.kind {
            Some(Kind::Settings) => {}
            Some(Kind::Response) => {
                assert!(self.wild || self.ids.contains(&id), "an answer to no request");
                assert!(self.answered.insert(id), "a second answer");
                assert!(self.drain.is_none_or(|last| id <= last), "an answer beyond DRAIN");
            }
            Some(Kind::Drain) => {
                assert!(self.drain.replace(id).is_none(), "two drains");
            }
            other => panic!("a server sent {other:?}"),
        }
    }
}
