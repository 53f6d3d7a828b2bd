//! Where requests go: peers, and one route for each protocol that is used with a peer.

use alloc::vec::Vec;

use hashbrown::Equivalent;
use slotmap::new_key_type;

use super::dispatch::{Dispatcher, Timer};
use super::queue::Queue;
use crate::error::SendError;
use crate::id::{PeerId, ProtocolName, StreamId};
use crate::time::Timestamp;

new_key_type! {
    pub(super) struct RouteKey;
    pub(super) struct PeerKey;
}

/// What one peer's connection carries for us, over all protocols.
#[derive(Debug)]
pub(super) struct PeerUse {
    pub(super) id: PeerId,
    pub(super) routes: Vec<RouteKey>,
    /// Streams that exist, whatever their state.
    pub(super) streams: usize,
    /// Of those, streams without a request.
    pub(super) idle: usize,
    /// Of those, streams about to be gone.
    pub(super) leaving: usize,
    /// Of those, streams that carry a large body now.
    pub(super) bulk: usize,
    /// A plain stream that has answered once, and is watched for whether the peer keeps it.
    pub(super) probe: Option<StreamId>,
}

/// All that goes to one peer under one protocol.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) peer: PeerKey,
    pub(super) name: RouteName,
    /// Streams that may take requests, oldest first. The oldest that can take a request gets it,
    /// so that surplus streams fall idle and expire.
    pub(super) streams: Vec<StreamId>,
    pub(super) opening: usize,
    /// Streams about to be gone, whose last requests may come back here.
    pub(super) leaving: usize,
    /// An open has failed; none is tried until then.
    pub(super) rests_until: Option<Timestamp>,
    /// Requests that rest until they are tried again.
    pub(super) resting: usize,
    /// Listed among the routes that `max_total_conns` keeps waiting.
    pub(super) starved: bool,
    pub(super) small: Queue,
    pub(super) bulk: Queue,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct RouteName {
    pub(super) peer: PeerId,
    pub(super) protocol: ProtocolName,
}

/// A [`RouteName`] to look for.
#[derive(Hash)]
pub(super) struct RouteRef<'a> {
    pub(super) peer: &'a PeerId,
    pub(super) protocol: &'a str,
}

impl Equivalent<RouteName> for RouteRef<'_> {
    fn equivalent(&self, key: &RouteName) -> bool {
        *self.peer == key.peer && self.protocol == key.protocol.as_str()
    }
}

impl Dispatcher {
    pub(super) fn route(&mut self, peer: &PeerId, protocol: &str) -> Result<RouteKey, SendError> {
        if let Some(key) = self.by_name.get(&RouteRef { peer, protocol }) {
            return Ok(*key);
        }
        let name = RouteName { peer: *peer, protocol: ProtocolName::new(protocol)? };
        let peer = self.peer(peer);
        let key = self.routes.insert(Route {
            peer,
            name: name.clone(),
            streams: Vec::new(),
            opening: 0,
            leaving: 0,
            rests_until: None,
            resting: 0,
            starved: false,
            small: Queue::default(),
            bulk: Queue::default(),
        });
        self.peers[peer].routes.push(key);
        self.by_name.insert(name, key);
        Ok(key)
    }

    pub(super) fn peer(&mut self, peer: &PeerId) -> PeerKey {
        let unused = PeerUse {
            id: *peer,
            routes: Vec::new(),
            streams: 0,
            idle: 0,
            leaving: 0,
            bulk: 0,
            probe: None,
        };
        let peers = &mut self.peers;
        *self.by_peer.entry(*peer).or_insert_with(|| peers.insert(unused))
    }

    /// Forgets a route on which nothing is and nothing waits.
    pub(super) fn forget_if_unused(&mut self, key: RouteKey) {
        let unused = self.routes.get(key).is_some_and(|route| {
            route.streams.is_empty()
                && route.opening == 0
                && route.leaving == 0
                && route.resting == 0
                && route.small.live + route.bulk.live == 0
        });
        if unused && let Some(route) = self.routes.remove(key) {
            if let Some(until) = route.rests_until {
                self.timers.remove(&(until, Timer::Rest(key)));
            }
            if route.starved {
                self.starved.retain(|listed| *listed != key);
            }
            self.by_name.remove(&route.name);
            if let Some(peer) = self.peers.get_mut(route.peer) {
                peer.routes.retain(|known| *known != key);
            }
            self.forget_peer_if_unused(route.peer);
        }
    }

    pub(super) fn forget_peer_if_unused(&mut self, key: PeerKey) {
        let unused = |peer: &PeerUse| peer.routes.is_empty() && peer.streams == 0;
        if self.peers.get(key).is_some_and(unused)
            && let Some(peer) = self.peers.remove(key)
        {
            self.by_peer.remove(&peer.id);
        }
    }
}
