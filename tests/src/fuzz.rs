//! The bodies of the fuzz targets in `fuzz/`. Each takes any bytes and panics if an invariant of
//! the core does not hold. They live here so that they are compiled, linted, and replayed over
//! the committed corpora by `cargo test`.

mod calls;
#[cfg(any(test, feature = "certificate"))]
mod certificate;
mod client;
#[cfg(any(test, feature = "codecs"))]
mod codecs;
mod network;
mod scenario;
mod server;

use std::sync::Arc;

use arbitrary::{Arbitrary, Unstructured};
use bytes::{Bytes, BytesMut};
use pointsub_core::connection::ClientStream;
use pointsub_core::connection::{ServerStream, ServerStreamEvent};
use pointsub_core::endpoint::Admission;
use pointsub_core::wire::{
    Buffers, Decoder, Flags, Frame, Go12Error, Go12Header, Head, Kind, MAX_HEAD, MAX_PART, Outbox,
    tag,
};
use pointsub_core::{
    Body, ClientConfig, Format, FrameError, Payload, PeerId, ProtocolName, RequestId, ServerConfig,
    StreamEvent, StreamOp, Timestamp,
};

pub use calls::call_inputs;
#[cfg(any(test, feature = "certificate"))]
pub use certificate::certificate;
pub use client::client_inputs;
#[cfg(any(test, feature = "codecs"))]
pub use codecs::{service_cbor, service_json, service_postcard};
pub use network::network_facts;
pub use scenario::scenario;
pub use server::server_inputs;

/// The limit on bodies: small, so that inputs of a few bytes reach it, and beyond 64 KiB, so that
/// bodies with a buffer of their own are reached.
const LIMIT: usize = 100 * 1024;
/// The steps of one script: more only cost time.
const MAX_OPS: usize = 200;
/// An output that does not end within this many steps never does.
const MAX_OUTPUTS: usize = 100_000;

/// A body of any length out of few bytes of input.
fn body(len: u32) -> Bytes {
    (0..len as usize % (LIMIT + LIMIT / 4)).map(|i| (i % 251) as u8).collect()
}

fn peer(number: u8) -> PeerId {
    PeerId::from_bytes(&[0, 1, 2, 3, 4, 5, 6, 7, number]).expect("a short one")
}

fn protocol(number: u8) -> ProtocolName {
    ProtocolName::new(&format!("/test/{number}")).expect("a usable name")
}

/// All that waits in `outbox`, in one piece.
pub(crate) fn written(outbox: &mut Outbox) -> Bytes {
    let len = outbox.len();
    let mut bytes = BytesMut::with_capacity(len);
    while let Some(write) = outbox.next_write() {
        assert!(!write.is_empty(), "an empty write");
        bytes.extend_from_slice(&write);
    }
    assert_eq!((bytes.len(), outbox.len()), (len, 0), "the length of the outbox");
    bytes.freeze()
}

/// One native frame.
pub(crate) fn native(
    kind: Kind,
    flags: u8,
    id: u64,
    body: Bytes,
    fields: impl FnOnce(&mut Head<'_>),
) -> Bytes {
    let mut outbox = Outbox::default();
    outbox.native(kind, Flags(flags), id, body, fields);
    written(&mut outbox)
}

/// A native header and nothing after it.
pub(crate) fn header(kind: u8, flags: u8, id: u64, fields: u16, body: u32) -> Bytes {
    let mut bytes = (12 + u32::from(fields)).saturating_add(body).to_be_bytes().to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(fields.to_be_bytes());
    bytes.extend(id.to_be_bytes());
    bytes.into()
}

/// The known kind number `number`.
fn kind(number: u8) -> Kind {
    const KINDS: [Kind; 9] = [
        Kind::Settings,
        Kind::Request,
        Kind::Response,
        Kind::Cancel,
        Kind::Drain,
        Kind::Data,
        Kind::Accept,
        Kind::Credit,
        Kind::Finish,
    ];
    KINDS[usize::from(number) % KINDS.len()]
}

/// Takes frames until there is none, or an error.
fn take(decoder: &mut Decoder, frames: &mut Vec<Frame>) -> Result<(), FrameError> {
    while let Some(frame) = decoder.next_frame()? {
        frames.push(frame);
    }
    Ok(())
}

/// Bytes against the plain decoder.
pub fn decode_plain(data: &[u8]) {
    decode(Format::Plain, data);
}

/// Bytes against the header of Go 1.2, and as a message in its format.
pub fn decode_go12(data: &[u8]) {
    if let Some(header) = Go12Header::parse(data) {
        assert!([4, 12].contains(&header.wire_len()) && header.wire_len() <= data.len());
        assert_eq!(Go12Header::parse(&data[..header.wire_len()]), Some(header));
        assert_eq!(Go12Header::parse(&data[..header.wire_len() - 1]), None, "it was not whole");
        // Any body at all: only the answer is known to be one of two.
        let _another_body = header.check(data);
    }
    match Go12Header::of(data) {
        Ok(header) => {
            assert_eq!(Go12Header::parse(&header.to_bytes()), Some(header));
            assert_eq!((header.body_len(), header.check(data)), (data.len(), Ok(())));
        }
        Err(error) => assert_eq!(error, Go12Error::Misread { len: data.len() }),
    }
}

/// Bytes against the native decoder.
pub fn decode_native(data: &[u8]) {
    decode(Format::Native, data);
}

fn decode(format: Format, data: &[u8]) {
    let mut decoder = Decoder::new(format, LIMIT);
    decoder.push(Bytes::copy_from_slice(data));
    let mut frames = Vec::new();
    let result = take(&mut decoder, &mut frames);
    let mut consumed = 0;
    for frame in &frames {
        assert!(frame.body.len() <= LIMIT && frame.head.len() <= MAX_HEAD, "a limit is broken");
        consumed += format.header_len() + frame.head.len() + frame.body.len();
    }
    match result {
        Ok(()) => {
            assert_eq!(decoder.mid_frame(), consumed < data.len(), "bytes got lost");
            // The fields of a frame whose body has a buffer of its own are not counted.
            let rest = data.len() - consumed;
            assert!(decoder.buffered() + MAX_HEAD + format.header_len() >= rest, "bytes got lost");
            assert!(decoder.buffered() <= 8 * data.len() + 64 * 1024, "too much memory");
        }
        Err(error) => {
            assert_eq!(decoder.buffered(), 0, "a failed decoder holds bytes");
            decoder.push(Bytes::copy_from_slice(data));
            assert_eq!(decoder.next_frame(), Err(error), "a failed decoder came back");
        }
    }
}

#[derive(Debug, Arbitrary)]
struct Split {
    native: bool,
    /// Lengths of the pieces, over and over.
    lens: [u16; 4],
    /// Repeat the bytes this often, to get beyond 64 KiB.
    repeat: u8,
    data: Vec<u8>,
}

/// Lends buffers in which something is left of their last use.
#[derive(Debug)]
struct Used;

impl Buffers for Used {
    fn take(&self, len: usize, _: usize) -> Option<Vec<u8>> {
        // Some have been used for a shorter body only.
        let mut buffer = Vec::with_capacity(len + len / 2);
        buffer.resize(len * 3 / (2 + len % 3), 0xee);
        Some(buffer)
    }

    fn give(&self, _: Vec<u8>) {}
}

/// Bytes in one piece, and the same in many, partly read into the decoder's own buffer, which was
/// used before: the frames and the error are the same.
pub fn split_invariance(data: &[u8]) {
    let Ok(input) = Split::arbitrary_take_rest(Unstructured::new(data)) else { return };
    let format = if input.native { Format::Native } else { Format::Plain };
    let data = Bytes::from(input.data.repeat(1 + usize::from(input.repeat)));

    let (mut decoder, mut whole) = (Decoder::new(format, LIMIT), Vec::new());
    decoder.push(data.clone());
    let whole_result = take(&mut decoder, &mut whole);
    let mid_frame = decoder.mid_frame();

    let mut decoder = Decoder::new(format, LIMIT).with_buffers(Arc::new(Used));
    let mut split = Vec::new();
    let (mut rest, mut result) = (data, Ok(()));
    // Not of one byte each over a long input: that only takes long.
    let least = rest.len() / 2000;
    for len in input.lens.iter().cycle() {
        if rest.is_empty() || result.is_err() {
            break;
        }
        let len = (usize::from(*len) + least).clamp(1, rest.len());
        match decoder.space() {
            Some(space) => {
                assert!(!space.is_empty(), "space for nothing");
                let n = space.len().min(len);
                space[..n].copy_from_slice(&rest.split_to(n));
                decoder.filled(n);
            }
            None => decoder.push(rest.split_to(len)),
        }
        result = take(&mut decoder, &mut split);
    }
    assert_eq!(result, whole_result, "the outcome depends on the split");
    assert!(split == whole, "the frames depend on the split");
    assert_eq!(decoder.mid_frame(), mid_frame, "the end depends on the split");
}

#[derive(Debug, Arbitrary)]
struct Trip {
    native: bool,
    frames: Vec<TripFrame>,
}

#[derive(Debug, Arbitrary)]
struct TripFrame {
    kind: u8,
    flags: u8,
    id: u64,
    fields: Vec<(u8, Vec<u8>)>,
    len: u32,
}

/// Frames out and in again are the same.
pub fn round_trip(data: &[u8]) {
    let Ok(mut input) = Trip::arbitrary_take_rest(Unstructured::new(data)) else { return };
    input.frames.truncate(20);
    let mut outbox = Outbox::default();
    for frame in &mut input.frames {
        let mut room = MAX_HEAD;
        // What goes beyond is cut off, and would not come back equal.
        frame.fields.retain(|(_, value)| {
            let fits = 3 + value.len() <= room;
            room -= if fits { 3 + value.len() } else { 0 };
            fits
        });
        frame.len %= LIMIT as u32 + 1;
        if input.native && kind(frame.kind) == Kind::Data {
            frame.len %= MAX_PART as u32 + 1;
        }
        if input.native {
            let (kind, flags) = (kind(frame.kind), Flags(frame.flags));
            outbox.native(kind, flags, frame.id, body(frame.len), |head| {
                for (tag, value) in &frame.fields {
                    head.bytes(*tag, value);
                }
            });
        } else {
            outbox.plain(body(frame.len));
        }
    }
    let format = if input.native { Format::Native } else { Format::Plain };
    let (mut decoder, mut frames) = (Decoder::new(format, LIMIT), Vec::new());
    decoder.push(written(&mut outbox));
    assert_eq!(take(&mut decoder, &mut frames), Ok(()));
    assert!(!decoder.mid_frame());
    assert_eq!(frames.len(), input.frames.len());
    for (frame, sent) in frames.iter().zip(&input.frames) {
        assert!(frame.body == body(sent.len), "another body");
        if input.native {
            assert_eq!(frame.header.kind, Some(kind(sent.kind)));
            assert_eq!((frame.header.flags.0, frame.header.id), (sent.flags, sent.id));
            let mut head = &frame.head[..];
            for (tag, value) in &sent.fields {
                let len = (value.len() as u16).to_be_bytes();
                assert_eq!(head[..3], [*tag, len[0], len[1]], "another field");
                assert_eq!(head[3..3 + value.len()], value[..], "another value");
                head = &head[3 + value.len()..];
            }
            assert!(head.is_empty());
        }
    }
}

#[derive(Debug, Arbitrary)]
enum Inflate<'a> {
    /// What a peer says is DEFLATE.
    Any { size: u32, bytes: &'a [u8] },
    /// What we compress ourselves.
    Own { repeat: u16, bytes: &'a [u8] },
}

/// Bytes that claim to be compressed give what they claim or an error; what we compress comes
/// back as it was.
pub fn inflate(data: &[u8]) {
    let Ok(input) = Inflate::arbitrary_take_rest(Unstructured::new(data)) else { return };
    match input {
        Inflate::Any { size, bytes } => {
            let size = size % (2 * LIMIT as u32);
            let body = Bytes::copy_from_slice(bytes);
            let request = native(Kind::Request, 1, 1, body, |head| head.u32(tag::SIZE, size));
            let Some(payload) = receive([request]) else {
                assert!(size as usize > LIMIT.min(128 * bytes.len()), "refused without reason");
                return;
            };
            assert!(size as usize <= LIMIT.min(128 * bytes.len()), "a bomb was let in");
            assert!(payload.is_compressed());
            assert_eq!((payload.len(), payload.wire_len()), (size as usize, bytes.len()));
            if let Ok(raw) = payload.into_bytes() {
                assert_eq!(raw.len(), size as usize, "not the announced length");
            }
        }
        Inflate::Own { repeat, bytes } => {
            let repeat = usize::from(repeat).min(LIMIT / bytes.len().max(1));
            let raw = Bytes::from(bytes.repeat(repeat));
            let config = ClientConfig::default().with_max_block_size(LIMIT);
            let mut client = ClientStream::new(Format::Native, &config, Timestamp::ZERO);
            let body = Body::compressed(raw.clone());
            client.start(RequestId::default(), body, None, Timestamp::ZERO);
            let writes = core::iter::from_fn(|| {
                client.handle(StreamEvent::Written, Timestamp::ZERO);
                match client.poll_op()? {
                    StreamOp::Write(bytes) => Some(bytes),
                    other => panic!("{other:?}"),
                }
            });
            let payload = receive(writes).expect("our own request is let in");
            assert_eq!(payload.len(), raw.len());
            assert!(payload.wire_len() <= raw.len(), "compression made it longer");
            assert!(payload.into_bytes().expect("our own compression") == raw, "another body");
        }
    }
}

/// The body of the one request that these bytes bring to a server, if it is let in.
fn receive(bytes: impl IntoIterator<Item = Bytes>) -> Option<Payload> {
    let config = ServerConfig::default().with_max_block_size(LIMIT);
    let (now, protocol) = (Timestamp::ZERO, protocol(0));
    let mut admission = Admission::new(&config);
    admission.register(&protocol).expect("not registered yet");
    let mut server = ServerStream::new(Format::Native, &config, now);
    let (key, verdict) = admission.open(peer(0), &protocol, Format::Native, true, now);
    server.handle_verdict(verdict, now);
    for bytes in bytes {
        server.handle(StreamEvent::Received(bytes), now);
    }
    loop {
        let event = server.poll_event(now);
        while let Some(report) = server.take_report() {
            let verdict = admission.handle(key, report, now);
            server.handle_verdict(verdict, now);
        }
        match event {
            Some(ServerStreamEvent::Request { payload, .. }) => return Some(payload),
            None if !server.has_event() => return None,
            None => {}
            other => panic!("{other:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Replays the committed corpus of one target.
    fn replay(name: &str, target: fn(&[u8])) {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
        let mut files = 0;
        for entry in std::fs::read_dir(&dir).expect("a corpus") {
            let path = entry.expect("a file").path();
            println!("{}", path.display());
            target(&std::fs::read(&path).expect("readable"));
            files += 1;
        }
        assert!(files > 0, "no corpus in {}", dir.display());
    }

    macro_rules! replays {
        ($($target:ident)*) => {
            $(#[test]
            fn $target() {
                replay(stringify!($target), super::$target);
            })*
        };
    }

    replays! {
        decode_plain
        decode_go12
        decode_native
        split_invariance
        round_trip
        inflate
        call_inputs
        client_inputs
        server_inputs
        network_facts
        scenario
        certificate
        service_cbor
        service_postcard
        service_json
    }
}
