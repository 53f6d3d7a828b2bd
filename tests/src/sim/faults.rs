//! What goes wrong.

use std::time::Duration;

use pointsub_core::{DialId, StreamEvent, Timestamp};

use super::link::{End, Link, Side};
use super::note::Who;
use super::streams::lost;
use super::world::{Due, World};
use crate::coverage::Situation;
use crate::scenario::{Fault, Kind, Way};

fn sides(way: Way) -> &'static [Side] {
    match way {
        Way::ToServer => &[Side::Server],
        Way::ToClient => &[Side::Client],
        Way::BothWays => &[Side::Server, Side::Client],
    }
}

impl World {
    /// Something goes wrong.
    pub(super) fn fault(&mut self, number: usize) {
        let (_, fault) = self.scenario.faults[number];
        match fault {
            Fault::Stall { peer, nth, way, for_ms } => {
                let until = self.until(for_ms);
                let Some(link) = self.open_link(peer, nth) else { return };
                self.hit(Situation::Stalled);
                self.note(Who::Net, "stalls stream {a}", link.into(), 0);
                if let Some(link) = self.links.get_mut(&link) {
                    for side in sides(way) {
                        let pipe = link.pipe(*side);
                        pipe.stalled_until = pipe.stalled_until.max(until);
                    }
                }
            }
            Fault::Partition { peer, way, for_ms } => {
                let (peer, until) = (self.peer(peer), self.until(for_ms));
                self.note(
                    Who::Net,
                    "lets nothing through to or from peer {a}",
                    peer as u64,
                    way as u64,
                );
                for side in sides(way) {
                    self.peers[peer].block(*side, until);
                }
            }
            Fault::Reset { peer, nth, after } => {
                let Some(link) = self.open_link(peer, nth) else { return };
                if after == 0 {
                    return self.break_link(link, "reset by the network");
                }
                if let Some(link) = self.links.get_mut(&link) {
                    link.reset_after = Some(after);
                }
            }
            Fault::HalfClose { peer, nth, way } => {
                let Some(link) = self.open_link(peer, nth) else { return };
                for side in sides(way) {
                    self.half_close(link, *side);
                }
            }
            Fault::Crash { peer, down_ms, silent, changed } => {
                let peer = self.peer(peer);
                if !self.peers[peer].down {
                    self.crash(peer, silent, changed);
                    let until = self.until(down_ms);
                    self.schedule(until, Due::Restart(peer));
                }
            }
            Fault::Cut { peer } => self.cut_connection(self.peer(peer)),
            Fault::Refuse { peer, how, for_ms } => {
                let (peer, until) = (self.peer(peer), self.until(for_ms));
                self.note(Who::Peer(peer), "takes no streams for a while", how as u64, 0);
                self.peers[peer].refuses = Some((how, until));
            }
            Fault::SlowOpens { peer, by_ms, for_ms } => {
                let (peer, until) = (self.peer(peer), self.until(for_ms));
                self.peers[peer].slow_opens = Some((by_ms, until));
            }
            Fault::SlowHandlers { peer, by_ms, for_ms } => {
                let (peer, until) = (self.peer(peer), self.until(for_ms));
                self.peers[peer].slow_handlers = Some((by_ms, until));
            }
            Fault::ClockStall { peer, for_ms } => self.stop_clock(peer, self.until(for_ms)),
        }
    }

    fn stop_clock(&mut self, peer: Option<u8>, until: Timestamp) {
        let now = self.now;
        match peer.map(|peer| self.peer(peer)) {
            Some(peer) => {
                self.hit(Situation::ClockStalledServer);
                self.note(Who::Peer(peer), "has a clock that stands still", 0, 0);
                self.peers[peer].clock.stop(now, until);
            }
            None => {
                self.hit(Situation::ClockStalledClient);
                self.note(Who::Client, "has a clock that stands still", 0, 0);
                self.clock.stop(now, until);
            }
        }
        self.schedule(until, Due::Look);
    }

    /// One of the streams between the client and a peer.
    fn open_link(&self, peer: u8, nth: u8) -> Option<u32> {
        let peer = self.peer(peer);
        let ours = |link: &Link| link.peer == peer && link.at_client().is_some() && !link.broken;
        let links: Vec<u32> =
            self.links.iter().filter(|(_, link)| ours(link)).map(|(number, _)| *number).collect();
        links.get(usize::from(nth).checked_rem(links.len())?).copied()
    }

    fn half_close(&mut self, number: u32, side: Side) {
        let Some(link) = self.links.get_mut(&number) else { return };
        if matches!(link.end, End::Opening) || link.pipe(side).ended || !link.has_reader(side) {
            return;
        }
        let peer = link.peer;
        let pipe = link.pipe(side);
        pipe.ended = true;
        pipe.clear();
        self.paused.remove(&(number, side));
        if side == Side::Server {
            self.peers[peer].excused += 1;
        }
        self.hit(Situation::HalfClosed);
        self.note(
            Who::Net,
            "ends one direction of stream {a}",
            number.into(),
            u64::from(side == Side::Server),
        );
        self.tell(number, side, StreamEvent::Finished);
        self.taken(number, side);
    }

    /// The process of a peer is killed.
    fn crash(&mut self, peer: usize, silent: bool, changed: bool) {
        self.note(Who::Peer(peer), "crashes", u64::from(silent), u64::from(changed));
        if !self.peers[peer].at_work.is_empty() {
            self.hit(Situation::CrashAtWork);
        }
        let at = &mut self.peers[peer];
        at.server = None;
        at.down = true;
        at.at_work.clear();
        at.links.clear();
        if changed {
            at.kind = match at.kind {
                Kind::Native => Kind::Plain,
                Kind::Plain => Kind::Native,
                other => other,
            };
            self.hit(Situation::FormatForgotten);
        }
        self.lose_connections(peer);
        let raws: Vec<DialId> =
            self.raws.iter().filter(|(_, raw)| raw.is_at(peer)).map(|(dial, _)| *dial).collect();
        raws.into_iter().for_each(|dial| self.end_raw(dial));
        let links: Vec<u32> = self
            .links
            .iter()
            .filter(|(_, link)| link.peer == peer)
            .map(|(number, _)| *number)
            .collect();
        for number in links {
            let Some(link) = self.links.get_mut(&number) else { continue };
            if matches!(link.end, End::Opening) {
                continue;
            }
            link.end = End::Gone;
            if silent && link.at_client().is_some() {
                link.to_client.clear();
                self.hit(Situation::SilentCrash);
                self.paused.remove(&(number, Side::Client));
                continue;
            }
            self.tell(number, Side::Client, StreamEvent::Failed(lost("crash")));
            self.emit(&super::Event::Gone { link: number });
            self.forget(number);
        }
    }

    /// The process of a peer is started again, and knows nothing of streams.
    pub(super) fn restart(&mut self, peer: usize) {
        if !self.peers[peer].down {
            return;
        }
        self.note(Who::Peer(peer), "is back", 0, 0);
        self.peers[peer].start();
        if self.over {
            return;
        }
        let gone = |link: &Link| link.peer == peer && matches!(link.end, End::Gone);
        let links: Vec<u32> =
            self.links.iter().filter(|(_, link)| gone(link)).map(|(number, _)| *number).collect();
        for number in links {
            // Its host answers that there is no such stream.
            self.after(Duration::from_millis(1), Due::Broken(number, Side::Client));
        }
    }
}
