//! The servers of ours, and their handlers.

use std::time::Duration;

use bytes::Bytes;
use pointsub_core::connection::{Compression, runs_inline};
use pointsub_core::{
    Body, Format, InboundId, PeerId, ProtocolName, ServerEvent, ServerOutput, Status, StatusCode,
    Timestamp,
};

use super::calls::{answer_to, number_in};
use super::event::Event;
use super::link::{End, Side};
use super::note::Who;
use super::peer::{CLIENT, PROTOCOLS, Work, peer_id};
use super::server::{SimOutput, SimServer};
use super::world::{Due, World};
use crate::coverage::Situation;

impl World {
    /// Lets a server do what it wants done now; returns when it wants to be called again.
    pub(super) fn settle_server(&mut self, number: usize) -> Option<Timestamp> {
        let now = self.peer_now(number);
        self.peers[number].server.as_mut()?.advance(now);
        loop {
            let output = self.peers[number].server.as_mut()?.poll_output();
            let output = match output {
                SimOutput::Server(output) => output,
                SimOutput::Admitted { peer: from, protocol } => {
                    self.emit(&Event::Admitted { peer: number, from, protocol: &protocol });
                    continue;
                }
                seen => {
                    self.see_seam(number, seen);
                    continue;
                }
            };
            match output {
                ServerOutput::Stream(stream, op) => {
                    match self.peers[number].links.get(&stream).copied() {
                        Some(link) => self.carry_out(link, Side::Client, op),
                        None => self.emit(&Event::Stray(&op)),
                    }
                }
                ServerOutput::HangUp(key) => self.server_hangs_up(number, key),
                ServerOutput::Event(event) => self.on_server_event(number, event),
                ServerOutput::Wait(deadline) => return deadline,
            }
        }
    }

    /// What the parts of a server show of the seam between them.
    fn see_seam(&mut self, number: usize, seen: SimOutput) {
        match seen {
            SimOutput::Together => self.hit(Situation::PlacesTogether),
            SimOutput::Renewed { last } => {
                self.hit(Situation::PlaceRenewed);
                if last {
                    self.hit(Situation::RenewalsUsedUp);
                }
            }
            SimOutput::Closed { stream, asking, at_work } => {
                self.ended_on(number, stream);
                if asking {
                    self.hit(Situation::ClosedWhileAsking);
                }
                if asking && self.peers[number].stopping {
                    self.hit(Situation::StopWhileAsking);
                }
                if at_work > 0 {
                    self.hit(Situation::HandlersStopped);
                }
            }
            SimOutput::Stopped(request) => _ = self.peers[number].at_work.remove(&request),
            SimOutput::Server(_) | SimOutput::Admitted { .. } => {}
        }
    }

    /// A peer takes a stream.
    pub(super) fn accept(
        &mut self,
        link: u32,
        from: PeerId,
        protocol: &ProtocolName,
        format: Format,
    ) {
        let Some((peer, conn)) = self.links.get(&link).map(|link| (link.peer, link.conn)) else {
            return;
        };
        let now = self.peer_now(peer);
        let conn = conn.filter(|_| self.limits_streams(peer));
        let room = conn.is_none_or(|conn| self.has_room(conn));
        let honest = self.peers[peer].kind.is_honest();
        let end = match &mut self.peers[peer].server {
            Some(server) => {
                let stream = server.accept(from, protocol, format, room, now);
                self.peers[peer].links.insert(stream, link);
                if let Some(conn) = conn {
                    self.accepted_on(conn, stream, room);
                }
                End::Machine(stream)
            }
            None if honest => End::SingleShot { request: Vec::new(), complete: false },
            None => self.byzantine_end(link, format),
        };
        if let Some(link) = self.links.get_mut(&link) {
            link.end = end;
        }
    }

    fn on_server_event(&mut self, number: usize, event: ServerEvent) {
        match event {
            ServerEvent::Request { request, peer, protocol, payload, .. } => {
                let (compressed, inline) = (payload.is_compressed(), runs_inline(&payload));
                let body = payload.into_bytes();
                if !self.peers[number].server.as_ref().is_some_and(SimServer::has_seam) {
                    self.emit(&Event::Admitted { peer: number, from: peer, protocol: &protocol });
                }
                let Ok(body) = body else {
                    // Only a stranger compresses wrongly.
                    if peer == peer_id(CLIENT) {
                        self.emit(&Event::Confused("a body that does not inflate"));
                    }
                    let broken = Status::new(StatusCode::BadRequest, "does not inflate");
                    let work = Work { number: None, body: Bytes::new(), stopping: false };
                    self.peers[number].at_work.insert(request, work);
                    return self.respond(number, request, Err(broken));
                };
                if compressed {
                    self.hit(Situation::Compressed);
                }
                let ours = (peer == peer_id(CLIENT)).then(|| number_in(&body));
                let key = ours.unwrap_or(body.len() as u64 + 1_000_000);
                let sightings = ours.map_or(0, |asked| self.sees(number, asked));
                let work = Work { number: ours, body, stopping: false };
                self.peers[number].at_work.insert(request, work);
                let pause = self.work(number, key, sightings);
                if pause.is_zero() && inline {
                    self.hit(Situation::HandledInPlace);
                    self.handled(number, request);
                } else {
                    self.after(pause, Due::Handled(number, request));
                }
            }
            ServerEvent::Abandon { request } => {
                let mut draw = self.draw(&[8, number as u64, self.now.as_nanos()]);
                self.hit(Situation::Abandoned);
                if self.peers[number].stopping {
                    self.hit(Situation::DrainCutOff);
                }
                let Some(work) = self.peers[number].at_work.get_mut(&request) else {
                    return self.emit(&Event::Confused("abandoned without work"));
                };
                if std::mem::replace(&mut work.stopping, true) {
                    self.emit(&Event::Confused("abandoned twice"));
                }
                match draw.below(4) {
                    // One that goes on regardless answers in its own time.
                    0 => {}
                    1 => self.after(draw.micros(50_000), Due::Stopped(number, request)),
                    _ => self.stopped(number, request),
                }
            }
            ServerEvent::Drained => {
                let peer = &mut self.peers[number];
                let asked = std::mem::take(&mut peer.stopping);
                self.emit(&Event::Drained { who: Who::Peer(number), asked });
                self.note(Who::Peer(number), "has stopped", 0, 0);
                if !self.over {
                    // It begins another life.
                    for protocol in PROTOCOLS {
                        self.peers[number].register(protocol);
                    }
                }
            }
            other => panic!("an event that the world does not know: {other:?}"),
        }
    }

    /// A handler sees a request of the client; how often one has before.
    pub(super) fn sees(&mut self, peer: usize, number: u64) -> u64 {
        let seen = self.seen.entry(number).or_default();
        let before = u64::from(*seen);
        *seen += 1;
        if before > 0 {
            self.hit(Situation::SeenTwice);
        }
        self.note(Who::Peer(peer), "begins to work on request {a}", number, 0);
        self.emit(&Event::Handler { peer, number });
        before
    }

    /// How long a handler works.
    pub(super) fn work(&self, peer: usize, number: u64, sightings: u64) -> Duration {
        let mut draw = self.draw(&[7, peer as u64, number, sightings]);
        let at = &self.peers[peer];
        let slow = draw.chance(at.plan.slow.into());
        let mut work = draw.micros(if slow { 5_000_000 } else { at.plan.work });
        if let Some((by, until)) = at.slow_handlers
            && self.now < until
        {
            work += Duration::from_millis(by.into());
        }
        work
    }

    /// Whether the handler of a request fails.
    pub(super) fn fails(&self, peer: usize, body: &Bytes) -> bool {
        let failing = self.peers[peer].plan.failing;
        self.draw(&[6, peer as u64, number_in(body), body.len() as u64]).chance(failing.into())
    }

    /// A handler is done.
    pub(super) fn handled(&mut self, peer: usize, request: InboundId) {
        let Some(work) = self.peers[peer].at_work.get(&request) else { return };
        if work.stopping {
            self.hit(Situation::AnsweredAbandoned);
        }
        let (body, number) = (
            self.peers[peer].at_work[&request].body.clone(),
            self.peers[peer].at_work[&request].number,
        );
        let answer = if self.fails(peer, &body) {
            Err(Status::new(StatusCode::Application(7), "seven"))
        } else {
            let answer = answer_to(peer, &body);
            let compress = self.draw(&[5, number_in(&body), body.len() as u64]).chance(25);
            Ok(match Compression::of(&answer, compress) {
                Compression::None => Body::uncompressed(answer),
                Compression::Inline | Compression::Spawned => {
                    self.hit(Situation::AnswerCompressed);
                    Body::compressed(answer)
                }
            })
        };
        self.note(Who::Peer(peer), "is done with request {a}", number.unwrap_or(u64::MAX), 0);
        self.respond(peer, request, answer);
    }

    fn respond(&mut self, peer: usize, request: InboundId, answer: Result<Body, Status>) {
        self.peers[peer].at_work.remove(&request);
        let now = self.peer_now(peer);
        let link = self.peers[peer].links.get(&request.stream());
        if let Some(link) = link.and_then(|link| self.links.get_mut(link)) {
            link.answers += 1;
        }
        if let Some(server) = &mut self.peers[peer].server {
            server.respond(request, answer, now);
        }
    }

    /// A handler that was told to stop has stopped.
    pub(super) fn stopped(&mut self, peer: usize, request: InboundId) {
        if self.peers[peer].at_work.remove(&request).is_none() {
            return;
        }
        let now = self.peer_now(peer);
        if let Some(server) = &mut self.peers[peer].server {
            server.abandoned(request, now);
        }
    }
}
