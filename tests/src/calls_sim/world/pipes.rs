//! What lies between the two ends, and what goes wrong there.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use pointsub_core::connection::Calls;
use pointsub_core::wire::{Decoder, Frame, Kind, Outbox};
use pointsub_core::{Format, Timestamp};

use super::super::Planted;
use super::super::app::From;
use super::super::check::Ledger;
use super::super::plan::MAX_MESSAGE;
use super::World;

/// So much of messages goes into one write.
const FILL: usize = 64 * 1024;

/// One end of the stream.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) calls: Calls,
    pub(super) outbox: Outbox,
    /// What comes.
    pub(super) decoder: Decoder,
    /// What goes, looked at from outside.
    pub(super) tap: Decoder,
    pub(super) ledger: Ledger,
    /// What is under way to the other end, and when it is there.
    pub(super) pipe: VecDeque<(u64, Bytes)>,
    /// Frames that a planted fault keeps back.
    pub(super) kept: Vec<Frame>,
}

impl Side {
    pub(super) fn new(calls: Calls) -> Self {
        Self {
            calls,
            outbox: Outbox::new(0),
            decoder: Decoder::new(Format::Native, MAX_MESSAGE),
            tap: Decoder::new(Format::Native, MAX_MESSAGE),
            ledger: Ledger::default(),
            pipe: VecDeque::new(),
            kept: Vec::new(),
        }
    }

    /// Whether there is nothing to write, and nothing is under way.
    pub(super) fn is_quiet(&self) -> bool {
        self.pipe.is_empty() && self.outbox.is_empty() && !self.calls.wants_write()
    }

    fn under_way(&self) -> usize {
        self.pipe.iter().map(|(_, bytes)| bytes.len()).sum()
    }
}

impl World {
    /// Writes what can be written.
    pub(super) fn write(&mut self, from: From) -> Result<(), String> {
        let arrives = self.now + self.plan.latency;
        let behind = self.planted == Some(Planted::CancelBehindData);
        let side = if from == From::Client { &mut self.client } else { &mut self.server };
        while side.under_way() < self.plan.pipe {
            if side.outbox.is_empty() {
                side.calls.fill(&mut side.outbox, FILL);
            }
            let Some(bytes) = side.outbox.next_write() else { break };
            side.tap.push(bytes.clone());
            while let Some(frame) = side.tap.next_frame().map_err(|error| error.to_string())? {
                side.ledger.sent(&frame)?;
                if behind && frame.header.kind == Some(Kind::Cancel) {
                    side.kept.push(frame);
                }
            }
            side.pipe.push_back((arrives, bytes));
        }
        Ok(())
    }

    /// Hands over what has arrived.
    pub(super) fn deliver(&mut self, from: From) -> Result<(), String> {
        let now = self.now;
        let (sender, receiver) = match from {
            From::Client => (&mut self.client, &mut self.server),
            From::Server => (&mut self.server, &mut self.client),
        };
        let mut frames = Vec::new();
        while sender.pipe.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, mut bytes)) = sender.pipe.pop_front() else { break };
            while !bytes.is_empty() {
                let len = 1 + self.rng.below(bytes.len() as u64) as usize;
                receiver.decoder.push(bytes.split_to(len));
                while let Some(frame) =
                    receiver.decoder.next_frame().map_err(|error| error.to_string())?
                {
                    frames.push(frame);
                }
            }
        }
        self.spoil(from, &mut frames);
        for frame in frames {
            let side = if from == From::Client { &mut self.server } else { &mut self.client };
            side.ledger.received(&frame);
            if frame.header.kind == Some(Kind::Request) {
                self.take_request(frame)?;
            } else {
                let now = Timestamp::ZERO + Duration::from_millis(now);
                side.calls.handle(frame, now).map_err(|error| error.to_string())?;
                self.events()?;
            }
        }
        Ok(())
    }

    /// Makes a planted fault in what is under way.
    fn spoil(&mut self, from: From, frames: &mut Vec<Frame>) {
        let Some(planted) = self.planted else { return };
        let (kind, what) = match planted {
            Planted::DataLost => (Kind::Data, 0),
            Planted::DataTwice => (Kind::Data, 1),
            Planted::DataSwapped => (Kind::Data, 2),
            Planted::FinishLost => (Kind::Finish, 0),
            Planted::CreditLost => (Kind::Credit, 0),
            Planted::AnswerFirst => (Kind::Response, 2),
            Planted::AnswerTwice => (Kind::Response, 1),
            Planted::CancelLost => (Kind::Cancel, 0),
            Planted::CancelBehindData => return self.hold_back(from, frames),
            _ => return,
        };
        let mut at = 0;
        while at < frames.len() {
            if frames[at].header.kind == Some(kind) && self.plants(planted) {
                match what {
                    0 => drop(frames.remove(at)),
                    1 => {
                        frames.insert(at, frames[at].clone());
                        at += 1;
                    }
                    _ => {
                        let id = frames[at].header.id;
                        let before = frames[..at].iter().rposition(|other| other.header.id == id);
                        if let Some(before) = before {
                            frames.swap(before, at);
                        }
                    }
                }
            }
            at += 1;
        }
    }

    /// Keeps cancellations back while there are messages.
    fn hold_back(&mut self, from: From, frames: &mut Vec<Frame>) {
        if from == From::Server {
            return;
        }
        let busy = frames.iter().any(|frame| frame.header.kind == Some(Kind::Data));
        let busy = busy || !self.client.pipe.is_empty();
        frames.retain(|frame| frame.header.kind != Some(Kind::Cancel));
        if !busy {
            frames.append(&mut self.client.kept);
        }
    }
}
