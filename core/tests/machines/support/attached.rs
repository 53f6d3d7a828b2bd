//! A stream of a server by itself, whose reports are answered at once.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use pointsub_core::connection::{CallId, CallPlaces, ServerStream, ServerStreamEvent};
use pointsub_core::endpoint::{Admission, StreamKey};
use pointsub_core::wire::Buffers;
use pointsub_core::{
    Body, Format, PeerId, ProtocolName, ServerConfig, Status, StreamEvent, Timestamp,
};

/// See the [module](self).
pub(crate) struct Attached {
    machine: ServerStream,
    pub(crate) key: StreamKey,
}

impl Attached {
    pub(crate) fn new(
        peer: PeerId,
        protocol: &ProtocolName,
        format: Format,
        config: &ServerConfig,
        admission: &mut Admission,
        now: Timestamp,
    ) -> Self {
        let mut machine = ServerStream::new(format, config, now);
        let (key, verdict) = admission.open(peer, protocol, format, true, now);
        machine.handle_verdict(verdict, now);
        let mut this = Self { machine, key };
        this.exchange(admission, now);
        this
    }

    pub(crate) fn with_buffers(self, buffers: Arc<dyn Buffers>) -> Self {
        Self { machine: self.machine.with_buffers(buffers), key: self.key }
    }

    pub(crate) fn with_call_places(self, places: CallPlaces) -> Self {
        Self { machine: self.machine.with_call_places(places), key: self.key }
    }

    fn exchange(&mut self, admission: &mut Admission, now: Timestamp) {
        while let Some(report) = self.machine.take_report() {
            let verdict = admission.handle(self.key, report, now);
            self.machine.handle_verdict(verdict, now);
        }
    }

    pub(crate) fn handle(&mut self, event: StreamEvent, admission: &mut Admission, now: Timestamp) {
        self.machine.handle(event, now);
        self.exchange(admission, now);
    }

    pub(crate) fn poll_event(
        &mut self,
        admission: &mut Admission,
        now: Timestamp,
    ) -> Option<ServerStreamEvent> {
        loop {
            let event = self.machine.poll_event(now);
            self.exchange(admission, now);
            if event.is_some() || !self.machine.has_event() {
                return event;
            }
        }
    }

    pub(crate) fn respond(
        &mut self,
        call: CallId,
        answer: Result<Body, Status>,
        admission: &mut Admission,
        now: Timestamp,
    ) {
        self.machine.respond(call, answer, now);
        self.exchange(admission, now);
    }

    pub(crate) fn close(&mut self, admission: &mut Admission, now: Timestamp) {
        let report = self.machine.close(now);
        admission.close(self.key, report, now);
    }
}

impl Deref for Attached {
    type Target = ServerStream;

    fn deref(&self) -> &ServerStream {
        &self.machine
    }
}

impl DerefMut for Attached {
    fn deref_mut(&mut self) -> &mut ServerStream {
        &mut self.machine
    }
}
