//! A call of the application, from its beginning to its end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use libp2p_identity::PeerId;
use parking_lot::Mutex;
use pointsub_core::{Body, Headers, Method, ProtocolName, RequestError, Timestamp};
use tracing::Span;
use tracing::field::Empty;

use super::recorder::{CallEnd, MessageBytes, Outcome, RpcMethod};
use super::{SYSTEM, record};
use crate::api::client::shared::ClientShared;
use crate::api::failover::ClosestError;
use crate::api::message::Response;

/// Notes that a call has ended, however it does: one that is dropped was cancelled.
#[derive(Debug)]
pub(crate) struct CallWatch {
    shared: Arc<ClientShared>,
    protocol: ProtocolName,
    method: Option<Method>,
    began: Timestamp,
    span: Option<Box<Marked>>,
    ended: bool,
}

/// A span that attempts find by its number.
#[derive(Debug)]
struct Marked {
    span: Span,
    mark: u64,
}

/// The spans of calls under way, each under the number that is in the body of its request.
#[derive(Debug, Default)]
pub(crate) struct CallSpans(Mutex<Numbered>);

#[derive(Debug, Default)]
struct Numbered {
    last: u64,
    /// With how many attempts there were.
    spans: HashMap<u64, (Span, u32)>,
}

impl CallSpans {
    fn insert(&self, span: Span) -> u64 {
        let mut numbered = self.0.lock();
        numbered.last += 1;
        let mark = numbered.last;
        numbered.spans.insert(mark, (span, 0));
        mark
    }

    /// The span of the call that an attempt belongs to, and which attempt it is.
    pub(super) fn next_attempt(&self, mark: u64) -> Option<(Span, u32)> {
        let mut numbered = self.0.lock();
        let (span, attempts) = numbered.spans.get_mut(&mark)?;
        *attempts += 1;
        Some((span.clone(), *attempts))
    }

    fn remove(&self, mark: u64) {
        let removed = self.0.lock().spans.remove(&mark);
        // Its subscriber is told without the lock.
        drop(removed);
    }
}

impl CallWatch {
    /// Watches a call, if anybody wants to know of it. What is to travel of its trace is added to what
    /// travels beside its body.
    pub(crate) fn begin(
        shared: &Arc<ClientShared>,
        protocol: &ProtocolName,
        headers: &mut Headers,
        began: Timestamp,
        peer: Option<&PeerId>,
    ) -> Option<Self> {
        let records = shared.telemetry.recorder().is_some();
        let wanted = tracing::enabled!(target: "pointsub::rpc::client", tracing::Level::DEBUG);
        if !records && !wanted {
            return None;
        }
        let span = if wanted { Self::mark(shared, protocol, headers, peer) } else { None };
        let (protocol, method) = (protocol.clone(), headers.method.clone());
        Some(Self { shared: shared.clone(), protocol, method, began, span, ended: false })
    }

    #[cold]
    fn mark(
        shared: &ClientShared,
        protocol: &ProtocolName,
        headers: &mut Headers,
        peer: Option<&PeerId>,
    ) -> Option<Box<Marked>> {
        let method = headers.method.as_ref().map(Method::as_str);
        let method = RpcMethod::new(protocol.as_str(), method).to_string();
        let span = tracing::debug_span!(
            target: "pointsub::rpc::client",
            "call",
            otel.name = method,
            otel.kind = "client",
            otel.status_code = Empty,
            rpc.system.name = SYSTEM,
            rpc.method = method,
            rpc.status_code = Empty,
            error.type = Empty,
            server.address = peer.map(display),
        );
        if span.is_disabled() {
            return None;
        }
        if let Some(propagator) = shared.telemetry.propagator() {
            propagator.inject(&span, &mut headers.metadata);
        }
        let mark = shared.spans.insert(span.clone());
        Some(Box::new(Marked { span, mark }))
    }

    /// The body of the call's request, by which attempts find its span.
    pub(crate) fn marked(watch: Option<&Self>, body: Body) -> Body {
        match watch.and_then(|watch| watch.span.as_ref()) {
            Some(marked) => body.with_mark(marked.mark),
            None => body,
        }
    }

    /// The call has ended.
    pub(crate) fn end(mut self, outcome: Outcome, duration: Option<Duration>) {
        self.note(outcome, duration, None);
    }

    /// A call with messages has ended.
    pub(crate) fn end_streaming(mut self, outcome: Outcome, sent: u64, received: u64) {
        self.note(outcome, None, Some(MessageBytes { sent, received }));
    }

    fn note(
        &mut self,
        outcome: Outcome,
        duration: Option<Duration>,
        messages: Option<MessageBytes>,
    ) {
        self.ended = true;
        if let Some(recorder) = self.shared.telemetry.recorder() {
            let duration = duration.unwrap_or_else(|| self.shared.clock.now().since(self.began));
            let method = self.method.as_ref().map(Method::as_str);
            let method = RpcMethod::new(self.protocol.as_str(), method);
            recorder.call_ended(&CallEnd { method, duration, outcome, messages });
        }
        if let Some(marked) = self.span.take() {
            record(&marked.span, outcome);
            self.shared.spans.remove(marked.mark);
        }
    }
}

impl Drop for CallWatch {
    fn drop(&mut self) {
        if !self.ended {
            self.note(Outcome::CANCELLED, None, None);
        }
    }
}

/// What calls give back.
pub(crate) trait CallResult {
    fn summary(&self) -> (Outcome, Option<Duration>);
}

impl CallResult for Result<Response, RequestError> {
    fn summary(&self) -> (Outcome, Option<Duration>) {
        match self {
            Ok(response) => (Outcome::OK, Some(response.elapsed())),
            Err(error) => (Outcome::of_error(error), None),
        }
    }
}

impl CallResult for Result<Response, ClosestError> {
    fn summary(&self) -> (Outcome, Option<Duration>) {
        match self {
            Ok(response) => (Outcome::OK, Some(response.elapsed())),
            Err(failed) => (Outcome::of_error(&failed.error), None),
        }
    }
}

/// A call has this result.
#[inline]
pub(crate) fn finish<T: CallResult>(watch: Option<CallWatch>, result: T) -> T {
    if let Some(watch) = watch {
        let (outcome, duration) = result.summary();
        watch.end(outcome, duration);
    }
    result
}
