//! Calls with messages, on their way to a method.

use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use pointsub_swarm::{OpenClosest, PeerId};
#[cfg(feature = "tower")]
use pointsub_swarm::{StreamingCall, middleware::OutgoingCall};

use super::options::set;
use super::unary::least;
use crate::call::Streaming;
use crate::call::local::{self, Local};
use crate::codec::{Codec, CodecError, KEY};
use crate::cx::Cx;
use crate::detail::{call_error, closest_error};
use crate::error::{CallError, ServiceError};
#[cfg(feature = "tower")]
use crate::middleware::{self, Unsent};
use crate::wire::Wire;

/// A call of a method with messages. Await it for the open call; set options before. `S` are the messages
/// that are sent from here, `R` those of the server, `T` is the result and `E` the error of the service.
#[must_use = "a call is opened when it is awaited"]
pub struct OpenCall<S, R, T, E> {
    state: State<S, R, T, E>,
    timeouts: [Option<Duration>; 2],
    #[expect(clippy::type_complexity, reason = "four types that are not here")]
    types: PhantomData<fn(S) -> (R, T, E)>,
}

type Opened<S, R, T, E> = Result<Streaming<S, R, T, E>, CallError<E>>;

/// What a call is before it begins, and from then on.
pub(super) enum State<S, R, T, E> {
    Peer(pointsub_swarm::OpenCall, Wire),
    Closest(OpenClosest, Wire),
    #[cfg(feature = "tower")]
    Layers(Box<Unsent<OutgoingCall, StreamingCall>>, Wire),
    Local(Box<Local>),
    Opening(BoxFuture<'static, Opened<S, R, T, E>>),
    Failed(CodecError),
    Done,
}

impl<S, R, T, E> OpenCall<S, R, T, E> {
    pub(super) const fn new(state: State<S, R, T, E>) -> Self {
        Self { state, timeouts: [None, None], types: PhantomData }
    }

    pub(super) fn encoded(self, codec: Codec) -> Self {
        if codec == Codec::default() { self } else { self.metadata(KEY, codec.name()) }
    }

    /// The longest time that the whole call may take, with the opening. Without it, it may take any time.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeouts[0] = Some(timeout);
        self
    }

    /// The call ends if for so long nothing comes and nothing that waits can be sent.
    pub fn idle_timeout(self, idle: Duration) -> Self {
        set!(self, call => call.idle_timeout(idle))
    }

    /// How many messages and bytes of the server may be on their way or wait here:
    /// [`OpenCall::window`](pointsub_swarm::OpenCall::window).
    pub fn window(self, messages: u32, bytes: u32) -> Self {
        set!(self, call => call.window(messages, bytes))
    }

    /// Whether it does no harm if two servers run the method, of which one is told at once to stop. Default
    /// `false`.
    pub fn idempotent(self, idempotent: bool) -> Self {
        set!(self, call => call.idempotent(idempotent))
    }

    /// Goes on behind the message with this cursor of a call that was open before: [`Cx::resume`].
    pub fn resume(self, cursor: impl Into<Bytes>) -> Self {
        let cursor = cursor.into();
        set!(self, call => call.resume(cursor), local here => here.cx.set_resume(cursor))
    }

    /// Tells the method a key with its value: [`Cx::metadata`]. The key `codec` is taken.
    pub fn metadata(self, key: &str, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        set!(self, call => call.metadata(key, value), local here => here.cx.add_metadata(key, value))
    }

    /// Makes the call because of another one:
    /// [`UnaryCall::child_of`](crate::UnaryCall::child_of).
    pub fn child_of(mut self, cx: &Cx) -> Self {
        self.timeouts[1] = cx.remaining();
        cx.trace().fold(self, |call, (key, value)| call.metadata(key, value))
    }

    /// What the distance of servers is measured from, if the closest is called. Default: the encoded
    /// arguments.
    pub fn key(self, key: &[u8]) -> Self {
        set!(self, closest call => call.key(key))
    }

    /// Servers that are not called, if the closest is.
    pub fn exclude(self, nodes: impl IntoIterator<Item = PeerId>) -> Self {
        set!(self, closest call => call.exclude(nodes))
    }

    /// No messages are sent from here, so that the server need not keep room for them.
    pub(crate) fn receive_only(self) -> Self {
        set!(self, call => call.receive_only())
    }

    /// Sets what was left until now.
    fn begin(&mut self) {
        let Some(timeout) = least(mem::take(&mut self.timeouts)) else { return };
        let call = Self::new(mem::replace(&mut self.state, State::Done));
        let call =
            set!(call, call => call.timeout(timeout), local here => here.timeout = Some(timeout));
        self.state = call.state;
    }
}

impl<S, R, T, E> Future for OpenCall<S, R, T, E>
where
    S: Send + 'static,
    R: Send + 'static,
    T: Send + 'static,
    E: ServiceError,
{
    type Output = Opened<S, R, T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.begin();
        if let State::Local(_) = &self.state
            && let State::Local(call) = mem::replace(&mut self.state, State::Done)
        {
            let opening = async move {
                let (sender, receiving) = local::open(*call).await?;
                Ok(Streaming::of_local(sender, receiving))
            };
            self.state = State::Opening(opening.boxed());
        }
        #[cfg(feature = "tower")]
        if let State::Layers(..) = &self.state
            && let State::Layers(call, wire) = mem::replace(&mut self.state, State::Done)
        {
            self.state = State::Opening(middleware::open(call, wire).boxed());
        }
        let outcome = match &mut self.state {
            State::Peer(call, wire) => match ready!(call.poll_unpin(cx)) {
                Ok(call) => Ok(Streaming::of_call(call, *wire)),
                Err(error) => Err(call_error(error, wire.limits)),
            },
            State::Closest(call, wire) => match ready!(call.poll_unpin(cx)) {
                Ok(call) => Ok(Streaming::of_call(call, *wire)),
                Err(error) => Err(closest_error(error, wire.limits)),
            },
            State::Opening(call) => ready!(call.poll_unpin(cx)),
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

impl<S, R, T, E> fmt::Debug for OpenCall<S, R, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenCall").finish_non_exhaustive()
    }
}
