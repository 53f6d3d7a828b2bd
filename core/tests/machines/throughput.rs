//! How fast a peer takes what is written to it.

use core::time::Duration;

use pointsub_core::Timestamp;
use pointsub_core::connection::Throughput;

use crate::support::link::{FRAME, Link, MBIT};
use crate::support::{KIB, MIB};

fn at(micros: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_micros(micros)
}

/// What is measured on a link, in units of its rate.
fn measured(mut link: Link, work: impl FnOnce(&mut Link)) -> f64 {
    work(&mut link);
    link.choice.rate().expect("enough was sent") as f64 / link.rate as f64
}

/// W7: a link that is always busy is measured to within the bytes that wait on it.
#[test]
fn a_busy_link_is_measured() {
    for rate in [10 * MBIT, 200 * MBIT, 4_000 * MBIT] {
        for streams in [1, 8] {
            let share = measured(Link::new(rate), |link| link.stream(streams, 8 * MIB as u64));
            assert!((0.45..1.1).contains(&share), "{rate} bytes/s, {streams} streams: {share}");
        }
    }
}

/// W7: pauses say nothing about a link, and neither do handlers that take long.
#[test]
fn a_link_on_which_little_is_sent_is_not_slow() {
    for pause in [10, 100_000] {
        let share = measured(Link::new(4_000 * MBIT), |link| {
            for _ in 0..40 {
                link.send(1, 64 * KIB);
                link.pass(Duration::from_micros(pause));
            }
        });
        assert!((0.3..1.1).contains(&share), "{pause} µs between bodies: {share}");
    }
}

/// W7: a peer that gives much credit at once has not read all of it in that moment.
#[test]
fn a_delayed_reader_does_not_make_a_link_fast() {
    let mut throughput = Throughput::default();
    throughput.wrote(1, true, 300 * KIB, at(0));
    throughput.credited(1, 128 * KIB as u32, at(100_000));
    throughput.credited(1, 128 * KIB as u32, at(100_001));
    assert_eq!(throughput.rate(), Some(2_621_413), "256 KiB in a tenth of a second");
}

/// W7: credit for a larger window is credit for nothing that was sent.
#[test]
fn a_window_that_grows_is_not_taken_for_bytes_that_were_read() {
    let mut throughput = Throughput::default();
    throughput.wrote(1, true, 200 * KIB, at(0));
    throughput.credited(1, (128 + 256) * KIB as u32, at(1_000_000));
    assert_eq!(throughput.rate(), Some(128 * KIB as u64));
    throughput.wrote(1, false, 312 * KIB, at(1_000_000));
    throughput.credited(1, 256 * KIB as u32, at(3_000_000));
    assert_eq!(throughput.rate(), Some(128 * KIB as u64), "the window is 512 KiB now");
}

/// W7: of a stream that was not followed from its beginning, nobody knows what the peer has read.
#[test]
fn a_stream_that_is_watched_late_is_measured_with_care() {
    let mut throughput = Throughput::default();
    for second in 0..20 {
        throughput.wrote(1, false, FRAME, at(second * 1_000_000));
        if second % 2 == 1 {
            throughput.credited(1, 2 * FRAME as u32, at(second * 1_000_000 + 500_000));
        }
    }
    let rate = throughput.rate().expect("twenty bodies");
    assert!(rate <= 2 * FRAME as u64, "{rate}");
}

/// W7: whatever a peer grants breaks nothing.
#[test]
fn senseless_credit_is_taken() {
    let mut throughput = Throughput::default();
    throughput.credited(1, u32::MAX, at(0));
    throughput.wrote(1, true, FRAME, at(1));
    for n in 0..100 {
        throughput.credited(1, u32::MAX, at(n));
        throughput.credited(2, 1, at(n));
        throughput.wrote(1, true, 10 * FRAME, at(0));
    }
}

/// W7: when the stream that is watched falls silent, another one is watched.
#[test]
fn another_stream_takes_the_place_of_an_idle_one() {
    let mut link = Link::new(10 * MBIT);
    link.send(1, MIB);
    let before = link.choice.rate().expect("a MiB was sent");
    link.rate = 1_000 * MBIT;
    for _ in 0..8 {
        link.send(2, MIB);
    }
    let after = link.choice.rate().expect("it was known before");
    assert!(after > 20 * before, "{before} and then {after}");
}
