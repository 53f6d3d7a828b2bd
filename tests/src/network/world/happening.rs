//! What applications do, what befalls the world, and how it heals.

use super::*;

impl World {
    pub(super) fn op(&mut self, op: Op) {
        self.note(format_args!("{op:?}"));
        if op.is_trouble() {
            self.troubled = self.now;
        }
        match op {
            Op::Connect { peer, at } => {
                if let Some(at) = at {
                    self.pin(peer, at);
                    self.races[peer].1 += 1;
                }
                let at = at.map(|at| self.address(at));
                let _outcome = self.connect(Goal::Peer(self.id(peer), at), None);
            }
            Op::ConnectAnybody { at } => {
                self.situations.insert(Situation::Anybody);
                let _outcome = self.connect(Goal::Address(self.address(at)), None);
            }
            Op::Open { peer } => drop(self.open(peer)),
            Op::Abandon { which } => self.abandon(which),
            Op::Name { peer, at, application } => {
                if application {
                    self.pin(peer, at);
                }
                let source = if application { Source::Application } else { Source::Stranger };
                self.tell(Fact::Named(self.id(peer), self.address(at), source));
            }
            Op::Watch { peer } => self.tell(Fact::Watched(self.id(peer))),
            Op::Inbound { peer, at } => self.inbound(peer, at),
            Op::Identify { peer, from, many } => {
                let key = self.connections.iter().find(|(_, one)| one.peer == peer);
                let Some(key) = key.map(|(key, _)| *key) else { return };
                let places = (from..from + many).map(|at| self.address(at % self.places.len()));
                self.tell(Fact::Identified(key, self.id(peer), places.collect()));
            }
            Op::Freeze { at } => self.places[at].frozen = true,
            Op::Thaw { at } => self.places[at].frozen = false,
            Op::FreezePeer { peer, frozen } => self.frozen[peer] = frozen,
            Op::Slow { at, rtt } => self.slow(at, rtt),
            Op::Throttle { at, rate } => self.throttle(at, rate),
            Op::Fade { at, by } => self.fade(at, by),
            Op::Jitter { most } => self.jitter = most,
            Op::Stall { by, timers_first } => self.stall(by, timers_first),
            Op::RestartRelays { loud } => self.restart_relays(loud),
            Op::Cut { peer, loud } => self.cut(peer, loud),
            Op::Restart { peer, at, loud } => {
                self.situations.insert(Situation::Restarted);
                self.cut(peer, loud);
                self.generations[peer] += 1;
                for place in &mut self.places {
                    if place.answer == Answer::Peer(peer) {
                        place.answer = if loud { Answer::Refused } else { Answer::Never };
                    }
                }
                self.places[at].answer = Answer::Peer(peer);
            }
            Op::Sleep { seconds, clock_stands } => self.sleep(seconds, clock_stands),
            Op::Roam => self.roam(),
            Op::Forget => self.forget(),
            Op::Skew { on } => self.skew(on),
            Op::Flood { peers } => self.flood(peers),
            Op::WantRelay { peer } => self.want_relay(peer),
            Op::ForgetRelay { peer } => self.forget_relay(peer),
            Op::Refuse { peer, refuses } => self.relays.refuse(peer, refuses),
            Op::Change { at, answer } => self.places[at].answer = answer,
            Op::Crowd { peer } => {
                if self.of(peer).count() > 1 {
                    self.situations.insert(Situation::Crowded);
                    self.tell(Fact::Crowded(self.id(peer)));
                }
            }
        }
    }

    fn inbound(&mut self, peer: usize, at: usize) {
        if self.frozen[peer] || self.places[at].frozen {
            return;
        }
        self.situations.insert(Situation::Inbound);
        let corpse =
            self.connections.iter().any(|(key, one)| one.peer == peer && !self.moves(*key));
        if corpse {
            self.situations.insert(Situation::CameBack);
        }
        self.up(peer, at, false, None);
    }

    /// The connections of a peer break. Without a word, nobody notices.
    fn cut(&mut self, peer: usize, loud: bool) {
        let mut keys = Vec::new();
        for (key, one) in self.connections.iter_mut().filter(|(_, one)| one.peer == peer) {
            one.broken = true;
            keys.push(*key);
        }
        for key in keys.into_iter().filter(|_| loud) {
            self.soon_fact(key, Fact::Down(key, Some("reset".into())));
        }
    }

    fn abandon(&mut self, which: u64) {
        self.situations.insert(Situation::Abandoned);
        let (connects, opens) = (&mut self.checker.connects, &mut self.checker.opens);
        let all = (connects.len() + opens.len()) as u64;
        let which = (which % all.max(1)) as usize;
        let connect: Option<ConnectId> = connects.keys().nth(which).copied();
        let open: Option<OpenId> = opens.keys().nth(which.saturating_sub(connects.len())).copied();
        if let Some(connect) = connect.filter(|connect| !self.relays.waits_for(*connect)) {
            connects.remove(&connect);
            self.tell(Fact::ConnectAbandoned(connect));
        } else if let Some(open) = open.filter(|_| connect.is_none()) {
            opens.remove(&open);
            self.tell(Fact::OpenAbandoned(open));
        }
    }

    /// From now on nothing goes wrong, and each peer is at home. Connections that are dead stay so.
    pub(super) fn heal(&mut self) {
        self.note(format_args!("heals"));
        self.healed = true;
        self.skewed = false;
        self.jitter = 0;
        // What is on its way was sent before.
        self.troubled = self.now;
        self.queue.retain(|_, event| !matches!(event, Event::Op(_)));
        for (place, planned) in self.places.iter_mut().zip(&self.plan.places) {
            (place.frozen, place.rate, place.rtt) = (false, None, planned.rtt);
        }
        self.frozen.fill(false);
        (0..self.plan.peers).for_each(|peer| self.relays.refuse(peer, false));
        for (peer, home) in self.plan.homes.clone().into_iter().enumerate() {
            let rtt = self.plan.places[home].rtt;
            (self.places[home].answer, self.places[home].rtt) = (Answer::Peer(peer), rtt);
            self.pin(peer, home);
            self.tell(Fact::Named(self.id(peer), self.address(home), Source::Application));
        }
        self.after(SETTLED, Event::Settled);
    }
}
