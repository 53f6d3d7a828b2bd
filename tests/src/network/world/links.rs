//! Dials and connections: what the transport and the tasks of connections do.

use super::*;

/// Streams that a peer may open on a connection.
const MAX_INBOUND: usize = 128;

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
                ending: false,
                told_retired: false,
                assessed_busy: false,
                asked: None,
                rechecked: now,
                silent_since: None,
                at,
                generation: self.generations[peer],
                broken: false,
                machine: Connection::new(MAX_INBOUND, now),
                due: 0,
                look_at: None,
                written: 0,
                unconfirmed: 0,
                free_up: now,
                free_down: now,
                acts_until: now,
                facts_until: now,
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
                self.lose_places(*key);
            }
            Fact::Judged(key, verdict) => {
                let Some(one) = self.connections.get_mut(key) else { return };
                let situation = match verdict {
                    Verdict::Suspect => Situation::Suspect,
                    Verdict::Recovered => Situation::Recovered,
                    Verdict::Dead => Situation::Dead,
                    Verdict::Answered | Verdict::Probe => Situation::Answered,
                };
                match verdict {
                    Verdict::Suspect => one.suspect = true,
                    Verdict::Recovered => (one.suspect, one.asked) = (false, None),
                    Verdict::Answered => one.asked = None,
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
}
