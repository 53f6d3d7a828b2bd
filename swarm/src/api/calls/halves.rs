//! The two halves of a call, which are the same at both of its ends.

use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::{Sink, Stream};
use pointsub_core::connection::CallMessage;
use pointsub_core::{Metadata, RequestError};
use thiserror::Error;

use super::channel::{Batch, Channel, Unsent};

/// Sends the messages of one side of a call. It is a [`Sink`] too.
///
/// A message leaves when the other end takes it: as many messages and bytes are on their way, or wait
/// there, as its window has room for.
#[derive(Debug)]
pub struct CallSender {
    pub(super) channel: Arc<Channel>,
    /// What a sink has taken and the peer has not. Most of the time there is none.
    waiting: Option<Box<CallMessage>>,
    /// A handler's sender accepts the call.
    pub(super) accepts: bool,
}

/// Why a message was not sent at once.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrySendError {
    /// The other end takes no more messages now. Here is the message.
    #[error("the other end takes no more messages now")]
    Full(Bytes),
    /// The call is over.
    #[error("{0}")]
    Over(RequestError),
}

impl CallSender {
    pub(super) fn new(channel: Arc<Channel>, accepts: bool) -> Self {
        Self { channel, waiting: None, accepts }
    }

    fn accept(&mut self) {
        if mem::take(&mut self.accepts) {
            self.channel.accept(Metadata::new());
        }
    }

    /// Sends a message when the other end takes it.
    ///
    /// # Errors
    /// Why the call is over.
    pub async fn send(&mut self, message: impl Into<Bytes>) -> Result<(), RequestError> {
        self.send_message(CallMessage::from(message.into())).await
    }

    /// Sends a message with a cursor, with which the call can be opened again to go on behind it. At a
    /// client the cursor has no meaning. At most 1024 bytes of it travel.
    ///
    /// # Errors
    /// Why the call is over.
    pub async fn send_with_cursor(
        &mut self,
        message: impl Into<Bytes>,
        cursor: impl Into<Bytes>,
    ) -> Result<(), RequestError> {
        let mut message = CallMessage::from(message.into());
        message.cursor = Some(cursor.into());
        self.send_message(message).await
    }

    async fn send_message(&mut self, message: CallMessage) -> Result<(), RequestError> {
        self.accept();
        poll_fn(|cx| self.poll_flush_waiting(cx)).await?;
        if !self.send_or_keep(message)? {
            poll_fn(|cx| self.poll_flush_waiting(cx)).await?;
        }
        Ok(())
    }

    /// Sends a message if the other end takes one now, and keeps it otherwise. Whether it has left.
    fn send_or_keep(&mut self, message: CallMessage) -> Result<bool, RequestError> {
        match self.channel.send(message) {
            Ok(()) => {
                self.waiting = None;
                Ok(true)
            }
            Err(Unsent::Blocked(message)) => {
                self.waiting = Some(Box::new(message));
                Ok(false)
            }
            Err(Unsent::Failed(error)) => Err(error),
        }
    }

    /// Sends a message if the other end takes one now.
    ///
    /// # Errors
    /// [`TrySendError`], with the message if it can be tried again.
    pub fn try_send(&mut self, message: impl Into<Bytes>) -> Result<(), TrySendError> {
        self.accept();
        if self.waiting.is_some() {
            return Err(TrySendError::Full(message.into()));
        }
        self.channel.send(CallMessage::from(message.into())).map_err(|unsent| match unsent {
            Unsent::Blocked(message) => {
                TrySendError::Full(message.payload.into_bytes().unwrap_or_default())
            }
            Unsent::Failed(error) => TrySendError::Over(error),
        })
    }

    /// Sends a message if the other end takes one now. Otherwise it waits, and replaces the one that has
    /// waited: of values of which only the last one counts. It leaves with the next call of anything
    /// here, or while [`latest_sent`](Self::latest_sent) is awaited. Whether it has left.
    ///
    /// # Errors
    /// Why the call is over.
    pub fn latest(&mut self, message: impl Into<Bytes>) -> Result<bool, RequestError> {
        self.accept();
        self.send_or_keep(CallMessage::from(message.into()))
    }

    /// Waits until the [latest](Self::latest) message has left.
    ///
    /// # Errors
    /// Why the call is over.
    pub async fn latest_sent(&mut self) -> Result<(), RequestError> {
        poll_fn(|cx| self.poll_flush_waiting(cx)).await
    }

    /// Says that no more messages come from here. The other half is not affected.
    pub fn finish(&mut self) {
        self.accept();
        self.channel.finish();
    }

    /// Waits until the server of the call is shutting down, or its connection is given up for a better
    /// one: the call goes on for a while, and can be opened again elsewhere. Also ready when the call is
    /// over.
    pub async fn draining(&self) {
        poll_fn(|cx| self.channel.poll_draining(cx)).await;
    }

    fn poll_flush_waiting(&mut self, cx: &Context<'_>) -> Poll<Result<(), RequestError>> {
        while let Some(message) = self.waiting.take() {
            let len = message.payload.wire_len();
            if !self.send_or_keep(*message)? {
                ready!(self.channel.poll_ready(len, cx));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Sink<Bytes> for CallSender {
    type Error = RequestError;

    fn poll_ready(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), RequestError>> {
        self.poll_flush_waiting(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Bytes) -> Result<(), RequestError> {
        self.latest(message).map(|_| ())
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), RequestError>> {
        self.poll_flush_waiting(cx)
    }

    fn poll_close(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), RequestError>> {
        ready!(self.poll_flush_waiting(cx))?;
        self.finish();
        Poll::Ready(Ok(()))
    }
}

/// A message of a call, with its cursor if its sender gave it one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// Its bytes.
    pub body: Bytes,
    /// What the call can be opened with again to go on behind this message.
    pub cursor: Option<Bytes>,
}

/// Receives the messages of the other side of a call. It is a [`Stream`] of bytes too.
#[derive(Debug)]
pub struct CallReceiver {
    pub(super) channel: Arc<Channel>,
    batch: Batch,
    accepts: bool,
    /// The failure of the call was told.
    failed: bool,
    /// At a client: who has this wants the result.
    guard: Option<Guard>,
}

/// Cancels a call when it is dropped.
#[derive(Debug)]
pub(super) struct Guard(pub(super) Arc<Channel>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl CallReceiver {
    pub(super) fn new(channel: Arc<Channel>, accepts: bool) -> Self {
        Self { channel, batch: Batch::default(), accepts, failed: false, guard: None }
    }

    pub(super) fn with_guard(mut self, guard: Guard) -> Self {
        self.guard = Some(guard);
        self
    }

    /// The next message; `None` if no more come. What came before a failure is received before it.
    ///
    /// # Errors
    /// Why the call is over.
    pub async fn recv(&mut self) -> Result<Option<Bytes>, RequestError> {
        Ok(self.recv_message().await?.map(|message| message.body))
    }

    /// The same, with the message's cursor.
    ///
    /// # Errors
    /// Why the call is over.
    pub async fn recv_message(&mut self) -> Result<Option<Message>, RequestError> {
        poll_fn(|cx| self.poll_message(cx)).await.transpose()
    }

    pub(super) fn poll_message(
        &mut self,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Message, RequestError>>> {
        if mem::take(&mut self.accepts) {
            self.channel.accept(Metadata::new());
        }
        if self.failed {
            return Poll::Ready(None);
        }
        let message = match ready!(self.channel.poll_message(&mut self.batch, cx)) {
            None => return Poll::Ready(None),
            Some(Ok(message)) => message,
            Some(Err(error)) => {
                self.failed = true;
                return Poll::Ready(Some(Err(error)));
            }
        };
        let cursor = message.cursor;
        let body = message.payload.into_bytes().map_err(crate::api::client::broken);
        Poll::Ready(Some(body.map(|body| Message { body, cursor })))
    }
}

impl Stream for CallReceiver {
    type Item = Result<Bytes, RequestError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let message = ready!(self.poll_message(cx));
        Poll::Ready(message.map(|message| message.map(|message| message.body)))
    }
}
