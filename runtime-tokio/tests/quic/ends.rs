//! How streams and connections end, and what the other end reads then.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures::channel::oneshot;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use libp2p_core::muxing::{StreamMuxerExt, SubstreamBox};
use libp2p_identity::Keypair;

use crate::support::{
    NEW, Node, Pair, close, inbound, outbound, pair, run, runtime, stream, why, wired,
};

const MIB: usize = 1024 * 1024;

/// Reads until something other than bytes comes, which must be an error, again and again.
async fn breaks(stream: &mut SubstreamBox) -> ErrorKind {
    let mut bytes = Vec::new();
    let error = stream.read_to_end(&mut bytes).await.expect_err("no end");
    let again = stream.read(&mut [0]).await.expect_err("still no end");
    assert_eq!(error.kind(), again.kind());
    error.kind()
}

#[test]
fn a_stream_that_is_dropped_breaks_for_its_peer() {
    run(async {
        let Pair { mut dialled, mut accepted, nodes: _nodes } = pair().await;
        for (len, is_flushed) in [(0, true), (1, true), (1, false), (MIB / 4, true)] {
            let (mut one, mut two) = stream(&mut dialled, &mut accepted).await;
            one.write_all(&vec![7; len]).await.expect("written");
            if is_flushed {
                one.flush().await.expect("flushed");
            }
            drop(one);
            assert_eq!(breaks(&mut two).await, ErrorKind::ConnectionReset, "{len} {is_flushed}");
        }
        // From the other side too, where the stream was not opened.
        let (mut one, two) = stream(&mut dialled, &mut accepted).await;
        drop(two);
        assert_eq!(breaks(&mut one).await, ErrorKind::ConnectionReset);
    });
}

#[test]
fn nobody_writes_to_a_stream_that_was_dropped() {
    run(async {
        let Pair { mut dialled, mut accepted, nodes: _nodes } = pair().await;
        let (mut one, two) = stream(&mut dialled, &mut accepted).await;
        drop(two);
        let error = loop {
            if let Err(error) = one.write_all(&[0; 1024]).await {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let error = one.close().await.expect_err("nor is it closed in good order");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

/// Protocols of libp2p end with a message, and drop the stream behind it.
#[test]
fn the_last_words_of_a_stream_are_read_before_it_breaks() {
    run(async {
        let Pair { mut dialled, mut accepted, nodes: _nodes } = pair().await;
        for _ in 0..20 {
            let (mut one, mut two) = stream(&mut dialled, &mut accepted).await;
            one.write_all(b"last words").await.expect("written");
            one.flush().await.expect("flushed");
            drop(one);
            let mut words = [0; 10];
            two.read_exact(&mut words).await.expect("they come");
            assert_eq!(&words, b"last words");
            assert_eq!(breaks(&mut two).await, ErrorKind::ConnectionReset);
        }
    });
}

#[test]
fn a_stream_that_is_closed_ends_and_the_other_direction_goes_on() {
    run(async {
        let Pair { mut dialled, mut accepted, nodes: _nodes } = pair().await;
        let (mut one, mut two) = stream(&mut dialled, &mut accepted).await;
        one.write_all(b"there").await.expect("written");
        one.close().await.expect("closed");
        one.close().await.expect("closing again harms nobody");
        let error = one.write_all(b"more").await.expect_err("it is closed");
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        let mut text = String::new();
        two.read_to_string(&mut text).await.expect("text, then the end");
        assert_eq!((text.as_str(), two.read(&mut [0]).await.expect("still the end")), ("there", 0));
        two.write_all(b"back").await.expect("written");
        two.close().await.expect("closed");
        text.clear();
        one.read_to_string(&mut text).await.expect("text, then the end");
        assert_eq!(text, "back");
    });
}

#[test]
fn closing_a_stream_waits_until_the_peer_has_everything() {
    run(async {
        let (Pair { mut dialled, mut accepted, nodes: _nodes }, wire) = wired().await;
        let (mut one, mut two) = stream(&mut dialled, &mut accepted).await;
        wire.cut_back(true);
        one.write_all(b"there").await.expect("written");
        assert!(one.close().now_or_never().is_none());
        let mut text = String::new();
        two.read_to_string(&mut text).await.expect("text, then the end");
        assert_eq!(text, "there");
        assert!(one.close().now_or_never().is_none(), "the peer could not say so");
        wire.cut_back(false);
        one.close().await.expect("now it could");
    });
}

#[test]
fn a_stream_is_not_closed_when_its_connection_breaks_before() {
    run(async {
        let (Pair { mut dialled, mut accepted, nodes: _nodes }, wire) = wired().await;
        let (mut one, _two) = stream(&mut dialled, &mut accepted).await;
        wire.cut();
        one.write_all(b"nowhere").await.expect("written");
        assert!(one.close().now_or_never().is_none());
        drop(dialled);
        let error = one.close().await.expect_err("nobody has it");
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    });
}

#[test]
fn a_lost_connection_is_no_end_of_a_stream() {
    run(async {
        let Pair { mut dialled, mut accepted, nodes: _nodes } = pair().await;
        let (mut one, mut two) = stream(&mut dialled, &mut accepted).await;
        let (mut finished, mut read) = stream(&mut dialled, &mut accepted).await;
        one.write_all(b"half").await.expect("written");
        finished.write_all(b"whole").await.expect("written");
        finished.close().await.expect("closed");
        // It has come by then, since it was sent before that.
        drop(dialled);
        inbound(&mut accepted).await.expect_err("the connection is over");
        let mut bytes = Vec::new();
        read.read_to_end(&mut bytes).await.expect("what came in good order");
        assert_eq!(bytes, b"whole");
        let mut half = [0; 4];
        two.read_exact(&mut half).await.expect("what came");
        assert_eq!((&half, breaks(&mut two).await), (b"half", ErrorKind::ConnectionAborted));
        assert_eq!(breaks(&mut one).await, ErrorKind::ConnectionAborted, "at this end too");
    });
}

#[test]
fn closing_a_connection_lets_closed_streams_through() {
    run(async {
        let Pair { mut dialled, mut accepted, nodes: _nodes } = pair().await;
        let (mut one, mut two) = stream(&mut dialled, &mut accepted).await;
        let (mut kept, mut too) = stream(&mut dialled, &mut accepted).await;
        let body = vec![7; 4 * MIB];
        let reader = tokio::spawn(async move {
            let (mut bytes, mut more) = (Vec::new(), Vec::new());
            two.read_to_end(&mut bytes).await.expect("bytes, then the end");
            too.read_to_end(&mut more).await.expect("bytes, then the end");
            (bytes, more)
        });
        one.write_all(&body).await.expect("written");
        assert!(one.close().now_or_never().is_none(), "it is still on its way");
        drop(one);
        kept.write_all(b"more").await.expect("written");
        assert!(kept.close().now_or_never().is_none(), "it is still on its way");
        close(dialled).await.expect("closed");
        kept.close().await.expect("by now it has come");
        let (bytes, more) = reader.await.expect("a task");
        assert!(bytes == body && more == b"more");
        let error = inbound(&mut accepted).await.expect_err("the connection is over");
        assert!(why(&error).contains("ApplicationClosed"), "{error:?}");
    });
}

/// Somebody's whole runtime ends right after the connection was closed.
#[test]
fn the_peer_was_told_when_a_connection_is_closed() {
    run(async {
        for _ in 0..20 {
            let mut listener = Node::new();
            let (_, at) = listener.listen("/ip4/127.0.0.1/udp/0/quic-v1").await;
            let elsewhere = std::thread::spawn(move || {
                let runtime = runtime();
                runtime.block_on(async {
                    let (_, mut muxer) = Node::new().dial(&at, NEW).await.expect("a connection");
                    outbound(&mut muxer).await.expect("a stream").close().await.expect("closed");
                    close(muxer).await.expect("closed");
                });
                runtime.shutdown_background();
            });
            let mut accepted = listener.accept().await.expect("a connection").muxer;
            let stream = inbound(&mut accepted).await.expect("a stream");
            let error = inbound(&mut accepted).await.expect_err("the connection is over");
            assert!(why(&error).contains("ApplicationClosed"), "{error:?}");
            drop(stream);
            elsewhere.join().expect("a thread");
        }
    });
}

#[test]
fn the_peer_is_told_when_a_connection_is_dropped() {
    run(async {
        let Pair { mut dialled, mut accepted, nodes: _nodes } = pair().await;
        // Whoever has a stream does not keep the connection.
        let _streams = stream(&mut dialled, &mut accepted).await;
        drop(accepted);
        let error = inbound(&mut dialled).await.expect_err("the connection is over");
        assert!(why(&error).contains("ApplicationClosed"), "{error:?}");
        close(dialled).await.expect("there is nothing to do");
    });
}

#[test]
fn a_peer_that_vanishes_is_noticed_at_both_ends() {
    run(async {
        let (Pair { mut dialled, mut accepted, nodes: _nodes }, wire) = wired().await;
        let (_one, mut two) = stream(&mut dialled, &mut accepted).await;
        wire.cut();
        for muxer in [&mut dialled, &mut accepted] {
            let error = inbound(muxer).await.expect_err("nobody is there");
            assert!(why(&error).contains("TimedOut"), "{error:?}");
        }
        assert_eq!(breaks(&mut two).await, ErrorKind::ConnectionAborted);
        close(accepted).await.expect("nobody waits for somebody who is not there");
    });
}

/// A node that starts again does not have its peers wait.
#[test]
fn a_peer_that_has_started_again_is_noticed() {
    run(async {
        let keypair = Keypair::generate_ed25519();
        let (address, at) = oneshot::channel();
        let (die, death) = oneshot::channel::<()>();
        let former = keypair.clone();
        let former_life = std::thread::spawn(move || {
            let runtime = runtime();
            let forgotten = runtime.block_on(async {
                let mut node = Node::of(&former);
                let (_, at) = node.listen("/ip4/127.0.0.1/udp/0/quic-v1").await;
                address.send(at).expect("somebody dials");
                let accepted = node.accept().await.expect("a connection");
                death.await.expect("it comes");
                (node, accepted.muxer)
            });
            // Nothing can be sent any more.
            runtime.shutdown_timeout(Duration::from_secs(10));
            drop(forgotten);
        });
        let at = at.await.expect("an address");
        let (_, mut dialled) = Node::new().dial(&at, NEW).await.expect("a connection");
        die.send(()).expect("it lives");
        former_life.join().expect("a thread");
        let mut node = Node::of(&keypair);
        node.listen(&at.to_string()).await;
        let error = inbound(&mut dialled).await.expect_err("the connection is over");
        assert!(why(&error).contains("Reset"), "{error:?}");
    });
}

#[test]
fn streams_that_nobody_reads_keep_nothing_from_others() {
    run(async {
        let Pair { mut dialled, mut accepted, nodes: _nodes } = pair().await;
        let written = Arc::<AtomicUsize>::default();
        let mut unread = Vec::new();
        for _ in 0..2 {
            let (mut one, two) = stream(&mut dialled, &mut accepted).await;
            unread.push(two);
            let written = written.clone();
            tokio::spawn(async move {
                for _ in 0..10 * MIB / 4096 {
                    one.write_all(&[7; 4096]).await.expect("room, or none for ever");
                    written.fetch_add(4096, Ordering::SeqCst);
                }
                std::future::pending::<()>().await;
            });
        }
        let (mut one, mut two) = stream(&mut dialled, &mut accepted).await;
        tokio::spawn(async move {
            let mut bytes = [0; 1024];
            while two.read_exact(&mut bytes).await.is_ok() {
                two.write_all(&bytes).await.expect("written");
            }
        });
        // Until the others write no more, and well beyond.
        let (mut last, mut unchanged) = (0, 0);
        while unchanged < 200 {
            one.write_all(&[8; 1024]).await.expect("written");
            one.read_exact(&mut [0; 1024]).await.expect("an echo");
            let now = written.load(Ordering::SeqCst);
            unchanged = if now == last { unchanged + 1 } else { 0 };
            last = now;
        }
    });
}

#[test]
fn the_peer_waits_before_it_opens_too_many_streams() {
    run(async {
        let Pair { mut dialled, mut accepted, nodes: _nodes } = pair().await;
        let mut streams = Vec::new();
        let next = poll_fn(|cx| {
            while let Poll::Ready(stream) = dialled.poll_outbound_unpin(cx) {
                streams.push(stream.expect("a stream"));
            }
            Poll::Ready(())
        });
        next.await;
        assert_eq!(streams.len(), 256);
        // Some end, and there is room for others.
        for mut ours in streams.drain(..64) {
            ours.write_all(b"!").await.expect("written");
            ours.close().await.expect("closed");
            let mut theirs = inbound(&mut accepted).await.expect("a stream");
            theirs.close().await.expect("closed");
            theirs.read_to_end(&mut Vec::new()).await.expect("the end");
            ours.read_to_end(&mut Vec::new()).await.expect("the end");
        }
        outbound(&mut dialled).await.expect("a stream");
    });
}
