//! The oldest Go servers: one request, one answer, then the stream is closed.

use bytes::Bytes;
use pointsub_core::wire::Outbox;
use pointsub_core::{StreamEvent, StreamOp};

use super::calls::{answer_to, number_in};
use super::link::{End, Side};
use super::world::{Due, World};
use crate::scenario::LIMIT;

impl World {
    pub(super) fn on_single_shot_event(&mut self, number: u32, event: StreamEvent) {
        let Some(link) = self.links.get_mut(&number) else { return };
        let peer = link.peer;
        let End::SingleShot { request, complete } = &mut link.end else { return };
        match event {
            StreamEvent::Received(bytes) if !*complete => {
                request.extend_from_slice(&bytes);
                let Some(len) = request.first_chunk().map(|len| u32::from_be_bytes(*len)) else {
                    return;
                };
                if len > LIMIT {
                    return self.carry_out(number, Side::Client, StreamOp::Reset);
                }
                if request.len() >= 4 + len as usize {
                    *complete = true;
                    request.drain(..4);
                    request.truncate(len as usize);
                    let asked = number_in(&Bytes::copy_from_slice(request));
                    let sightings = self.sees(peer, asked);
                    let work = self.work(peer, asked, sightings);
                    self.after(work, Due::SingleShot(number));
                }
            }
            StreamEvent::Finished if !*complete => {
                self.carry_out(number, Side::Client, StreamOp::Finish);
            }
            StreamEvent::Failed(_) => link.end = End::Gone,
            _ => {}
        }
    }

    /// Its handler is done.
    pub(super) fn answer_once(&mut self, number: u32) {
        let Some(link) = self.links.get(&number) else { return };
        let (peer, broken) = (link.peer, link.broken);
        let End::SingleShot { request, .. } = &link.end else { return };
        let body = Bytes::copy_from_slice(request);
        if broken {
            return;
        }
        let answer = answer_to(peer, &body);
        if !self.fails(peer, &body) && answer.len() <= LIMIT as usize {
            let mut outbox = Outbox::default();
            outbox.plain(answer);
            let bytes = crate::fuzz::written(&mut outbox);
            self.carry_out(number, Side::Client, StreamOp::Write(bytes));
        }
        self.carry_out(number, Side::Client, StreamOp::Finish);
    }
}
