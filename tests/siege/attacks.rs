//! What hostile peers do.

use std::time::{Duration, Instant};

use futures::future::{BoxFuture, join_all};
use futures::{AsyncReadExt, FutureExt};
use futures_timer::Delay;
use libp2p_swarm::Stream;
use pointsub_swarm::{Multiaddr, PeerId};

use crate::raw::{NATIVE, PLAIN, REQUEST, RawPeer, native, plain, write};
use crate::server::Seen;

/// Any attack that nothing ends goes on for so long.
pub(crate) const LONG: Duration = Duration::from_secs(3);
pub(crate) const CANCEL: u8 = 4;
/// A kind of frame that is to be ignored.
const UNKNOWN: u8 = 0x90;

pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) run: fn(RawPeer, PeerId, Multiaddr) -> BoxFuture<'static, ()>,
    /// What the server's counters say of the offender; an error if they should have said more.
    pub(crate) seen: fn(&Seen) -> Result<String, &'static str>,
    /// It makes sense over QUIC too.
    pub(crate) is_for_quic: bool,
}

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        name: "slow-loris",
        run: |peer, target, _| slow_loris(peer, target).boxed(),
        seen: |seen| {
            let reset = seen.message_timeouts;
            cut_off(seen).map(|_| format!("{reset} streams reset, then cut off"))
        },
        is_for_quic: true,
    },
    Attack {
        name: "flood of headers",
        run: |peer, target, _| {
            let fields = [[0x90, 0x3e, 0x80].as_slice(), &[0; 16_000]].concat();
            flood(peer, target, NATIVE, native(UNKNOWN, 0, &fields, &[]).repeat(10)).boxed()
        },
        seen: cut_off,
        is_for_quic: true,
    },
    Attack {
        name: "flood of empty frames",
        run: |peer, target, _| {
            flood(peer, target, NATIVE, native(UNKNOWN, 0, &[], &[]).repeat(1000)).boxed()
        },
        seen: cut_off,
        is_for_quic: true,
    },
    Attack {
        name: "flood of empty requests",
        run: |peer, target, _| flood(peer, target, PLAIN, plain(&[]).repeat(1000)).boxed(),
        seen: |seen| Ok(format!("{} served", seen.ok)),
        is_for_quic: true,
    },
    Attack {
        name: "flood of cancellations",
        run: |peer, target, _| rapid_reset(peer, target).boxed(),
        seen: |seen| {
            let wasted = seen.abandoned;
            cut_off(seen).map(|_| format!("{wasted} handlers stopped, then cut off"))
        },
        is_for_quic: true,
    },
    Attack {
        name: "bombs that lie",
        run: |peer, target, _| bombs(peer, target, |_| vec![0x4b; 64]).boxed(),
        seen: refused,
        is_for_quic: true,
    },
    Attack {
        name: "bombs of the highest ratio",
        run: |peer, target, _| bombs(peer, target, bomb).boxed(),
        seen: |seen| Ok(format!("{} served", seen.ok)),
        is_for_quic: true,
    },
    Attack {
        name: "bombs beyond it",
        run: |peer, target, _| bombs(peer, target, |len| deflate(&vec![0; len])).boxed(),
        seen: refused,
        is_for_quic: true,
    },
    Attack {
        name: "nested bombs",
        run: |peer, target, _| bombs(peer, target, |len| deflate(&bomb(len))).boxed(),
        seen: refused,
        is_for_quic: true,
    },
    Attack {
        name: "never reads",
        run: |peer, target, _| never_reads(peer, target).boxed(),
        seen: |seen| match seen.write_timeouts + seen.stalled {
            0 => Err("they are still there"),
            reset => Ok(format!("{reset} streams reset")),
        },
        is_for_quic: true,
    },
    Attack {
        name: "10 000 abandoned streams",
        run: |peer, target, _| abandoned_streams(peer, target).boxed(),
        seen: |seen| {
            let opened = seen.streams_total;
            cut_off(seen).map(|_| format!("{opened} streams opened, cut off"))
        },
        is_for_quic: true,
    },
    Attack {
        name: "garbage",
        run: |peer, target, _| garbage(peer, target).boxed(),
        seen: |seen| {
            let broken = seen.violations;
            cut_off(seen).map(|_| format!("{broken} streams reset, then cut off"))
        },
        is_for_quic: true,
    },
    Attack {
        name: "churn of connections",
        run: |_, _, address| churn(address).boxed(),
        seen: |_| Ok("connections come and go".to_owned()),
        is_for_quic: true,
    },
];

pub(crate) fn cut_off(seen: &Seen) -> Result<String, &'static str> {
    match seen.cut_off {
        0 => Err("it was not cut off"),
        times => Ok(format!("cut off {times} times, {} refused after that", seen.kept_out)),
    }
}

pub(crate) fn refused(seen: &Seen) -> Result<String, &'static str> {
    match seen.refused {
        0 => Err("none was refused"),
        refused => Ok(format!("{refused} refused")),
    }
}

/// One byte at a time, on as many streams as there can be.
async fn slow_loris(peer: RawPeer, target: PeerId) {
    let drip = async |()| {
        let Ok(mut stream) = peer.open(target, NATIVE).await else { return };
        for byte in native(REQUEST, 1, &[], &[0; 100]) {
            if write(&mut stream, &[byte]).await.is_err() {
                return;
            }
            Delay::new(Duration::from_millis(250)).await;
        }
    };
    let everywhere = join_all((0..200).map(|_| drip(())));
    futures::future::select(Box::pin(everywhere), Delay::new(LONG)).await;
}

/// The same bytes again and again, until the stream ends.
pub(crate) async fn flood(peer: RawPeer, target: PeerId, name: &'static str, bytes: Vec<u8>) {
    let Ok(stream) = peer.open(target, name).await else { return };
    let (mut reader, mut writer) = stream.split();
    let send =
        async { while futures::AsyncWriteExt::write_all(&mut writer, &bytes).await.is_ok() {} };
    let read = async {
        let mut sink = vec![0; 64 * 1024];
        while reader.read(&mut sink).await.is_ok_and(|n| n > 0) {}
    };
    let (send, read) = (Box::pin(send), Box::pin(read));
    let both = futures::future::select(send, read);
    futures::future::select(both, Delay::new(LONG)).await;
}

/// Requests that are taken back before they can be answered, in one write so that both are seen
/// at once: their bodies are large, so that handlers run on tasks of their own.
async fn rapid_reset(peer: RawPeer, target: PeerId) {
    let Ok(mut stream) = peer.open(target, NATIVE).await else { return };
    for id in 1.. {
        let request = native(REQUEST, id, &[], &[7; 40_000]);
        let both = [request, native(CANCEL, id, &[], &[])].concat();
        if write(&mut stream, &both).await.is_err() {
            return;
        }
    }
}

/// Requests whose bodies claim to inflate to a megabyte.
async fn bombs(peer: RawPeer, target: PeerId, body: fn(usize) -> Vec<u8>) {
    let Ok(stream) = peer.open(target, NATIVE).await else { return };
    let original = 1024 * 1024_u32;
    let size = [[2, 0, 4].as_slice(), &original.to_be_bytes()].concat();
    let body = body(original as usize);
    let (mut reader, mut writer) = stream.split();
    let send = async {
        for id in 1..2000 {
            let mut frame = native(REQUEST, id, &size, &body);
            frame[5] = 1;
            if futures::AsyncWriteExt::write_all(&mut writer, &frame).await.is_err() {
                return;
            }
        }
        let _gone = futures::AsyncWriteExt::close(&mut writer).await;
    };
    let read = async {
        let mut sink = vec![0; 64 * 1024];
        while reader.read(&mut sink).await.is_ok_and(|n| n > 0) {}
    };
    let both = Box::pin(futures::future::join(send, read));
    futures::future::select(both, Delay::new(LONG)).await;
}

/// Shrinks by slightly less than is allowed.
pub(crate) fn bomb(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut bytes: Vec<u8> = (0..len / 128)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .collect();
    bytes.resize(len, 0);
    deflate(&bytes)
}

pub(crate) fn deflate(bytes: &[u8]) -> Vec<u8> {
    miniz_oxide::deflate::compress_to_vec(bytes, 9)
}

/// Asks on many streams, and reads on none.
async fn never_reads(peer: RawPeer, target: PeerId) {
    let ask = async |()| {
        let Ok(mut stream) = peer.open(target, NATIVE).await else { return };
        let body = vec![7; 64 * 1024];
        for id in 1..10_000 {
            if write(&mut stream, &native(REQUEST, id, &[], &body)).await.is_err() {
                return;
            }
        }
    };
    let everywhere = join_all((0..64).map(|_| ask(())));
    futures::future::select(Box::pin(everywhere), Delay::new(2 * LONG)).await;
}

async fn abandoned_streams(peer: RawPeer, target: PeerId) {
    let mut opened = 0;
    while opened < 10_000 {
        let streams = join_all((0..200).map(|_| peer.open(target, NATIVE))).await;
        opened += streams.len();
        let streams: Vec<Stream> = streams.into_iter().flatten().collect();
        drop(streams);
    }
}

async fn garbage(peer: RawPeer, target: PeerId) {
    let began = Instant::now();
    for _ in 0..500 {
        let Ok(mut stream) = peer.open(target, NATIVE).await else { return };
        let _gone = write(&mut stream, &[0xff; 64]).await;
        let _end = stream.read(&mut [0; 64]).await;
        if began.elapsed() > LONG {
            return;
        }
    }
}

async fn churn(address: Multiaddr) {
    let began = Instant::now();
    while began.elapsed() < LONG {
        join_all((0..8).map(|_| async {
            let peer = RawPeer::client().await;
            let target = peer.dial(address.clone()).await;
            let _stream = peer.open(target, NATIVE).await;
        }))
        .await;
    }
}
