//! The messages of a call, in either direction.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::Stream;
use pointsub_swarm::{CallReceiver, CallSender, TrySendError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::call::local::{LocalRx, LocalTx};
use crate::detail::call_error;
use crate::error::{CallError, Never, ServiceError};
use crate::wire::Wire;

/// Sends the messages of one side of a call. `E` is the error of the service, at a client.
///
/// A message leaves when the other end takes it: so whoever reads slowly slows down whoever writes.
pub struct Tx<T, E = Never> {
    kind: Sending<T>,
    error: PhantomData<fn() -> E>,
}

enum Sending<T> {
    Call(CallSender, Wire),
    Local(LocalTx<T>),
}

impl<T, E: ServiceError> Tx<T, E> {
    pub(crate) const fn of_call(sender: CallSender, wire: Wire) -> Self {
        Self { kind: Sending::Call(sender, wire), error: PhantomData }
    }

    pub(crate) const fn of_local(sender: LocalTx<T>) -> Self {
        Self { kind: Sending::Local(sender), error: PhantomData }
    }

    /// Sends a message when the other end takes it.
    ///
    /// # Errors
    /// Why the call is over, or why the message cannot be encoded.
    pub async fn send(&mut self, message: T) -> Result<(), CallError<E>>
    where
        T: Serialize,
    {
        match &mut self.kind {
            Sending::Call(sender, wire) => {
                let sent = sender.send(wire.encode(&message)?).await;
                sent.map_err(|error| call_error(error, wire.limits))
            }
            Sending::Local(sender) => sender.send(message, None).await.map_err(CallError::Request),
        }
    }

    /// Sends a message with a cursor, with which the client can open the call again to go on behind it. At a
    /// client the cursor has no meaning. At most 1024 bytes of it travel.
    ///
    /// # Errors
    /// Why the call is over, or why the message cannot be encoded.
    pub async fn send_with_cursor(
        &mut self,
        message: T,
        cursor: impl Into<Bytes>,
    ) -> Result<(), CallError<E>>
    where
        T: Serialize,
    {
        match &mut self.kind {
            Sending::Call(sender, wire) => {
                let sent = sender.send_with_cursor(wire.encode(&message)?, cursor).await;
                sent.map_err(|error| call_error(error, wire.limits))
            }
            Sending::Local(sender) => {
                let sent = sender.send(message, Some(cursor.into())).await;
                sent.map_err(CallError::Request)
            }
        }
    }

    /// Sends a message if the other end takes one now; otherwise gives it back.
    ///
    /// # Errors
    /// Why the call is over, or why the message cannot be encoded.
    pub fn try_send(&mut self, message: T) -> Result<Option<T>, CallError<E>>
    where
        T: Serialize,
    {
        match &mut self.kind {
            Sending::Call(sender, wire) => match sender.try_send(wire.encode(&message)?) {
                Ok(()) => Ok(None),
                Err(TrySendError::Over(error)) => Err(call_error(error, wire.limits)),
                Err(_) => Ok(Some(message)),
            },
            Sending::Local(sender) => sender.try_send(message).map_err(CallError::Request),
        }
    }

    /// Says that no more messages come from here. The other direction is not affected.
    pub fn finish(&mut self) {
        match &mut self.kind {
            Sending::Call(sender, _) => sender.finish(),
            Sending::Local(sender) => sender.finish(),
        }
    }

    /// Waits until the server of the call is shutting down: the call goes on for a while, and can be opened
    /// again elsewhere. Also ready when the call is over.
    pub async fn draining(&mut self) {
        match &mut self.kind {
            Sending::Call(sender, _) => sender.draining().await,
            Sending::Local(sender) => sender.closed().await,
        }
    }
}

/// Receives the messages of the client of a call, at its method. It is a [`Stream`] too. Clients have
/// [`Receiving`](crate::Receiving).
pub struct Rx<T> {
    kind: Arriving<T>,
    cursor: Option<Bytes>,
}

enum Arriving<T> {
    Call(CallReceiver, Wire),
    Local(LocalRx<T, Never>),
}

impl<T> Rx<T> {
    pub(crate) const fn of_call(receiver: CallReceiver, wire: Wire) -> Self {
        Self { kind: Arriving::Call(receiver, wire), cursor: None }
    }

    pub(crate) const fn of_local(receiver: LocalRx<T, Never>) -> Self {
        Self { kind: Arriving::Local(receiver), cursor: None }
    }

    /// The next message; `None` if no more come. What came before a failure is received before it.
    ///
    /// # Errors
    /// Why the call is over, or why the message cannot be decoded.
    pub async fn recv(&mut self) -> Result<Option<T>, CallError>
    where
        T: DeserializeOwned,
    {
        let received = match &mut self.kind {
            Arriving::Call(receiver, wire) => wire.received(receiver.recv_message().await)?,
            Arriving::Local(receiver) => poll_fn(|cx| receiver.poll_recv(cx)).await?,
        };
        let Some((message, cursor)) = received else { return Ok(None) };
        if cursor.is_some() {
            self.cursor = cursor;
        }
        Ok(Some(message))
    }

    /// The last cursor that [`recv`](Self::recv) has got with a message.
    #[must_use]
    pub const fn cursor(&self) -> Option<&Bytes> {
        self.cursor.as_ref()
    }
}

impl<T: DeserializeOwned> Stream for Rx<T> {
    type Item = Result<T, CallError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut self.kind {
            Arriving::Call(receiver, wire) => {
                let message = ready!(Pin::new(receiver).poll_next(cx));
                Poll::Ready(message.map(|message| wire.item(message)))
            }
            Arriving::Local(receiver) => receiver.poll_item(cx),
        }
    }
}

/// Messages are given away as they are, and nothing here points to itself.
impl<T, E> Unpin for Tx<T, E> {}
impl<T> Unpin for Rx<T> {}

impl<T, E> fmt::Debug for Tx<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Rx<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rx").finish_non_exhaustive()
    }
}
