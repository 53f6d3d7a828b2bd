//! What the members of a network share, and the names that follow from it.

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::fmt::Write as _;
use core::ops::RangeInclusive;
use core::time::Duration;

use sha2::{Digest, Sha256};

use crate::id::ProtocolName;

/// How long one key stands for a service. The next one lies elsewhere in the table.
const EPOCH: Duration = Duration::from_secs(3600);
/// How long before it begins and after it has ended a key is used too: clocks differ.
const OVERLAP: Duration = Duration::from_secs(600);
/// The block of SHA-256, in bytes.
const BLOCK: usize = 64;
/// How many bytes of a hash are in the name of the protocol.
const NAME: usize = 16;
/// A multihash of SHA-256 begins with these bytes.
const MULTIHASH: [u8; 2] = [0x12, 0x20];

/// What the members of a network share, and nobody else. The name of its protocol and the keys of its
/// services follow from it. It is not printed.
///
/// ```
/// use core::time::Duration;
/// use pointsub_core::ProtocolName;
/// use pointsub_core::network::kademlia::NetworkSecret;
///
/// const SEARCH: ProtocolName = ProtocolName::from_static("/search/1.0.0");
/// let (ours, theirs) = (NetworkSecret::from_phrase("ours"), NetworkSecret::new([7; 32]));
/// assert_ne!(ours.protocol(), theirs.protocol());
/// assert_ne!(ours.key(&SEARCH, 0), ours.key(&SEARCH, 1));
/// assert_eq!(NetworkSecret::epochs(Duration::from_secs(7200 + 1800)), 2..=2);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct NetworkSecret([u8; 32]);

/// Where the servers of a service are listed, for an hour: a multihash of SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey([u8; 32]);

impl NetworkSecret {
    /// Takes 32 random bytes.
    #[must_use]
    pub const fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// Makes one of a text. Whoever sees the name of the protocol can try texts: one that is not to be
    /// guessed is long and random.
    #[must_use]
    pub fn from_phrase(phrase: &str) -> Self {
        let hash = Sha256::new().chain_update(b"pointsub kad secret/1").chain_update(phrase);
        Self(hash.finalize().into())
    }

    /// The name of the protocol in which the members talk. Others see it, and learn nothing from it.
    #[must_use]
    pub fn protocol(&self) -> String {
        let hash = self.hmac(&[b"pointsub kad protocol/1"]);
        let mut name = String::from("/pointsub/kad/");
        for byte in &hash[..NAME] {
            let _ok = write!(name, "{byte:02x}");
        }
        name + "/1"
    }

    /// The key of a service in an epoch: the hours since the beginning of 1970.
    #[must_use]
    pub fn key(&self, service: &ProtocolName, epoch: u64) -> ServiceKey {
        let parts = [b"pointsub kad key/1", &epoch.to_be_bytes()[..], service.as_str().as_bytes()];
        ServiceKey(self.hmac(&parts))
    }

    /// The epochs that count at a time since the beginning of 1970: the one that is, and for 10 min around
    /// its ends its neighbour too. So two clocks may be 20 min apart.
    #[must_use]
    pub fn epochs(unix: Duration) -> RangeInclusive<u64> {
        let epoch = |time: Duration| time.as_secs() / EPOCH.as_secs();
        epoch(unix.saturating_sub(OVERLAP))..=epoch(unix.saturating_add(OVERLAP))
    }

    /// How long it is until other epochs count.
    #[must_use]
    pub fn until_others(unix: Duration) -> Duration {
        let within = Duration::from_secs(unix.as_secs() % EPOCH.as_secs());
        let ends = [OVERLAP, EPOCH - OVERLAP, EPOCH + OVERLAP];
        let next = ends.into_iter().find(|end| *end > within).unwrap_or(EPOCH);
        next.saturating_sub(within)
    }

    /// HMAC with SHA-256 (RFC 2104).
    fn hmac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let pad = |with: u8| {
            let mut block = [with; BLOCK];
            block.iter_mut().zip(self.0).for_each(|(byte, key)| *byte ^= key);
            Sha256::new().chain_update(block)
        };
        let mut inner = pad(0x36);
        parts.iter().for_each(|part| inner.update(part));
        pad(0x5c).chain_update(inner.finalize()).finalize().into()
    }
}

impl fmt::Debug for NetworkSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NetworkSecret(..)")
    }
}

impl ServiceKey {
    /// The key as it is on the wire: 34 bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 34] {
        let mut bytes = [0; 34];
        bytes[..2].copy_from_slice(&MULTIHASH);
        bytes[2..].copy_from_slice(&self.0);
        bytes
    }

    /// Reads such a key. `None` if it is none.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let hash = bytes.strip_prefix(&MULTIHASH)?;
        hash.try_into().ok().map(Self)
    }
}

impl fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let begin = self.0[..4].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        write!(f, "ServiceKey({begin}…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 1, with the key filled up with zeros as HMAC does.
    #[test]
    fn the_hash_is_hmac_with_sha_256() {
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let hash = NetworkSecret::new(key).hmac(&[b"Hi ", b"There"]);
        let expected = [
            0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb, 0x38, 0x53, 0x5c, 0xa8, 0xaf, 0xce, 0xaf, 0x0b,
            0xf1, 0x2b, 0x88, 0x1d, 0xc2, 0x00, 0xc9, 0x83, 0x3d, 0xa7, 0x26, 0xe9, 0x37, 0x6c,
            0x2e, 0x32, 0xcf, 0xf7,
        ];
        assert_eq!(hash, expected);
    }
}
