//! How large a registry grows.

/// How much a registry holds. What is beyond is refused.
///
/// ```
/// use pointsub_core::network::registry::RegistryLimits;
///
/// let small = RegistryLimits::new().with_entries(100).with_entries_per_network(20);
/// assert_eq!((small.entries(), small.protocols()), (100, 128));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "give it to a registry"]
pub struct RegistryLimits {
    entries: usize,
    entries_per_network: usize,
    protocols: usize,
    entry_size: usize,
    watchers: usize,
    watchers_per_network: usize,
    watchers_per_peer: usize,
    pending: usize,
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
    /// How many servers are listed. Default 8192. Worst-case memory: this times `entry_size`.
    with_entries, entries = 8192;
    /// How many of them are of one network (an IPv4 /24 or an IPv6 /48; all that come through relays are
    /// one). Default 512.
    with_entries_per_network, entries_per_network = 512;
    /// How many protocols one of them lists. Default 128.
    with_protocols, protocols = 128;
    /// How many bytes one of them takes: the names of its protocols and its signed addresses. Default
    /// 8192.
    with_entry_size, entry_size = 8192;
    /// How many protocols are watched at a time, by all peers. Default 16 384.
    with_watchers, watchers = 16_384;
    /// How many of them by the peers of one network. Default 4096.
    with_watchers_per_network, watchers_per_network = 4096;
    /// How many of them by one peer. Default 256, which is how many protocols a node looks for at a
    /// time.
    with_watchers_per_peer, watchers_per_peer = 256;
    /// How many servers may have changed that a watcher has not been told of; beyond that it is told everything
    /// anew. Default 256. Worst-case memory: this times `watchers` times 48 bytes.
    with_pending, pending = 256;
}

impl Default for RegistryLimits {
    fn default() -> Self {
        Self::new()
    }
}
