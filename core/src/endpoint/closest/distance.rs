//! Distance between a key and a peer, as the Go implementation measures it.

use core::fmt;

use sha2::{Digest, Sha256};

use crate::id::PeerId;

/// Where a key or a peer lies: the SHA-256 of its bytes.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Point([u8; 32]);

impl Point {
    /// Where a key lies. Any bytes will do, none too. Costs one hash of the key.
    #[must_use]
    pub fn of_key(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// Where a peer lies: the hash of the binary form of its id, not of its base58 form.
    #[must_use]
    pub fn of_peer(peer: &PeerId) -> Self {
        Self(Sha256::digest(peer.as_bytes()).into())
    }

    /// How far it is from here to there; the same in both directions.
    #[must_use]
    pub fn distance(&self, other: &Self) -> Distance {
        Distance(core::array::from_fn(|i| self.0[i] ^ other.0[i]))
    }

    /// The first 64 of the 256 bits.
    pub(super) fn leading_bits(&self) -> u64 {
        leading(&self.0)
    }
}

/// The XOR of two [`Point`]s, ordered as a 256-bit number with the most significant byte first.
///
/// This is what `SortNodesByDistance` of the Go implementation orders by: the XOR of
/// `sha256(content)` and `sha256(peer id)`. It is rendezvous hashing and says nothing about how
/// near a machine is: a key goes to the same node as long as that node is usable, and keys spread
/// evenly over the nodes.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Distance([u8; 32]);

impl Distance {
    /// No distance at all.
    pub const MIN: Self = Self([0; 32]);
    /// The farthest there is.
    pub const MAX: Self = Self([0xff; 32]);

    /// The distance between a key and a peer. Hashes both; where many are compared, hash each
    /// once with [`Point`].
    #[must_use]
    pub fn between(key: &[u8], peer: &PeerId) -> Self {
        Point::of_key(key).distance(&Point::of_peer(peer))
    }

    /// The distance with these bytes, most significant first.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, most significant first.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The distance as a fraction of the greatest, in units of 2^-64: its first 64 bits.
    #[must_use]
    pub fn leading_bits(&self) -> u64 {
        leading(&self.0)
    }
}

impl fmt::Debug for Distance {
    /// Hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Distance(")?;
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

fn leading(bytes: &[u8; 32]) -> u64 {
    bytes[..8].iter().fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}
