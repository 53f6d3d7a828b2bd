//! The server: its options. Each has a default, a range, and something that it does.

use std::time::Duration;

use crate::support::{MIB, ServerScript, drain, failure, plain, request, server_settings};
use pointsub_core::endpoint::{Limit, LimitPolicy};
use pointsub_core::{Format, Server, ServerConfig};

const MS: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn config() -> ServerConfig {
    ServerConfig::default()
}

fn refusal(config: &ServerConfig) -> String {
    let error = config.validate().expect_err("outside its range");
    assert_eq!(Server::new(config.clone()).err(), Some(error.clone()));
    error.to_string()
}

/// S1, S2, S3, S4, S5, S6, S10, S11, S20. Every option has the documented default.
#[test]
fn every_option_has_its_default() {
    let c = config();
    assert!(c.validate().is_ok());
    assert_eq!(c.read_timeout(), Duration::from_secs(30));
    assert_eq!(c.write_timeout(), Duration::from_secs(30));
    assert_eq!(c.cleanup_interval(), Duration::from_secs(300));
    assert_eq!(c.max_concurrent_requests(), 1000);
    assert_eq!(c.min_concurrent_requests(), 8);
    assert_eq!(c.concurrency_ceiling(), 10_000);
    assert_eq!(c.limit_policy(), LimitPolicy::QueueDelay { queue: 8 });
    assert_eq!(c.limit_window(), Duration::from_secs(1));
    assert_eq!(c.max_block_size(), 32 * MIB);
    assert_eq!(c.buffer_pool_size(), 4096);
    assert!(c.compression());
    assert!(!c.error_texts());
    assert_eq!(c.max_in_flight(), 1024);
    assert_eq!(c.max_streams_per_connection(), 256);
    assert_eq!(c.max_raw_streams(), 1000);
    assert_eq!(c.max_memory(), 1024 * MIB);
    assert_eq!(c.max_memory_per_peer(), 512 * MIB);
    assert_eq!(c.max_memory_per_stream(), 64 * MIB);
}

/// S3, S6: A limit that is set is the ceiling, and the minimum is not above it; each can be
/// set by itself.
#[test]
fn limits_of_concurrency_follow_each_other() {
    let limits = |c: ServerConfig| {
        assert_eq!(c.validate(), Ok(()));
        (c.min_concurrent_requests(), c.max_concurrent_requests(), c.concurrency_ceiling())
    };
    assert_eq!(limits(config().with_max_concurrent_requests(50)), (8, 50, 50));
    assert_eq!(limits(config().with_max_concurrent_requests(3)), (3, 3, 3));
    assert_eq!(limits(config().with_concurrency_ceiling(20_000)), (8, 1000, 20_000));
    assert_eq!(limits(config().with_concurrency_ceiling(20)), (8, 20, 20));
    assert_eq!(limits(config().with_min_concurrent_requests(3)), (3, 1000, 10_000));
    let seed = || config().with_limit_policy(LimitPolicy::LOAD_FACTOR);
    assert_eq!(limits(seed()), (100, 1000, 10_000));
    assert_eq!(limits(seed().with_max_concurrent_requests(50)), (50, 50, 50));
    assert_eq!(limits(seed().with_max_concurrent_requests(5000)), (100, 5000, 5000));
    assert_eq!(limits(seed().with_concurrency_ceiling(70)), (70, 70, 70));
    assert_eq!(limits(config().with_limit_policy(LimitPolicy::Fixed)), (100, 1000, 1000));
    let all = config().with_min_concurrent_requests(3).with_max_concurrent_requests(7);
    assert_eq!(limits(all.with_concurrency_ceiling(9)), (3, 7, 9));
}

/// S19: budgets follow the largest message, and are not above those that contain them.
#[test]
fn budgets_follow_each_other() {
    let budgets = |c: ServerConfig| {
        assert_eq!(c.validate(), Ok(()));
        let bytes = [c.max_memory_per_stream(), c.max_memory_per_peer(), c.max_memory()];
        bytes.map(|bytes| bytes / MIB)
    };
    assert_eq!(budgets(config().with_max_block_size(100 * MIB)), [200, 1600, 3200]);
    assert_eq!(budgets(config().with_max_block_size(MIB)), [64, 512, 1024]);
    assert_eq!(budgets(config().with_max_memory(100 * MIB)), [64, 100, 100]);
    assert_eq!(budgets(config().with_max_memory_per_peer(40 * MIB)), [40, 40, 1024]);
    assert_eq!(budgets(config().with_max_memory_per_stream(32 * MIB)), [32, 512, 1024]);
}

/// S4, S20: both ends of every range are allowed, and what lies beyond is refused by name,
/// value and range.
#[test]
fn every_range_is_exact() {
    for time in [MS, DAY] {
        let c = config().with_read_timeout(time).with_write_timeout(time);
        assert_eq!(c.with_cleanup_interval(time).validate(), Ok(()));
    }
    for size in [1, 1024 * MIB] {
        assert_eq!(config().with_max_block_size(size).validate(), Ok(()));
    }
    let most = config().with_max_concurrent_requests(1_000_000).with_buffer_pool_size(MIB);
    assert_eq!(most.with_max_in_flight(65_536).validate(), Ok(()));
    let refused = [
        (
            config().with_read_timeout(Duration::ZERO),
            "read_timeout is 0ns, allowed is 1ms to 86400s",
        ),
        (
            config().with_write_timeout(DAY + MS),
            "write_timeout is 86400.001s, allowed is 1ms to 86400s",
        ),
        (
            config().with_cleanup_interval(Duration::ZERO),
            "cleanup_interval is 0ns, allowed is 1ms to 86400s",
        ),
        (config().with_max_block_size(0), "max_block_size is 0, allowed is 1 to 1073741824"),
        (
            config().with_max_block_size(1024 * MIB + 1),
            "max_block_size is 1073741825, allowed is 1 to 1073741824",
        ),
        (
            config().with_buffer_pool_size(MIB + 1),
            "buffer_pool_size is 1048577, allowed is 0 to 1048576",
        ),
        (config().with_max_in_flight(0), "max_in_flight is 0, allowed is 1 to 65536"),
        (
            config().with_max_streams_per_connection(257),
            "max_streams_per_connection is 257, allowed is 1 to 256",
        ),
        (config().with_max_raw_streams(0), "max_raw_streams is 0, allowed is 1 to 1000000"),
        (
            config().with_limit_window(Duration::from_secs(3601)),
            "limit_window is 3601s, allowed is 1ms to 3600s",
        ),
        (
            config().with_max_concurrent_requests(0),
            "max_concurrent_requests is 0, allowed is 1 to 1000000",
        ),
        (
            config().with_min_concurrent_requests(1001),
            "min_concurrent_requests is 1001, allowed is 1 to 1000",
        ),
        (
            config().with_max_concurrent_requests(20).with_concurrency_ceiling(19),
            "concurrency_ceiling is 19, allowed is 20 to 1000000",
        ),
        (
            config().with_limit_policy(LimitPolicy::LoadFactor { max_load: 1001 }),
            "max_load is 1001, allowed is 1 to 1000",
        ),
        (
            config().with_max_memory(MIB).with_max_block_size(MIB + 1),
            "max_memory is 1048576, allowed is 1048577 to 18446744073709551615",
        ),
        (
            config().with_max_memory(512 * MIB).with_max_memory_per_peer(512 * MIB + 1),
            "max_memory_per_peer is 536870913, allowed is 33554432 to 536870912",
        ),
        (
            config().with_max_memory_per_stream(1),
            "max_memory_per_stream is 1, allowed is 33554432 to 536870912",
        ),
    ];
    for (config, message) in refused {
        assert_eq!(refusal(&config), message);
    }
}

/// Where it is shown that an option does something: its test, by file and name.
const SHOWN: [(&str, &str, &str); 24] = [
    ("read_timeout", CONFIG, "options_of_single_streams_do_something"),
    ("write_timeout", CONFIG, "options_of_single_streams_do_something"),
    ("cleanup_interval", CONFIG, "options_of_single_streams_do_something"),
    ("max_block_size", CONFIG, "options_of_single_streams_do_something"),
    ("max_in_flight", CONFIG, "options_of_single_streams_do_something"),
    ("max_calls", STREAMS, "a_stream_takes_as_many_calls_as_it_may"),
    ("max_calls_per_connection", STREAMS, "a_connection_has_so_many_calls_over_all_its_streams"),
    ("max_open_calls", STREAMS, "calls_have_a_limit_of_their_own_and_are_no_requests"),
    ("buffer_pool_size", BUFFERS, "an_outbox_keeps_no_more_than_it_may"),
    ("compression", BODIES, "a_server_compresses_its_answers_unless_told_not_to"),
    ("error_texts", HANDLERS, "the_text_of_a_handlers_error_is_sent_if_the_server_is_told_so"),
    ("max_streams_per_connection", E2E_LIMITS, "a_native_stream_too_many_is_drained"),
    ("max_raw_streams", PLACES, "raw_streams_share_a_limit_of_their_own"),
    ("max_streams", ORIGINS, "streams_of_all_kinds_share_a_limit"),
    ("max_handler_time", ADMISSION, "a_handler_ends_after_the_longest_time"),
    ("max_raw_idle", ADMISSION, "a_raw_stream_that_is_idle_for_too_long_ends"),
    ("limit_window", LIMITS, "policy_and_window_are_the_configured_ones"),
    ("limit_policy", LIMITS, "policy_and_window_are_the_configured_ones"),
    ("max_concurrent_requests", LIMITS, "a_configured_limit_is_a_ceiling"),
    ("min_concurrent_requests", LIMITS, "a_full_server_lets_less_in"),
    ("concurrency_ceiling", LIMITS, "a_configured_limit_is_a_ceiling"),
    ("max_memory", MEMORY, "each_peer_has_a_budget_and_all_have_one"),
    ("max_memory_per_peer", MEMORY, "each_peer_has_a_budget_and_all_have_one"),
    ("max_memory_per_stream", MEMORY, "a_large_request_that_does_not_fit_is_refused_on_sight"),
];
const STREAMS: &str = include_str!("calls_streams.rs");
const CONFIG: &str = include_str!("server_config.rs");
const BUFFERS: &str = include_str!("buffers.rs");
const LIMITS: &str = include_str!("server_limits.rs");
const PLACES: &str = include_str!("server_places.rs");
const MEMORY: &str = include_str!("server_memory.rs");
const ORIGINS: &str = include_str!("server_origins.rs");
const ADMISSION: &str = include_str!("../../../tests/tests/e2e/admission.rs");
const HANDLERS: &str = include_str!("../../../tests/tests/e2e/handlers.rs");
const BODIES: &str = include_str!("../../../tests/tests/e2e/bodies.rs");
const E2E_LIMITS: &str = include_str!("../../../tests/tests/e2e/limits.rs");

/// S20: there is no option without a test that shows what it does.
#[test]
fn every_option_does_something() {
    let shown = format!("{:?}", config());
    let fields = shown.trim_start_matches("ServerConfig { ").trim_end_matches(" }");
    let mut options: Vec<&str> =
        fields.split(", ").filter_map(|field| field.split(": ").next()).collect();
    for (option, file, test) in SHOWN {
        assert!(file.contains(&format!("\nfn {test}()")), "{option}: there is no test {test}");
        let before = options.len();
        options.retain(|found| *found != option);
        assert_eq!(options.len() + 1, before, "there is no option {option}");
    }
    assert!(options.is_empty(), "nothing shows what these do: {options:?}");
}

/// S1, S2, S4, S10: each timer and each limit of a stream is the configured one.
#[test]
fn options_of_single_streams_do_something() {
    // read_timeout: the first request.
    let (mut s, stream) = ServerScript::native(config().with_read_timeout(7 * MS));
    s.expires_at(7);
    s.expect_sent(stream, [drain(0)]);
    s.expect_finish(stream);
    assert_eq!(s.stats().first_byte_timeouts, 1);

    // write_timeout: a peer that does not read.
    let mut s = ServerScript::new(config().with_write_timeout(8 * MS));
    let stream = s.accept(Format::Native);
    s.expect_some_write(stream);
    s.expires_at(8);
    s.expect_reset(stream);
    assert_eq!(s.stats().write_timeouts, 1);

    // cleanup_interval: a stream without requests.
    let (mut s, stream) = ServerScript::plain(config().with_cleanup_interval(9 * MS));
    s.receives(stream, [plain("a")]);
    let call = s.expect_request("a");
    s.respond(call, "");
    s.expect_sent(stream, [plain("")]);
    s.expires_at(9);
    s.expect_finish(stream);
    assert_eq!(s.stats().idle_timeouts, 1);

    // max_block_size and max_in_flight: what is announced, and what is refused.
    let mut s = ServerScript::new(config().with_max_block_size(5).with_max_in_flight(1));
    let stream = s.accept(Format::Native);
    s.expect_sent(stream, [server_settings(5, 1, 1024)]);
    s.receives(stream, [request(1, "12345"), request(2, "")]);
    s.expect_request("12345");
    let message = "more requests on one stream than were agreed on";
    s.expect_sent(stream, [failure(2, 3).message(message).unprocessed()]);
    s.receives(stream, [request(3, "123456")]);
    let too_large = failure(3, 4).message("6 bytes, the limit is 5").unprocessed();
    s.expect_sent(stream, [too_large, drain(3)]);
}

#[test]
fn what_is_out_of_range_of_a_limit_is_named() {
    let loads = |max_load| (LimitPolicy::LoadFactor { max_load }, 1000, 100, 10_000);
    let aimd = |backoff| (LimitPolicy::Aimd { backoff }, 1000, 100, 10_000);
    let gradient =
        |tolerance, smoothing| (LimitPolicy::Gradient { tolerance, smoothing }, 1000, 100, 10_000);
    for ((policy, initial, min, max), text) in [
        ((LimitPolicy::Fixed, 1, 1, 1_000_001), "max is 1000001, allowed is 1 to 1000000"),
        ((LimitPolicy::Fixed, 1, 0, 5), "min is 0, allowed is 1 to 5"),
        ((LimitPolicy::Fixed, 1, 6, 5), "min is 6, allowed is 1 to 5"),
        ((LimitPolicy::Fixed, 99, 100, 200), "initial is 99, allowed is 100 to 200"),
        ((LimitPolicy::Fixed, 201, 100, 200), "initial is 201, allowed is 100 to 200"),
        (loads(0), "max_load is 0, allowed is 1 to 1000"),
        (loads(1001), "max_load is 1001, allowed is 1 to 1000"),
        (aimd(499), "backoff is 499, allowed is 500 to 999"),
        (aimd(1000), "backoff is 1000, allowed is 500 to 999"),
        (gradient(999, 200), "tolerance is 999, allowed is 1000 to 10000"),
        (gradient(1500, 0), "smoothing is 0, allowed is 1 to 1000"),
    ] {
        let error = Limit::new(policy, initial, min, max).expect_err("out of range");
        assert_eq!(error.to_string(), text);
    }
    let error = Limit::new(LimitPolicy::Fixed, 1000, 100, 10_000)
        .expect("in range")
        .with_window(Duration::ZERO);
    let text = error.expect_err("out of range").to_string();
    assert_eq!(text, "window is 0ns, allowed is 1ms to 3600s");
}
