//! Calls without a network: the method runs in the caller's task, and nothing is encoded.

use std::any::Any;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::channel::mpsc;
use futures::future::{BoxFuture, Either, FusedFuture, Shared, select};
use futures::{FutureExt, StreamExt};
use futures_timer::Delay;
use parking_lot::Mutex;
use pointsub_swarm::{Cause, Delivery, Metadata, PeerId, Phase, RequestError, StatusCode};

use crate::call::Answer;
use crate::codec::Limits;
use crate::cx::{Acceptor, Cx};
use crate::detail::{call_error, local_error};
use crate::error::{CallError, Never, ServiceError};
use crate::incoming::Incoming;
use crate::service::Service;

/// How many messages wait in one direction.
const MESSAGES: usize = 32;

/// Something of a type that only its two ends know.
pub(crate) type Erased = Box<dyn Any + Send>;
/// A message with its cursor; `None` if no more come.
type Sent<T> = Option<(T, Option<Bytes>)>;
/// The method at work, which whoever waits for anything of the call drives.
type Run = Shared<BoxFuture<'static, ()>>;

/// Where a method leaves its outcome.
#[derive(Clone, Default)]
pub(crate) struct Slot(Arc<Mutex<Option<Erased>>>);

impl Slot {
    pub(crate) fn put(&self, outcome: Erased) {
        *self.0.lock() = Some(outcome);
    }

    fn take<T: 'static>(&self) -> Option<T> {
        Some(*self.0.lock().take()?.downcast().ok()?)
    }
}

/// A call on its way to a method, as [`Incoming`] has it.
pub(crate) struct LocalCall {
    pub(crate) arguments: Erased,
    /// A receiver and a sender, if the call has messages.
    pub(crate) halves: Option<(Erased, Erased)>,
    pub(crate) slot: Slot,
}

/// What is called, and with what.
pub(crate) struct Local {
    pub(crate) service: Arc<dyn Service>,
    pub(crate) method: String,
    pub(crate) cx: Cx,
    /// Whom the caller believes to call.
    pub(crate) server: PeerId,
    pub(crate) arguments: Erased,
    pub(crate) timeout: Option<Duration>,
}

/// Calls a method.
pub(crate) async fn call<T, E>(
    local: Local,
    halves: Option<(Erased, Erased)>,
) -> Result<Answer<T>, CallError<E>>
where
    T: Send + 'static,
    E: ServiceError,
{
    let Local { service, method, mut cx, server, arguments, timeout } = local;
    if let Some(timeout) = timeout {
        cx = cx.with_remaining(timeout);
    }
    let slot = Slot::default();
    let call = LocalCall { arguments, halves, slot: slot.clone() };
    let handling = service.dispatch(&method, Incoming::of_local(cx, call));
    let outcome = match timeout {
        None => handling.await,
        Some(timeout) => match select(handling, pin!(Delay::new(timeout))).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right(_) => {
                let late = RequestError::new(Cause::Deadline, Phase::Wait, Delivery::Unknown);
                return Err(CallError::Request(late));
            }
        },
    };
    // With its text: whoever calls is in the same program.
    let reply =
        outcome.map_err(|error| call_error(RequestError::from(error), Limits::default()))?;
    match slot.take::<Result<T, E>>() {
        Some(Ok(value)) => Ok(Answer::new(server, value).with_metadata(reply.metadata().clone())),
        Some(Err(error)) => Err(local_error(error)),
        None => Err(CallError::Request(other_type())),
    }
}

/// The result is not of the type that the caller wants.
fn other_type() -> RequestError {
    let text = "a local call with another result than the method has";
    let status = pointsub_swarm::Status::new(StatusCode::BadRequest, text);
    RequestError::new(Cause::Remote(status), Phase::Answer, Delivery::Processed)
}

fn over() -> RequestError {
    RequestError::new(Cause::RemoteClosed, Phase::Answer, Delivery::Processed)
}

/// Drives the method of a call; whether it is done.
fn drive(run: &mut Run, cx: &mut Context<'_>) -> bool {
    run.is_terminated() || run.poll_unpin(cx).is_ready()
}

/// What a call with messages has come to.
type Ended<T, E> = Arc<Mutex<Option<Result<Answer<T>, CallError<E>>>>>;

/// Whether a method has accepted its call, and what it said then.
#[derive(Debug, Default)]
pub(crate) struct LocalAcceptance {
    accepted: AtomicBool,
    metadata: Mutex<Metadata>,
}

impl LocalAcceptance {
    /// Whether it was not accepted before.
    pub(crate) fn accept(&self, metadata: Metadata) -> bool {
        let first = !self.accepted.swap(true, Ordering::Relaxed);
        if first {
            *self.metadata.lock() = metadata;
        }
        first
    }
}

/// The half of a call with messages that receives, at its caller.
pub(crate) struct LocalReceiving<R, T, E> {
    pub(crate) receiver: LocalRx<R, E>,
    pub(crate) server: PeerId,
    acceptance: Arc<LocalAcceptance>,
    run: Run,
    ended: Ended<T, E>,
}

/// Both halves of a call with messages, at its caller.
type Opened<S, R, T, E> = (LocalTx<S>, LocalReceiving<R, T, E>);

/// Opens a call with messages. A method that fails before it has sent any has refused the call.
pub(crate) async fn open<S, R, T, E>(mut local: Local) -> Result<Opened<S, R, T, E>, CallError<E>>
where
    S: Send + 'static,
    R: Send + 'static,
    T: Send + 'static,
    E: ServiceError,
{
    let (to_method, at_method) = mpsc::channel::<Sent<S>>(MESSAGES);
    let (to_caller, at_caller) = mpsc::channel::<Sent<R>>(MESSAGES);
    let acceptance = Arc::<LocalAcceptance>::default();
    let receiver: LocalRx<S, Never> = LocalRx { receiver: at_method, end: None, finished: false };
    let sender = LocalTx { sender: to_caller, run: None, acceptance: Some(acceptance.clone()) };
    let ended = Ended::default();
    let end = ended.clone();
    let server = local.server;
    local.cx = local.cx.of_call(Acceptor::Local(acceptance.clone()), None);
    let run = async move {
        let halves: (Erased, Erased) = (Box::new(receiver), Box::new(sender));
        let outcome = call::<T, E>(local, Some(halves)).await;
        *end.lock() = Some(outcome);
    };
    let mut run: Run = run.boxed().shared();
    let done = poll_fn(|cx| Poll::Ready(drive(&mut run, cx))).await;
    if done
        && !acceptance.accepted.load(Ordering::Relaxed)
        && let Some(error) = failure(&ended)
    {
        return Err(error);
    }
    let sender = LocalTx { sender: to_method, run: Some(run.clone()), acceptance: None };
    let failed = ended.clone();
    let end = End { run: run.clone(), failure: Arc::new(move || failure(&failed)) };
    let receiver = LocalRx { receiver: at_caller, end: Some(end), finished: false };
    Ok((sender, LocalReceiving { receiver, server, acceptance, run, ended }))
}

/// Why a call has failed, unless it was told already.
fn failure<T, E>(ended: &Ended<T, E>) -> Option<CallError<E>> {
    let mut ended = ended.lock();
    match ended.take() {
        Some(Err(error)) => Some(error),
        other => {
            *ended = other;
            None
        }
    }
}

impl<R, T, E> LocalReceiving<R, T, E> {
    /// What the method has said when it accepted the call.
    pub(crate) fn metadata(&self) -> Metadata {
        self.acceptance.metadata.lock().clone()
    }

    /// Waits for the result.
    pub(crate) async fn finish(mut self) -> Result<Answer<T>, CallError<E>> {
        while poll_fn(|cx| self.receiver.poll_recv(cx)).await?.is_some() {}
        poll_fn(|cx| if drive(&mut self.run, cx) { Poll::Ready(()) } else { Poll::Pending }).await;
        let ended = self.ended.lock().take();
        ended.unwrap_or_else(|| Err(CallError::Request(over())))
    }
}

/// Sends messages to the other end in the same program.
pub(crate) struct LocalTx<T> {
    sender: mpsc::Sender<Sent<T>>,
    /// At the caller.
    run: Option<Run>,
    /// At the method.
    acceptance: Option<Arc<LocalAcceptance>>,
}

impl<T> LocalTx<T> {
    fn accept(&self) {
        if let Some(acceptance) = &self.acceptance {
            acceptance.accept(Metadata::new());
        }
    }

    pub(crate) async fn send(
        &mut self,
        message: T,
        cursor: Option<Bytes>,
    ) -> Result<(), RequestError> {
        self.accept();
        let ready = poll_fn(|cx| {
            let done = self.run.as_mut().is_some_and(|run| drive(run, cx));
            if done {
                Poll::Ready(Err(over()))
            } else {
                self.sender.poll_ready(cx).map_err(|_| over())
            }
        });
        ready.await?;
        self.sender.start_send(Some((message, cursor))).map_err(|_| over())
    }

    pub(crate) fn try_send(&mut self, message: T) -> Result<Option<T>, RequestError> {
        self.accept();
        match self.sender.try_send(Some((message, None))) {
            Ok(()) => Ok(None),
            Err(error) if error.is_full() => Ok(error.into_inner().map(|(message, _)| message)),
            Err(_) => Err(over()),
        }
    }

    pub(crate) fn finish(&self) {
        self.accept();
        // A clone has room for one message of its own.
        let _over = self.sender.clone().try_send(None);
    }

    /// Waits until the call is over.
    pub(crate) async fn closed(&mut self) {
        poll_fn(|cx| {
            let done = self.run.as_mut().is_some_and(|run| drive(run, cx));
            if done || self.sender.is_closed() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// How the caller learns of the end.
struct End<E> {
    run: Run,
    failure: Arc<dyn Fn() -> Option<CallError<E>> + Send + Sync>,
}

/// Receives messages of the other end in the same program.
pub(crate) struct LocalRx<T, E> {
    receiver: mpsc::Receiver<Sent<T>>,
    /// At the caller.
    end: Option<End<E>>,
    finished: bool,
}

impl<T, E> LocalRx<T, E> {
    #[expect(clippy::type_complexity, reason = "a message with its cursor, at most")]
    pub(crate) fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<(T, Option<Bytes>)>, CallError<E>>> {
        if self.finished {
            return Poll::Ready(Ok(None));
        }
        let done = self.end.as_mut().is_some_and(|end| drive(&mut end.run, cx));
        match self.receiver.poll_next_unpin(cx) {
            Poll::Ready(Some(Some(message))) => return Poll::Ready(Ok(Some(message))),
            Poll::Ready(Some(None)) => {
                self.finished = true;
                return Poll::Ready(Ok(None));
            }
            // Whoever has dropped the sender has not said that no more messages come.
            Poll::Ready(None) | Poll::Pending => {}
        }
        if !done {
            return Poll::Pending;
        }
        self.finished = true;
        let failure = self.end.as_ref().and_then(|end| (end.failure)());
        Poll::Ready(failure.map_or(Ok(None), Err))
    }

    /// The same without the cursor, as a stream has it.
    pub(crate) fn poll_item(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<T, CallError<E>>>> {
        let message = ready!(self.poll_recv(cx)).transpose();
        Poll::Ready(message.map(|message| message.map(|(message, _)| message)))
    }
}
