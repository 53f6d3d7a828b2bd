//! Calls without messages.

use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use pointsub_swarm::{Call, ClosestCall, Hedge, PeerId};
use serde::de::DeserializeOwned;

use crate::codec::{Codec, CodecError, KEY};
use crate::cx::Cx;
use crate::detail::{call_error, closest_error};
use crate::error::{CallError, ServiceError};
use crate::local::{self, Local};
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

enum State<T, E> {
    Peer(Call, Wire),
    Closest(ClosestCall, Wire),
    Local(Box<Local>),
    Running(BoxFuture<'static, Result<T, CallError<E>>>),
    Failed(CodecError),
    Done,
}

/// The smaller of two timeouts, as far as they are set.
pub(crate) fn least(timeouts: [Option<Duration>; 2]) -> Option<Duration> {
    timeouts.into_iter().flatten().min()
}

impl<T, E> UnaryCall<T, E> {
    const fn new(state: State<T, E>) -> Self {
        Self { state, timeouts: [None, None], result: PhantomData }
    }

    pub(crate) const fn to_peer(call: Call, wire: Wire) -> Self {
        Self::new(State::Peer(call, wire))
    }

    pub(crate) const fn to_closest(call: ClosestCall, wire: Wire) -> Self {
        Self::new(State::Closest(call, wire))
    }

    pub(crate) fn local(local: Local) -> Self {
        Self::new(State::Local(Box::new(local)))
    }

    pub(crate) const fn failed(error: CodecError) -> Self {
        Self::new(State::Failed(error))
    }

    pub(crate) fn encoded(self, codec: Codec) -> Self {
        if codec == Codec::default() { self } else { self.metadata(KEY, codec.name()) }
    }

    fn with(
        mut self,
        peer: impl FnOnce(Call) -> Call,
        closest: impl FnOnce(ClosestCall) -> ClosestCall,
        local: impl FnOnce(&mut Local),
    ) -> Self {
        self.state = match self.state {
            State::Peer(call, wire) => State::Peer(peer(call), wire),
            State::Closest(call, wire) => State::Closest(closest(call), wire),
            State::Local(mut call) => {
                local(&mut call);
                State::Local(call)
            }
            other => other,
        };
        self
    }

    /// The longest time the whole call may take: [`Call::timeout`].
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeouts[0] = Some(timeout);
        self
    }

    /// Whether executing the method twice does no harm: [`Call::idempotent`].
    pub fn idempotent(self, idempotent: bool) -> Self {
        self.with(|call| call.idempotent(idempotent), |call| call.idempotent(idempotent), |_| {})
    }

    /// How often the call is tried again at most: [`Call::max_retries`].
    pub fn max_retries(self, retries: u32) -> Self {
        self.with(|call| call.max_retries(retries), |call| call.max_retries(retries), |_| {})
    }

    /// Tells the method a key with its value: [`Cx::metadata`]. The key `codec` is taken.
    pub fn metadata(self, key: &str, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        self.with(
            |call| call.metadata(key, value),
            |call| call.metadata(key, value),
            |local| local.cx.add_metadata(key, value),
        )
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
        self.with(|call| call, |call| call.key(key), |_| {})
    }

    /// Servers that are not called, if the closest is: [`ClosestCall::exclude`].
    pub fn exclude(self, nodes: impl IntoIterator<Item = PeerId>) -> Self {
        self.with(|call| call, |call| call.exclude(nodes), |_| {})
    }

    /// Calls further servers while one takes long, if the closest is called: [`ClosestCall::hedge`].
    pub fn hedge(self, hedge: impl Into<Option<Hedge>>) -> Self {
        self.with(|call| call, |call| call.hedge(hedge), |_| {})
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
        let call = call.with(
            |call| call.timeout(timeout),
            |call| call.timeout(timeout),
            |local| local.timeout = Some(timeout),
        );
        self.state = call.state;
    }
}

impl<T, E> Future for UnaryCall<T, E>
where
    T: DeserializeOwned + Send + 'static,
    E: ServiceError,
{
    type Output = Result<T, CallError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.begin();
        if let State::Local(_) = &self.state
            && let State::Local(call) = mem::replace(&mut self.state, State::Done)
        {
            self.state = State::Running(local::call(*call, None).boxed());
        }
        let outcome = match &mut self.state {
            State::Peer(call, wire) => match ready!(call.poll_unpin(cx)) {
                Ok(answer) => wire.decode(&answer).map_err(CallError::Codec),
                Err(error) => Err(call_error(error, wire.limits)),
            },
            State::Closest(call, wire) => match ready!(call.poll_unpin(cx)) {
                Ok(answer) => wire.decode(&answer).map_err(CallError::Codec),
                Err(error) => Err(closest_error(error, wire.limits)),
            },
            State::Running(call) => ready!(call.poll_unpin(cx)),
            State::Failed(error) => Err(CallError::Codec(error.clone())),
            // It was polled again after its end.
            State::Local(_) | State::Done => return Poll::Pending,
        };
        self.state = State::Done;
        Poll::Ready(outcome)
    }
}

impl<T, E> fmt::Debug for UnaryCall<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnaryCall").finish_non_exhaustive()
    }
}
