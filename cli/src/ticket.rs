//! Tickets: a Peer ID with addresses in one word, to be copied and pasted.
//!
//! A ticket is `psu` and the base32 (RFC 4648, without padding) of these bytes. Case does not matter.
//!
//! | bytes | |
//! |---|---|
//! | 1 | the version, 1 |
//! | 1 | the length of the Peer ID |
//! | | the Peer ID in its binary form, a multihash |
//! | 1 | the number of addresses, 0 to 16 |
//! | 1 and more, for each address | its length, and the address in libp2p's binary form |
//! | 4 | the beginning of the SHA-256 of everything before it |
//!
//! All bytes together are at most 2048. An address does not end in `/p2p/` and the Peer ID of the ticket.
//! Every version ends in this checksum, so that a mistake in copying is not taken for a newer version.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use pointsub_tokio::{Multiaddr, PeerId, Protocol};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// What every ticket begins with.
pub const PREFIX: &str = "psu";
/// The version of the format.
const VERSION: u8 = 1;
/// The most addresses in a ticket.
pub const MAX_ADDRESSES: usize = 16;
/// The most bytes of a ticket, before base32.
pub const MAX_BYTES: usize = 2048;
/// The longest ticket in characters.
const MAX_TEXT: usize = PREFIX.len() + (MAX_BYTES * 8).div_ceil(5);
/// Bytes of the checksum.
const CHECKSUM: usize = 4;

/// A Peer ID with addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    peer: PeerId,
    addresses: Vec<Multiaddr>,
}

/// Why a text is no ticket.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TicketError {
    /// It does not begin like one.
    #[error("a ticket begins with \"{PREFIX}\"")]
    Prefix,
    /// It is longer than any ticket.
    #[error("a ticket has at most {MAX_TEXT} characters, and this one has {len}")]
    TooLong {
        /// How many it has.
        len: usize,
    },
    /// There is a character that no ticket has.
    #[error(
        "a ticket has the letters A to Z and the digits 2 to 7, and not what is at place {place}"
    )]
    Alphabet {
        /// Where, counted from 1.
        place: usize,
    },
    /// The checksum does not fit.
    #[error("the ticket is incomplete, or a character has changed: copy all of it again")]
    Checksum,
    /// It is of another version.
    #[error("the ticket has version {version}, and this program reads version 1: update pointsub")]
    Version {
        /// The version.
        version: u8,
    },
    /// The checksum fits, and what is in it does not.
    #[error("the ticket has {0}: whatever made it has a fault")]
    Broken(&'static str),
}

impl Ticket {
    /// A ticket of a peer with the first of these addresses that fit, each once.
    pub fn new(peer: PeerId, addresses: impl IntoIterator<Item = Multiaddr>) -> Self {
        let mut ticket = Self { peer, addresses: Vec::new() };
        let mut room = MAX_BYTES - 3 - peer.to_bytes().len() - CHECKSUM;
        for address in addresses {
            let address = without_peer(address, &peer);
            let takes = 1 + address.len();
            let fits = takes <= room && address.len() <= usize::from(u8::MAX);
            let is_full = ticket.addresses.len() == MAX_ADDRESSES;
            if is_full || !fits || address.is_empty() || ticket.addresses.contains(&address) {
                continue;
            }
            room -= takes;
            ticket.addresses.push(address);
        }
        ticket
    }

    /// The peer.
    #[must_use]
    pub const fn peer(&self) -> PeerId {
        self.peer
    }

    /// Where it is, without its Peer ID at the end of each.
    #[must_use]
    pub fn addresses(&self) -> &[Multiaddr] {
        &self.addresses
    }

    /// Whether a text begins like a ticket.
    #[must_use]
    pub fn is_like(text: &str) -> bool {
        let begin = text.as_bytes().get(..PREFIX.len());
        begin.is_some_and(|begin| begin.eq_ignore_ascii_case(PREFIX.as_bytes()))
    }

    fn to_bytes(&self) -> Vec<u8> {
        let peer = self.peer.to_bytes();
        let mut bytes = vec![VERSION, peer.len() as u8];
        bytes.extend_from_slice(&peer);
        bytes.push(self.addresses.len() as u8);
        for address in &self.addresses {
            bytes.push(address.len() as u8);
            bytes.extend_from_slice(address.as_ref());
        }
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, TicketError> {
        let (rest, sum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(TicketError::Checksum)?;
        if checksum(rest) != *sum {
            return Err(TicketError::Checksum);
        }
        let mut rest = Reader(rest);
        match rest.byte() {
            Some(VERSION) => {}
            Some(version) => return Err(TicketError::Version { version }),
            None => return Err(TicketError::Broken("nothing in it")),
        }
        let peer = rest.sized().and_then(|bytes| PeerId::from_bytes(bytes).ok());
        let peer = peer.ok_or(TicketError::Broken("no Peer ID"))?;
        let count = rest.byte().ok_or(TicketError::Broken("no number of addresses"))?;
        if usize::from(count) > MAX_ADDRESSES {
            return Err(TicketError::Broken("too many addresses"));
        }
        let mut addresses = Vec::new();
        for _ in 0..count {
            let address = rest.sized().and_then(|bytes| Multiaddr::try_from(bytes.to_vec()).ok());
            addresses.push(address.ok_or(TicketError::Broken("an address that is none"))?);
        }
        match rest.0.is_empty() {
            true => Ok(Self { peer, addresses }),
            false => Err(TicketError::Broken("more behind its addresses")),
        }
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let [a, b, c, d, ..] = <[u8; 32]>::from(Sha256::digest(bytes));
    [a, b, c, d]
}

/// An address without this peer at its end.
fn without_peer(mut address: Multiaddr, peer: &PeerId) -> Multiaddr {
    if address.iter().last() == Some(Protocol::P2p(*peer)) {
        address.pop();
    }
    address
}

/// The bytes that are left.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    /// Bytes behind their number.
    fn sized(&mut self) -> Option<&'a [u8]> {
        let len = self.byte()?;
        let (bytes, rest) = self.0.split_at_checked(usize::from(len))?;
        self.0 = rest;
        Some(bytes)
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = BASE32_NOPAD.encode(&self.to_bytes()).to_ascii_lowercase();
        write!(f, "{PREFIX}{text}")
    }
}

impl FromStr for Ticket {
    type Err = TicketError;

    fn from_str(text: &str) -> Result<Self, TicketError> {
        if !Self::is_like(text) {
            return Err(TicketError::Prefix);
        }
        if text.len() > MAX_TEXT {
            return Err(TicketError::TooLong { len: text.len() });
        }
        let encoded = text.as_bytes()[PREFIX.len()..].to_ascii_uppercase();
        let known = |byte: &u8| matches!(byte, b'A'..=b'Z' | b'2'..=b'7');
        if let Some(place) = encoded.iter().position(|byte| !known(byte)) {
            return Err(TicketError::Alphabet { place: PREFIX.len() + place + 1 });
        }
        // What is left to go wrong is a length that base32 does not have.
        let bytes = BASE32_NOPAD.decode(&encoded).map_err(|_| TicketError::Checksum)?;
        Self::from_bytes(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> PeerId {
        "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X".parse().expect("a peer id")
    }

    fn address(text: &str) -> Multiaddr {
        text.parse().expect("an address")
    }

    /// What was printed once can be read for ever.
    #[test]
    fn the_format_stays() {
        let at = [address("/ip4/203.0.113.9/tcp/4001"), address("/dns4/example.org/udp/1/quic-v1")];
        let ticket = Ticket::new(peer(), at);
        let text = "psuaetaajaiaejcbtwmcud5yho5okkzkhbjbcepbfnnxece2g3t22lonxyglvudxvh4aieajsyaoeeqm\
                    d5bcm3awzlymfwxa3dffzxxez4raiaadtidsti5tmi";
        let printed = ticket.to_string();
        assert_eq!(printed.parse(), Ok(ticket.clone()));
        assert_eq!(printed.to_ascii_uppercase().parse(), Ok(ticket), "case does not matter");
        assert_eq!(printed, text);
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let own = format!("/ip4/127.0.0.1/tcp/1/p2p/{}", peer());
        let twice = [address(&own), address("/ip4/127.0.0.1/tcp/1")];
        assert_eq!(Ticket::new(peer(), twice.clone()).addresses(), &twice[1..]);
        let long = |port: u16| address(&format!("/dns4/{}/tcp/{port}", "a".repeat(200)));
        let ticket = Ticket::new(peer(), (0..40).map(long));
        assert!(ticket.to_bytes().len() <= MAX_BYTES && ticket.addresses().len() == 9);
        assert_eq!(ticket.to_string().parse(), Ok(ticket));
        let short = |port: u16| address(&format!("/ip4/127.0.0.1/tcp/{port}"));
        assert_eq!(Ticket::new(peer(), (0..40).map(short)).addresses().len(), MAX_ADDRESSES);
        let too_long = address(&format!("/dns4/{}/tcp/1", "a".repeat(260)));
        assert!(Ticket::new(peer(), [too_long]).addresses().is_empty());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let printed = Ticket::new(peer(), [address("/ip4/127.0.0.1/tcp/1")]).to_string();
        let read = |text: &str| text.parse::<Ticket>().expect_err("it is none");
        assert_eq!(read("12D3Koo"), TicketError::Prefix);
        assert_eq!(read("psu"), TicketError::Checksum);
        assert_eq!(read(&printed[..printed.len() - 2]), TicketError::Checksum);
        assert_eq!(
            read(&format!("{}1{}", &printed[..9], &printed[10..])),
            TicketError::Alphabet { place: 10 }
        );
        assert_eq!(
            read(&format!("psu{}", "a".repeat(MAX_TEXT))),
            TicketError::TooLong { len: MAX_TEXT + 3 }
        );
        let with = |bytes: &[u8]| {
            let bytes = [bytes, &checksum(bytes)].concat();
            read(&format!("psu{}", BASE32_NOPAD.encode(&bytes)))
        };
        assert_eq!(with(&[2, 0]), TicketError::Version { version: 2 });
        assert!(matches!(with(&[]), TicketError::Broken(_)));
        assert!(matches!(with(&[1, 2, 0, 0, 0, 9]), TicketError::Broken(_)));
        let id = peer().to_bytes();
        let begin = [&[1, id.len() as u8], &id[..]].concat();
        assert!(matches!(with(&begin), TicketError::Broken("no number of addresses")));
        assert!(matches!(with(&[&begin[..], &[17]].concat()), TicketError::Broken(_)));
        assert!(matches!(with(&[&begin[..], &[1, 2, 4, 0]].concat()), TicketError::Broken(_)));
        assert!(matches!(with(&[&begin[..], &[0, 0]].concat()), TicketError::Broken(_)));
    }
}
