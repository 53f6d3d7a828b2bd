//! Which bodies are compressed on which connection.

use core::time::Duration;

use pointsub_core::ProtocolName;
use pointsub_core::wire::compress::{Gain, Gains};

use crate::support::link::{Link, MBIT, Text};
use crate::support::{KIB, MIB};

/// How many of so many bodies are compressed.
fn compressed(link: &mut Link, bodies: usize, len: usize, text: &Text) -> usize {
    (0..bodies).filter(|_| link.body(1, len, text)).count()
}

/// W7: what is compressed costs as much time as it saves on a link of that rate.
#[test]
fn the_break_even_is_where_the_time_is_the_same() {
    for text in [Text::USUAL, Text { left: 0.1, deflates: 300_000_000, inflates: 900_000_000 }] {
        let rate = text.gain().break_even() as f64;
        let (deflates, inflates) = (text.deflates as f64, text.inflates as f64);
        let (raw, less) = (1.0 / rate, text.left / rate + 1.0 / deflates + 1.0 / inflates);
        assert!((raw / less - 1.0).abs() < 0.05, "{raw} s a byte, and {less} compressed");
    }
}

/// W7: a kind of body that does not shrink, and a clock that stands still, leave a figure that can be used.
#[test]
fn the_break_even_is_a_rate_whatever_was_measured() {
    let mut gain = Gain::default();
    for took in [Duration::ZERO, Duration::MAX, Duration::from_nanos(1)] {
        for (raw, left) in [(0, 0), (1, 1), (KIB, KIB), (usize::MAX >> 16, 0), (1, usize::MAX)] {
            gain.deflated(raw, left, took);
            gain.inflated(raw, took);
            assert!(gain.break_even() < u64::MAX / 2);
        }
    }
    for _ in 0..1000 {
        gain.deflated(MIB, MIB, Duration::from_millis(10));
    }
    assert!(gain.break_even() > MBIT / 2, "a slow link is compressed for, so that this can change");
}

/// W7: nothing is known of a new connection. A large body that is not compressed may take very long.
#[test]
fn the_first_large_body_is_compressed_and_small_ones_are_not() {
    for rate in [10 * MBIT, 8_000 * MBIT] {
        assert!(Link::new(rate).body(1, MIB, &Text::USUAL));
        assert!(!Link::new(rate).body(1, 4 * KIB, &Text::USUAL));
    }
}

/// W7: a connection that tells nothing of its rate compresses what is large enough to be worth it.
#[test]
fn where_the_rate_cannot_be_known_bodies_are_compressed() {
    let mut choice = pointsub_core::connection::CompressionChoice::default();
    let small = (0..200).filter(|_| choice.compresses(4 * KIB, &Gain::default())).count();
    assert_eq!(small, 200 - 128, "all but half a MiB");
}

/// W7, C6, S11: compression is left alone where it costs more than it saves.
#[test]
fn on_a_fast_link_bodies_are_sent_as_they_are() {
    for len in [4 * KIB, 64 * KIB, MIB] {
        let mut link = Link::new(8_000 * MBIT);
        let first = compressed(&mut link, 20, len, &Text::USUAL);
        assert!(first <= 8, "{first} of the first 20 bodies of {len}");
        assert_eq!(compressed(&mut link, 1000, len, &Text::USUAL), 0, "bodies of {len}");
    }
}

/// W7, C6, S11: and used where it saves more than it costs. Some are sent as they are all the same, to see
/// whether the link has become fast, and they cost a few percent.
#[test]
fn on_a_slow_link_bodies_are_compressed() {
    for rate in [10 * MBIT, 50 * MBIT, 200 * MBIT] {
        for len in [64 * KIB, MIB] {
            let mut link = Link::new(rate);
            let bodies = 512 * MIB / len;
            let share = compressed(&mut link, bodies, len, &Text::USUAL) as f64 / bodies as f64;
            assert!((0.97..1.0).contains(&share), "{rate} bytes/s, {len} bytes: {share}");
            let mut off = Link::new(rate);
            (0..bodies).for_each(|_| off.send(1, len));
            assert!(link.elapsed() < off.elapsed(), "{rate} bytes/s, {len} bytes");
        }
    }
}

/// W7: what shrinks well at little cost seems to pay on a link whose measured rate is mostly the time until
/// the peer runs.
#[test]
fn beyond_320_mbit_nothing_is_compressed() {
    let json = Text { left: 0.1, deflates: 300_000_000, inflates: 900_000_000 };
    assert!(json.gain().break_even() > 1000 * MBIT);
    let mut link = Link::new(600 * MBIT);
    // Until the first trial.
    compressed(&mut link, 2000, 64 * KIB, &json);
    assert_eq!(compressed(&mut link, 1000, 64 * KIB, &json), 0);
}

/// W7: a link that becomes slow is noticed within two MiB, one that becomes fast within the next trial.
#[test]
fn a_link_that_changes_is_noticed() {
    for len in [64 * KIB, MIB] {
        let mut link = Link::new(8_000 * MBIT);
        compressed(&mut link, 4 * MIB / len, len, &Text::USUAL);
        for _ in 0..3 {
            link.rate = 10 * MBIT;
            let slow = 64 * MIB / len;
            let on = compressed(&mut link, slow, len, &Text::USUAL);
            assert!(on + 3 * MIB / len >= slow, "{on} of {slow} bodies of {len} on a slow link");
            link.rate = 8_000 * MBIT;
            compressed(&mut link, 128 * MIB / len, len, &Text::USUAL);
            assert_eq!(compressed(&mut link, 100, len, &Text::USUAL), 0, "{len} on a fast link");
        }
    }
}

/// W7: a link about as fast as the break-even is not treated now so, now otherwise.
#[test]
fn a_link_near_the_break_even_is_treated_alike() {
    let text = Text::USUAL;
    let even = text.gain().break_even();
    for percent in [70, 80, 90, 100, 110, 120, 130] {
        let mut link = Link::new(even * percent / 100);
        let mut changes = 0;
        let mut last = link.body(1, 64 * KIB, &text);
        for body in 0..4000 {
            // The link is not the same all the time.
            link.rate = even * (percent + [0, 4, 8][body % 3]) / 100;
            let now = link.body(1, 64 * KIB, &text);
            changes += usize::from(now != last);
            last = now;
        }
        assert!(changes < 40, "{percent} percent: {changes} changes in 4000 bodies");
    }
}

/// W7: what was measured of one protocol says nothing about another, and only so many are remembered.
#[test]
fn gains_are_remembered_by_protocol() {
    let mut gains = Gains::default();
    let name = |n: usize| ProtocolName::new(&format!("/t/{n}")).expect("a name");
    for n in 0..300 {
        gains.note(&name(n), |gain| gain.deflated(KIB, 100, Duration::from_micros(1)));
    }
    let usual = Gain::default().break_even();
    assert_eq!(gains.of("/other").break_even(), usual);
    assert!(gains.of("/t/255").break_even() > usual);
    assert_eq!(gains.of("/t/256").break_even(), usual, "beyond the limit");
}
