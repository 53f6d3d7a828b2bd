//! One link: when it is asked and told there, and how much is heard.

use alloc::boxed::Box;
use core::net::IpAddr;
use core::time::Duration;

use crate::rng::Rng;
use crate::time::Timestamp;

/// The pause after the first query; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest of these pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How many queries in a row may be those of others.
const LEFT_TO_OTHERS: u8 = 3;
/// Between two announcements on a link (RFC 6762, section 6).
const BETWEEN_ANNOUNCEMENTS: Duration = Duration::from_secs(1);
/// The delay before an announcement (RFC 6762, section 6).
const JITTER: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(120));
/// How often what is new is said.
const REPEATS: u8 = 2;
/// How many packets of a sender are heard at once, and how long it takes until one more is.
const BURST: u32 = 64;
const PER_PACKET: Duration = Duration::from_nanos(1_000_000_000 / 16);
/// How many senders are told apart. Others share the allowance of one of them.
const SENDERS: usize = 256;

#[derive(Debug)]
pub(super) struct Link {
    query_at: Option<Timestamp>,
    last_query: Option<Timestamp>,
    /// The pause after the next query.
    pause: Duration,
    left_to_others: u8,
    announce_at: Option<Timestamp>,
    last_announcement: Option<Timestamp>,
    repeats: u8,
    /// When the allowance of each sender is whole again.
    senders: Box<[Timestamp; SENDERS]>,
}

impl Link {
    pub(super) fn new() -> Self {
        Self {
            query_at: None,
            last_query: None,
            pause: FIRST_PAUSE,
            left_to_others: 0,
            announce_at: None,
            last_announcement: None,
            repeats: 0,
            senders: Box::new([Timestamp::ZERO; SENDERS]),
        }
    }

    /// Asks now, or a second after the last query, and then more and more seldom.
    pub(super) fn ask_anew(&mut self, now: Timestamp) {
        let earliest = self.last_query.map_or(now, |last| last + FIRST_PAUSE);
        self.query_at = Some(now.max(earliest));
        self.pause = FIRST_PAUSE;
        self.left_to_others = 0;
    }

    pub(super) fn ask_no_more(&mut self) {
        self.query_at = None;
    }

    /// Somebody asks: it is answered soon, and a query of this node's may be saved.
    pub(super) fn asked(&mut self, now: Timestamp, rng: &mut Rng) {
        self.announce(now, rng);
        if let Some(at) = self.query_at.filter(|_| self.pause == LONGEST_PAUSE)
            && self.left_to_others < LEFT_TO_OTHERS
            && at < now + LONGEST_PAUSE
        {
            self.query_at = Some(now + LONGEST_PAUSE);
            self.left_to_others += 1;
        }
    }

    /// Says soon what is new, and says it again.
    pub(super) fn announce_anew(&mut self, now: Timestamp, rng: &mut Rng) {
        self.announce(now, rng);
        self.repeats = REPEATS;
    }

    fn announce(&mut self, now: Timestamp, rng: &mut Rng) {
        if self.announce_at.is_none() {
            let soon = now + rng.between(JITTER.0, JITTER.1);
            let earliest = self.last_announcement.map_or(soon, |last| last + BETWEEN_ANNOUNCEMENTS);
            self.announce_at = Some(soon.max(earliest));
        }
    }

    /// Whether a query is due, which is then taken as sent.
    pub(super) fn take_query(&mut self, now: Timestamp) -> bool {
        if self.query_at.is_none_or(|at| at > now) {
            return false;
        }
        self.last_query = Some(now);
        self.query_at = Some(now + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.left_to_others = 0;
        true
    }

    /// Whether an announcement is due, which is then taken as sent.
    pub(super) fn take_announcement(&mut self, now: Timestamp) -> bool {
        if self.announce_at.is_none_or(|at| at > now) {
            return false;
        }
        self.last_announcement = Some(now);
        self.repeats = self.repeats.saturating_sub(1);
        self.announce_at = (self.repeats > 0).then(|| now + BETWEEN_ANNOUNCEMENTS);
        true
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.query_at.into_iter().chain(self.announce_at).min()
    }

    /// Whether one more packet of a sender is heard.
    pub(super) fn admits(&mut self, sender: IpAddr, secret: u64, now: Timestamp) -> bool {
        let whole = &mut self.senders[place(sender, secret)];
        let after = (*whole).max(now) + PER_PACKET;
        let admitted = after.since(now) <= PER_PACKET * BURST;
        if admitted {
            *whole = after;
        }
        admitted
    }
}

/// Which allowance a sender has: nobody outside can tell whose else it is.
fn place(sender: IpAddr, secret: u64) -> usize {
    let address = match sender {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    let low = Rng::new(secret ^ address as u64).next_u64();
    let both = Rng::new(low ^ (address >> 64) as u64).next_u64();
    both as usize % SENDERS
}
