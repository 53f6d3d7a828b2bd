//! What the application asks for, and what it is told.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use pointsub_core::nearest::{PeakEwma, Point, Weighted, XorOrder};
use pointsub_core::{
    Body, CallOptions, ClientEvent, Closest, ClosestError, ClosestId, ClosestOptions, Delivery,
    Hedge, NodeAttempt, NodeOutcome, PeerId, ProtocolName, RequestError, RequestId,
};

use super::world::{Due, PROTOCOLS, World, answer_to, number_in};

/// What the client calls something that it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Asked {
    /// A request to one peer.
    Request(RequestId),
    /// A call to the closest node.
    Closest(ClosestId),
}

/// What was asked for.
#[derive(Debug)]
pub(super) struct Sent {
    /// The only peer that may answer; `None` if any node may.
    peer: Option<usize>,
    exclude: Vec<PeerId>,
    hedged: bool,
    body: Bytes,
}

impl World {
    pub(super) fn choose_strategy(&mut self) {
        match self.rng.below(3) {
            0 => self.client.set_strategy(Box::new(XorOrder)),
            1 => self.client.set_strategy(Box::new(PeakEwma)),
            _ => self.client.set_strategy(Box::new(Weighted::default())),
        }
    }

    /// A node comes, goes, or is said to be on- or offline.
    pub(super) fn change_nodes(&mut self) {
        let peer = self.peers[self.rng.below(self.peers.len() as u64) as usize].id;
        let protocol = PROTOCOLS[self.rng.below(2) as usize];
        match self.rng.below(10) {
            0 => {
                self.client.remove_server_node(protocol, &peer);
            }
            1 => self.client.clear_server_nodes(protocol),
            2 => self.client.set_online(peer, self.rng.chance(50)),
            _ => {
                let protocol = ProtocolName::new(protocol).expect("a usable name");
                self.client.add_server_node(&protocol, peer, self.now).expect("no more than a few");
            }
        }
    }

    pub(super) fn cancel(&mut self, asked: Asked) {
        if self.pending.remove(&asked).is_none() {
            return;
        }
        self.summary.cancelled += 1;
        match asked {
            Asked::Request(request) => self.client.cancel(request, self.now),
            Asked::Closest(call) => self.client.cancel_closest(call, self.now),
        }
    }

    pub(super) fn send(&mut self) {
        if self.sent == self.to_send {
            return;
        }
        let number = self.sent;
        self.sent += 1;
        let pause = Duration::from_millis(40);
        let pause = if self.rng.chance(80) { Duration::ZERO } else { self.rng.duration(pause) };
        self.at(pause, Due::Send);
        let raw = self.new_body(number);
        let body = if self.rng.chance(50) {
            Body::compressed(raw.clone())
        } else {
            Body::uncompressed(raw.clone())
        };
        let deadline = self.rng.chance(20).then(|| {
            let left = self.rng.duration(Duration::from_secs(2));
            self.now + left
        });
        let idempotent = self.rng.chance(50);
        let options = CallOptions::from(deadline).with_idempotent(idempotent);
        let asked = if self.rng.chance(75) {
            self.send_to_one(raw, body, options)
        } else {
            self.send_to_closest(raw, body, options)
        };
        match asked {
            Ok((asked, sent)) => {
                // To every node in every round, whether after a failure or as a hedge.
                let nodes = if sent.peer.is_some() { 1 } else { self.peers.len() as u32 };
                let tries = if idempotent { nodes * (1 + self.config.max_retries()) } else { 1 };
                self.may_be_seen.insert(number, tries);
                self.pending.insert(asked, sent);
                if self.rng.chance(10) {
                    let when = self.rng.duration(Duration::from_millis(300));
                    self.at(when, Due::Cancel(asked));
                }
            }
            Err(error) => self.note(error),
        }
    }

    fn new_body(&mut self, number: u64) -> Bytes {
        let len = match self.rng.below(20) {
            0 => 66_000 + self.rng.below(30_000),
            1 => self.rng.below(20_000),
            _ => self.rng.below(100),
        };
        let mut body = number.to_be_bytes().to_vec();
        body.extend((0..len).map(|i| (i / 64) as u8));
        Bytes::from(body)
    }

    fn send_to_one(
        &mut self,
        raw: Bytes,
        body: Body,
        options: CallOptions,
    ) -> Result<(Asked, Sent), String> {
        let peer = self.rng.below(self.peers.len() as u64) as usize;
        let protocol = PROTOCOLS[self.rng.below(2) as usize];
        let id = self.peers[peer].id;
        let request = self.client.send(&id, protocol, body, options, self.now);
        let sent = Sent { peer: Some(peer), exclude: Vec::new(), hedged: false, body: raw };
        request.map(|id| (Asked::Request(id), sent)).map_err(|error| error.to_string())
    }

    fn send_to_closest(
        &mut self,
        raw: Bytes,
        body: Body,
        call: CallOptions,
    ) -> Result<(Asked, Sent), String> {
        let protocol = PROTOCOLS[self.rng.below(2) as usize];
        let mut exclude = Vec::new();
        if self.rng.chance(20) {
            exclude.push(self.peers[self.rng.below(self.peers.len() as u64) as usize].id);
        }
        let mut options = ClosestOptions::default().with_call(call).with_exclude(exclude.clone());
        let hedged = self.rng.chance(30);
        if hedged {
            let delay = self.rng.duration(Duration::from_millis(60));
            options = options.with_hedge(Hedge::after(delay));
        }
        let key = Point::of_key(&raw);
        let id = self.client.send_closest(protocol, key, body, options, self.now);
        let sent = Sent { peer: None, exclude, hedged: hedged && call.idempotent, body: raw };
        id.map(|id| (Asked::Closest(id), sent)).map_err(|error| error.to_string())
    }

    pub(super) fn on_client_event(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Response { request, payload } => {
                let sent = self.outcome_of(Asked::Request(request));
                let peer = sent.peer.expect("it went to one peer");
                let answer = payload.into_bytes().expect("inflates");
                self.check_answer(&sent, peer, &answer);
                self.note((request, "ok"));
            }
            ClientEvent::Failed { request, error } => {
                let sent = self.outcome_of(Asked::Request(request));
                self.check_failure(&sent, &error);
                self.note((request, error.to_string()));
            }
            ClientEvent::Closest { call, outcome } => {
                let sent = self.outcome_of(Asked::Closest(call));
                match outcome {
                    Ok(answer) => self.on_closest(&sent, answer),
                    Err(failure) => self.on_no_closest(&sent, &failure),
                }
                self.note((call, "closest"));
            }
            ClientEvent::Dialed { dial } => self.raw_is_open(dial),
            ClientEvent::DialFailed { dial, error } => {
                assert_eq!(error.delivery, Delivery::NotProcessed);
                self.end_raw(dial);
                self.note((dial, error.to_string()));
            }
            ClientEvent::Drained => assert!(self.drained, "drained without having been asked"),
            other => panic!("an event that the world does not know: {other:?}"),
        }
    }

    fn outcome_of(&mut self, asked: Asked) -> Sent {
        self.pending.remove(&asked).expect("an outcome of its own")
    }

    fn check_answer(&mut self, sent: &Sent, peer: usize, answer: &Bytes) {
        assert_eq!(*answer, answer_to(peer, &sent.body), "another request's answer");
        assert!(self.seen.contains(&number_in(&sent.body)), "answered without a handler");
        self.summary.ok += 1;
    }

    fn check_failure(&mut self, sent: &Sent, error: &RequestError) {
        let seen = self.seen.contains(&number_in(&sent.body));
        assert!(!seen || error.delivery == Delivery::Unknown, "processed, although: {error}");
        self.summary.failed += 1;
    }

    fn on_closest(&mut self, sent: &Sent, answer: Closest) {
        let Closest { node, payload, attempts, .. } = answer;
        let bytes = payload.into_bytes().expect("inflates");
        self.check_answer(sent, self.number_of(node), &bytes);
        let answered = |attempt: &&NodeAttempt| attempt.outcome == NodeOutcome::Answered;
        let by: Vec<PeerId> = attempts.iter().filter(answered).map(|a| a.node).collect();
        assert_eq!(by, [node], "one node answers a call");
        self.check_attempts(sent, &attempts);
        self.summary.closest += 1;
    }

    fn on_no_closest(&mut self, sent: &Sent, failure: &ClosestError) {
        self.check_failure(sent, &failure.error);
        self.check_attempts(sent, &failure.attempts);
    }

    fn check_attempts(&mut self, sent: &Sent, attempts: &[NodeAttempt]) {
        self.summary.more_nodes += attempts.len().saturating_sub(1) as u64;
        assert!(!attempts.is_empty(), "an outcome without an attempt");
        for attempt in attempts {
            assert!(!sent.exclude.contains(&attempt.node), "an excluded node was asked");
        }
        if !sent.hedged {
            for pair in attempts.windows(2) {
                let ended = pair[0].after + pair[0].took;
                assert!(pair[1].after >= ended, "two nodes at once, without a hedge");
                assert_ne!(pair[0].outcome, NodeOutcome::Cancelled, "a loser, without a hedge");
            }
        }
        let first = attempts.iter().map(|attempt| attempt.node);
        let distinct: BTreeSet<PeerId> = first.collect();
        let rounds = 1 + self.config.max_retries() as usize;
        assert!(attempts.len() <= distinct.len() * rounds, "a node was asked twice in a round");
    }
}
