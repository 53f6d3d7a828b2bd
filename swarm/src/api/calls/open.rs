//! Calls on their way to a handler.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use libp2p_identity::PeerId;
use pointsub_core::connection::CallOpening;
use pointsub_core::endpoint::closest::Point;
use pointsub_core::wire::{CallRequest, Credit};
use pointsub_core::{
    Body, CallOptions, Cause, ClosestOptions, Delivery, Headers, Phase, ProtocolName, RequestError,
    SendError, Status, StatusCode, Timestamp,
};

use super::channel::Channel;
use super::client::{ReceivingCall, StreamingCall};
use super::halves::{CallReceiver, CallSender, Guard};
use super::server::LARGEST_WINDOW;
use crate::api::client::lazy::Lazy;
use crate::api::client::shared::ClientShared;
use crate::api::client::{Beside, Client, InFlight, attempts, gone};
use crate::api::failover::{ClosestError, NodeAttempt};
use crate::peer;
use crate::telemetry::CallWatch;

/// How many messages of the server may wait here, unless it is said otherwise.
const MESSAGES: u32 = 32;
/// And how many bytes of them.
const BYTES: u32 = 64 * 1024;
/// A server has room for two grants of credit at least.
const LEAST_BYTES: u32 = 8192;

impl Client {
    /// Opens a call: a request with messages beside it, in either direction. Await it for the call, which
    /// is there when a handler of the peer has accepted it; set options before.
    ///
    /// Calls need a peer of this library. Any other refuses them at once, as
    /// [`StatusCode::Unimplemented`].
    ///
    /// ```no_run
    /// # use pointsub_swarm::{Client, PeerId, ProtocolName, RequestError};
    /// # async fn follow(client: &Client, peer: PeerId) -> Result<(), RequestError> {
    /// const LOG: ProtocolName = ProtocolName::from_static("/log/1.0.0");
    /// let mut call = client.open(peer, &LOG, "from=100").await?;
    /// while let Some(line) = call.recv().await? {
    ///     println!("{}", String::from_utf8_lossy(&line));
    /// }
    /// let result = call.finish().await?;
    /// # let _ = result;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RequestError`], as for a request.
    pub fn open(
        &self,
        peer: PeerId,
        protocol: &ProtocolName,
        argument: impl Into<Bytes>,
    ) -> OpenCall {
        let unopened = Unopened::new(self.shared.clone(), protocol, argument.into());
        OpenCall(Lazy::New((peer, unopened)))
    }

    /// Opens a call at the closest usable server of the protocol, as
    /// [`send_closest`](Self::send_closest) chooses it. If that fails or refuses, the next one is asked,
    /// until a handler has accepted the call.
    ///
    /// # Errors
    /// [`ClosestError`], with the last failure and every try.
    pub fn open_closest(&self, protocol: &ProtocolName, argument: impl Into<Bytes>) -> OpenClosest {
        let argument = argument.into();
        let unopened = Unopened::new(self.shared.clone(), protocol, argument.clone());
        let (key, exclude) = (None, Vec::new());
        OpenClosest(Lazy::New(Closest { unopened, argument, key, exclude }))
    }
}

/// A call that is to be opened: [`Client::open`].
#[must_use = "a call is opened when it is awaited"]
pub struct OpenCall(Lazy<(PeerId, Unopened), Result<StreamingCall, RequestError>>);

/// A call that is to be opened at the closest server: [`Client::open_closest`].
#[must_use = "a call is opened when it is awaited"]
pub struct OpenClosest(Lazy<Closest, Result<StreamingCall, ClosestError>>);

/// A call with its options.
#[derive(Clone)]
pub(super) struct Unopened {
    shared: Arc<ClientShared>,
    protocol: ProtocolName,
    request: CallRequest,
    grows_to: Credit,
    timeout: Option<Duration>,
    idle: Option<Duration>,
    idempotent: bool,
    /// It is tried once.
    once: bool,
    beside: Beside,
}

/// And where it may be opened.
#[derive(Clone)]
pub(super) struct Closest {
    pub(super) unopened: Unopened,
    argument: Bytes,
    key: Option<Point>,
    exclude: Vec<pointsub_core::PeerId>,
}

impl OpenCall {
    /// What was asked for, unless it was begun.
    pub(super) fn into_options(self) -> Option<(PeerId, Unopened)> {
        self.0.into_options()
    }

    fn with(mut self, set: impl FnOnce(&mut Unopened)) -> Self {
        self.0.set(|(_, unopened)| set(unopened));
        self
    }
}

impl OpenClosest {
    /// What was asked for, unless it was begun.
    pub(super) fn into_options(self) -> Option<Closest> {
        self.0.into_options()
    }

    /// Servers that are not asked; may be called several times.
    pub fn exclude(mut self, nodes: impl IntoIterator<Item = PeerId>) -> Self {
        let nodes = nodes.into_iter().map(|node| peer::to_core(&node));
        self.0.set(|closest| closest.exclude.extend(nodes));
        self
    }

    /// What the distance of servers is measured from. Default: the argument.
    pub fn key(mut self, key: &[u8]) -> Self {
        self.0.set(|closest| closest.key = Some(Point::of_key(key)));
        self
    }

    fn with(mut self, set: impl FnOnce(&mut Unopened)) -> Self {
        self.0.set(|closest| set(&mut closest.unopened));
        self
    }
}

macro_rules! options {
    ($($call:ident)*) => {$(
        impl $call {
            /// How many messages and bytes of the server may be on their way or wait here, 8 KiB at least.
            /// A message that is longer comes all the same, alone. Without this, a call begins with 32
            /// messages and 64 KiB. That doubles whenever all of it has come and was taken, up to 1024
            /// messages and 2 MiB.
            pub fn window(self, messages: u32, bytes: u32) -> Self {
                let credit = Credit::new(bytes.max(LEAST_BYTES), messages.max(1));
                self.with(|call| {
                    call.request.credit = credit;
                    call.grows_to = Credit::NONE;
                })
            }

            /// The longest time that the whole call may take, with the opening. Without it, it may take
            /// any time.
            pub fn timeout(self, timeout: Duration) -> Self {
                self.with(|call| call.timeout = Some(timeout))
            }

            /// The call ends if for so long nothing comes and nothing that waits can be sent. The time
            /// in which this end does not read does not count.
            pub fn idle_timeout(self, idle: Duration) -> Self {
                self.with(|call| call.idle = Some(idle))
            }

            /// What is asked for within the protocol: [`Call::method`](crate::Call::method).
            pub fn method(self, method: &str) -> Self {
                self.with(|call| call.beside.method(method))
            }

            /// Tells the handler a key with its value: [`Call::metadata`](crate::Call::metadata).
            pub fn metadata(self, key: &str, value: impl AsRef<[u8]>) -> Self {
                self.with(|call| call.beside.metadata(key, value.as_ref()))
            }

            /// Sets what is said beside the argument.
            #[cfg(feature = "tower")]
            pub(in crate::api) fn beside(self, beside: Beside) -> Self {
                self.with(|call| call.beside = beside)
            }

            /// No messages are sent from here, so that the server need not keep room for them.
            pub fn receive_only(self) -> Self {
                self.with(|call| call.request.silent = true)
            }

            /// Goes on behind the message with this cursor of a call that was open before.
            pub fn resume(self, cursor: impl Into<Bytes>) -> Self {
                self.with(|call| call.request.resume = Some(cursor.into()))
            }

            /// Whether it does no harm if two handlers get the call, of which one is told at once to
            /// stop. If so, the call is opened again after failures that may have come behind a
            /// handler. Default `false`.
            pub fn idempotent(self, idempotent: bool) -> Self {
                self.with(|call| call.idempotent = idempotent)
            }
        }

        impl fmt::Debug for $call {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($call)).finish_non_exhaustive()
            }
        }
    )*};
}

options!(OpenCall OpenClosest);

impl Future for OpenCall {
    type Output = Result<StreamingCall, RequestError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(|(peer, unopened)| open(peer, unopened), cx)
    }
}

impl Future for OpenClosest {
    type Output = Result<StreamingCall, ClosestError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(open_closest, cx)
    }
}

pub(super) async fn open(peer: PeerId, unopened: Unopened) -> Result<StreamingCall, RequestError> {
    let opening = unopened.begin(Some(&peer))?;
    let to = peer::to_core(&peer);
    let shared = &opening.registered.shared;
    let (body, now) = (opening.body(), shared.clock.now());
    let sent = shared.send(&to, opening.protocol.as_str(), body, opening.options, now);
    let (id, outcome) = match sent {
        Ok(sent) => sent,
        Err(error) => return Err(opening.failed(error.into())),
    };
    let deadline = opening.options.deadline;
    let outcome = InFlight::new(shared.clone(), id, outcome, deadline).await;
    match outcome.ok_or_else(gone).and_then(|outcome| outcome) {
        Ok(_) => Ok(opening.accepted(peer, Vec::new())),
        Err(error) => Err(opening.failed(error)),
    }
}

pub(super) async fn open_closest(closest: Closest) -> Result<StreamingCall, ClosestError> {
    let Closest { unopened, argument, key, exclude } = closest;
    let failed = ClosestError::before;
    let key = key.unwrap_or_else(|| Point::of_key(&argument));
    let opening = unopened.begin(None).map_err(failed)?;
    let options = opening.options;
    let wanted = ClosestOptions::default().with_call(options).with_exclude(exclude);
    let shared = &opening.registered.shared;
    let send = |wanted| shared.send_closest(opening.protocol.as_str(), key, opening.body(), wanted);
    let mut sent = send(wanted.clone());
    if matches!(sent, Err(SendError::NoNodes)) {
        if let Err(error) = shared.wait_for_server(&opening.protocol, options.deadline).await {
            return Err(failed(opening.failed(error)));
        }
        sent = send(wanted);
    }
    let (id, outcome) = match sent {
        Ok(sent) => sent,
        Err(error) => return Err(failed(opening.failed(error.into()))),
    };
    let outcome = InFlight::new(shared.clone(), id, outcome, options.deadline).await;
    match outcome {
        Some(Ok(answer)) => {
            Ok(opening.accepted(peer::to_libp2p(&answer.node), attempts(answer.attempts)))
        }
        Some(Err(failure)) => {
            let (error, attempts) = (opening.failed(failure.error), attempts(failure.attempts));
            Err(ClosestError { error, attempts })
        }
        None => Err(failed(opening.failed(gone()))),
    }
}

/// A call that drivers find under its number.
struct Opening {
    registered: Registered,
    protocol: ProtocolName,
    options: CallOptions,
    began: Timestamp,
    /// From here on, whoever gives up the call ends it.
    guard: Guard,
    /// By which attempts find the call's span.
    body: Body,
}

/// The number of a call, until it is accepted or given up.
struct Registered {
    shared: Arc<ClientShared>,
    number: u64,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.shared.openings.remove(self.number);
    }
}

impl Unopened {
    fn new(shared: Arc<ClientShared>, protocol: &ProtocolName, argument: Bytes) -> Self {
        Self {
            shared,
            protocol: protocol.clone(),
            request: CallRequest {
                argument: Body::uncompressed(argument).into(),
                credit: Credit::new(BYTES, MESSAGES),
                ..CallRequest::default()
            },
            grows_to: LARGEST_WINDOW,
            timeout: None,
            idle: None,
            idempotent: false,
            once: false,
            beside: Beside::default(),
        }
    }

    /// When the call has to be over, if it began then.
    pub(super) fn deadline(&self, began: Timestamp) -> Option<Timestamp> {
        self.timeout.map(|timeout| began + timeout)
    }

    /// From now on it is opened once more at a time. Behind which message it was opened first.
    pub(super) fn resume_later(&mut self) -> Option<Bytes> {
        // Whoever wants it opened again wants that also where the first handler may still be at work.
        (self.idempotent, self.once) = (true, true);
        self.request.resume.clone()
    }

    /// It is opened behind that message next, and has so much time.
    pub(super) fn resume_at(&mut self, cursor: Option<Bytes>, remaining: Option<Duration>) {
        self.request.resume = cursor;
        self.timeout = remaining;
    }

    fn begin(self, peer: Option<&PeerId>) -> Result<Opening, RequestError> {
        let Self { shared, protocol, mut request, timeout, idle, idempotent, once, beside, .. } =
            self;
        let mut headers = beside.into_headers()?;
        if shared.is_local() {
            let status = Status::new(StatusCode::Unimplemented, "a client without a network");
            let (phase, delivery) = (Phase::Connect, Delivery::NotProcessed);
            return Err(RequestError::new(Cause::Remote(status), phase, delivery));
        }
        let began = shared.clock.now();
        let mut options = CallOptions::default().with_idempotent(idempotent);
        options.deadline = timeout.map(|timeout| began + timeout);
        options.max_retries = once.then_some(0);
        let watch = CallWatch::begin(&shared, &protocol, &mut headers, began, peer);
        let mark = |body| CallWatch::marked(watch.as_ref(), body);
        let Headers { method, metadata } = headers;
        (request.method, request.metadata) = (method, metadata);
        let channel = Channel::new(request.credit);
        let guard = Guard(channel.clone());
        let opening =
            CallOpening { request, grows_to: self.grows_to, deadline: options.deadline, idle };
        let number = shared.openings.insert((opening, channel.clone()));
        let body = mark(Body::opening(number));
        channel.watch(watch);
        let registered = Registered { shared, number };
        Ok(Opening { registered, protocol, options, began, guard, body })
    }
}

impl Opening {
    fn body(&self) -> Body {
        self.body.clone()
    }

    /// No handler has accepted the call, for this reason.
    fn failed(self, error: RequestError) -> RequestError {
        self.guard.0.refused(&error);
        error
    }

    fn accepted(self, peer: PeerId, attempts: Vec<NodeAttempt>) -> StreamingCall {
        let Self { registered, began, guard, .. } = self;
        let (shared, channel) = (registered.shared.clone(), guard.0.clone());
        let sender = CallSender::new(channel.clone(), false);
        let receiver = CallReceiver::new(channel, false).with_guard(guard);
        let receiving = ReceivingCall { peer, began, shared, receiver, attempts };
        StreamingCall { sender, receiving }
    }
}
