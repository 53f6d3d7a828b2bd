//! Counters add up, agree with what was seen from outside, and never run backwards.

use pointsub_core::ClientStats;

use super::{Check, ensure};
use crate::sim::{Asked, Event, PROTOCOLS, World};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Requests to one peer that were answered, and all that were.
    answered: u64,
    before: ClientStats,
}

impl Check for Counters {
    fn name(&self) -> &'static str {
        "counters"
    }

    fn observe(&mut self, event: &Event<'_>, _: &World) -> Result<(), String> {
        self.answered += u64::from(matches!(event, Event::Answered { .. }));
        Ok(())
    }

    fn step(&mut self, world: &World) -> Result<(), String> {
        let client = world.client.stats();
        let ended = client.ok + client.failed + client.cancelled;
        ensure!(client.started == ended + client.in_flight, "the client's counters: {client:?}");
        let one = world.pending.keys().filter(|asked| matches!(asked, Asked::Request(_))).count();
        let calls = world.pending.len() - one;
        let most = one + calls * world.peers.len();
        let range = one as u64..=most as u64;
        ensure!(range.contains(&client.in_flight), "requests without an outcome: {client:?}");
        ensure!(client.waiting <= client.in_flight, "the waiting: {client:?}");
        ensure!(client.idle_streams <= client.streams, "the idle: {client:?}");
        let raws = world.raws.len() as u64;
        ensure!(client.raw_streams == raws, "{} raw streams, not {raws}", client.raw_streams);
        let routes = client.routes as usize;
        let used = client.streams + client.in_flight;
        ensure!(client.routes <= used, "routes of nothing: {client:?}");
        ensure!(client.peers <= used + raws, "peers without anything: {client:?}");
        ensure!(routes <= world.peers.len() * PROTOCOLS.len(), "too many routes: {client:?}");
        // An answer that does not inflate, or that comes after its caller has gone, is one too.
        ensure!(client.ok >= self.answered, "{} answers of {}", client.ok, self.answered);
        let grown = |of: fn(&ClientStats) -> u64| of(&client) >= of(&self.before);
        let grow = grown(|s| s.started) && grown(|s| s.opens) && grown(|s| s.retries);
        ensure!(grow && grown(|s| s.placed), "a counter runs backwards");
        ensure!(client.reused <= client.placed, "the reused: {client:?}");
        self.before = client;
        servers(world)
    }
}

fn servers(world: &World) -> Result<(), String> {
    for (number, peer) in world.peers.iter().enumerate() {
        let Some(server) = &peer.server else { continue };
        let stats = server.stats();
        let ended = stats.ok + stats.failed + stats.abandoned;
        ensure!(stats.started == ended + stats.in_flight, "a server's counters: {stats:?}");
        let raws = world.raws.values().filter(|raw| raw.is_at(number)).count();
        ensure!(stats.raw_streams == raws as u64, "{} raw streams, not {raws}", stats.raw_streams);
        let at_work = peer.at_work.len() as u64;
        // A handler begins when admission control has heard of it, and is forgotten after its end.
        ensure!(stats.in_flight >= at_work, "{at_work} at work, {} known", stats.in_flight);
        if server.is_quiet() {
            ensure!(stats.in_flight == at_work, "{} at work, not {at_work}", stats.in_flight);
            let stopping = peer.at_work.values().filter(|work| work.stopping).count() as u64;
            ensure!(stats.stopping == stopping, "{} stopping, not {stopping}", stats.stopping);
        }
        ensure!(stats.peers <= stats.streams, "peers without a stream: {stats:?}");
        ensure!(stats.busy <= stats.refused, "the busy: {stats:?}");
        let broken = stats.violations;
        ensure!(broken <= peer.excused, "{broken} streams broke the format, not {}", peer.excused);
        ensure!(stats.cut_off <= peer.excused, "{} honest peers cut off", stats.cut_off);
    }
    Ok(())
}
