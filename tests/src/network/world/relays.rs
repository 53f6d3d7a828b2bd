//! Relays at which the application wants a place: peers that give one, refuse, freeze, or start anew and
//! know nothing of it. A real [`Reservations`] says when each is asked.

use pointsub_core::network::Reservations;

use super::*;

/// How long a relay may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// No relay is asked again sooner after a failure.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(in crate::network) struct Relays {
    reservations: Reservations<u32>,
    listeners: u32,
    /// Who was asked and is being connected.
    connecting: BTreeMap<ConnectId, u32>,
    /// Whose each listener is, and on which connection it has a place.
    asked: BTreeMap<u32, (usize, Option<u32>)>,
    wanted: BTreeSet<usize>,
    refuses: Vec<bool>,
    failed_at: BTreeMap<usize, Timestamp>,
    due: Option<Timestamp>,
}

impl Relays {
    pub(super) fn new(peers: usize) -> Self {
        Self {
            reservations: Reservations::new(),
            listeners: 0,
            connecting: BTreeMap::new(),
            asked: BTreeMap::new(),
            wanted: BTreeSet::new(),
            refuses: vec![false; peers],
            failed_at: BTreeMap::new(),
            due: None,
        }
    }

    /// Whether a relay is asked when this has its outcome.
    pub(super) fn waits_for(&self, connect: ConnectId) -> bool {
        self.connecting.contains_key(&connect)
    }

    pub(super) fn refuse(&mut self, peer: usize, refuses: bool) {
        self.refuses[peer] = refuses;
    }

    /// Nothing more is going to happen, and all has healed long ago: there is a place at each.
    pub(in crate::network) fn end(&self) -> Result<(), String> {
        let has = |peer: &&usize| {
            self.asked.values().any(|(whose, place)| whose == *peer && place.is_some())
        };
        match self.wanted.iter().find(|peer| !has(peer)) {
            Some(peer) => Err(format!("there is no place at relay {peer}: {self:?}")),
            None => Ok(()),
        }
    }
}

impl World {
    fn relay(&self, peer: usize) -> Address {
        Address::new(&[0xff, peer as u8]).through_relay(true)
    }

    pub(super) fn want_relay(&mut self, peer: usize) {
        if self.relays.wanted.insert(peer) {
            let listener = self.ask(peer);
            self.relays.reservations.want(self.relay(peer), listener);
        }
    }

    pub(super) fn forget_relay(&mut self, peer: usize) {
        if self.relays.wanted.remove(&peer) {
            self.situations.insert(Situation::PlaceForgotten);
            let known = self.relays.reservations.forget(&self.relay(peer));
            debug_assert!(known);
            self.relays.asked.retain(|_, (whose, _)| *whose != peer);
            let Relays { connecting, asked, .. } = &mut self.relays;
            connecting.retain(|_, listener| asked.contains_key(listener));
        }
    }

    /// A relay is asked for a place: there has to be a connection first.
    fn ask(&mut self, peer: usize) -> u32 {
        let listener = self.relays.listeners;
        self.relays.listeners += 1;
        self.relays.asked.insert(listener, (peer, None));
        let connect = self.connect(Goal::Peer(self.id(peer), None), None);
        self.relays.connecting.insert(connect, listener);
        listener
    }

    /// Asks the relays that are due.
    pub(super) fn ask_relays(&mut self) -> Result<(), String> {
        self.relays.due = None;
        while let Some(address) = self.relays.reservations.due(self.now) {
            let peer = usize::from(address.as_bytes()[1]);
            if !self.relays.wanted.contains(&peer) {
                return Err(format!("relay {peer} is asked, and nobody wants that"));
            }
            if self.relays.asked.values().any(|(whose, _)| *whose == peer) {
                return Err(format!("relay {peer} is asked twice"));
            }
            let failed = self.relays.failed_at.get(&peer).copied().unwrap_or_default();
            if self.now.since(failed) < PAUSE {
                return Err(format!("relay {peer} is asked again at once"));
            }
            self.situations.insert(Situation::PlaceAskedAgain);
            let (listener, random) = (self.ask(peer), self.rng.next_u64());
            let relays = &mut self.relays;
            relays.reservations.asked(&address, Some(listener), self.now, random);
        }
        self.wait_for_relays();
        Ok(())
    }

    fn wait_for_relays(&mut self) {
        let Some(due) = self.relays.reservations.next_deadline() else { return };
        if self.relays.due.is_none_or(|known| due < known) {
            self.relays.due = Some(due);
            self.after(due.since(self.now), Event::Relays);
        }
    }

    /// What the machine says of connections to relays.
    pub(super) fn hear_of_relays(&mut self, order: &Order<u32>) {
        match order {
            Order::Connected(connect, _) => {
                let Some(listener) = self.relays.connecting.remove(connect) else { return };
                let Some(&(peer, _)) = self.relays.asked.get(&listener) else { return };
                let usable =
                    |one: &Conn| one.peer == peer && !one.suspect && !one.retired && !one.ending;
                let newest = self.connections.iter().rev().find(|(_, one)| usable(one));
                match newest.map(|(key, _)| *key) {
                    Some(key) => {
                        let takes = self.small_trip(key);
                        self.after(takes, Event::Reserve(listener, key, self.now));
                    }
                    None => self.no_place(listener),
                }
            }
            Order::ConnectFailed(connect, _) => {
                if let Some(listener) = self.relays.connecting.remove(connect) {
                    self.no_place(listener);
                }
            }
            _ => {}
        }
    }

    /// A relay answers, or not.
    pub(super) fn reserve(&mut self, listener: u32, key: u32, since: Timestamp) {
        let Some(&(peer, _)) = self.relays.asked.get(&listener) else { return };
        let waits = self.now.since(since) < ANSWER && self.connections.contains_key(&key);
        if !self.moves(key) && waits {
            return self.after(RETRY, Event::Reserve(listener, key, since));
        }
        if !self.moves(key) || self.relays.refuses[peer] {
            self.situations.insert(Situation::PlaceRefused);
            return self.no_place(listener);
        }
        self.situations.insert(Situation::PlaceHeld);
        self.note(format_args!("relay {peer} has a place"));
        self.relays.asked.insert(listener, (peer, Some(key)));
        self.relays.reservations.up(listener, self.now);
        self.tell(Fact::Watched(self.id(peer)));
    }

    /// There is no place, or none any more.
    fn no_place(&mut self, listener: u32) {
        let Some((peer, _)) = self.relays.asked.remove(&listener) else { return };
        self.note(format_args!("relay {peer} has no place"));
        self.relays.failed_at.insert(peer, self.now);
        let random = self.rng.next_u64();
        self.relays.reservations.down(listener, self.now, random);
        self.wait_for_relays();
    }

    /// A connection is gone, and with it the places that it carried.
    pub(super) fn lose_places(&mut self, key: u32) {
        let lost = self.relays.asked.iter().filter(|(_, (_, place))| *place == Some(key));
        let lost: Vec<u32> = lost.map(|(listener, _)| *listener).collect();
        for listener in lost {
            self.situations.insert(Situation::PlaceLost);
            self.no_place(listener);
        }
    }
}
