//! Options of the server.

use core::time::Duration;

use super::{ConfigError, DAY, GIB, MILLISECOND, check, options};
use crate::endpoint::{Limit, LimitPolicy};

const MIB: usize = 1024 * 1024;
const HOUR: Duration = Duration::from_secs(60 * 60);
/// The highest limit of concurrency that can be configured.
const MOST: usize = 1_000_000;

options! {
    /// How a server behaves. Every option has a default that suits most programs.
    ///
    /// # Memory
    ///
    /// What a server holds for its peers is at most
    ///
    /// ```text
    /// max_memory
    ///   + max_streams × (64 KiB + 16 KiB + buffer_pool_size)
    ///   + concurrency_ceiling × 64 KiB
    ///   + max_open_calls × 8 KiB
    /// ```
    ///
    /// The second line is what a stream may hold before it is asked whether it fits: what was
    /// read and not looked at yet or the beginning of a request of up to 64 KiB, fields, and its
    /// buffer for answers. The third is there because the body of a small request is a slice of
    /// the block of up to 64 KiB that it was read in, which lives as long as the slice does. The last one
    /// is the least window of a call whose client sends messages. What the windows of calls have beyond
    /// that, and messages that wait to be written, are counted in `max_memory`.
    /// What handlers allocate themselves comes on top.
    ///
    /// # Shares
    ///
    /// Requests, streams, raw streams and bytes are shared fairly among networks (an IPv4 /24, an IPv6
    /// /48 and within it a /56), then among peers, then among protocols: one of these may have eight times
    /// what is left for all. Whoever has nothing gets a first place while there are any, but a peer only
    /// as far as its network may have another one: peer ids are free, and addresses are not. Of the last
    /// ninth of `concurrency_ceiling`, a place is kept for each peer that was answered before and has
    /// nothing at work. Of `max_memory` a sixteenth is kept for peers that hold less than 64 KiB. If bytes
    /// are short, streams that hold some and wait for their peer for more than 3 s are reset.
    ///
    /// # Misbehaviour
    ///
    /// What costs a peer less than the server and leads to nothing draws on 10 000 points that
    /// each peer has: a frame without an effect 1 and 1 for each KiB, a request that is cancelled
    /// while its handler is at work 10, also if its stream breaks, but not more than 5000 for one that
    /// breaks, a stream without a request 20, a message that does not move within `read_timeout` or
    /// an answer that is not taken within `write_timeout` 200 and 1 for each 64 KiB that it holds and
    /// each second, but not more than 5000, a breach of the format 500, a compressed body that does not
    /// inflate 10 and 10 for each MiB, a request that cannot be served 1 and 1 for each KiB up to 64. A
    /// point comes back each millisecond, and 10 with each answer. A peer without points is cut off: its
    /// connections are closed, and it is kept out for 5 s, and for twice as long each time, up to an hour.
    /// `ServerStats::cut_off` counts how often that happens. One time is forgotten after 10 min. Who comes
    /// from a network whose peers have spent 80 000 points, of which 4 come back each millisecond, begins
    /// with a tenth of its own.
    ///
    /// ```
    /// use core::time::Duration;
    /// use pointsub_core::ServerConfig;
    ///
    /// let config = ServerConfig::default();
    /// assert_eq!(config.read_timeout(), Duration::from_secs(30));
    /// assert_eq!(config.write_timeout(), Duration::from_secs(30));
    /// assert_eq!(config.max_concurrent_requests(), 1000);
    /// assert_eq!(config.max_block_size(), 32 * 1024 * 1024);
    /// assert_eq!(config.buffer_pool_size(), 4 * 1024);
    /// assert_eq!(config.cleanup_interval(), Duration::from_secs(300));
    /// assert!(config.compression());
    ///
    /// // A limit that is set is a ceiling, unless another one is.
    /// let config = config.with_max_concurrent_requests(5);
    /// assert_eq!((config.min_concurrent_requests(), config.concurrency_ceiling()), (5, 5));
    ///
    /// let wrong = config.with_min_concurrent_requests(6).validate().unwrap_err();
    /// assert_eq!(wrong.to_string(), "min_concurrent_requests is 6, allowed is 1 to 5");
    /// ```
    ServerConfig {
        /// How long a new stream may take until its first request arrives, and the longest silence
        /// in the middle of a message. One that takes longer than this in all must come with 4 KiB
        /// a second on average from then on. Default 30 s; 1 ms to 24 h.
        with_read_timeout(read_timeout: Duration) = Duration::from_secs(30), MILLISECOND, DAY;
        /// The longest time that one write may take; a slower reader is cut off. A large answer is
        /// many writes, of 260 000 bytes at most. Default 30 s; 1 ms to 24 h.
        with_write_timeout(write_timeout: Duration) = Duration::from_secs(30), MILLISECOND, DAY;
        /// How long a stream without a request in flight is kept. It is closed exactly then: there
        /// is no sweep. Default 5 min; 1 ms to 24 h.
        with_cleanup_interval(cleanup_interval: Duration) = Duration::from_secs(300), MILLISECOND, DAY;
        /// The largest message in bytes, in both directions, before and after compression.
        /// Default 32 MiB; 1 byte to 1 GiB. How many such messages there can be at a time is
        /// decided by [`with_max_memory`](Self::with_max_memory) and its kin.
        with_max_block_size(max_block_size: usize) = 32 * MIB, 1, GIB;
        /// The buffer in bytes that a stream keeps for its next answers while it has none. A
        /// larger one goes away with the write that carries it. Default 4 KiB; 0 to 1 MiB.
        /// Worst-case memory: this times the number of open streams.
        with_buffer_pool_size(buffer_pool_size: usize) = 4 * 1024, 0, MIB;
        /// Whether responses are compressed where the peer understands it and it pays: where the
        /// connection is slower than [`Gain::break_even`](crate::wire::compress::Gain::break_even),
        /// some 300 Mbit/s for text. Default `true`.
        with_compression(compression: bool) = true, false, true;
        /// Whether the text of any error with which a handler fails is sent to the caller. If not, the
        /// caller gets a reference to a line in the log, unless the handler has chosen a status and
        /// its text. Default `false`: such texts may say what no stranger should read.
        with_error_texts(error_texts: bool) = false, false, true;
        /// The most requests in flight on one native stream, announced to the peer; what comes
        /// beyond is answered `busy`. Default 1024; 1 to 65 536.
        with_max_in_flight(max_in_flight: usize) = 1024, 1, 65_536;
        /// The most calls on one native stream that have not ended, announced to the peer; what comes
        /// beyond is answered `busy`. With 0, calls are answered `not implemented`. Default 1024; 0 to
        /// 65 536. Worst-case memory: half of `max_memory_per_stream` for the messages of all calls of
        /// a stream, and 8 KiB for each call whatever that says.
        with_max_calls(max_calls: usize) = 1024, 0, 65_536;
        /// The most calls that are open on one connection, over all its streams; what comes beyond is
        /// answered `busy`. Default 8192; 1 to 1 000 000.
        with_max_calls_per_connection(max_calls_per_connection: usize) = 8192, 1, MOST;
        /// The most calls that are open, in all. Shares of it are fair, as those of raw streams are. A call
        /// counts from the request that opens it to its end, and not as a request once it is accepted.
        /// Beyond it a call is answered `busy`. Default 20 000; 1 to 1 000 000. What calls may
        /// hold is counted in `max_memory`, but for 8 KiB each.
        with_max_open_calls(max_open_calls: usize) = 20_000, 1, MOST;
        /// The most streams that one connection may have open at us. For one more, the one that has
        /// been idle for the longest time is closed; if each is at work, or has not been used yet,
        /// the new one is refused. Yamux ends a connection with more than 512 streams of both sides
        /// together. Default 256; 1 to 256.
        with_max_streams_per_connection(max_streams_per_connection: usize) = 256, 1, 256;
        /// The most raw streams that peers may have open at us, in all. Shares of it are fair: one
        /// peer or protocol gets eight ninths at most while there are others, and who has none gets
        /// a first one for as long as there is any. Beyond it they are reset. They are no requests,
        /// and do not count in the limit of concurrency. Default 1000; 1 to 1 000 000. Worst-case
        /// memory: this times the receive window of a stream, 256 KiB at first, if nobody reads.
        with_max_raw_streams(max_raw_streams: usize) = 1000, 1, MOST;
        /// The most streams that peers may have open at us, in all, raw ones included. Shares of it are
        /// fair: one network, peer or protocol gets eight ninths at most while there are others, and a
        /// network that has none gets a first one for as long as there is any. Beyond it a native
        /// stream is told to go elsewhere, and others are reset. Default 16 384; 1 to 1 000 000.
        with_max_streams(max_streams: usize) = 16_384, 1, MOST;
        /// How long the limit of concurrency is watched before each of its moves. A tenth of it with
        /// [`LimitPolicy::QueueDelay`]. Default 1 s; 1 ms to 1 h.
        with_limit_window(limit_window: Duration) = Limit::WINDOW, MILLISECOND, HOUR;
    }
    related {
        limit_policy: LimitPolicy,
        max_concurrent_requests: usize,
        min_concurrent_requests: usize,
        concurrency_ceiling: usize,
        max_memory: usize,
        max_memory_per_peer: usize,
        max_memory_per_stream: usize,
        max_handler_time: Duration,
        max_raw_idle: Duration,
    } checked by check_related
}

/// Concurrency: how many requests handlers work on at the same time, over all protocols. The
/// Go original names these options after connections, since it has one request on each.
impl ServerConfig {
    /// The limit of concurrency to begin with; what comes beyond is answered `busy`. If set, also
    /// the most that the limit ever becomes, unless
    /// [`with_concurrency_ceiling`](Self::with_concurrency_ceiling) says otherwise.
    ///
    /// Default 1000, or the ceiling if that is lower; 1 to 1 000 000. Each request at work can
    /// pin the block of up to 64 KiB that it was read in, so that worst-case memory beside
    /// [`with_max_memory`](Self::with_max_memory) is 64 KiB times the limit.
    #[doc(alias = "max_concurrent_conns")]
    #[must_use]
    pub fn with_max_concurrent_requests(mut self, max_concurrent_requests: usize) -> Self {
        self.max_concurrent_requests = Some(max_concurrent_requests);
        self
    }

    /// The value set by [`with_max_concurrent_requests`](Self::with_max_concurrent_requests).
    #[must_use]
    pub fn max_concurrent_requests(&self) -> usize {
        let default = || Limit::INITIAL.min(self.concurrency_ceiling.unwrap_or(usize::MAX));
        self.max_concurrent_requests.unwrap_or_else(default)
    }

    /// The least that the limit of concurrency ever becomes. Default 8 with
    /// [`LimitPolicy::QueueDelay`] and 100 with other rules, or
    /// [`max_concurrent_requests`](Self::max_concurrent_requests) if that is lower; 1 to
    /// `max_concurrent_requests`.
    #[doc(alias = "min_concurrent_conns")]
    #[must_use]
    pub fn with_min_concurrent_requests(mut self, min_concurrent_requests: usize) -> Self {
        self.min_concurrent_requests = Some(min_concurrent_requests);
        self
    }

    /// The value set by [`with_min_concurrent_requests`](Self::with_min_concurrent_requests).
    #[must_use]
    pub fn min_concurrent_requests(&self) -> usize {
        let default = || self.limit_policy().min().min(self.max_concurrent_requests());
        self.min_concurrent_requests.unwrap_or_else(default)
    }

    /// The most that the limit of concurrency ever becomes, and the most handlers there ever are:
    /// a peer or a protocol with nothing at work gets a first place beyond the limit, and one with
    /// less than an equal part of it gets that, up to this number. Handlers that were told to stop
    /// count here, and not in the limit.
    ///
    /// Default 10 000, or [`max_concurrent_requests`](Self::max_concurrent_requests) if that is set or
    /// the limit is [`LimitPolicy::Fixed`]; `max_concurrent_requests` to 1 000 000.
    #[must_use]
    pub fn with_concurrency_ceiling(mut self, concurrency_ceiling: usize) -> Self {
        self.concurrency_ceiling = Some(concurrency_ceiling);
        self
    }

    /// The value set by [`with_concurrency_ceiling`](Self::with_concurrency_ceiling).
    #[must_use]
    pub fn concurrency_ceiling(&self) -> usize {
        let default = || match self.limit_policy() {
            LimitPolicy::Fixed => self.max_concurrent_requests(),
            _ => Limit::MAX,
        };
        self.concurrency_ceiling.or(self.max_concurrent_requests).unwrap_or_else(default)
    }

    /// The rule by which the limit of concurrency moves. Default
    /// [`LimitPolicy::QUEUE_DELAY`]; the rule of the Go original is
    /// [`LimitPolicy::LOAD_FACTOR`], with its figures.
    #[must_use]
    pub fn with_limit_policy(mut self, limit_policy: LimitPolicy) -> Self {
        self.limit_policy = Some(limit_policy);
        self
    }

    /// The value set by [`with_limit_policy`](Self::with_limit_policy).
    #[must_use]
    pub fn limit_policy(&self) -> LimitPolicy {
        self.limit_policy.unwrap_or_default()
    }
}

/// Times: how long what others have begun may last. By default nothing of this ends by itself.
impl ServerConfig {
    /// The longest time that a handler may work on a request. Its caller is then answered
    /// `deadline exceeded`, and its future is dropped, as if the caller had set that deadline.
    /// Default none; 1 ms to 24 h.
    #[must_use]
    pub const fn with_max_handler_time(mut self, max_handler_time: Duration) -> Self {
        self.max_handler_time = Some(max_handler_time);
        self
    }

    /// The value set by [`with_max_handler_time`](Self::with_max_handler_time).
    #[must_use]
    pub const fn max_handler_time(&self) -> Option<Duration> {
        self.max_handler_time
    }

    /// How long a raw stream may be idle. One over which no byte came or went for longer is reset.
    /// Default none; 1 ms to 24 h.
    #[must_use]
    pub const fn with_max_raw_idle(mut self, max_raw_idle: Duration) -> Self {
        self.max_raw_idle = Some(max_raw_idle);
        self
    }

    /// The value set by [`with_max_raw_idle`](Self::with_max_raw_idle).
    #[must_use]
    pub const fn max_raw_idle(&self) -> Option<Duration> {
        self.max_raw_idle
    }
}

/// Memory: bytes held for requests that are not complete, for the bodies of requests at work
/// (compressed ones count before and after), and for answers that are not written. What does not
/// fit is refused: a request is answered `busy`, an answer is replaced by a failure.
impl ServerConfig {
    /// The most bytes held for all peers together.
    ///
    /// Default 1 GiB, or 32 times [`max_block_size`](Self::max_block_size) if that is more; at
    /// least `max_block_size`. [Above](Self#memory) is what the server may hold beside it.
    #[must_use]
    pub fn with_max_memory(mut self, max_memory: usize) -> Self {
        self.max_memory = Some(max_memory);
        self
    }

    /// The value set by [`with_max_memory`](Self::with_max_memory).
    #[must_use]
    pub fn max_memory(&self) -> usize {
        self.max_memory.unwrap_or_else(|| GIB.max(self.blocks(32)))
    }

    /// The most bytes held for one peer, over all its streams: with `n` hostile peers, worst-case
    /// memory is `n` times this, or [`max_memory`](Self::max_memory) if that is less.
    ///
    /// Default 512 MiB, or 16 times [`max_block_size`](Self::max_block_size) if that is more, but
    /// not more than `max_memory`; `max_block_size` to `max_memory`.
    #[must_use]
    pub fn with_max_memory_per_peer(mut self, max_memory_per_peer: usize) -> Self {
        self.max_memory_per_peer = Some(max_memory_per_peer);
        self
    }

    /// The value set by [`with_max_memory_per_peer`](Self::with_max_memory_per_peer).
    #[must_use]
    pub fn max_memory_per_peer(&self) -> usize {
        let default = || (512 * MIB).max(self.blocks(16)).min(self.max_memory());
        self.max_memory_per_peer.unwrap_or_else(default)
    }

    /// The most bytes held for one stream: with `n` hostile streams, worst-case memory is `n`
    /// times this, or [`max_memory_per_peer`](Self::max_memory_per_peer) for each peer if that is
    /// less.
    ///
    /// Default 64 MiB, or 2 times [`max_block_size`](Self::max_block_size) if that is more, but
    /// not more than `max_memory_per_peer`; `max_block_size` to `max_memory_per_peer`.
    #[must_use]
    pub fn with_max_memory_per_stream(mut self, max_memory_per_stream: usize) -> Self {
        self.max_memory_per_stream = Some(max_memory_per_stream);
        self
    }

    /// The value set by [`with_max_memory_per_stream`](Self::with_max_memory_per_stream).
    #[must_use]
    pub fn max_memory_per_stream(&self) -> usize {
        let default = || (64 * MIB).max(self.blocks(2)).min(self.max_memory_per_peer());
        self.max_memory_per_stream.unwrap_or_else(default)
    }

    fn blocks(&self, count: usize) -> usize {
        self.max_block_size.saturating_mul(count)
    }

    fn check_related(&self) -> Result<(), ConfigError> {
        let initial = self.max_concurrent_requests();
        check("max_concurrent_requests", initial, 1, MOST)?;
        check("min_concurrent_requests", self.min_concurrent_requests(), 1, initial)?;
        check("concurrency_ceiling", self.concurrency_ceiling(), initial, MOST)?;
        self.limit_policy().validate()?;
        for (name, time) in
            [("max_handler_time", self.max_handler_time), ("max_raw_idle", self.max_raw_idle)]
        {
            time.map_or(Ok(()), |time| check(name, time, MILLISECOND, DAY))?;
        }
        let (block, all, peer) =
            (self.max_block_size, self.max_memory(), self.max_memory_per_peer());
        check("max_memory", all, block, usize::MAX)?;
        check("max_memory_per_peer", peer, block, all)?;
        check("max_memory_per_stream", self.max_memory_per_stream(), block, peer)
    }
}
