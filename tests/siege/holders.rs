//! Hostile peers that take what they get, and keep it.

use futures::future::{BoxFuture, join_all, select};
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use futures_timer::Delay;
use libp2p_swarm::Stream;
use pointsub_swarm::{Multiaddr, PeerId};

use crate::MIB;
use crate::attacks::{Attack, LONG, bomb};
use crate::raw::{NATIVE, REQUEST, RESPONSE, RawPeer, native, read_native, write};
use crate::server::Seen;

const RAW: &str = "/raw/1.0.0";
const SLOW: &str = "/pointsub/1/slow/1.0.0";
const LARGE: &str = "/pointsub/1/large/1.0.0";
const HELD: &str = "/pointsub/1/held/1.0.0";
/// A request with this flag opens a call, and with the second one its client sends no messages.
const STREAM: u8 = 2;
const SILENT: u8 = 8;
const DATA: u8 = 6;
const ACCEPT: u8 = 7;
/// Calls that are wanted on each of so many streams, more than there may be in all, and how often one is
/// tried there.
const CALLS: usize = 900;
const TRIES: u64 = 5000;
const CALL_STREAMS: usize = 25;
const AT_ONCE: u64 = 8;
/// How many messages of a call may wait at the server.
const WINDOW: usize = 32;

type Run = fn(RawPeer, PeerId, Multiaddr) -> BoxFuture<'static, ()>;

const fn attack(
    name: &'static str,
    run: Run,
    seen: fn(&Seen) -> Result<String, &'static str>,
) -> Attack {
    Attack { name, run, seen, is_for_quic: true }
}

pub(crate) const ATTACKS: &[Attack] = &[
    attack("idle raw streams", |peer, target, _| raws(peer, target, 0).boxed(), held),
    attack(
        "raw streams full of bytes",
        |peer, target, _| raws(peer, target, 64 * 1024).boxed(),
        held,
    ),
    attack("raw streams full of single bytes", |peer, target, _| drops(peer, target).boxed(), held),
    attack("handlers that take for ever", |peer, target, _| slow(peer, target).boxed(), places),
    attack("answers that nobody takes", |peer, target, _| answers(peer, target).boxed(), memory),
    attack("requests that never end", |peer, target, _| halves(peer, target, MIB).boxed(), stopped),
    attack("large announcements", |peer, target, _| halves(peer, target, 16).boxed(), stopped),
    attack(
        "inflated requests at slow handlers",
        |peer, target, _| inflated(peer, target).boxed(),
        memory,
    ),
    attack(
        "as many streams as there may be",
        |peer, target, _| many(peer, target).boxed(),
        |seen| Ok(format!("{} streams, {} refused", seen.streams_total, seen.no_stream)),
    ),
    attack("calls that are held", |peer, target, _| calls(peer, target, false).boxed(), calls_held),
    attack(
        "calls full of single bytes",
        |peer, target, _| calls(peer, target, true).boxed(),
        calls_held,
    ),
];

fn held(seen: &Seen) -> Result<String, &'static str> {
    match seen.no_place + seen.no_stream {
        0 => Err("it got all that it asked for"),
        refused => Ok(format!("{refused} streams refused")),
    }
}

fn places(seen: &Seen) -> Result<String, &'static str> {
    match seen.no_place {
        0 => Err("it got all that it asked for"),
        refused => Ok(format!("{} handlers, {refused} requests refused", seen.started)),
    }
}

fn memory(seen: &Seen) -> Result<String, &'static str> {
    match seen.no_memory {
        0 => Err("it got all that it asked for"),
        refused => Ok(format!("{refused} refused for want of memory, {} given up", seen.stalled)),
    }
}

fn calls_held(seen: &Seen) -> Result<String, &'static str> {
    match (seen.ok, seen.no_place + seen.no_memory) {
        (0, _) => Err("none was accepted"),
        (_, 0) => Err("it got all that it asked for"),
        (calls, refused) => Ok(format!("{calls} calls, {refused} refused")),
    }
}

fn stopped(seen: &Seen) -> Result<String, &'static str> {
    match seen.message_timeouts + seen.stalled {
        0 => Err("they are still there"),
        reset => Ok(format!("{reset} streams reset")),
    }
}

async fn open(peer: &RawPeer, target: PeerId, name: &'static str, count: usize) -> Vec<Stream> {
    join_all((0..count).map(|_| peer.open(target, name))).await.into_iter().flatten().collect()
}

/// Keeps what it has for a while.
async fn keep<T>(held: T) {
    Delay::new(LONG).await;
    drop(held);
}

/// Raw streams, each with so many bytes that the server does not read.
async fn raws(peer: RawPeer, target: PeerId, bytes: usize) {
    let mut streams = open(&peer, target, RAW, 200).await;
    let filled = streams.iter_mut().map(|stream| async move {
        let block = vec![7; bytes];
        while bytes > 0 && write(stream, &block).await.is_ok() {}
    });
    select(join_all(filled.map(Box::pin)), Delay::new(LONG)).await;
    keep(streams).await;
}

/// The same with a frame of the muxer for each byte.
async fn drops(peer: RawPeer, target: PeerId) {
    let mut streams = open(&peer, target, RAW, 200).await;
    let filled = streams.iter_mut().map(|stream| async move {
        while stream.write_all(&[7]).await.is_ok() && stream.flush().await.is_ok() {}
    });
    select(join_all(filled.map(Box::pin)), Delay::new(LONG)).await;
    keep(streams).await;
}

/// Requests whose handlers never end.
async fn slow(peer: RawPeer, target: PeerId) {
    let mut streams = open(&peer, target, SLOW, 10).await;
    for stream in &mut streams {
        for id in 1..=100 {
            let _gone = write(stream, &native(REQUEST, id, &[], b"x")).await;
        }
    }
    keep(streams).await;
}

/// Small requests with answers of a megabyte, of which nothing is read.
async fn answers(peer: RawPeer, target: PeerId) {
    let mut streams = open(&peer, target, LARGE, 64).await;
    for id in 1..=8 {
        for stream in &mut streams {
            let _gone = write(stream, &native(REQUEST, id, &[], b"x")).await;
        }
    }
    keep(streams).await;
}

/// Large requests of which only so many bytes come.
async fn halves(peer: RawPeer, target: PeerId, bytes: usize) {
    let request = native(REQUEST, 1, &[], &vec![7; MIB]);
    let begin = &request[..bytes.min(request.len() - 1)];
    let mut streams = open(&peer, target, NATIVE, 100).await;
    let begun = streams.iter_mut().map(|stream| async move {
        let _gone = write(stream, begin).await;
    });
    select(join_all(begun.map(Box::pin)), Delay::new(LONG)).await;
    keep(streams).await;
}

/// Small requests that are large when they are inflated, for handlers that never end.
async fn inflated(peer: RawPeer, target: PeerId) {
    let size = [[2, 0, 4].as_slice(), &(MIB as u32).to_be_bytes()].concat();
    let body = bomb(MIB);
    let mut streams = open(&peer, target, SLOW, 20).await;
    for id in 1..=10 {
        for stream in &mut streams {
            let mut frame = native(REQUEST, id, &size, &body);
            frame[5] = 1;
            let _gone = write(stream, &frame).await;
        }
    }
    keep(streams).await;
}

/// Streams with a request on each, from several connections.
async fn many(peer: RawPeer, target: PeerId) {
    let mut streams = open(&peer, target, NATIVE, 300).await;
    for stream in &mut streams {
        let _gone = write(stream, &native(REQUEST, 1, &[], b"x")).await;
        let _answer = select(stream.read(&mut [0; 1024]), Delay::new(LONG)).await;
    }
    keep(streams).await;
}

/// As many calls as there may be: those that need no room for messages, or those that do, each with as
/// many messages as it may send, of one byte.
async fn calls(peer: RawPeer, target: PeerId, filled: bool) {
    let streams = open(&peer, target, HELD, CALL_STREAMS).await;
    let opened = streams.into_iter().map(|mut stream| async move {
        let accepted = open_calls(&mut stream, if filled { STREAM } else { STREAM | SILENT }).await;
        for id in accepted.into_iter().filter(|_| filled) {
            let messages = native(DATA, id, &[], &[7]).repeat(WINDOW);
            let _gone = write(&mut stream, &messages).await;
        }
        stream
    });
    keep(join_all(opened).await).await;
}

/// Opens calls, a few at a time; those that were accepted.
async fn open_calls(stream: &mut Stream, flags: u8) -> Vec<u64> {
    let (mut last, mut accepted) = (0, Vec::new());
    while accepted.len() < CALLS && last < TRIES {
        let ids = last + 1..=last + AT_ONCE;
        last += AT_ONCE;
        let opening = |id| {
            let mut frame = native(REQUEST, id, &[], b"x");
            frame[5] = flags;
            frame
        };
        let openings: Vec<u8> = ids.flat_map(opening).collect();
        if write(stream, &openings).await.is_err() {
            break;
        }
        let mut answered = 0;
        while answered < AT_ONCE {
            let Some(frame) = read_native(stream).await else { return accepted };
            answered += u64::from([ACCEPT, RESPONSE].contains(&frame.kind));
            if frame.kind == ACCEPT {
                accepted.push(frame.id);
            }
        }
    }
    accepted
}
