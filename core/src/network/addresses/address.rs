//! Addresses as the machine sees them.

use alloc::sync::Arc;
use core::cmp::Ordering;
use core::fmt::{self, Write as _};
use core::hash::{Hash, Hasher};

/// From how far away a place can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// From the same machine.
    Machine,
    /// From the same network.
    Network,
    /// From the internet.
    Internet,
}

/// What carries a connection. Which of them works, and how quickly, differs from network to network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Carrier {
    /// TCP, with a handshake for encryption of its own.
    Tcp,
    /// QUIC over UDP, which some networks do not let through.
    Quic,
    /// Anything else.
    Other,
}

/// Where a peer can be dialled: bytes that only the driver understands, and what the machine has to
/// know of them. Cheap to clone.
///
/// The driver names an address always with the same bytes, without the peer's id at its end. Two
/// addresses are equal if their bytes are.
#[derive(Clone)]
pub struct Address {
    bytes: Arc<[u8]>,
    relayed: bool,
    reach: Option<Reach>,
    carrier: Carrier,
}

impl Address {
    /// An address that leads straight to a peer, from an unknown distance.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.into(), relayed: false, reach: None, carrier: Carrier::Other }
    }

    /// Says that it leads through a relay: such addresses are dialled last.
    #[must_use]
    pub fn through_relay(self, relayed: bool) -> Self {
        Self { relayed, ..self }
    }

    /// Says from how far away it can be reached. `None` if only a resolver knows.
    #[must_use]
    pub fn within(self, reach: Option<Reach>) -> Self {
        Self { reach, ..self }
    }

    /// Says what carries a connection there.
    #[must_use]
    pub fn over(self, carrier: Carrier) -> Self {
        Self { carrier, ..self }
    }

    /// The bytes that it was made of.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it leads through a relay.
    #[must_use]
    pub fn is_relayed(&self) -> bool {
        self.relayed
    }

    /// From how far away it can be reached, if that is known.
    #[must_use]
    pub fn reach(&self) -> Option<Reach> {
        self.reach
    }

    /// What carries a connection there.
    #[must_use]
    pub fn carrier(&self) -> Carrier {
        self.carrier
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Address {}

impl PartialOrd for Address {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Address {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bytes.cmp(&other.bytes)
    }
}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes.hash(state);
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Address(")?;
        for byte in &*self.bytes {
            write!(f, "{byte:02x}")?;
        }
        f.write_char(')')
    }
}
