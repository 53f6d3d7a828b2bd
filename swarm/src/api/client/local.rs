//! Who answers the requests of a client that has no network.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, Either, select};
use futures_timer::Delay;
use libp2p_identity::PeerId;
use pointsub_core::{Cause, Delivery, NodeOutcome, Phase, RequestError, SendError, Source};

use crate::api::failover::{ClosestError, NodeAttempt};
use crate::api::message::{Reply, Request, Response};
use crate::api::server::HandlerError;
use crate::clock::Clock;

type Answer = Result<Reply, RequestError>;
type Respond = dyn Fn(PeerId, Request) -> BoxFuture<'static, Answer> + Send + Sync;

/// Who answers instead of a network.
#[derive(Clone)]
pub(super) struct Local(pub(super) Arc<Respond>);

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Local")
    }
}

/// As a caller sees it, with its text.
impl From<HandlerError> for RequestError {
    fn from(error: HandlerError) -> Self {
        Self::new(Cause::Remote(error.into_status()), Phase::Answer, Delivery::Processed)
    }
}

impl Local {
    /// Answers a request, within its time.
    pub(super) async fn send(
        &self,
        mut request: Request,
        peer: PeerId,
        timeout: Option<Duration>,
    ) -> Answer {
        request.remaining = timeout;
        let answer = (self.0)(peer, request);
        let Some(timeout) = timeout else { return answer.await };
        match select(answer, pin!(Delay::new(timeout))).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => {
                Err(RequestError::new(Cause::Deadline, Phase::Wait, Delivery::Unknown))
            }
        }
    }

    /// Asks these nodes one after the other until one answers.
    pub(super) async fn send_closest(
        &self,
        request: Request,
        nodes: Vec<PeerId>,
        clock: &Clock,
        timeout: Option<Duration>,
    ) -> Result<Response, ClosestError> {
        let (began, mut attempts) = (clock.now(), Vec::new());
        let mut last = RequestError::from(SendError::NoNodes);
        for node in nodes {
            let asked = clock.now();
            let left = timeout.map(|timeout| timeout.saturating_sub(asked.since(began)));
            let answer = self.send(request.clone(), node, left).await;
            let now = clock.now();
            let (after, took) = (asked.since(began), now.since(asked));
            let outcome = match &answer {
                Ok(_) => NodeOutcome::Answered,
                Err(error) => NodeOutcome::Failed(error.clone()),
            };
            attempts.push(NodeAttempt { node, source: Source::Manual, after, took, outcome });
            match answer {
                Ok(reply) => {
                    let (body, metadata) = reply.into_parts();
                    let response = Response::new(node, body).with_elapsed(now.since(began));
                    return Ok(response.with_metadata(metadata).with_attempts(attempts));
                }
                Err(error) => last = error,
            }
            if !last.may_try_elsewhere(true) {
                break;
            }
        }
        Err(ClosestError { error: last, attempts })
    }
}
