//! What the applications ask for, and what the client's is told.

use std::time::Duration;

use bytes::Bytes;
use pointsub_core::connection::BULK;
use pointsub_core::endpoint::closest::Point;
use pointsub_core::{
    Body, CallOptions, Cause, ClientEvent, ClosestAnswer, ClosestFailure, ClosestId,
    ClosestOptions, Delivery, Hedge, NodeOutcome, PeerId, Phase, ProtocolName, RequestError,
    RequestId, SendError, StatusCode, Timestamp,
};

use super::event::{Event, Known};
use super::note::Who;
use super::peer::PROTOCOLS;
use super::world::{Due, World};
use crate::coverage::Situation;
use crate::scenario::{Kind, Op};

/// What the client calls something that it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Asked {
    /// A request to one peer.
    Request(RequestId),
    /// A call to the closest node.
    Closest(ClosestId),
}

/// What was asked for.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Its number; the body begins with it.
    pub number: u64,
    /// The only peer that may answer; `None` if any node may.
    pub to: Option<usize>,
    /// Under which protocol.
    pub protocol: &'static str,
    /// Nodes that are not asked.
    pub exclude: Vec<PeerId>,
    /// When a further node is asked.
    pub hedge: Option<Duration>,
    /// Whether handlers may see it twice.
    pub idempotent: bool,
    /// When the caller stops waiting.
    pub deadline: Option<Timestamp>,
    /// The body.
    pub body: Bytes,
    /// When it was asked for, by the true time.
    pub at: Timestamp,
}

/// What the handler of a peer answers: no other peer and no other request gives the same.
#[must_use]
pub fn answer_to(peer: usize, body: &Bytes) -> Bytes {
    std::iter::once(peer as u8).chain(body.iter().rev().copied()).collect()
}

pub(super) fn number_in(body: &Bytes) -> u64 {
    body.first_chunk().map_or(u64::MAX, |bytes| u64::from_be_bytes(*bytes))
}

/// The body of a request: its number, then something that compresses.
fn body_of(number: u64, len: u32) -> Bytes {
    let mut body = number.to_be_bytes().to_vec();
    body.extend((8..len.max(8)).map(|i| (i / 64) as u8));
    Bytes::from(body)
}

fn millis(ms: u16) -> Duration {
    Duration::from_millis(ms.into())
}

impl World {
    /// An application wants something.
    pub(super) fn operate(&mut self, number: usize) {
        let (_, op) = self.scenario.ops[number];
        match op {
            Op::Send { count, .. } => (0..count).for_each(|_| self.send(op)),
            Op::Closest { .. } => self.send(op),
            Op::AddNode { peer, protocol } => {
                let (peer, now) = (self.peers[self.peer(peer)].id, self.client_now());
                let protocol = ProtocolName::new(protocol_of(protocol)).expect("a usable name");
                let _ = self.client.add_server_node(&protocol, peer, now);
            }
            Op::RemoveNode { peer, protocol } => {
                let peer = self.peers[self.peer(peer)].id;
                self.client.remove_server_node(protocol_of(protocol), &peer);
            }
            Op::ClearNodes { protocol } => self.client.clear_server_nodes(protocol_of(protocol)),
            Op::Online { peer, online } => {
                let peer = self.peers[self.peer(peer)].id;
                self.client.set_online(peer, online);
            }
            Op::Dial { peer, protocol, deadline_ms, life_ms } => {
                let deadline = deadline_ms.map(|ms| self.client_now() + millis(ms));
                self.dial(self.peer(peer), protocol_of(protocol), deadline, millis(life_ms));
            }
            Op::Stop { peer, grace_ms } => self.stop(self.peer(peer), millis(grace_ms)),
            Op::Unregister { peer, protocol, for_ms } => {
                let peer = self.peer(peer);
                self.peers[peer].unregistered = true;
                self.peers[peer].ever_unregistered = true;
                if let Some(server) = &mut self.peers[peer].server {
                    server.unregister(protocol_of(protocol));
                }
                self.note(
                    Who::Peer(peer),
                    "does not serve protocol {a} any more",
                    protocol.into(),
                    0,
                );
                self.after(millis(for_ms), Due::Register(peer, usize::from(protocol) % 2));
            }
            Op::Retire { peer } => self.retire(self.peer(peer)),
            Op::Intrude { peer, native, frames, script } => {
                self.begin_intrusion(peer, native, frames, script);
            }
            Op::Drain => {
                self.note(Who::Client, "is asked to stop", 0, 0);
                if !self.pending.is_empty() {
                    self.hit(Situation::ClientDrained);
                }
                self.draining = true;
                self.client.drain(self.client_now());
            }
            Op::Close => {
                self.note(Who::Client, "gives everything up", 0, 0);
                if !self.pending.is_empty() {
                    self.hit(Situation::ClientClosed);
                }
                self.draining = true;
                self.client.close(self.client_now());
            }
        }
    }

    fn stop(&mut self, peer: usize, grace: Duration) {
        let now = self.peer_now(peer);
        let at_work = !self.peers[peer].at_work.is_empty();
        let Some(server) = &mut self.peers[peer].server else { return };
        server.drain(now + grace, now);
        self.peers[peer].stopping = true;
        self.note(Who::Peer(peer), "is asked to stop", 0, 0);
        if at_work {
            self.hit(Situation::DrainInFlight);
        }
    }

    /// One request, to one peer or to the closest node.
    fn send(&mut self, op: Op) {
        let number = self.sent;
        self.sent += 1;
        let (protocol, len, compress, idempotent, deadline_ms, cancel_ms) = match op {
            Op::Send { protocol, len, compress, idempotent, deadline_ms, cancel_ms, .. } => {
                (protocol, len, compress, idempotent, deadline_ms, cancel_ms)
            }
            Op::Closest { protocol, len, idempotent, deadline_ms, cancel_ms, .. } => {
                (protocol, len, number.is_multiple_of(4), idempotent, deadline_ms, cancel_ms)
            }
            _ => return,
        };
        let (raw, now) = (body_of(number, len), self.client_now());
        let body =
            if compress { Body::compressed(raw.clone()) } else { Body::uncompressed(raw.clone()) };
        let deadline = deadline_ms.map(|ms| now + millis(ms));
        let mut sent = Sent {
            number,
            to: None,
            protocol: protocol_of(protocol),
            exclude: Vec::new(),
            hedge: None,
            idempotent,
            deadline,
            body: raw,
            at: self.now,
        };
        let call = CallOptions::from(deadline).with_idempotent(idempotent);
        let waiting = self.client.stats().waiting;
        let asked = match op {
            Op::Send { peer, .. } => {
                let peer = self.peer(peer);
                sent.to = Some(peer);
                let id = self.peers[peer].id;
                self.client.send(&id, sent.protocol, body, call, now).map(Asked::Request)
            }
            Op::Closest { exclude, hedge_ms, .. } => {
                sent.exclude.extend(exclude.map(|peer| self.peers[self.peer(peer)].id));
                sent.hedge = hedge_ms.filter(|_| idempotent).map(millis);
                self.send_to_closest(&sent, hedge_ms, body, call).map(Asked::Closest)
            }
            _ => return,
        };
        match asked {
            Ok(asked) => {
                self.note(Who::Client, "is asked for request {a} of {b} bytes", number, len.into());
                self.emit(&Event::Accepted { asked, sent: &sent, waiting });
                self.pending.insert(asked, sent);
                if let Some(ms) = cancel_ms {
                    self.after(millis(ms), Due::Cancel(asked));
                }
            }
            Err(error) => self.refused(number, &error),
        }
    }

    fn refused(&mut self, number: u64, error: &SendError) {
        self.note(Who::Client, "refuses request {a}", number, 0);
        self.hit(match error {
            SendError::Overloaded { .. } => Situation::Overloaded,
            SendError::NoNodes => Situation::NoNodes,
            SendError::Closed => Situation::RefusedClosed,
            _ => Situation::TooLarge,
        });
        self.emit(&Event::Refused(error));
        self.record(number, Err(error.to_string()));
    }

    fn send_to_closest(
        &mut self,
        sent: &Sent,
        hedge_ms: Option<u16>,
        body: Body,
        call: CallOptions,
    ) -> Result<ClosestId, SendError> {
        let now = self.client_now();
        let mut options =
            ClosestOptions::default().with_call(call).with_exclude(sent.exclude.clone());
        if let Some(ms) = hedge_ms {
            options = options.with_hedge(Hedge::after(millis(ms)));
        }
        let key = Point::of_key(&sent.body);
        let known = |node: &pointsub_core::endpoint::closest::Node| Known {
            peer: *node.peer(),
            point: *node.point(),
            usable: node.is_usable(now),
            latency: node.latency(now).map(|latency| latency.as_nanos() as u64),
            load: node.load(now),
            online: node.online(),
            in_flight: node.in_flight(),
        };
        let nodes: Vec<Known> = self.client.server_nodes(sent.protocol).map(known).collect();
        let call = self.client.send_closest(sent.protocol, key, body, options, now)?;
        let after = self.client.server_nodes(sent.protocol).zip(&nodes);
        let more = after.filter(|(after, before)| after.in_flight() > before.in_flight);
        let chosen: Vec<PeerId> = more.map(|(node, _)| *node.peer()).collect();
        match chosen[..] {
            [chosen] => {
                let exclude = &sent.exclude;
                self.emit(&Event::Chose { nodes: &nodes, key, exclude, chosen });
            }
            _ => self.emit(&Event::Confused("not exactly one node is asked at first")),
        }
        Ok(call)
    }

    /// The caller gives up.
    pub(super) fn cancel(&mut self, asked: Asked) {
        let Some(sent) = self.pending.remove(&asked) else { return };
        self.note(Who::Client, "gives up request {a}", sent.number, 0);
        let seen = self.seen.contains_key(&sent.number);
        self.hit(if seen { Situation::CancelledInFlight } else { Situation::CancelledWaiting });
        self.emit(&Event::Cancelled(asked));
        let now = self.client_now();
        match asked {
            Asked::Request(request) => self.client.cancel(request, now),
            Asked::Closest(call) => self.client.cancel_closest(call, now),
        }
    }

    pub(super) fn on_client_event(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Response { request, payload } => {
                let Some(sent) = self.outcome_of(Asked::Request(request)) else { return };
                let peer = sent.to.unwrap_or_default();
                let honest = self.peers[peer].kind.is_honest();
                match payload.into_bytes() {
                    Ok(body) => self.answered(&sent, peer, &body),
                    Err(_) if honest => self.emit(&Event::Confused("an answer does not inflate")),
                    Err(_) => self.record(sent.number, Ok(peer)),
                }
            }
            ClientEvent::Failed { request, error } => {
                let Some(sent) = self.outcome_of(Asked::Request(request)) else { return };
                self.failed(&sent, &error);
            }
            ClientEvent::Closest { call, outcome } => {
                let Some(sent) = self.outcome_of(Asked::Closest(call)) else { return };
                match outcome {
                    Ok(closest) => self.on_closest(&sent, &closest),
                    Err(failure) => self.on_no_closest(&sent, &failure),
                }
            }
            ClientEvent::Dialed { dial } => self.raw_is_open(dial),
            ClientEvent::DialFailed { dial, error } => self.raw_failed(dial, &error),
            ClientEvent::Drained => {
                self.emit(&Event::Drained {
                    who: Who::Client,
                    asked: self.draining && !self.drained,
                });
                self.drained = true;
                self.note(Who::Client, "has stopped", 0, 0);
            }
            other => panic!("an event that the world does not know: {other:?}"),
        }
    }

    fn outcome_of(&mut self, asked: Asked) -> Option<Sent> {
        self.emit(&Event::Outcome(asked));
        self.pending.remove(&asked)
    }

    fn answered(&mut self, sent: &Sent, peer: usize, body: &Bytes) {
        self.note(
            Who::Client,
            "has the answer to request {a} from peer {b}",
            sent.number,
            peer as u64,
        );
        self.emit(&Event::Answered { sent, peer, body });
        self.record(sent.number, Ok(peer));
        let at = &self.peers[peer];
        let situation = match at.kind {
            Kind::Native => Situation::AnsweredNative,
            Kind::Plain => Situation::AnsweredPlain,
            Kind::SingleShot => Situation::AnsweredSingleShot,
            Kind::Byzantine | Kind::PlainByzantine => Situation::ByzantineAnswered,
        };
        let parted =
            at.blocked_until(super::Side::Server).max(at.blocked_until(super::Side::Client));
        if parted > sent.at && parted <= self.now {
            self.hit(Situation::PartitionHealed);
        }
        self.hit(situation);
        if self.seen.get(&sent.number).is_some_and(|seen| *seen > 1) {
            self.hit(Situation::AnsweredLater);
        }
        if sent.body.len() > BULK {
            self.hit(Situation::AnsweredBulk);
        }
    }

    fn failed(&mut self, sent: &Sent, error: &RequestError) {
        self.note(Who::Client, "has no answer to request {a}", sent.number, error.attempts.into());
        self.emit(&Event::Failed { sent, error });
        self.record(sent.number, Err(error.to_string()));
        self.hit(match error.delivery {
            Delivery::NotProcessed => Situation::NotProcessed,
            Delivery::Unknown | Delivery::Processed => Situation::Unknown,
        });
        let situation = match &error.cause {
            Cause::Deadline if error.phase == Phase::Connect => Situation::DeadlineWaiting,
            Cause::Deadline => Situation::DeadlineWorking,
            Cause::TimedOut(_) if error.phase == Phase::Connect => Situation::ConnectTimeout,
            Cause::TimedOut(_) if error.phase == Phase::Write => Situation::WriteTimeout,
            Cause::TimedOut(_) => Situation::ReadTimeout,
            Cause::Unreachable(_) => Situation::Unreachable,
            Cause::Unsupported => Situation::Unsupported,
            Cause::Lost(_) => Situation::Lost,
            Cause::RemoteClosed => Situation::RemoteClosed,
            Cause::Violation(_) => Situation::ByzantineViolated,
            Cause::Refused(SendError::NoNodes) => Situation::NoNodes,
            Cause::Refused(_) => Situation::TooLarge,
            Cause::Remote(status) => match status.code {
                StatusCode::Busy if status.message.contains("memory") => Situation::NoMemory,
                StatusCode::Busy => Situation::Busy,
                StatusCode::TooLarge => Situation::TooLarge,
                StatusCode::ResponseTooLarge => Situation::ResponseTooLarge,
                StatusCode::NotFound => Situation::NotFound,
                StatusCode::Draining => Situation::Draining,
                StatusCode::DeadlineExceeded => Situation::DeadlineWorking,
                _ => Situation::HandlerFailed,
            },
            _ => return,
        };
        self.hit(situation);
    }

    fn on_closest(&mut self, sent: &Sent, closest: &ClosestAnswer) {
        let peer = self.number_of(&closest.node);
        let attempts = &closest.attempts[..];
        self.emit(&Event::Attempts { sent, attempts, outcome: Ok(closest) });
        self.hit(Situation::AnsweredClosest);
        let first = attempts.iter().min_by_key(|attempt| attempt.after);
        if first.is_some_and(|first| first.outcome == NodeOutcome::Cancelled) {
            self.hit(Situation::HedgeWon);
        }
        let repeats = attempts.iter().filter(|attempt| attempt.node == closest.node).count();
        if repeats > 1 {
            self.hit(Situation::SecondRound);
        }
        match closest.payload.clone().into_bytes() {
            Ok(body) => self.answered(sent, peer, &body),
            Err(_) if self.peers[peer].kind.is_honest() => {
                self.emit(&Event::Confused("an answer does not inflate"));
            }
            Err(_) => self.record(sent.number, Ok(peer)),
        }
    }

    fn on_no_closest(&mut self, sent: &Sent, failure: &ClosestFailure) {
        let attempts = &failure.attempts[..];
        self.emit(&Event::Attempts { sent, attempts, outcome: Err(failure) });
        self.failed(sent, &failure.error);
    }
}

fn protocol_of(number: u8) -> &'static str {
    PROTOCOLS[usize::from(number) % PROTOCOLS.len()]
}
