//! The places that a node wants at relays, and when it asks for them.

use alloc::vec::Vec;
use core::time::Duration;

use crate::network::Address;
use crate::time::Timestamp;

/// The first pause before a relay is asked again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest one. They double up to this, and half of each is random.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Who loses a place within this time has not had it: the next pause is longer.
const HELD: Duration = Duration::from_secs(60);

/// ```text
///            asked                  up
///  Resting ────────▶ Asked ────────────────▶ Held
///     ▲ due later      │ down                 │ down
///     └────────────────┴──────────────────────┘
/// ```
///
/// libp2p asks once: a relay that restarts knows nobody, and a listener there that has closed stays
/// closed. So each relay that the application named is asked again for as long as the node lives.
/// `L` is the listener by which an answer is known. No clock is read and no chance taken here.
#[derive(Debug)]
pub struct Reservations<L> {
    relays: Vec<Relay<L>>,
}

#[derive(Debug)]
struct Relay<L> {
    address: Address,
    state: State<L>,
    failures: u32,
}

#[derive(Debug)]
enum State<L> {
    Resting(Timestamp),
    Asked(L),
    Held(L, Timestamp),
}

impl<L> Default for Reservations<L> {
    fn default() -> Self {
        Self { relays: Vec::new() }
    }
}

impl<L: Copy + PartialEq> Reservations<L> {
    /// No relays yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A relay at which there shall always be a place, and which has just been asked for it.
    pub fn want(&mut self, address: Address, listener: L) {
        self.relays.push(Relay { address, state: State::Asked(listener), failures: 0 });
    }

    /// There shall not be a place at a relay any more. Returns whether there should have been one.
    pub fn forget(&mut self, address: &Address) -> bool {
        let before = self.relays.len();
        self.relays.retain(|relay| relay.address != *address);
        self.relays.len() < before
    }

    /// The address of a relay that is due to be asked; [`asked`](Self::asked) has to follow.
    #[must_use]
    pub fn due(&self, now: Timestamp) -> Option<Address> {
        let due = |relay: &&Relay<L>| matches!(relay.state, State::Resting(until) if until <= now);
        self.relays.iter().find(due).map(|relay| relay.address.clone())
    }

    /// A relay was asked, or could not be: `listener` is `None` then.
    pub fn asked(&mut self, address: &Address, listener: Option<L>, now: Timestamp, random: u64) {
        let resting = |relay: &&mut Relay<L>| {
            relay.address == *address
                && matches!(relay.state, State::Resting(until) if until <= now)
        };
        if let Some(relay) = self.relays.iter_mut().find(resting) {
            match listener {
                Some(listener) => relay.state = State::Asked(listener),
                None => relay.rest(now, random),
            }
        }
    }

    /// There is a place at the relay.
    pub fn up(&mut self, listener: L, now: Timestamp) {
        for relay in &mut self.relays {
            if matches!(relay.state, State::Asked(asked) if asked == listener) {
                relay.state = State::Held(listener, now);
            }
        }
    }

    /// The relay that was asked by a listener.
    #[must_use]
    pub fn address(&self, listener: L) -> Option<Address> {
        self.relays.iter().find(|relay| relay.is(listener)).map(|relay| relay.address.clone())
    }

    /// There is none, or none any more. Returns the relay's address if the listener was one of these.
    pub fn down(&mut self, listener: L, now: Timestamp, random: u64) -> Option<Address> {
        let relay = self.relays.iter_mut().find(|relay| relay.is(listener))?;
        if let State::Held(_, since) = relay.state
            && now.since(since) >= HELD
        {
            relay.failures = 0;
        }
        relay.rest(now, random);
        Some(relay.address.clone())
    }

    /// The network is another one: all are due at once that rest.
    pub fn hurry(&mut self, now: Timestamp) {
        for relay in &mut self.relays {
            if let State::Resting(until) = &mut relay.state {
                *until = (*until).min(now);
            }
        }
    }

    /// Whether each relay has answered or failed at least once.
    #[must_use]
    pub fn settled(&self) -> bool {
        let settled = |relay: &Relay<L>| match relay.state {
            State::Held(..) => true,
            State::Asked(_) | State::Resting(_) => relay.failures > 0,
        };
        self.relays.iter().all(settled)
    }

    /// When a relay is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let resting = |relay: &Relay<L>| match relay.state {
            State::Resting(until) => Some(until),
            _ => None,
        };
        self.relays.iter().filter_map(resting).min()
    }
}

impl<L: Copy + PartialEq> Relay<L> {
    fn is(&self, listener: L) -> bool {
        match self.state {
            State::Asked(known) | State::Held(known, _) => known == listener,
            State::Resting(_) => false,
        }
    }

    fn rest(&mut self, now: Timestamp, random: u64) {
        let doubled = FIRST_PAUSE * 2_u32.pow(self.failures.min(16));
        let half = doubled.min(LONGEST_PAUSE) / 2;
        let jitter = half.mul_f64(random as f64 / u64::MAX as f64);
        self.failures = self.failures.saturating_add(1);
        self.state = State::Resting(now + half + jitter);
    }
}
