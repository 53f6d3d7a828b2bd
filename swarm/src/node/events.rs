//! What a node tells its application of peers and addresses.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use futures::task::AtomicWaker;
use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use parking_lot::Mutex;

use super::peers::{Path, TransportKind};

/// How many events wait for a stream of `Node::events` that nobody reads.
const WAITING: usize = 1024;

/// Something that has happened to a node: [`Node::events`](crate::Node::events).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeEvent {
    /// There is a connection to a peer, and there was none before.
    PeerConnected {
        /// The peer.
        peer: PeerId,
        /// What the connection goes through.
        path: Path,
        /// What carries it.
        transport: TransportKind,
        /// Where the peer is.
        address: Multiaddr,
        /// Whether this node has dialled it there, and not the other way round.
        dialled: bool,
    },
    /// The path to a peer is another one: a direct connection came up beside a relayed one, or the last
    /// direct one has ended.
    PathChanged {
        /// The peer.
        peer: PeerId,
        /// The best that there is now.
        path: Path,
    },
    /// The last connection to a peer has ended.
    PeerDisconnected {
        /// The peer.
        peer: PeerId,
        /// What the transport says, or that the peer was silent; `None` if either end has closed it in
        /// good order.
        reason: Option<String>,
    },
    /// A peer has told what it is and does.
    Identified {
        /// The peer.
        peer: PeerId,
        /// The names of the protocols that it serves, those of libp2p among them. There may be several
        /// for one of ours.
        protocols: Vec<String>,
        /// Its program, as it says.
        agent: String,
        /// Where it sees this node.
        observed: Multiaddr,
    },
    /// How long the way to a peer and back takes was measured for the first time, or is half or twice
    /// of what was told last.
    RoundTrip {
        /// The peer.
        peer: PeerId,
        /// How long it takes.
        rtt: Duration,
    },
    /// A relay keeps a place for this node.
    RelayReserved {
        /// The relay.
        relay: PeerId,
        /// Whether the application has named it; otherwise it was found.
        named: bool,
    },
    /// A relay keeps no place for this node any more, or did not when it was asked. One that the
    /// application has named is asked again.
    RelayLost {
        /// The relay.
        relay: PeerId,
        /// What the transport says.
        reason: String,
    },
    /// The node is in another network, an interface came or went, or it has slept: all connections are
    /// tried, and what has failed may be dialled again.
    NetworkChanged,
    /// A peer has cost more than it may. Its connections are closed, and none of it are let in for that
    /// long.
    PeerKeptOut {
        /// The peer.
        peer: PeerId,
        /// For how long. It is twice as long each time.
        time: Duration,
        /// Which time it is, of those within the last minutes.
        times: u32,
    },
    /// The node listens at an address.
    Listening {
        /// The address, without the node's peer id.
        address: Multiaddr,
    },
    /// The node does not listen at an address any more.
    ListeningEnded {
        /// The address, without the node's peer id.
        address: Multiaddr,
    },
    /// Others reach this node at an address.
    ExternalAddress {
        /// The address, without the node's peer id.
        address: Multiaddr,
    },
    /// Others do not reach this node at an address any more.
    ExternalAddressEnded {
        /// The address, without the node's peer id.
        address: Multiaddr,
    },
    /// Whether others can reach this node has changed.
    Reachability(Reachability),
    /// What this node serves and where it is reached does not fit into the message by which peers learn of
    /// it (identify): they learn nothing of it, and do not find this node as a server. Shorten the names
    /// of protocols, or serve fewer.
    AnnouncementTooLong {
        /// By how many bytes.
        excess: usize,
        /// How many names there are: two for each protocol, and one more.
        names: usize,
    },
    /// Events were not taken in time, and the oldest were dropped: ask the node how things stand.
    Missed {
        /// How many.
        count: u64,
    },
}

/// Whether others can reach a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Reachability {
    /// It is not known.
    #[default]
    Unknown,
    /// Through a relay.
    Relayed,
    /// Directly, at an external address.
    Direct,
}

impl Reachability {
    pub(super) fn of<'a>(external: impl Iterator<Item = &'a Multiaddr>) -> Self {
        let of = |address| match super::addresses::multiaddr::is_relayed(address) {
            true => Self::Relayed,
            false => Self::Direct,
        };
        let rank = |one: &Self| *one as u8;
        external.map(of).max_by_key(rank).unwrap_or_default()
    }
}

/// The events of a node as they come: [`Node::events`](crate::Node::events). It ends with the node.
#[derive(Debug)]
pub struct Events(Arc<Queue>);

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<Waiting>,
    reader: AtomicWaker,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<NodeEvent>,
    missed: u64,
    ended: bool,
}

impl Queue {
    fn push(&self, event: NodeEvent) {
        let mut state = self.state.lock();
        if state.events.len() == WAITING {
            state.events.pop_front();
            state.missed += 1;
        }
        state.events.push_back(event);
        drop(state);
        self.reader.wake();
    }

    fn end(&self) {
        self.state.lock().ended = true;
        self.reader.wake();
    }
}

impl Stream for Events {
    type Item = NodeEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<NodeEvent>> {
        self.0.reader.register(cx.waker());
        let mut state = self.0.state.lock();
        let count = std::mem::take(&mut state.missed);
        if count > 0 {
            return Poll::Ready(Some(NodeEvent::Missed { count }));
        }
        match state.events.pop_front() {
            Some(event) => Poll::Ready(Some(event)),
            None if state.ended => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

/// All who listen to the events of a node.
#[derive(Debug, Clone, Default)]
pub(super) struct Listeners(Arc<Mutex<Subscribed>>);

#[derive(Debug, Default)]
struct Subscribed {
    queues: Vec<Weak<Queue>>,
    ended: bool,
}

impl Listeners {
    pub(super) fn subscribe(&self) -> Events {
        let queue = Arc::<Queue>::default();
        let mut subscribed = self.0.lock();
        if subscribed.ended {
            queue.end();
        } else {
            subscribed.queues.push(Arc::downgrade(&queue));
        }
        Events(queue)
    }
}

/// The node's end: those who listen hear of it when this is dropped.
#[derive(Debug)]
pub(super) struct Teller(Listeners);

impl Teller {
    pub(super) const fn new(listeners: Listeners) -> Self {
        Self(listeners)
    }

    pub(super) fn tell(&self, event: NodeEvent) {
        self.0.0.lock().queues.retain(|queue| match queue.upgrade() {
            Some(queue) => {
                queue.push(event.clone());
                true
            }
            None => false,
        });
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        let mut subscribed = self.0.0.lock();
        subscribed.ended = true;
        let queues = std::mem::take(&mut subscribed.queues);
        drop(subscribed);
        queues.iter().filter_map(Weak::upgrade).for_each(|queue| queue.end());
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};

    use super::*;

    #[test]
    fn who_does_not_listen_in_time_is_told_how_much_was_missed() {
        let listeners = Listeners::default();
        let teller = Teller::new(listeners.clone());
        let mut events = listeners.subscribe();
        let event = |port: usize| {
            let address = format!("/memory/{port}").parse().expect("an address");
            NodeEvent::Listening { address }
        };
        (0..WAITING + 3).for_each(|port| teller.tell(event(port)));
        let mut next = || events.next().now_or_never().expect("it is there");
        assert_eq!(next(), Some(NodeEvent::Missed { count: 3 }));
        assert_eq!(next(), Some(event(3)));
        drop(teller);
        let rest = std::iter::from_fn(next).count();
        assert_eq!(rest, WAITING - 1, "what was told before the end, and the end");
        assert_eq!(
            listeners.subscribe().next().now_or_never(),
            Some(None),
            "nothing comes any more"
        );
    }

    #[test]
    fn a_direct_address_counts_more_than_one_at_a_relay() {
        let relayed: Multiaddr = "/memory/1/p2p-circuit".parse().expect("an address");
        let direct: Multiaddr = "/memory/1".parse().expect("an address");
        assert_eq!(Reachability::of([].iter()), Reachability::Unknown);
        assert_eq!(Reachability::of([relayed.clone()].iter()), Reachability::Relayed);
        assert_eq!(Reachability::of([direct, relayed].iter()), Reachability::Direct);
    }
}
