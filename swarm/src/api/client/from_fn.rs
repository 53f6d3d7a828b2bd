//! A client without a network, for unit tests of what uses one.

use std::sync::Arc;

use futures::FutureExt;
use libp2p_identity::PeerId;
use pointsub_core::{ClientConfig, RequestError};

use super::Client;
use super::local::Local;
use super::shared::ClientShared;
use crate::api::message::{IntoResponse, Request};
use crate::clock::Clock;

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
            async move { answer.await?.into_response().map_err(RequestError::from) }.boxed()
        };
        let (config, local) = (ClientConfig::default(), Local(Arc::new(respond)));
        let shared =
            ClientShared::answered_by(config, PeerId::random(), Clock::system(), Some(local));
        Self::new(shared)
    }
}
