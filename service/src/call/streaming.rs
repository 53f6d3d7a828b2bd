//! Calls with messages that are open, at their clients.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::Stream;
use pointsub_swarm::{Metadata, PeerId, ReceivingCall, StreamingCall};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::call::Answer;
use crate::call::Tx;
use crate::call::local::{LocalReceiving, LocalTx};
use crate::detail::call_error;
use crate::error::{CallError, ServiceError};
use crate::wire::Wire;

/// An open call of a method with messages: `S` are sent from here, `R` come from the server, `T` is the
/// result and `E` the error of the service. Dropping it cancels the call: the method is stopped.
///
/// It is a [`Stream`] of the server's messages.
pub struct Streaming<S, R, T, E> {
    sender: Tx<S, E>,
    receiving: Receiving<R, T, E>,
}

/// The half of a [`Streaming`] call that receives: the messages of the server, and the result behind them.
/// Dropping it cancels the call: the method is stopped.
///
/// It is a [`Stream`] of the server's messages.
pub struct Receiving<R, T, E> {
    kind: Kind<R, T, E>,
    cursor: Option<Bytes>,
}

enum Kind<R, T, E> {
    Call(ReceivingCall, Wire),
    Local(LocalReceiving<R, T, E>),
}

impl<S, R, T, E> Streaming<S, R, T, E>
where
    S: Send + 'static,
    R: Send + 'static,
    T: Send + 'static,
    E: ServiceError,
{
    pub(crate) fn of_call(call: StreamingCall, wire: Wire) -> Self {
        let (sender, receiving) = call.split();
        let receiving = Receiving { kind: Kind::Call(receiving, wire), cursor: None };
        Self { sender: Tx::of_call(sender, wire), receiving }
    }

    pub(crate) const fn of_local(sender: LocalTx<S>, receiving: LocalReceiving<R, T, E>) -> Self {
        let receiving = Receiving { kind: Kind::Local(receiving), cursor: None };
        Self { sender: Tx::of_local(sender), receiving }
    }

    /// Who runs the method.
    #[must_use]
    pub const fn peer(&self) -> PeerId {
        self.receiving.peer()
    }

    /// What the method has said before its first message: [`Cx::accept`](crate::Cx::accept).
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        self.receiving.metadata()
    }

    /// Sends a message when the server takes it.
    ///
    /// # Errors
    /// Why the call is over, or why the message cannot be encoded.
    pub async fn send(&mut self, message: S) -> Result<(), CallError<E>>
    where
        S: Serialize,
    {
        self.sender.send(message).await
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
        self.receiving.recv().await
    }

    /// The last cursor that [`recv`](Self::recv) has got with a message:
    /// [`OpenCall::resume`](crate::OpenCall::resume) goes on behind it.
    #[must_use]
    pub const fn cursor(&self) -> Option<&Bytes> {
        self.receiving.cursor()
    }

    /// Says that no more messages come from here. The server's still do.
    pub fn finish_sending(&mut self) {
        self.sender.finish();
    }

    /// Waits until the server is shutting down, or the connection is given up for a better one: the call goes
    /// on for a while, and can be opened again elsewhere. Also ready when the call is over.
    pub async fn draining(&mut self) {
        self.sender.draining().await;
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
        Ok(self.answer().await?.into_value())
    }

    /// The same, with what came beside the result: [`Cx::tell`](crate::Cx::tell).
    ///
    /// # Errors
    /// Why there is none.
    pub async fn answer(mut self) -> Result<Answer<T>, CallError<E>>
    where
        T: DeserializeOwned,
    {
        self.sender.finish();
        self.receiving.answer().await
    }

    /// Both halves, for two tasks. The one that receives gets the result too. Dropping it cancels the call;
    /// what is sent after that fails.
    #[must_use]
    pub fn split(self) -> (Tx<S, E>, Receiving<R, T, E>) {
        (self.sender, self.receiving)
    }
}

impl<R, T, E: ServiceError> Receiving<R, T, E> {
    /// Who runs the method.
    #[must_use]
    pub const fn peer(&self) -> PeerId {
        match &self.kind {
            Kind::Call(call, _) => call.peer(),
            Kind::Local(call) => call.server,
        }
    }

    /// What the method has said before its first message: [`Cx::accept`](crate::Cx::accept).
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        match &self.kind {
            Kind::Call(call, _) => call.metadata(),
            Kind::Local(call) => call.metadata(),
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
        let received = match &mut self.kind {
            Kind::Call(call, wire) => wire.received(call.recv_message().await)?,
            Kind::Local(call) => poll_fn(|cx| call.receiver.poll_recv(cx)).await?,
        };
        let Some((message, cursor)) = received else { return Ok(None) };
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

    /// Waits for the result. Messages of the server that were not received are thrown away. A method that
    /// reads until no more messages come returns when the other half has said so: [`Tx::finish`]. Dropping
    /// that half does not.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn finish(self) -> Result<T, CallError<E>>
    where
        T: DeserializeOwned,
    {
        Ok(self.answer().await?.into_value())
    }

    /// The same, with what came beside the result: [`Cx::tell`](crate::Cx::tell).
    ///
    /// # Errors
    /// Why there is none.
    pub async fn answer(self) -> Result<Answer<T>, CallError<E>>
    where
        T: DeserializeOwned,
    {
        match self.kind {
            Kind::Call(call, wire) => {
                let response = call.finish().await;
                let response = response.map_err(|error| call_error(error, wire.limits))?;
                Ok(Answer::of_response(wire.decode(&response)?, &response))
            }
            Kind::Local(call) => call.finish().await,
        }
    }
}

impl<S, R: DeserializeOwned, T, E: ServiceError> Stream for Streaming<S, R, T, E> {
    type Item = Result<R, CallError<E>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.receiving).poll_next(cx)
    }
}

impl<R: DeserializeOwned, T, E: ServiceError> Stream for Receiving<R, T, E> {
    type Item = Result<R, CallError<E>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut self.kind {
            Kind::Call(call, wire) => {
                let message = ready!(Pin::new(call).poll_next(cx));
                Poll::Ready(message.map(|message| wire.item(message)))
            }
            Kind::Local(call) => call.receiver.poll_item(cx),
        }
    }
}

/// Messages are given away as they are, and nothing here points to itself.
impl<S, R, T, E> Unpin for Streaming<S, R, T, E> {}
impl<R, T, E> Unpin for Receiving<R, T, E> {}

impl<S, R, T, E: ServiceError> fmt::Debug for Streaming<S, R, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streaming").field("peer", &self.receiving.peer()).finish_non_exhaustive()
    }
}

impl<R, T, E: ServiceError> fmt::Debug for Receiving<R, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiving").field("peer", &self.peer()).finish_non_exhaustive()
    }
}
