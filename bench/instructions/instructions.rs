//! What the core does, in instructions, which are the same on a busy machine: `bash
//! .ci/instructions` counts them under valgrind and fails where there are over 5 % more than stated
//! here. Whoever makes something cheaper, or dearer for a good reason, states the new count.

// What the macros make is public and has no documentation.
#![allow(missing_docs, unreachable_pub)]

use std::hint::black_box;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use gungraun::{
    Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
};
use pointsub_core::wire::{Decoder, Flags, Kind, Outbox};
use pointsub_core::{Format, Timestamp};
use pointsub_tests::pair::Pair;

/// Frames, or requests, of a measurement.
const COUNT: u64 = 64;
/// What arrives at once: as much as a Noise frame over TCP carries at best.
const READ: usize = 8 * 1024;

/// So many instructions for all [`COUNT`], and up to 5 % more.
fn about(instructions: u64) -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::with_args(["--cache-sim=no"]);
    callgrind.hard_limits([(EventKind::Ir, instructions + instructions / 20)]);
    LibraryBenchmarkConfig::default().tool(callgrind).clone()
}

fn body(length: usize) -> Bytes {
    Bytes::from(vec![7; length])
}

/// An outbox that has its buffers, and a body.
fn outbox(length: usize) -> (Outbox, Bytes) {
    let mut outbox = Outbox::new(64 * 1024);
    for id in 1..=COUNT {
        outbox.native(Kind::Request, Flags::default(), id, body(length), |_| {});
    }
    while outbox.next_write().is_some() {}
    (outbox, body(length))
}

#[library_benchmark]
#[bench::small(args = (32), setup = outbox, config = about(10_627))]
#[bench::medium(args = (512), setup = outbox, config = about(14_781))]
fn encode((mut outbox, body): (Outbox, Bytes)) -> Outbox {
    for id in 1..=COUNT {
        outbox.native(Kind::Request, Flags::default(), id, body.clone(), |_| {});
    }
    while let Some(bytes) = outbox.next_write() {
        black_box(bytes);
    }
    outbox
}

/// Frames as they arrive.
fn arriving(length: usize) -> (Decoder, Vec<Bytes>) {
    let (mut outbox, body) = outbox(length);
    for id in 1..=COUNT {
        outbox.native(Kind::Request, Flags::default(), id, body.clone(), |_| {});
    }
    let mut all = BytesMut::new();
    while let Some(bytes) = outbox.next_write() {
        all.extend_from_slice(&bytes);
    }
    let reads = all.chunks(READ).map(Bytes::copy_from_slice).collect();
    (Decoder::new(Format::Native, 1 << 20), reads)
}

#[library_benchmark]
#[bench::small(args = (32), setup = arriving, config = about(18_449))]
#[bench::medium(args = (512), setup = arriving, config = about(22_798))]
fn decode((mut decoder, reads): (Decoder, Vec<Bytes>)) -> Decoder {
    let mut frames = 0;
    for read in reads {
        decoder.push(read);
        while let Some(frame) = decoder.next_frame().expect("they are frames") {
            black_box(frame);
            frames += 1;
        }
    }
    assert_eq!(frames, COUNT);
    decoder
}

/// When it is measured.
const NOW: Duration = Duration::from_secs(10);

/// A client and a server that have been at it until [`NOW`].
fn warm(format: Format) -> Pair {
    let mut pair = Pair::new(1, format);
    for second in 0..=NOW.as_secs() {
        let now = Timestamp::ZERO + Duration::from_secs(second);
        pair.tick(now);
        send(&mut pair, now);
        pair.settle(now);
    }
    pair
}

fn send(pair: &mut Pair, now: Timestamp) {
    for _ in 0..COUNT {
        pair.send(Bytes::from_static(&[7; 512]), now);
    }
}

#[library_benchmark]
#[bench::native(args = (Format::Native), setup = warm, config = about(154_065))]
fn request(mut pair: Pair) -> Pair {
    send(&mut pair, Timestamp::ZERO + NOW);
    pair.ask(Timestamp::ZERO + NOW);
    pair
}

fn asked(format: Format) -> Pair {
    let mut pair = warm(format);
    send(&mut pair, Timestamp::ZERO + NOW);
    pair.ask(Timestamp::ZERO + NOW);
    pair
}

#[library_benchmark]
#[bench::native(args = (Format::Native), setup = asked, config = about(133_412))]
fn response(mut pair: Pair) -> Pair {
    assert_eq!(pair.answer(Timestamp::ZERO + NOW) as u64, COUNT);
    pair
}

// Request and response, one after the other.
#[library_benchmark]
#[bench::native(args = (Format::Native), setup = warm, config = about(750_073))]
#[bench::plain(args = (Format::Plain), setup = warm, config = about(918_319))]
fn alone(mut pair: Pair) -> Pair {
    for _ in 0..COUNT {
        pair.send(Bytes::from_static(&[7; 512]), Timestamp::ZERO + NOW);
        pair.settle(Timestamp::ZERO + NOW);
    }
    pair
}

library_benchmark_group!(name = frames, benchmarks = [encode, decode]);
library_benchmark_group!(name = machines, benchmarks = [request, response, alone]);
main!(library_benchmark_groups = [frames, machines]);
