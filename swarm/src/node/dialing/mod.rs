//! Carries out the dials that the network machine orders.
//!
//! libp2p would dial all addresses of a peer as one thing: it begins their time limits together,
//! gives up all of them if somebody else answers at one, and takes none in while it is at work. So
//! each address is a dial of its own here.

pub(crate) mod reason;

use std::collections::HashMap;

use futures::channel::oneshot;
use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use libp2p_swarm::ConnectionId;
use libp2p_swarm::dial_opts::{DialOpts, PeerCondition};
use pointsub_core::network::{AttemptId, ConnectFailure, ConnectId, Place, Target};
use thiserror::Error;

use super::ConnectError;
use super::addresses::multiaddr;
use crate::peer;

/// There is a connection to the peer already, which was dialled from here.
#[derive(Debug, Error)]
#[error("there is a connection to the peer already")]
pub(crate) struct Surplus(pub(crate) PeerId);

/// Somebody who has called `connect`.
#[derive(Debug)]
pub(crate) struct Connect {
    pub(crate) address: Multiaddr,
    pub(crate) done: oneshot::Sender<Result<PeerId, ConnectError>>,
}

/// All who have called `connect` and wait.
#[derive(Debug, Default)]
pub(crate) struct Connects {
    waiting: HashMap<ConnectId, Connect>,
    /// How many may wait before those are looked for who do not any more.
    sweep_at: usize,
}

impl Connects {
    pub(crate) fn insert(&mut self, id: ConnectId, connect: Connect) {
        self.waiting.insert(id, connect);
    }

    pub(crate) fn succeed(&mut self, id: ConnectId, peer: PeerId) {
        if let Some(connect) = self.waiting.remove(&id) {
            let _gone = connect.done.send(Ok(peer));
        }
    }

    pub(crate) fn fail(&mut self, id: ConnectId, why: &ConnectFailure) {
        if let Some(Connect { address, done }) = self.waiting.remove(&id) {
            let _gone = done.send(Err(reason::of_connect(address, why)));
        }
    }

    /// Forgets those who do not wait any more, when so many have come that it is worth a look.
    pub(crate) fn sweep(&mut self) -> Vec<ConnectId> {
        if self.waiting.len() <= self.sweep_at {
            return Vec::new();
        }
        let gone = self.waiting.extract_if(|_, connect| connect.done.is_canceled());
        let gone = gone.map(|(id, _)| id).collect();
        self.sweep_at = 2 * self.waiting.len();
        gone
    }
}

/// The dials that are under way, by the connection that each is to become.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    attempts: HashMap<ConnectionId, (AttemptId, Place)>,
}

impl Attempts {
    /// What libp2p is to be told to do. From a port of its own: if two peers dial each other at once
    /// from the ports they listen on, TCP makes one connection of it, on which both believe to have
    /// dialled.
    pub(crate) fn begin(&mut self, attempt: AttemptId, target: Target, place: Place) -> DialOpts {
        let opts = match (target, &place) {
            (Target::Peer(peer), place) => {
                // Even if somebody else is dialling the peer: a hole that is being punched, for one,
                // takes long to fail.
                let opts = DialOpts::peer_id(peer::to_libp2p(&peer));
                let opts = opts.condition(PeerCondition::Always);
                match place {
                    Place::At(address) => {
                        let addresses = vec![multiaddr::to_libp2p(address)];
                        opts.addresses(addresses).allocate_new_port().build()
                    }
                    Place::Elsewhere => opts.allocate_new_port().build(),
                }
            }
            (Target::Address(address), _) => {
                let address = multiaddr::to_libp2p(&address);
                DialOpts::unknown_peer_id().address(address).allocate_new_port().build()
            }
        };
        self.attempts.insert(opts.connection_id(), (attempt, place));
        opts
    }

    pub(crate) fn get(&self, connection: ConnectionId) -> Option<AttemptId> {
        self.attempts.get(&connection).map(|(attempt, _)| *attempt)
    }

    /// The dial is over.
    pub(crate) fn end(&mut self, connection: ConnectionId) -> Option<(AttemptId, Place)> {
        self.attempts.remove(&connection)
    }
}
