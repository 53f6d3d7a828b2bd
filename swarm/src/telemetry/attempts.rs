//! The attempts of calls that are under way on one stream.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use pointsub_core::connection::{Report, StreamCommand};
use pointsub_core::{Body, Format, Method, ProtocolName, RequestId, Timestamp};
use tracing::Span;
use tracing::field::Empty;

use super::record;
use super::recorder::{AttemptEnd, Outcome, Recorder, RpcMethod};
use crate::api::client::shared::ClientShared;
use crate::peer;

/// The attempts that are under way on one stream, if anybody wants to know of them.
#[derive(Debug)]
pub(crate) struct Attempts {
    shared: Arc<ClientShared>,
    peer: pointsub_core::PeerId,
    protocol: ProtocolName,
    format: Format,
    open: HashMap<RequestId, Attempt, BuildHasherDefault<KeyHasher>>,
    ended: Vec<Ended>,
    /// Attempts of the same method that have begun and are not told yet.
    begun: (Option<Method>, u64),
}

#[derive(Debug)]
struct Attempt {
    method: Option<Method>,
    began: Timestamp,
    sent: usize,
    /// Apart, because there is one only where somebody wants to see it.
    span: Option<Box<Span>>,
}

#[derive(Debug)]
struct Ended {
    attempt: Attempt,
    at: Timestamp,
    outcome: Outcome,
    received: usize,
}

impl Attempts {
    pub(crate) fn new(
        shared: Arc<ClientShared>,
        peer: pointsub_core::PeerId,
        protocol: ProtocolName,
        format: Format,
    ) -> Self {
        let (open, ended, begun) = (HashMap::default(), Vec::new(), (None, 0));
        Self { shared, peer, protocol, format, open, ended, begun }
    }

    /// The stream is about to be told that.
    #[inline]
    pub(crate) fn note_command(&mut self, command: &StreamCommand, now: Timestamp) {
        match command {
            StreamCommand::Start { request, body, .. } => self.begin(*request, body, now),
            StreamCommand::Cancel { request } => self.end(*request, Outcome::CANCELLED, 0, now),
            StreamCommand::Close | StreamCommand::Retire => {}
        }
    }

    fn begin(&mut self, request: RequestId, body: &Body, now: Timestamp) {
        let records = self.shared.telemetry.recorder().is_some();
        let mark = body.mark();
        if !records && mark.is_none() {
            return;
        }
        let opening = body.opened_call().and_then(|number| self.shared.openings.get(number));
        let (method, sent) = match opening {
            Some((opening, _)) => {
                (opening.request.method.clone(), opening.request.argument.wire_len())
            }
            None => {
                let method = body.headers().and_then(|headers| headers.method.clone());
                let native = self.format == Format::Native;
                (method, if native { body.wire_len() } else { body.raw().len() })
            }
        };
        if records {
            if self.begun.1 > 0 && self.begun.0 != method {
                self.tell_begun();
            }
            if self.begun.1 == 0 {
                self.begun.0.clone_from(&method);
            }
            self.begun.1 += 1;
        }
        let span = mark.map(|mark| Box::new(self.span(mark)));
        self.open.insert(request, Attempt { method, began: now, sent, span });
    }

    #[cold]
    fn span(&self, mark: u64) -> Span {
        let Some((call, attempt)) = self.shared.spans.next_attempt(mark) else {
            return Span::none();
        };
        tracing::debug_span!(
            target: "pointsub::rpc::attempt",
            parent: &call,
            "attempt",
            otel.kind = "internal",
            otel.status_code = Empty,
            rpc.status_code = Empty,
            error.type = Empty,
            pointsub.attempt = attempt,
            pointsub.peer = display(peer::to_libp2p(&self.peer)),
        )
    }

    /// The stream reports that. Nobody is told yet, since a lock is held.
    #[inline]
    pub(crate) fn note_report(&mut self, report: &Report, now: Timestamp) {
        match report {
            Report::Answered { request, answer, .. } => match answer {
                Ok(payload) => self.end(*request, Outcome::OK, payload.wire_len(), now),
                Err((status, _)) => {
                    let outcome = Outcome::of_status(status.code);
                    self.end(*request, outcome, status.detail.len(), now);
                }
            },
            Report::Accepted { request, .. } => self.end(*request, Outcome::OK, 0, now),
            Report::Failed { request, error, .. } => {
                self.end(*request, Outcome::of_error(error), 0, now);
            }
            _ => {}
        }
    }

    fn end(&mut self, request: RequestId, outcome: Outcome, received: usize, at: Timestamp) {
        if let Some(attempt) = self.open.remove(&request) {
            self.ended.push(Ended { attempt, at, outcome, received });
        }
    }

    /// Tells what was noted.
    pub(crate) fn tell(&mut self) {
        self.tell_begun();
        let recorder = self.shared.telemetry.recorder();
        for Ended { attempt, at, outcome, received } in self.ended.drain(..) {
            if let Some(span) = &attempt.span {
                record(span, outcome);
            }
            let Some(recorder) = recorder else { continue };
            let method = attempt.method.as_ref().map(Method::as_str);
            recorder.attempt_ended(&AttemptEnd {
                method: RpcMethod::new(self.protocol.as_str(), method),
                duration: at.since(attempt.began),
                outcome,
                sent: attempt.sent as u64,
                received: received as u64,
            });
        }
    }

    fn tell_begun(&mut self) {
        let count = std::mem::take(&mut self.begun.1);
        if let Some(recorder) = self.shared.telemetry.recorder().filter(|_| count > 0) {
            let method = self.begun.0.as_ref().map(Method::as_str);
            let method = RpcMethod::new(self.protocol.as_str(), method);
            Recorder::attempts_started(&**recorder, method, count);
        }
    }
}

impl Drop for Attempts {
    /// The stream is gone.
    fn drop(&mut self) {
        let now = self.shared.clock.now();
        for (_, attempt) in self.open.drain() {
            let outcome = Outcome::failed("lost");
            self.ended.push(Ended { attempt, at: now, outcome, received: 0 });
        }
        self.tell();
    }
}

/// Ids of requests are numbers that this client has given itself.
#[derive(Debug, Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        // The golden ratio, which spreads numbers that follow each other.
        self.0 = (self.0 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 ^= self.0 >> 32;
    }
}
