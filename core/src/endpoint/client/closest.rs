//! Calls that go to the closest of several nodes: who the nodes are, and what callers see.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use hashbrown::HashSet;
use thiserror::Error;

use super::directive::CallOptions;
use super::dispatch::Dispatcher;
use super::route::RouteKey;
use crate::endpoint::closest::{NodeError, Nodes, Strategy, Weighted};
use crate::error::RequestError;
use crate::hash::FixedState;
use crate::id::{PeerId, ProtocolName};
use crate::time::Timestamp;
use crate::wire::compress::Payload;

pub(super) use super::failover::Search;

/// How one call to the closest node differs from others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ClosestOptions {
    /// The deadline of the call with all its tries, and whether a second node may be asked when
    /// the first may have executed the request.
    pub call: CallOptions,
    /// Nodes that are not asked.
    pub exclude: Vec<PeerId>,
    /// Whether further nodes are asked while one takes long to answer. Default: no.
    pub hedge: Option<Hedge>,
}

impl ClosestOptions {
    /// Sets deadline and idempotence.
    #[must_use]
    pub const fn with_call(mut self, call: CallOptions) -> Self {
        self.call = call;
        self
    }

    /// Sets the nodes that are not asked.
    #[must_use]
    pub fn with_exclude(mut self, exclude: Vec<PeerId>) -> Self {
        self.exclude = exclude;
        self
    }

    /// Sets whether further nodes are asked while one takes long to answer.
    #[must_use]
    pub const fn with_hedge(mut self, hedge: Hedge) -> Self {
        self.hedge = Some(hedge);
        self
    }
}

/// Asking further nodes while one takes long to answer, after gRPC's hedging (A6). The first
/// answer counts; the other nodes are told that theirs is not wanted.
///
/// Several nodes may execute the request, so that there is no hedging for calls that are not
/// idempotent; nor is there while the retry budget is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hedge {
    /// How long to wait for an answer before one more node is asked. Zero asks all at once.
    pub delay: Duration,
    /// How many more nodes are asked at most, over the whole call.
    pub max: u32,
}

impl Hedge {
    /// One more node after each `delay`, up to two: three in all, as many as the Go library asks.
    #[must_use]
    pub const fn after(delay: Duration) -> Self {
        Self { delay, max: 2 }
    }
}

/// The answer to a call to the closest node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closest {
    /// Who answered.
    pub node: PeerId,
    /// The answer, perhaps compressed.
    pub payload: Payload,
    /// Every node that was asked, in the order in which they were done.
    pub attempts: Vec<NodeAttempt>,
}

/// Why a call to the closest node failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no node answered, {} tried: {error}", attempts.len())]
#[non_exhaustive]
pub struct ClosestError {
    /// The last failure. Its delivery and number of attempts are those of the whole call. The text of
    /// this error has its text, so that it is not the source as well.
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

/// What came of asking one node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeOutcome {
    /// It gave the answer.
    Answered,
    /// It failed, or answered with a failure.
    Failed(RequestError),
    /// Another node was faster, or the call had failed already.
    Cancelled,
}

/// The nodes of every protocol, and how to choose among them.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) nodes: BTreeMap<ProtocolName, Nodes>,
    pub(super) strategy: Arc<dyn Strategy>,
    /// Peers with a connection; `None` until the first was ever reported.
    online: Option<HashSet<PeerId, FixedState>>,
    /// No attempt was ever numbered from here on: what is reported late of a protocol whose nodes
    /// were all removed must not be taken for news of those added since.
    unused_from: u64,
}

impl Default for Directory {
    fn default() -> Self {
        Self {
            nodes: BTreeMap::new(),
            strategy: Arc::new(Weighted::default()),
            online: None,
            unused_from: 0,
        }
    }
}

impl Dispatcher {
    /// Adds a server to those that [`send_closest`](Self::send_closest) chooses from. Returns
    /// `false`, and changes nothing, if it is there already.
    ///
    /// # Errors
    /// [`NodeError`] if it is the own peer, or one more than
    /// [`MAX_NODES`](crate::endpoint::closest::MAX_NODES) of a protocol.
    pub fn add_server_node(
        &mut self,
        protocol: &ProtocolName,
        peer: PeerId,
        now: Timestamp,
    ) -> Result<bool, NodeError> {
        self.now = self.now.max(now);
        let Directory { nodes, online, unused_from, .. } = &mut self.directory;
        let new = || Nodes::numbered_from(*unused_from, self.local);
        let nodes = nodes.entry(protocol.clone()).or_insert_with(new);
        let added = nodes.add(peer, self.now);
        if added == Ok(true)
            && let Some(online) = online
        {
            nodes.set_online(&peer, online.contains(&peer));
        }
        self.forget_if_empty(protocol.as_str());
        added
    }

    /// Removes a server and what is known of it. Returns `false` if it is not there. Requests that
    /// it has are not affected.
    pub fn remove_server_node(&mut self, protocol: &str, peer: &PeerId) -> bool {
        let nodes = self.directory.nodes.get_mut(protocol);
        let removed = nodes.is_some_and(|nodes| nodes.remove(peer));
        self.forget_if_empty(protocol);
        removed
    }

    /// The servers of a protocol and what is known of each, in the order in which they were added.
    pub fn server_nodes(
        &self,
        protocol: &str,
    ) -> impl Iterator<Item = &crate::endpoint::closest::Node> + use<'_> {
        self.directory.nodes.get(protocol).into_iter().flat_map(Nodes::iter)
    }

    /// Removes all servers of a protocol.
    pub fn clear_server_nodes(&mut self, protocol: &str) {
        if let Some(nodes) = self.directory.nodes.get_mut(protocol) {
            nodes.clear();
        }
        self.forget_if_empty(protocol);
    }

    /// Whether a request can go to a server of the protocol.
    #[must_use]
    pub fn has_available_nodes(&self, protocol: &str, now: Timestamp) -> bool {
        let now = self.now.max(now);
        self.directory.nodes.get(protocol).is_some_and(|nodes| nodes.has_available(now))
    }

    /// Replaces the strategy that chooses among the nodes, and returns the one before. Default:
    /// [`Weighted`]. One that is not [pure](Strategy::is_pure) is asked by
    /// [`Directive::Ask`](crate::endpoint::Directive::Ask).
    pub fn set_strategy(&mut self, strategy: Arc<dyn Strategy>) -> Arc<dyn Strategy> {
        core::mem::replace(&mut self.directory.strategy, strategy)
    }

    /// Says whether there is a connection to a peer. Once a connection was ever reported, peers
    /// that were not count as offline.
    pub fn set_online(&mut self, peer: PeerId, online: bool) {
        let known = self.directory.online.get_or_insert_default();
        let first = known.is_empty();
        if online {
            known.insert(peer);
        } else {
            known.remove(&peer);
        }
        for nodes in self.directory.nodes.values_mut() {
            if first {
                nodes.set_all_offline();
            }
            nodes.set_online(&peer, online);
        }
    }

    /// A server has told its load.
    pub(super) fn note_load(&mut self, route: RouteKey, load: u16) {
        if let Some(route) = self.routes.get(route)
            && let Some(nodes) = self.directory.nodes.get_mut(&route.name.protocol)
        {
            nodes.set_load(&route.name.peer, load, self.now);
        }
    }

    fn forget_if_empty(&mut self, protocol: &str) {
        if self.directory.nodes.get(protocol).is_some_and(Nodes::is_empty)
            && let Some(empty) = self.directory.nodes.remove(protocol)
        {
            self.directory.unused_from = self.directory.unused_from.max(empty.unused_from());
        }
    }
}
