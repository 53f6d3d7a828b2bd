//! The swarm of a node, and the task that polls it.

pub(super) mod command;
mod listening;
mod relaying;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::task::Poll;
use std::time::Duration;

use futures::channel::{mpsc, oneshot};
use futures::future::poll_fn;
use futures::{FutureExt, StreamExt};
use libp2p_core::Multiaddr;
use libp2p_core::multiaddr::Protocol;
use libp2p_core::transport::ListenerId;
use libp2p_identify as identify;
use libp2p_identity::{Keypair, PeerId};
use libp2p_ping as ping;
#[cfg(feature = "kad")]
use libp2p_swarm::behaviour::toggle::Toggle;
use libp2p_swarm::{NetworkBehaviour, Swarm, SwarmEvent};
use pointsub_core::Timestamp;
use pointsub_core::network::{Change, RelayFinder, Reservations};

use self::command::{Command, with_peer};
use self::listening::Listening;
use super::addresses::announced::excess;
use super::addresses::multiaddr::{self, is_relayed};
#[cfg(feature = "autonat")]
use super::autonat;
use super::behaviour::Behaviour;
use super::behaviour::gate::BehaviourEvent;
use super::builder::options::Keeping;
#[cfg(feature = "relay")]
use super::circuits::{Relaying, RelayingEvent, is_no_relay};
use super::dialing::reason::root;
use super::events::{Listeners, NodeEvent, Reachability, Teller};
#[cfg(feature = "kad")]
use super::kademlia::Table;
use super::limits::{Limits, TooMany};
use super::peers::Peers;
use super::watch::Watch;
use super::{ListenFailure, NodeError};
use crate::clock::{Clock, Sleep};
use crate::random::random;
use crate::timer::Timer;

/// How often the addresses of peers are written to a file.
const SAVE: Duration = Duration::from_secs(300);
/// How long a shutdown waits for that.
pub(super) const SAVING: Duration = Duration::from_secs(5);
pub(super) const SILENT: &str = "the peer gave no sign of life";
/// How long [`NodeBuilder::build`](super::NodeBuilder::build) waits for addresses.
pub(super) const LISTENING: Duration = Duration::from_secs(10);

#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p_swarm::derive_prelude")]
pub(super) struct NodeBehaviour {
    /// First, so that nothing else is asked about a connection that its limits refuse.
    limits: Limits,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    #[cfg(feature = "relay")]
    relaying: Relaying,
    #[cfg(feature = "autonat")]
    reachable: autonat::Client,
    #[cfg(feature = "autonat")]
    dial_back: autonat::Server,
    #[cfg(feature = "kad")]
    table: Toggle<Table>,
    pub(super) pointsub: Behaviour,
}

impl NodeBehaviour {
    /// All that a node is made of.
    pub(super) fn new(
        keypair: &Keypair,
        pointsub: Behaviour,
        #[cfg(feature = "relay")] relaying: Relaying,
        limits: Limits,
        #[cfg(feature = "kad")] table: Option<Table>,
        #[cfg(feature = "autonat")] clock: Clock,
    ) -> Self {
        let key = keypair.public();
        // What peers say of their addresses is kept by the book of addresses, and nowhere else.
        let identify = identify::Config::new("/pointsub/1".into(), key).with_cache_size(0);
        Self {
            limits,
            identify: identify::Behaviour::new(identify.with_push_listen_addr_updates(true)),
            ping: ping::Behaviour::default(),
            #[cfg(feature = "relay")]
            relaying,
            #[cfg(feature = "autonat")]
            reachable: autonat::Client::new(clock.clone()),
            #[cfg(feature = "autonat")]
            dial_back: autonat::Server::new(clock),
            #[cfg(feature = "kad")]
            table: table.into(),
            pointsub,
        }
    }
}

/// The task that polls the swarm for as long as the node lives.
pub(super) struct EventLoop {
    swarm: Swarm<NodeBehaviour>,
    inbox: mpsc::Receiver<Command>,
    peers: Peers,
    listening: Listening,
    reservations: Reservations<ListenerId>,
    /// Relays that nobody has named.
    finder: RelayFinder<ListenerId>,
    watch: Watch,
    address_book: Option<PathBuf>,
    save: Sleep,
    reachability: Reachability,
    /// Who waits until the last connection to a peer has ended.
    disconnecting: HashMap<PeerId, Vec<oneshot::Sender<bool>>>,
    teller: Teller,
    clock: Clock,
    timer: Timer,
    /// What is announced was found too long.
    warned: bool,
}

impl EventLoop {
    pub(super) fn new(
        swarm: Swarm<NodeBehaviour>,
        inbox: mpsc::Receiver<Command>,
        listeners: Listeners,
        clock: Clock,
        watch: Watch,
        keeping: Keeping,
    ) -> Self {
        Self {
            swarm,
            inbox,
            peers: Peers::default(),
            listening: Listening::default(),
            reservations: Reservations::new(),
            finder: RelayFinder::new(keeping.auto_relay, clock.now()),
            watch,
            address_book: keeping.address_book,
            save: clock.sleep(SAVE),
            reachability: Reachability::Unknown,
            disconnecting: HashMap::new(),
            teller: Teller::new(listeners),
            timer: Timer::new(clock.clone()),
            clock,
            warned: false,
        }
    }

    /// Waits until every address is listened on, and until every relay has answered or failed once.
    /// Relays that have failed are asked again in the background.
    pub(super) async fn listen(&mut self, addresses: Vec<Multiaddr>) -> Result<(), NodeError> {
        let mut waiting = HashMap::new();
        for address in addresses {
            self.listen_on(address.clone(), None).map_err(|(_, error)| error)?;
            if let Some((id, address)) = self.listening.find(&address)
                && !is_relayed(&address)
            {
                waiting.insert(id, address);
            }
        }
        let mut limit = self.clock.sleep(LISTENING).fuse();
        while !(waiting.is_empty() && self.reservations.settled()) {
            let event = futures::select! {
                event = self.swarm.select_next_some() => event,
                () = limit => break,
            };
            match &event {
                SwarmEvent::NewListenAddr { listener_id, .. } => drop(waiting.remove(listener_id)),
                SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                    if let Some(address) = waiting.remove(listener_id) {
                        return Err(NodeError::Listen { address, reason: why_closed(reason) });
                    }
                    #[cfg(feature = "relay")]
                    if reason.as_ref().is_err_and(is_no_relay)
                        && let Some(relay) = self.reservations.address(*listener_id)
                    {
                        let (address, reason) =
                            (multiaddr::to_libp2p(&relay), ListenFailure::NoRelay);
                        return Err(NodeError::Listen { address, reason });
                    }
                }
                _ => {}
            }
            self.on_event(event);
        }
        match waiting.into_values().next() {
            Some(address) => Err(NodeError::Listen { address, reason: ListenFailure::NotLocal }),
            None => Ok(()),
        }
    }

    /// Says so once if peers cannot learn what this node serves and where it is reached.
    fn check_announced(&mut self) {
        let names = self.swarm.behaviour().pointsub.announced();
        let addresses = self.swarm.listeners().chain(self.swarm.external_addresses());
        let excess = excess(&*names, addresses);
        if let Some(excess) = excess.filter(|_| !self.warned) {
            self.teller.tell(NodeEvent::AnnouncementTooLong { excess, names: names.len() });
            tracing::warn!(
                target: "pointsub::node",
                excess,
                protocols = names.len() / 2,
                "the names of protocols and the addresses do not fit into identify's message, so that \
                 peers learn none of them: shorten or merge protocols"
            );
        }
        self.warned = excess.is_some();
    }

    /// Asks the relays that are due for a place.
    fn ask_relays(&mut self) {
        let now = self.clock.now();
        while let Some(relay) = self.reservations.due(now) {
            let address = multiaddr::to_libp2p(&relay);
            let listener = self.swarm.listen_on(address.clone());
            if let Err(error) = &listener {
                tracing::debug!(
                    target: "pointsub::relay",
                    %address,
                    %error,
                    "the relay cannot be asked for a place"
                );
            }
            if let Ok(id) = listener {
                self.listening.add(id, address.clone(), None);
            }
            self.reservations.asked(&relay, listener.ok(), now, random());
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            let due = self.next_deadline();
            futures::select! {
                event = self.swarm.select_next_some() => self.on_event(event),
                () = wait(due, &mut self.timer).fuse() => {
                    self.ask_relays();
                    self.find_relays();
                }
                change = self.watch.next().fuse() => {
                    if let Some(change) = change {
                        self.on_change(change);
                    }
                }
                () = (&mut self.save).fuse() => {
                    self.save = self.clock.sleep(SAVE);
                    if let Some(path) = self.address_book.clone() {
                        self.save_addresses(path, None);
                    }
                }
                command = self.inbox.next() => match command {
                    Some(Command::Shutdown { within, done }) => {
                        self.save_at_last().await;
                        let cut = self.close_all(within).await;
                        drop(self);
                        let _gone = done.send(cut);
                        return;
                    }
                    Some(command) => self.on_command(command),
                    None => return,
                },
            }
        }
    }

    /// Closes every connection, and waits until their peers have got everything. Returns how many have
    /// not in time.
    async fn close_all(&mut self, within: Duration) -> usize {
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            // An error says that it is gone already.
            let _gone = self.swarm.disconnect_peer_id(peer);
        }
        let mut limit = self.clock.sleep(within).fuse();
        while self.swarm.connected_peers().next().is_some() {
            futures::select! {
                event = self.swarm.select_next_some() => {
                    if let SwarmEvent::ConnectionEstablished { connection_id, .. } = event {
                        self.swarm.close_connection(connection_id);
                    }
                }
                () = limit => break,
            }
        }
        self.swarm.network_info().connection_counters().num_established() as usize
    }

    fn on_event(&mut self, event: SwarmEvent<NodeBehaviourEvent>) {
        match event {
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                let now = self.clock.instant(self.clock.now());
                let event = self.peers.connected(peer_id, connection_id, &endpoint, now);
                event.into_iter().for_each(|event| self.teller.tell(event));
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                let silent = self.swarm.behaviour().pointsub.was_silent(connection_id);
                let reason = || match silent {
                    true => Some(SILENT.to_owned()),
                    false => cause.as_ref().map(|error| root(error)),
                };
                let event = self.peers.closed(peer_id, connection_id, reason);
                self.on_closed(event);
            }
            SwarmEvent::Behaviour(NodeBehaviourEvent::Identify(identify::Event::Received {
                connection_id,
                peer_id,
                info,
            })) => {
                #[cfg(feature = "autonat")]
                self.swarm.behaviour_mut().reachable.spoken(peer_id);
                #[cfg(feature = "kad")]
                if let Some(table) = self.swarm.behaviour_mut().table.as_mut() {
                    table.identified(peer_id, &info);
                }
                let pointsub = &mut self.swarm.behaviour_mut().pointsub;
                pointsub.identified(connection_id, peer_id, &info.listen_addrs);
                self.on_identified(peer_id, info);
            }
            SwarmEvent::Behaviour(NodeBehaviourEvent::Ping(ping::Event {
                peer,
                connection,
                result: Ok(rtt),
            })) => {
                self.swarm.behaviour_mut().pointsub.measured(connection, peer, rtt);
                let event = self.peers.measured(peer, connection, rtt);
                event.into_iter().for_each(|event| self.teller.tell(event));
            }
            SwarmEvent::Behaviour(NodeBehaviourEvent::Pointsub(event)) => match event {
                BehaviourEvent::PeerKeptOut { peer, time, times } => {
                    self.teller.tell(NodeEvent::PeerKeptOut { peer, time, times });
                }
                BehaviourEvent::ServesOthers => self.check_announced(),
            },
            SwarmEvent::Behaviour(NodeBehaviourEvent::Limits(TooMany { peer })) => {
                self.swarm.behaviour_mut().pointsub.make_room(peer);
            }
            SwarmEvent::Behaviour(NodeBehaviourEvent::Identify(identify::Event::Sent {
                ..
            })) => {
                self.check_announced();
            }
            // With the relay's limits, which explain how such connections end.
            #[cfg(feature = "relay")]
            SwarmEvent::Behaviour(NodeBehaviourEvent::Relaying(RelayingEvent::Client(event))) => {
                tracing::debug!(target: "pointsub::relay", ?event);
            }
            SwarmEvent::Behaviour(event) => tracing::trace!(target: "pointsub::swarm", ?event),
            event => self.on_address(event),
        }
    }

    /// An address of this node is there, or has gone.
    fn on_address(&mut self, event: SwarmEvent<NodeBehaviourEvent>) {
        match event {
            SwarmEvent::NewListenAddr { listener_id, address } => {
                self.on_reserved(listener_id);
                if let Some(waiting) = self.listening.up(listener_id, &address) {
                    let _gone = waiting.send(Ok(with_peer(&address, *self.swarm.local_peer_id())));
                }
                self.teller.tell(NodeEvent::Listening { address });
            }
            SwarmEvent::ExpiredListenAddr { listener_id, address } => {
                self.listening.expired(listener_id, &address);
                self.teller.tell(NodeEvent::ListeningEnded { address });
            }
            SwarmEvent::ListenerClosed { listener_id, addresses, reason } => {
                self.on_unlistened(listener_id, addresses, why_closed(&reason));
            }
            SwarmEvent::ExternalAddrConfirmed { address } => {
                self.teller.tell(NodeEvent::ExternalAddress { address });
                self.check_reachable();
            }
            SwarmEvent::ExternalAddrExpired { address } => {
                self.teller.tell(NodeEvent::ExternalAddressEnded { address });
                self.check_reachable();
            }
            _ => {}
        }
    }
}

impl EventLoop {
    /// The path to a peer is another one, or has ended.
    fn on_closed(&mut self, event: Option<NodeEvent>) {
        let Some(event) = event else { return };
        if let NodeEvent::PeerDisconnected { peer, .. } = &event {
            for waiting in self.disconnecting.remove(peer).into_iter().flatten() {
                let _gone = waiting.send(true);
            }
        }
        self.teller.tell(event);
    }

    fn on_unlistened(&mut self, id: ListenerId, addresses: Vec<Multiaddr>, reason: ListenFailure) {
        for address in addresses {
            self.teller.tell(NodeEvent::ListeningEnded { address });
        }
        self.on_reservation_lost(id, &reason.to_string());
        if let Some((address, Some(waiting))) = self.listening.closed(id) {
            let _gone = waiting.send(Err(NodeError::Listen { address, reason }));
        }
    }

    fn check_reachable(&mut self) {
        let reachability = Reachability::of(self.swarm.external_addresses());
        if reachability != self.reachability {
            self.reachability = reachability;
            self.teller.tell(NodeEvent::Reachability(reachability));
        }
        self.release_relays(reachability == Reachability::Direct);
    }

    /// All connections may be dead.
    fn on_change(&mut self, change: Change) {
        tracing::debug!(target: "pointsub::network", ?change, "all connections are tried");
        self.swarm.behaviour_mut().pointsub.changed(change);
        self.reservations.hurry(self.clock.now());
        self.teller.tell(NodeEvent::NetworkChanged);
    }
}

/// Waits until a relay is due to be asked.
async fn wait(due: Option<Timestamp>, timer: &mut Timer) {
    poll_fn(|cx| if timer.poll_due(due, cx) { Poll::Ready(()) } else { Poll::Pending }).await;
}

/// Why a listener has ended.
fn why_closed(reason: &io::Result<()>) -> ListenFailure {
    match reason {
        Ok(()) => ListenFailure::Transport("the listener has ended".to_owned()),
        Err(error) => ListenFailure::of_io(error),
    }
}

/// The relay that an address leads through.
pub(super) fn relay_of(address: &Multiaddr) -> Option<PeerId> {
    let mut relay = None;
    for part in address {
        match part {
            Protocol::P2p(peer) => relay = Some(peer),
            Protocol::P2pCircuit => return relay,
            _ => {}
        }
    }
    None
}

pub(super) fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last()? {
        Protocol::P2p(peer) => Some(peer),
        _ => None,
    }
}
