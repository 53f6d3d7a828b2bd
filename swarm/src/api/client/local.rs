//! A client without a network, for unit tests of what uses one.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Either, select};
use futures_timer::Delay;
use libp2p_identity::PeerId;
use pointsub_core::{
    Cause, ClientConfig, Delivery, NodeOutcome, Phase, ProtocolName, RequestError, SendError,
};

use super::shared::ClientShared;
use super::{Client, ClosestError, NodeAttempt};
use crate::api::message::{IntoResponse, Request, Response};
use crate::api::server::HandlerError;
use crate::clock::Clock;

type Answer = Result<Bytes, RequestError>;
type Respond = dyn Fn(PeerId, Request) -> BoxFuture<'static, Answer> + Send + Sync;

/// Who answers instead of a network.
#[derive(Clone)]
pub(super) struct Local(Arc<Respond>);

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Local")
    }
}

impl Client {
    /// A client without a network: each request is answered by `respond`, which is told to which peer
    /// it was sent. For unit tests of what uses a client.
    ///
    /// `respond` returns what a handler returns; its errors arrive as those of a handler do, with all
    /// texts. A failure of the network is a [`RequestError`], wrapped once more: see the example.
    ///
    /// Timeouts hold, and nothing is tried again. [`send_closest`](Self::send_closest) asks the nodes
    /// that were added one after the other, in that order. There are no raw streams.
    ///
    /// ```
    /// use pointsub_swarm::{Cause, Client, Delivery, HandlerError, PeerId, Phase, ProtocolName};
    /// use pointsub_swarm::{Request, RequestError, StatusCode};
    ///
    /// const SHOUT: ProtocolName = ProtocolName::from_static("/shout/1.0.0");
    ///
    /// // What is tested.
    /// async fn shout(client: &Client, to: PeerId, text: &'static str) -> Result<String, RequestError> {
    ///     let response = client.send(to, &SHOUT, text).await?;
    ///     Ok(String::from_utf8_lossy(&response).into_owned())
    /// }
    ///
    /// # futures::executor::block_on(async {
    /// let client = Client::from_fn(|_to: PeerId, request: Request| async move {
    ///     match &request.body[..] {
    ///         b"gone" => {
    ///             let cause = Cause::Lost("reset".into());
    ///             Err(RequestError::new(cause, Phase::Wait, Delivery::Unknown))
    ///         }
    ///         b"no" => Err(HandlerError::permission_denied("not you").into()),
    ///         text => Ok(text.to_ascii_uppercase()),
    ///     }
    /// });
    /// let peer = PeerId::random();
    /// assert_eq!(shout(&client, peer, "hello").await.unwrap(), "HELLO");
    /// let error = shout(&client, peer, "no").await.unwrap_err();
    /// assert_eq!(error.status().unwrap().code, StatusCode::PermissionDenied);
    /// assert_eq!(shout(&client, peer, "gone").await.unwrap_err().delivery, Delivery::Unknown);
    /// # });
    /// ```
    pub fn from_fn<F, Fut, T>(respond: F) -> Self
    where
        F: Fn(PeerId, Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, RequestError>> + Send + 'static,
        T: IntoResponse,
    {
        let respond = move |to, request| {
            let answer = respond(to, request);
            let answer = async move {
                Ok(answer.await?.into_response().map_err(RequestError::from)?.into_body())
            };
            answer.boxed()
        };
        let (config, local) = (ClientConfig::default(), Local(Arc::new(respond)));
        let shared =
            ClientShared::answered_by(config, PeerId::random(), Clock::start(), Some(local));
        Self::new(shared)
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
        shared: &ClientShared,
        peer: PeerId,
        protocol: ProtocolName,
        body: Bytes,
        timeout: Option<Duration>,
    ) -> Answer {
        if shared.with_dispatcher(|dispatcher| dispatcher.is_drained()) {
            return Err(SendError::Closed.into());
        }
        let mut request = Request::new(shared.local, protocol, body);
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
        shared: &ClientShared,
        nodes: Vec<PeerId>,
        protocol: ProtocolName,
        body: Bytes,
        timeout: Option<Duration>,
    ) -> Result<Response, ClosestError> {
        let (began, mut attempts) = (shared.clock.now(), Vec::new());
        let mut last = RequestError::from(SendError::NoNodes);
        for node in nodes {
            let asked = shared.clock.now();
            let left = timeout.map(|timeout| timeout.saturating_sub(asked.since(began)));
            let answer = self.send(shared, node, protocol.clone(), body.clone(), left).await;
            let now = shared.clock.now();
            let (after, took) = (asked.since(began), now.since(asked));
            let outcome = match &answer {
                Ok(_) => NodeOutcome::Answered,
                Err(error) => NodeOutcome::Failed(error.clone()),
            };
            attempts.push(NodeAttempt { node, after, took, outcome });
            match answer {
                Ok(body) => {
                    let response = Response::new(node, body).with_elapsed(now.since(began));
                    return Ok(response.with_attempts(attempts));
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
