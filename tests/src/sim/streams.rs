//! Streams between the client and its peers: written, read, ended.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pointsub_core::connection::{IoFailure, Stage};
use pointsub_core::{
    ClientInput, ClientOutput, ServerInput, StreamError, StreamEvent, StreamOp, Timestamp,
};

use super::Rng;
use super::event::Event;
use super::link::{End, Opener, Pipe, Side};
use super::note::Who;
use super::world::{Due, World};
use crate::coverage::Situation;

/// A write arrives in so many pieces at most: more only cost time.
const PIECES: usize = 12;

pub(super) fn lost(why: &str) -> StreamError {
    IoFailure::Broken.into_error(Stage::Open, Arc::from(why))
}

impl World {
    /// Lets the client do what it wants done now; returns when it wants to be called again.
    pub(super) fn settle_client(&mut self) -> Option<Timestamp> {
        self.client.advance(self.client_now());
        loop {
            match self.client.poll_output() {
                ClientOutput::Open { stream, peer, protocol, offer } => {
                    self.open(stream, peer, protocol, offer);
                }
                ClientOutput::Abandon(stream) => {
                    if let Some(link) = self.by_client.get(&stream).copied() {
                        self.note(
                            Who::Client,
                            "abandons the opening of stream {a}",
                            link.into(),
                            0,
                        );
                        self.forget(link);
                    }
                }
                ClientOutput::Dial { dial, peer, protocol } => self.open_raw(dial, peer, protocol),
                ClientOutput::AbandonDial(_) => {}
                ClientOutput::HangUp(dial) => self.end_raw(dial),
                ClientOutput::Stream(stream, op) => match self.by_client.get(&stream).copied() {
                    Some(link) => self.carry_out(link, Side::Server, op),
                    None => self.emit(&Event::Stray(&op)),
                },
                ClientOutput::Event(event) => self.on_client_event(event),
                ClientOutput::Wait(deadline) => {
                    for situation in self.client.take_met() {
                        self.hit(situation);
                    }
                    return deadline;
                }
            }
        }
    }

    /// A machine wants something done on a stream; what it writes goes to `to`.
    pub(super) fn carry_out(&mut self, number: u32, to: Side, op: StreamOp) {
        self.emit(&Event::Output { link: number, to, op: &op });
        let from = match to {
            Side::Server => Who::Client,
            Side::Client => Who::Peer(self.links[&number].peer),
        };
        match op {
            StreamOp::Write(bytes) => {
                let len = bytes.len() as u64;
                if to == Side::Client
                    && let Some(link) = self.links.get_mut(&number)
                    && std::mem::take(&mut link.answers) > 1
                {
                    self.hit(Situation::AnswersTogether);
                }
                self.note(from, "writes {b} bytes on stream {a}", number.into(), len);
                self.write(number, to, bytes);
            }
            StreamOp::Finish => {
                self.note(from, "ends stream {a}", number.into(), 0);
                let pause = self.delay(number, to);
                let Some(link) = self.links.get_mut(&number) else { return };
                let pipe = link.pipe(to);
                pipe.closed = true;
                pipe.last = pipe.last.max(self.now + pause);
                pipe.end = Some(pipe.last);
                let arrives = pipe.last;
                self.client_ended(number, to);
                self.schedule(arrives, Due::Arrive(number, to));
                self.drop_unheard(number, to.other());
            }
            StreamOp::Reset => {
                self.note(from, "resets stream {a}", number.into(), 0);
                let pause = self.delay(number, to);
                let Some(link) = self.links.get_mut(&number) else { return };
                link.broken = true;
                link.pipe(to).closed = true;
                self.client_ended(number, to);
                self.paused.remove(&(number, Side::Client));
                self.paused.remove(&(number, Side::Server));
                self.after(pause, Due::Broken(number, to));
            }
        }
    }

    /// One end has done its last operation; whether that was the client's.
    fn client_ended(&mut self, number: u32, to: Side) {
        let Some(link) = self.links.get(&number).filter(|_| to == Side::Server) else { return };
        if let (Some(conn), Some(stream)) = (link.conn, link.at_client()) {
            self.conns[conn].closed(stream);
        }
    }

    /// Bytes go on their way, in pieces.
    pub(super) fn write(&mut self, number: u32, to: Side, mut bytes: Bytes) {
        let Some(link) = self.links.get_mut(&number) else { return };
        let plan = self.peers[link.peer].plan.link.clone();
        let jitter = plan.jitter;
        let pipe = link.pipe(to);
        let most = if plan.piece == 0 { bytes.len() } else { plan.piece as usize };
        let most = most.max(bytes.len().div_ceil(PIECES)).max(1);
        let mut arrivals = Vec::new();
        pipe.unread += bytes.len();
        while !bytes.is_empty() {
            let even = plan.piece == 0;
            let len =
                if even { most } else { most.div_ceil(2) + pipe.rng.below(most as u64) as usize };
            let piece = bytes.split_to(len.clamp(1, bytes.len()));
            let pause = Duration::from_micros(plan.latency.into()) + pipe.rng.micros(jitter);
            pipe.last = pipe.last.max(self.now + pause);
            pipe.sent.push_back((pipe.last, piece));
            arrivals.push(pipe.last);
        }
        let taken = self.now + pipe.rng.micros(plan.latency);
        pipe.writing = Some(taken);
        for when in arrivals {
            self.schedule(when, Due::Arrive(number, to));
        }
        self.schedule(taken, Due::Taken(number, to));
    }

    /// Until when nothing arrives in one direction.
    fn stalled_until(&self, number: u32, to: Side) -> Timestamp {
        let Some(link) = self.links.get(&number) else { return Timestamp::ZERO };
        let pipe = if to == Side::Server { &link.to_server } else { &link.to_client };
        pipe.stalled_until.max(self.peers[link.peer].blocked_until(to))
    }

    /// Bytes, or the end, may have come.
    pub(super) fn arrive(&mut self, number: u32, to: Side) {
        let stalled = self.stalled_until(number, to);
        if self.now < stalled {
            return self.schedule(stalled, Due::Arrive(number, to));
        }
        let Some(link) = self.links.get_mut(&number) else { return };
        if link.broken {
            return;
        }
        let now = self.now;
        let pipe = link.pipe(to);
        while pipe.sent.front().is_some_and(|(when, _)| *when <= now) {
            pipe.arrived.extend(pipe.sent.pop_front().map(|(_, bytes)| bytes));
        }
        self.pump(number, to);
    }

    /// Gives the reader what it wants of what has arrived.
    fn pump(&mut self, number: u32, to: Side) -> bool {
        let mut moved = false;
        loop {
            let reads = self.wants_read(number, to);
            let Some(link) = self.links.get_mut(&number) else { return moved };
            let heard = link.has_reader(to);
            if link.broken {
                return moved;
            }
            let pipe = link.pipe(to);
            if pipe.ended || !heard {
                pipe.clear();
            }
            let Some(piece) = pipe.arrived.front_mut() else { break };
            if !reads {
                if self.paused.insert((number, to)) {
                    self.hit(Situation::Paused);
                }
                return moved;
            }
            moved = true;
            let mut len = piece.len();
            if let Some(seed) = self.options.recut {
                len = 1 + Rng::of(seed, &[piece.len() as u64, number.into()]).below(len as u64)
                    as usize;
            }
            let cut = link.reset_after.map(|left| left as usize);
            let piece = link.pipe(to).arrived.front_mut().expect("looked at above");
            len = len.min(cut.unwrap_or(len).max(1));
            let bytes = piece.split_to(len);
            let empty = piece.is_empty();
            let pipe = link.pipe(to);
            if empty {
                pipe.arrived.pop_front();
            }
            pipe.unread -= len;
            self.deliver(number, to, bytes);
            if let Some(left) = cut {
                let left = left.saturating_sub(len);
                if let Some(link) = self.links.get_mut(&number) {
                    link.reset_after = Some(left as u32);
                }
                if left == 0 {
                    self.hit(Situation::ResetInside);
                    self.break_link(number, "reset by the network");
                    return true;
                }
            }
            self.taken(number, to);
        }
        self.paused.remove(&(number, to));
        self.deliver_end(number, to) || moved
    }

    /// Tells the reader of the end, if that has come.
    fn deliver_end(&mut self, number: u32, to: Side) -> bool {
        let Some(link) = self.links.get_mut(&number) else { return false };
        let now = self.now;
        let pipe = link.pipe(to);
        let over = pipe.sent.is_empty() && pipe.end.is_some_and(|when| when <= now);
        if !over || std::mem::replace(&mut pipe.ended, true) {
            return false;
        }
        self.tell(number, to, StreamEvent::Finished);
        self.forget_if_over(number);
        true
    }

    /// A stream of which both directions have come to their end is no more.
    fn forget_if_over(&mut self, number: u32) {
        let Some(link) = self.links.get(&number) else { return };
        let over = |pipe: &Pipe, heard: bool| pipe.closed && (pipe.ended || !heard);
        let to_server = over(&link.to_server, link.has_reader(Side::Server));
        let to_client = over(&link.to_client, link.has_reader(Side::Client));
        if to_server && to_client {
            self.forget(number);
        }
    }

    /// Whoever ended a stream does not hear of it any more.
    fn drop_unheard(&mut self, number: u32, side: Side) {
        self.paused.remove(&(number, side));
        if let Some(link) = self.links.get_mut(&number) {
            link.pipe(side).clear();
        }
        self.taken(number, side);
        self.forget_if_over(number);
    }

    pub(super) fn forget(&mut self, number: u32) {
        let Some(link) = self.links.remove(&number) else { return };
        self.closed_on(&link);
        if let Some(stream) = link.at_client() {
            self.by_client.remove(&stream);
        }
        if let End::Machine(stream) = link.end {
            self.peers[link.peer].links.remove(&stream);
        }
        self.paused.remove(&(number, Side::Client));
        self.paused.remove(&(number, Side::Server));
    }

    /// Reads on where a reader had paused; whether there was anything.
    pub(super) fn resume(&mut self) -> bool {
        let mut moved = false;
        for (number, to) in self.paused.iter().copied().collect::<Vec<_>>() {
            if self.wants_read(number, to)
                || self.links.get(&number).is_some_and(|l| !l.has_reader(to))
            {
                self.paused.remove(&(number, to));
                moved |= self.pump(number, to);
            }
        }
        moved
    }

    fn wants_read(&self, number: u32, to: Side) -> bool {
        let Some(link) = self.links.get(&number) else { return false };
        match (to, &link.end) {
            (Side::Client, _) => match &link.opener {
                Opener::Client(stream) => self.client.wants_read(*stream),
                Opener::Intruder(intruder) => intruder.reads,
            },
            (Side::Server, End::Machine(stream)) => {
                self.peers[link.peer].server.as_ref().is_some_and(|s| s.wants_read(*stream))
            }
            (Side::Server, _) => true,
        }
    }

    /// Gives bytes to a reader: sometimes straight into the space of a large body.
    fn deliver(&mut self, number: u32, to: Side, bytes: Bytes) {
        self.note(Who::Net, "brings {b} bytes on stream {a}", number.into(), bytes.len() as u64);
        self.emit(&Event::Delivered { link: number, to, bytes: &bytes });
        let Some(link) = self.links.get(&number) else { return };
        let space = match (to, &link.opener, &link.end) {
            (Side::Client, Opener::Client(stream), _) => self.client.space(*stream),
            (Side::Server, _, End::Machine(stream)) => {
                let stream = *stream;
                self.peers[link.peer].server.as_mut().and_then(|server| server.space(stream))
            }
            _ => None,
        };
        let event = match space {
            Some(space) if space.len() >= bytes.len() && bytes.len().is_multiple_of(2) => {
                space[..bytes.len()].copy_from_slice(&bytes);
                self.hit(Situation::Filled);
                StreamEvent::Filled(bytes.len())
            }
            _ => StreamEvent::Received(bytes),
        };
        self.tell(number, to, event);
    }

    /// The writer is told that its bytes were taken, if they were.
    pub(super) fn taken(&mut self, number: u32, to: Side) {
        let stalled = self.stalled_until(number, to);
        let Some(link) = self.links.get_mut(&number) else { return };
        let window = self.peers[link.peer].plan.link.window as usize;
        let broken = link.broken;
        let pipe = link.pipe(to);
        let Some(when) = pipe.writing else { return };
        if broken || self.now < when || pipe.unread > window {
            return;
        }
        // The window of a stream that stands still is full at once.
        if self.now < stalled && pipe.unread > 0 {
            return self.schedule(stalled, Due::Taken(number, to));
        }
        pipe.writing = None;
        self.tell(number, to.other(), StreamEvent::Written);
    }

    /// Tells one end of a stream what happened on it.
    pub(super) fn tell(&mut self, number: u32, side: Side, event: StreamEvent) {
        let Some(link) = self.links.get(&number) else { return };
        let peer = link.peer;
        self.told = true;
        match (side, &link.opener, &link.end) {
            (Side::Client, Opener::Client(stream), _) => {
                let stream = *stream;
                self.client.handle_input(ClientInput::Stream(stream, event), self.client_now());
            }
            (Side::Client, Opener::Intruder(_), _) => self.on_intruder_event(number, &event),
            (Side::Server, _, End::Machine(stream)) => {
                let (stream, now) = (*stream, self.peer_now(peer));
                if let Some(server) = &mut self.peers[peer].server {
                    server.handle_input(ServerInput::Stream(stream, event), now);
                }
            }
            (Side::Server, _, End::SingleShot { .. }) => self.on_single_shot_event(number, event),
            (Side::Server, _, End::Byzantine { .. }) => self.on_byzantine_event(number, event),
            (Side::Server, _, End::Opening | End::Gone) => {}
        }
    }

    /// The other end has reset a stream, and that is heard of here.
    pub(super) fn hear_of_reset(&mut self, number: u32, side: Side) {
        let stalled = self.stalled_until(number, side);
        if self.now < stalled {
            return self.schedule(stalled, Due::Broken(number, side));
        }
        let Some(link) = self.links.get(&number) else { return };
        if link.has_reader(side) || !matches!(side, Side::Client) {
            // Some transports cannot tell a reset from other ends.
            let told = self.draw(&[17, number.into()]).chance(50);
            let failure = if told { IoFailure::Reset } else { IoFailure::Broken };
            let error = failure.into_error(Stage::Open, "reset by the peer".into());
            if error == StreamError::Reset && side == Side::Client {
                self.hit(Situation::ResetTold);
            }
            self.tell(number, side, StreamEvent::Failed(error));
        }
        self.emit(&Event::Gone { link: number });
        self.forget(number);
    }

    /// A stream breaks: both ends hear of it at once.
    pub(super) fn break_link(&mut self, number: u32, why: &str) {
        let Some(link) = self.links.get(&number) else { return };
        if link.is_opening() {
            self.hit(Situation::NotAccepted);
            let error = IoFailure::NotAccepted.into_error(Stage::Negotiating, why.into());
            return self.fail_open(number, error);
        }
        self.note(Who::Net, "breaks stream {a}", number.into(), 0);
        for side in [Side::Client, Side::Server] {
            self.tell(number, side, StreamEvent::Failed(lost(why)));
        }
        self.emit(&Event::Gone { link: number });
        self.forget(number);
    }
}
