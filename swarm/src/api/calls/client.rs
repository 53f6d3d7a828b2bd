//! Calls that are open, at their clients.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use libp2p_identity::PeerId;
use pointsub_core::{Metadata, RequestError, Timestamp};

use super::channel::End;
use super::halves::{CallReceiver, CallSender, Message};
use crate::api::client::broken;
use crate::api::client::shared::ClientShared;
use crate::api::failover::NodeAttempt;
use crate::api::message::Response;

/// A call that a handler of a peer has accepted. Dropping it cancels it: the handler is stopped.
///
/// It is a [`Stream`] of the server's messages.
#[derive(Debug)]
pub struct StreamingCall {
    pub(super) sender: CallSender,
    pub(super) receiving: ReceivingCall,
}

/// The half of a [`StreamingCall`] that receives: the messages of the server, and the result behind them.
/// Dropping it cancels the call: the handler is stopped.
///
/// It is a [`Stream`] of the server's messages.
#[derive(Debug)]
pub struct ReceivingCall {
    pub(super) peer: PeerId,
    pub(super) began: Timestamp,
    pub(super) shared: Arc<ClientShared>,
    pub(super) receiver: CallReceiver,
    pub(super) attempts: Vec<NodeAttempt>,
}

impl StreamingCall {
    /// Who has accepted the call.
    #[must_use]
    pub const fn peer(&self) -> PeerId {
        self.receiving.peer()
    }

    /// Every node that [`open_closest`](crate::Client::open_closest) asked, in the order in which they
    /// were done. Empty for other calls.
    #[must_use]
    pub fn attempts(&self) -> &[NodeAttempt] {
        self.receiving.attempts()
    }

    /// What the handler has said before its first message.
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        self.receiving.metadata()
    }

    /// Sends a message when the server takes it.
    ///
    /// # Errors
    /// Why the call is over.
    pub async fn send(&mut self, message: impl Into<Bytes>) -> Result<(), RequestError> {
        self.sender.send(message).await
    }

    /// The next message of the server; `None` if no more come. What came before a failure is received
    /// before it.
    ///
    /// # Errors
    /// Why the call is over.
    pub async fn recv(&mut self) -> Result<Option<Bytes>, RequestError> {
        self.receiving.recv().await
    }

    /// The same, with the message's cursor.
    ///
    /// # Errors
    /// Why the call is over.
    pub async fn recv_message(&mut self) -> Result<Option<Message>, RequestError> {
        self.receiving.recv_message().await
    }

    /// Says that no more messages come from here. The server's still do.
    pub fn finish_sending(&mut self) {
        self.sender.finish();
    }

    /// Waits until the server is shutting down, or the connection is given up for a better one: the
    /// call goes on for a while, and can be opened again elsewhere. Also ready when the call is over.
    pub async fn draining(&self) {
        self.sender.draining().await;
    }

    /// Says that no more messages come from here, and waits for the result. Messages of the server that
    /// were not received are thrown away.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn finish(mut self) -> Result<Response, RequestError> {
        self.sender.finish();
        self.receiving.finish().await
    }

    /// Both halves, for two tasks. The one that receives gets the result too. Dropping it cancels the
    /// call; what is [sent](CallSender::send) after that fails.
    #[must_use]
    pub fn split(self) -> (CallSender, ReceivingCall) {
        (self.sender, self.receiving)
    }
}

impl ReceivingCall {
    /// Who has accepted the call.
    #[must_use]
    pub const fn peer(&self) -> PeerId {
        self.peer
    }

    /// Every node that [`open_closest`](crate::Client::open_closest) asked:
    /// [`StreamingCall::attempts`].
    #[must_use]
    pub fn attempts(&self) -> &[NodeAttempt] {
        &self.attempts
    }

    /// What the handler has said before its first message.
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        self.receiver.channel.metadata()
    }

    /// The next message of the server; `None` if no more come. What came before a failure is received
    /// before it.
    ///
    /// # Errors
    /// Why the call is over.
    pub async fn recv(&mut self) -> Result<Option<Bytes>, RequestError> {
        self.receiver.recv().await
    }

    /// The same, with the message's cursor.
    ///
    /// # Errors
    /// Why the call is over.
    pub async fn recv_message(&mut self) -> Result<Option<Message>, RequestError> {
        self.receiver.recv_message().await
    }

    /// Waits for the result. Messages of the server that were not received are thrown away. A handler that
    /// reads until no more messages come returns when the other half has said so:
    /// [`CallSender::finish`]. Dropping that half does not.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn finish(mut self) -> Result<Response, RequestError> {
        while self.receiver.recv_message().await?.is_some() {}
        let end = poll_fn(|cx| self.receiver.channel.poll_end(cx)).await;
        let End::Answered(end) = end else { return Err(end.error()) };
        let body = match end.outcome {
            Ok(payload) => payload.into_bytes().map_err(broken)?,
            Err(_) => return Err(End::Answered(end).error()),
        };
        let elapsed = self.shared.clock.now().since(self.began);
        let response = Response::new(self.peer, body).with_elapsed(elapsed);
        Ok(response.with_metadata(end.metadata).with_attempts(self.attempts))
    }
}

impl Stream for StreamingCall {
    type Item = Result<Bytes, RequestError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.receiving).poll_next(cx)
    }
}

impl Stream for ReceivingCall {
    type Item = Result<Bytes, RequestError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.receiver).poll_next(cx)
    }
}
