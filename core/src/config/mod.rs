//! Options of client and server: name, default, allowed range.

use alloc::format;
use alloc::string::String;
use core::fmt::Debug;
use core::time::Duration;

use thiserror::Error;

mod server;

pub use server::ServerConfig;

/// A value outside its allowed range.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field} is {got}, allowed is {allowed}")]
#[non_exhaustive]
pub struct ConfigError {
    /// The option.
    pub field: &'static str,
    /// The value it was given.
    pub got: String,
    /// The values it can have.
    pub allowed: String,
}

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const GIB: usize = 1024 * 1024 * 1024;

/// Whether a value is in its range.
pub(crate) fn check<T: PartialOrd + Debug>(
    field: &'static str,
    got: T,
    min: T,
    max: T,
) -> Result<(), ConfigError> {
    if got < min || got > max {
        let allowed = format!("{min:?} to {max:?}");
        return Err(ConfigError { field, got: format!("{got:?}"), allowed });
    }
    Ok(())
}

/// Declares a configuration: each option once, with its default and its range. Options whose
/// defaults or ranges depend on others follow as fields that are unset; their setters and getters
/// are written by hand, and the function named last checks them.
macro_rules! options {
    (
        $(#[$meta:meta])*
        $name:ident {
            $( $(#[$doc:meta])* $setter:ident($field:ident: $type:ty) = $default:expr, $min:expr, $max:expr; )*
        }
        $( related { $( $related:ident: $related_type:ty, )* } checked by $check:ident )?
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            $( pub(crate) $field: $type, )*
            $( $( $related: Option<$related_type>, )* )?
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )* $( $( $related: None, )* )? }
            }
        }

        impl $name {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $setter(mut self, $field: $type) -> Self {
                    self.$field = $field;
                    self
                }

                #[doc = concat!("The value set by [`", stringify!($setter), "`](Self::", stringify!($setter), ").")]
                #[must_use]
                pub fn $field(&self) -> $type {
                    self.$field
                }
            )*

            /// Checks every option against its range.
            ///
            /// # Errors
            /// [`ConfigError`] with the first option outside its range.
            pub fn validate(&self) -> Result<(), ConfigError> {
                $( check(stringify!($field), self.$field, $min, $max)?; )*
                $( self.$check()?; )?
                Ok(())
            }
        }
    };
}
use options;

options! {
    /// How a client behaves. Every option has a default that suits most programs.
    ///
    /// ```
    /// use core::time::Duration;
    /// use pointsub_core::ClientConfig;
    ///
    /// let config = ClientConfig::default().with_read_timeout(Duration::from_secs(5));
    /// assert!(config.validate().is_ok());
    /// assert_eq!(config.connect_timeout(), Duration::from_secs(5));
    ///
    /// let wrong = ClientConfig::default().with_max_block_size(0).validate().unwrap_err();
    /// assert_eq!(wrong.to_string(), "max_block_size is 0, allowed is 1 to 1073741824");
    /// ```
    ClientConfig {
        /// The longest wait for an answer, counted from the moment when the last byte of the
        /// request was written, of a call without a deadline of its own: one that has a deadline
        /// waits until then. A request above 64 KiB has a second more for each 32 KiB of it, up to
        /// 8 MiB, which may lie in queues of the transport. Also the longest silence in the middle
        /// of a message: an answer that has begun to arrive is waited for while its bytes move, and
        /// those behind it too. One that takes longer than this in all must come with 4 KiB a second
        /// on average from then on. Default 30 s; 1 ms to 24 h.
        with_read_timeout(read_timeout: Duration) = Duration::from_secs(30), MILLISECOND, DAY;
        /// The longest time that one write may take. A large request is many writes, of 260 000
        /// bytes at most. Default 30 s; 1 ms to 24 h.
        with_write_timeout(write_timeout: Duration) = Duration::from_secs(30), MILLISECOND, DAY;
        /// The longest time for dialling, opening a stream and negotiating its protocol, all
        /// together. Default 5 s; 1 ms to 24 h.
        with_connect_timeout(connect_timeout: Duration) = Duration::from_secs(5), MILLISECOND, DAY;
        /// How long a peer may be silent although something is due, before its connection is suspect:
        /// another one is made then, and this one is ended as soon as that is there, or 30 s later. After
        /// half of the time the peer is asked for a sign of life. Whatever it sends is one, so that a
        /// busy handler or a slow link is no silence, and a peer that is far away has eight round trips.
        /// Default 6 s; 1 s to 24 h.
        with_silence_timeout(silence_timeout: Duration) = Duration::from_secs(6), SECOND, DAY;
        /// How often a request is tried again after a failure that may pass: see
        /// [`RequestError::may_retry`](crate::RequestError::may_retry). Default 3, so 4 tries;
        /// 0 to 100.
        ///
        /// What a busy server refuses while it works on other requests of this client is not tried again:
        /// it waits until one of these has ended, for half of its time and for `read_timeout` at most. With
        /// 0 it fails at once, and so do those that come after it.
        with_max_retries(max_retries: u32) = 3, 0, 100;
        /// The longest pause before the first of them. It doubles with each, is at most 30 s, and
        /// half of it is random. Default 1 s; 1 ms to 24 h.
        with_retry_interval(retry_interval: Duration) = Duration::from_secs(1), MILLISECOND, DAY;
        /// How many further nodes a call to the closest node asks at most after the first, because
        /// others have failed, over all its rounds. Default 3, so 4 nodes; 0 to 100.
        with_max_failovers(max_failovers: u32) = 3, 0, 100;
        /// How many tries after the first there may be, of whatever kind (retries, fail-overs, hedges,
        /// rounds), in thousandths of first tries: after Finagle's retry budgets and the SRE book. Fifty
        /// more are there for clients that seldom ask, of which one comes back in ten seconds.
        /// Default 100, so a tenth; 0 (none at all) to 10 000.
        with_retry_budget(retry_budget: u32) = 100, 0, 10_000;
        /// How many of those may be hedges, in thousandths of first tries. Five more are there for clients
        /// that seldom ask. None are made within a second after a server was busy, or after more were
        /// wanted than there may be: then many calls are slow, and hedges would slow down the rest. Default 50, so a twentieth, as much as "The Tail at Scale"
        /// found worth its while; 0 to 10 000.
        with_hedge_budget(hedge_budget: u32) = 50, 0, 10_000;
        /// The largest message in bytes, in both directions, before and after compression.
        /// Default 32 MiB; 1 byte to 1 GiB. Worst-case memory for responses that are arriving: this
        /// times the number of open streams, which is at most `max_streams_per_peer` times the
        /// number of peers and at most `max_total_streams`.
        with_max_block_size(max_block_size: usize) = 32 * 1024 * 1024, 1, GIB;
        /// Whether requests are compressed where the peer understands it and it pays: where the
        /// connection is slower than [`Gain::break_even`](crate::wire::compress::Gain::break_even),
        /// some 300 Mbit/s for text. Default `true`.
        with_compression(compression: bool) = true, false, true;
        /// How many idle streams are kept for reuse in all; beyond that, those that are idle for the
        /// longest time are closed. A client that asks more peers than this one after the other opens a
        /// stream for each request. Default 1000; 0 to 100 000. Worst-case memory: this times 4 KiB,
        /// beside what libp2p holds for a stream.
        #[doc(alias = "max_idle_conns")]
        with_max_idle_streams(max_idle_streams: usize) = 1000, 0, 100_000;
        /// How many of those may be streams to the same peer. Default 64, so that a burst of as
        /// many requests to a plain peer finds its streams again; 0 to 240.
        #[doc(alias = "max_idle_conns_per_peer")]
        with_max_idle_streams_per_peer(max_idle_streams_per_peer: usize) = 64, 0, 240;
        /// How long an idle stream is kept. Default 5 min; 1 ms to 24 h.
        #[doc(alias = "idle_conn_timeout")]
        with_idle_stream_timeout(idle_stream_timeout: Duration) = Duration::from_secs(300), MILLISECOND, DAY;
        /// The most streams open to one peer, over all protocols. Yamux ends a connection with
        /// more than 512 streams of both sides together. Default 128; 1 to 240.
        with_max_streams_per_peer(max_streams_per_peer: usize) = 128, 1, 240;
        /// The most streams open in all. Beyond that, requests wait until a stream ends or one that
        /// is idle has made room. Default 10 000; 1 to 1 000 000.
        #[doc(alias = "max_total_conns")]
        with_max_total_streams(max_total_streams: usize) = 10_000, 1, 1_000_000;
        /// How many streams to one peer may carry large bodies (above 64 KiB) at the same time, over
        /// all protocols and in either format; others wait.
        /// Default 8; 1 to 240.
        with_max_bulk_streams(max_bulk_streams: usize) = 8, 1, 240;
        /// The most requests in flight on one native stream; the peer may allow fewer.
        /// Default 1024; 1 to 65 536. Worst-case memory: the callers' own bodies, this times 64 KiB
        /// on each stream, since larger ones travel alone.
        with_max_in_flight(max_in_flight: usize) = 1024, 1, 65_536;
        /// The most requests that may wait for a stream, and as many more may wait for a server to be
        /// found; beyond that they are refused as
        /// [`SendError::Overloaded`](crate::SendError::Overloaded). Default 16 384; 1 to
        /// 1 048 576. Worst-case memory: twice this times `max_block_size`, all of it the callers' own
        /// bodies.
        with_max_pending(max_pending: usize) = 16_384, 1, 1_048_576;
    }
}
