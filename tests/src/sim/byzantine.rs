//! A server that speaks nonsense fluently: valid frames in invalid orders, and some that are not.

use std::time::Duration;

use bytes::Bytes;
use pointsub_core::wire::{Decoder, Kind, Outbox, tag};
use pointsub_core::{Format, StreamEvent, StreamOp};

use super::Rng;
use super::link::{End, Side};
use super::world::{Due, World};
use crate::fuzz::{header, native, written};
use crate::scenario::LIMIT;

/// How much it says on one stream at most.
const LEFT: u32 = 12;

impl World {
    pub(super) fn byzantine_end(&mut self, number: u32, format: Format) -> End {
        let mut draw = self.draw(&[9, number.into()]);
        for _ in 0..draw.below(4) {
            self.after(draw.micros(400_000), Due::Nonsense(number));
        }
        // However quiet it is, it does not hold a stream for ever.
        self.after(Duration::from_secs(600), Due::Nonsense(number));
        End::Byzantine {
            decoder: Box::new(Decoder::new(format, LIMIT as usize)),
            ids: Vec::new(),
            left: LEFT,
        }
    }

    pub(super) fn on_byzantine_event(&mut self, number: u32, event: StreamEvent) {
        let Some(link) = self.links.get_mut(&number) else { return };
        let End::Byzantine { decoder, ids, .. } = &mut link.end else { return };
        match event {
            StreamEvent::Received(bytes) => {
                decoder.push(bytes);
                let mut asked = 0;
                while let Ok(Some(frame)) = decoder.next_frame() {
                    if matches!(frame.header.kind, None | Some(Kind::Request)) {
                        ids.push(frame.header.id);
                        asked += 1;
                    }
                }
                let mut draw = self.draw(&[10, number.into(), self.now.as_nanos()]);
                for _ in 0..asked * draw.below(3) {
                    self.after(draw.micros(60_000), Due::Nonsense(number));
                }
            }
            StreamEvent::Finished => self.carry_out(number, Side::Client, StreamOp::Finish),
            StreamEvent::Failed(_) => link.end = End::Gone,
            _ => {}
        }
    }

    /// It says something, or ends the stream.
    pub(super) fn say_anything(&mut self, number: u32) {
        let Some(link) = self.links.get_mut(&number) else { return };
        let (format, broken) = (link.format, link.broken || link.to_client.closed);
        let End::Byzantine { ids, left, .. } = &mut link.end else { return };
        if broken {
            return;
        }
        *left = left.saturating_sub(1);
        let (left, ids) = (*left, ids.clone());
        let mut draw = self.draw(&[11, number.into(), left.into(), ids.len() as u64]);
        if left == 0 || draw.chance(6) {
            let op = if draw.chance(50) { StreamOp::Finish } else { StreamOp::Reset };
            return self.carry_out(number, Side::Client, op);
        }
        let bytes = match format {
            Format::Native => nonsense(&mut draw, &ids),
            Format::Plain => plain_nonsense(&mut draw),
        };
        if !bytes.is_empty() {
            self.write(number, Side::Client, bytes);
        }
    }
}

/// A body of nothing in particular.
pub(super) fn body(draw: &mut Rng) -> Bytes {
    let len = if draw.chance(7) { draw.below(u64::from(LIMIT) + 9) } else { draw.below(60) };
    Bytes::from(vec![draw.below(256) as u8; len as usize])
}

/// A plain frame, or something that is none, in either direction.
pub(super) fn plain_nonsense(draw: &mut Rng) -> Bytes {
    match draw.below(8) {
        0 => Bytes::from_static(&[0xff; 4]),
        1 => Bytes::copy_from_slice(&(LIMIT + draw.below(2) as u32).to_be_bytes()),
        2 => Bytes::from_static(&[0; 3]),
        _ => {
            let mut outbox = Outbox::default();
            outbox.plain(body(draw));
            written(&mut outbox)
        }
    }
}

fn nonsense(draw: &mut Rng, ids: &[u64]) -> Bytes {
    let id = match ids.len() as u64 {
        0 => draw.below(1 << 22),
        len if draw.chance(90) => ids[draw.below(len) as usize],
        _ => draw.next_u64(),
    };
    match draw.below(20) {
        0..=5 => native(Kind::Response, 0, id, body(draw), |_| {}),
        6..=8 => {
            let (flags, status) = (if draw.chance(50) { 0x40 } else { 0 }, draw.below(14) as u8);
            let after = draw.below(40_000) as u32;
            native(Kind::Response, flags, id, body(draw), |head| {
                head.u8(tag::STATUS, status);
                head.u32(tag::RETRY_AFTER, after);
                head.u16(tag::LOAD, after as u16);
            })
        }
        9 => {
            let size = draw.below(300_000) as u32;
            native(Kind::Response, 1, id, body(draw), |head| head.u32(tag::SIZE, size))
        }
        10 => native(Kind::Drain, 0, id, Bytes::new(), |_| {}),
        11..=13 => {
            let (max, body) = (draw.below(5) as u32, draw.below(u64::from(LIMIT)) as u32);
            native(Kind::Settings, 0, 0, Bytes::new(), |head| {
                head.u32(tag::MAX_IN_FLIGHT, max);
                head.u32(tag::MAX_BODY, body);
            })
        }
        14 => native(Kind::Data, 0, id, body(draw), |_| {}),
        15 => native(Kind::Cancel, 0, id, Bytes::new(), |_| {}),
        16 => header(draw.below(256) as u8, 0, id, 0, LIMIT + draw.below(2) as u32),
        17 => Bytes::from_static(&[0; 4]),
        18 => header(3, draw.below(256) as u8, id, draw.below(9) as u16, 0),
        // A kind of later versions, which is skipped.
        _ => header(0x80, 0, id, 0, 0),
    }
}
