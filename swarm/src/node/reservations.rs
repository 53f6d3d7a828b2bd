//! The places that a node wants at relays, and when it asks for them.

use std::task::Poll;
use std::time::Duration;

use futures::future::poll_fn;
use libp2p_core::Multiaddr;
use pointsub_core::Timestamp;

use crate::timer::Timer;

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
pub(super) struct Reservations<L> {
    relays: Vec<Relay<L>>,
}

#[derive(Debug)]
struct Relay<L> {
    address: Multiaddr,
    state: State<L>,
    failures: u32,
}

#[derive(Debug)]
enum State<L> {
    Resting(Timestamp),
    Asked(L),
    Held(L, Timestamp),
}

impl<L: Copy + PartialEq> Reservations<L> {
    pub(super) fn new() -> Self {
        Self { relays: Vec::new() }
    }

    /// A relay at which there shall always be a place, and which has just been asked for it.
    pub(super) fn want(&mut self, address: Multiaddr, listener: L) {
        self.relays.push(Relay { address, state: State::Asked(listener), failures: 0 });
    }

    /// There shall not be a place at a relay any more. Whether there should have been one.
    pub(super) fn forget(&mut self, address: &Multiaddr) -> bool {
        let before = self.relays.len();
        self.relays.retain(|relay| relay.address != *address);
        self.relays.len() < before
    }

    /// The address of a relay that is due to be asked; [`asked`](Self::asked) has to follow.
    pub(super) fn due(&self, now: Timestamp) -> Option<Multiaddr> {
        let due = |relay: &&Relay<L>| matches!(relay.state, State::Resting(until) if until <= now);
        self.relays.iter().find(due).map(|relay| relay.address.clone())
    }

    /// A relay was asked, or could not be: `listener` is `None` then.
    pub(super) fn asked(
        &mut self,
        address: &Multiaddr,
        listener: Option<L>,
        now: Timestamp,
        random: u64,
    ) {
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
    pub(super) fn up(&mut self, listener: L, now: Timestamp) {
        for relay in &mut self.relays {
            if matches!(relay.state, State::Asked(asked) if asked == listener) {
                relay.state = State::Held(listener, now);
            }
        }
    }

    /// The relay that was asked by a listener.
    pub(super) fn address(&self, listener: L) -> Option<Multiaddr> {
        self.relays.iter().find(|relay| relay.is(listener)).map(|relay| relay.address.clone())
    }

    /// There is none, or none any more. Returns the relay's address if the listener was one of these.
    pub(super) fn down(&mut self, listener: L, now: Timestamp, random: u64) -> Option<Multiaddr> {
        let relay = self.relays.iter_mut().find(|relay| relay.is(listener))?;
        if let State::Held(_, since) = relay.state
            && now.since(since) >= HELD
        {
            relay.failures = 0;
        }
        relay.rest(now, random);
        Some(relay.address.clone())
    }

    /// Whether each relay has answered or failed at least once.
    pub(super) fn settled(&self) -> bool {
        let settled = |relay: &Relay<L>| match relay.state {
            State::Held(..) => true,
            State::Asked(_) | State::Resting(_) => relay.failures > 0,
        };
        self.relays.iter().all(settled)
    }

    /// When a relay is due.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let resting = |relay: &Relay<L>| match relay.state {
            State::Resting(until) => Some(until),
            _ => None,
        };
        self.relays.iter().filter_map(resting).min()
    }

    /// Waits until a relay is due.
    pub(super) async fn wait(&self, timer: &mut Timer) {
        let due = self.next_deadline();
        poll_fn(|cx| if timer.poll_due(due, cx) { Poll::Ready(()) } else { Poll::Pending }).await;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(seconds)
    }

    fn relay(n: u8) -> Multiaddr {
        let peer = "12D3KooWNvSZnPi3RrhrTwEY4LuuBeB6K6facKUCJcyWG1aoDd2p";
        format!("/ip4/192.0.2.{n}/tcp/1/p2p/{peer}/p2p-circuit").parse().expect("an address")
    }

    /// Asks what is due, as `listener`.
    fn ask(wanted: &mut Reservations<u32>, listener: u32, now: Timestamp) -> Option<Multiaddr> {
        let address = wanted.due(now)?;
        wanted.asked(&address, Some(listener), now, 0);
        Some(address)
    }

    fn wanting() -> Reservations<u32> {
        let mut wanted = Reservations::new();
        wanted.want(relay(1), 0);
        wanted
    }

    #[test]
    fn a_place_that_is_lost_is_asked_for_again() {
        let mut wanted = wanting();
        assert_eq!((wanted.due(at(0)), wanted.next_deadline()), (None, None));
        assert!(!wanted.settled());
        wanted.up(0, at(1));
        assert!(wanted.settled());
        assert_eq!(wanted.down(0, at(1000), u64::MAX), Some(relay(1)));
        assert_eq!(wanted.next_deadline(), Some(at(1001)), "1 s with all of the chance");
        assert_eq!(wanted.due(at(1000)), None);
        assert_eq!(ask(&mut wanted, 2, at(1001)), Some(relay(1)));
        wanted.up(2, at(1002));
        assert_eq!(wanted.down(2, at(2000), 0), Some(relay(1)));
        assert_eq!(wanted.next_deadline(), Some(at(2000) + Duration::from_millis(500)));
    }

    #[test]
    fn pauses_double_up_to_half_a_minute() {
        let mut wanted = wanting();
        let (mut now, mut pauses) = (at(0), Vec::new());
        for listener in 0..8 {
            wanted.down(listener, now, u64::MAX);
            let next = wanted.next_deadline().expect("it is asked again");
            pauses.push(next.since(now).as_secs());
            now = next;
            assert_eq!(ask(&mut wanted, listener + 1, now), Some(relay(1)));
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn who_takes_the_place_away_at_once_is_not_asked_each_second() {
        let mut wanted = wanting();
        let mut now = at(0);
        for listener in 0..5 {
            wanted.up(listener, now);
            wanted.down(listener, now, u64::MAX);
            now = wanted.next_deadline().expect("it is asked again");
            assert_eq!(ask(&mut wanted, listener + 1, now), Some(relay(1)));
        }
        assert_eq!(now, at(1 + 2 + 4 + 8 + 16));
    }

    #[test]
    fn there_is_one_listener_at_a_relay() {
        let mut wanted = wanting();
        wanted.want(relay(2), 2);
        assert_eq!(ask(&mut wanted, 3, at(1000)), None);
        assert_eq!(wanted.address(2), Some(relay(2)));
        assert_eq!(wanted.down(9, at(0), 0), None, "a listener of another kind");
        assert!(!wanted.settled());
        wanted.up(0, at(1));
        wanted.down(2, at(1), 0);
        assert!(wanted.settled(), "one has a place, and one is known to be down");
    }

    #[test]
    fn a_relay_that_cannot_be_asked_rests_too() {
        let mut wanted = wanting();
        wanted.down(0, at(0), u64::MAX);
        let address = wanted.due(at(1)).expect("it is due");
        wanted.asked(&address, None, at(1), u64::MAX);
        assert_eq!(wanted.next_deadline(), Some(at(3)));
    }
}
