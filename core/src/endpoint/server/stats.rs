//! What is counted.

use crate::connection::Events;

/// Counters of a server since it began, and how it stands. At every instant
/// `started == ok + failed + abandoned + in_flight`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ServerStats {
    /// Requests that were handed to a handler.
    pub started: u64,
    /// Requests answered with a response.
    pub ok: u64,
    /// Requests answered with a failure.
    pub failed: u64,
    /// Requests whose handler was stopped because nobody waited any more.
    pub abandoned: u64,
    /// Requests whose handler is at work, or was told to stop and has not.
    pub in_flight: u64,
    /// Those of `in_flight` whose handler was told to stop, because nobody waits for it any more.
    pub stopping: u64,
    /// Requests and streams refused before any handler saw them, for whatever reason: busy,
    /// draining, not registered, too large.
    pub refused: u64,
    /// Those of `refused` for which there was no place or no memory.
    pub busy: u64,
    /// Those of `busy` for which there was no place: the limit of concurrency or a fair share of it was
    /// reached, or that of raw streams or calls.
    pub no_place: u64,
    /// Requests and answers for which there was no memory, or no fair share of it.
    pub no_memory: u64,
    /// Streams that were refused because there are as many as there may be, or as many as a fair share
    /// of them.
    pub no_stream: u64,
    /// Those of `busy` that came faster than a rate limit allows.
    pub rate_limited: u64,
    /// Requests, streams and connections of peers that are kept out for what they cost.
    pub kept_out: u64,
    /// Requests, streams and connections that the application's rules do not allow.
    pub denied: u64,
    /// Streams that were reset because they held memory that others needed, and did not move.
    pub stalled: u64,
    /// How many requests may be at work, as the server last saw it. There are more if the limit
    /// has shrunk, and first places of peers and protocols go beyond it.
    pub limit: u64,
    /// The load factor: requests at work, without the stopping ones, in thousandths of the limit.
    /// More than 1000 while the limit is exceeded.
    pub load: u32,
    /// Calls that are open, or about to be: no requests, and no load.
    pub calls: u64,
    /// Raw streams that peers have open.
    pub raw_streams: u64,
    /// Streams that are open, raw ones included.
    pub streams: u64,
    /// Peers with a stream that is open.
    pub peers: u64,
    /// Streams that were opened.
    pub streams_total: u64,
    /// Bytes held: incomplete requests, bodies of requests at work, unwritten answers.
    pub memory: u64,
    /// Streams closed because the peer broke the format.
    pub violations: u64,
    /// Times that a peer was cut off for what it cost; see [`ServerConfig`](crate::ServerConfig).
    pub cut_off: u64,
    /// Streams closed because no first request came within the read timeout.
    pub first_byte_timeouts: u64,
    /// Streams closed because a message began and did not end within the read timeout.
    pub message_timeouts: u64,
    /// Streams closed because the peer wrote a message of Go `PointSub` 1.2, which is not the format
    /// of requests, and then nothing for a second.
    pub other_format: u64,
    /// Streams closed because the peer did not take a write within the write timeout.
    pub write_timeouts: u64,
    /// Streams closed because they were without a request for the cleanup interval.
    pub idle_timeouts: u64,
    /// Idle streams closed to make room for another one on their connection.
    pub displaced: u64,
}

/// A timer of a stream that ran out.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum StreamTimer {
    FirstByte,
    Message,
    OtherFormat,
    Write,
    Idle,
}

impl ServerStats {
    /// Counts what a stream reports.
    pub(crate) fn add(&mut self, events: &Events) {
        self.started += u64::from(events.renewed);
        self.ok += u64::from(events.ok);
        self.failed += u64::from(events.failed);
        self.abandoned += u64::from(events.abandoned);
        self.refused += u64::from(events.refused);
        self.busy += u64::from(events.busy);
        self.denied += u64::from(events.denied);
        self.violations += u64::from(events.violations);
        let Some(timer) = events.timed_out else { return };
        *match timer {
            StreamTimer::FirstByte => &mut self.first_byte_timeouts,
            StreamTimer::Message => &mut self.message_timeouts,
            StreamTimer::OtherFormat => &mut self.other_format,
            StreamTimer::Write => &mut self.write_timeouts,
            StreamTimer::Idle => &mut self.idle_timeouts,
        } += 1;
    }
}
