//! The server: peers within networks. Peer ids are free, so that no number of them gets more than a
//! network has a right to.

use bytes::Bytes;

use crate::support::{KIB, MIB, PROTOCOL, failure, ms, request};
use pointsub_core::endpoint::{
    GroupId, LimitPolicy, Notice, Origin, Quota, RateLimit, RateScope, StreamKey,
};
use pointsub_core::{
    Format, InboundId, PeerId, ProtocolName, Server, ServerConfig, ServerEvent, ServerInput,
    ServerOutput, StreamEvent, StreamId, StreamOp,
};

fn name(protocol: &str) -> ProtocolName {
    ProtocolName::new(protocol).expect("a usable name")
}

/// Peer number `n` of a network.
fn of(network: u64, n: u16) -> Origin {
    let [high, low] = n.to_be_bytes();
    let peer = PeerId::from_bytes(&[0, 36, network as u8, high, low]).expect("a peer id");
    Origin::from(peer).within(GroupId::new(network), None)
}

/// A server whose peers come from networks, and take each write at once unless they are told not to.
struct Script {
    server: Server,
    now: u64,
    requests: Vec<InboundId>,
    /// What was written, all streams together.
    written: Vec<u8>,
    resets: Vec<StreamId>,
    /// Those that are open when this is set take no writes.
    deaf: bool,
    /// This one takes its writes in any case.
    hears: Option<StreamId>,
}

impl Script {
    fn new(config: ServerConfig) -> Self {
        let mut server = Server::new(config).expect("a valid config");
        for protocol in [PROTOCOL, "/raw"] {
            server.register(&name(protocol)).expect("the first");
        }
        let (requests, written, resets) = (Vec::new(), Vec::new(), Vec::new());
        Self { server, now: 0, requests, written, resets, deaf: false, hears: None }
    }

    fn open(&mut self, origin: Origin) -> StreamId {
        let stream = self.server.accept(origin, &name(PROTOCOL), Format::Native, ms(self.now));
        self.pump();
        stream
    }

    fn raw(&mut self, origin: Origin) -> Option<StreamKey> {
        self.server.accept_raw(origin, &name("/raw"), ms(self.now)).ok()
    }

    fn receives(&mut self, stream: StreamId, bytes: impl Into<Bytes>) {
        let event = ServerInput::Stream(stream, StreamEvent::Received(bytes.into()));
        self.server.handle_input(event, ms(self.now));
        self.pump();
    }

    /// Asks once; whether it was let in.
    fn asks(&mut self, stream: StreamId, id: u64) -> Option<InboundId> {
        self.receives(stream, request(id, "x").bytes());
        self.requests.pop()
    }

    fn breaks(&mut self, stream: StreamId) {
        self.receives(stream, vec![0xff; 64]);
    }

    fn at(&mut self, millis: u64) {
        self.now = millis;
        self.server.handle_input(ServerInput::Timeout, ms(millis));
        self.pump();
    }

    fn pump(&mut self) {
        loop {
            match self.server.poll_output() {
                ServerOutput::Event(ServerEvent::Request { request, .. }) => {
                    self.requests.push(request);
                }
                ServerOutput::Event(ServerEvent::Abandon { request }) => {
                    self.server.abandoned(request, ms(self.now));
                }
                ServerOutput::Stream(stream, StreamOp::Write(bytes)) => {
                    if bytes.len() < KIB {
                        self.written.extend_from_slice(&bytes);
                    }
                    if !self.deaf || self.hears == Some(stream) {
                        let written = ServerInput::Stream(stream, StreamEvent::Written);
                        self.server.handle_input(written, ms(self.now));
                    }
                }
                ServerOutput::Stream(stream, StreamOp::Reset) => self.resets.push(stream),
                ServerOutput::Wait(_) => return,
                _ => {}
            }
        }
    }
}

const RULES: [LimitPolicy; 4] =
    [LimitPolicy::Fixed, LimitPolicy::LOAD_FACTOR, LimitPolicy::AIMD, LimitPolicy::GRADIENT];

/// S13: a thousand peer ids of one network, each with slow requests, take places beyond the limit and
/// never all below the ceiling. Whoever comes from elsewhere is let in.
#[test]
fn a_network_of_a_thousand_peers_keeps_nobody_out() {
    for rule in RULES {
        let config = ServerConfig::default().with_limit_policy(rule).with_concurrency_ceiling(2000);
        let mut s = Script::new(config);
        let other = s.open(of(2, 1));
        for n in 0..1000 {
            let stream = s.open(of(1, n));
            for id in 1..=4 {
                s.asks(stream, id);
            }
        }
        let held = s.server.stats().in_flight;
        assert!(held <= 2000 * 8 / 9 + 1, "{rule:?}: {held}");
        for second in 1..=60 {
            s.at(second * 1000);
            let call = s.asks(other, second);
            s.server.respond(call.expect("it is let in"), Ok(Bytes::new()), ms(s.now));
            s.pump();
        }
    }
}

/// S13: the same with networks within a network.
#[test]
fn parts_of_a_network_share_what_it_has() {
    let config = ServerConfig::default()
        .with_limit_policy(LimitPolicy::Fixed)
        .with_max_concurrent_requests(90);
    let mut s = Script::new(config);
    s.server.unregister("/raw");
    let within = |part: u64, n: u16| {
        let all = of(1, n);
        all.within(GroupId::new(1), Some(GroupId::new(1000 + part)))
    };
    let (elsewhere, quiet) = (s.open(of(2, 1)), s.open(within(2, 200)));
    let mut held = 0;
    for n in 0..100 {
        let stream = s.open(within(1, n));
        held += usize::from(s.asks(stream, 1).is_some());
    }
    assert_eq!(held, 80, "eight ninths");
    assert!(s.asks(quiet, 1).is_some(), "another part of the same network has a first place");
    assert!((1..=5).all(|id| s.asks(elsewhere, id).is_some()), "and others have the rest");
}

/// S13: streams in all are shared in the same way, and refused without harm beyond that.
#[test]
fn streams_of_all_kinds_share_a_limit() {
    let config = ServerConfig::default().with_max_streams(18);
    let mut s = Script::new(config);
    let mine = s.open(of(2, 1));
    for n in 0..40 {
        s.open(of(1, n));
    }
    let stats = s.server.stats();
    assert_eq!((stats.no_stream, stats.streams), (25, 16), "a ninth is left");
    assert!(s.raw(of(1, 50)).is_none());
    let raw = s.raw(of(3, 1)).expect("a first one of its network");
    assert!(s.raw(of(4, 1)).is_some(), "another one");
    assert!(s.asks(mine, 1).is_some());
    assert!(s.raw(of(5, 1)).is_none(), "there are no more");
    s.server.close_raw(raw, ms(0));
    assert!(s.raw(of(5, 1)).is_some());
    assert_eq!(s.server.stats().streams, 18);
}

// Memory.

fn budget() -> ServerConfig {
    ServerConfig::default()
        .with_max_block_size(MIB)
        .with_max_memory(32 * MIB)
        .with_max_memory_per_peer(16 * MIB)
        .with_max_memory_per_stream(2 * MIB)
        .with_concurrency_ceiling(10_000)
}

/// S19: bytes are shared as places are: no number of peers of a network takes all, and a sixteenth is
/// left for small messages in any case.
#[test]
fn bytes_are_shared_fairly() {
    let mut s = Script::new(budget());
    let other = s.open(of(2, 1));
    // Requests whose handlers do not end.
    for n in 0..100 {
        let stream = s.open(of(1, n));
        s.receives(stream, request(1, vec![7; MIB]).bytes());
    }
    let held = s.server.stats().memory as usize;
    assert!(held > 24 * MIB && held <= 30 * MIB * 8 / 9 + MIB, "{held}");
    assert!(s.server.stats().no_memory > 0);
    s.requests.clear();
    s.receives(other, request(1, vec![7; MIB]).bytes());
    assert_eq!(s.requests.len(), 1, "a large one of another network");
    // Within the network, whoever holds nothing asks for little.
    let late = s.open(of(1, 500));
    assert!(s.asks(late, 1).is_some());
}

/// S2, S19: answers that nobody takes hold memory for 3 s at most if others lack it.
#[test]
fn who_does_not_read_makes_room_for_others() {
    let mut s = Script::new(budget());
    s.deaf = true;
    let streams: Vec<_> = (0..64).map(|n| s.open(of(1, n))).collect();
    for stream in &streams {
        for id in 1..=2 {
            if let Some(call) = s.asks(*stream, id) {
                s.server.respond(call, Ok(Bytes::from(vec![7; MIB])), ms(s.now));
                s.pump();
            }
        }
    }
    let held = s.server.stats().memory as usize;
    assert!(held > 25 * MIB, "{held}");
    // Another one of the same network has something large to say.
    let late = s.open(of(1, 500));
    s.at(2_900);
    s.receives(late, request(1, vec![7; MIB]).bytes());
    assert_eq!((s.requests.len(), s.resets.len()), (0, 0), "they may be slow");
    s.at(3_200);
    let late = s.open(of(1, 501));
    s.receives(late, request(1, vec![7; MIB]).bytes());
    assert!(!s.resets.is_empty(), "room is made");
    let late = s.open(of(1, 502));
    s.receives(late, request(1, vec![7; MIB]).bytes());
    assert_eq!(s.requests.len(), 1, "and used");
    assert_eq!(s.server.stats().stalled, s.resets.len() as u64);
    assert!(s.resets.len() < 10, "no more than that took: {}", s.resets.len());
}

/// S13, S19: an hour in which peers of two networks ask for large answers and take none of them, as often
/// as they are let in, and large requests never end: nobody else is refused.
#[test]
fn an_hour_of_bytes_that_nobody_takes_keeps_nobody_out() {
    let mut s = Script::new(ServerConfig::default());
    let honest = s.open(of(3, 1));
    (s.deaf, s.hears) = (true, Some(honest));
    let large = Bytes::from(vec![7; MIB]);
    let half = request(1, large.clone()).first(600 * KIB);
    let mut hostile: Vec<(StreamId, u64)> = Vec::new();
    for tenth in 0..36_000_u64 {
        s.at(tenth * 100);
        for network in 1..=2 {
            let stream = s.open(of(network, (tenth % 4) as u16));
            hostile.push((stream, 0));
            if tenth % 3 == 0 {
                s.receives(stream, half.clone());
            }
        }
        for (stream, id) in hostile.iter_mut().skip(tenth as usize % 50).step_by(50) {
            *id += 1;
            if let Some(call) = s.asks(*stream, *id) {
                s.server.respond(call, Ok(large.clone()), ms(s.now));
                s.pump();
            }
        }
        if hostile.len() > 1200 {
            hostile.drain(..600);
        }
        let call = s.asks(honest, tenth + 1).expect("it is let in");
        s.server.respond(call, Ok(Bytes::from(vec![1; KIB])), ms(s.now));
        s.pump();
        while s.server.poll_notice().is_some() {}
    }
    let stats = s.server.stats();
    assert!(stats.memory <= 1 << 30, "{stats:?}");
    assert!(stats.cut_off > 10, "they pay: {stats:?}");
}

// Prices.

/// Spends all that a peer has by breaking the format; what is told of it.
fn misbehaves(s: &mut Script, origin: Origin) -> (usize, Option<Notice>) {
    for streams in 1..100 {
        let stream = s.open(origin);
        s.breaks(stream);
        if let Some(notice) = s.server.poll_notice() {
            return (streams, Some(notice));
        }
    }
    (100, None)
}

/// S13: who is kept out is so for twice as long each time, and times are forgotten.
#[test]
fn who_does_it_again_is_kept_out_for_longer() {
    let mut s = Script::new(ServerConfig::default());
    let (one, mut now) = (of(1, 1), 0);
    for (nth, seconds) in [(1, 5), (2, 10), (3, 20), (4, 40), (5, 80)] {
        s.at(now);
        let (_, notice) = misbehaves(&mut s, one);
        let Some(Notice::KeptOut { time, times, .. }) = notice else { panic!("{notice:?}") };
        assert_eq!((times, time.as_secs()), (nth, seconds));
        let ends = now + seconds * 1000;
        assert!(s.server.kept_out(one, ms(ends - 1)).is_some(), "the {nth}th time");
        assert_eq!(s.server.kept_out(one, ms(ends)), None, "the {nth}th time");
        // Nothing is gained by going away.
        now = ends + 10_000;
    }
    now += 10 * 60 * 1000 * 5;
    s.at(now);
    let (_, notice) = misbehaves(&mut s, one);
    assert!(matches!(notice, Some(Notice::KeptOut { times: 1, .. })), "{notice:?}");
    assert!(s.server.kept_out(of(2, 1), ms(now)).is_none(), "somebody else");
}

/// S13: a new name for each attempt costs the network: its newcomers begin with less.
#[test]
fn new_names_of_a_network_begin_with_less() {
    let mut s = Script::new(ServerConfig::default());
    let streams: Vec<usize> = (0..30).map(|n| misbehaves(&mut s, of(1, n)).0).collect();
    assert_eq!(streams[0], 20);
    assert!(streams.windows(2).all(|two| two[0] >= two[1]), "{streams:?}");
    assert_eq!(streams[29], 2, "a tenth of the points");
    assert_eq!(misbehaves(&mut s, of(2, 1)).0, 20, "another network");
    // An honest newcomer of the same network is served.
    let honest = s.open(of(1, 100));
    assert!(s.asks(honest, 1).is_some());
}

/// S13: requests that the stream itself refuses are not free.
#[test]
fn refused_requests_cost_a_point_each() {
    let mut s = Script::new(ServerConfig::default());
    let stream = s.open(of(1, 1));
    // A field that has to be understood, and is not.
    let late: Vec<u8> = (1..10_000).flat_map(|id| request(id, "").timeout(0).bytes()).collect();
    s.receives(stream, late);
    assert_eq!(s.server.stats().cut_off, 0);
    s.receives(stream, request(10_000, "").timeout(0).bytes());
    assert_eq!(s.server.stats().cut_off, 1);
    assert_eq!(s.resets, [stream]);
}

/// S13: an hour of breaking the format, from one network with a new name each time: others are served,
/// and nothing is left of it that grows.
#[test]
fn an_hour_of_offences_keeps_nobody_out() {
    let mut s = Script::new(ServerConfig::default());
    let honest = s.open(of(2, 1));
    let mut streams = 0;
    for tenth in 0..36_000_u64 {
        s.at(tenth * 100);
        let stream = s.open(of(1, tenth as u16));
        s.breaks(stream);
        streams += 1;
        let call = s.asks(honest, tenth + 1).expect("it is let in");
        s.server.respond(call, Ok(Bytes::new()), ms(s.now));
        s.pump();
        while s.server.poll_notice().is_some() {}
    }
    let stats = s.server.stats();
    assert_eq!((stats.ok, stats.refused, stats.streams), (36_000, 0, 1), "{streams}: {stats:?}");
}

// Rates.

/// O1: so many at once, then so many in a second; who comes too early is told when to come.
#[test]
fn a_rate_limit_holds_for_each_peer() {
    let mut s = Script::new(ServerConfig::default());
    let limit = RateLimit::new().requests(Quota::per_second(10).with_burst(20));
    s.server.set_rate_limit(RateScope::EachPeer, limit);
    let (one, two) = (s.open(of(1, 1)), s.open(of(1, 2)));
    let mut id = 0;
    let mut burst = |s: &mut Script, stream: StreamId| {
        let asked = (0..100).filter(|_| {
            id += 1;
            s.asks(stream, id).is_some()
        });
        asked.count()
    };
    assert_eq!(burst(&mut s, one), 20);
    assert_eq!(burst(&mut s, two), 20, "another peer");
    s.at(1000);
    assert_eq!(burst(&mut s, one), 10);
    // Another stream, and another connection, change nothing.
    let again = s.open(of(1, 1));
    assert_eq!(burst(&mut s, again), 0);
    s.at(10_000);
    assert_eq!(burst(&mut s, again), 20, "no more than the burst");
    s.server.set_rate_limit(RateScope::EachPeer, RateLimit::new());
    assert_eq!(burst(&mut s, again), 100);
    assert_eq!(s.server.stats().rate_limited, 80 + 80 + 90 + 100 + 80);
}

/// O1: bytes are paid for after they came; who owes waits for as long as that takes.
#[test]
fn a_rate_of_bytes_is_owed_and_paid() {
    let mut s = Script::new(ServerConfig::default());
    let limit = RateLimit::new().bytes(Quota::per_second(KIB as u64));
    s.server.set_rate_limit(RateScope::Protocol(name(PROTOCOL)), limit);
    let (one, two) = (s.open(of(1, 1)), s.open(of(2, 1)));
    s.receives(one, request(1, vec![7; 10 * KIB]).bytes());
    assert!(s.requests.pop().is_some(), "of any size");
    s.written.clear();
    s.receives(two, request(1, "x").bytes());
    assert!(s.requests.pop().is_none(), "all peers together");
    let message = "more than may come in this time";
    let wait = failure(1, 3).message(message).retry_after(9_000).unprocessed().bytes();
    assert_eq!(s.written.len(), wait.len() + 5, "with the load");
    s.at(9_000);
    assert!(s.asks(two, 2).is_none());
    s.at(9_001);
    assert!(s.asks(two, 3).is_some());
}

/// S13: more peers than have buckets share one.
#[test]
fn rate_limits_remember_no_more_than_a_number_of_peers() {
    let mut s = Script::new(ServerConfig::default().with_concurrency_ceiling(20_000));
    s.server.set_rate_limit(RateScope::EachPeer, RateLimit::new().requests(Quota::per_second(1)));
    let mut refused = 0;
    for n in 0..8_300_u16 {
        let stream = s.open(of(u64::from(n) % 200, n));
        let call = s.asks(stream, 1);
        refused += usize::from(call.is_none());
        if let Some(call) = call {
            s.server.respond(call, Ok(Bytes::new()), ms(0));
            s.pump();
        }
    }
    assert_eq!(refused, 8_300 - 8_192 - 1, "one of those beyond, at a time");
}
