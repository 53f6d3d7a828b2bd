//! The endpoint sets of a client: the servers of each protocol, and how to choose among them.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use hashbrown::HashSet;

use crate::endpoint::closest::{
    AddNodeError, Attempt, NearFirst, Node, Nodes, Selection, Strategy,
};
use crate::error::{Cause, RequestError, StatusCode};
use crate::hash::FixedState;
use crate::id::{PeerId, ProtocolName};
use crate::network::candidates::Source;
use crate::time::Timestamp;

/// The nodes of every protocol, and how to choose among them.
#[derive(Debug)]
pub(crate) struct EndpointSets {
    local: Option<PeerId>,
    nodes: BTreeMap<ProtocolName, Nodes>,
    /// Protocols of which the application has ever named a server.
    named: BTreeSet<ProtocolName>,
    strategy: Arc<dyn Strategy>,
    /// Of protocols that have one of their own.
    strategies: BTreeMap<ProtocolName, Arc<dyn Strategy>>,
    /// Peers with a connection; `None` until the first was ever reported.
    online: Option<HashSet<PeerId, FixedState>>,
    /// No attempt was ever numbered from here on: what is reported late of a protocol whose nodes
    /// were all removed must not be taken for news of those added since.
    unused_from: u64,
}

impl EndpointSets {
    /// No nodes. `local` is the own peer, which cannot be one.
    pub(crate) fn new(local: Option<PeerId>) -> Self {
        Self {
            local,
            nodes: BTreeMap::new(),
            named: BTreeSet::new(),
            strategy: Arc::new(NearFirst),
            strategies: BTreeMap::new(),
            online: None,
            unused_from: 0,
        }
    }

    pub(crate) fn add(
        &mut self,
        protocol: &ProtocolName,
        peer: PeerId,
        now: Timestamp,
    ) -> Result<bool, AddNodeError> {
        if self.named.insert(protocol.clone()) {
            self.remove_connected(protocol.as_str());
        }
        self.add_by(protocol, &peer, |nodes| nodes.add(peer, now))
    }

    /// A server was found. Peers that have connected for another reason count as long as the application
    /// has never named a server: once it has, it knows whom it wants. Whether it is a node now that was
    /// none.
    pub(crate) fn add_found(
        &mut self,
        protocol: &ProtocolName,
        peer: PeerId,
        source: Source,
        now: Timestamp,
    ) -> bool {
        if source == Source::Connected && self.named.contains(protocol) {
            return false;
        }
        self.add_by(protocol, &peer, |nodes| nodes.add_found(peer, source, now)) == Ok(true)
    }

    /// A server that was found is none any more. One that the application has named stays.
    pub(crate) fn remove_found(&mut self, protocol: &str, peer: &PeerId) -> bool {
        let node = self.nodes.get(protocol).and_then(|nodes| nodes.get(peer));
        node.is_some_and(|node| node.source() != Source::Manual) && self.remove(protocol, peer)
    }

    /// When a node of a protocol was asked last.
    pub(crate) fn last_asked(&self, protocol: &str) -> Option<Timestamp> {
        self.nodes.get(protocol)?.last_asked
    }

    /// Whether the application has ever named a server.
    pub(crate) fn is_named(&self, protocol: &str) -> bool {
        self.named.contains(protocol)
    }

    fn remove_connected(&mut self, protocol: &str) {
        let connected = self.nodes(protocol).filter(|node| node.source() == Source::Connected);
        let connected: Vec<PeerId> = connected.map(|node| *node.peer()).collect();
        connected.iter().for_each(|peer| _ = self.remove(protocol, peer));
    }

    fn add_by(
        &mut self,
        protocol: &ProtocolName,
        peer: &PeerId,
        add: impl FnOnce(&mut Nodes) -> Result<bool, AddNodeError>,
    ) -> Result<bool, AddNodeError> {
        let (unused_from, local) = (self.unused_from, self.local);
        let new = || Nodes::numbered_from(unused_from, local);
        let nodes = self.nodes.entry(protocol.clone()).or_insert_with(new);
        let added = add(nodes);
        if added == Ok(true)
            && let Some(online) = &self.online
        {
            nodes.set_online(peer, online.contains(peer));
        }
        self.forget_if_empty(protocol.as_str());
        added
    }

    pub(crate) fn remove(&mut self, protocol: &str, peer: &PeerId) -> bool {
        let removed = self.nodes.get_mut(protocol).is_some_and(|nodes| nodes.remove(peer));
        self.forget_if_empty(protocol);
        removed
    }

    pub(crate) fn clear(&mut self, protocol: &str) {
        if let Some(nodes) = self.nodes.get_mut(protocol) {
            nodes.clear();
        }
        self.forget_if_empty(protocol);
    }

    fn forget_if_empty(&mut self, protocol: &str) {
        if self.nodes.get(protocol).is_some_and(Nodes::is_empty)
            && let Some(empty) = self.nodes.remove(protocol)
        {
            self.unused_from = self.unused_from.max(empty.unused_from());
        }
    }

    /// The nodes of a protocol, in the order in which they were added.
    pub(crate) fn nodes(&self, protocol: &str) -> impl Iterator<Item = &Node> + use<'_> {
        self.nodes.get(protocol).into_iter().flat_map(Nodes::iter)
    }

    /// The nodes of all protocols.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Node> + use<'_> {
        self.nodes.values().flat_map(Nodes::iter)
    }

    /// The name of a protocol that has nodes.
    pub(crate) fn name(&self, protocol: &str) -> Option<&ProtocolName> {
        self.nodes.get_key_value(protocol).map(|(name, _)| name)
    }

    pub(crate) fn has_available(&self, protocol: &str, now: Timestamp) -> bool {
        self.nodes.get(protocol).is_some_and(|nodes| nodes.has_available(now))
    }

    pub(crate) fn strategy(&self, protocol: &ProtocolName) -> &Arc<dyn Strategy> {
        self.strategies.get(protocol).unwrap_or(&self.strategy)
    }

    pub(crate) fn set_protocol_strategy(
        &mut self,
        protocol: ProtocolName,
        strategy: Arc<dyn Strategy>,
    ) -> Option<Arc<dyn Strategy>> {
        self.strategies.insert(protocol, strategy)
    }

    pub(crate) fn set_strategy(&mut self, strategy: Arc<dyn Strategy>) -> Arc<dyn Strategy> {
        core::mem::replace(&mut self.strategy, strategy)
    }

    pub(crate) fn set_online(&mut self, peer: PeerId, online: bool) {
        let known = self.online.get_or_insert_default();
        let first = known.is_empty();
        if online {
            known.insert(peer);
        } else {
            known.remove(&peer);
        }
        for nodes in self.nodes.values_mut() {
            if first {
                nodes.set_all_offline();
            }
            nodes.set_online(&peer, online);
        }
    }

    /// A server has told its load.
    pub(crate) fn set_load(
        &mut self,
        protocol: &ProtocolName,
        peer: &PeerId,
        load: u16,
        now: Timestamp,
    ) {
        if let Some(nodes) = self.nodes.get_mut(protocol) {
            nodes.set_load(peer, load, now);
        }
    }

    /// What the strategy chooses next, which is pure.
    pub(crate) fn next(
        &mut self,
        protocol: &ProtocolName,
        selection: &mut Selection,
        now: Timestamp,
    ) -> Option<PeerId> {
        let nodes = self.nodes.get_mut(protocol)?;
        nodes.refresh(now);
        let strategy = self.strategies.get(protocol).unwrap_or(&self.strategy);
        selection.next(nodes, &**strategy, now)
    }

    /// The nodes that a selection may still name.
    pub(crate) fn offered(
        &self,
        protocol: &ProtocolName,
        selection: &Selection,
        now: Timestamp,
    ) -> Vec<Node> {
        selection.offered(self.nodes(protocol.as_str()), now).cloned().collect()
    }

    /// Whether a selection may still name this node.
    pub(crate) fn is_offered(
        &self,
        protocol: &ProtocolName,
        peer: &PeerId,
        selection: &Selection,
        now: Timestamp,
    ) -> bool {
        let node = self.nodes.get(protocol).and_then(|nodes| nodes.get(peer));
        selection.offered(node.into_iter(), now).next().is_some()
    }

    /// A node is asked. `None` if it is none any more.
    pub(crate) fn begin(
        &mut self,
        protocol: &ProtocolName,
        peer: &PeerId,
        now: Timestamp,
    ) -> Option<Attempt> {
        self.nodes.get_mut(protocol)?.begin(peer, now)
    }

    /// A node has answered.
    pub(crate) fn succeeded(&mut self, protocol: &ProtocolName, attempt: Attempt, now: Timestamp) {
        if let Some(nodes) = self.nodes.get_mut(protocol) {
            nodes.succeeded(attempt, now);
        }
    }

    /// A call has waited so long for a node.
    pub(crate) fn note_wait(&mut self, protocol: &ProtocolName, waited: Duration) {
        if let Some(nodes) = self.nodes.get_mut(protocol) {
            nodes.waits.note(waited);
        }
    }

    /// How long this part of the calls wait at most, in thousandths; `None` before it is known.
    pub(crate) fn wait(&self, protocol: &ProtocolName, thousandths: u16) -> Option<Duration> {
        self.nodes.get(protocol)?.waits.quantile(thousandths)
    }

    /// A node was asked in vain, which says nothing about it.
    pub(crate) fn given_up(&mut self, protocol: &ProtocolName, attempt: Attempt, now: Timestamp) {
        if let Some(nodes) = self.nodes.get_mut(protocol) {
            nodes.given_up(attempt, now);
        }
    }

    /// A node has failed.
    pub(crate) fn failed(
        &mut self,
        protocol: &ProtocolName,
        attempt: Attempt,
        error: &RequestError,
        now: Timestamp,
    ) {
        if let Some(nodes) = self.nodes.get_mut(protocol) {
            judge(nodes, attempt, error, now);
        }
    }
}

/// What a failure says about the node's health.
fn judge(nodes: &mut Nodes, attempt: Attempt, error: &RequestError, now: Timestamp) {
    match &error.cause {
        // Our own doing.
        Cause::Refused(_) | Cause::Cancelled | Cause::Closed => nodes.given_up(attempt, now),
        Cause::Deadline => nodes.unanswered(attempt, now),
        Cause::Remote(status) => match status.code {
            StatusCode::NotFound | StatusCode::Internal | StatusCode::Draining => {
                nodes.failed(attempt, now);
            }
            // Busy is no fault: the load decides how often such a node is asked.
            StatusCode::Busy => nodes.busy(attempt, now),
            // A server that lacks one method is as good as others for those that it has.
            StatusCode::DeadlineExceeded | StatusCode::Cancelled | StatusCode::Unimplemented => {
                let peer = *attempt.peer();
                nodes.heard(&peer, now);
                nodes.given_up(attempt, now);
            }
            _ => nodes.erred(attempt, now),
        },
        // It is well, and accepts less.
        Cause::CutShort { .. } => nodes.given_up(attempt, now),
        Cause::TimedOut(_)
        | Cause::Unreachable(_)
        | Cause::NoAddress
        | Cause::NoServerFound { .. }
        | Cause::Unsupported
        | Cause::Lost(_)
        | Cause::RelayLost(_)
        | Cause::RemoteClosed
        | Cause::Violation(_)
        | Cause::Body(_) => nodes.failed(attempt, now),
    }
}
