//! What a record says.

use super::name::DnsName;
use crate::id::PeerId;

const KEY: &str = "dnsaddr=";
const NESTED: &str = "/dnsaddr/";
const PEER: &str = "/p2p/";
/// The longest record of a list that is read.
const MAX_RECORD: usize = 1024;
/// The longest peer id as text: 44 bytes in base58.
const MAX_PEER_TEXT: usize = 64;

/// What a record of a list says, with addresses as the driver has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnsEntry<A> {
    /// A peer is there.
    Peer {
        /// The peer.
        peer: PeerId,
        /// Where, without the peer's id at its end.
        address: A,
    },
    /// Another list belongs to this one.
    List {
        /// Its name.
        name: DnsName,
        /// Only what it says of this peer counts; `None` if all of it does.
        peer: Option<PeerId>,
    },
}

impl<'a> DnsEntry<&'a str> {
    /// Reads a record, the strings of which are put together. `None` if it is none of a list, is longer than
    /// 1024 bytes, or does not end in `/p2p/PEER`, with the peer id in base58. The address can be anything
    /// that begins with `/`.
    #[must_use]
    pub fn parse(record: &'a [u8]) -> Option<Self> {
        if record.len() > MAX_RECORD {
            return None;
        }
        let address = core::str::from_utf8(record).ok()?.strip_prefix(KEY)?;
        if let Some(rest) = address.strip_prefix(NESTED) {
            let (name, peer) = match rest.split_once('/') {
                None => (rest, None),
                Some((name, _)) => (name, Some(peer_id(rest[name.len()..].strip_prefix(PEER)?)?)),
            };
            return Some(Self::List { name: DnsName::new(name).ok()?, peer });
        }
        let (address, peer) = address.rsplit_once(PEER)?;
        let peer = peer_id(peer)?;
        address.starts_with('/').then_some(Self::Peer { peer, address })
    }
}

impl<A> DnsEntry<A> {
    /// The same with the address in another form.
    pub fn map_address<B>(self, f: impl FnOnce(A) -> B) -> DnsEntry<B> {
        match self {
            Self::Peer { peer, address } => DnsEntry::Peer { peer, address: f(address) },
            Self::List { name, peer } => DnsEntry::List { name, peer },
        }
    }
}

/// A peer id in base58: a multihash of an inlined key, or a SHA-256.
fn peer_id(text: &str) -> Option<PeerId> {
    if text.len() > MAX_PEER_TEXT {
        return None;
    }
    let bytes = bs58::decode(text).into_vec().ok()?;
    let [code, length, digest @ ..] = &bytes[..] else { return None };
    let known = match code {
        0x00 => digest.len() <= 42,
        0x12 => digest.len() == 32,
        _ => false,
    };
    (known && usize::from(*length) == digest.len()).then(|| PeerId::from_bytes(&bytes).ok())?
}
