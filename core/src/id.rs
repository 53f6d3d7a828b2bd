//! Who and what: peers, protocols, and the keys of streams and requests.

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::str::FromStr;

use slotmap::new_key_type;
use thiserror::Error;

new_key_type! {
    /// A stream, named by the machine that owns it before the stream exists.
    ///
    /// Carries a generation: what arrives late for a stream that is gone can never be taken for
    /// its successor's, and is ignored.
    pub struct StreamId;

    /// A request of [`Client`](crate::Client), from `send` to its one outcome.
    pub struct RequestId;

    /// A call of [`Client::send_closest`](crate::Client::send_closest), to its one outcome.
    pub struct ClosestId;
}

/// The longest peer id in bytes: a multihash of an inlined key of 42 bytes.
const MAX_PEER_ID: usize = 44;

/// A libp2p peer id: the multihash of a public key, as bytes.
///
/// The core compares and prints peer ids and does no cryptography with them.
#[derive(Copy, Clone)]
pub struct PeerId {
    bytes: [u8; MAX_PEER_ID],
    len: u8,
}

impl PeerId {
    /// Takes a peer id from its binary form (a multihash).
    ///
    /// # Errors
    /// [`PeerIdError`] if `bytes` is empty or longer than any libp2p peer id (44 bytes).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PeerIdError> {
        if bytes.is_empty() || bytes.len() > MAX_PEER_ID {
            return Err(PeerIdError { len: bytes.len() });
        }
        let mut id = Self { bytes: [0; MAX_PEER_ID], len: bytes.len() as u8 };
        id.bytes[..bytes.len()].copy_from_slice(bytes);
        Ok(id)
    }

    /// The binary form.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl PartialEq for PeerId {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for PeerId {}

impl PartialOrd for PeerId {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PeerId {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for PeerId {
    /// The last eight bytes are hash output already; a whole pass over 38 bytes buys nothing.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let bytes = self.as_bytes();
        let mut tail = [0; 8];
        let take = bytes.len().min(8);
        tail[..take].copy_from_slice(&bytes[bytes.len() - take..]);
        state.write_u64(u64::from_le_bytes(tail));
    }
}

impl fmt::Display for PeerId {
    /// Base58, as libp2p prints peer ids.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bs58::encode(self.as_bytes()).into_string())
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}

/// Bytes that are no peer id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a peer id has 1 to {MAX_PEER_ID} bytes, got {len}")]
pub struct PeerIdError {
    len: usize,
}

/// The name of an application's protocol, such as `/chat/1.0.0`. Cheap to clone.
///
/// Peers negotiate it on each new stream, so both ends must use the same name, to the letter. A name
/// that is known when the program is written is a constant, and is checked by the compiler:
///
/// ```
/// use pointsub_core::ProtocolName;
///
/// const CHAT: ProtocolName = ProtocolName::from_static("/chat/1.0.0");
/// assert_eq!("/chat/1.0.0".parse(), Ok(CHAT));
/// assert!(ProtocolName::try_from("chat").is_err());
/// ```
///
/// ```compile_fail
/// const CHAT: pointsub_core::ProtocolName = pointsub_core::ProtocolName::from_static("chat");
/// # let _ = CHAT;
/// ```
#[derive(Clone)]
pub struct ProtocolName(Name);

#[derive(Clone)]
enum Name {
    Static(&'static str),
    Shared(Arc<str>),
}

/// What the native format puts before an application's name: `WIRE.md`, section 2.
pub(crate) const NATIVE_PREFIX: &str = "/pointsub/1";
/// Names that no application may use begin with this.
const RESERVED: &str = "/pointsub/";

impl ProtocolName {
    /// The longest name in bytes. With the native prefix it stays far below what
    /// multistream-select allows.
    pub const MAX_LEN: usize = 255;

    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`ProtocolNameError`] unless the name begins with `/`, has 2 to 255 bytes, has no white
    /// space or control characters, and does not begin with `/pointsub/`, which is reserved.
    pub fn new(name: &str) -> Result<Self, ProtocolNameError> {
        check(name).map(|()| Self(Name::Shared(name.into())))
    }

    /// Takes a name of printable ASCII characters. In a constant, a name that is not allowed does
    /// not compile. Names that are known only at run time go to [`new`](Self::new).
    ///
    /// # Panics
    /// If the name is not allowed, or has other characters.
    #[must_use]
    pub const fn from_static(name: &'static str) -> Self {
        let bytes = name.as_bytes();
        assert!(bytes.len() >= 2 && bytes.len() <= Self::MAX_LEN, "it must have 2 to 255 bytes");
        assert!(bytes[0] == b'/', "it must begin with '/'");
        let mut at = 0;
        let mut reserved = true;
        while at < bytes.len() {
            assert!(bytes[at].is_ascii_graphic(), "it must have printable ASCII characters alone");
            let prefix = RESERVED.as_bytes();
            reserved &= at >= prefix.len() || bytes[at] == prefix[at];
            at += 1;
        }
        assert!(!reserved || bytes.len() < RESERVED.len(), "names under '/pointsub/' are reserved");
        Self(Name::Static(name))
    }

    /// The name as the application knows it, which is also what plain peers negotiate.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Name::Static(name) => name,
            Name::Shared(name) => name,
        }
    }

    /// The name that two native peers negotiate: `WIRE.md`, section 2.
    ///
    /// ```
    /// let chat = pointsub_core::ProtocolName::new("/chat/1.0.0").unwrap();
    /// assert_eq!(chat.native_name(), "/pointsub/1/chat/1.0.0");
    /// ```
    #[must_use]
    pub fn native_name(&self) -> String {
        alloc::format!("{NATIVE_PREFIX}{self}")
    }
}

fn check(name: &str) -> Result<(), ProtocolNameError> {
    let reason = if !name.starts_with('/') {
        "it must begin with '/'"
    } else if name.len() < 2 || name.len() > ProtocolName::MAX_LEN {
        "it must have 2 to 255 bytes"
    } else if name.chars().any(|c| c.is_control() || c.is_whitespace()) {
        "it must not contain white space or control characters"
    } else if name.starts_with(RESERVED) {
        "names under '/pointsub/' are reserved for the native format"
    } else {
        return Ok(());
    };
    Err(ProtocolNameError { name: name.chars().take(64).collect(), reason })
}

impl FromStr for ProtocolName {
    type Err = ProtocolNameError;

    fn from_str(name: &str) -> Result<Self, ProtocolNameError> {
        Self::new(name)
    }
}

impl TryFrom<&str> for ProtocolName {
    type Error = ProtocolNameError;

    fn try_from(name: &str) -> Result<Self, ProtocolNameError> {
        Self::new(name)
    }
}

impl TryFrom<String> for ProtocolName {
    type Error = ProtocolNameError;

    fn try_from(name: String) -> Result<Self, ProtocolNameError> {
        check(&name).map(|()| Self(Name::Shared(name.into())))
    }
}

impl PartialEq for ProtocolName {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for ProtocolName {}

impl PartialOrd for ProtocolName {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ProtocolName {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for ProtocolName {
    /// As the text does, by which names are looked up.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl core::borrow::Borrow<str> for ProtocolName {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for ProtocolName {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for ProtocolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ProtocolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// A string that cannot name a protocol.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{name:?} cannot name a protocol: {reason}")]
pub struct ProtocolNameError {
    name: String,
    reason: &'static str,
}
