//! Scripts: a machine driven by hand in virtual time, so that a test reads like a trace.
//!
//! Inputs go in at the script's time and outputs are taken only by `expect_…` verbs, so inputs
//! that stand next to each other are one batch. Outputs that no verb expected fail the test at
//! its end. Along the way every script checks the contract of the machines: one write at a time,
//! nothing after the end of a stream, one outcome for each request, no deadline in the past, and
//! counters that add up.

mod attached;
mod client;
pub(crate) mod endpoints;
pub(crate) mod link;
pub(crate) mod nodes;
mod server;
pub(crate) mod wire;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use pointsub_core::{PeerId, StreamOp, Timestamp};

pub(crate) use attached::Attached;
pub(crate) use client::{ClientScript, asked_at, timed_out, without_retries};
pub(crate) use server::{ServerScript, check_counters};
pub(crate) use wire::{
    Wire, cancel, drain, failure, frame, id, join, plain, request, response, server_settings,
    settings,
};

/// The protocol of all that does not say otherwise.
pub(crate) const PROTOCOL: &str = "/t";
pub(crate) const KIB: usize = 1024;
pub(crate) const MIB: usize = 1024 * KIB;
/// Read, write and idle limits of the defaults, in milliseconds.
pub(crate) const READ: u64 = 30_000;
pub(crate) const WRITE: u64 = 30_000;
pub(crate) const CONNECT: u64 = 5_000;
pub(crate) const IDLE: u64 = 300_000;

/// What a script sets up before its test begins takes place in this time.
const SETUP: Duration = Duration::from_secs(1);

/// This many milliseconds after the beginning of the test.
pub(crate) fn ms(millis: u64) -> Timestamp {
    Timestamp::ZERO + SETUP + Duration::from_millis(millis)
}

/// Peer number `n`.
pub(crate) fn peer(n: u8) -> PeerId {
    PeerId::from_bytes(&[0, 36, 8, n]).expect("a peer id")
}

/// A body of `len` bytes.
pub(crate) fn body(len: usize) -> Bytes {
    (0..len).map(|i| (i % 251) as u8).collect()
}

/// The last instant before `t`.
fn just_before(t: Timestamp) -> Timestamp {
    Timestamp::from_nanos(t.as_nanos() - 1)
}

/// One stream as the transport sees it.
#[derive(Debug, Default)]
struct Io {
    /// Handed out and not yet looked at by the test.
    write: Option<Bytes>,
    /// A write is not confirmed yet.
    outstanding: bool,
    /// Finish or Reset, not yet looked at by the test.
    end: Option<StreamOp>,
    ended: bool,
}

impl Io {
    #[track_caller]
    fn take(&mut self, op: StreamOp) {
        assert!(!self.ended, "{op:?} after the end of the stream");
        match op {
            StreamOp::Write(bytes) => {
                assert!(!self.outstanding, "a second write before the first was confirmed");
                assert!(!bytes.is_empty(), "an empty write");
                self.outstanding = true;
                self.write = Some(bytes);
            }
            end => {
                assert!(end != StreamOp::Finish || !self.outstanding, "finished while writing");
                self.end = Some(end);
                self.ended = true;
            }
        }
    }

    fn leftovers(&self) -> Vec<String> {
        let write = self.write.iter().map(|bytes| format!("write {:?}", wire::parse(bytes)));
        write.chain(self.end.iter().map(|end| format!("{end:?}"))).collect()
    }
}

/// Takes what a test expects from the front of a queue.
#[track_caller]
fn next<T>(queue: &mut VecDeque<T>, what: &str) -> T {
    match queue.pop_front() {
        Some(item) => item,
        None => panic!("expected {what}, there is none"),
    }
}
