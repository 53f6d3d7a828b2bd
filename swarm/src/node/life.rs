//! The swarm of a node, and the task that polls it.

use std::time::Duration;

use futures::channel::{mpsc, oneshot};
use futures::{FutureExt, StreamExt};
use futures_timer::Delay;
use libp2p_connection_limits::{self as connection_limits, ConnectionLimits};
use libp2p_core::Multiaddr;
use libp2p_core::multiaddr::Protocol;
use libp2p_dcutr as dcutr;
use libp2p_identify as identify;
use libp2p_identity::{Keypair, PeerId};
use libp2p_ping as ping;
use libp2p_relay as relay;
use libp2p_swarm::behaviour::toggle::Toggle;
use libp2p_swarm::{NetworkBehaviour, Swarm, SwarmEvent};

use super::ConnectError;
use super::seen::Seen;
use crate::RelayConfig;
use crate::autonat;
use crate::behaviour::Behaviour;
use crate::dialing::Connect;

#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p_swarm::derive_prelude")]
pub(super) struct Parts {
    /// First, so that nothing else is asked about a connection that its limits refuse.
    limits: connection_limits::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    relayed: relay::client::Behaviour,
    relay: Toggle<relay::Behaviour>,
    dcutr: dcutr::Behaviour,
    reachable: autonat::Client,
    dial_back: autonat::Server,
    pointsub: Behaviour,
}

impl Parts {
    /// All that a node is made of, and the transport that leads through relays.
    pub(super) fn new(
        keypair: &Keypair,
        pointsub: Behaviour,
        relay: Option<RelayConfig>,
        limits: ConnectionLimits,
    ) -> (relay::client::Transport, Self) {
        let key = keypair.public();
        let peer = key.to_peer_id();
        let (circuits, relayed) = relay::client::new(peer);
        // What peers say of their addresses is kept by the book of addresses, and nowhere else.
        let identify = identify::Config::new("/pointsub/1".into(), key).with_cache_size(0);
        let parts = Self {
            limits: connection_limits::Behaviour::new(limits),
            identify: identify::Behaviour::new(identify.with_push_listen_addr_updates(true)),
            ping: ping::Behaviour::default(),
            relayed,
            relay: relay.map(|config| relay::Behaviour::new(peer, config)).into(),
            dcutr: dcutr::Behaviour::new(peer),
            reachable: autonat::Client::default(),
            dial_back: autonat::Server::default(),
            pointsub,
        };
        (circuits, parts)
    }
}

#[derive(Debug)]
pub(super) enum Command {
    Connect { address: Multiaddr, done: oneshot::Sender<Result<PeerId, ConnectError>> },
    AddAddress { peer: PeerId, address: Multiaddr, done: oneshot::Sender<()> },
    Addresses { done: oneshot::Sender<Vec<Multiaddr>> },
    ExternalAddresses { done: oneshot::Sender<Vec<Multiaddr>> },
    Shutdown { within: Duration, done: oneshot::Sender<()> },
}

/// The task that polls the swarm for as long as the node lives.
pub(super) struct Life {
    swarm: Swarm<Parts>,
    inbox: mpsc::Receiver<Command>,
    seen: Seen,
}

impl Life {
    pub(super) fn new(swarm: Swarm<Parts>, inbox: mpsc::Receiver<Command>) -> Self {
        Self { swarm, inbox, seen: Seen::default() }
    }

    pub(super) async fn run(mut self) {
        loop {
            futures::select! {
                event = self.swarm.select_next_some() => self.on_event(event),
                command = self.inbox.next() => match command {
                    Some(Command::Shutdown { within, done }) => {
                        self.close_all(within).await;
                        drop(self);
                        let _gone = done.send(());
                        return;
                    }
                    Some(command) => self.on_command(command),
                    None => return,
                },
            }
        }
    }

    /// Closes every connection, and waits until their peers have got everything.
    async fn close_all(&mut self, within: Duration) {
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            // An error says that it is gone already.
            let _gone = self.swarm.disconnect_peer_id(peer);
        }
        let mut limit = Delay::new(within).fuse();
        while self.swarm.connected_peers().next().is_some() {
            futures::select! {
                event = self.swarm.select_next_some() => {
                    if let SwarmEvent::ConnectionEstablished { connection_id, .. } = event {
                        self.swarm.close_connection(connection_id);
                    }
                }
                () = limit => return,
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Connect { address, done } => self.connect(address, done),
            Command::AddAddress { peer, address, done } => {
                self.swarm.behaviour_mut().pointsub.add_address(peer, address);
                let _gone = done.send(());
            }
            Command::Addresses { done } => {
                let _gone = done.send(self.with_peer(self.swarm.listeners()));
            }
            Command::ExternalAddresses { done } => {
                let _gone = done.send(self.with_peer(self.swarm.external_addresses()));
            }
            Command::Shutdown { .. } => {}
        }
    }

    /// Addresses, each with the node's peer id.
    fn with_peer<'a>(&self, addresses: impl Iterator<Item = &'a Multiaddr>) -> Vec<Multiaddr> {
        let peer = *self.swarm.local_peer_id();
        // An address at a relay ends in the peer id already.
        let with_peer =
            |address: &Multiaddr| address.clone().with_p2p(peer).unwrap_or_else(|address| address);
        addresses.map(with_peer).collect()
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

    fn on_event(&mut self, event: SwarmEvent<PartsEvent>) {
        match event {
            SwarmEvent::ConnectionEstablished { connection_id, endpoint, .. } => {
                self.seen.connected(connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { connection_id, .. } => self.seen.closed(connection_id),
            SwarmEvent::Behaviour(PartsEvent::Identify(identify::Event::Received {
                connection_id,
                peer_id,
                info,
            })) => {
                for address in self.seen.credible(connection_id, info.listen_addrs) {
                    self.swarm.behaviour_mut().pointsub.learn_address(peer_id, address);
                }
            }
            // With the relay's limits, which explain how such connections end.
            SwarmEvent::Behaviour(PartsEvent::Relayed(event)) => {
                tracing::debug!(?event);
            }
            SwarmEvent::Behaviour(event) => tracing::trace!(?event),
            _ => {}
        }
    }
}

fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last()? {
        Protocol::P2p(peer) => Some(peer),
        _ => None,
    }
}
