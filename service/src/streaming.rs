//! Calls with messages that are open, at their clients.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::Stream;
use pointsub_swarm::{PeerId, StreamingCall};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::detail::call_error;
use crate::error::{CallError, ServiceError};
use crate::halves::{Rx, Tx};
use crate::local::LocalStream;
use crate::wire::Wire;

/// An open call of a method with messages: `S` are sent from here, `R` come from the server, `T` is the
/// result and `E` the error of the service. Dropping it cancels the call: the method is stopped.
///
/// It is a [`Stream`] of the server's messages.
pub struct Streaming<S, R, T, E> {
    kind: Kind<S, R, T, E>,
    peer: PeerId,
    cursor: Option<Bytes>,
}

enum Kind<S, R, T, E> {
    Call(StreamingCall, Wire),
    Local(LocalStream<S, R, T, E>),
}

impl<S, R, T, E> Streaming<S, R, T, E>
where
    S: Send + 'static,
    R: Send + 'static,
    T: Send + 'static,
    E: ServiceError,
{
    pub(crate) const fn of_call(call: StreamingCall, wire: Wire) -> Self {
        Self { peer: call.peer(), kind: Kind::Call(call, wire), cursor: None }
    }

    pub(crate) const fn of_local(call: LocalStream<S, R, T, E>, peer: PeerId) -> Self {
        Self { peer, kind: Kind::Local(call), cursor: None }
    }

    /// Who runs the method.
    #[must_use]
    pub const fn peer(&self) -> PeerId {
        self.peer
    }

    /// Sends a message when the server takes it.
    ///
    /// # Errors
    /// Why the call is over, or why the message cannot be encoded.
    pub async fn send(&mut self, message: S) -> Result<(), CallError<E>>
    where
        S: Serialize,
    {
        match &mut self.kind {
            Kind::Call(call, wire) => {
                let sent = call.send(wire.encode(&message)?).await;
                sent.map_err(|error| call_error(error, wire.limits))
            }
            Kind::Local(call) => call.sender.send(message, None).await.map_err(CallError::Request),
        }
    }

    /// The next message of the server; `None` if no more come. What came before a failure is received before
    /// it.
    ///
    /// # Errors
    /// Why the call is over, or why the message cannot be decoded.
    pub async fn recv(&mut self) -> Result<Option<R>, CallError<E>>
    where
        R: DeserializeOwned,
    {
        let (message, cursor) = match &mut self.kind {
            Kind::Call(call, wire) => {
                let received = call.recv_message().await;
                let message = received.map_err(|error| call_error(error, wire.limits))?;
                let Some(message) = message else { return Ok(None) };
                (wire.decode(&message.body)?, message.cursor)
            }
            Kind::Local(call) => {
                let received = std::future::poll_fn(|cx| call.receiver.poll_recv(cx)).await?;
                let Some(received) = received else { return Ok(None) };
                received
            }
        };
        if cursor.is_some() {
            self.cursor = cursor;
        }
        Ok(Some(message))
    }

    /// The last cursor that [`recv`](Self::recv) has got with a message:
    /// [`OpenCall::resume`](crate::OpenCall::resume) goes on behind it.
    #[must_use]
    pub const fn cursor(&self) -> Option<&Bytes> {
        self.cursor.as_ref()
    }

    /// Says that no more messages come from here. The server's still do.
    pub fn finish_sending(&mut self) {
        match &mut self.kind {
            Kind::Call(call, _) => call.finish_sending(),
            Kind::Local(call) => call.sender.finish(),
        }
    }

    /// Waits until the server is shutting down, or the connection is given up for a better one: the call goes
    /// on for a while, and can be opened again elsewhere. Also ready when the call is over.
    pub async fn draining(&mut self) {
        match &mut self.kind {
            Kind::Call(call, _) => call.draining().await,
            Kind::Local(call) => call.sender.closed().await,
        }
    }

    /// Says that no more messages come from here, and waits for the result. Messages of the server that were
    /// not received are thrown away.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn finish(self) -> Result<T, CallError<E>>
    where
        T: DeserializeOwned,
    {
        match self.kind {
            Kind::Call(call, wire) => {
                let result = call.finish().await;
                let result = result.map_err(|error| call_error(error, wire.limits))?;
                Ok(wire.decode(&result)?)
            }
            Kind::Local(call) => call.finish().await,
        }
    }

    /// Both halves, for two tasks. There is no result then; a failure is received as the last message.
    /// Dropping the receiver cancels the call.
    #[must_use]
    pub fn split(self) -> (Tx<S, E>, Rx<R, E>) {
        match self.kind {
            Kind::Call(call, wire) => {
                let (sender, receiver) = call.split();
                (Tx::of_call(sender, wire), Rx::of_call(receiver, wire))
            }
            Kind::Local(call) => (Tx::of_local(call.sender), Rx::of_local(call.receiver)),
        }
    }
}

impl<S, R: DeserializeOwned, T, E: ServiceError> Stream for Streaming<S, R, T, E> {
    type Item = Result<R, CallError<E>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut self.kind {
            Kind::Call(call, wire) => {
                let message = ready!(Pin::new(call).poll_next(cx));
                Poll::Ready(message.map(|message| {
                    let message = message.map_err(|error| call_error(error, wire.limits))?;
                    Ok(wire.decode(&message)?)
                }))
            }
            Kind::Local(call) => {
                let message = ready!(call.receiver.poll_recv(cx)).transpose();
                Poll::Ready(message.map(|message| message.map(|(message, _)| message)))
            }
        }
    }
}

/// Messages are given away as they are, and nothing here points to itself.
impl<S, R, T, E> Unpin for Streaming<S, R, T, E> {}

impl<S, R, T, E> fmt::Debug for Streaming<S, R, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streaming").field("peer", &self.peer).finish_non_exhaustive()
    }
}
