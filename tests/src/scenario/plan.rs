//! Who takes part in a life, and with which options.

use std::time::Duration;

use pointsub_core::endpoint::LimitPolicy;
use pointsub_core::{ClientConfig, ServerConfig};

/// The largest body that a client takes or sends; servers may take less.
pub const LIMIT: u32 = 100_000;

/// So many requests at once make no crowd, in which each waits for those before it.
pub(super) const FEW: u8 = 12;

/// The options of the client that differ between lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientPlan {
    /// Milliseconds.
    pub read_timeout: u32,
    /// Milliseconds.
    pub write_timeout: u32,
    /// Milliseconds.
    pub connect_timeout: u32,
    /// Milliseconds.
    pub idle_timeout: u32,
    /// Idle streams in all.
    pub max_idle: u32,
    /// Idle streams to one peer.
    pub max_idle_per_peer: u32,
    /// Requests on one stream.
    pub max_in_flight: u32,
    /// Streams to one peer.
    pub max_streams_per_peer: u32,
    /// Streams in all.
    pub max_total: u32,
    /// Streams to one peer that carry a large body.
    pub max_bulk: u32,
    /// Requests that wait.
    pub max_pending: u32,
    /// Tries after the first.
    pub max_retries: u32,
    /// Milliseconds.
    pub retry_interval: u32,
    /// How nodes are chosen.
    pub strategy: Strategy,
}

/// How nodes are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// By distance alone.
    Xor,
    /// The less busy of two.
    Peak,
    /// By the weighted score.
    Score,
}

/// One peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerPlan {
    /// What it is.
    pub kind: Kind,
    /// The options of its server.
    pub server: ServerPlan,
    /// The way to it.
    pub link: LinkPlan,
    /// Microseconds that its handlers take at most.
    pub work: u32,
    /// Of a hundred handlers, those that take 5 s at most.
    pub slow: u8,
    /// Of a hundred handlers, those that fail.
    pub failing: u8,
}

/// What a peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A server of ours.
    Native,
    /// A server of ours under its plain name alone, as a Go peer.
    Plain,
    /// A plain server that closes each stream after one answer.
    SingleShot,
    /// One that speaks the native format fluently, and says what it likes.
    Byzantine,
    /// The same in the plain format.
    PlainByzantine,
}

impl Kind {
    /// Whether it is a server of ours.
    #[must_use]
    pub fn is_machine(self) -> bool {
        matches!(self, Self::Native | Self::Plain)
    }

    /// Whether it can be trusted.
    #[must_use]
    pub fn is_honest(self) -> bool {
        !matches!(self, Self::Byzantine | Self::PlainByzantine)
    }

    /// Whether it speaks the native format.
    #[must_use]
    pub fn is_native(self) -> bool {
        matches!(self, Self::Native | Self::Byzantine)
    }
}

/// How a server's limit of concurrency moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// By load, as in Go.
    LoadFactor,
    /// Up slowly, down fast.
    Aimd,
    /// By latency.
    Gradient,
}

/// The options of a server that differ between lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerPlan {
    /// Requests at work, to begin with.
    pub max_concurrent: u32,
    /// The least that becomes.
    pub min_concurrent: u32,
    /// By how much it may grow.
    pub headroom: u32,
    /// Milliseconds for which it is watched before it moves.
    pub limit_window: u32,
    /// Requests on one stream.
    pub max_in_flight: u32,
    /// Milliseconds.
    pub read_timeout: u32,
    /// Milliseconds.
    pub write_timeout: u32,
    /// Milliseconds.
    pub cleanup_interval: u32,
    /// Bytes of a body.
    pub max_block: u32,
    /// Bytes held for one peer.
    pub memory_per_peer: u32,
    /// Bytes held for the others.
    pub memory_beside: u32,
    /// Bytes of a stream's buffer.
    pub buffer: u32,
    /// How the limit moves.
    pub policy: Policy,
}

/// The way between the client and a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkPlan {
    /// Microseconds that everything takes.
    pub latency: u32,
    /// Microseconds that come on top, at most.
    pub jitter: u32,
    /// A write arrives in pieces of so many bytes at most; 0: in one.
    pub piece: u32,
    /// Bytes that are taken before the other end has read them.
    pub window: u32,
}

fn ms(millis: u32) -> Duration {
    Duration::from_millis(u64::from(millis.max(1)))
}

impl ClientPlan {
    /// As the core takes it.
    #[must_use]
    pub fn config(&self) -> ClientConfig {
        ClientConfig::default()
            .with_read_timeout(ms(self.read_timeout))
            .with_write_timeout(ms(self.write_timeout))
            .with_connect_timeout(ms(self.connect_timeout))
            .with_idle_stream_timeout(ms(self.idle_timeout))
            .with_max_idle_streams(self.max_idle as usize)
            .with_max_idle_streams_per_peer(self.max_idle_per_peer.min(240) as usize)
            .with_max_in_flight(self.max_in_flight.clamp(1, 65_536) as usize)
            .with_max_streams_per_peer(self.max_streams_per_peer.clamp(1, 240) as usize)
            .with_max_total_streams(self.max_total.max(1) as usize)
            .with_max_bulk_streams(self.max_bulk.clamp(1, 240) as usize)
            .with_max_pending(self.max_pending.max(1) as usize)
            .with_max_retries(self.max_retries.min(100))
            .with_retry_interval(ms(self.retry_interval))
            .with_max_block_size(LIMIT as usize)
    }
}

impl ServerPlan {
    /// As the core takes it.
    #[must_use]
    pub fn config(&self) -> ServerConfig {
        let policy = match self.policy {
            Policy::LoadFactor => LimitPolicy::LOAD_FACTOR,
            Policy::Aimd => LimitPolicy::AIMD,
            Policy::Gradient => LimitPolicy::GRADIENT,
        };
        let block = self.max_block.clamp(1, LIMIT) as usize;
        let per_peer = block.max(self.memory_per_peer as usize);
        let concurrent = self.max_concurrent.clamp(1, 10_000);
        ServerConfig::default()
            .with_max_concurrent_requests(concurrent as usize)
            .with_min_concurrent_requests(self.min_concurrent.clamp(1, concurrent) as usize)
            .with_concurrency_ceiling((concurrent + self.headroom.min(10_000)) as usize)
            .with_limit_window(ms(self.limit_window))
            .with_max_in_flight(self.max_in_flight.clamp(1, 65_536) as usize)
            .with_read_timeout(ms(self.read_timeout))
            .with_write_timeout(ms(self.write_timeout))
            .with_cleanup_interval(ms(self.cleanup_interval))
            .with_max_block_size(block)
            .with_limit_policy(policy)
            .with_max_memory(per_peer + self.memory_beside as usize)
            .with_max_memory_per_peer(per_peer)
            .with_buffer_pool_size(self.buffer.min(1_000_000) as usize)
    }
}

impl Default for ClientPlan {
    fn default() -> Self {
        Self {
            read_timeout: 30_000,
            write_timeout: 30_000,
            connect_timeout: 5_000,
            idle_timeout: 300_000,
            max_idle: 100,
            max_idle_per_peer: 64,
            max_in_flight: 1024,
            max_streams_per_peer: 128,
            max_total: 10_000,
            max_bulk: 8,
            max_pending: 16_384,
            max_retries: 3,
            retry_interval: 1_000,
            strategy: Strategy::Xor,
        }
    }
}

impl Default for ServerPlan {
    fn default() -> Self {
        Self {
            max_concurrent: 1_000,
            min_concurrent: 100,
            headroom: 0,
            limit_window: 1_000,
            max_in_flight: 1024,
            read_timeout: 30_000,
            write_timeout: 30_000,
            cleanup_interval: 300_000,
            max_block: LIMIT,
            memory_per_peer: 100_000_000,
            memory_beside: 100_000_000,
            buffer: 4096,
            policy: Policy::LoadFactor,
        }
    }
}

impl Default for LinkPlan {
    fn default() -> Self {
        Self { latency: 1_000, jitter: 0, piece: 0, window: 256 * 1024 }
    }
}

impl Default for PeerPlan {
    fn default() -> Self {
        Self {
            kind: Kind::Native,
            server: ServerPlan::default(),
            link: LinkPlan::default(),
            work: 1_000,
            slow: 0,
            failing: 0,
        }
    }
}
