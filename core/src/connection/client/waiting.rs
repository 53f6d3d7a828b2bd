//! How long answers are waited for on one stream.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::batch::BULK;
use super::report::Slot;
use super::stream::{ClientStream, PendingRequest, SLOT_MASK};
use crate::error::{Cause, Delivery};
use crate::time::{Timestamp, earliest};
use crate::wire::{Flags, Format, Kind};

/// How much of a large request may lie in queues of the transport when its last byte was written. The
/// wait for its answer is a second longer for each 32 KiB of that.
const QUEUED: u64 = 8 * 1024 * 1024;
/// At which rate a slow link empties these queues.
const QUEUED_RATE: u64 = 32 * 1024;

/// How long a request of so many bytes may be in the transport's queues.
fn in_queues(len: u64) -> Duration {
    let large = len.min(QUEUED).saturating_sub(BULK as u64);
    Duration::from_millis(large * 1000 / QUEUED_RATE)
}

impl PendingRequest {
    pub(super) fn due(&self) -> Option<Timestamp> {
        earliest(self.deadline, self.read_due)
    }
}

impl ClientStream {
    /// Starts the read timer of every call whose last byte has left. A caller with a deadline has
    /// said how long it waits.
    pub(super) fn arm_written(&mut self) {
        let (written, read_due) = (self.link.written(), self.link.now + self.read_timeout);
        while let Some(&(end, id)) = self.unsent.front().filter(|(end, _)| *end <= written) {
            self.unsent.pop_front();
            let call = self.calls.get_mut((id & SLOT_MASK) as usize);
            let is_it = |call: &&mut PendingRequest| call.id == id && call.end == end;
            if let Some(call) = call.filter(is_it).filter(|call| call.deadline.is_none()) {
                call.read_due = Some(read_due + in_queues(call.len));
                self.due = earliest(self.due, call.read_due);
            }
        }
    }

    /// A message has come that took long: what waits behind it has so much longer to come.
    pub(super) fn go_on_waiting(&mut self, took: Duration) {
        self.held = false;
        for (_, call) in &mut self.calls {
            call.read_due = call.read_due.map(|due| due + took);
        }
        self.due = self.calls.iter().filter_map(|(_, call)| call.due()).min();
    }

    /// Fails what is due, and finds out when to look again.
    pub(super) fn expire(&mut self, now: Timestamp) {
        let is_due = |call: &PendingRequest| call.due().is_some_and(|due| due <= now);
        let (mut due, mut held) = (Vec::new(), false);
        let (arriving, slowly) = (self.arriving(), self.link.receives_slowly());
        for (slot, call) in self.calls.iter().filter(|(_, call)| is_due(call)) {
            // The message that arrives has a limit of its own.
            if call.deadline.is_none() && (slowly || arriving == Some(call.id)) {
                held = true;
            } else {
                due.push(slot);
            }
        }
        for slot in due {
            let call = &self.calls[slot];
            let Some(request) = call.request else {
                let cause = Cause::Lost(Arc::from("the peer does not confirm cancellation"));
                return self.close_with(&cause);
            };
            if self.link.format == Format::Plain {
                let deadline = call.deadline.is_some_and(|deadline| deadline <= now);
                let read = Cause::TimedOut(self.read_timeout);
                return self.close_with(&if deadline { Cause::Deadline } else { read });
            }
            // Even if no byte has left: what waits to be written is not taken back.
            let ((phase, _), delivery) = (self.progress(call), Delivery::Unknown);
            let cause = match call.deadline {
                Some(deadline) if deadline <= now => Cause::Deadline,
                _ => Cause::TimedOut(self.read_timeout),
            };
            self.abandon(slot);
            self.report_failed(request, cause, phase, delivery, Slot::Taken);
        }
        self.held = held;
        let later = self.calls.iter().filter_map(|(_, call)| call.due());
        self.due = later.filter(|due| *due > now).min();
    }

    /// The call whose answer arrives, if that is known.
    fn arriving(&self) -> Option<u64> {
        match self.link.format {
            Format::Native => self.link.decoder.arriving_id(),
            Format::Plain if !self.link.is_receiving() => None,
            Format::Plain => self.calls.iter().next().map(|(_, call)| call.id),
        }
    }

    /// Tells the server that the answer is not wanted, and expects it to confirm in time.
    pub(super) fn abandon(&mut self, slot: usize) {
        let call = &mut self.calls[slot];
        call.request = None;
        call.deadline = None;
        call.read_due = None;
        call.len = 0;
        if self.link.format == Format::Native {
            let id = call.id;
            self.link.outbox.native(Kind::Cancel, Flags::default(), id, Bytes::new(), |_| {});
            call.end = self.link.queued();
            self.unsent.push_back((call.end, id));
        }
    }
}
