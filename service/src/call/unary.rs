//! Calls without messages.

use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
#[cfg(feature = "tower")]
use pointsub_swarm::middleware::OutgoingRequest;
use pointsub_swarm::{Call, ClosestCall, Hedge, PeerId, Response};
use serde::de::DeserializeOwned;

use super::options::set;
use crate::call::Answer;
use crate::call::local::{self, Local};
use crate::codec::{Codec, CodecError, KEY};
use crate::cx::Cx;
use crate::detail::{call_error, closest_error};
use crate::error::{CallError, ServiceError};
#[cfg(feature = "tower")]
use crate::middleware::{self, Unsent};
use crate::wire::Wire;

/// A call of a method without messages. Await it for the result; set options before. It borrows nothing, and
/// dropping it cancels the call.
#[must_use = "a call is sent when it is awaited"]
pub struct UnaryCall<T, E> {
    state: State<T, E>,
    /// Those of the call itself, and of the call because of which it is made.
    timeouts: [Option<Duration>; 2],
    result: PhantomData<fn() -> (T, E)>,
}

/// A call of which the whole answer is wanted: [`UnaryCall::answer`].
#[must_use = "a call is sent when it is awaited"]
pub struct AnswerCall<T, E>(UnaryCall<T, E>);

/// What a call is before it begins, and from then on.
pub(super) enum State<T, E> {
    Peer(Call, Wire),
    Closest(ClosestCall, Wire),
    #[cfg(feature = "tower")]
    Layers(Box<Unsent<OutgoingRequest, Response>>, Wire),
    Local(Box<Local>),
    Running(BoxFuture<'static, Result<Answer<T>, CallError<E>>>),
    Failed(CodecError),
    Done,
}

/// The smaller of two timeouts, as far as they are set.
pub(crate) fn least(timeouts: [Option<Duration>; 2]) -> Option<Duration> {
    timeouts.into_iter().flatten().min()
}

impl<T, E> UnaryCall<T, E> {
    pub(super) const fn new(state: State<T, E>) -> Self {
        Self { state, timeouts: [None, None], result: PhantomData }
    }

    pub(super) fn encoded(self, codec: Codec) -> Self {
        if codec == Codec::default() { self } else { self.metadata(KEY, codec.name()) }
    }

    /// The same call, which gives the result with what came beside it: metadata that the method has
    /// [told](Cx::tell), who answered, how long it took. Options are set before.
    pub const fn answer(self) -> AnswerCall<T, E> {
        AnswerCall(self)
    }

    /// The longest time the whole call may take: [`Call::timeout`].
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeouts[0] = Some(timeout);
        self
    }

    /// Whether executing the method twice does no harm: [`Call::idempotent`].
    pub fn idempotent(self, idempotent: bool) -> Self {
        set!(self, call => call.idempotent(idempotent))
    }

    /// How often the call is tried again at most: [`Call::max_retries`].
    pub fn max_retries(self, retries: u32) -> Self {
        set!(self, call => call.max_retries(retries))
    }

    /// Tells the method a key with its value: [`Cx::metadata`]. The key `codec` is taken.
    pub fn metadata(self, key: &str, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        set!(self, call => call.metadata(key, value), local here => here.cx.add_metadata(key, value))
    }

    /// Makes the call because of another one: it takes no longer than is left of that, and has the same
    /// trace (`traceparent`, `tracestate` and `baggage`, as the W3C names them).
    pub fn child_of(mut self, cx: &Cx) -> Self {
        self.timeouts[1] = cx.remaining();
        cx.trace().fold(self, |call, (key, value)| call.metadata(key, value))
    }

    /// What the distance of servers is measured from, if the closest is called: [`ClosestCall::key`].
    /// Default: the encoded arguments.
    pub fn key(self, key: &[u8]) -> Self {
        set!(self, closest call => call.key(key))
    }

    /// Servers that are not called, if the closest is: [`ClosestCall::exclude`].
    pub fn exclude(self, nodes: impl IntoIterator<Item = PeerId>) -> Self {
        set!(self, closest call => call.exclude(nodes))
    }

    /// Calls further servers while one takes long, if the closest is called: [`ClosestCall::hedge`].
    pub fn hedge(self, hedge: impl Into<Option<Hedge>>) -> Self {
        set!(self, closest call => call.hedge(hedge))
    }
}

impl<T, E> UnaryCall<T, E>
where
    T: Send + 'static,
    E: ServiceError,
{
    /// Sets what was left until now.
    fn begin(&mut self) {
        let Some(timeout) = least(mem::take(&mut self.timeouts)) else { return };
        let call = Self::new(mem::replace(&mut self.state, State::Done));
        let call =
            set!(call, call => call.timeout(timeout), local here => here.timeout = Some(timeout));
        self.state = call.state;
    }
}

impl<T, E> UnaryCall<T, E>
where
    T: DeserializeOwned + Send + 'static,
    E: ServiceError,
{
    /// Calls it, and gives what is made of the answer.
    fn poll_as<O>(
        &mut self,
        cx: &mut Context<'_>,
        of_response: fn(T, &Response) -> O,
        of_answer: fn(Answer<T>) -> O,
    ) -> Poll<Result<O, CallError<E>>> {
        self.begin();
        if let State::Local(_) = &self.state
            && let State::Local(call) = mem::replace(&mut self.state, State::Done)
        {
            self.state = State::Running(local::call(*call, None).boxed());
        }
        #[cfg(feature = "tower")]
        if let State::Layers(..) = &self.state
            && let State::Layers(call, wire) = mem::replace(&mut self.state, State::Done)
        {
            self.state = State::Running(middleware::send(call, wire).boxed());
        }
        let decoded = |response: &Response, wire: Wire| match wire.decode(response) {
            Ok(value) => Ok(of_response(value, response)),
            Err(error) => Err(CallError::Codec(error)),
        };
        let outcome = match &mut self.state {
            State::Peer(call, wire) => match ready!(call.poll_unpin(cx)) {
                Ok(response) => decoded(&response, *wire),
                Err(error) => Err(call_error(error, wire.limits)),
            },
            State::Closest(call, wire) => match ready!(call.poll_unpin(cx)) {
                Ok(response) => decoded(&response, *wire),
                Err(error) => Err(closest_error(error, wire.limits)),
            },
            State::Running(call) => ready!(call.poll_unpin(cx)).map(of_answer),
            State::Failed(error) => Err(CallError::Codec(error.clone())),
            #[cfg(feature = "tower")]
            State::Layers(..) => return Poll::Pending,
            // It was polled again after its end.
            State::Local(_) | State::Done => return Poll::Pending,
        };
        self.state = State::Done;
        Poll::Ready(outcome)
    }
}

impl<T, E> Future for UnaryCall<T, E>
where
    T: DeserializeOwned + Send + 'static,
    E: ServiceError,
{
    type Output = Result<T, CallError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_as(cx, |value, _| value, Answer::into_value)
    }
}

impl<T, E> Future for AnswerCall<T, E>
where
    T: DeserializeOwned + Send + 'static,
    E: ServiceError,
{
    type Output = Result<Answer<T>, CallError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_as(cx, Answer::of_response, |answer| answer)
    }
}

impl<T, E> fmt::Debug for UnaryCall<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnaryCall").finish_non_exhaustive()
    }
}

impl<T, E> fmt::Debug for AnswerCall<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerCall").finish_non_exhaustive()
    }
}
