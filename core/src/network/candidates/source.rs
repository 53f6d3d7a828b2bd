//! Ways of finding servers.

use core::fmt;

/// How a server was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Source {
    /// The application has named it.
    Manual,
    /// There was a connection to it, on which it said what it serves.
    Connected,
    /// It was found in the local network.
    Lan,
    /// A name in the DNS leads to it.
    Dns,
    /// A registry that other nodes serve has it.
    Registry,
    /// A distributed hash table has it.
    Dht,
    /// A way that the application brings, such as a topic of gossipsub.
    Custom,
}

impl Source {
    const ALL: [Self; 7] = [
        Self::Manual,
        Self::Connected,
        Self::Lan,
        Self::Dns,
        Self::Registry,
        Self::Dht,
        Self::Custom,
    ];

    /// Whether it can be asked who serves something. The other ones are there without being asked.
    #[must_use]
    pub const fn is_asked(self) -> bool {
        !matches!(self, Self::Manual | Self::Connected)
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Manual => "named nodes",
            Self::Connected => "connected peers",
            Self::Lan => "the local network",
            Self::Dns => "DNS",
            Self::Registry => "the registry",
            Self::Dht => "the DHT",
            Self::Custom => "the application's own source",
        })
    }
}

/// A set of sources.
///
/// ```
/// use pointsub_core::network::candidates::{Source, Sources};
///
/// let asked = Sources::from_iter([Source::Lan, Source::Connected]);
/// assert!(asked.contains(Source::Lan) && !asked.contains(Source::Dht));
/// assert_eq!(asked.to_string(), "connected peers, the local network");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Sources(u8);

impl Sources {
    /// No source.
    pub const NONE: Self = Self(0);

    /// Whether a source is in it.
    #[must_use]
    pub const fn contains(self, source: Source) -> bool {
        self.0 & source.bit() != 0
    }

    /// The set with one more.
    #[must_use]
    pub const fn with(self, source: Source) -> Self {
        Self(self.0 | source.bit())
    }

    /// The set without one.
    #[must_use]
    pub const fn without(self, source: Source) -> Self {
        Self(self.0 & !source.bit())
    }

    /// Whether there is none in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// All that are in it.
    pub fn iter(self) -> impl Iterator<Item = Source> {
        Source::ALL.into_iter().filter(move |source| self.contains(*source))
    }
}

impl FromIterator<Source> for Sources {
    fn from_iter<I: IntoIterator<Item = Source>>(sources: I) -> Self {
        sources.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl fmt::Display for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, source) in self.iter().enumerate() {
            let between = if n == 0 { "" } else { ", " };
            write!(f, "{between}{source}")?;
        }
        if self.is_empty() { f.write_str("nobody") } else { Ok(()) }
    }
}
