//! Whether a node keeps a part of the table.

/// Whether a node keeps a part of the table, or only asks those that do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Part {
    /// It keeps a part if others are likely to reach it: [`keeps`](Self::keeps).
    #[default]
    Auto,
    /// It keeps a part in any case: for nodes that all others reach.
    Keeper,
    /// It only asks, and is listed: for nodes that others do not reach, or that are there for a moment.
    Asker,
}

/// How a node is reached, as far as it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Reachable {
    /// It listens somewhere itself.
    pub listens: bool,
    /// It is known that others reach it directly.
    pub confirmed: bool,
    /// The network is known to be on the internet, where a node behind a NAT listens without being reached.
    pub on_internet: bool,
}

impl Part {
    /// Whether a node keeps a part of the table. One that cannot be reached would keep others waiting who ask
    /// it.
    #[must_use]
    pub const fn keeps(self, reachable: Reachable) -> bool {
        match self {
            Self::Auto => reachable.confirmed || (reachable.listens && !reachable.on_internet),
            Self::Keeper => true,
            Self::Asker => false,
        }
    }
}
