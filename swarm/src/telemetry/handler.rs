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
use crate::api::server::mailbox::{Answer, Failure};
use crate::api::server::shared::ServerShared;

/// A handler that has begun, for as long as it is polled where its request was read.
#[derive(Debug)]
pub(crate) struct HandlerMark {
    /// If the handler knows it.
    method: Option<Method>,
    began: Timestamp,
    received: u64,
    span: Span,
    channel: Option<Arc<Channel>>,
}

/// Notes that a handler has ended that has a task of its own, however it does: one that is dropped was
/// stopped.
#[derive(Debug)]
struct HandlerWatch {
    mark: HandlerMark,
    shared: Arc<ServerShared>,
    protocol: ProtocolName,
    ended: bool,
}

impl HandlerMark {
    /// Watches the handler of a request, if anybody wants to know of it.
    pub(crate) fn begin(
        shared: &ServerShared,
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
        let (received, span) = (received as u64, Span::none());
        let mut mark = Self { method, began, received, span, channel: None };
        if wanted {
            mark.open_span(shared, (peer, protocol), headers);
        }
        Some(mark)
    }

    #[cold]
    fn open_span(
        &mut self,
        shared: &ServerShared,
        (peer, protocol): (&PeerId, &ProtocolName),
        headers: Option<&Headers>,
    ) {
        let method = self.rpc_method(protocol).to_string();
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
        if let (Some(propagator), Some(headers)) = (shared.telemetry.propagator(), headers)
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

    fn rpc_method<'a>(&'a self, protocol: &'a ProtocolName) -> RpcMethod<'a> {
        RpcMethod::new(protocol.as_str(), self.method.as_ref().map(Method::as_str))
    }

    /// Does something within the handler's span.
    pub(crate) fn within<T>(mark: Option<&Self>, work: impl FnOnce() -> T) -> T {
        match mark {
            Some(mark) => mark.span.in_scope(work),
            None => work(),
        }
    }

    /// The rest of the handler's work, in a task of its own.
    pub(crate) fn around(
        self,
        shared: &Arc<ServerShared>,
        protocol: &ProtocolName,
        work: BoxFuture<'static, Answer>,
    ) -> BoxFuture<'static, Answer> {
        let span = self.span.clone();
        let (shared, protocol) = (shared.clone(), protocol.clone());
        let mut watch = HandlerWatch { mark: self, shared, protocol, ended: false };
        let watched = async move {
            let answer = work.await;
            watch.ended = true;
            watch.mark.end(&watch.shared, &watch.protocol, &answer);
            answer
        };
        watched.instrument(span).boxed()
    }

    /// The handler has ended like this.
    pub(crate) fn end(&self, shared: &ServerShared, protocol: &ProtocolName, answer: &Answer) {
        let (outcome, sent) = match answer {
            Ok(body) => (Outcome::OK, body.wire_len()),
            Err(Failure::Status(status) | Failure::Malformed { status, .. }) => {
                (Outcome::of_status(status.code), status.detail.len())
            }
        };
        self.note(shared, protocol, outcome, sent as u64);
    }

    fn note(&self, shared: &ServerShared, protocol: &ProtocolName, outcome: Outcome, sent: u64) {
        record(&self.span, outcome);
        let Some(recorder) = shared.telemetry.recorder() else { return };
        let messages = self.channel.as_ref().map(|channel| channel.transferred());
        let messages = messages.unwrap_or_default();
        recorder.handler_ended(&HandlerEnd {
            method: self.rpc_method(protocol),
            duration: shared.clock.now().since(self.began),
            outcome,
            sent: sent + messages.sent,
            received: self.received + messages.received,
        });
    }
}

impl Drop for HandlerWatch {
    fn drop(&mut self) {
        if !self.ended {
            self.mark.note(&self.shared, &self.protocol, Outcome::CANCELLED, 0);
        }
    }
}
