//! The server: the limit of concurrency at work, and what becomes of requests beyond it.

use crate::support::{
    PROTOCOL, ServerScript, WRITE, cancel, drain, failure, join, ms, peer, plain, request, response,
};
use pointsub_core::endpoint::LimitPolicy;
use pointsub_core::{
    Format, InboundId, Server, ServerConfig, ServerEvent, ServerInput, ServerOutput, StatusCode,
    StreamEvent, StreamId, StreamOp,
};

const SECOND: u64 = 1000;

fn config() -> ServerConfig {
    ServerConfig::default().with_limit_policy(LimitPolicy::LOAD_FACTOR)
}

/// Lets requests `ids` in; none is answered.
#[track_caller]
fn work(s: &mut ServerScript, stream: StreamId, ids: std::ops::Range<u64>) -> Vec<InboundId> {
    let before = s.stats().in_flight;
    let count = ids.end - ids.start;
    for id in ids {
        s.receives(stream, [request(id, "x")]);
    }
    let requests = s.take_requests();
    assert_eq!((requests.len() as u64, s.stats().in_flight), (count, before + count));
    requests
}

/// One request that is answered at once.
#[track_caller]
fn ask(s: &mut ServerScript, stream: StreamId, id: u64) {
    s.receives(stream, [request(id, "x")]);
    let asked = s.expect_request("x");
    s.respond(asked, "y");
    s.expect_sent(stream, [response(id, "y")]);
}

// The limit moves.

/// S6: A server with little to do grows by a tenth a second from 1000 to exactly 10 000, and
/// not at all while nobody asks anything.
#[test]
fn a_server_with_little_to_do_lets_more_in() {
    let (mut s, stream) = ServerScript::native(config());
    let mut seen = Vec::new();
    for second in 0..27 {
        s.at(second * SECOND);
        ask(&mut s, stream, second + 1);
        seen.push(s.stats().limit);
    }
    assert_eq!(seen[..4], [1000, 1100, 1210, 1331]);
    assert_eq!(seen[24..], [9829, 10_000, 10_000]);
    let (mut s, stream) = ServerScript::native(config());
    ask(&mut s, stream, 1);
    s.at(200 * SECOND);
    ask(&mut s, stream, 2);
    assert_eq!(s.stats().limit, 1100, "one window with samples, one step");
}

/// S6, S7: A full server shrinks by a tenth to exactly its minimum; what is at work goes on,
/// and the load is more than the whole meanwhile.
#[test]
fn a_full_server_lets_less_in() {
    let config = config().with_max_concurrent_requests(10).with_min_concurrent_requests(8);
    let (mut s, stream) = ServerScript::native(config);
    let at_work = work(&mut s, stream, 1..11);
    assert_eq!((s.stats().limit, s.stats().load), (10, 1000));
    let mut seen = Vec::new();
    for second in 1..5 {
        s.at(second * SECOND);
        s.receives(stream, [request(10 + second, "too many")]);
        s.expect_sent(stream, [failure(10 + second, 3).retry_after(100).unprocessed()]);
        seen.push((s.stats().limit, s.stats().load));
    }
    assert_eq!(seen, [(9, 1111), (8, 1250), (8, 1250), (8, 1250)]);
    for request in at_work {
        s.respond(request, "");
    }
    s.flush(stream);
    assert_eq!((s.stats().ok, s.stats().in_flight, s.stats().load), (10, 0, 0));
}

/// S3: the limit that is configured is never exceeded, however empty the server is; another
/// ceiling lets it grow so far and no further.
#[test]
fn a_configured_limit_is_a_ceiling() {
    let limit = config().with_max_concurrent_requests(10);
    for (config, ceiling) in [(limit.clone(), 10), (limit.with_concurrency_ceiling(12), 12)] {
        let (mut s, stream) = ServerScript::native(config);
        for second in 0..10 {
            s.at(second * SECOND);
            ask(&mut s, stream, second + 1);
            assert!(s.stats().limit <= ceiling);
        }
        assert_eq!(s.stats().limit, ceiling);
        let ids = 11..11 + ceiling;
        work(&mut s, stream, ids);
        s.receives(stream, [request(100, "one too many")]);
        s.expect_sent(stream, [failure(100, 3).retry_after(100).unprocessed()]);
    }
}

/// S6: under AIMD, passed deadlines and panics make the limit fall; cancelled requests do not.
#[test]
fn only_what_the_server_failed_at_counts_as_dropped() {
    for (kind, after) in [("deadline", 900), ("panic", 900), ("cancel", 1000), ("error", 1000)] {
        let config = config().with_limit_policy(LimitPolicy::AIMD);
        let (mut s, stream) = ServerScript::native(config);
        for id in 1..21 {
            let asked = request(id, "x");
            let asked = if kind == "deadline" { asked.timeout(100) } else { asked };
            s.receives(stream, [asked]);
        }
        let at_work = s.take_requests();
        s.now = ms(100);
        for (id, call) in (1..).zip(at_work) {
            match kind {
                "deadline" => {
                    s.timeout();
                    s.expect_abandon(call);
                    s.abandoned(call);
                }
                "cancel" => {
                    s.receives(stream, [cancel(id)]);
                    s.expect_abandon(call);
                    s.abandoned(call);
                }
                "panic" => s.fail(call, StatusCode::Internal),
                _ => s.fail(call, StatusCode::Application(1)),
            }
        }
        s.flush(stream);
        s.at(2 * SECOND);
        s.receives(stream, [request(50, "x")]);
        s.expect_request("x");
        assert_eq!(s.stats().limit, after, "{kind}");
    }
}

/// S6: the gradient sees how long handlers take, from admission to their end.
#[test]
fn latency_that_rises_makes_the_limit_fall() {
    let config = config().with_limit_policy(LimitPolicy::GRADIENT).with_max_concurrent_requests(20);
    let config = config.with_min_concurrent_requests(1);
    let (mut s, stream) = ServerScript::native(config);
    for (window, millis) in [(0, 10), (1, 10), (2, 10), (3, 900)] {
        s.at(window * 2 * SECOND);
        let limit = s.stats().limit;
        let at_work = work(&mut s, stream, window * 20 + 1..window * 20 + 13);
        assert_eq!(limit, 20, "window {window}");
        s.at(window * 2 * SECOND + millis);
        for call in at_work {
            s.respond(call, "");
        }
        s.flush(stream);
    }
    s.at(9 * SECOND);
    ask(&mut s, stream, 100);
    assert!(s.stats().limit < 20, "{}", s.stats().limit);
}

/// S6: A fixed limit stays where it is, and a window is as long as configured.
#[test]
fn policy_and_window_are_the_configured_ones() {
    let window = std::time::Duration::from_millis(100);
    let fixed = config().with_limit_policy(LimitPolicy::Fixed);
    let quick = config().with_limit_window(window);
    for (config, after) in [(fixed, 1000), (quick, 1100)] {
        let (mut s, stream) = ServerScript::native(config);
        ask(&mut s, stream, 1);
        s.at(100);
        ask(&mut s, stream, 2);
        assert_eq!(s.stats().limit, after);
    }
}

// Beyond the limit.

/// S8: what is refused is told so and counted, and leaves the counters of what was let in
/// alone; there is room again as soon as there is.
#[test]
fn busy_is_counted_and_passes() {
    let (mut s, stream) = ServerScript::native(config().with_max_concurrent_requests(2));
    let at_work = work(&mut s, stream, 1..3);
    for id in 3..103 {
        s.receives(stream, [request(id, "x")]);
        s.expect_sent(stream, [failure(id, 3).retry_after(100).unprocessed()]);
    }
    let stats = s.stats();
    assert_eq!((stats.started, stats.in_flight), (2, 2));
    assert_eq!((stats.busy, stats.refused), (100, 100));
    s.respond(at_work[0], "");
    s.flush(stream);
    ask(&mut s, stream, 200);
    assert_eq!(s.stats().busy, 100);
}

/// S8: A plain stream can only be closed; that counts as busy too.
#[test]
fn a_busy_server_closes_a_plain_stream_and_counts_it() {
    let (mut s, one) = ServerScript::plain(config().with_max_concurrent_requests(1));
    let two = s.accept(Format::Plain);
    s.receives(one, [plain("a")]);
    s.expect_request("a");
    s.receives(two, [plain("b")]);
    s.expect_finish(two);
    assert_eq!((s.stats().busy, s.stats().refused, s.stats().started), (1, 1, 1));
}

/// Drives a server whose handler answers at once; the most that were at work at the same time.
fn answer_at_once(server: &mut Server, stream: StreamId) -> u64 {
    let mut most = 0;
    loop {
        match server.poll_output() {
            ServerOutput::Event(ServerEvent::Request { request, .. }) => {
                most = most.max(server.stats().in_flight);
                server.respond(request, Ok(bytes::Bytes::from_static(b"y")), ms(0));
            }
            ServerOutput::Stream(_, StreamOp::Write(_)) => {
                server.handle_input(ServerInput::Stream(stream, StreamEvent::Written), ms(0));
            }
            ServerOutput::Wait(_) => return most,
            other => panic!("{other:?}"),
        }
    }
}

/// S6, S8: A burst of requests that are answered at once is one at work at a time: it is
/// neither refused nor taken for load.
#[test]
fn requests_are_let_in_one_at_a_time() {
    let config = config().with_max_concurrent_requests(1);
    let mut server = Server::new(config).expect("valid");
    let protocol = pointsub_core::ProtocolName::new(PROTOCOL).expect("a name");
    server.register(&protocol).expect("the first");
    let stream = server.accept(peer(1), &protocol, Format::Native, ms(0));
    let burst: Vec<u8> = (1..1001).flat_map(|id| request(id, "x").bytes()).collect();
    let event = StreamEvent::Received(burst.into());
    server.handle_input(ServerInput::Stream(stream, event), ms(0));
    assert!(!server.wants_read(stream), "not before what came was looked at");
    assert_eq!(answer_at_once(&mut server, stream), 1);
    let stats = server.stats();
    assert_eq!((stats.ok, stats.refused, stats.in_flight), (1000, 0, 0));
    assert!(server.wants_read(stream));
}

/// Streams take turns: one with many requests does not make another wait for all of them.
#[test]
fn streams_take_turns() {
    let mut s = ServerScript::new(config());
    let (one, two) = (s.accept_native(), s.accept_native());
    s.receives(one, [request(1, "a"), request(2, "b"), request(3, "c")]);
    s.receives(two, [request(1, "d"), request(2, "e")]);
    for body in ["d", "a", "e", "b", "c"] {
        s.expect_request(body);
    }
}

/// S21: whatever ends a handler gives its place back.
#[test]
fn every_end_of_a_handler_gives_its_place_back() {
    type End = fn(&mut ServerScript, StreamId, InboundId);
    let ends: [End; 9] = [
        |s, _, call| s.respond(call, "answered"),
        |s, _, call| s.fail(call, StatusCode::Application(1)),
        |s, _, call| s.abandoned(call), // vanished without having been told to stop
        |s, stream, call| {
            s.receives(stream, [cancel(1)]);
            s.expect_abandon(call);
            s.abandoned(call);
        },
        |s, _, call| {
            s.now = ms(500);
            s.timeout();
            s.expect_abandon(call);
            s.respond(call, "after its deadline");
        },
        |s, stream, call| {
            s.breaks(stream);
            s.expect_abandon(call);
            s.abandoned(call);
        },
        |s, stream, call| {
            s.receives_bytes(stream, vec![0; 16]);
            s.expect_abandon(call);
            s.expect_reset(stream);
            s.respond(call, "the peer broke the format");
        },
        |s, stream, call| {
            s.receives_bytes(stream, request(2, "a message that does not end").first(20));
            s.expect_quiet();
            s.now = ms(WRITE);
            s.timeout();
            s.expect_abandon(call);
            s.expect_reset(stream);
            s.abandoned(call);
        },
        |s, stream, call| {
            s.finishes(stream);
            s.respond(call, "after the peer has closed its half");
        },
    ];
    for (number, end) in ends.into_iter().enumerate() {
        let (mut s, stream) = ServerScript::native(config().with_max_concurrent_requests(1));
        let asked = request(1, "a");
        let asked = if number == 4 { asked.timeout(500) } else { asked };
        s.receives(stream, [asked]);
        let call = s.take_requests()[0];
        end(&mut s, stream, call);
        s.flush(stream);
        if number == 8 {
            s.expect_finish(stream);
        }
        assert_eq!(s.stats().in_flight, 0, "end {number}");
        let next = s.accept_native();
        s.receives(next, [request(1, "next")]);
        s.expect_request("next");
        assert_eq!(s.stats().busy, 0, "end {number}");
    }
}

// What the peer is told of the load.

/// The first answer on a stream tells the load, and then each after which it has changed by a
/// twentieth of the limit or ten seconds have passed.
#[test]
fn load_is_told_when_it_is_news() {
    let config = config().with_limit_policy(LimitPolicy::Fixed).with_max_concurrent_requests(100);
    let (mut s, stream) = ServerScript::native(config);
    let at_work = work(&mut s, stream, 1..61);
    let answer = |s: &mut ServerScript, nth: usize| {
        s.respond(at_work[nth], "");
        s.expect_sent(stream, [response(nth as u64 + 1, "")]);
        s.loads()
    };
    assert_eq!(answer(&mut s, 0), [(1, 590)]);
    for nth in 1..5 {
        assert_eq!(answer(&mut s, nth), []);
    }
    assert_eq!(answer(&mut s, 5), [(6, 540)], "50 thousandths less");
    s.at(9_999);
    assert_eq!(answer(&mut s, 6), []);
    s.at(10_000);
    assert_eq!(answer(&mut s, 7), [(8, 520)], "ten seconds later");
    // Each stream is told for itself, failures like answers.
    let other = s.accept_native();
    s.receives(other, [request(1, "").timeout(0)]);
    s.expect_sent(other, [failure(1, 5).unprocessed()]);
    assert_eq!(s.loads(), [(1, 520)]);
}

/// How it lies on the wire: the last field, two bytes, tag 0x81. A plain stream has no place
/// for it.
#[test]
fn load_is_the_last_field_of_an_answer() {
    let (mut s, stream) = ServerScript::native(config().with_max_concurrent_requests(1));
    s.receives(stream, [request(1, "a"), request(2, "b")]);
    let a = s.expect_request("a");
    let busy = failure(2, 3).retry_after(100).load(1000).unprocessed();
    assert_eq!(s.expect_some_write(stream), join([busy]));
    s.written(stream);
    s.respond(a, "A");
    assert_eq!(s.expect_some_write(stream), join([response(1, "").load(0).body("A")]));
    let (mut s, stream) = ServerScript::plain(config());
    s.receives(stream, [plain("a")]);
    let a = s.expect_request("a");
    s.respond(a, "A");
    assert_eq!(s.expect_some_write(stream), join([plain("A")]));
}

/// A drain that cuts off gives the places back too, and they are free in the next life.
#[test]
fn a_drain_that_cuts_off_gives_places_back() {
    let (mut s, stream) = ServerScript::native(config().with_max_concurrent_requests(1));
    let call = work(&mut s, stream, 1..2)[0];
    s.drain(100);
    s.expect_sent(stream, [drain(1)]);
    s.expires_at(100);
    s.expect_abandon(call);
    s.expect_reset(stream);
    s.abandoned(call);
    s.expect_drained();
    s.register(PROTOCOL);
    let next = s.accept_native();
    s.receives(next, [request(1, "next")]);
    s.expect_request("next");
    assert_eq!((s.stats().abandoned, s.stats().in_flight), (1, 1));
}
