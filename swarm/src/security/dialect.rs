//! The texts inside the handshakes, by which peers of two networks tell each other apart.

/// Which texts a peer signs and expects inside its handshakes.
///
/// The names that are negotiated outside (`/tls/1.0.0`, `/noise`, `/yamux/1.0.0`) and everything else
/// are the same in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// That of libp2p's specifications, which every libp2p peer speaks.
    Libp2p,
    /// That of go-dep2p v0.0.2, the host of Go PointSub 1.0.4 to 1.1.7 and 1.2.0 to 1.2.3.
    Dep2p,
}

impl Dialect {
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
}
