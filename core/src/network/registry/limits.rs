//! How large a registry grows, and how much it tells.

/// How much a registry holds, and how often it tells of changes. What is beyond is refused, or waits.
///
/// ```
/// use pointsub_core::network::registry::RegistryLimits;
///
/// let small = RegistryLimits::new().with_entries(100).with_entries_per_network(20);
/// assert_eq!((small.entries(), small.protocols()), (100, 128));
/// assert!(RegistryLimits::new().worst_case() < 64 * 1024 * 1024);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "give it to a registry"]
pub struct RegistryLimits {
    entries: usize,
    entries_per_network: usize,
    memory: usize,
    memory_per_network: usize,
    protocols: usize,
    entry_size: usize,
    watchers: usize,
    watchers_per_network: usize,
    watchers_per_peer: usize,
    history: usize,
    changes: usize,
    changes_per_network: usize,
}

macro_rules! limits {
    ($($(#[doc = $doc:expr])* $with:ident, $name:ident = $default:expr;)*) => {
        impl RegistryLimits {
            /// The defaults.
            pub const fn new() -> Self {
                Self { $($name: $default,)* }
            }

            $(
                $(#[doc = $doc])*
                pub const fn $with(mut self, $name: usize) -> Self {
                    self.$name = if $name == 0 { 1 } else { $name };
                    self
                }

                #[doc = concat!("As [`", stringify!($with), "`](Self::", stringify!($with), ") has set it.")]
                #[must_use]
                pub const fn $name(&self) -> usize {
                    self.$name
                }
            )*
        }
    };
}

limits! {
    /// How many servers are listed. Default 8192.
    with_entries, entries = 8192;
    /// How many of them are of one network (an IPv4 /24 or an IPv6 /48; all that come through relays are
    /// one). Default 512.
    with_entries_per_network, entries_per_network = 512;
    /// How many bytes all servers that are listed take. Each counts with what it says of itself, 1536 bytes,
    /// and 320 for each of its protocols. Default 32 MiB.
    with_memory, memory = 32 * 1024 * 1024;
    /// How many of these bytes the servers of one network take. Default 4 MiB.
    with_memory_per_network, memory_per_network = 4 * 1024 * 1024;
    /// How many protocols one server lists. Default 128.
    with_protocols, protocols = 128;
    /// How many bytes one server says of itself: the names of its protocols and its signed addresses. Default
    /// 8192.
    with_entry_size, entry_size = 8192;
    /// How many protocols are watched at a time, by all peers. Default 16 384. Worst-case memory: this times
    /// 1024 bytes, beside what the server counts for open calls.
    with_watchers, watchers = 16_384;
    /// How many of them by the peers of one network. Default 4096.
    with_watchers_per_network, watchers_per_network = 4096;
    /// How many of them by one peer. Default 256, which is how many protocols a node looks for at a
    /// time.
    with_watchers_per_peer, watchers_per_peer = 256;
    /// How many servers that have gone are remembered, for those who watch and have not been told. All
    /// who watch share them; who has fallen behind is told everything anew. Default 16 384. Worst-case
    /// memory: this times 160 bytes.
    with_history, history = 16_384;
    /// How many servers in a second are told of that are new or have changed, after a while in which
    /// there were more. After a quiet time 32 times as many are told of at once. Further ones wait, and networks
    /// take turns. Default 64.
    with_changes, changes = 64;
    /// How many of them may be of one network. After a quiet time 64 times as many are told of at once.
    /// Default 8.
    with_changes_per_network, changes_per_network = 8;
}

/// What a server takes beside what it says of itself, in all tables together.
pub(super) const OVERHEAD: usize = 1536;
/// The same for each of its protocols.
pub(super) const EACH: usize = 320;
/// What somebody who watches takes at most.
const WATCHER: usize = 1024;
/// What is remembered of a server that has gone.
const GONE: usize = 160;

impl RegistryLimits {
    /// How many bytes a registry with these limits takes at most, beside what the server counts for open
    /// calls: `memory` + 1024 × `watchers` + 160 × `history`. 50.5 MiB by default.
    #[must_use]
    pub const fn worst_case(&self) -> usize {
        let watchers = self.watchers.saturating_mul(WATCHER);
        let history = self.history.saturating_mul(GONE);
        self.memory.saturating_add(watchers).saturating_add(history)
    }
}

impl Default for RegistryLimits {
    fn default() -> Self {
        Self::new()
    }
}
