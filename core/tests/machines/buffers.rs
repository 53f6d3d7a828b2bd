//! Buffers are bounded by the bytes in flight, not by the number of streams, and those of large
//! bodies are used again.

use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use pointsub_core::connection::ServerStreamEvent;
use pointsub_core::endpoint::Admission;
use pointsub_core::wire::{BufferPool, Buffers, Decoder, Flags, Kind, Outbox};
use pointsub_core::{Body, Format, ProtocolName, ServerConfig, StreamEvent};

use crate::support::{Attached, PROTOCOL, ms, peer};

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

/// Lends what it was given, and notes what is asked for.
#[derive(Debug, Default)]
struct Home {
    spare: Mutex<Vec<Vec<u8>>>,
    asked: Mutex<Vec<(usize, usize)>>,
}

impl Home {
    /// With one buffer, in which something is left of its last use.
    fn with(buffer: Vec<u8>) -> Arc<Self> {
        Arc::new(Self { spare: Mutex::new(vec![buffer]), asked: Mutex::default() })
    }

    fn spare(&self) -> Vec<usize> {
        self.spare.lock().expect("no panic").iter().map(Vec::capacity).collect()
    }
}

impl Buffers for Home {
    fn take(&self, len: usize, room: usize) -> Option<Vec<u8>> {
        self.asked.lock().expect("no panic").push((len, room));
        self.spare.lock().expect("no panic").pop_if(|buffer| buffer.capacity() >= len)
    }

    fn give(&self, buffer: Vec<u8>) {
        self.spare.lock().expect("no panic").push(buffer);
    }
}

/// Reads a plain frame of `len` sevens, of which the first ones come with its header.
fn read(home: &Arc<Home>, len: usize, pushed: usize) -> Bytes {
    let mut decoder = Decoder::new(Format::Plain, 4 * KIB * KIB).with_buffers(home.clone());
    let mut begin = (len as u32).to_be_bytes().to_vec();
    begin.resize(4 + pushed, 7);
    decoder.push(begin.into());
    let frame = loop {
        if let Some(frame) = decoder.next_frame().expect("it fits") {
            break frame;
        }
        let space = decoder.space().expect("more is to come");
        space.fill(7);
        let n = space.len();
        decoder.filled(n);
    };
    assert!(frame.body.len() == len && frame.body.iter().all(|byte| *byte == 7), "{len} bytes");
    frame.body
}

#[test]
fn a_large_body_is_read_into_a_spare_buffer_which_comes_back_when_nobody_has_it() {
    for (initialised, pushed) in [(300 * KIB, 0), (300 * KIB, 100 * KIB), (10, 0), (10, 100 * KIB)]
    {
        let mut buffer = Vec::with_capacity(300 * KIB);
        buffer.resize(initialised, 0xee);
        let home = Home::with(buffer);
        let body = read(&home, 200 * KIB, pushed);
        assert_eq!(*home.asked.lock().expect("no panic"), [(200 * KIB, 64 * KIB)]);
        assert_eq!(home.spare(), []);
        let part = body.slice(5..10);
        drop(body);
        assert_eq!(home.spare(), [], "somebody has a part of it");
        drop(part);
        assert_eq!(home.spare(), [300 * KIB]);
    }
}

#[test]
fn without_a_spare_buffer_one_grows_and_all_of_them_are_used_again() {
    let home = Arc::<Home>::default();
    let body = read(&home, KIB * KIB, 0);
    let rooms = [64 * KIB, 512 * KIB, KIB * KIB];
    assert_eq!(*home.asked.lock().expect("no panic"), rooms.map(|room| (KIB * KIB, room)));
    assert_eq!(home.spare(), rooms[..2]);
    drop(body);
    assert_eq!(home.spare(), rooms);
    drop(read(&home, KIB * KIB, 0));
    assert_eq!(home.asked.lock().expect("no panic").len(), 4, "no further one");
}

/// Or whoever announces a body and sends nothing would hold more than a server counts.
#[test]
fn a_spare_buffer_counts_as_the_whole_body_from_the_beginning() {
    for (spare, held) in [(300 * KIB, 200 * KIB), (100 * KIB, 64 * KIB)] {
        let home = Home::with(vec![0; spare]);
        let mut decoder = Decoder::new(Format::Plain, 4 * KIB * KIB).with_buffers(home);
        decoder.push((200 * KIB as u32).to_be_bytes().to_vec().into());
        assert_eq!(decoder.next_frame(), Ok(None));
        assert_eq!(decoder.buffered(), held);
        assert_eq!(decoder.space().expect("more is to come").len(), 64 * KIB);
    }
}

/// Nor is one lent that the server has no room for: then the buffer grows as if there were none.
#[test]
fn a_server_takes_no_spare_buffer_that_does_not_fit() {
    let (name, now) = (ProtocolName::new(PROTOCOL).expect("a usable name"), ms(0));
    let config = ServerConfig::default()
        .with_max_block_size(KIB * KIB)
        .with_max_memory_per_stream(KIB * KIB)
        .with_max_memory_per_peer(1500 * KIB)
        .with_max_memory(1500 * KIB);
    let mut admission = Admission::new(&config);
    admission.register(&name).expect("first");
    let home = Arc::<Home>::default();
    let [mut slow, mut other] = [1, 2].map(|_| {
        let stream = Attached::new(peer(1), &name, Format::Plain, &config, &mut admission, now);
        stream.with_buffers(home.clone())
    });
    let admission = &mut admission;
    let receives = |stream: &mut Attached, admission: &mut Admission, bytes: Vec<u8>| {
        stream.handle(StreamEvent::Received(bytes.into()), admission, now);
        stream.poll_event(admission, now)
    };
    let begin = |len: usize| (len as u32).to_be_bytes().to_vec();
    let asked = || std::mem::take(&mut *home.asked.lock().expect("no panic"));

    assert_eq!(receives(&mut slow, admission, begin(KIB * KIB)), None);
    assert_eq!(asked(), [(KIB * KIB, 64 * KIB)]);
    let whole = [begin(800 * KIB), vec![7; 800 * KIB]].concat();
    let Some(ServerStreamEvent::Request { call, .. }) = receives(&mut other, admission, whole)
    else {
        panic!("a whole request");
    };
    assert_eq!(asked(), [], "it came in one piece");
    home.give(vec![0; KIB * KIB]);
    assert_eq!(receives(&mut slow, admission, vec![7; 64 * KIB]), None);
    assert_eq!((asked(), admission.stats().memory), (vec![], 1312 * KIB as u64));
    other.respond(call, Ok(Body::uncompressed("done".into())), admission, now);
    assert_eq!(receives(&mut slow, admission, vec![7; 448 * KIB]), None);
    assert_eq!(asked(), [(KIB * KIB, KIB * KIB)], "now there is room");
}

#[test]
fn a_body_that_is_kept_does_not_keep_the_others() {
    let home = Home::with(vec![0; 300 * KIB]);
    let body = read(&home, 200 * KIB, 0);
    let others = Arc::downgrade(&home);
    drop(home);
    assert!(others.upgrade().is_none());
    drop(body);
}

#[test]
fn a_small_body_needs_no_buffer_of_its_own() {
    let home = Home::with(vec![0; 300 * KIB]);
    drop(read(&home, 60 * KIB, 60 * KIB));
    assert!(home.asked.lock().expect("no panic").is_empty());
}

/// Each is named by its first byte.
fn buffer(name: u8, len: usize) -> Vec<u8> {
    let mut buffer = Vec::with_capacity(len);
    buffer.push(name);
    buffer
}

fn names(buffers: &[Vec<u8>]) -> Vec<u8> {
    buffers.iter().map(|buffer| buffer[0]).collect()
}

#[test]
fn the_smallest_spare_buffer_that_fits_is_taken_and_of_those_the_last() {
    let mut pool = BufferPool::new(1000);
    for (name, len) in [(1, 100), (2, 200), (3, 100), (4, 105)] {
        assert!(pool.give(buffer(name, len)).is_empty());
    }
    for (len, name) in [
        (201, None),
        (177, None),
        (88, None),
        (89, Some(3)),
        (95, Some(1)),
        (95, Some(4)),
        (95, None),
        (178, Some(2)),
    ] {
        assert_eq!(pool.take(len).map(|buffer| buffer[0]), name, "for {len}");
    }
}

#[test]
fn spare_buffers_stay_within_their_limit_and_the_oldest_go_first() {
    let mut pool = BufferPool::new(1000);
    for name in 1..=4 {
        assert!(pool.give(buffer(name, 250)).is_empty());
    }
    assert_eq!(names(&pool.give(buffer(5, 251))), [1, 2]);
    assert_eq!(names(&pool.make_way(249)), [], "it fits beside them");
    assert_eq!(names(&pool.make_way(250)), [3]);
    assert_eq!(names(&pool.give(buffer(6, 1001))), [6], "too large to be kept");
    assert!(pool.take(250).is_some(), "a buffer that was taken counts no longer");
    assert_eq!(names(&pool.give(buffer(7, 749))), []);
    assert_eq!(names(&pool.give(buffer(8, 1000))), [5, 7], "as large as all may be");
    assert_eq!(names(&pool.make_way(usize::MAX)), [8]);
}
