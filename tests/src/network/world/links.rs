//! Dials and connections: what the transport and the tasks of connections do.

use super::*;

/// Nobody is suspect who was heard of within this time.
const SILENT: Duration = Duration::from_millis(2900);

impl World {
    /// A dial comes to its end, or goes on.
    pub(super) fn dialled(&mut self, attempt: AttemptId) {
        let Some(&Dial { target, at, began }) = self.dials.get(&attempt) else { return };
        let Some(at) = at else { return self.dial_failed(attempt, None) };
        let place = &self.places[at];
        let answer = match place.answer {
            Answer::Peer(peer) if peer >= self.plan.peers || self.frozen[peer] => Answer::Never,
            _ if place.frozen => Answer::Never,
            answer => answer,
        };
        let failed = |why| Some(why);
        match answer {
            Answer::Never if self.now.since(began) < TRANSPORT => {
                self.after(RETRY, Event::Dialled(attempt));
            }
            Answer::Never => {
                self.situations.insert(Situation::TransportTimeout);
                self.dial_failed(attempt, failed(DialError::Transport("handshake".into())));
            }
            Answer::Refused => {
                self.situations.insert(Situation::Refused);
                self.dial_failed(attempt, failed(DialError::Transport("refused".into())));
            }
            Answer::NoTransport => self.dial_failed(attempt, failed(DialError::NoTransport)),
            Answer::Itself => self.dial_failed(attempt, failed(DialError::OwnPeer)),
            Answer::Peer(peer) if target.is_some_and(|target| target != peer) => {
                self.situations.insert(Situation::WrongPeer);
                self.dial_failed(attempt, failed(DialError::WrongPeer(self.id(peer))));
            }
            Answer::Peer(peer) => {
                if self.net.keeps(Some(attempt), &self.id(peer), &self.address(at)) {
                    self.dials.remove(&attempt);
                    let late = self.now.since(began) >= LIMIT;
                    self.situations.insert(if late { Situation::Late } else { Situation::Dialled });
                    self.up(peer, at, true, Some(attempt));
                } else {
                    self.situations.insert(Situation::Surplus);
                    self.dial_failed(attempt, failed(DialError::Surplus(self.id(peer))));
                }
            }
        }
    }

    fn dial_failed(&mut self, attempt: AttemptId, why: Option<DialError>) {
        self.dials.remove(&attempt);
        self.tell(Fact::DialFailed(attempt, why));
    }

    /// A connection comes up.
    pub(super) fn up(&mut self, peer: usize, at: usize, dialled: bool, attempt: Option<AttemptId>) {
        let key = self.next_connection;
        self.next_connection += 1;
        let relayed = self.plan.places[at].relayed;
        if relayed {
            self.situations.insert(Situation::Relayed);
        }
        let now = self.now;
        self.connections.insert(
            key,
            Conn {
                peer,
                relayed,
                heard: now,
                suspect: false,
                retired: false,
                watched: false,
                due: 0,
                assessed_busy: false,
                silent_since: None,
                at,
                generation: self.generations[peer],
                broken: false,
                liveness: Liveness::new(now),
                looking: false,
            },
        );
        self.race_over(peer);
        let dialled = dialled.then(|| self.address(at));
        let (peer, from) = (self.id(peer), Reach::Internet);
        self.tell(Fact::Up(Up { connection: key, peer, relayed, from, dialled, attempt }));
    }

    /// From here on, dials of the peer belong to another race.
    pub(super) fn race_over(&mut self, peer: usize) {
        self.races[peer] = (self.now, 0);
    }

    /// A fact arrives at the machine.
    pub(super) fn fact(&mut self, fact: Fact<u32>) {
        match &fact {
            Fact::Down(key, _) => {
                let Some(gone) = self.connections.remove(key) else { return };
                if let Some(day) = &mut self.day {
                    day.fail("the connection was lost", gone.due);
                }
            }
            Fact::Judged(key, verdict) => {
                let Some(one) = self.connections.get_mut(key) else { return };
                let situation = match verdict {
                    Verdict::Suspect => Situation::Suspect,
                    Verdict::Recovered => Situation::Recovered,
                    Verdict::Dead => Situation::Dead,
                    Verdict::Answered | Verdict::Probe => Situation::Answered,
                };
                let silent = self.now.since(one.heard.max(self.woke));
                if *verdict == Verdict::Suspect && silent < SILENT {
                    let broken = format!("connection {key} is suspect after {silent:?}");
                    self.broken = Some(broken);
                }
                match verdict {
                    Verdict::Suspect => one.suspect = true,
                    Verdict::Recovered => one.suspect = false,
                    _ => {}
                }
                let peer = one.peer;
                self.situations.insert(situation);
                self.race_over(peer);
            }
            _ => {}
        }
        self.tell(fact);
    }

    /// An order arrives at a connection.
    pub(super) fn act(&mut self, key: u32, act: Act) {
        let rtt = match self.connections.get(&key) {
            Some(one) => self.places[one.at].rtt,
            None => return,
        };
        let (now, moves) = (self.now, self.moves(key));
        let Some(one) = self.connections.get_mut(&key) else { return };
        match act {
            Act::Open { .. } => {
                one.due += 1;
                let work = match self.rng.chance(20) {
                    true => self.rng.micros(6_000_000),
                    false => self.rng.micros(100_000),
                };
                self.after(rtt + work, Event::Stream(key, now));
                self.look(key, false);
            }
            Act::Watch => {
                one.watched = true;
                self.look(key, false);
            }
            Act::Probe | Act::Recheck if self.planted == Some(Planted::HastySuspect) => {
                self.soon(Event::Fact(Fact::Judged(key, Verdict::Suspect)));
            }
            Act::Probe | Act::Recheck if self.planted == Some(Planted::TrustCorpses) => {
                self.soon(Event::Fact(Fact::Judged(key, Verdict::Answered)));
            }
            Act::Probe | Act::Recheck => {
                let (heard, liveness) = (one.heard, &mut one.liveness);
                let verdict = match act {
                    Act::Recheck => liveness.wake(heard, now),
                    _ => liveness.probe(heard, now),
                };
                if verdict.is_some() {
                    self.after(rtt, Event::Probe(key, now));
                }
                self.look(key, false);
            }
            Act::Abort => self.soon(Event::Fact(Fact::Down(key, None))),
            Act::Close => {
                let takes = if moves { rtt } else { Duration::from_secs(2) };
                self.after(takes, Event::Fact(Fact::Down(key, None)));
            }
            Act::Assess => self.assess(key),
            Act::Retire | Act::Resume => {}
        }
    }

    /// Watches a connection for silence: each second while it is due, and whenever something has come
    /// that somebody may wait for.
    pub(super) fn look(&mut self, key: u32, in_turn: bool) {
        let (now, moves) = (self.now, self.moves(key));
        let Some(one) = self.connections.get_mut(&key) else { return };
        let due = one.due > 0 || one.watched;
        one.silent_since = if due && !moves { one.silent_since.or(Some(now)) } else { None };
        let (heard, verdict) = (one.heard, one.liveness.look(due, one.heard, 0, now));
        debug_assert!(heard <= now);
        let watched = one.liveness.is_watched();
        let again = watched && (in_turn || !one.looking);
        one.looking = watched;
        let rtt = self.places[one.at].rtt;
        if again {
            self.after(LOOK, Event::Look(key));
        }
        match verdict {
            Some(Verdict::Probe) => self.after(rtt, Event::Probe(key, now)),
            Some(verdict) => self.soon(Event::Fact(Fact::Judged(key, verdict))),
            None => {}
        }
    }

    /// A probe is answered, or not.
    pub(super) fn probe(&mut self, key: u32, since: Timestamp) {
        if self.moves(key) {
            self.heard(key);
            self.look(key, false);
        } else if self.now.since(since) < Duration::from_secs(60) {
            self.after(RETRY, Event::Probe(key, since));
        }
    }

    /// A request is answered, or not.
    pub(super) fn stream(&mut self, key: u32, since: Timestamp) {
        let moves = self.moves(key);
        if !self.connections.contains_key(&key) {
            return;
        }
        if moves {
            self.heard(key);
        } else if self.now.since(since) < REQUEST {
            return self.after(RETRY, Event::Stream(key, since));
        }
        match &mut self.day {
            Some(day) if moves => day.answered += 1,
            Some(day) => day.fail("no answer within 10 s", 1),
            None => {}
        }
        if let Some(one) = self.connections.get_mut(&key) {
            one.due -= 1;
        }
    }

    fn heard(&mut self, key: u32) {
        if let Some(one) = self.connections.get_mut(&key) {
            (one.heard, one.silent_since) = (self.now, None);
        }
    }
}
