//! Requests that go to the closest of several servers.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use libp2p_identity::PeerId;
use pointsub_core::endpoint::closest::{AddNodeError, Node, Point, Strategy};
use pointsub_core::{ClosestId, ClosestOptions, Hedge, NodeOutcome, ProtocolName, RequestError};
use thiserror::Error;

use super::shared::ClientHub;
use super::{Client, InFlight, InHub, compresses, gone, inflate, options};
use crate::{compress, peer};

/// The answer to a [`Client::send_closest`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closest {
    /// The answer.
    pub body: Bytes,
    /// Who gave it.
    pub node: PeerId,
    /// Every node that was asked, in the order in which they were done.
    pub attempts: Vec<NodeAttempt>,
}

/// Why no node answered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no node answered, {} tried: {error}", attempts.len())]
#[non_exhaustive]
pub struct ClosestError {
    /// The last failure. Its delivery and number of attempts are those of the whole call.
    #[source]
    pub error: RequestError,
    /// Every node that was asked, in the order in which they were done.
    pub attempts: Vec<NodeAttempt>,
}

/// One node that was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeAttempt {
    /// Which node.
    pub node: PeerId,
    /// When it was asked, counted from the beginning of the call.
    pub after: Duration,
    /// How long it took until the outcome.
    pub took: Duration,
    /// What came of it.
    pub outcome: NodeOutcome,
}

/// What is known of one server that [`Client::send_closest`] chooses from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeInfo {
    /// Which server.
    pub node: PeerId,
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

impl Client {
    /// Adds a server to those that [`send_closest`](Self::send_closest) chooses from. Returns
    /// `false`, and changes nothing, if it is there already.
    ///
    /// # Errors
    /// [`AddNodeError`] if it is this peer itself, or one more than
    /// [`MAX_NODES`](pointsub_core::endpoint::closest::MAX_NODES) of a protocol.
    pub fn add_server_node(
        &self,
        protocol: &ProtocolName,
        node: PeerId,
    ) -> Result<bool, AddNodeError> {
        let (node, now) = (peer::to_core(&node), self.hub.clock.now());
        self.hub.with_dispatcher(|d| d.add_server_node(protocol, node, now))
    }

    /// Removes a server and what is known of it. Returns `false` if it is not there. Requests that
    /// it has are not affected.
    pub fn remove_server_node(&self, protocol: &ProtocolName, node: PeerId) -> bool {
        let node = peer::to_core(&node);
        self.hub.with_dispatcher(|d| d.remove_server_node(protocol.as_str(), &node))
    }

    /// The servers of a protocol, in the order in which they were added.
    #[must_use]
    pub fn server_nodes(&self, protocol: &ProtocolName) -> Vec<PeerId> {
        self.hub.with_dispatcher(|d| {
            d.server_nodes(protocol.as_str()).map(|node| peer::to_libp2p(node.peer())).collect()
        })
    }

    /// What is known of each of them.
    #[must_use]
    pub fn server_nodes_info(&self, protocol: &ProtocolName) -> Vec<NodeInfo> {
        let now = self.hub.clock.now();
        let info = |node: &Node| NodeInfo {
            node: peer::to_libp2p(node.peer()),
            online: node.online(),
            latency: node.latency(now),
            load: node.load(now),
            in_flight: node.in_flight(),
            failures: node.failures(),
            rests_for: node.backoff_until().map(|until| until.since(now)),
        };
        self.hub.with_dispatcher(|d| d.server_nodes(protocol.as_str()).map(info).collect())
    }

    /// Removes all servers of a protocol.
    pub fn clear_server_nodes(&self, protocol: &ProtocolName) {
        self.hub.with_dispatcher(|d| d.clear_server_nodes(protocol.as_str()));
    }

    /// Whether [`send_closest`](Self::send_closest) has somebody to send to.
    #[must_use]
    pub fn has_available_nodes(&self, protocol: &ProtocolName) -> bool {
        let now = self.hub.clock.now();
        self.hub.with_dispatcher(|d| d.has_available_nodes(protocol.as_str(), now))
    }

    /// Replaces the strategy that chooses among the servers, for all clones of this client.
    /// Default: [`Weighted`](pointsub_core::endpoint::closest::Weighted). It may use the client: no lock is held
    /// while it is asked.
    pub fn set_strategy(&self, strategy: impl Strategy + 'static) {
        // The one before is dropped without the lock.
        let _before = self.hub.with_dispatcher(|d| d.set_strategy(Arc::new(strategy)));
    }

    /// A request to the closest usable server of the protocol. Await it for the response; set
    /// options before.
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
    /// println!("{} answered after {} tries", answer.node, answer.attempts.len());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ClosestError`], with the last failure and every try.
    pub fn send_closest<'a>(
        &self,
        protocol: &'a ProtocolName,
        body: impl Into<Bytes>,
    ) -> ClosestCall<'a> {
        ClosestCall {
            hub: self.hub.clone(),
            protocol,
            body: body.into(),
            key: None,
            timeout: None,
            idempotent: true,
            options: ClosestOptions::default(),
        }
    }
}

/// A request that is not sent yet: [`Client::send_closest`]. Nothing happens until it is awaited.
#[derive(Debug)]
#[must_use = "a request is sent when it is awaited"]
pub struct ClosestCall<'a> {
    hub: Arc<ClientHub>,
    protocol: &'a ProtocolName,
    body: Bytes,
    key: Option<Point>,
    timeout: Option<Duration>,
    idempotent: bool,
    options: ClosestOptions,
}

impl ClosestCall<'_> {
    /// The longest time the whole call may take, with all tries and pauses. Without it, the
    /// client's own timeouts limit each try.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Whether executing the request twice does no harm. If `false`, another server is asked only
    /// after failures that surely left the request unprocessed, and there is no hedging. Default
    /// `true`.
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = idempotent;
        self
    }

    /// Servers that are not asked; may be called several times.
    pub fn exclude(mut self, nodes: impl IntoIterator<Item = PeerId>) -> Self {
        self.options.exclude.extend(nodes.into_iter().map(|node| peer::to_core(&node)));
        self
    }

    /// What the distance of servers is measured from. Default: the request's body, as in the Go
    /// library. Requests with the same key go to the same server as long as distance decides.
    pub fn key(mut self, key: &[u8]) -> Self {
        self.key = Some(Point::of_key(key));
        self
    }

    /// Asks further servers while one takes long to answer; the first answer counts, and the other
    /// servers are told that theirs is not wanted. Several of them may execute the request.
    pub fn hedge(mut self, hedge: Hedge) -> Self {
        self.options = self.options.with_hedge(hedge);
        self
    }
}

impl<'a> IntoFuture for ClosestCall<'a> {
    type Output = Result<Closest, ClosestError>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        send(self).boxed()
    }
}

async fn send(call: ClosestCall<'_>) -> Result<Closest, ClosestError> {
    let ClosestCall { hub, protocol, body, key, timeout, idempotent, options: closest } = call;
    let options = options(&hub, timeout, idempotent);
    let closest = closest.with_call(options);
    // Hashed and compressed here, on the caller's task.
    let key = key.unwrap_or_else(|| Point::of_key(&body));
    let body =
        if compresses(&hub, None, &body) { compress::deflate(body).await } else { body.into() };
    let sent = hub.send_closest(protocol.as_str(), key, body, closest);
    let (id, outcome) = sent.map_err(|error| failed(error.into()))?;
    let outcome = InFlight::new(hub, id, outcome, options.deadline).await;
    match outcome.ok_or_else(|| failed(gone()))? {
        Ok(answer) => {
            let attempts = attempts(answer.attempts);
            match inflate(answer.payload).await {
                Ok(body) => Ok(Closest { body, node: peer::to_libp2p(&answer.node), attempts }),
                Err(error) => Err(ClosestError { error, attempts }),
            }
        }
        Err(failure) => {
            let attempts = attempts(failure.attempts);
            Err(ClosestError { error: failure.error, attempts })
        }
    }
}

fn attempts(attempts: Vec<pointsub_core::NodeTry>) -> Vec<NodeAttempt> {
    let attempt = |attempt: pointsub_core::NodeTry| NodeAttempt {
        node: peer::to_libp2p(&attempt.node),
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

impl InHub for ClosestId {
    fn cancel(self, hub: &Arc<ClientHub>) {
        hub.cancel_closest(self);
    }

    fn expire(self, hub: &Arc<ClientHub>) {
        hub.expire_closest(self);
    }
}
