//! What the handle of a node asks of its event loop.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use futures::channel::oneshot;
use libp2p_core::Multiaddr;
use libp2p_core::multiaddr::Protocol;
use libp2p_identity::PeerId;
use pointsub_core::network::Change;

use super::listening::Waiting;
use super::{EventLoop, peer_of, relay_of};
use crate::node::addresses::multiaddr::{self, is_relayed};
use crate::node::dialing::Connect;
use crate::node::peers::{PeerConnection, PeerInfo};
use crate::node::steering::{AddressSource, PeerAddress};
use crate::node::{ConnectError, ListenFailure, NodeError};

#[derive(Debug)]
pub(in crate::node) enum Command {
    Connect {
        address: Multiaddr,
        done: oneshot::Sender<Result<PeerId, ConnectError>>,
    },
    Disconnect {
        peer: PeerId,
        done: oneshot::Sender<bool>,
    },
    AddAddress {
        peer: PeerId,
        address: Multiaddr,
        source: AddressSource,
        done: oneshot::Sender<()>,
    },
    KnownAddresses {
        peer: PeerId,
        done: oneshot::Sender<Vec<PeerAddress>>,
    },
    SaveAddresses {
        path: PathBuf,
        done: oneshot::Sender<io::Result<()>>,
    },
    Connections {
        done: oneshot::Sender<Vec<PeerConnection>>,
    },
    NetworkChanged {
        done: oneshot::Sender<()>,
    },
    Listen {
        address: Multiaddr,
        done: Waiting,
    },
    Unlisten {
        address: Multiaddr,
        done: oneshot::Sender<bool>,
    },
    Addresses {
        done: oneshot::Sender<Vec<Multiaddr>>,
    },
    ExternalAddresses {
        done: oneshot::Sender<Vec<Multiaddr>>,
    },
    Peers {
        done: oneshot::Sender<Vec<PeerInfo>>,
    },
    /// Answered with the number of connections that had to be cut.
    Shutdown {
        within: Duration,
        done: oneshot::Sender<usize>,
    },
}

impl EventLoop {
    pub(super) fn on_command(&mut self, command: Command) {
        match command {
            Command::Connect { address, done } => self.connect(address, done),
            Command::Disconnect { peer, done } => self.disconnect(peer, done),
            Command::AddAddress { peer, address, source, done } => {
                self.swarm.behaviour_mut().pointsub.named(peer, &address, source.into());
                let _gone = done.send(());
            }
            Command::KnownAddresses { peer, done } => {
                let known = self.swarm.behaviour().pointsub.known(peer);
                let _gone = done.send(known.into_iter().map(PeerAddress::from).collect());
            }
            Command::SaveAddresses { path, done } => self.save_addresses(path, Some(done)),
            Command::Connections { done } => {
                let _gone = done.send(self.peers.connections());
            }
            Command::NetworkChanged { done } => {
                self.on_change(Change::Network);
                let _gone = done.send(());
            }
            Command::Listen { address, done } => {
                if let Err((done, error)) = self.listen_on(address, Some(done))
                    && let Some(done) = done
                {
                    let _gone = done.send(Err(error));
                }
            }
            Command::Unlisten { address, done } => {
                let _gone = done.send(self.unlisten(&address));
            }
            Command::Addresses { done } => {
                let _gone = done.send(self.with_peer(self.swarm.listeners()));
            }
            Command::ExternalAddresses { done } => {
                let _gone = done.send(self.with_peer(self.swarm.external_addresses()));
            }
            Command::Peers { done } => {
                let _gone = done.send(self.peers.infos());
            }
            Command::Shutdown { .. } => {}
        }
    }

    /// Begins to listen. Who waits for it is given back if that is not possible.
    pub(super) fn listen_on(
        &mut self,
        address: Multiaddr,
        waiting: Option<Waiting>,
    ) -> Result<(), (Option<Waiting>, NodeError)> {
        if let Some(relay) = relay_of(&address) {
            self.swarm.behaviour_mut().pointsub.watch(relay);
        }
        match self.swarm.listen_on(address.clone()) {
            Ok(id) => {
                if is_relayed(&address) {
                    self.reservations.want(multiaddr::to_core(&address), id);
                }
                self.listening.add(id, address, waiting);
                Ok(())
            }
            Err(error) => {
                let reason = ListenFailure::of_transport(&error);
                Err((waiting, NodeError::Listen { address, reason }))
            }
        }
    }

    fn unlisten(&mut self, address: &Multiaddr) -> bool {
        let mut address = address.clone();
        if peer_of(&address) == Some(*self.swarm.local_peer_id()) && !is_relayed(&address) {
            address.pop();
        }
        let found = self.listening.find(&address);
        // A relay may be resting, without a listener.
        let asked = found.as_ref().map_or(&address, |(_, asked)| asked);
        let wanted = self.reservations.forget(&multiaddr::to_core(asked));
        let removed = found.is_some_and(|(id, _)| {
            // Here and now: that it has closed is told later.
            self.listening.closed(id);
            self.swarm.remove_listener(id)
        });
        wanted || removed
    }

    fn connect(&mut self, address: Multiaddr, done: oneshot::Sender<Result<PeerId, ConnectError>>) {
        let peer = peer_of(&address);
        let own = self.swarm.listeners().any(|own| *own == address);
        if own || peer == Some(*self.swarm.local_peer_id()) {
            let _gone = done.send(Err(ConnectError::SelfDial));
            return;
        }
        self.swarm.behaviour_mut().pointsub.connect(peer, Connect { address, done });
    }

    fn disconnect(&mut self, peer: PeerId, done: oneshot::Sender<bool>) {
        match self.swarm.disconnect_peer_id(peer) {
            Ok(()) => self.disconnecting.entry(peer).or_default().push(done),
            Err(()) => drop(done.send(false)),
        }
    }

    /// Addresses, each with the node's peer id.
    pub(super) fn with_peer<'a>(
        &self,
        addresses: impl Iterator<Item = &'a Multiaddr>,
    ) -> Vec<Multiaddr> {
        addresses.map(|address| with_peer(address, *self.swarm.local_peer_id())).collect()
    }
}

/// An address with a peer id at its end. One at a relay has it already.
pub(super) fn with_peer(address: &Multiaddr, peer: PeerId) -> Multiaddr {
    let has_it = address.iter().last() == Some(Protocol::P2p(peer));
    if has_it { address.clone() } else { address.clone().with(Protocol::P2p(peer)) }
}
