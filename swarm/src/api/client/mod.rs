//! The client's handle: usable from any task, clones share everything.

mod beside;
mod closest;
mod compression;
mod dial;
mod expiry;
mod from_fn;
pub(super) mod lazy;
mod local;
mod policy;
pub(crate) mod shared;
pub(crate) mod ticket;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use std::{fmt, mem};

use bytes::Bytes;
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use libp2p_identity::PeerId;
use pointsub_core::wire::compress::InflateError;
use pointsub_core::{
    Body, CallOptions, Cause, ClientStats, Delivery, Metadata, Phase, ProtocolName, RequestError,
    RequestId, Timestamp,
};

pub(super) use self::beside::Beside;
pub(super) use self::closest::attempts;
pub use self::closest::{ClosestCall, NodeCounts, NodeInfo};
use self::compression::{Compressing, inflate};
pub use self::dial::Dial;
use self::expiry::Expiry;
pub use self::policy::Policy;
use self::policy::Settings;
use self::shared::{Answered, ClientShared, Outcome};
use super::message::Response;
use super::stream_info::StreamInfo;
use crate::peer;
use crate::telemetry::{CallWatch, finish};

/// Sends requests to peers. Cheap to clone; clones share streams, limits and counters.
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<ClientShared>,
}

impl Client {
    pub(crate) fn new(shared: Arc<ClientShared>) -> Self {
        Self { shared }
    }

    /// A request to `peer` under `protocol`. Await it for the response; set options before.
    ///
    /// The peer is dialled if there is no connection to it and an address of it is known. Dropping
    /// the future cancels the request: the server is told, and others on the stream are not
    /// disturbed.
    ///
    /// # Errors
    /// [`RequestError`], which says what happened, in which phase, and whether the request may
    /// have been processed.
    #[inline]
    pub fn send(&self, peer: PeerId, protocol: &ProtocolName, body: impl Into<Bytes>) -> Call {
        Call(State::New(Unsent {
            shared: self.shared.clone(),
            peer,
            protocol: protocol.clone(),
            body: body.into(),
            settings: Settings::default(),
            beside: Beside::default(),
        }))
    }

    /// Sets the policy of one protocol, or of all that have none of their own. What it does not say
    /// stays as it is.
    pub(crate) fn set_policy(&self, protocol: Option<ProtocolName>, policy: Policy) {
        let Policy { settings, retry, strategy } = policy;
        self.shared.policies.write().set(protocol.as_ref(), settings);
        // What was there before is dropped without the lock.
        let _before = self.shared.with_dispatcher(|dispatcher| {
            let retry = retry.and_then(|retry| match protocol.clone() {
                Some(protocol) => dispatcher.set_protocol_retry_policy(protocol, retry),
                None => Some(dispatcher.set_retry_policy(retry)),
            });
            let strategy = strategy.and_then(|strategy| match protocol {
                Some(protocol) => dispatcher.set_protocol_strategy(protocol, strategy),
                None => Some(dispatcher.set_strategy(strategy)),
            });
            (retry, strategy)
        });
    }

    /// Counters so far.
    #[must_use]
    pub fn stats(&self) -> ClientStats {
        self.shared.stats()
    }

    /// One entry for each open stream.
    #[doc(alias = "connections_info")]
    #[must_use]
    pub fn streams(&self) -> Vec<StreamInfo> {
        let clock = &self.shared.clock;
        let infos = self.shared.with_dispatcher(|d| d.streams(clock.now()));
        infos.into_iter().map(|info| StreamInfo::new(info, clock)).collect()
    }

    /// Accepts no further requests, lets those under way end, then closes every stream.
    pub async fn drain(&self) {
        // An error means that the swarm is gone, and the streams with it.
        let _gone = self.shared.drain().await;
    }

    /// Fails what is under way and closes every stream.
    pub async fn close(&self) {
        let _gone = self.shared.close().await;
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("stats", &self.stats()).finish()
    }
}

/// A request: [`Client::send`]. It is sent when this is first polled. Set options before.
///
/// It borrows nothing and can be given to a task: `tokio::spawn(client.send(peer, &chat, "hello"))`.
/// Its [`timeout`](Self::timeout) holds even while nobody polls the swarm, or its runtime is blocked;
/// then it is noticed 50 ms late.
#[derive(Debug)]
#[must_use = "a request is sent when it is awaited"]
pub struct Call(State);

enum State {
    New(Unsent),
    Sent(InFlight<RequestId, Outcome>, Asked, Option<CallWatch>),
    /// What is left to do, if a body has to be compressed or inflated for it.
    InSteps(BoxFuture<'static, Result<Response, RequestError>>),
    Done,
}

/// A request with its options.
struct Unsent {
    shared: Arc<ClientShared>,
    peer: PeerId,
    protocol: ProtocolName,
    body: Bytes,
    settings: Settings,
    beside: Beside,
}

/// Who was asked, when, and how long the answer may be.
#[derive(Copy, Clone)]
struct Asked {
    peer: PeerId,
    at: Timestamp,
    max_answer: usize,
}

impl Asked {
    fn answered(self, body: Bytes, metadata: Metadata, at: Timestamp) -> Response {
        let elapsed = at.since(self.at);
        Response::new(self.peer, body).with_elapsed(elapsed).with_metadata(metadata)
    }
}

impl Call {
    /// The longest time the whole request may take, connecting included. The server is told how
    /// much of it is left, and its answer is waited for until then, even for longer than
    /// [`read_timeout`](pointsub_core::ClientConfig::with_read_timeout). Without it, the client's
    /// own timeouts limit each phase.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|unsent| unsent.settings.timeout = Some(timeout))
    }

    /// Whether executing the request twice does no harm. If `false`, it is tried again only after
    /// failures that surely left it unprocessed, and so reaches a handler at most once. Default
    /// `true`: whatever may pass is tried again.
    pub fn idempotent(self, idempotent: bool) -> Self {
        self.with(|unsent| unsent.settings.idempotent = Some(idempotent))
    }

    /// How often the request is tried again at most. The retry policy may decide to try less often.
    /// Default: the policy alone decides, which by default is
    /// [`max_retries`](pointsub_core::ClientConfig::with_max_retries).
    pub fn max_retries(self, max_retries: u32) -> Self {
        self.with(|unsent| unsent.settings.max_retries = Some(max_retries))
    }

    /// The longest answer in bytes, when it is inflated. A longer one is not inflated: the call fails
    /// with [`Cause::Body`]. Default: the client's
    /// [`max_block_size`](pointsub_core::ClientConfig::with_max_block_size).
    #[inline]
    pub fn max_answer(self, max_answer: usize) -> Self {
        self.with(|unsent| unsent.settings.max_answer = Some(max_answer))
    }

    /// What is asked for within the protocol, such as the name of a method of a service: 1 to 255 bytes
    /// without control characters. The handler gets it as
    /// [`Request::method`](crate::Request::method).
    ///
    /// Peers on the plain format, and those of versions that do not take methods, are not asked: the
    /// request fails with [`StatusCode::Unimplemented`](crate::StatusCode::Unimplemented). So it does
    /// with [`metadata`](Self::metadata).
    #[inline]
    pub fn method(self, method: &str) -> Self {
        self.with(|unsent| unsent.beside.method(method))
    }

    /// Tells the handler a key with its value: [`Request::metadata`](crate::Request::metadata). Keys are
    /// lowercase ASCII without spaces; all of it takes up to 12 KiB.
    pub fn metadata(self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.with(|unsent| unsent.beside.metadata(key, value.as_ref()))
    }

    /// Sets what is said beside the body.
    #[cfg(feature = "tower")]
    pub(in crate::api) fn beside(self, beside: Beside) -> Self {
        self.with(|unsent| unsent.beside = beside)
    }

    #[inline]
    fn with(mut self, set: impl FnOnce(&mut Unsent)) -> Self {
        if let State::New(unsent) = &mut self.0 {
            set(unsent);
        }
        self
    }
}

impl Future for Call {
    type Output = Result<Response, RequestError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let State::New(_) = self.0
            && let State::New(unsent) = mem::replace(&mut self.0, State::Done)
        {
            self.0 = begin(unsent)?;
        }
        if let State::Sent(sent, asked, watch) = &mut self.0 {
            let outcome = ready!(sent.poll_unpin(cx));
            let (asked, watch) = (*asked, watch.take());
            let Answered { mut payload, at } = match taken(outcome, asked) {
                Ok(answered) => answered,
                Err(error) => {
                    self.0 = State::Done;
                    return Poll::Ready(finish(watch, Err(error)));
                }
            };
            let metadata = payload.take_headers().metadata;
            if !payload.is_compressed() {
                self.0 = State::Done;
                let body = payload.into_bytes().map_err(broken);
                let response = body.map(|body| asked.answered(body, metadata, at));
                return Poll::Ready(finish(watch, response));
            }
            let shared = sent.shared.clone();
            let rest = async move {
                let body = inflate(payload, &shared, None).await;
                let at = shared.clock.now();
                finish(watch, body.map(|body| asked.answered(body, metadata, at)))
            };
            self.0 = State::InSteps(rest.boxed());
        }
        let State::InSteps(rest) = &mut self.0 else { return Poll::Ready(Err(gone())) };
        let outcome = ready!(rest.poll_unpin(cx));
        self.0 = State::Done;
        Poll::Ready(outcome)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New(_) => "New",
            Self::Sent(..) => "Sent",
            Self::InSteps(_) => "InSteps",
            Self::Done => "Done",
        })
    }
}

/// Sends, unless the body is to be compressed first.
fn begin(unsent: Unsent) -> Result<State, RequestError> {
    let Unsent { shared, peer, protocol, body, settings, beside } = unsent;
    let mut headers = beside.into_headers()?;
    let settings = shared.policies.read().of(&protocol, settings);
    let asked = Asked { peer, at: shared.clock.now(), max_answer: settings.max_answer() };
    let watch = CallWatch::begin(&shared, &protocol, &mut headers, asked.at, Some(&peer));
    if let Some(answers) = shared.answers.clone() {
        let answer = async move {
            let request = shared.local_request(protocol, body, headers)?;
            let reply = answers.send(request, peer, settings.timeout).await?;
            let (body, metadata) = reply.into_parts();
            Ok(asked.answered(body, metadata, shared.clock.now()))
        };
        return Ok(State::InSteps(answer.map(|answer| finish(watch, answer)).boxed()));
    }
    let options = settings.options(asked.at);
    let peer = peer::to_core(&peer);
    let compressing = match Compressing::of(body, &shared, Some(&peer), &protocol) {
        Ok(compressing) => compressing,
        Err(body) => {
            let body = Body::uncompressed(body).with_headers(headers);
            let body = CallWatch::marked(watch.as_ref(), body);
            return match start(shared, &peer, &protocol, body, options, asked.at) {
                Ok(sent) => Ok(State::Sent(sent, asked, watch)),
                Err(error) => finish(watch, Err(error)).map(|_| State::Done),
            };
        }
    };
    let rest = async move {
        let body = compressing.finish().await.with_headers(headers);
        let body = CallWatch::marked(watch.as_ref(), body);
        let answer = deflated(shared, &peer, &protocol, body, options, asked).await;
        finish(watch, answer)
    };
    Ok(State::InSteps(rest.boxed()))
}

/// Sends a body that was compressed, and waits for the answer.
async fn deflated(
    shared: Arc<ClientShared>,
    peer: &pointsub_core::PeerId,
    protocol: &ProtocolName,
    body: Body,
    options: CallOptions,
    asked: Asked,
) -> Result<Response, RequestError> {
    let now = shared.clock.now();
    let outcome = start(shared.clone(), peer, protocol, body, options, now)?.await;
    let mut payload = taken(outcome, asked)?.payload;
    let metadata = payload.take_headers().metadata;
    let body = inflate(payload, &shared, Some(protocol)).await?;
    Ok(asked.answered(body, metadata, shared.clock.now()))
}

/// The answer, if it is no longer than its caller wants.
fn taken(outcome: Option<Outcome>, asked: Asked) -> Result<Answered, RequestError> {
    let answered = outcome.ok_or_else(gone)??;
    answered.payload.check_len(asked.max_answer).map_err(broken)?;
    Ok(answered)
}

fn start(
    shared: Arc<ClientShared>,
    peer: &pointsub_core::PeerId,
    protocol: &ProtocolName,
    body: Body,
    options: CallOptions,
    now: Timestamp,
) -> Result<InFlight<RequestId, Outcome>, RequestError> {
    let (id, outcome) = shared.send(peer, protocol.as_str(), body, options, now)?;
    Ok(InFlight::new(shared, id, outcome, options.deadline))
}

pub(super) fn broken(error: InflateError) -> RequestError {
    RequestError::new(error.into(), Phase::Answer, Delivery::Processed)
}

pub(super) fn gone() -> RequestError {
    RequestError::new(Cause::Closed, Phase::Wait, Delivery::Unknown)
}

/// Something that was sent and whose outcome is waited for. Dropping it before cancels it.
#[derive(Debug)]
pub(super) struct InFlight<Id: Cancellable, T> {
    shared: Arc<ClientShared>,
    id: Id,
    outcome: oneshot::Receiver<T>,
    /// Of a caller with a deadline.
    expiry: Option<Expiry>,
    done: bool,
}

/// The name of something that the shared can be told to end.
pub(super) trait Cancellable: Copy + Unpin {
    /// Nobody waits for it any more.
    fn cancel(self, shared: &Arc<ClientShared>);

    /// Its deadline has passed: the outcome follows at once.
    fn expire(self, shared: &Arc<ClientShared>);
}

impl Cancellable for RequestId {
    fn cancel(self, shared: &Arc<ClientShared>) {
        shared.cancel(self);
    }

    fn expire(self, shared: &Arc<ClientShared>) {
        shared.expire(self);
    }
}

impl<Id: Cancellable, T> InFlight<Id, T> {
    pub(super) fn new(
        shared: Arc<ClientShared>,
        id: Id,
        outcome: oneshot::Receiver<T>,
        deadline: Option<Timestamp>,
    ) -> Self {
        let expiry = deadline.map(|deadline| Expiry::new(&shared.deadlines, deadline));
        Self { shared, id, outcome, expiry, done: false }
    }
}

impl<Id: Cancellable, T> Future for InFlight<Id, T> {
    /// `None` if nobody is left to tell the outcome.
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut outcome = self.outcome.poll_unpin(cx);
        if outcome.is_pending()
            && let Some(expiry) = &mut self.expiry
            && expiry.poll_passed(cx)
        {
            self.expiry = None;
            self.id.expire(&self.shared);
            outcome = self.outcome.poll_unpin(cx);
        }
        let outcome = ready!(outcome);
        self.done = true;
        Poll::Ready(outcome.ok())
    }
}

impl<Id: Cancellable, T> Drop for InFlight<Id, T> {
    fn drop(&mut self) {
        if !self.done {
            self.id.cancel(&self.shared);
        }
    }
}
