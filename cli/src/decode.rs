//! Bytes of a stream as frames, by `WIRE.md`. Nothing here panics, whatever the bytes are.

use pointsub_core::wire::{Decoder, Flags, Frame, Kind, tag};
use pointsub_core::{Format, FrameError};
use pointsub_tokio::Bytes;
use serde_json::{Map, Value, json};

/// How many bytes of a body are shown where not all are.
const SHOWN: usize = 48;

/// What was found in some bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// As what they were read.
    pub format: Format,
    /// The frames, each with the offset of its first byte.
    pub frames: Vec<(usize, Frame)>,
    /// What is wrong with the bytes behind them, and where those begin.
    pub error: Option<(usize, FrameError)>,
}

/// Reads bytes as frames. Without a format, they are native if they begin like that.
#[must_use]
pub fn decode(bytes: &Bytes, format: Option<Format>) -> Decoded {
    match format {
        Some(format) => frames(bytes, format),
        None => {
            let native = frames(bytes, Format::Native);
            let is_native = match &native.error {
                Some((0, FrameError::Truncated)) => bytes.len() >= Format::Native.header_len(),
                Some((0, _)) => false,
                _ => !native.frames.is_empty(),
            };
            if is_native { native } else { frames(bytes, Format::Plain) }
        }
    }
}

fn frames(bytes: &Bytes, format: Format) -> Decoded {
    let mut decoder = Decoder::new(format, u32::MAX as usize);
    decoder.push(bytes.clone());
    let (mut frames, mut at) = (Vec::new(), 0);
    let error = loop {
        match decoder.next_frame() {
            Ok(Some(frame)) => {
                let len = format.header_len() + frame.head.len() + frame.body.len();
                frames.push((at, frame));
                at += len;
            }
            Ok(None) if at < bytes.len() => break Some((at, FrameError::Truncated)),
            Ok(None) => break None,
            Err(error) => break Some((at, error)),
        }
    };
    Decoded { format, frames, error }
}

/// The fields of a frame in order; the last is `None` if it is malformed.
fn fields(mut head: &[u8]) -> Vec<(u8, Option<&[u8]>)> {
    let mut fields = Vec::new();
    while let Some((&tag, rest)) = head.split_first() {
        let value = rest
            .split_first_chunk::<2>()
            .and_then(|(len, rest)| rest.split_at_checked(usize::from(u16::from_be_bytes(*len))));
        match value {
            Some((value, rest)) => {
                fields.push((tag, Some(value)));
                head = rest;
            }
            None => {
                fields.push((tag, None));
                break;
            }
        }
    }
    fields
}

/// What a kind of frame is called in `WIRE.md`.
fn kind(frame: &Frame) -> &'static str {
    match frame.header.kind {
        Some(Kind::Settings) => "SETTINGS",
        Some(Kind::Request) => "REQUEST",
        Some(Kind::Response) => "RESPONSE",
        Some(Kind::Cancel) => "CANCEL",
        Some(Kind::Drain) => "DRAIN",
        Some(Kind::Data) => "DATA",
        Some(Kind::Accept) => "ACCEPT",
        Some(Kind::Credit) => "CREDIT",
        Some(Kind::Finish) => "FINISH",
        None => "(later kind)",
    }
}

fn flags(flags: Flags) -> Vec<String> {
    let names = [
        (Flags::COMPRESSED, "COMPRESSED"),
        (Flags::STREAM, "STREAM"),
        (Flags::MORE, "MORE"),
        (Flags::SILENT, "SILENT"),
        (Flags::UNPROCESSED, "UNPROCESSED"),
    ];
    let known = names.iter().filter(|(flag, _)| flags.contains(*flag));
    let mut all: Vec<String> = known.map(|(_, name)| (*name).to_owned()).collect();
    let rest = names.iter().fold(flags.0, |rest, (flag, _)| rest & !flag.0);
    if rest != 0 {
        all.push(format!("{rest:#04x}"));
    }
    all
}

/// What a field is called, and what is in it.
fn field(of: u8, value: &[u8]) -> (String, Value) {
    let name = match of {
        tag::TIMEOUT => "TIMEOUT",
        tag::SIZE => "SIZE",
        tag::STATUS => "STATUS",
        tag::APP_CODE => "APP_CODE",
        tag::MESSAGE => "MESSAGE",
        tag::RETRY_AFTER => "RETRY_AFTER",
        tag::METHOD => "METHOD",
        tag::BYTES => "BYTES",
        tag::MESSAGES => "MESSAGES",
        tag::LENGTH => "LENGTH",
        tag::RESUME => "RESUME",
        tag::MAX_BODY => "MAX_BODY",
        tag::MAX_IN_FLIGHT => "MAX_IN_FLIGHT",
        tag::MAX_CALLS => "MAX_CALLS",
        tag::LOAD => "LOAD",
        tag::META => "META",
        tag::CURSOR => "CURSOR",
        tag::FEATURES => "FEATURES",
        other => return (format!("{other:#04x}"), json!(hex(value))),
    };
    let value = match (of, value) {
        (tag::MESSAGE | tag::METHOD, text) => json!(String::from_utf8_lossy(text)),
        (tag::META, [len, rest @ ..]) if usize::from(*len) <= rest.len() => {
            let (key, value) = rest.split_at(usize::from(*len));
            let (key, value) = (String::from_utf8_lossy(key), String::from_utf8_lossy(value));
            json!(format!("{key}={value}"))
        }
        (tag::RESUME | tag::CURSOR | tag::META, bytes) => json!(hex(bytes)),
        (tag::STATUS, [code]) => json!(status(*code)),
        (_, [a]) => json!(a),
        (_, [a, b]) => json!(u16::from_be_bytes([*a, *b])),
        (_, [a, b, c, d]) => json!(u32::from_be_bytes([*a, *b, *c, *d])),
        (_, bytes) => json!(hex(bytes)),
    };
    (name.to_owned(), value)
}

/// What a status is called in section 2.4.
fn status(code: u8) -> String {
    const NAMES: [&str; 14] = [
        "application error",
        "protocol not registered",
        "busy",
        "request too large",
        "deadline exceeded",
        "cancelled",
        "internal error",
        "shutting down",
        "not implemented",
        "bad request",
        "response too large",
        "unauthenticated",
        "permission denied",
        "not found",
    ];
    match NAMES.get(usize::from(code).wrapping_sub(1)) {
        Some(name) => format!("{code} ({name})"),
        None => code.to_string(),
    }
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

impl Decoded {
    /// What there is, one frame a line, with indented lines for fields and bodies.
    #[must_use]
    pub fn lines(&self, whole: bool) -> Vec<String> {
        let mut lines = Vec::new();
        for (at, frame) in &self.frames {
            lines.push(self.title(*at, frame));
            for (tag, value) in fields(&frame.head) {
                lines.push(match value.map(|value| field(tag, value)) {
                    Some((name, Value::String(text))) => format!("          {name} {text:?}"),
                    Some((name, value)) => format!("          {name} {value}"),
                    None => format!("          {tag:#04x} is malformed"),
                });
            }
            if !frame.body.is_empty() {
                lines.push(format!("          {}", shown(&frame.body, whole)));
            }
        }
        if let Some((at, error)) = &self.error {
            lines.push(format!("{at:08x}  {error}"));
        }
        lines
    }

    fn title(&self, at: usize, frame: &Frame) -> String {
        let len = frame.body.len();
        if self.format == Format::Plain {
            return format!("{at:08x}  message of {len} B");
        }
        let header = &frame.header;
        let flags = flags(header.flags).iter().map(|flag| format!(" {flag}")).collect::<String>();
        format!("{at:08x}  {} id={}{flags}, {len} B", kind(frame), header.id)
    }

    /// The same as one value for each frame.
    #[must_use]
    pub fn values(&self) -> Vec<Value> {
        let mut values: Vec<Value> =
            self.frames.iter().map(|(at, frame)| self.value(*at, frame)).collect();
        if let Some((at, error)) = &self.error {
            values.push(json!({ "offset": at, "error": error.to_string() }));
        }
        values
    }

    fn value(&self, at: usize, frame: &Frame) -> Value {
        let body = hex(&frame.body);
        if self.format == Format::Plain {
            return json!({ "offset": at, "kind": "message", "body": body });
        }
        let named = fields(&frame.head).into_iter().map(|(tag, value)| match value {
            Some(value) => {
                let (name, value) = field(tag, value);
                json!({ "tag": tag, "name": name, "value": value })
            }
            None => json!({ "tag": tag, "malformed": true }),
        });
        let mut value = Map::new();
        value.insert("offset".to_owned(), json!(at));
        value.insert("kind".to_owned(), json!(kind(frame)));
        value.insert("id".to_owned(), json!(frame.header.id));
        value.insert("flags".to_owned(), json!(flags(frame.header.flags)));
        value.insert("fields".to_owned(), named.collect());
        value.insert("body".to_owned(), json!(body));
        value.into()
    }
}

/// A body as text if it is some, and as hexadecimal digits otherwise.
fn shown(body: &[u8], whole: bool) -> String {
    let cut = if whole { body } else { &body[..body.len().min(SHOWN)] };
    let more = if cut.len() < body.len() { " …" } else { "" };
    match std::str::from_utf8(cut) {
        Ok(text) => format!("{text:?}{more}"),
        Err(_) => format!("{}{more}", hex(cut)),
    }
}

/// The bytes that a hex dump stands for: bare digits, or what `xxd` and `hexdump -C` print. `None` if it is
/// none.
#[must_use]
pub fn undump(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut bytes = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let digits = match (line.split_once('|'), line.split_once(": ")) {
            // hexdump -C: offset, digits, |text|
            (Some((digits, _)), _) => digits.split_once(char::is_whitespace)?.1,
            // xxd: offset, digits, two spaces, text
            (None, Some((_, rest))) => rest.split("  ").next().unwrap_or_default(),
            (None, None) => line,
        };
        let digits: String = digits.split_whitespace().collect();
        // hexdump -C ends with the length alone.
        if text.contains('|') && !line.contains('|') {
            continue;
        }
        bytes.extend(data_encoding::HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok()?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(hex: &str) -> Vec<String> {
        decode(&undump(hex.as_bytes()).expect("hex").into(), None).lines(false)
    }

    #[test]
    fn the_vectors_of_the_specification_are_read() {
        assert_eq!(
            lines("00000005 68656c6c6f"),
            ["00000000  message of 5 B", "          \"hello\""]
        );
        let settings = "0000001a 01 00 000e 0000000000000000 11 0004 02000000 12 0004 00000400";
        let request = "00000018 02 00 0007 0000000000100000 01 0004 000003e8 68656c6c6f";
        assert_eq!(
            lines(&format!("{settings}\n{request}")),
            [
                "00000000  SETTINGS id=0, 0 B",
                "          MAX_BODY 33554432",
                "          MAX_IN_FLIGHT 1024",
                "0000001e  REQUEST id=1048576, 5 B",
                "          TIMEOUT 1000",
                "          \"hello\"",
            ]
        );
    }

    #[test]
    fn what_is_cut_or_broken_is_named() {
        let whole = "00000018 02 00 0007 0000000000100000 01 0004 000003e8 68656c6c6f";
        let cut = lines(&whole[..whole.len() - 4]);
        assert_eq!(cut, ["00000000  the stream ended inside a frame"]);
        assert_eq!(lines("0000"), ["00000000  the stream ended inside a frame"]);
        assert!(lines("").is_empty());
        let malformed = "00000010 02 c1 0004 0000000000000001 01 0004 00";
        assert_eq!(
            lines(malformed),
            [
                "00000000  REQUEST id=1 COMPRESSED UNPROCESSED 0x80, 0 B",
                "          0x01 is malformed",
            ]
        );
    }

    #[test]
    fn dumps_of_other_tools_are_read() {
        let bytes = b"\0\0\0\x05hello".to_vec();
        let xxd = "00000000: 0000 0005 6865 6c6c 6f                   ....hello\n";
        let hexdump = "00000000  00 00 00 05 68 65 6c 6c  6f     |....hello|\n00000009\n";
        for dump in [xxd, hexdump, "0000000568656C6C6F", "00 00 00 05 # five\n68656c6c6f"] {
            assert_eq!(undump(dump.as_bytes()), Some(bytes.clone()), "{dump}");
        }
        for none in ["hello", "123", "\u{fffd}"] {
            assert_eq!(undump(none.as_bytes()), None, "{none}");
        }
        assert_eq!(undump(&[0, 0, 0, 1, 0xff]), None);
    }
}
