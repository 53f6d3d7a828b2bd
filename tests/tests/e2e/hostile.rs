//! Clients that break the rules, and a server whose other clients do not notice.

use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, join_all, select};
use futures::{AsyncReadExt, AsyncWriteExt};
use futures_timer::Delay;
use libp2p_swarm::Stream;
use pointsub_swarm::{ServerConfig, ServerStats};

use crate::common::*;
use crate::raw::*;

/// Long enough for an honest peer on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// A server, an honest client with a stream to it, and a hostile peer connected to it.
struct Siege {
    server: Node,
    honest: Node,
    hostile: RawPeer,
}

impl Siege {
    async fn begin() -> Self {
        let server = echo_server(ServerConfig::default().with_read_timeout(PATIENCE)).await;
        let honest = client_of(&server, once()).await;
        check_echo(&honest, server.peer_id(), "before").await;
        let hostile = RawPeer::client().await;
        hostile.dial(address(&server).await).await;
        Self { server, honest, hostile }
    }

    async fn open(&self, name: &'static str) -> Stream {
        self.hostile.open(self.server.peer_id(), name).await.expect("the name is announced")
    }

    fn stats(&self) -> ServerStats {
        self.server.server().stats()
    }

    /// Sends bytes, and waits until the server has ended the stream; returns what it said.
    async fn attack(&self, name: &'static str, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.open(name).await;
        // The server may have ended the stream before it has read all of it.
        let _gone = write(&mut stream, bytes).await;
        let said = read_to_end(&mut stream).await;
        self.stands().await;
        said
    }

    /// The honest client is served on the stream that it had, and the hostile one may try again.
    async fn stands(&self) {
        check_echo(&self.honest, self.server.peer_id(), "during").await;
        assert_eq!(self.honest.client().stats().opens, 1);
        let mut stream = self.open(PLAIN).await;
        write(&mut stream, &plain(b"honest")).await.expect("the server reads");
        assert_eq!(read_plain(&mut stream).await.as_deref(), Some(&b"honest"[..]));
    }
}

pub(crate) const GARBAGE: [&[u8]; 4] = [
    &[0; 64],
    &[0xff; 64],
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    // A REQUEST with id 0.
    &[0, 0, 0, 12, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
];

#[test]
fn garbage_ends_only_the_stream_it_came_on() {
    run(async {
        let siege = Siege::begin().await;
        for (count, garbage) in (1..).zip(GARBAGE) {
            siege.attack(NATIVE, garbage).await;
            assert_eq!(siege.stats().violations, count, "{garbage:?}");
        }
    });
}

#[test]
fn garbage_ends_only_the_plain_stream_it_came_on() {
    run(async {
        let siege = Siege::begin().await;
        // Read as a plain frame, this announces 1.2 GB.
        let said = siege.attack(PLAIN, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(said, b"");
        let said = siege.attack(PLAIN, &[0xff; 64]).await;
        assert_eq!(said, b"");
        assert_eq!(siege.stats().refused, 2);
    });
}

/// W4: the answer comes at the sight of the header.
#[test]
fn a_huge_announced_request_is_answered_before_its_body_comes() {
    run(async {
        let siege = Siege::begin().await;
        let mut stream = siege.open(NATIVE).await;
        let mut header = native(REQUEST, 7, &[], &[]);
        header[..4].copy_from_slice(&u32::MAX.to_be_bytes());
        write(&mut stream, &header).await.expect("the server reads");
        let answer = next_of(&mut stream, RESPONSE).await.expect("an answer");
        assert_eq!((answer.id, answer.flags), (7, 0x40), "not processed");
        assert_eq!(answer.fields[..4], [3, 0, 1, 4], "status: too large");
        assert_eq!(next_of(&mut stream, DRAIN).await.expect("a drain").id, 7);
        assert_eq!(read_to_end(&mut stream).await, b"");
        siege.stands().await;
        assert_eq!(siege.stats().refused, 1);
    });
}

/// W4.
#[test]
fn a_huge_announced_plain_request_closes_the_stream() {
    run(async {
        let siege = Siege::begin().await;
        assert_eq!(siege.attack(PLAIN, &u32::MAX.to_be_bytes()).await, b"");
        let one_too_many = (32 * MIB as u32 + 1).to_be_bytes();
        assert_eq!(siege.attack(PLAIN, &one_too_many).await, b"");
        assert_eq!(siege.stats().refused, 2);
    });
}

/// S1: A message that begins and does not end ends the stream.
#[test]
fn half_a_message_and_then_silence_ends_the_stream() {
    run(async {
        let siege = Siege::begin().await;
        let frame = native(REQUEST, 1, &[], &[7; 100]);
        let native = [1, 16, 60].map(|half| siege.attack(NATIVE, &frame[..half]));
        let frame = plain(&[7; 100]);
        let plain = [1, 4, 60].map(|half| siege.attack(PLAIN, &frame[..half]));
        let (_, said) = futures::join!(join_all(native), join_all(plain));
        assert!(said.concat().is_empty());
        let stats = siege.stats();
        assert_eq!(stats.started, stats.ok, "no handler saw half a message");
    });
}

/// S1: A stream on which nothing is asked is closed.
#[test]
fn a_stream_without_a_request_is_closed() {
    run(async {
        let siege = Siege::begin().await;
        siege.attack(NATIVE, b"").await;
        siege.attack(PLAIN, b"").await;
    });
}

/// W9: a message that ends early is no message.
#[test]
fn half_a_message_and_then_the_end_reaches_no_handler() {
    run(async {
        let siege = Siege::begin().await;
        let frames = [(NATIVE, native(REQUEST, 1, &[], &[7; 100])), (PLAIN, plain(&[7; 100]))];
        for (name, frame) in frames {
            let mut stream = siege.open(name).await;
            write(&mut stream, &frame[..50]).await.expect("the server reads");
            stream.close().await.expect("half a close");
            read_to_end(&mut stream).await;
            siege.stands().await;
        }
        let stats = siege.stats();
        assert_eq!(stats.started, stats.ok, "no handler saw half a message");
        assert_eq!(stats.violations, 2);
    });
}

/// A request and no end of them, on a stream whose answers nobody reads. Returns when the server
/// takes no more for now.
async fn flood(stream: &mut Stream, id: &mut u64) -> bool {
    let body = noise(64 * 1024, 1);
    loop {
        let frame = native(REQUEST, *id + 1, &[], &body);
        let sending = pin!(write(stream, &frame));
        match select(sending, Delay::new(PATIENCE / 4)).await {
            Either::Left((Ok(()), _)) => *id += 1,
            Either::Left((Err(_), _)) => return false,
            Either::Right(_) => return true,
        }
        assert!(*id < 10_000, "the server takes everything and answers into the void");
    }
}

/// S2: A peer that asks and never reads costs a bounded amount, then its stream.
#[test]
fn a_peer_that_never_reads_its_answers_is_cut_off() {
    run(async {
        let config = ServerConfig::default().with_write_timeout(PATIENCE);
        let server = echo_server(config).await;
        let honest = client_of(&server, once()).await;
        let hostile = RawPeer::client().await;
        let peer = hostile.dial(address(&server).await).await;
        let mut stream = hostile.open(peer, NATIVE).await.expect("announced");
        flood(&mut stream, &mut 0).await;
        check_echo(&honest, server.peer_id(), "during").await;
        // Writing fails once the server has given the stream up.
        let end = async { while write(&mut stream, &[0; 1024]).await.is_ok() {} };
        within(20 * PATIENCE, end).await;
        check_echo(&honest, server.peer_id(), "after").await;
    });
}

/// S14: nor does such a peer hold up the end.
#[test]
fn a_server_stops_although_a_peer_never_reads_its_answers() {
    run(async {
        let server = echo_server(ServerConfig::default()).await;
        let hostile = RawPeer::client().await;
        let peer = hostile.dial(address(&server).await).await;
        let mut stream = hostile.open(peer, NATIVE).await.expect("announced");
        assert!(flood(&mut stream, &mut 0).await, "it is stuck");
        within(20 * PATIENCE, server.server().stop(PATIENCE)).await;
    });
}

/// S8, S21: handlers at work on a stream that breaks are stopped, and their places are free
/// again.
#[test]
fn requests_at_work_on_a_broken_stream_free_their_places() {
    run(async {
        let server = start(ServerConfig::default().with_max_concurrent_requests(2), once());
        let server = server.await;
        let alive = Alive::default();
        let at_work = alive.clone();
        let handler = move |_| hang(at_work.clone());
        server.server().register(&echo_name(), handler).expect("first");
        let hostile = RawPeer::client().await;
        let peer = hostile.dial(address(&server).await).await;
        for round in 1..=4 {
            let mut stream = hostile.open(peer, NATIVE).await.expect("announced");
            for id in 1..=2 {
                write(&mut stream, &native(REQUEST, id, &[], b"x")).await.expect("it reads");
            }
            within(20 * PATIENCE, until(|| alive.now() == 2)).await;
            write(&mut stream, &[0; 64]).await.expect("it reads");
            read_to_end(&mut stream).await;
            within(20 * PATIENCE, until(|| alive.dropped() == 2 * round)).await;
            within(20 * PATIENCE, until(|| server.server().stats().in_flight == 0)).await;
        }
    });
}

/// A body that claims to inflate to far more than it could is refused without inflating it.
#[test]
fn a_compression_bomb_is_refused() {
    run(async {
        let siege = Siege::begin().await;
        let mut stream = siege.open(NATIVE).await;
        let size = [2, 0, 4, 2, 0, 0, 0];
        let mut bomb = native(REQUEST, 1, &size, &[0x4b; 64]);
        bomb[5] = 1;
        write(&mut stream, &bomb).await.expect("the server reads");
        let answer = next_of(&mut stream, RESPONSE).await.expect("an answer");
        assert_eq!((answer.id, answer.flags), (1, 0x40), "not processed");
        assert_eq!(answer.fields[..4], [3, 0, 1, 10], "status: bad request");
        // The stream goes on.
        write(&mut stream, &native(REQUEST, 2, &[], b"fine")).await.expect("the server reads");
        assert_eq!(next_of(&mut stream, RESPONSE).await.expect("an answer").body, b"fine");
        let mut rest = [0];
        stream.close().await.expect("half a close");
        assert_eq!(stream.read(&mut rest).await.expect("the end"), 0);
        siege.stands().await;
    });
}
