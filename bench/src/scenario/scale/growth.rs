//! Ten times as much of something, again and again.

use std::hint::black_box;
use std::time::{Duration, Instant};

use pointsub_core::endpoint::closest::{Nodes, Selection, Weighted};
use pointsub_core::{PeerId, Timestamp};

use super::curve::{Curve, Load};
use super::{Extent, Scale, small};
use crate::body::Kind;
use crate::contender::{Contender, Failure};
use crate::load::Group;
use crate::process::{Client, Pair, Server};
use crate::scenario::core;
use crate::size::Cell;

/// Callers that send to several peers.
const TO_PEERS: usize = 64;
/// Callers with bodies of growing size.
const WITH_BODIES: usize = 8;

/// The same load over several peers, which are nodes of one process.
pub(super) fn peers(extent: Extent) -> Result<Vec<Load>, Failure> {
    let peers = [1, 8, 64];
    Ok(vec![
        over("peers", &peers, Contender::PointSub, extent)?,
        over("peers, bare libp2p", &peers, Contender::RawStream, extent)?,
    ])
}

fn over(
    what: &'static str,
    peers: &[usize],
    contender: Contender,
    extent: Extent,
) -> Result<Load, Failure> {
    let most = peers.iter().max().copied().unwrap_or_default();
    let mut server = Server::start(contender, most)?;
    let clients =
        peers.iter().map(|peers| Client::start(contender, 1, &server.addresses()[..*peers]));
    let mut clients = clients.collect::<Result<Vec<_>, _>>()?;
    Load::measure(what, peers, extent, |step, time| {
        clients[step].load(&mut server, time, &[small(TO_PEERS)])
    })
}

/// Measures all curves.
pub(super) fn measure(extent: Extent, scale: &mut Scale) -> Result<(), Failure> {
    let peers = over("peers, 64 callers", &[1, 10, 100], Contender::PointSub, extent)?;
    for Load { cpu, rate } in [callers(extent)?, bodies(extent)?, peers] {
        scale.curves.push(cpu);
        scale.rates.push(rate);
    }
    scale.curves.push(in_flight(extent)?);
    scale.curves.push(nodes(extent)?);
    Ok(())
}

fn callers(extent: Extent) -> Result<Load, Failure> {
    let mut pair = Pair::start(Contender::PointSub)?;
    let callers = [1, 10, 100, 1000];
    Load::measure("callers with 512 bytes", &callers, extent, |step, time| {
        pair.load(time, &[small(callers[step])])
    })
}

fn bodies(extent: Extent) -> Result<Load, Failure> {
    let mut pair = Pair::start(Contender::PointSub)?;
    let sizes = [512, 5120, 51_200, 512_000, 5_120_000];
    Load::measure("bytes of a body, 8 callers", &sizes, extent, |step, time| {
        pair.load(time, &[Group::new(Kind::Random, Cell::new(sizes[step], WITH_BODIES))])
    })
}

/// The machines alone.
fn in_flight(extent: Extent) -> Result<Curve, Failure> {
    let steps = [1, 10, 100, 1000, 10_000, 100_000];
    let mut loads = steps.map(|in_flight| core::Load::new(1, in_flight));
    for load in &mut loads {
        load.run(extent.time / 4);
    }
    Curve::measure("requests in flight in the core", &steps, extent.rounds, |step| {
        Ok(loads[step].run(extent.time / 2) / 1e3)
    })
}

/// One choice of the closest, which is all that a request needs that the first node answers.
fn nodes(extent: Extent) -> Result<Curve, Failure> {
    let steps = [10, 100, 1000, 10_000];
    let known = steps.iter().map(|count| known(*count)).collect::<Result<Vec<_>, _>>()?;
    let (strategy, now) = (Weighted::default(), Timestamp::ZERO + Duration::from_secs(1));
    let mut choices: u64 = 0;
    Curve::measure("nodes to choose the closest of", &steps, extent.rounds, |step| {
        let (start, first) = (Instant::now(), choices);
        while start.elapsed() < extent.time / 4 {
            choices += 1;
            let mut selection = Selection::new(&choices.to_be_bytes(), choices);
            black_box(selection.next(&known[step], &strategy, now));
        }
        Ok(start.elapsed().as_secs_f64() * 1e6 / (choices - first) as f64)
    })
}

/// So many nodes, each of which has answered once.
fn known(count: usize) -> Result<Nodes, Failure> {
    let answered = Timestamp::ZERO + Duration::from_millis(20);
    let mut nodes = Nodes::new(None);
    for number in 0..count {
        let peer = PeerId::from_bytes(&number.to_be_bytes())?;
        nodes.add(peer, Timestamp::ZERO)?;
        let attempt = nodes.begin(&peer, Timestamp::ZERO).ok_or("a node is not known")?;
        nodes.succeeded(attempt, answered);
    }
    Ok(nodes)
}
