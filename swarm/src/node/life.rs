//! The swarm of a node, and the task that polls it.

use std::collections::HashMap;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use futures::channel::{mpsc, oneshot};
use futures::future::select;
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
use libp2p_swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p_swarm::{ConnectionId, DialError, NetworkBehaviour, Swarm, SwarmEvent};

use super::ConnectError;
use crate::RelayConfig;
use crate::autonat;
use crate::behaviour::Behaviour;

/// How long connections may take to be closed when their node is shut down.
const DISCONNECTING: Duration = Duration::from_secs(2);

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
        let identify = identify::Config::new("/pointsub/1".into(), key);
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
    Shutdown { done: oneshot::Sender<()> },
}

/// The task that polls the swarm for as long as the node lives.
pub(super) struct Life {
    swarm: Swarm<Parts>,
    inbox: mpsc::Receiver<Command>,
    connecting: HashMap<ConnectionId, Connecting>,
}

struct Connecting {
    address: Multiaddr,
    done: oneshot::Sender<Result<PeerId, ConnectError>>,
}

impl Life {
    pub(super) fn new(swarm: Swarm<Parts>, inbox: mpsc::Receiver<Command>) -> Self {
        Self { swarm, inbox, connecting: HashMap::new() }
    }

    pub(super) async fn run(mut self) {
        loop {
            futures::select! {
                event = self.swarm.select_next_some() => self.on_event(event),
                command = self.inbox.next() => match command {
                    Some(Command::Shutdown { done }) => {
                        self.disconnect().await;
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

    /// Closes all connections. Otherwise the tasks that have them would do so later, when perhaps
    /// nothing runs any more, and the peers wait for answers that never come.
    async fn disconnect(&mut self) {
        for peer in Vec::from_iter(self.swarm.connected_peers().copied()) {
            let _gone = self.swarm.disconnect_peer_id(peer);
        }
        let gone = async {
            while self.swarm.connected_peers().next().is_some() {
                self.swarm.select_next_some().await;
            }
        };
        select(pin!(gone), Delay::new(DISCONNECTING)).await;
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
        let opts = match peer {
            Some(peer) => {
                self.swarm.behaviour_mut().pointsub.add_address(peer, address.clone());
                if self.swarm.is_connected(&peer) {
                    let _gone = done.send(Ok(peer));
                    return;
                }
                let opts = DialOpts::peer_id(peer).addresses(vec![address.clone()]);
                opts.condition(PeerCondition::Always).allocate_new_port().build()
            }
            None => {
                let opts = DialOpts::unknown_peer_id().address(address.clone());
                opts.allocate_new_port().build()
            }
        };
        let id = opts.connection_id();
        match self.swarm.dial(opts) {
            Ok(()) => {
                self.connecting.insert(id, Connecting { address, done });
            }
            Err(error) => drop(done.send(Err(dial_error(address, &error)))),
        }
    }

    fn on_event(&mut self, event: SwarmEvent<PartsEvent>) {
        match event {
            SwarmEvent::ConnectionEstablished { connection_id, peer_id, .. } => {
                if let Some(connecting) = self.connecting.remove(&connection_id) {
                    let pointsub = &mut self.swarm.behaviour_mut().pointsub;
                    pointsub.add_address(peer_id, connecting.address);
                    let _gone = connecting.done.send(Ok(peer_id));
                }
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                if let Some(Connecting { address, done }) = self.connecting.remove(&connection_id) {
                    let error = dial_error(address, &error);
                    let _gone = done.send(Err(error));
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

fn dial_error(address: Multiaddr, error: &DialError) -> ConnectError {
    match error {
        DialError::LocalPeerId { .. } => ConnectError::SelfDial,
        error => ConnectError::Unreachable { address, reason: error.to_string() },
    }
}
