//! Requests that go to the closest of several servers.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, mem};

use bytes::Bytes;
use libp2p_identity::PeerId;
use pointsub_core::endpoint::Dispatcher;
use pointsub_core::endpoint::closest::{AddNodeError, Node, Point};
use pointsub_core::network::candidates::CandidateState;
use pointsub_core::{
    ClosestId, ClosestOptions, Headers, Hedge, ProtocolName, RequestError, SendError, Source,
    Timestamp,
};

use super::lazy::Lazy;
use super::policy::Settings;
use super::shared::ClientShared;
use super::{Asked, Beside, Cancellable, Client, Compressing, InFlight, broken, gone, inflate};
use crate::api::failover::{ClosestError, NodeAttempt};
use crate::api::message::Response;
use crate::peer;
use crate::telemetry::{CallWatch, finish};

/// What is known of one server that [`Client::send_closest`] chooses from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeInfo {
    /// Which server.
    pub node: PeerId,
    /// How it was found.
    pub source: Source,
    /// Whether it is a server: candidates that have not said so on a connection get no requests.
    pub state: CandidateState,
    /// Whether there is a connection to it; `None` while none was ever made to any peer.
    pub online: Option<bool>,
    /// How long it takes to answer, smoothed; `None` before its first answer and 5 min after its
    /// last.
    pub latency: Option<Duration>,
    /// The load that it told, in thousandths of its limit; `None` if it did not within 30 s.
    pub load: Option<u16>,
    /// Requests under way to it.
    pub in_flight: u32,
    /// Failures in a row.
    pub failures: u32,
    /// How much longer it rests after a failure; `None` in normal use. Zero if its next request is
    /// to show whether it is well again.
    pub rests_for: Option<Duration>,
}

/// How many servers are in which state: [`Client::server_node_counts`]. One that serves several protocols
/// counts for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct NodeCounts {
    /// In normal use.
    pub usable: u64,
    /// Not asked for a while after a failure.
    pub resting: u64,
    /// To show with its next request whether it is well again.
    pub on_probation: u64,
}

impl Client {
    /// Adds a server to those that [`send_closest`](Self::send_closest) chooses from. Returns
    /// `false` if it is there already. From the first one on, peers that are merely connected are no
    /// servers of the protocol; those that other [sources](crate::Discover) find still are.
    ///
    /// # Errors
    /// [`AddNodeError`] if it is this peer itself, or one more than
    /// [`MAX_NODES`](pointsub_core::endpoint::closest::MAX_NODES) of a protocol.
    pub fn add_server_node(
        &self,
        protocol: &ProtocolName,
        node: PeerId,
    ) -> Result<bool, AddNodeError> {
        let (node, now) = (peer::to_core(&node), self.shared.clock.now());
        let added = self.shared.with_dispatcher(|d| d.add_server_node(protocol, node, now))?;
        if added {
            self.shared.tell_named(protocol);
        }
        Ok(added)
    }

    /// Removes a server and what is known of it. Returns `false` if it is not there. Requests that
    /// it has are not affected. A server that was found may be found again.
    pub fn remove_server_node(&self, protocol: &ProtocolName, node: PeerId) -> bool {
        let node = peer::to_core(&node);
        self.shared.with_dispatcher(|d| d.remove_server_node(protocol.as_str(), &node))
    }

    /// The servers of a protocol, in the order in which they were added.
    #[must_use]
    pub fn server_nodes(&self, protocol: &ProtocolName) -> Vec<PeerId> {
        self.shared.with_dispatcher(|d| {
            d.server_nodes(protocol.as_str()).map(|node| peer::to_libp2p(node.peer())).collect()
        })
    }

    /// What is known of each of them, and then of each candidate that a source has found and that has not
    /// said yet whether it serves the protocol.
    #[must_use]
    pub fn server_nodes_info(&self, protocol: &ProtocolName) -> Vec<NodeInfo> {
        let now = self.shared.clock.now();
        let info = |node: &Node| NodeInfo {
            node: peer::to_libp2p(node.peer()),
            source: node.source(),
            state: CandidateState::Serving,
            online: node.online(),
            latency: node.latency(now),
            load: node.load(now),
            in_flight: node.in_flight(),
            failures: node.failures(),
            rests_for: node.backoff_until().map(|until| until.since(now)),
        };
        let nodes = |d: &mut Dispatcher| d.server_nodes(protocol.as_str()).map(info).collect();
        let mut nodes: Vec<NodeInfo> = self.shared.with_dispatcher(nodes);
        for candidate in self.shared.discovery.candidates(protocol.as_str()) {
            let node = peer::to_libp2p(&candidate.peer);
            let is_node = nodes.iter().any(|known| known.node == node);
            if !is_node && candidate.state != CandidateState::Serving {
                nodes.push(NodeInfo {
                    node,
                    source: candidate.source,
                    state: candidate.state,
                    online: None,
                    latency: None,
                    load: None,
                    in_flight: 0,
                    failures: candidate.failures,
                    rests_for: None,
                });
            }
        }
        nodes
    }

    /// How many servers of all protocols are in which state.
    #[must_use]
    pub fn server_node_counts(&self) -> NodeCounts {
        let now = self.shared.clock.now();
        let mut counts = NodeCounts::default();
        self.shared.with_dispatcher(|dispatcher| {
            for node in dispatcher.all_server_nodes() {
                *match node.backoff_until() {
                    None => &mut counts.usable,
                    Some(until) if until > now => &mut counts.resting,
                    Some(_) => &mut counts.on_probation,
                } += 1;
            }
        });
        counts
    }

    /// Removes all servers of a protocol.
    pub fn clear_server_nodes(&self, protocol: &ProtocolName) {
        self.shared.with_dispatcher(|d| d.clear_server_nodes(protocol.as_str()));
    }

    /// Whether [`send_closest`](Self::send_closest) has somebody to send to.
    #[must_use]
    pub fn has_available_nodes(&self, protocol: &ProtocolName) -> bool {
        let now = self.shared.clock.now();
        self.shared.with_dispatcher(|d| d.has_available_nodes(protocol.as_str(), now))
    }

    /// A request to the closest usable server of the protocol. Await it for the response; set
    /// options before.
    ///
    /// Servers are those that were [added](Self::add_server_node), and those that [`Discover`](crate::Discover)
    /// has found: by default, connected peers that say that they serve the protocol. While there is none,
    /// the call waits for the first one, for as long as `connect_timeout` says, if anything is under way by
    /// which one could be found. Otherwise it fails at once.
    ///
    /// If a server fails, the next one is asked at once. When all have failed, they are asked
    /// again after a pause, as the retry policy says. A server that has failed rests: for a
    /// second at first, longer after each further failure. Dropping the future cancels the
    /// request.
    ///
    /// ```
    /// # use pointsub_swarm::{Client, ClosestError, PeerId, ProtocolName};
    /// # async fn example(client: Client, servers: [PeerId; 3]) -> Result<(), Box<dyn std::error::Error>> {
    /// let search = ProtocolName::new("/search/1.0.0")?;
    /// for server in servers {
    ///     client.add_server_node(&search, server)?;
    /// }
    /// let answer = client.send_closest(&search, "what?").await?;
    /// println!("{} answered after {} tries", answer.peer(), answer.attempts().len());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ClosestError`], with the last failure and every try.
    pub fn send_closest(&self, protocol: &ProtocolName, body: impl Into<Bytes>) -> ClosestCall {
        ClosestCall(Lazy::New(Unsent {
            shared: self.shared.clone(),
            protocol: protocol.clone(),
            body: body.into(),
            key: None,
            settings: Settings::default(),
            beside: Beside::default(),
            exclude: Vec::new(),
        }))
    }
}

/// A request to the closest server: [`Client::send_closest`]. It is sent when this is first polled. Set
/// options before.
#[must_use = "a request is sent when it is awaited"]
pub struct ClosestCall(Lazy<Unsent, Result<Response, ClosestError>>);

struct Unsent {
    shared: Arc<ClientShared>,
    protocol: ProtocolName,
    body: Bytes,
    key: Option<Point>,
    settings: Settings,
    beside: Beside,
    exclude: Vec<pointsub_core::PeerId>,
}

impl ClosestCall {
    /// The longest time the whole call may take, with all tries and pauses. Without it, the
    /// client's own timeouts limit each try.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|unsent| unsent.settings.timeout = Some(timeout))
    }

    /// The longest answer in bytes, when it is inflated. A longer one is not inflated, and the call
    /// fails. Default: the client's `max_block_size`.
    pub fn max_answer(self, max_answer: usize) -> Self {
        self.with(|unsent| unsent.settings.max_answer = Some(max_answer))
    }

    /// Whether executing the request twice does no harm. If `false`, another server is asked only
    /// after failures that surely left the request unprocessed, and there is no hedging. Default
    /// `true`.
    pub fn idempotent(self, idempotent: bool) -> Self {
        self.with(|unsent| unsent.settings.idempotent = Some(idempotent))
    }

    /// How often all servers are asked again at most, after all have failed. The retry policy may decide
    /// to do so less often. Default: the policy alone decides.
    pub fn max_retries(self, max_retries: u32) -> Self {
        self.with(|unsent| unsent.settings.max_retries = Some(max_retries))
    }

    /// Servers that are not asked; may be called several times.
    pub fn exclude(self, nodes: impl IntoIterator<Item = PeerId>) -> Self {
        let nodes = nodes.into_iter().map(|node| peer::to_core(&node));
        self.with(|unsent| unsent.exclude.extend(nodes))
    }

    /// What the distance of servers is measured from. Default: the request's body, as in the Go
    /// library. Requests with the same key go to the same server as long as distance decides.
    pub fn key(self, key: &[u8]) -> Self {
        self.with(|unsent| unsent.key = Some(Point::of_key(key)))
    }

    /// Asks further servers while one takes long to answer; the first answer counts, and the other
    /// servers are told that theirs is not wanted. Several of them may execute the request. `None` rules
    /// it out where a [`Policy`](crate::Policy) has it.
    pub fn hedge(self, hedge: impl Into<Option<Hedge>>) -> Self {
        self.with(|unsent| unsent.settings.hedge = Some(hedge.into()))
    }

    /// What is asked for within the protocol, such as the name of a method of a service: 1 to 255 bytes
    /// without control characters. See
    /// [`Call::method`](crate::Call::method).
    pub fn method(self, method: &str) -> Self {
        self.with(|unsent| unsent.beside.method(method))
    }

    /// Tells the handler a key with its value: see [`Call::metadata`](crate::Call::metadata).
    pub fn metadata(self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.with(|unsent| unsent.beside.metadata(key, value.as_ref()))
    }

    /// Sets what is said beside the body.
    #[cfg(feature = "tower")]
    pub(in crate::api) fn beside(self, beside: Beside) -> Self {
        self.with(|unsent| unsent.beside = beside)
    }

    fn with(mut self, set: impl FnOnce(&mut Unsent)) -> Self {
        self.0.set(set);
        self
    }
}

impl Future for ClosestCall {
    type Output = Result<Response, ClosestError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(send, cx)
    }
}

impl fmt::Debug for ClosestCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClosestCall").finish_non_exhaustive()
    }
}

async fn send(mut unsent: Unsent) -> Result<Response, ClosestError> {
    let headers = mem::take(&mut unsent.beside).into_headers();
    let mut headers = headers.map_err(|error| failed(error.into()))?;
    let (shared, began) = (unsent.shared.clone(), unsent.shared.clock.now());
    let watch = CallWatch::begin(&shared, &unsent.protocol, &mut headers, began, None);
    let outcome = ask(unsent, headers, watch.as_ref(), began).await;
    finish(watch, outcome)
}

async fn ask(
    unsent: Unsent,
    headers: Headers,
    watch: Option<&CallWatch>,
    began: Timestamp,
) -> Result<Response, ClosestError> {
    let Unsent { shared, protocol, body, key, settings, exclude, .. } = unsent;
    let settings = shared.policies.read().of(&protocol, settings);
    if let Some(answers) = shared.answers.clone() {
        let nodes = Client::new(shared.clone()).server_nodes(&protocol);
        let asked = |node: &PeerId| !exclude.contains(&peer::to_core(node));
        let nodes = nodes.into_iter().filter(asked).collect();
        let request = shared.local_request(protocol, body, headers);
        let request = request.map_err(|error| failed(error.into()))?;
        return answers.send_closest(request, nodes, &shared.clock, settings.timeout).await;
    }
    let options = settings.options(began);
    let mut closest = ClosestOptions::default().with_call(options).with_exclude(exclude);
    closest.hedge = settings.hedge.flatten();
    // Hashed and compressed here, on the caller's task.
    let key = key.unwrap_or_else(|| Point::of_key(&body));
    let body = match Compressing::of(body, &shared, None, &protocol) {
        Ok(compressing) => compressing.finish().await,
        Err(body) => body.into(),
    };
    let body = CallWatch::marked(watch, body.with_headers(headers));
    let mut sent = shared.send_closest(protocol.as_str(), key, body.clone(), closest.clone());
    if matches!(sent, Err(SendError::NoNodes)) {
        let found = shared.wait_for_server(&protocol, options.deadline).await;
        found.map_err(failed)?;
        sent = shared.send_closest(protocol.as_str(), key, body, closest);
    }
    let (id, outcome) = sent.map_err(|error| failed(error.into()))?;
    let outcome = InFlight::new(shared.clone(), id, outcome, options.deadline).await;
    let answer = match outcome.ok_or_else(|| failed(gone()))? {
        Ok(answer) => answer,
        Err(failure) => {
            let attempts = attempts(failure.attempts);
            return Err(ClosestError { error: failure.error, attempts });
        }
    };
    let attempts = attempts(answer.attempts);
    let mut payload = answer.payload;
    let metadata = payload.take_headers().metadata;
    let body = match payload.check_len(settings.max_answer()).map_err(broken) {
        Ok(()) => inflate(payload, &shared, Some(&protocol)).await,
        Err(error) => Err(error),
    };
    match body {
        Ok(body) => {
            let peer = peer::to_libp2p(&answer.node);
            let asked = Asked { peer, at: began, max_answer: usize::MAX };
            let at = shared.clock.now();
            Ok(asked.answered(body, metadata, at).with_attempts(attempts))
        }
        Err(error) => Err(ClosestError { error, attempts }),
    }
}

pub(in crate::api) fn attempts(attempts: Vec<pointsub_core::NodeTry>) -> Vec<NodeAttempt> {
    let attempt = |attempt: pointsub_core::NodeTry| NodeAttempt {
        node: peer::to_libp2p(&attempt.node),
        source: attempt.source,
        after: attempt.after,
        took: attempt.took,
        outcome: attempt.outcome,
    };
    attempts.into_iter().map(attempt).collect()
}

/// A failure before any node was asked.
const fn failed(error: RequestError) -> ClosestError {
    ClosestError { error, attempts: Vec::new() }
}

impl Cancellable for ClosestId {
    fn cancel(self, shared: &Arc<ClientShared>) {
        shared.cancel_closest(self);
    }

    fn expire(self, shared: &Arc<ClientShared>) {
        shared.expire_closest(self);
    }
}
