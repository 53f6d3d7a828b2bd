//! The server: one peer never keeps all others out, whatever it holds, by whatever rule the limit
//! moves.

use bytes::Bytes;

use crate::support::{PROTOCOL, ServerScript, cancel, failure, ms, peer, request};
use pointsub_core::endpoint::LimitPolicy;
use pointsub_core::{
    Format, InboundId, PeerId, ProtocolName, Server, ServerConfig, ServerEvent, ServerInput,
    ServerOutput, ServerStats, StatusCode, StreamEvent, StreamId, StreamOp,
};

const RULES: [LimitPolicy; 5] = [
    LimitPolicy::Fixed,
    LimitPolicy::LOAD_FACTOR,
    LimitPolicy::AIMD,
    LimitPolicy::GRADIENT,
    LimitPolicy::QUEUE_DELAY,
];

/// Ten requests a second for an hour.
const HONEST: u64 = 36_000;
/// Which so many peers ask in turn, on a stream each.
const PEERS: u8 = 100;
/// How long the handler of each works, in milliseconds: three are at work at a time.
const WORK: u64 = 250;
/// What one peer can have at most while another one is there.
const HELD: u64 = 888;

fn name(protocol: &str) -> ProtocolName {
    ProtocolName::new(protocol).expect("a usable name")
}

/// A server for an hour beside one peer that holds what it gets.
struct Hour {
    server: Server,
    now: u64,
    requests: Vec<InboundId>,
    abandons: Vec<InboundId>,
}

impl Hour {
    fn new(rule: LimitPolicy) -> Self {
        Self::configured(ServerConfig::default().with_limit_policy(rule))
    }

    fn configured(config: ServerConfig) -> Self {
        let mut server = Server::new(config).expect("a valid config");
        for protocol in [PROTOCOL, "/slow", "/raw"] {
            server.register(&name(protocol)).expect("the first");
        }
        Self { server, now: 0, requests: Vec::new(), abandons: Vec::new() }
    }

    fn accept(&mut self, from: PeerId, protocol: &str) -> StreamId {
        let stream = self.server.accept(from, &name(protocol), Format::Native, ms(self.now));
        self.pump();
        stream
    }

    fn receives(&mut self, stream: StreamId, bytes: Bytes) {
        let event = ServerInput::Stream(stream, StreamEvent::Received(bytes));
        self.server.handle_input(event, ms(self.now));
        self.pump();
    }

    /// Does what the server wants done; every write is taken at once.
    fn pump(&mut self) {
        loop {
            match self.server.poll_output() {
                ServerOutput::Event(ServerEvent::Request { request, .. }) => {
                    self.requests.push(request);
                }
                ServerOutput::Event(ServerEvent::Abandon { request }) => {
                    self.abandons.push(request);
                }
                ServerOutput::Stream(stream, StreamOp::Write(_)) => {
                    let written = ServerInput::Stream(stream, StreamEvent::Written);
                    self.server.handle_input(written, ms(self.now));
                }
                // The first peer's stream was idle.
                ServerOutput::Stream(_, StreamOp::Finish) => {}
                ServerOutput::Wait(_) => return,
                other => panic!("{other:?}"),
            }
        }
    }

    /// An hour of honest requests; how many are not let in. `each` is called before every one.
    fn honest(&mut self, mut each: impl FnMut(&mut Self)) -> u64 {
        let streams: Vec<_> = (0..PEERS).map(|n| self.accept(peer(100 + n), PROTOCOL)).collect();
        let mut at_work = std::collections::VecDeque::new();
        let mut refused = 0;
        for n in 0..HONEST {
            self.now += 100;
            self.server.handle_input(ServerInput::Timeout, ms(self.now));
            while at_work.front().is_some_and(|(due, _)| *due <= self.now) {
                let (_, call) = at_work.pop_front().expect("it was there");
                self.server.respond(call, Ok(Bytes::from_static(b"y")), ms(self.now));
            }
            self.pump();
            each(self);
            self.requests.clear();
            let (stream, id) = (n % u64::from(PEERS), n / u64::from(PEERS) + 1);
            self.receives(streams[stream as usize], request(id, "x").bytes());
            match self.requests.pop() {
                Some(call) => at_work.push_back((self.now + WORK, call)),
                None => refused += 1,
            }
        }
        refused
    }

    fn stats(&self) -> ServerStats {
        self.server.stats()
    }
}

/// S13: a raw stream is no request at work: as many as there may be, and idle, change neither the
/// limit nor who is let in.
#[test]
fn idle_raw_streams_of_one_peer_keep_nobody_out() {
    for rule in RULES {
        let mut hour = Hour::new(rule);
        hour.accept(peer(2), PROTOCOL);
        let raw = |hour: &mut Hour| hour.server.accept_raw(peer(1), &name("/raw"), ms(0)).is_ok();
        let held = (0..2000).filter(|_| raw(&mut hour)).count() as u64;
        assert_eq!((held, hour.stats().in_flight), (HELD, 0), "{rule:?}");
        assert_eq!(hour.honest(|_| {}), 0, "{rule:?}");
        let stats = hour.stats();
        assert!(stats.limit >= 1000, "{rule:?}: {stats:?}");
        let raw = hour.server.accept_raw(peer(3), &name("/raw"), ms(hour.now));
        assert!(raw.is_ok(), "who has none gets one");
    }
}

/// S13: requests to a handler that takes for ever, as many as one peer gets.
#[test]
fn a_handler_that_takes_for_ever_keeps_nobody_out() {
    for rule in RULES {
        let mut hour = Hour::new(rule);
        hour.accept(peer(2), PROTOCOL);
        let stream = hour.accept(peer(1), "/slow");
        for id in 1..=1000 {
            hour.receives(stream, request(id, "x").bytes());
        }
        assert_eq!(hour.stats().in_flight, HELD, "{rule:?}");
        assert_eq!(hour.honest(|_| {}), 0, "{rule:?}");
    }
}

/// S13: the same while the peer goes on asking, and honest ones ask under the same protocol.
#[test]
fn a_peer_that_goes_on_asking_keeps_nobody_out() {
    for rule in RULES {
        let mut hour = Hour::new(rule);
        hour.accept(peer(2), PROTOCOL);
        let (stream, mut id) = (hour.accept(peer(1), PROTOCOL), 0);
        let refused = hour.honest(|hour| {
            for _ in 0..if id < 2000 { 100 } else { 1 } {
                id += 1;
                hour.receives(stream, request(id, "x").bytes());
            }
        });
        assert_eq!(refused, 0, "{rule:?}");
        let stats = hour.stats();
        assert!(stats.in_flight <= 10_000, "{rule:?}: {stats:?}");
    }
}

/// S13: requests whose time is over at once, with handlers that do not stop.
#[test]
fn handlers_that_do_not_stop_keep_nobody_out() {
    for rule in RULES {
        let mut hour = Hour::new(rule);
        hour.accept(peer(2), PROTOCOL);
        let streams: Vec<_> = (0..10).map(|_| hour.accept(peer(1), "/slow")).collect();
        let mut id = 0;
        let refused = hour.honest(|hour| {
            id += 1;
            for stream in &streams {
                hour.receives(*stream, request(id, "x").timeout(1).bytes());
            }
        });
        assert_eq!(refused, 0, "{rule:?}");
        let stats = hour.stats();
        assert!(stats.stopping > 800, "{rule:?}: {stats:?}");
        assert!(stats.in_flight < 8900, "the others' part of 10 000 places: {stats:?}");
    }
}

/// Peers that share the network of the honest ones come one by one, and each takes what it gets and holds
/// it. Whoever was answered before finds a place, however few there are, and wherever the limit is.
#[test]
fn new_peers_that_hold_what_they_get_keep_out_nobody_who_was_answered() {
    for rule in RULES {
        for ceiling in [256, 1000] {
            let config = ServerConfig::default().with_limit_policy(rule);
            let mut hour = Hour::configured(config.with_max_concurrent_requests(ceiling));
            let mut hostile = 0_u8;
            let refused = hour.honest(|hour| {
                if hour.now > 10_000 && hostile < 90 {
                    hostile += 1;
                    let stream = hour.accept(peer(hostile), "/slow");
                    (1..=20).for_each(|id| hour.receives(stream, request(id, "x").bytes()));
                }
            });
            assert_eq!(refused, 0, "{rule:?}, {ceiling}: {:?}", hour.stats());
            let held = hour.stats().in_flight as usize;
            assert!(held > ceiling / 4 * 3 && held <= ceiling, "{rule:?}: {held} of {ceiling}");
        }
    }
}

// Each rule by itself.

fn limits(limit: usize, ceiling: usize) -> ServerConfig {
    ServerConfig::default()
        .with_limit_policy(LimitPolicy::Fixed)
        .with_max_concurrent_requests(limit)
        .with_concurrency_ceiling(ceiling)
}

/// Asks once; whether it was let in.
fn asks(s: &mut ServerScript, stream: StreamId, id: u64) -> Option<InboundId> {
    s.receives(stream, [request(id, "x")]);
    let call = s.take_requests().pop();
    s.flush(stream);
    call
}

/// S13: whoever has nothing at work gets a first place beyond the limit, and so does a protocol, while
/// fewer have one than the limit, and up to the ceiling.
#[test]
fn first_places_go_beyond_the_limit_while_fewer_have_one() {
    for (ceiling, peers) in [(10, 4), (5, 3)] {
        let mut s = ServerScript::new(limits(4, ceiling));
        s.register("/other");
        let loud = s.native_from(1, PROTOCOL);
        for id in 1..=3 {
            asks(&mut s, loud, id).expect("within the limit");
        }
        assert_eq!(asks(&mut s, loud, 4), None, "the last place is for somebody else");
        for n in 2..peers {
            let stream = s.native_from(n, PROTOCOL);
            asks(&mut s, stream, 1).expect("the first of its peer");
        }
        let other = s.native_from(1, "/other");
        asks(&mut s, other, 1).expect("the first of its protocol");
        if peers == 4 {
            let last = s.native_from(4, PROTOCOL);
            asks(&mut s, last, 1).expect("fewer than the limit have one");
        }
        let late = s.native_from(5, PROTOCOL);
        s.receives(late, [request(1, "x")]);
        s.expect_sent(late, [failure(1, 3).retry_after(100).unprocessed()]);
    }
}

/// S13: while one has more than an equal share of a limit that has shrunk, others get theirs beyond
/// it.
#[test]
fn an_equal_share_is_not_lost_to_who_has_more() {
    let config = ServerConfig::default().with_limit_policy(LimitPolicy::LOAD_FACTOR);
    let mut s = ServerScript::new(config);
    let (loud, quiet) = (s.native_from(1, PROTOCOL), s.native_from(2, PROTOCOL));
    for id in 1..=1000 {
        let _busy = asks(&mut s, loud, id);
    }
    assert_eq!(s.stats().in_flight, HELD);
    for second in 1..25 {
        s.at(second * 1000);
        assert_eq!(asks(&mut s, loud, 1000 + second), None, "it has more than its share");
    }
    assert_eq!(s.stats().limit, 100);
    let shares = (1..=200).filter(|id| asks(&mut s, quiet, *id).is_some()).count();
    assert_eq!(shares, 50, "half of the limit");
}

/// S13: what was told to stop is neither load nor in the way of others, but it is its peer's, and
/// the ceiling holds for it.
#[test]
fn what_was_told_to_stop_is_no_load() {
    for stop in ["cancel", "deadline", "lost"] {
        let mut s = ServerScript::new(limits(4, 6));
        let (one, two) = (s.native_from(1, PROTOCOL), s.native_from(2, PROTOCOL));
        let mut calls = Vec::new();
        for id in 1..=3 {
            s.receives(one, [request(id, "x").timeout(1000)]);
            calls.extend(s.take_requests());
        }
        assert_eq!((calls.len(), s.stats().load), (3, 750));
        match stop {
            "cancel" => s.receives(one, [cancel(1), cancel(2), cancel(3)]),
            "lost" => s.breaks(one),
            _ => {
                s.now = ms(1000);
                s.timeout();
            }
        }
        for call in &calls {
            s.expect_abandon(*call);
        }
        s.flush(one);
        let stats = s.stats();
        assert_eq!((stats.in_flight, stats.stopping, stats.load), (3, 3, 0), "{stop}");
        let held: Vec<_> = (1..5).filter_map(|id| asks(&mut s, two, id)).collect();
        assert_eq!(held.len(), 2, "{stop}: of the six below the ceiling, one is a newcomer's");
        for call in calls {
            s.abandoned(call);
        }
        s.flush(one);
        assert_eq!((s.stats().in_flight, s.stats().stopping), (2, 0), "{stop}");
        assert_eq!(s.stats().abandoned, 3, "{stop}");
        assert!(asks(&mut s, two, 9).is_some(), "{stop}: their places are free");
    }
}

/// O1, S13: raw streams have a limit of their own, shared like the one of requests.
#[test]
fn raw_streams_share_a_limit_of_their_own() {
    let config = limits(1, 1).with_max_raw_streams(18);
    let mut s = ServerScript::new(config);
    s.register("/raw");
    let (now, raw) = (s.now, name("/raw"));
    s.native_from(2, PROTOCOL);
    let busy = s.native_from(3, PROTOCOL);
    asks(&mut s, busy, 1).expect("the only place");
    let mut take = |n: u8| s.server.accept_raw(peer(n), &raw, now);
    let mut held: Vec<_> = (0..40).filter_map(|_| take(1).ok()).collect();
    assert_eq!(held.len(), 16, "eight ninths");
    held.extend([take(2).expect("a first place"), take(3).expect("the last place")]);
    assert_eq!(take(4).expect_err("none is left").code, StatusCode::Busy);
    let stats = s.stats();
    assert_eq!((stats.raw_streams, stats.in_flight, stats.started), (18, 1, 1));
    for key in held {
        s.server.close_raw(key, now);
    }
    assert_eq!((s.stats().raw_streams, s.stats().ok), (0, 0));
}

/// What one of many peers holds in a schedule.
struct Held {
    stream: StreamId,
    peer: u8,
    protocol: usize,
    next_id: u64,
    at_work: Vec<(u64, InboundId)>,
}

/// S13: whatever peers ask, cancel and keep in whatever order: nobody without anything at work is
/// refused while fewer than the limit have something and the ceiling has room, no more than the ceiling is let in, and beyond the limit only
/// who has less than an equal part of it.
#[test]
fn in_any_schedule_who_has_nothing_is_let_in_while_others_have_more() {
    for seed in 1..=200_u64 {
        let mut random = crate::server_schedules::Random::new(seed);
        let (limit, window) = (1 + random.below(20), 1 + random.below(50) as u64);
        let ceiling = limit + random.below(20);
        let config = limits(limit, ceiling)
            .with_limit_policy(RULES[random.below(RULES.len())])
            .with_min_concurrent_requests(1 + random.below(limit))
            .with_limit_window(std::time::Duration::from_millis(window));
        let mut s = ServerScript::new(config);
        let protocols = [PROTOCOL, "/other"];
        s.register(protocols[1]);
        let mut all: Vec<Held> = (0..12)
            .map(|n| {
                let (peer, protocol) = (1 + n % 6, random.below(2));
                let stream = s.native_from(peer, protocols[protocol]);
                Held { stream, peer, protocol, next_id: 1, at_work: Vec::new() }
            })
            .collect();
        let mut answered = std::collections::BTreeSet::new();
        for _ in 0..300 {
            let ok_before = s.stats().ok;
            let nth = random.below(all.len());
            let (has, of) = (all[nth].at_work.len(), random.below(8));
            match of {
                0 => {
                    let now = s.now.as_nanos() / 1_000_000 + random.below(20) as u64;
                    s.now = ms(now.min(25_000));
                    s.timeout();
                }
                1 | 2 if has > 0 => {
                    let (_, call) = all[nth].at_work.swap_remove(random.below(has));
                    s.respond(call, "");
                }
                3 if has > 0 => {
                    // Its handler goes on until a later step ends it.
                    let (id, _) = all[nth].at_work[random.below(has)];
                    s.receives(all[nth].stream, [cancel(id)]);
                    s.take_abandons();
                }
                _ => {
                    let before = s.stats();
                    let sum = |held: &dyn Fn(&&Held) -> bool| -> usize {
                        all.iter().filter(held).map(|held| held.at_work.len()).sum()
                    };
                    let of_peer = sum(&|held| held.peer == all[nth].peer);
                    let of_protocol = sum(&|held| held.protocol == all[nth].protocol);
                    let id = all[nth].next_id;
                    s.receives(all[nth].stream, [request(id, "x")]);
                    let call = s.take_requests().pop();
                    let stats = s.stats();
                    let seen = format!("seed {seed}: {of_peer}, {of_protocol}, {stats:?}");
                    assert!(stats.in_flight <= ceiling as u64, "{seen}");
                    let busy = |name: &dyn Fn(&Held) -> usize| -> u64 {
                        let at_work = all.iter().filter(|held| !held.at_work.is_empty());
                        at_work.map(name).collect::<std::collections::BTreeSet<_>>().len() as u64
                    };
                    let (peers, of) = (busy(&|h| h.peer.into()), busy(&|h| h.protocol));
                    // Or those that have some have two on average.
                    let many = stats.limit.max(before.in_flight / 2);
                    let first = of_peer == 0 && peers < many || of_protocol == 0 && of < many;
                    // Of the last ninth, places are kept for those who were answered before.
                    let has_kept = of_peer == 0 && answered.contains(&all[nth].peer);
                    let kept = if has_kept { 0 } else { ceiling / 9 };
                    let room = before.in_flight + (kept as u64) < ceiling as u64;
                    assert!(call.is_some() || !(first && room), "refused a first place, {seen}");
                    let beyond = stats.in_flight - stats.stopping > stats.limit;
                    let lacks = 2 * of_peer.min(of_protocol) < stats.limit as usize;
                    let lacks = lacks || of_peer.min(of_protocol) == 0;
                    assert!(call.is_none() || !beyond || first || lacks, "too much, {seen}");
                    all[nth].next_id += 1;
                    all[nth].at_work.extend(call.map(|call| (id, call)));
                }
            }
            s.flush(all[nth].stream);
            if s.stats().ok > ok_before {
                answered.insert(all[nth].peer);
            }
        }
        for held in &all {
            for (_, call) in &held.at_work {
                s.respond(*call, "");
            }
            s.flush(held.stream);
        }
        let stats = s.stats();
        assert_eq!((stats.in_flight, stats.stopping), (0, 0), "seed {seed}: {stats:?}");
    }
}
