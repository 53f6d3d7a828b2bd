//! A stream as the server drives it: what it asks of admission control is answered at once.

use alloc::collections::VecDeque;

use super::ServerOutput;
use crate::connection::{ServerStream, ServerStreamEvent};
use crate::endpoint::{Admission, StreamKey};
use crate::id::{PeerId, ProtocolName, StreamId};
use crate::time::Timestamp;

/// A stream.
#[derive(Debug)]
pub(super) struct Driven {
    pub(super) machine: ServerStream,
    pub(super) key: StreamKey,
    pub(super) peer: PeerId,
    pub(super) protocol: ProtocolName,
    pub(super) touched: bool,
    /// It is among those that report before anybody else is let in.
    pub(super) reporting: bool,
    pub(super) timer: Option<Timestamp>,
    /// When it was last seen to that nothing is overdue.
    pub(super) ticked: Timestamp,
}

impl Driven {
    /// What has come up since time was last let pass may have been due then already.
    pub(super) fn catch_up(
        &mut self,
        admission: &mut Admission,
        ticked: Timestamp,
        now: Timestamp,
    ) {
        if core::mem::replace(&mut self.ticked, ticked) == ticked {
            return;
        }
        if self.machine.next_deadline().is_some_and(|due| due <= ticked) {
            self.machine.handle_timeout(ticked);
            self.exchange(admission, now);
        }
    }

    /// Takes what the stream has to report, and has it answered, until it asks nothing more; whether
    /// there was anything.
    pub(super) fn exchange(&mut self, admission: &mut Admission, now: Timestamp) -> bool {
        let mut any = false;
        while let Some(report) = self.machine.take_report() {
            any = true;
            let verdict = admission.handle(self.key, report, now);
            self.machine.handle_verdict(verdict, now);
            if !self.machine.is_asking() && !self.machine.has_news() {
                break;
            }
        }
        any
    }

    pub(super) fn take_ops(&mut self, stream: StreamId, outputs: &mut VecDeque<ServerOutput>) {
        while let Some(op) = self.machine.poll_op() {
            outputs.push_back(ServerOutput::Stream(stream, op));
        }
    }

    /// What the stream has to tell next. Whatever keeps it from that is asked at once; news is reported
    /// by whoever looks at the stream next.
    pub(super) fn poll_event(
        &mut self,
        admission: &mut Admission,
        now: Timestamp,
    ) -> Option<ServerStreamEvent> {
        loop {
            let event = self.machine.poll_event(now);
            if event.is_some() || !self.machine.is_asking() {
                return event;
            }
            self.exchange(admission, now);
        }
    }
}
