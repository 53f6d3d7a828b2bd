//! What is done for one request: inflate it, run its handler, compress its answer. Everything whose cost
//! grows with the body, and whatever may panic.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use pointsub_core::connection::Compression;
use pointsub_core::wire::compress::{Gain, InflateError, MIN_SIZE, ONE_STEP};
use pointsub_core::{Body, Payload, ProtocolName, Status, StatusCode};

use super::activity::Activity;
use crate::api::message::Request;
use crate::api::server::handler::Handler;
use crate::api::server::mailbox::{Answer, Failure};
use crate::api::server::semaphore::Permits;
use crate::api::server::shared::ServerShared;
use crate::compress;

/// A handler at work, with the answer it will give.
pub(super) type Work = BoxFuture<'static, Answer>;

/// What the work for the requests of a stream needs of that.
pub(super) struct Site {
    pub(super) shared: Arc<ServerShared>,
    /// For large bodies.
    pub(super) permits: Permits,
    /// Of the connection.
    pub(super) activity: Arc<Activity>,
    /// Both ends may compress.
    pub(super) compresses: bool,
}

/// Inflates, handles, compresses. What is done to compressed bodies alone is kept apart, so that the work
/// for others is half as large.
pub(super) fn work(
    site: Arc<Site>,
    handler: Arc<dyn Handler>,
    mut request: Request,
    payload: Payload,
) -> Work {
    let work = async move {
        let len = payload.len();
        let protocol = request.protocol.clone();
        let body = match payload.is_compressed() {
            true => site.inflate(&protocol, payload).boxed().await,
            false => payload.into_bytes(),
        };
        request.body = body.map_err(|error| {
            let status = Status::new(StatusCode::BadRequest, error.to_string());
            Failure::Malformed { len, status }
        })?;
        let peer = request.peer;
        let reply = handler.handle(request).await;
        let log = &site.shared.error_log;
        let reply = reply.map_err(|error| error.tell(log, &peer, &protocol))?;
        let (response, metadata) = reply.into_parts();
        let body = match Compression::of(&response, site.compresses(&protocol, response.len())) {
            Compression::None => Body::uncompressed(response),
            Compression::Inline => site.deflate(&protocol, response).boxed().await,
            Compression::Spawned => {
                // Whoever polls to see if work is light learns that it is not.
                compress::give_way().await;
                site.deflate(&protocol, response).boxed().await
            }
        };
        Ok(body.with_headers(metadata.into()))
    };
    let panicked = || Status::new(StatusCode::Internal, "the handler panicked").into();
    let caught = AssertUnwindSafe(work).catch_unwind();
    caught.map(move |caught| caught.unwrap_or_else(|_| Err(panicked()))).boxed()
}

impl Site {
    async fn inflate(
        &self,
        protocol: &ProtocolName,
        payload: Payload,
    ) -> Result<Bytes, InflateError> {
        let is_long = payload.len() > ONE_STEP;
        let _permit = if is_long { Some(self.permits.next().await) } else { None };
        let (raw, took) = compress::inflate(payload, &self.shared.clock).await;
        if let Ok(raw) = &raw {
            self.note(protocol, |gain| gain.inflated(raw.len(), took));
        }
        raw
    }

    /// Whether an answer of so many bytes is worth it.
    fn compresses(&self, protocol: &ProtocolName, len: usize) -> bool {
        self.compresses && len >= MIN_SIZE && {
            let gain = self.shared.gains.lock().of(protocol.as_str());
            self.activity.compresses(len, &gain)
        }
    }

    /// What is done in one step needs no permit.
    async fn deflate(&self, protocol: &ProtocolName, response: Bytes) -> Body {
        let _permit = if response.len() > ONE_STEP {
            match self.permits.next_with(response.len()).await {
                None => return Body::uncompressed(response),
                permit => permit,
            }
        } else {
            None
        };
        let (body, took) = compress::deflate(response, &self.shared.clock).await;
        self.note(protocol, |gain| gain.deflated(body.raw().len(), body.wire_len(), took));
        self.activity.note_compressed(body.wire_len());
        body
    }

    fn note(&self, protocol: &ProtocolName, measured: impl FnOnce(&mut Gain)) {
        self.shared.gains.lock().note(protocol, measured);
    }
}
