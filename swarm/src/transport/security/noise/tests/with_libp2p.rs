//! The Noise of libp2p at the other end.

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p_core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use libp2p_noise as libp2p;

use super::*;
use crate::transport::security::coalescing_writer::CoalescingWriter;

type Theirs = libp2p::Output<End>;
type Ours = CoalescingWriter<Secured>;

/// A connection of which the other end is libp2p's, which has dialled or not.
fn connected(theirs_dials: bool, piece: usize) -> (Ours, Theirs) {
    let ((one, two), theirs) = (pipe(piece), identity(3));
    let config = libp2p::Config::new(&theirs).expect("it can sign");
    let (ours, (found, theirs)) = if theirs_dials {
        let dial = config.upgrade_outbound(two, "/noise");
        let (accepted, dialled) = block_on(join(listen(one, Dialect::Libp2p), dial));
        let (peer_id, stream) = accepted.expect("secured");
        assert_eq!(peer_id, peer(3));
        let dialled = dialled.expect("secured");
        assert_eq!(dialled.0, peer(2));
        (stream, dialled)
    } else {
        let listen = config.upgrade_inbound(two, "/noise");
        let (dialled, accepted) = block_on(join(dial(one, &BOTH), listen));
        let (peer_id, dialect, stream) = dialled.expect("secured");
        assert_eq!((peer_id, dialect), (peer(3), Dialect::Libp2p));
        let accepted = accepted.expect("secured");
        assert_eq!(accepted.0, peer(1));
        (stream, accepted)
    };
    assert_ne!(found, peer(3), "it has found us");
    (CoalescingWriter::new(ours), theirs)
}

/// Sends in pieces of these lengths, and ends.
async fn send(to: &mut (impl AsyncWrite + Unpin), plain: &[u8], lens: &[usize]) {
    let (mut rest, mut lens) = (plain, lens.iter().cycle());
    while let Some(len) = lens.next().filter(|_| !rest.is_empty()) {
        let (piece, others) = rest.split_at(rest.len().min(*len));
        to.write_all(piece).await.expect("somebody reads");
        if len % 2 == 1 {
            to.flush().await.expect("somebody reads");
        }
        rest = others;
    }
    to.close().await.expect("it can always be closed");
}

/// Reads with room for these lengths until the end.
async fn receive(from: &mut (impl AsyncRead + Unpin), lens: &[usize]) -> Vec<u8> {
    let (mut plain, mut buf) = (Vec::new(), vec![0; 100_000]);
    for len in lens.iter().cycle() {
        match from.read(&mut buf[..*len]).await.expect("nobody breaks it") {
            0 => break,
            n => plain.extend(&buf[..n]),
        }
    }
    plain
}

/// Each end sends that many bytes and ends, while it reads.
fn exchange(theirs_dials: bool, len: usize, piece: usize, lens: &[usize]) {
    let (forth, back) = (bytes(len), bytes(len + 1).split_off(1));
    let (ours, theirs) = connected(theirs_dials, piece);
    let ((mut hear, mut say), (mut listen, mut talk)) = (ours.split(), theirs.split());
    let ((heard, answer), ..) = block_on(join(
        join(receive(&mut hear, lens), receive(&mut listen, lens)),
        join(send(&mut say, &forth, lens), send(&mut talk, &back, lens)),
    ));
    assert!(heard == back && answer == forth, "{len} bytes, {piece} at once, split into {lens:?}");
}

#[test]
fn the_same_bytes_arrive_however_they_are_split() {
    const SPLITS: [&[usize]; 4] =
        [&[100_000], &[12, 65_000], &[1, 5000, 2, 64_511, 64_512, 33], &[4096]];

    for theirs_dials in [false, true] {
        for lens in SPLITS {
            for len in [0, 1, 65_519, 65_520] {
                exchange(theirs_dials, len, usize::MAX, lens);
            }
            exchange(theirs_dials, 65_520, 1000, lens);
        }
        exchange(theirs_dials, 3000, 1, &[1, 700, 2]);
        exchange(theirs_dials, 3_000_000, usize::MAX, SPLITS[1]);
        exchange(theirs_dials, 3_000_000, 7777, SPLITS[2]);
    }
}

#[test]
fn one_direction_may_end_long_before_the_other() {
    for (theirs_dials, len) in [(false, 5), (true, 5), (false, 200_000), (true, 200_000)] {
        let (mut ours, mut theirs) = connected(theirs_dials, usize::MAX);
        let (plain, lens) = (bytes(len), &[4096]);
        block_on(async {
            let (heard, ()) = join(receive(&mut theirs, lens), send(&mut ours, &plain, lens)).await;
            assert!(heard == plain);
            let (heard, ()) = join(receive(&mut ours, lens), send(&mut theirs, &plain, lens)).await;
            assert!(heard == plain);
        });
        let (mut ours, mut theirs) = connected(theirs_dials, usize::MAX);
        block_on(async {
            let (heard, ()) = join(receive(&mut ours, lens), send(&mut theirs, &plain, lens)).await;
            assert!(heard == plain);
            let (heard, ()) = join(receive(&mut theirs, lens), send(&mut ours, &plain, lens)).await;
            assert!(heard == plain);
        });
    }
}

#[test]
fn a_peer_of_the_other_dialect_is_told_apart_and_libp2p_refuses_it() {
    let theirs = identity(3);
    let config = libp2p::Config::new(&theirs).expect("it can sign");
    let inbound = |io| config.clone().upgrade_inbound(io, "/noise");
    let (dialled, accepted) = meet(|io| dial(io, &BOTH[1..]), inbound);
    let error = why(dialled);
    assert!(matches!(error, Error::OtherDialect(Dialect::Libp2p)), "{error:?}");
    assert!(accepted.is_err(), "who dials has said nothing of itself");

    let outbound = |io| config.clone().upgrade_outbound(io, "/noise");
    let (dialled, accepted) = meet(outbound, |io| listen(io, Dialect::Dep2p));
    assert!(matches!(dialled, Err(libp2p::Error::BadSignature)), "{:?}", dialled.err());
    let error = why(accepted);
    assert!(matches!(error, Error::OtherDialect(Dialect::Libp2p)), "{error:?}");
}
