//! The texts inside the handshakes, by which peers of two networks tell each other apart.

use std::fmt;

/// Which texts a peer signs and expects inside its handshakes.
///
/// The names that are negotiated outside (`/tls/1.0.0`, `/noise`, `/yamux/1.0.0`) and everything else
/// are the same in both. Both prove the same: that the peer has the key of its peer id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// That of libp2p's specifications, which every libp2p peer speaks.
    Libp2p,
    /// That of go-dep2p v0.0.2, the host of Go PointSub 1.0.4 to 1.1.7 and 1.2.0 to 1.2.3.
    Dep2p,
}

impl Dialect {
    /// Both, in the order in which a server prefers them.
    pub(crate) const ALL: [Self; 2] = [Self::Libp2p, Self::Dep2p];

    /// The protocol's name in TLS's ALPN extension, also over QUIC.
    pub const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Libp2p => b"libp2p",
            Self::Dep2p => b"dep2p",
        }
    }

    /// What comes before the certificate's key in what the peer's key signs.
    pub const fn certificate_prefix(self) -> &'static [u8] {
        match self {
            Self::Libp2p => b"libp2p-tls-handshake:",
            Self::Dep2p => b"dep2p-tls-handshake:",
        }
    }

    /// What comes before the static key of Noise in what the peer's key signs.
    pub const fn noise_prefix(self) -> &'static [u8] {
        match self {
            Self::Libp2p => b"noise-libp2p-static-key:",
            Self::Dep2p => b"noise-dep2p-static-key:",
        }
    }

    /// The one that this is not.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Libp2p => Self::Dep2p,
            Self::Dep2p => Self::Libp2p,
        }
    }

    /// The one that a handshake speaks which has agreed on this name; one without a name speaks
    /// libp2p's.
    #[must_use]
    pub fn of_alpn(agreed: Option<&[u8]>) -> Option<Self> {
        let Some(agreed) = agreed else { return Some(Self::Libp2p) };
        Self::ALL.into_iter().find(|dialect| dialect.alpn() == agreed)
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Libp2p => "libp2p",
            Self::Dep2p => "dep2p",
        })
    }
}

/// The dialects that a node serves and dials. The default is both, and Noise answered as libp2p does.
///
/// A node that speaks both dials a peer in the dialect that it remembers of the peer or the address,
/// which is libp2p's if it remembers nothing. If the peer refuses that dialect, it is dialled again in
/// the other one. Over TLS and QUIC a node that is dialled answers in the dialect of the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dialects {
    /// This one alone. Peers that speak the other one are refused.
    Only(Dialect),
    /// Both.
    Both {
        /// The one in which a peer is answered that dials with Noise. A node that is dialled has to
        /// speak first there, and cannot tell which dialect the peer speaks.
        noise: Dialect,
    },
}

impl Default for Dialects {
    fn default() -> Self {
        Self::Both { noise: Dialect::Libp2p }
    }
}

impl Dialects {
    /// Whether this dialect is among them.
    #[must_use]
    pub fn contain(self, dialect: Dialect) -> bool {
        match self {
            Self::Only(only) => only == dialect,
            Self::Both { .. } => true,
        }
    }

    /// The one in which a peer is answered that dials with Noise.
    #[must_use]
    pub const fn noise(self) -> Dialect {
        match self {
            Self::Only(dialect) | Self::Both { noise: dialect } => dialect,
        }
    }

    /// All of them, in the order in which a server prefers them.
    pub(crate) fn iter(self) -> impl Iterator<Item = Dialect> {
        Dialect::ALL.into_iter().filter(move |dialect| self.contain(*dialect))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_speaks_what_it_has_agreed_on_and_libp2p_if_that_is_nothing() {
        for dialect in Dialect::ALL {
            assert_eq!(Dialect::of_alpn(Some(dialect.alpn())), Some(dialect));
        }
        assert_eq!(Dialect::of_alpn(None), Some(Dialect::Libp2p));
        assert_eq!(Dialect::of_alpn(Some(b"/yamux/1.0.0")), None);
        assert_eq!(Dialect::of_alpn(Some(b"")), None);
    }

    #[test]
    fn nothing_is_signed_that_could_be_read_as_the_other_dialect() {
        let [libp2p, dep2p] = Dialect::ALL;
        for text in [Dialect::alpn, Dialect::certificate_prefix, Dialect::noise_prefix] {
            assert!(!text(libp2p).starts_with(text(dep2p)));
            assert!(!text(dep2p).starts_with(text(libp2p)));
        }
    }
}
