//! What must hold of the machine's orders, whatever happens.

use std::collections::BTreeMap;
use std::time::Duration;

use pointsub_core::Timestamp;
use pointsub_core::network::{Act, ConnectId, NetworkEvent, OpenId, Order, Target};

use super::world::World;

/// How long a connection may be used on which something is due and nothing comes: 24 s of silence, if
/// its peer has answered probes before and nothing else came, 3 s for the answer, and the looks.
const DETECTED: Duration = Duration::from_secs(30);
/// How long a connect may take, whatever happens.
const OUTCOME: Duration = Duration::from_secs(90);
/// Whoever is told to be connected has a peer that was heard of within this time.
const HEARD: Duration = Duration::from_secs(3);
/// How many addresses of a peer are tried at a time.
const AT_A_TIME: usize = 8;

/// Everything that is wanted and has no outcome.
#[derive(Debug, Default)]
pub(super) struct Checker {
    pub(super) connects: BTreeMap<ConnectId, (Timestamp, Option<usize>)>,
    pub(super) opens: BTreeMap<OpenId, (Timestamp, usize)>,
    online: BTreeMap<usize, bool>,
}

impl Checker {
    /// The machine orders this.
    pub(super) fn order(&mut self, order: &Order<u32>, world: &World) -> Result<(), String> {
        match order {
            Order::Dial { target, .. } => at_a_time(target, world),
            Order::Connection(_, key, act) => self.act(*key, *act, world),
            Order::Connected(id, peer) => {
                let (since, _) = self.connects.remove(id).ok_or("a second outcome of a connect")?;
                in_time(since, world)?;
                let peer = world.number(peer);
                let heard = world.of(peer).any(|one| world.now.since(one.heard) <= HEARD);
                heard
                    .then_some(())
                    .ok_or(format!("connected to peer {peer}, which was not heard of"))
            }
            Order::ConnectFailed(id, why) => {
                let (since, must) =
                    self.connects.remove(id).ok_or("a second outcome of a connect")?;
                in_time(since, world)?;
                match must {
                    Some(peer) => Err(format!("peer {peer} can be reached, but: {why:?}")),
                    None => Ok(()),
                }
            }
            Order::OpenFailed(id, why) => {
                let (_, peer) = self.opens.remove(id).ok_or("a second outcome of an open")?;
                match world.is_healed() {
                    true => Err(format!("peer {peer} can be reached, but: {why:?}")),
                    false => Ok(()),
                }
            }
            Order::Event(event) => {
                let (peer, online) = match event {
                    NetworkEvent::PeerConnected(peer) => (peer, true),
                    NetworkEvent::PeerDisconnected(peer) => (peer, false),
                    _ => return Err("an unknown event".to_owned()),
                };
                let before = self.online.insert(world.number(peer), online).unwrap_or_default();
                let any = world.of(world.number(peer)).next().is_some();
                if before == online || any != online {
                    return Err(format!("an event that says nothing new or wrong: {event:?}"));
                }
                Ok(())
            }
        }
    }

    fn act(&mut self, key: u32, act: Act, world: &World) -> Result<(), String> {
        let one = world.connections.get(&key).ok_or(format!("{act:?} on {key}, which is gone"))?;
        let Act::Open { open, relayed } = act else { return Ok(()) };
        self.opens.remove(&open).ok_or("a second outcome of an open")?;
        if relayed != one.relayed {
            return Err(format!("connection {key} is taken for a relayed one or a direct one"));
        }
        if one.suspect || one.retired {
            return Err(format!("a stream on connection {key}, which is suspect or retired"));
        }
        if one.silent_since.is_some_and(|since| world.now.since(since) > DETECTED) {
            return Err(format!("a stream on connection {key}, which is long dead"));
        }
        let better = world.of(one.peer).any(|other| !other.relayed && !other.suspect);
        if one.relayed && better {
            return Err(format!("a stream on {key}, which is relayed, beside a direct one"));
        }
        if world.must_work.contains(&open) && !world.moves(key) {
            return Err(format!("a stream on {key}, which is dead, and the peer was just reached"));
        }
        Ok(())
    }

    /// Nothing more is going to happen.
    pub(super) fn end(&self, world: &World) -> Result<(), String> {
        if let Some((id, _)) = self.connects.first_key_value() {
            return Err(format!("no outcome: {id:?}"));
        }
        if let Some((id, _)) = self.opens.first_key_value() {
            return Err(format!("no outcome: {id:?}"));
        }
        world.relays.end()?;
        let sizes = world.net.sizes();
        if (sizes.races, sizes.waiting, sizes.dials) != (0, 0, 0) {
            return Err(format!("something is left over: {sizes:?}"));
        }
        if sizes.connections != world.connections.len() {
            return Err(format!("{} connections, not {sizes:?}", world.connections.len()));
        }
        Ok(())
    }

    /// How things stand between two events.
    pub(super) fn step(&self, world: &World) -> Result<(), String> {
        for (peer, pinned) in world.pinned.iter().enumerate() {
            let kept = world.net.addresses(&world.id(peer));
            if let Some(at) = pinned.iter().find(|at| !kept.contains(&world.address(**at))) {
                return Err(format!("place {at} of peer {peer} is forgotten"));
            }
        }
        Ok(())
    }
}

fn in_time(since: Timestamp, world: &World) -> Result<(), String> {
    let took = world.now.since(since);
    (took <= OUTCOME).then_some(()).ok_or(format!("a connect took {took:?}"))
}

/// Beside those whom somebody asks for now, so many addresses of a peer are dialled at a time.
fn at_a_time(target: &Target, world: &World) -> Result<(), String> {
    let Target::Peer(peer) = target else { return Ok(()) };
    let peer = world.number(peer);
    let running = world.running(peer);
    let most = AT_A_TIME + world.asked_now(peer);
    (running <= most).then_some(()).ok_or(format!("{running} dials of peer {peer} at a time"))
}
