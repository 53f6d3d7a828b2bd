//! The server: its report on open streams.

use std::time::Duration;

use crate::support::{
    Attached, IDLE, PROTOCOL, ServerScript, body, drain, join, ms, peer, plain, request, response,
    settings,
};
use bytes::Bytes;
use pointsub_core::connection::{CallId, ServerStreamEvent};
use pointsub_core::endpoint::Admission;
use pointsub_core::{
    Format, ProtocolName, ServerConfig, StreamEvent, StreamId, StreamInfo, StreamOp,
};

fn config() -> ServerConfig {
    ServerConfig::default()
}

/// The one stream there is.
#[track_caller]
fn only(s: &ServerScript) -> StreamInfo {
    let mut infos = s.server.streams(s.now);
    assert_eq!(infos.len(), 1, "{infos:?}");
    infos.remove(0)
}

/// When the only stream was last active, in milliseconds.
#[track_caller]
fn active(s: &ServerScript) -> u128 {
    let info = only(s);
    assert_eq!(info.idle, s.now.since(info.last_active), "idle is what passed since");
    info.last_active.since(ms(0)).as_millis()
}

/// S17: who, under which protocol, in which format, since when, how many requests, and how
/// many of them are at work.
#[test]
fn a_stream_is_reported_with_all_that_is_known_of_it() {
    let mut s = ServerScript::new(config());
    s.register("/other");
    s.at(5);
    let one = s.accept_native();
    s.at(7);
    let two = s.accept_from(2, "/other", Format::Plain);
    for id in 1..4 {
        s.receives(one, [request(id, "x")]);
    }
    let calls = s.take_requests();
    s.respond(calls[1], "y");
    s.expect_sent(one, [response(2, "y")]);
    let mut infos = s.server.streams(s.now);
    infos.sort_by_key(|info| info.created);
    let [first, second] = &infos[..] else { panic!("{infos:?}") };
    assert_eq!((first.peer, first.protocol.as_str()), (peer(1), PROTOCOL));
    assert_eq!((first.format, first.created), (Some(Format::Native), ms(5)));
    assert_eq!((first.requests, first.in_flight, first.memory), (3, 2, 2));
    assert_eq!((second.peer, second.protocol.as_str()), (peer(2), "/other"));
    assert_eq!((second.format, second.created), (Some(Format::Plain), ms(7)));
    assert_eq!((second.requests, second.in_flight, second.memory), (0, 0, 0));
    assert_eq!((s.stats().streams, s.stats().streams_total), (2, 2));
    s.breaks(two);
    s.stats();
    assert_eq!(only(&s).peer, peer(1));
    assert_eq!((s.stats().streams, s.stats().streams_total), (1, 2));
}

/// S17: A stream is active when bytes come or leave and when a request begins or ends; idle
/// is the time since, to the nanosecond.
#[test]
fn idle_is_the_time_since_a_stream_was_last_active() {
    let (mut s, stream) = ServerScript::native(config());
    assert_eq!(active(&s), 0);
    s.at(10);
    assert_eq!((active(&s), only(&s).idle), (0, Duration::from_millis(10)));
    s.receives(stream, [settings(1 << 20, 10)]);
    assert_eq!(active(&s), 10);
    s.at(20);
    s.receives_bytes(stream, request(1, "hello").first(5));
    assert_eq!(active(&s), 20);
    s.at(30);
    s.receives_bytes(stream, request(1, "hello").bytes().slice(5..));
    let call = s.expect_request("hello");
    assert_eq!(active(&s), 30);
    s.at(40);
    assert_eq!(active(&s), 30);
    s.respond(call, "y");
    assert_eq!(active(&s), 40);
    s.expect_some_write(stream);
    s.at(50);
    assert_eq!(active(&s), 40, "the peer has not taken the answer");
    s.written(stream);
    assert_eq!(active(&s), 50);
    // The report itself changes nothing.
    s.at(60);
    assert_eq!((active(&s), only(&s).idle), (50, Duration::from_millis(10)));
}

/// S17: A large body that is read straight into its place is activity as well.
#[test]
fn bytes_of_a_large_body_are_activity() {
    let (mut s, stream) = ServerScript::plain(config());
    s.receives_bytes(stream, plain(body(100_000)).first(10));
    s.expect_quiet();
    s.at(10);
    assert_eq!(active(&s), 0);
    let space = s.server.space(stream).expect("a large body").len();
    s.fills(stream, space);
    assert_eq!(active(&s), 10);
}

fn info_at_the_end(s: &mut ServerScript, stream: StreamId) -> usize {
    s.flush(stream);
    s.stats();
    s.server.streams(s.now).len()
}

/// S17, S10: A stream is reported until it is closed, and not longer; with its last stream
/// the peer is forgotten.
#[test]
fn a_stream_is_reported_until_it_ends() {
    let (mut s, stream) = ServerScript::native(config());
    s.receives(stream, [request(1, "a")]);
    let call = s.expect_request("a");
    s.finishes(stream);
    s.respond(call, Bytes::new());
    assert_eq!(info_at_the_end(&mut s, stream), 0);
    s.expect_finish(stream);

    let stream = s.accept_native();
    s.receives(stream, [request(1, "a")]);
    let call = s.expect_request("a");
    s.breaks(stream);
    s.expect_abandon(call);
    assert_eq!(only(&s).in_flight, 1, "its handler has not stopped");
    s.abandoned(call);
    assert_eq!(info_at_the_end(&mut s, stream), 0);

    let stream = s.accept_native();
    s.receives(stream, [request(1, "a")]);
    let call = s.expect_request("a");
    s.respond(call, "");
    s.expect_sent(stream, [response(1, "")]);
    s.expires_at(IDLE);
    s.expect_sent(stream, [drain(1)]);
    s.expect_finish(stream);
    assert_eq!(info_at_the_end(&mut s, stream), 0);
    assert_eq!((s.stats().idle_timeouts, s.stats().streams_total), (1, 3));
}

/// S21: a stream that is given up while handlers work gives back their places and their memory.
#[test]
fn a_stream_that_is_given_up_holds_nothing() {
    let config = ServerConfig::default();
    let mut admission = Admission::new(&config);
    let name = ProtocolName::new(PROTOCOL).expect("a usable name");
    admission.register(&name).expect("the first");
    let mut stream = Attached::new(peer(1), &name, Format::Native, &config, &mut admission, ms(0));
    let frames = join([settings(1, 1), request(1, "a"), request(2, "b")]);
    stream.handle(StreamEvent::Received(frames), &mut admission, ms(0));
    for _ in 0..2 {
        let event = stream.poll_event(&mut admission, ms(0));
        assert!(matches!(event, Some(ServerStreamEvent::Request { .. })), "{event:?}");
    }
    assert_eq!((admission.stats().in_flight, admission.stats().peers), (2, 1));
    assert!(admission.stats().memory > 0);
    stream.close(&mut admission, ms(0));
    let stats = admission.stats();
    assert_eq!((stats.in_flight, stats.abandoned, stats.memory), (0, 2, 0));
    assert_eq!((stats.streams, stats.peers), (0, 0));
}

/// A stream of the server's, by itself.
struct Alone {
    stream: Attached,
}

impl Alone {
    fn new(admission: &mut Admission) -> Self {
        let name = ProtocolName::new(PROTOCOL).expect("a usable name");
        let stream = Attached::new(peer(1), &name, Format::Plain, &config(), admission, ms(0));
        Self { stream }
    }

    /// Bytes arrive; the request that they complete, if they do.
    fn receives(&mut self, admission: &mut Admission, millis: u64, bytes: Bytes) -> Option<CallId> {
        self.stream.handle(StreamEvent::Received(bytes), admission, ms(millis));
        match self.stream.poll_event(admission, ms(millis)) {
            Some(ServerStreamEvent::Request { call, .. }) => Some(call),
            _ => None,
        }
    }

    /// A request comes, and its answer leaves.
    fn answers(&mut self, admission: &mut Admission, millis: u64) {
        let call = self.receives(admission, millis, plain("a").bytes()).expect("a request");
        self.stream.respond(call, Ok(Bytes::new().into()), admission, ms(millis));
        assert!(matches!(self.stream.poll_op(), Some(StreamOp::Write(_))));
        self.stream.handle(StreamEvent::Written, admission, ms(millis));
    }
}

/// The stream that ends for another one on its connection is the one that is idle for the longest
/// time, and nothing is at work, on its way or yet to come on it.
#[test]
fn the_longest_idle_stream_makes_room() {
    let mut admission = Admission::new(&config());
    admission.register(&ProtocolName::new(PROTOCOL).expect("a usable name")).expect("the first");
    let mut streams: Vec<Alone> = (0..7).map(|_| Alone::new(&mut admission)).collect();
    let [unused, working, arriving, unwritten, late, early, elsewhere] = &mut streams[..] else {
        panic!("seven");
    };
    working.receives(&mut admission, 0, plain("a").bytes()).expect("a request");
    arriving.answers(&mut admission, 0);
    assert_eq!(arriving.receives(&mut admission, 0, plain("half").first(6)), None);
    let call = unwritten.receives(&mut admission, 0, plain("a").bytes()).expect("a request");
    unwritten.stream.respond(call, Ok(Bytes::from_static(b"A").into()), &mut admission, ms(0));
    elsewhere.answers(&mut admission, 0);
    early.answers(&mut admission, 1);
    late.answers(&mut admission, 2);
    let (late, early) = (late.stream.key, early.stream.key);
    let here = [&*unused, working, arriving, unwritten].map(|alone| alone.stream.key);
    let here = here.into_iter().chain([late, early]);
    assert_eq!(admission.make_room(here.clone()), Some(early), "idle for the longest time");
    assert_eq!(admission.make_room(here.clone()), Some(late), "the other one ends already");
    // One that has not heard that it is to end reports that it is idle.
    streams[5].stream.handle(StreamEvent::Written, &mut admission, ms(3));
    assert_eq!(admission.make_room(here), None);
    assert_eq!(admission.stats().displaced, 2);
}
