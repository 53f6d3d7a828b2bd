//! Where a node listens.

use std::collections::HashMap;

use futures::channel::oneshot;
use libp2p_core::Multiaddr;
use libp2p_core::transport::ListenerId;

use crate::node::NodeError;

/// Who has called `listen`.
pub(super) type Waiting = oneshot::Sender<Result<Multiaddr, NodeError>>;

/// What was asked for, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Listening(HashMap<ListenerId, Listener>);

#[derive(Debug)]
struct Listener {
    /// As the application named it.
    asked: Multiaddr,
    /// As the transport did.
    at: Vec<Multiaddr>,
    waiting: Option<Waiting>,
}

impl Listening {
    pub(super) fn add(&mut self, id: ListenerId, asked: Multiaddr, waiting: Option<Waiting>) {
        self.0.insert(id, Listener { asked, at: Vec::new(), waiting });
    }

    /// A listener has a further address. Returns who waits for its first.
    pub(super) fn up(&mut self, id: ListenerId, address: &Multiaddr) -> Option<Waiting> {
        let listener = self.0.get_mut(&id)?;
        listener.at.push(address.clone());
        listener.waiting.take()
    }

    /// A listener has one address less.
    pub(super) fn expired(&mut self, id: ListenerId, address: &Multiaddr) {
        if let Some(listener) = self.0.get_mut(&id) {
            listener.at.retain(|one| one != address);
        }
    }

    /// A listener has ended. Returns what it was to listen at, and who waits for it.
    pub(super) fn closed(&mut self, id: ListenerId) -> Option<(Multiaddr, Option<Waiting>)> {
        self.0.remove(&id).map(|listener| (listener.asked, listener.waiting))
    }

    /// The listener of an address, as the application named it or as the transport did.
    pub(super) fn find(&self, address: &Multiaddr) -> Option<(ListenerId, Multiaddr)> {
        let is_it =
            |listener: &Listener| listener.asked == *address || listener.at.contains(address);
        let found = self.0.iter().find(|(_, listener)| is_it(listener));
        found.map(|(id, listener)| (*id, listener.asked.clone()))
    }
}
