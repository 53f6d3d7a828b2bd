//! Every test vector of `WIRE.md`, in both directions.

use crate::support::Attached;
use bytes::Bytes;
use pointsub_core::connection::{ClientStream, Report, ServerStreamEvent};
use pointsub_core::endpoint::Admission;
use pointsub_core::wire::{Decoder, Features, Flags, Frame, Kind, Outbox, Settings, tag};
use pointsub_core::{
    Body, ClientConfig, Format, FrameError, Headers, Metadata, Method, PeerId, ProtocolName,
    RequestId, ServerConfig, StreamEvent, StreamOp, Timestamp,
};
use sha2::{Digest, Sha256};

const WIRE: &str = include_str!("../../../WIRE.md");
/// As many as `WIRE.md` has: a block that is not recognised must not go unnoticed.
const VECTORS: usize = 110;
const LIMIT: usize = 32 * 1024 * 1024;
/// Frames up to this size are split at every position.
const SPLIT_EVERYWHERE: usize = 1024;

/// One block: its lines by name.
struct Vector<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Vector<'a> {
    fn find(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find(|(k, _)| *k == key).map(|(_, value)| *value)
    }

    fn get(&self, key: &str) -> &'a str {
        self.find(key).unwrap_or_else(|| panic!("{}: no line {key}", self.name()))
    }

    fn name(&self) -> &'a str {
        self.find("name").expect("every vector has a name")
    }

    fn format(&self) -> Format {
        match self.get("format") {
            "plain" => Format::Plain,
            "native" => Format::Native,
            other => panic!("{}: format {other}", self.name()),
        }
    }

    fn limit(&self) -> usize {
        self.find("limit").map_or(LIMIT, |limit| limit.parse().expect("a number"))
    }

    /// The whole frame.
    fn bytes(&self) -> Bytes {
        let Some(size) = self.find("size") else { return hex(self.get("hex")) };
        assert_eq!(self.get("pattern"), "i mod 251", "{}", self.name());
        let mut bytes = hex(&self.get("head")[..8]).to_vec();
        bytes.extend((0..size.parse().expect("a number")).map(|i: usize| (i % 251) as u8));
        bytes.into()
    }
}

fn vectors() -> Vec<Vector<'static>> {
    let mut lines = WIRE.lines();
    let mut vectors = Vec::new();
    while let Some(line) = lines.next() {
        if line.trim() != "```vector" {
            continue;
        }
        let block = lines.by_ref().take_while(|line| !line.starts_with("```"));
        let lines = block.map(|line| line.split_once(": ").expect("a line is `key: value`"));
        vectors.push(Vector(lines.collect()));
    }
    assert_eq!(vectors.len(), VECTORS, "vectors in WIRE.md");
    vectors
}

fn hex(text: &str) -> Bytes {
    let digits: Vec<u32> = text
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '-')
        .map(|c| c.to_digit(16).unwrap_or_else(|| panic!("{c:?} in {text:?}")))
        .collect();
    assert_eq!(digits.len() % 2, 0, "{text:?}");
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

/// What the line `frame` says.
#[derive(Debug, PartialEq, Eq)]
struct Meaning {
    kind: Option<Kind>,
    flags: u8,
    id: u64,
    fields: Vec<(u8, Bytes)>,
    body: Bytes,
}

impl Meaning {
    /// `None` for vectors without the line.
    fn stated(vector: &Vector<'_>) -> Option<Self> {
        let mut meaning =
            Self { kind: None, flags: 0, id: 0, fields: Vec::new(), body: Bytes::new() };
        for word in vector.find("frame")?.split(' ') {
            match word.split_once('=').expect("key=value") {
                ("kind", "settings") => meaning.kind = Some(Kind::Settings),
                ("kind", "request") => meaning.kind = Some(Kind::Request),
                ("kind", "response") => meaning.kind = Some(Kind::Response),
                ("kind", "cancel") => meaning.kind = Some(Kind::Cancel),
                ("kind", "drain") => meaning.kind = Some(Kind::Drain),
                ("kind", "data") => meaning.kind = Some(Kind::Data),
                ("kind", "accept") => meaning.kind = Some(Kind::Accept),
                ("kind", "credit") => meaning.kind = Some(Kind::Credit),
                ("kind", "finish") => meaning.kind = Some(Kind::Finish),
                ("kind", unknown) => assert_eq!(hex(unknown).len(), 1),
                ("flags", flags) => meaning.flags = hex(flags)[0],
                ("id", id) => meaning.id = id.parse().expect("a number"),
                ("fields", "-") => {}
                ("fields", fields) => {
                    let fields = fields.split(',').map(|f| f.split_once(':').expect("tag:value"));
                    meaning.fields = fields.map(|(tag, v)| (hex(tag)[0], hex(v))).collect();
                }
                ("body", body) => meaning.body = hex(body),
                (key, _) => panic!("{}: {key}", vector.name()),
            }
        }
        Some(meaning)
    }

    fn decoded(frame: &Frame) -> Self {
        let mut fields = Vec::new();
        let mut head = frame.head.clone();
        while !head.is_empty() {
            let value = usize::from(u16::from_be_bytes([head[1], head[2]]));
            fields.push((head[0], head.slice(3..3 + value)));
            head = head.slice(3 + value..);
        }
        let (header, body) = (frame.header, frame.body.clone());
        Self { kind: header.kind, flags: header.flags.0, id: header.id, fields, body }
    }
}

/// All frames in `chunks`; the first error ends them.
fn decode<'a>(
    decoder: &mut Decoder,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<Frame>, FrameError> {
    let mut frames = Vec::new();
    for chunk in chunks {
        decoder.push(Bytes::copy_from_slice(chunk));
        while let Some(frame) = decoder.next_frame()? {
            frames.push(frame);
        }
    }
    Ok(frames)
}

fn written(outbox: &mut Outbox) -> Bytes {
    let len = outbox.len();
    let mut bytes = Vec::new();
    while let Some(write) = outbox.next_write() {
        bytes.extend_from_slice(&write);
    }
    assert_eq!((bytes.len(), outbox.len()), (len, 0));
    bytes.into()
}

/// Where to cut a frame in two.
fn cuts(len: usize) -> Vec<usize> {
    if len <= SPLIT_EVERYWHERE {
        (0..=len).collect()
    } else {
        vec![1, 3, 4, 5, 255, len / 2, len - 1]
    }
}

/// W1: what go-msgio wrote is read.
#[test]
fn bytes_decode_to_the_stated_frame_however_they_are_split() {
    for vector in vectors() {
        let (name, format, bytes) = (vector.name(), vector.format(), vector.bytes());
        if vector.find("error").is_some_and(|error| error.starts_with("decoder")) {
            continue;
        }
        let mut decoder = Decoder::new(format, vector.limit());
        let whole = decode(&mut decoder, [&bytes[..]]).expect(name);
        assert_eq!(whole.len(), 1, "{name}");
        assert!(!decoder.mid_frame(), "{name}");
        if let Some(stated) = Meaning::stated(&vector) {
            assert_eq!(Meaning::decoded(&whole[0]), stated, "{name}");
        } else if let Some(size) = vector.find("size") {
            assert_eq!(whole[0].body.len().to_string(), size, "{name}");
            assert_eq!(whole[0].body, bytes.slice(4..), "{name}");
        } else {
            // Only what the reader of the fields refuses may do without.
            assert!(vector.find("error").is_some(), "{name}");
        }
        for cut in cuts(bytes.len()) {
            let mut decoder = Decoder::new(format, vector.limit());
            let split = decode(&mut decoder, [&bytes[..cut], &bytes[cut..]]).expect(name);
            assert_eq!(split, whole, "{name}, cut at {cut}");
        }
        if bytes.len() <= SPLIT_EVERYWHERE {
            let mut decoder = Decoder::new(format, vector.limit());
            let split = decode(&mut decoder, bytes.chunks(1)).expect(name);
            assert_eq!(split, whole, "{name}, byte by byte");
        }
    }
}

/// W1: what is written is what go-msgio writes.
#[test]
fn the_stated_frame_encodes_to_the_bytes() {
    for vector in vectors() {
        let (name, bytes) = (vector.name(), vector.bytes());
        let mut outbox = Outbox::default();
        if let Some(hash) = vector.find("sha256") {
            outbox.plain(bytes.slice(4..));
            let bytes = written(&mut outbox);
            let head = hex(vector.get("head"));
            assert_eq!(bytes[..head.len()], head, "{name}");
            assert_eq!(Sha256::digest(&bytes)[..], hex(hash), "{name}");
            continue;
        }
        let Some(meaning) = Meaning::stated(&vector) else { continue };
        match (vector.format(), meaning.kind) {
            (Format::Plain, _) => outbox.plain(meaning.body),
            // Nobody sends what this version does not know.
            (Format::Native, None) => continue,
            (Format::Native, Some(kind)) => {
                let flags = Flags(meaning.flags);
                outbox.native(kind, flags, meaning.id, meaning.body, |head| {
                    for (tag, value) in &meaning.fields {
                        head.bytes(*tag, value);
                    }
                });
            }
        }
        assert_eq!(written(&mut outbox), bytes, "{name}");
    }
}

#[test]
fn the_decoder_refuses_what_it_must_as_soon_as_it_can() {
    let mut seen = 0;
    for vector in vectors() {
        let Some(("decoder", error)) = vector.find("error").and_then(|e| e.split_once(' ')) else {
            continue;
        };
        seen += 1;
        let (name, bytes, header) = (vector.name(), vector.bytes(), vector.format().header_len());
        for cut in 0..header {
            let mut decoder = Decoder::new(vector.format(), vector.limit());
            assert_eq!(decode(&mut decoder, [&bytes[..cut]]), Ok(Vec::new()), "{name} at {cut}");
            let result = decode(&mut decoder, [&bytes[cut..]]).expect_err(name);
            let as_stated = match error {
                "length" => matches!(result, FrameError::Length { .. }),
                "too large" => matches!(result, FrameError::TooLarge { .. }),
                "unknown kind" => matches!(result, FrameError::UnknownKind { .. }),
                other => panic!("{name}: error {other}"),
            };
            assert!(as_stated, "{name}: {result:?}");
        }
    }
    assert_eq!(seen, 16);
}

fn server_stream() -> (Attached, Admission) {
    let config = ServerConfig::default();
    let mut admission = Admission::new(&config);
    let protocol = ProtocolName::new("/test").expect("a name");
    admission.register(&protocol).expect("not registered yet");
    let (peer, now) = (PeerId::from_bytes(b"client").expect("a peer id"), Timestamp::ZERO);
    let stream = Attached::new(peer, &protocol, Format::Native, &config, &mut admission, now);
    (stream, admission)
}

/// A client whose request 1048576 is in flight.
fn client_stream() -> ClientStream {
    asking(Body::default()).0
}

/// A client with this request in flight, and what it has written.
fn asking(body: Body) -> (ClientStream, Bytes) {
    let mut stream = ClientStream::new(Format::Native, &ClientConfig::default(), Timestamp::ZERO);
    stream.start(RequestId::default(), body, None, Timestamp::ZERO);
    let Some(StreamOp::Write(bytes)) = stream.poll_op() else { panic!("nothing is written") };
    stream.handle(StreamEvent::Written, Timestamp::ZERO);
    (stream, bytes)
}

#[test]
fn the_readers_of_fields_refuse_what_they_must() {
    let mut seen = 0;
    for vector in vectors() {
        let (name, event) = (vector.name(), StreamEvent::Received(vector.bytes()));
        match vector.find("error") {
            Some("server") => {
                let (mut stream, mut admission) = server_stream();
                stream.handle(event, &mut admission, Timestamp::ZERO);
                assert_eq!(stream.poll_event(&mut admission, Timestamp::ZERO), None, "{name}");
                assert_eq!(stream.poll_op(), Some(StreamOp::Reset), "{name}");
                assert_eq!(admission.stats().violations, 1, "{name}");
            }
            Some("client") => {
                let mut stream = client_stream();
                stream.handle(event, Timestamp::ZERO);
                assert_eq!(stream.poll_op(), Some(StreamOp::Reset), "{name}");
                assert!(matches!(stream.poll_report(), Some(Report::Failed { .. })), "{name}");
                assert_eq!(stream.poll_report(), Some(Report::Closed), "{name}");
            }
            _ => continue,
        }
        seen += 1;
    }
    assert_eq!(seen, 25);
}

#[test]
fn requests_are_answered_as_stated() {
    let mut seen = 0;
    for vector in vectors() {
        let Some(answer) = vector.find("answer") else { continue };
        seen += 1;
        let name = vector.name();
        let (mut stream, mut admission) = server_stream();
        stream.handle(StreamEvent::Received(vector.bytes()), &mut admission, Timestamp::ZERO);
        assert_eq!(stream.poll_event(&mut admission, Timestamp::ZERO), None, "{name}");
        let Some(StreamOp::Write(bytes)) = stream.poll_op() else { panic!("{name}") };
        let mut decoder = Decoder::new(Format::Native, LIMIT);
        let frames = decode(&mut decoder, [&bytes[..]]).expect(name);
        let [settings, response] = &frames[..] else { panic!("{name}: {frames:?}") };
        assert_eq!(settings.header.kind, Some(Kind::Settings), "{name}");
        let stated = Meaning::stated(&vector).expect(name);
        let response = Meaning::decoded(response);
        assert_eq!(response.kind, Some(Kind::Response), "{name}");
        assert_eq!((response.flags, response.id), (0x40, stated.id), "{name}");
        let code = match answer {
            "too large" => 4,
            "unimplemented" => 9,
            "bad request" => 10,
            other => panic!("{name}: answer {other}"),
        };
        assert!(response.fields.contains(&(tag::STATUS, Bytes::from(vec![code]))), "{name}");
    }
    assert_eq!(seen, 5);
}

#[test]
fn compressed_bodies_inflate_as_stated() {
    let mut seen = 0;
    for vector in vectors() {
        let Some(inflated) = vector.find("inflated") else { continue };
        seen += 1;
        let (name, event) = (vector.name(), StreamEvent::Received(vector.bytes()));
        let payload = if Meaning::stated(&vector).expect(name).kind == Some(Kind::Request) {
            let (mut stream, mut admission) = server_stream();
            stream.handle(event, &mut admission, Timestamp::ZERO);
            let event = stream.poll_event(&mut admission, Timestamp::ZERO);
            let Some(ServerStreamEvent::Request { payload, .. }) = event else { panic!("{name}") };
            payload
        } else {
            let mut stream = client_stream();
            stream.handle(event, Timestamp::ZERO);
            let Some(Report::Answered { answer: Ok(payload), .. }) = stream.poll_report() else {
                panic!("{name}")
            };
            payload
        };
        assert!(payload.is_compressed(), "{name}");
        assert_eq!(payload.into_bytes(), Ok(hex(inflated)), "{name}");
    }
    assert_eq!(seen, 3);
}

/// What the lines `method` and `metadata` say.
fn stated_headers(vector: &Vector<'_>) -> Option<Headers> {
    let method = Method::new(vector.find("method")?).expect("a method");
    let mut metadata = Metadata::new();
    for pair in vector.get("metadata").split(',') {
        let (key, value) = pair.split_once('=').expect("key=value");
        metadata.insert(key, hex(value)).expect("it fits");
    }
    Some(Headers { method: Some(method), metadata })
}

#[test]
fn methods_and_metadata_are_read_and_written_as_stated() {
    let mut seen = 0;
    for vector in vectors() {
        let Some(headers) = stated_headers(&vector) else { continue };
        seen += 1;
        let (name, bytes) = (vector.name(), vector.bytes());
        let (mut stream, mut admission) = server_stream();
        stream.handle(StreamEvent::Received(bytes.clone()), &mut admission, Timestamp::ZERO);
        let event = stream.poll_event(&mut admission, Timestamp::ZERO);
        let Some(ServerStreamEvent::Request { payload, .. }) = event else { panic!("{name}") };
        assert_eq!(payload.headers(), Some(&headers), "{name}");
        let body = payload.into_bytes().expect(name);
        let (_, written) = asking(Body::uncompressed(body).with_headers(headers));
        // SETTINGS go before it.
        assert!(written.ends_with(&bytes), "{name}: {written:x?}");
    }
    assert_eq!(seen, 1);
}

#[test]
fn settings_are_read_as_stated() {
    let mut settings = Settings::ASSUMED;
    assert_eq!((settings.max_body, settings.max_in_flight), (33_554_432, 128));
    for vector in vectors() {
        let Some(meaning) = Meaning::stated(&vector) else { continue };
        if meaning.kind != Some(Kind::Settings) {
            continue;
        }
        let mut decoder = Decoder::new(Format::Native, LIMIT);
        let name = vector.name();
        let frames = decode(&mut decoder, [&vector.bytes()[..]]).expect(name);
        settings.update(&frames[0].head).expect(name);
        let stated = if name.contains("low tag") { 1 } else { 1024 };
        assert_eq!(settings.max_in_flight, stated, "{name}");
        if name.contains("calls and methods") {
            assert!(settings.features.contains(Features::CALLS), "{name}");
            assert!(settings.features.contains(Features::METHODS), "{name}");
            assert_eq!(settings.max_calls, 1000, "{name}");
        }
    }
    let mut outbox = Outbox::default();
    outbox.settings(Settings { max_in_flight: 1024, ..Settings::ASSUMED });
    let first = vectors().into_iter().find(|v| v.name().starts_with("settings")).expect("one");
    assert_eq!(written(&mut outbox), first.bytes());
}
