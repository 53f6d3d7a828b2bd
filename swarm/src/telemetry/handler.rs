//! A handler at work, from when it begins to its end.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use libp2p_identity::PeerId;
use pointsub_core::{Headers, Method, ProtocolName, Timestamp};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::recorder::{HandlerEnd, Outcome, RpcMethod};
use super::{SYSTEM, record};
use crate::api::calls::channel::Channel;
use crate::api::server::handler::Handler;
use crate::api::server::shared::{Answer, Failure, ServerShared};

/// Notes that a handler has ended, however it does: one that is dropped was stopped.
#[derive(Debug)]
pub(crate) struct HandlerWatch {
    shared: Arc<ServerShared>,
    protocol: ProtocolName,
    /// If the handler knows it.
    method: Option<Method>,
    began: Timestamp,
    received: u64,
    span: Span,
    channel: Option<Arc<Channel>>,
    ended: bool,
}

impl HandlerWatch {
    /// Watches the handler of a request, if anybody wants to know of it.
    pub(crate) fn begin(
        shared: &Arc<ServerShared>,
        (peer, protocol): (&PeerId, &ProtocolName),
        handler: &dyn Handler,
        headers: Option<&Headers>,
        received: usize,
        began: Timestamp,
    ) -> Option<Self> {
        let records = shared.telemetry.recorder().is_some();
        let wanted = tracing::enabled!(target: "pointsub::rpc::server", tracing::Level::DEBUG);
        if !records && !wanted {
            return None;
        }
        let method = headers.and_then(|headers| headers.method.as_ref());
        let method = method.filter(|method| handler.knows_method(method.as_str())).cloned();
        let mut watch = Self {
            shared: shared.clone(),
            protocol: protocol.clone(),
            method,
            began,
            received: received as u64,
            span: Span::none(),
            channel: None,
            ended: false,
        };
        if wanted {
            watch.open_span(peer, headers);
        }
        Some(watch)
    }

    #[cold]
    fn open_span(&mut self, peer: &PeerId, headers: Option<&Headers>) {
        let method = self.rpc_method().to_string();
        self.span = tracing::debug_span!(
            target: "pointsub::rpc::server",
            parent: None,
            "handler",
            otel.name = method,
            otel.kind = "server",
            otel.status_code = Empty,
            rpc.system.name = SYSTEM,
            rpc.method = method,
            rpc.status_code = Empty,
            error.type = Empty,
            client.address = display(peer),
        );
        if let (Some(propagator), Some(headers)) = (self.shared.telemetry.propagator(), headers)
            && !self.span.is_disabled()
        {
            propagator.extract(&self.span, &headers.metadata);
        }
    }

    /// The handler is one of a call with messages.
    pub(crate) fn of_call(mut self, channel: &Arc<Channel>) -> Self {
        self.channel = Some(channel.clone());
        self
    }

    fn rpc_method(&self) -> RpcMethod<'_> {
        RpcMethod::new(self.protocol.as_str(), self.method.as_ref().map(Method::as_str))
    }

    /// Does something within the handler's span.
    pub(crate) fn within<T>(watch: Option<&Self>, work: impl FnOnce() -> T) -> T {
        match watch {
            Some(watch) => watch.span.in_scope(work),
            None => work(),
        }
    }

    /// The rest of the handler's work.
    pub(crate) fn around(self, work: BoxFuture<'static, Answer>) -> BoxFuture<'static, Answer> {
        let span = self.span.clone();
        let watched = async move {
            let answer = work.await;
            self.end(&answer);
            answer
        };
        watched.instrument(span).boxed()
    }

    /// The handler has ended like this.
    pub(crate) fn end(mut self, answer: &Answer) {
        let (outcome, sent) = match answer {
            Ok(body) => (Outcome::OK, body.wire_len()),
            Err(Failure::Status(status) | Failure::Malformed { status, .. }) => {
                (Outcome::of_status(status.code), status.detail.len())
            }
        };
        self.note(outcome, sent as u64);
    }

    fn note(&mut self, outcome: Outcome, sent: u64) {
        self.ended = true;
        record(&self.span, outcome);
        let Some(recorder) = self.shared.telemetry.recorder() else { return };
        let messages = self.channel.as_ref().map(|channel| channel.transferred());
        let messages = messages.unwrap_or_default();
        recorder.handler_ended(&HandlerEnd {
            method: self.rpc_method(),
            duration: self.shared.clock.now().since(self.began),
            outcome,
            sent: sent + messages.sent,
            received: self.received + messages.received,
        });
    }
}

impl Drop for HandlerWatch {
    fn drop(&mut self) {
        if !self.ended {
            self.note(Outcome::CANCELLED, 0);
        }
    }
}
