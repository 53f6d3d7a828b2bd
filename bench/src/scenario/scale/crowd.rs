//! A server with very many streams from several processes: what it holds, and what another client
//! notices of it.

use super::curve::Load;
use super::memory::open;
use super::{Extent, at_rest, small};
use crate::contender::{Contender, Failure, ROOM};
use crate::process::{Client, Server};

/// Its server has a stream for every request that is under way at the same time, and keeps it.
const CONTENDER: Contender = Contender::RoomyPlain;
const PROCESSES: usize = 5;
/// Callers of the client beside them.
const CALLERS: usize = 64;

/// What was found.
#[derive(Debug)]
pub(crate) struct Crowd {
    /// Client processes, and nodes in each.
    pub(crate) clients: [usize; 2],
    /// Streams that are open, all of them idle.
    pub(crate) streams: usize,
    /// KiB resident at the server before the first and with all of them.
    pub(crate) kib: [f64; 2],
    /// The load of one more client beside none and beside all of them.
    pub(crate) beside: Load,
}

/// Measures.
pub(super) fn measure(extent: Extent) -> Result<Crowd, Failure> {
    let mut servers = [Server::start(CONTENDER, 1)?, Server::start(CONTENDER, 1)?];
    let [_, crowded] = &mut servers;
    let before = at_rest(|| crowded.usage())?;
    let mut clients = Vec::new();
    for _ in 0..PROCESSES {
        let mut client = Client::start(CONTENDER, extent.nodes, crowded.addresses())?;
        open(&mut client, crowded, extent.nodes * ROOM)?;
        clients.push(client);
    }
    let kib = [before, at_rest(|| crowded.usage())?];
    let mut others = Vec::new();
    for server in &servers {
        others.push(Client::start(CONTENDER, 1, server.addresses())?);
    }
    let streams = PROCESSES * extent.nodes * ROOM;
    let beside = Load::measure("idle streams", &[0, streams], extent, |step, time| {
        others[step].load(&mut servers[step], time, &[small(CALLERS)])
    })?;
    Ok(Crowd { clients: [PROCESSES, extent.nodes], streams, kib, beside })
}
