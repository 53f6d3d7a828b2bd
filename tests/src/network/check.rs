//! What must hold of the machine's orders, whatever happens.

use std::collections::BTreeMap;
use std::time::Duration;

use pointsub_core::Timestamp;
use pointsub_core::network::{Act, ConnectId, NetworkEvent, OpenId, Order, Target};

use super::world::{Conn, World};

/// How long a connection may be used on which something is due and nothing comes: 24 s of silence, if
/// its peer has answered probes before and nothing else came, 8 s for the answer at most, and the looks.
const DETECTED: Duration = Duration::from_secs(35);
/// The same behind bytes that were written before: an answer may take 60 s then.
const DETECTED_BEHIND: Duration = Duration::from_secs(90);
/// How long a connect may take, whatever happens.
const OUTCOME: Duration = Duration::from_secs(90);
/// How long it may take to connect to a peer that is where the application says, whatever else is known.
const REACHED: Duration = Duration::from_secs(20);
/// How many dials there may be, those among them that nobody waits for any more.
const DIALS: usize = 256;
/// Whoever is told to be connected has a peer that was heard of within this time.
const HEARD: Duration = Duration::from_secs(3);
/// How many addresses of a peer are tried at a time.
const AT_A_TIME: usize = 8;

/// Everything that is wanted and has no outcome.
#[derive(Debug, Default)]
pub(super) struct Checker {
    pub(super) connects: BTreeMap<ConnectId, (Timestamp, Option<usize>)>,
    pub(super) opens: BTreeMap<OpenId, (Timestamp, usize)>,
    /// How long it took at most until there was a connection for a stream.
    pub(super) longest_wait: Duration,
    online: BTreeMap<usize, bool>,
}

impl Checker {
    /// The machine orders this.
    pub(super) fn order(&mut self, order: &Order<u32>, world: &World) -> Result<(), String> {
        match order {
            Order::Dial { target, .. } => {
                if world.dials.len() >= DIALS {
                    return Err(format!("more than {DIALS} dials at a time"));
                }
                at_a_time(target, world)
            }
            Order::Connection(_, key, act) => self.act(*key, *act, world),
            Order::Connected(id, peer) => {
                let (since, must) =
                    self.connects.remove(id).ok_or("a second outcome of a connect")?;
                in_time(since, if must.is_some() { REACHED } else { OUTCOME }, world)?;
                let peer = world.number(peer);
                let heard = |since: Timestamp| world.now.since(since.max(world.woke)) <= HEARD;
                // An answer may stand behind what was written, on a link that carries little.
                let slow = |key: u32, one: &Conn| one.written > 0 && world.moves(key);
                let mut all = world.connections.iter().filter(|(_, one)| one.peer == peer);
                let heard = all.any(|(key, one)| heard(one.heard) || slow(*key, one));
                heard
                    .then_some(())
                    .ok_or(format!("connected to peer {peer}, which was not heard of"))
            }
            Order::ConnectFailed(id, why) => {
                let (since, must) =
                    self.connects.remove(id).ok_or("a second outcome of a connect")?;
                in_time(since, OUTCOME, world)?;
                match must {
                    Some(peer) => Err(format!("peer {peer} can be reached, but: {why:?}")),
                    None => Ok(()),
                }
            }
            Order::OpenFailed(id, why) => {
                let (_, peer) = self.opens.remove(id).ok_or("a second outcome of an open")?;
                match world.is_healed() && peer < world.peers() {
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
        let (open, relayed) = match act {
            Act::Open { open, relayed } => (open, relayed),
            Act::Close => return spares_work(key, world),
            Act::Abort if world.moves(key) && !one.suspect => {
                return Err(format!("connection {key} is ended although its peer is there"));
            }
            _ => return Ok(()),
        };
        let (since, _) = self.opens.remove(&open).ok_or("a second outcome of an open")?;
        self.longest_wait = self.longest_wait.max(world.now.since(since));
        if relayed != one.relayed {
            return Err(format!("connection {key} is taken for a relayed one or a direct one"));
        }
        if one.suspect || one.retired {
            return Err(format!("a stream on connection {key}, which is suspect or retired"));
        }
        if one.ending {
            return Err(format!("a stream on connection {key}, which was told to end"));
        }
        let detected = if one.written > 0 { DETECTED_BEHIND } else { DETECTED };
        if one.silent_since.is_some_and(|since| world.now.since(since) > detected) {
            return Err(format!("a stream on connection {key}, which is long dead"));
        }
        let alive = |other: &&Conn| !other.suspect && !other.ending && !world.is_doubtful(other);
        let better = world.of(one.peer).filter(alive).any(|other| !other.relayed);
        if one.relayed && better {
            return Err(format!("a stream on {key}, which is relayed, beside a direct one"));
        }
        if world.must_work.contains(&open) && !world.moves(key) {
            return Err(format!("a stream on {key}, which is dead, and the peer was just reached"));
        }
        Ok(())
    }

    /// This node has slept: nobody has waited meanwhile.
    pub(super) fn sleep(&mut self, gap: Duration) {
        self.connects.values_mut().for_each(|(since, _)| *since = *since + gap);
        self.opens.values_mut().for_each(|(since, _)| *since = *since + gap);
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
        if let Some((key, _)) = world.connections.iter().find(|(_, one)| one.suspect) {
            return Err(format!("connection {key} is suspect, and was never ended"));
        }
        if let Some((key, _)) =
            world.connections.iter().find(|(_, one)| one.retired != one.told_retired)
        {
            return Err(format!("connection {key} does not know whether it is retired"));
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

fn in_time(since: Timestamp, limit: Duration, world: &World) -> Result<(), String> {
    let took = world.now.since(since);
    (took <= limit).then_some(()).ok_or(format!("a connect took {took:?}"))
}

/// Of too many connections, none that is at work goes, whatever others there are.
fn spares_work(key: u32, world: &World) -> Result<(), String> {
    let one = &world.connections[&key];
    // It may have got work since it was asked.
    let busy = one.due > 0 && one.assessed_busy;
    (!busy).then_some(()).ok_or(format!("connection {key} has to make room, and is at work"))
}

/// Beside those whom somebody asks for now, so many addresses of a peer are dialled at a time.
fn at_a_time(target: &Target, world: &World) -> Result<(), String> {
    let Target::Peer(peer) = target else { return Ok(()) };
    let peer = world.number(peer);
    let running = world.running(peer);
    let most = AT_A_TIME + world.asked_now(peer);
    (running <= most).then_some(()).ok_or(format!("{running} dials of peer {peer} at a time"))
}
