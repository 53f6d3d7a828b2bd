//! The codec: bytes split anywhere, limits to the byte, memory, copies.

use bytes::{Bytes, BytesMut};
use pointsub_core::wire::{Decoder, Flags, Frame, Kind, MAX_HEAD, Outbox};
use pointsub_core::{Format, FrameError};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// xorshift64*: enough for tests, and the same on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn bytes(&mut self, len: usize) -> Bytes {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

fn written(outbox: &mut Outbox) -> Bytes {
    let mut bytes = BytesMut::new();
    while let Some(write) = outbox.next_write() {
        bytes.extend_from_slice(&write);
    }
    bytes.freeze()
}

fn native(kind: Kind, id: u64, fields: &[u8], body: Bytes) -> Bytes {
    let mut outbox = Outbox::default();
    outbox.native(kind, Flags::default(), id, body, |head| {
        if !fields.is_empty() {
            head.bytes(0x80, fields);
        }
    });
    written(&mut outbox)
}

fn plain(body: Bytes) -> Bytes {
    let mut outbox = Outbox::default();
    outbox.plain(body);
    written(&mut outbox)
}

/// The first bytes of a native request.
fn announce(length: u32, fields: u16) -> Bytes {
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend([0x02, 0]);
    bytes.extend(fields.to_be_bytes());
    bytes.extend(7_u64.to_be_bytes());
    bytes.into()
}

fn one(format: Format, max_body: usize, bytes: Bytes) -> Result<Option<Frame>, FrameError> {
    let mut decoder = Decoder::new(format, max_body);
    decoder.push(bytes);
    decoder.next_frame()
}

fn all(decoder: &mut Decoder) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some(frame) = decoder.next_frame().expect("well-formed") {
        frames.push(frame);
    }
    frames
}

/// Some frames of all sizes, one after the other.
fn stream(format: Format, random: &mut Random) -> Bytes {
    const SIZES: [usize; 10] = [0, 1, 15, 16, 17, 1000, 4 * KIB, 40 * KIB, 64 * KIB, 150 * KIB];
    let mut outbox = Outbox::default();
    for id in 0..random.below(12) as u64 {
        let size = SIZES[random.below(SIZES.len())];
        let body = random.bytes(size);
        let fields = random.below(300);
        let fields = random.bytes(fields);
        match format {
            Format::Plain => outbox.plain(body),
            Format::Native => outbox.native(Kind::Request, Flags(0x80), id, body, |head| {
                head.bytes(0x82, &fields);
                head.u32(0x01, 5);
            }),
        }
    }
    written(&mut outbox)
}

/// W1, W9: in any split.
#[test]
fn random_splits_give_equal_frames() {
    let mut random = Random(1);
    for round in 0..60 {
        for format in [Format::Plain, Format::Native] {
            let bytes = stream(format, &mut random);
            let mut decoder = Decoder::new(format, MIB);
            decoder.push(bytes.clone());
            let whole = all(&mut decoder);
            assert_eq!(decoder.buffered(), 0);

            let longest = [3, 20, 5000, 100 * KIB][round % 4];
            let mut decoder = Decoder::new(format, MIB);
            let (mut rest, mut split) = (bytes, Vec::new());
            while !rest.is_empty() {
                let len = (1 + random.below(longest)).min(rest.len());
                decoder.push(rest.split_to(len));
                split.extend(all(&mut decoder));
            }
            assert!(!decoder.mid_frame());
            assert!(split == whole, "round {round}, {format:?}");
        }
    }
}

#[test]
fn pushes_without_taking_frames_lose_nothing() {
    let bytes = stream(Format::Native, &mut Random(5));
    let mut decoder = Decoder::new(Format::Native, MIB);
    decoder.push(bytes.clone());
    let whole = all(&mut decoder);
    assert!(whole.len() > 2);
    let mut decoder = Decoder::new(Format::Native, MIB);
    for chunk in bytes.chunks(10 * KIB) {
        decoder.push(Bytes::copy_from_slice(chunk));
    }
    assert!(all(&mut decoder) == whole);
}

#[test]
fn a_body_read_into_its_own_buffer_equals_one_that_was_pushed() {
    let mut random = Random(2);
    for format in [Format::Plain, Format::Native] {
        for size in [64 * KIB, 64 * KIB + 1, 200 * KIB, 3 * MIB + 17] {
            let body = random.bytes(size);
            let bytes = match format {
                Format::Plain => plain(body.clone()),
                Format::Native => native(Kind::Response, 9, b"fields", body.clone()),
            };
            let pushed = one(format, 4 * MIB, bytes.clone()).expect("fits").expect("is whole");
            assert_eq!(pushed.body, body);

            let mut decoder = Decoder::new(format, 4 * MIB);
            let mut rest = bytes;
            // A first read that ends somewhere inside the body.
            decoder.push(rest.split_to(format.header_len() + 9 + random.below(30 * KIB)));
            assert_eq!(decoder.next_frame(), Ok(None));
            let mut reads = 0;
            while let Some(space) = decoder.space() {
                let most = 1 + random.below(100 * KIB);
                let n = space.len().min(rest.len()).min(most);
                space[..n].copy_from_slice(&rest.split_to(n));
                decoder.filled(n);
                reads += 1;
                if rest.is_empty() {
                    break;
                }
                assert_eq!(decoder.next_frame(), Ok(None));
            }
            assert!(reads > 0, "{size} bytes are read without a copy");
            let read = decoder.next_frame().expect("fits").expect("is whole");
            assert!(read == pushed, "{format:?}, {size}");
            assert!(!decoder.mid_frame());
            assert!(decoder.space().is_none());
        }
    }
}

#[test]
fn space_and_pushes_mix() {
    let body = Random(3).bytes(300 * KIB);
    let mut rest = plain(body.clone());
    let mut decoder = Decoder::new(Format::Plain, MIB);
    for turn in 0.. {
        let n = rest.len().min(7000);
        match decoder.space() {
            Some(space) if turn % 2 == 0 => {
                let n = n.min(space.len());
                space[..n].copy_from_slice(&rest.split_to(n));
                decoder.filled(n);
            }
            _ => decoder.push(rest.split_to(n)),
        }
        if let Some(frame) = decoder.next_frame().expect("fits") {
            assert!(frame.body == body);
            break;
        }
    }
    assert!(rest.is_empty());
}

#[test]
fn the_last_bytes_of_a_body_may_bring_the_next_frame() {
    let large = Random(4).bytes(100 * KIB);
    let mut bytes = BytesMut::from(&plain(large.clone())[..]);
    bytes.extend_from_slice(&plain(Bytes::from_static(b"next")));
    let mut rest = bytes.freeze();
    let mut decoder = Decoder::new(Format::Plain, MIB);
    decoder.push(rest.split_to(50 * KIB));
    assert!(all(&mut decoder).is_empty());
    decoder.push(rest);
    let frames = all(&mut decoder);
    assert_eq!(frames.len(), 2);
    assert!(frames[0].body == large && frames[1].body == b"next"[..]);
}

/// W3: both formats.
#[test]
fn the_limit_holds_to_the_byte() {
    for max in [0, 1, 255, 64 * KIB, 64 * KIB + 1, MIB] {
        let body = Bytes::from(vec![7; max]);
        let whole = one(Format::Plain, max, plain(body.clone())).expect("fits").expect("whole");
        assert_eq!(whole.body.len(), max);
        let whole = native(Kind::Request, 7, b"", body.clone());
        let whole = one(Format::Native, max, whole).expect("fits").expect("whole");
        assert_eq!(whole.body.len(), max);
        // Fields do not count against it.
        let whole = native(Kind::Request, 7, &[1; 500], body);
        let whole = one(Format::Native, max, whole).expect("fits").expect("whole");
        assert_eq!((whole.body.len(), whole.head.len()), (max, 503));

        let too_large = |id| {
            let (announced, limit) = (max as u64 + 1, max as u64);
            Err(FrameError::TooLarge { id, request: true, announced, limit })
        };
        let header = Bytes::from((max as u32 + 1).to_be_bytes().to_vec());
        assert_eq!(one(Format::Plain, max, header), too_large(0));
        assert_eq!(one(Format::Native, max, announce(max as u32 + 1 + 12, 0)), too_large(7));
        assert_eq!(one(Format::Native, max, announce(max as u32 + 1 + 512, 500)), too_large(7));
    }
}

#[test]
fn fields_and_lengths_hold_to_the_byte() {
    let most = MAX_HEAD as u16;
    let mut whole = announce(u32::from(most) + 12, most).to_vec();
    whole.resize(16 + MAX_HEAD, 0);
    let frame = one(Format::Native, 0, whole.into()).expect("fits").expect("whole");
    assert_eq!((frame.head.len(), frame.body.len()), (MAX_HEAD, 0));

    let impossible = |length, head| Err(FrameError::Length { length, head });
    let length = u32::from(most) + 13;
    assert_eq!(one(Format::Native, MIB, announce(length, most + 1)), impossible(length, most + 1));
    assert_eq!(one(Format::Native, MIB, announce(11, 0)), impossible(11, 0));
    assert_eq!(one(Format::Native, MIB, announce(16, 5)), impossible(16, 5));
    assert_eq!(one(Format::Native, MIB, announce(0, 0)), impossible(0, 0));
}

#[test]
fn the_writer_of_fields_stays_within_their_limit() {
    for (len, count) in [(MAX_HEAD, 1), (MAX_HEAD - 3, 1), (MAX_HEAD + 1, 1), (4000, 4), (1000, 16)]
    {
        let mut outbox = Outbox::default();
        outbox.native(Kind::Request, Flags::default(), 1, Bytes::new(), |head| {
            for _ in 0..count {
                head.bytes(0x82, &vec![1; len]);
            }
        });
        let whole = one(Format::Native, 0, written(&mut outbox)).expect("fits").expect("whole");
        let fields = (MAX_HEAD / (len + 3)).min(count);
        assert_eq!(whole.head.len(), fields * (len + 3), "{count} fields of {len} bytes");
    }
}

#[test]
fn the_writer_of_fields_leaves_out_what_has_no_room() {
    for first in [MAX_HEAD - 3, MAX_HEAD - 4, MAX_HEAD - 5, MAX_HEAD - 6] {
        let mut outbox = Outbox::default();
        outbox.native(Kind::Request, Flags::default(), 1, Bytes::new(), |head| {
            head.bytes(0x82, &vec![1; first]);
            head.u8(0x83, 1);
            head.u32(0x84, 1);
        });
        let whole = one(Format::Native, 0, written(&mut outbox));
        assert!(matches!(whole, Ok(Some(_))), "{first}: {whole:?}");
    }
}

/// W4: nothing is allocated for a length.
#[test]
fn an_announcement_costs_no_memory() {
    let plain = Bytes::from((32 * MIB as u32).to_be_bytes().to_vec());
    for (format, header) in
        [(Format::Plain, plain), (Format::Native, announce(32 * MIB as u32 + 12, 0))]
    {
        let mut decoder = Decoder::new(format, 32 * MIB);
        decoder.push(header);
        assert_eq!(decoder.next_frame(), Ok(None));
        assert!(decoder.mid_frame());
        assert!(decoder.buffered() <= 64 * KIB);
        assert!(decoder.space().expect("a large body").len() <= 64 * KIB);
        assert!(decoder.buffered() <= 64 * KIB);
    }
}

#[test]
fn memory_grows_with_what_arrived() {
    for chunk in [1000, 16 * KIB, 64 * KIB] {
        let mut decoder = Decoder::new(Format::Plain, 32 * MIB);
        decoder.push(Bytes::from((32 * MIB as u32).to_be_bytes().to_vec()));
        assert_eq!(decoder.next_frame(), Ok(None));
        let (mut received, mut largest) = (0, 0);
        while received + chunk <= MIB {
            if let Some(space) = decoder.space().filter(|_| received / chunk % 2 == 0) {
                let n = space.len().min(chunk);
                decoder.filled(n);
                received += n;
            } else {
                decoder.push(Bytes::from(vec![0; chunk]));
                received += chunk;
            }
            assert_eq!(decoder.next_frame(), Ok(None));
            let held = decoder.buffered();
            assert!(held >= received, "{held} held of {received}");
            assert!(held <= 8 * received + 64 * KIB, "{held} held after {received}");
            largest = largest.max(held);
        }
        // It does run ahead of what arrived, or every read would be a reallocation.
        assert_eq!(largest, 4 * MIB);
    }
}

/// What is offered has to be cleared first, which for all of a large buffer would take milliseconds.
#[test]
fn a_large_buffer_is_offered_in_pieces() {
    let mut decoder = Decoder::new(Format::Plain, 32 * MIB);
    decoder.push(Bytes::from((32 * MIB as u32).to_be_bytes().to_vec()));
    let mut reads = 0;
    let frame = loop {
        if let Some(frame) = decoder.next_frame().expect("it fits") {
            break frame;
        }
        let space = decoder.space().expect("more is to come");
        assert!(space.iter().all(|byte| *byte == 0), "what was there before is gone");
        let n = space.len();
        assert!(n <= 64 * KIB, "{n} at once");
        space.fill(7);
        decoder.filled(n);
        reads += 1;
    };
    assert_eq!(reads, 512);
    assert!(frame.body.len() == 32 * MIB && frame.body.iter().all(|byte| *byte == 7));
}

#[test]
fn a_straddling_small_frame_holds_what_arrived() {
    let mut decoder = Decoder::new(Format::Plain, MIB);
    let bytes = plain(Bytes::from(vec![1; 60 * KIB]));
    for (i, byte) in bytes[..10 * KIB].iter().enumerate() {
        decoder.push(Bytes::copy_from_slice(&[*byte]));
        assert_eq!(decoder.next_frame(), Ok(None));
        assert_eq!(decoder.buffered(), i + 1);
        assert!(decoder.space().is_none());
    }
}

#[test]
fn after_an_error_the_decoder_stays_failed() {
    let good = native(Kind::Request, 1, b"", Bytes::from_static(b"good"));
    let mut bytes = BytesMut::from(&good[..]);
    bytes.extend_from_slice(&announce(11, 0));
    bytes.extend_from_slice(&good);
    let mut decoder = Decoder::new(Format::Native, MIB);
    decoder.push(bytes.freeze());
    assert!(matches!(decoder.next_frame(), Ok(Some(_))), "what came before is taken");
    let error = Err(FrameError::Length { length: 11, head: 0 });
    assert_eq!(decoder.next_frame(), error);
    assert_eq!(decoder.buffered(), 0);
    for _ in 0..3 {
        decoder.push(good.clone());
        assert_eq!(decoder.next_frame(), error);
        decoder.filled(100);
        assert!(decoder.space().is_none());
    }
}

#[test]
fn a_whole_frame_is_a_slice_of_what_was_pushed() {
    for (format, bytes, start) in [
        (Format::Plain, plain(Bytes::from(vec![5; 5000])), 4),
        (Format::Native, native(Kind::Response, 3, b"abc", Bytes::from(vec![5; 5000])), 22),
        (Format::Plain, plain(Bytes::from(vec![5; 200 * KIB])), 4),
    ] {
        let frame = one(format, MIB, bytes.clone()).expect("fits").expect("whole");
        assert_eq!(frame.body.as_ptr(), bytes[start..].as_ptr(), "{format:?}");
        assert_eq!(frame.body.len(), bytes.len() - start);
        if format == Format::Native {
            assert_eq!(frame.head.as_ptr(), bytes[16..].as_ptr());
        }
    }
}

#[test]
fn frames_come_out_in_order_and_a_small_batch_is_one_write() {
    let mut outbox = Outbox::default();
    for id in 1..=100 {
        outbox.native(Kind::Request, Flags::default(), id, Bytes::from(vec![id as u8; 20]), |_| {});
    }
    assert_eq!(outbox.len(), 100 * 36);
    let write = outbox.next_write().expect("a batch");
    assert_eq!(write.len(), 100 * 36);
    assert!(outbox.is_empty());
    assert_eq!(outbox.next_write(), None);
    let mut decoder = Decoder::new(Format::Native, MIB);
    decoder.push(write);
    let frames = all(&mut decoder);
    assert_eq!(frames.len(), 100);
    for (frame, id) in frames.iter().zip(1..) {
        assert_eq!((frame.header.id, &frame.body[..]), (id, &[id as u8; 20][..]));
    }
}

#[test]
fn a_large_body_is_handed_out_uncopied_but_for_its_beginning() {
    let large = Random(6).bytes(300 * KIB);
    for format in [Format::Plain, Format::Native] {
        let mut outbox = Outbox::default();
        let mut add = |body: Bytes| match format {
            Format::Plain => outbox.plain(body),
            Format::Native => outbox.native(Kind::Request, Flags::default(), 1, body, |_| {}),
        };
        let small = Bytes::from_static(b"small");
        add(small.clone());
        add(large.clone());
        add(small.clone());
        let header = format.header_len();
        let total = 3 * header + 2 * small.len() + large.len();
        assert_eq!(outbox.len(), total);

        let first = outbox.next_write().expect("small, header, beginning");
        // The beginning fills up one write.
        assert_eq!(first.len(), 16 * KIB);
        let copied = first.len() - 2 * header - small.len();
        assert_eq!(first[first.len() - copied..], large[..copied]);
        assert_eq!(outbox.len(), total - first.len());
        // Slices of it follow, uncopied.
        let mut at = copied;
        while at < large.len() {
            let slice = outbox.next_write().expect("the rest of the body");
            assert_eq!(slice.as_ptr(), large[at..].as_ptr());
            assert_eq!(slice.len(), 260_000.min(large.len() - at));
            at += slice.len();
        }
        let third = outbox.next_write().expect("small");
        assert_eq!(third.len(), header + small.len());
        assert_eq!((outbox.len(), outbox.next_write()), (0, None));
    }
}

#[test]
fn a_small_body_shares_a_write_up_to_the_copying_limit() {
    for (size, writes) in [(16 * KIB, 1), (16 * KIB + 1, 2)] {
        let mut outbox = Outbox::default();
        outbox.plain(Bytes::from(vec![1; size]));
        let count = core::iter::from_fn(|| outbox.next_write()).count();
        assert_eq!(count, writes, "{size}");
    }
}

#[test]
fn the_length_of_an_outbox_adds_up() {
    let mut random = Random(7);
    let mut outbox = Outbox::default();
    let (mut added, mut taken) = (0, 0);
    for id in 0..500 {
        let size = [0, 10, 5000, 16 * KIB, 16 * KIB + 1, 70 * KIB][random.below(6)];
        let body = Bytes::from(vec![1; size]);
        if random.below(2) == 0 {
            added += 4 + size;
            outbox.plain(body);
        } else {
            added += 16 + 7 + size;
            outbox.native(Kind::Response, Flags::default(), id, body, |head| head.u32(0x01, 1));
        }
        if random.below(3) == 0
            && let Some(write) = outbox.next_write()
        {
            assert!(!write.is_empty());
            taken += write.len();
        }
        assert_eq!(outbox.len(), added - taken);
        assert_eq!(outbox.is_empty(), added == taken);
    }
    outbox.clear();
    assert_eq!((outbox.len(), outbox.next_write()), (0, None));
}
