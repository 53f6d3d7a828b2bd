//! Buffers are bounded by the bytes in flight, not by the number of streams.

use bytes::{Bytes, BytesMut};
use pointsub_core::Format;
use pointsub_core::frame::{Decoder, Flags, Kind, Outbox};

const KIB: usize = 1024;

/// S5: once written, a batch leaves at most the configured buffer behind; a larger one goes
/// with its write.
#[test]
fn an_outbox_keeps_no_more_than_it_may() {
    for keep in [0, 1000, 4096] {
        let mut outbox = Outbox::new(keep);
        for len in [10, 500, 2000, 5000, 30, 16 * KIB, 0, 40 * KIB, 700, 3000] {
            for _ in 0..3 {
                outbox.native(
                    Kind::Request,
                    Flags::default(),
                    1,
                    Bytes::from(vec![7; len]),
                    |_| {},
                );
            }
            let mut writes = Vec::new();
            while let Some(write) = outbox.next_write() {
                writes.push(write);
                assert!(outbox.spare() <= keep, "{} kept of {keep}", outbox.spare());
            }
            drop(writes);
            assert!(outbox.spare() <= keep);
        }
    }
}

/// S5: A batch that is as large as the last one finds its whole buffer there at once.
#[test]
fn the_next_batch_begins_with_a_buffer_of_the_size_of_the_last() {
    let mut outbox = Outbox::new(4096);
    let add = |outbox: &mut Outbox| {
        let body = Bytes::from(vec![7; 1000]);
        outbox.native(Kind::Request, Flags::default(), 1, body, |_| {});
    };
    (0..30).for_each(|_| add(&mut outbox));
    let first = outbox.next_write().expect("thirty frames");
    add(&mut outbox);
    assert_eq!(outbox.spare(), first.len() - 1016);
}

/// S5: an idle decoder does not hold on to the block that was read last.
#[test]
fn a_decoder_without_input_lets_go_of_what_was_read() {
    let block = BytesMut::from(&[0, 0, 0, 1, 7][..]).freeze();
    let mut decoder = Decoder::new(Format::Plain, KIB);
    decoder.push(block.clone());
    assert!(decoder.has_input());
    let frame = decoder.next_frame().expect("a frame").expect("a whole one");
    assert!(!block.is_unique(), "the body is a slice of it");
    drop(frame);
    assert_eq!(decoder.next_frame(), Ok(None));
    assert!(!decoder.has_input());
    assert!(block.is_unique(), "nobody else holds it");
}
