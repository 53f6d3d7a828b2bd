//! A stranger that opens a stream to a server of ours and speaks nonsense fluently.

use bytes::Bytes;
use pointsub_core::wire::{Kind, tag};
use pointsub_core::{Format, ProtocolName, StreamEvent, StreamOp};

use super::Rng;
use super::byzantine::{body, plain_nonsense};
use super::link::{End, Opener, Side};
use super::note::Who;
use super::peer::{PROTOCOLS, peer_id};
use super::world::{Due, World};
use crate::fuzz::{header, native};
use crate::scenario::LIMIT;

/// The first of their peer ids.
const FIRST: usize = 120;

/// A stranger.
#[derive(Debug)]
pub struct Intruder {
    draw: Rng,
    left: u8,
    /// The id of its last request.
    id: u64,
    /// Whether it takes answers.
    pub(super) reads: bool,
}

impl World {
    pub(super) fn begin_intrusion(&mut self, peer: u8, native: bool, frames: u8, script: u32) {
        let peer = self.peer(peer);
        if self.peers[peer].server.is_none() {
            return;
        }
        let mut draw = self.draw(&[12, script.into()]);
        self.intruders += 1;
        // Some come back.
        let from = peer_id(FIRST + draw.below(3) as usize);
        let native = native && self.peers[peer].kind.is_native();
        let format = if native { Format::Native } else { Format::Plain };
        let protocol = ProtocolName::new(PROTOCOLS[draw.below(2) as usize]).expect("a usable name");
        let reads = draw.chance(70);
        let intruder = Intruder { draw, left: frames, id: 0, reads };
        let link = self.new_link(peer, Opener::Intruder(intruder), protocol.clone(), format);
        self.note(Who::Peer(peer), "is opened stream {a} by a stranger", link.into(), 0);
        self.peers[peer].excused += 1;
        self.accept(link, from, &protocol, format);
        self.schedule(self.now, Due::Intrude(link));
    }

    /// A stranger says something, or ends its stream.
    pub(super) fn intrude(&mut self, number: u32) {
        let Some(link) = self.links.get_mut(&number) else { return };
        let (format, done) = (link.format, link.broken || link.to_server.closed);
        let Opener::Intruder(intruder) = &mut link.opener else { return };
        if done || matches!(link.end, End::Gone) {
            return;
        }
        if intruder.left == 0 {
            match intruder.draw.below(3) {
                0 => self.carry_out(number, Side::Server, StreamOp::Finish),
                1 => self.carry_out(number, Side::Server, StreamOp::Reset),
                // It just stays.
                _ => {}
            }
            return;
        }
        intruder.left -= 1;
        let bytes = match format {
            Format::Native => nonsense(intruder),
            Format::Plain => plain_nonsense(&mut intruder.draw),
        };
        let pause = intruder.draw.micros(100_000);
        let pause = if intruder.draw.chance(60) { std::time::Duration::ZERO } else { pause };
        self.write(number, Side::Server, bytes);
        self.after(pause, Due::Intrude(number));
    }

    pub(super) fn on_intruder_event(&mut self, number: u32, event: &StreamEvent) {
        let Some(link) = self.links.get(&number) else { return };
        if matches!(event, StreamEvent::Finished) && !link.to_server.closed {
            self.carry_out(number, Side::Server, StreamOp::Finish);
        }
    }
}

fn nonsense(intruder: &mut Intruder) -> Bytes {
    let draw = &mut intruder.draw;
    let kind = draw.below(24);
    if kind < 12 {
        intruder.id += 1 + draw.below(3);
    }
    let (id, draw) = (intruder.id, &mut intruder.draw);
    match kind {
        0..=6 => native(Kind::Request, 0, id, body(draw), |_| {}),
        7 | 8 => {
            let timeout = draw.below(100) as u32;
            native(Kind::Request, 0, id, body(draw), |head| head.u32(tag::TIMEOUT, timeout))
        }
        9 | 10 => {
            let size = draw.below(200_000) as u32;
            native(Kind::Request, 1, id, body(draw), |head| head.u32(tag::SIZE, size))
        }
        11 => native(Kind::Request, draw.below(256) as u8, id, body(draw), |_| {}),
        12..=14 => native(Kind::Cancel, 0, draw.below(id + 2), Bytes::new(), |_| {}),
        15..=17 => {
            let (max, body) = (draw.below(5) as u32, draw.below(u64::from(LIMIT)) as u32);
            native(Kind::Settings, 0, 0, Bytes::new(), |head| {
                head.u32(tag::MAX_IN_FLIGHT, max);
                head.u32(tag::MAX_BODY, body);
            })
        }
        18 => native(Kind::Response, 0, id, body(draw), |_| {}),
        19 => native(Kind::Request, 0, draw.below(id + 2), body(draw), |_| {}),
        20 => header(2, 0, id + 1, 0, LIMIT / 2 + draw.below(u64::from(LIMIT)) as u32),
        21 => header(draw.below(256) as u8, 0, id + 1, draw.below(9) as u16, 0),
        22 => Bytes::from_static(&[0; 4]),
        // Nothing at all, or so much of it that patience ends.
        _ => header(0x80, 0, id, 0, 0).repeat(if draw.chance(80) { 1 } else { 10_001 }).into(),
    }
}
