//! The task between the machine and its sockets.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use libp2p_core::Multiaddr;
use pointsub_core::Timestamp;
use pointsub_core::network::lan::{Announced, Lan, LanFact, LanMessage, LanOrder, LinkId};

use super::links::{self, Place};
use super::packet::{self, Announcement, Heard, MAX_PACKET, Packet, TTL};
use crate::clock::{Clock, Sleep};
use crate::discovery::finder::{Finder, FinderTask, Found};
use crate::node::addresses::ip::direct_ip;
use crate::peer;
use crate::random::random;
use crate::timer::Timer;

/// How often the interfaces are looked at, where the system does not say when they change.
const LOOK: Duration = Duration::from_secs(30);
/// How many packets of a link are taken in before others come.
const TURN: usize = 64;

/// Looks for servers on the local network, and tells others there of this node.
pub(super) struct Task {
    finder: Finder,
    clock: Clock,
    lan: Lan,
    links: BTreeMap<LinkId, Link>,
    next_link: u64,
    changes: BoxStream<'static, ()>,
    look: Sleep,
    timer: Timer,
    /// The label of this node, which says nothing of it.
    name: String,
}

struct Link {
    place: Place,
    sender: UdpSocket,
    receiver: BoxStream<'static, (Vec<u8>, SocketAddr)>,
    /// Where this node was reached when that was last said here.
    announced: Vec<Multiaddr>,
}

impl Task {
    pub(super) fn new(finder: Finder) -> Self {
        let clock = finder.clock();
        let mut task = Self {
            lan: Lan::new(peer::to_core(&finder.local_peer_id()), random()),
            links: BTreeMap::new(),
            next_link: 0,
            changes: clock.runtime().interface_changes(),
            look: clock.sleep(LOOK),
            timer: Timer::new(clock.clone()),
            name: format!("{:016x}{:016x}", random(), random()),
            finder,
            clock,
        };
        task.look();
        task
    }

    /// Opens sockets where a link has come, and closes those of links that are gone.
    fn look(&mut self) {
        let places = match links::places() {
            Ok(places) => places,
            Err(error) => {
                tracing::debug!(target: "pointsub::lan", %error, "no interface is seen");
                return;
            }
        };
        let gone = self.links.iter().filter(|(_, link)| !places.contains(&link.place));
        let gone: Vec<LinkId> = gone.map(|(id, _)| *id).collect();
        gone.into_iter().for_each(|id| self.close(id));
        for place in places {
            if !self.links.values().any(|link| link.place == place) {
                self.open(place);
            }
        }
    }

    fn open(&mut self, place: Place) {
        let opened = place.open().and_then(|socket| {
            let sender = socket.try_clone()?;
            let receiver = self.clock.runtime().datagrams(socket, MAX_PACKET)?;
            Ok((sender, receiver))
        });
        match opened {
            Ok((sender, receiver)) => {
                tracing::debug!(target: "pointsub::lan", ?place, "a link");
                let id = LinkId(self.next_link);
                self.next_link += 1;
                self.links.insert(id, Link { place, sender, receiver, announced: Vec::new() });
                self.handle(LanFact::LinkUp(id));
            }
            Err(error) => tracing::debug!(target: "pointsub::lan", ?place, %error, "not used"),
        }
    }

    fn close(&mut self, id: LinkId) {
        self.links.remove(&id);
        self.handle(LanFact::LinkDown(id));
    }

    fn handle(&mut self, fact: LanFact) {
        self.lan.handle(fact, self.clock.now());
        self.carry_out(&[], None);
    }

    fn received(&mut self, bytes: &[u8], sender: SocketAddr, now: Timestamp) {
        let on = self.links.iter().find(|(_, link)| link.place.hears(sender));
        let Some(id) = on.map(|(id, _)| *id) else { return };
        if !self.lan.admits(id, sender.ip(), now) {
            return;
        }
        let (message, heard) = match packet::decode(bytes) {
            Some(Packet::Query) => (LanMessage::Query, Vec::new()),
            Some(Packet::Announcement(heard)) => {
                let announced = heard.iter().map(|heard| Announced {
                    peer: peer::to_core(&heard.peer),
                    services: heard.services.clone(),
                    ttl: heard.ttl,
                });
                (LanMessage::Announcement(announced.collect()), heard)
            }
            None => return,
        };
        self.lan.handle(LanFact::Heard(id, message), now);
        self.carry_out(&heard, Some(id));
    }

    /// Does what the machine has ordered after it was told what was heard on a link.
    fn carry_out(&mut self, heard: &[Heard], on: Option<LinkId>) {
        while let Some(order) = self.lan.poll_order() {
            match order {
                LanOrder::Query(id) => self.send(id, packet::query()),
                LanOrder::Announce(id) => self.announce(id, TTL),
                LanOrder::Goodbye(id) => self.announce(id, Duration::ZERO),
                LanOrder::Found { peer, service, ttl } => {
                    let peer = peer::to_libp2p(&peer);
                    let addresses = on.map_or_else(Vec::new, |on| self.addresses(on, peer, heard));
                    let mut found = Found::new(peer).at(addresses).lasting(ttl);
                    if let Some(service) = &service {
                        found = found.serving(service);
                    }
                    self.finder.found(found);
                }
                LanOrder::Lost { peer, service } => {
                    self.finder.lost(peer::to_libp2p(&peer), service.as_ref());
                }
            }
        }
    }

    /// The addresses of a peer that was heard on a link, as far as they are on that link: elsewhere
    /// nobody is dialled because somebody here says so.
    fn addresses(
        &self,
        on: LinkId,
        peer: libp2p_identity::PeerId,
        heard: &[Heard],
    ) -> Vec<Multiaddr> {
        let Some(link) = self.links.get(&on) else { return Vec::new() };
        let of = heard.iter().filter(|heard| heard.peer == peer);
        let addresses = of.flat_map(|heard| &heard.addresses);
        addresses.filter(|address| is_at(&link.place, address)).cloned().collect()
    }

    /// Says who is reached on a link, or that nobody is any more.
    fn announce(&mut self, id: LinkId, ttl: Duration) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let mut addresses = self.finder.addresses();
        addresses.retain(|address| is_at(&link.place, address));
        let (addresses, ttl) = if addresses.is_empty() || ttl.is_zero() {
            (std::mem::take(&mut link.announced), Duration::ZERO)
        } else {
            link.announced.clone_from(&addresses);
            (addresses, ttl)
        };
        let (peer, services) = (self.finder.local_peer_id(), self.finder.served());
        let announcement =
            Announcement { name: &self.name, peer, addresses, services: &services, ttl };
        if let Some(packet) = announcement.to_packet() {
            self.send(id, Some(packet));
        }
    }

    /// What cannot be sent is lost, as it can be on the way: it is said again.
    fn send(&self, id: LinkId, packet: Option<Vec<u8>>) {
        let (Some(link), Some(packet)) = (self.links.get(&id), packet) else { return };
        let group = link.place.group();
        if let Err(error) = link.sender.send_to(&packet, group) {
            tracing::debug!(target: "pointsub::lan", %group, %error, "not sent");
        }
    }

    /// Takes in what has come. Whether there may be more.
    fn poll_packets(&mut self, cx: &mut Context<'_>) -> bool {
        let ids: Vec<LinkId> = self.links.keys().copied().collect();
        let mut more = false;
        for id in ids {
            more |= self.poll_link(id, cx);
        }
        more
    }

    fn poll_link(&mut self, id: LinkId, cx: &mut Context<'_>) -> bool {
        for _ in 0..TURN {
            let Some(link) = self.links.get_mut(&id) else { return false };
            match link.receiver.poll_next_unpin(cx) {
                Poll::Ready(Some((bytes, sender))) => {
                    self.received(&bytes, sender, self.clock.now());
                }
                Poll::Ready(None) => {
                    // It is opened again when the interfaces are looked at.
                    self.close(id);
                    return false;
                }
                Poll::Pending => return false,
            }
        }
        true
    }

    /// Whether this node has ended.
    fn poll_tasks(&mut self, cx: &mut Context<'_>) -> bool {
        while let Poll::Ready(task) = self.finder.poll_task(cx) {
            match task {
                Some(FinderTask::LookUp(protocol)) => self.handle(LanFact::LookUp(protocol)),
                Some(FinderTask::Forget(protocol)) => self.handle(LanFact::Forget(protocol)),
                Some(FinderTask::Changed) => self.handle(LanFact::Changed),
                None => return true,
            }
        }
        false
    }
}

/// Whether an address leads to a machine on this link, and not through another.
fn is_at(place: &Place, address: &Multiaddr) -> bool {
    direct_ip(address).is_some_and(|ip| place.reaches(ip))
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.poll_tasks(cx) {
            return Poll::Ready(());
        }
        let mut look = false;
        while let Poll::Ready(Some(())) = this.changes.poll_next_unpin(cx) {
            look = true;
        }
        while this.look.poll_unpin(cx).is_ready() {
            this.look = this.clock.sleep(LOOK);
            look = true;
        }
        if look {
            this.look();
        }
        if this.poll_packets(cx) {
            cx.waker().wake_by_ref();
        }
        while this.timer.poll_due(this.lan.next_deadline(), cx) {
            this.handle(LanFact::Tick);
        }
        Poll::Pending
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle(LanFact::Stop);
    }
}
