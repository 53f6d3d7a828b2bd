//! What happened, for the trace and for people.

use std::fmt;

use pointsub_core::Timestamp;

/// To whom something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// The client.
    Client,
    /// A peer.
    Peer(usize),
    /// What lies between them.
    Net,
}

/// One line of a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub who: Who,
    /// What, with `{a}` and `{b}` for the numbers.
    pub what: &'static str,
    /// A number.
    pub a: u64,
    /// Another one.
    pub b: u64,
}

impl Note {
    /// The trace's hash after this.
    pub(super) fn hash(&self, before: u64) -> u64 {
        let who = match self.who {
            Who::Client => 1,
            Who::Net => 2,
            Who::Peer(number) => 3 + number as u64,
        };
        let mut hash = before;
        for byte in self.what.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        for number in [self.at.as_nanos(), who, self.a, self.b] {
            hash = (hash.rotate_left(23) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        hash
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.at.as_nanos() / 1000;
        write!(f, "{:>10}.{:03} ms  ", micros / 1000, micros % 1000)?;
        let who = match self.who {
            Who::Client => "client".to_owned(),
            Who::Peer(number) => format!("peer {number}"),
            Who::Net => "net".to_owned(),
        };
        let what = self.what.replace("{a}", &self.a.to_string());
        write!(f, "{who:<8}{}", what.replace("{b}", &self.b.to_string()))
    }
}
