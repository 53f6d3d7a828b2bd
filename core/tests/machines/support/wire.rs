//! Frames as tests write them, encoded without the library's help.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

/// A frame of either format.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Wire {
    plain: bool,
    kind: u8,
    flags: u8,
    id: u64,
    fields: Vec<u8>,
    body: Bytes,
}

/// A plain frame.
pub(crate) fn plain(body: impl Into<Bytes>) -> Wire {
    Wire { plain: true, ..frame(0, 0, body) }
}

/// A native frame of any kind.
pub(crate) fn frame(kind: u8, id: u64, body: impl Into<Bytes>) -> Wire {
    Wire { plain: false, kind, flags: 0, id, fields: Vec::new(), body: body.into() }
}

pub(crate) fn settings(max_body: usize, max_in_flight: u32) -> Wire {
    let max_body = u32::try_from(max_body).expect("fits");
    frame(1, 0, "").field(0x11, &max_body.to_be_bytes()).field(0x12, &max_in_flight.to_be_bytes())
}

/// Settings as a server sends them that takes so many calls.
pub(crate) fn server_settings(max_body: usize, max_in_flight: u32, max_calls: u32) -> Wire {
    let settings = settings(max_body, max_in_flight);
    match max_calls {
        0 => settings.features(2),
        _ => settings.field(0x13, &max_calls.to_be_bytes()).features(3),
    }
}

pub(crate) fn request(id: u64, body: impl Into<Bytes>) -> Wire {
    frame(2, id, body)
}

pub(crate) fn response(id: u64, body: impl Into<Bytes>) -> Wire {
    frame(3, id, body)
}

/// An answer with a status.
pub(crate) fn failure(id: u64, status: u8) -> Wire {
    frame(3, id, "").field(3, &[status])
}

pub(crate) fn cancel(id: u64) -> Wire {
    frame(4, id, "")
}

pub(crate) fn drain(id: u64) -> Wire {
    frame(5, id, "")
}

/// The wire id that a client gives to the `seq`th request on a stream, in the lowest free slot.
pub(crate) const fn id(seq: u64, slot: u64) -> u64 {
    seq << 20 | slot
}

impl Wire {
    pub(crate) fn flag(mut self, bits: u8) -> Self {
        self.flags |= bits;
        self
    }

    pub(crate) fn field(mut self, tag: u8, value: &[u8]) -> Self {
        self.fields.put_u8(tag);
        self.fields.put_u16(value.len() as u16);
        self.fields.put_slice(value);
        self
    }

    /// What else the sender of settings understands.
    pub(crate) fn features(self, bits: u32) -> Self {
        self.field(0x91, &bits.to_be_bytes())
    }

    /// Metadata.
    pub(crate) fn meta(self, key: &str, value: &[u8]) -> Self {
        let key_len = u8::try_from(key.len()).expect("a short key");
        self.field(0x82, &[&[key_len], key.as_bytes(), value].concat())
    }

    pub(crate) fn timeout(self, millis: u32) -> Self {
        self.field(1, &millis.to_be_bytes())
    }

    /// Marks the body as compressed.
    pub(crate) fn compressed(self, original: u32) -> Self {
        self.flag(0x01).field(2, &original.to_be_bytes())
    }

    pub(crate) fn app_code(self, code: u32) -> Self {
        self.field(4, &code.to_be_bytes())
    }

    pub(crate) fn message(self, message: &str) -> Self {
        self.field(5, message.as_bytes())
    }

    pub(crate) fn retry_after(self, millis: u32) -> Self {
        self.field(6, &millis.to_be_bytes())
    }

    pub(crate) fn unprocessed(self) -> Self {
        self.flag(0x40)
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        if self.plain {
            out.put_u32(self.body.len() as u32);
        } else {
            out.put_u32((12 + self.fields.len() + self.body.len()) as u32);
            out.put_slice(&[self.kind, self.flags]);
            out.put_u16(self.fields.len() as u16);
            out.put_u64(self.id);
            out.put_slice(&self.fields);
        }
        out.put_slice(&self.body);
        out.freeze()
    }

    /// Adds the server's load.
    pub(crate) fn load(self, thousandths: u16) -> Self {
        self.field(0x81, &thousandths.to_be_bytes())
    }

    /// The first `n` bytes.
    pub(crate) fn first(&self, n: usize) -> Bytes {
        self.bytes().slice(..n)
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.kind {
            0 if self.plain => "plain",
            1 => "settings",
            2 => "request",
            3 => "response",
            4 => "cancel",
            5 => "drain",
            _ => "frame",
        };
        write!(f, "{name}({:#x}+{}", self.id >> 20, self.id & 0xf_ffff)?;
        if self.flags != 0 {
            write!(f, " flags {:02x}", self.flags)?;
        }
        if !self.fields.is_empty() {
            write!(f, " fields {:02x?}", self.fields)?;
        }
        let shown = &self.body[..self.body.len().min(40)];
        write!(f, " body[{}] {:?})", self.body.len(), Bytes::copy_from_slice(shown))
    }
}

/// Frames one after the other.
pub(crate) fn join<const N: usize>(frames: [Wire; N]) -> Bytes {
    frames.iter().flat_map(Wire::bytes).collect()
}

/// Native frames without the field LOAD of responses, and the loads by id. The last frame may end
/// beyond `bytes`.
pub(crate) fn without_load(mut bytes: &[u8]) -> (Bytes, Vec<(u64, u16)>) {
    let (mut out, mut loads) = (BytesMut::new(), Vec::new());
    while let Some((header, rest)) = bytes.split_first_chunk::<16>() {
        let [l0, l1, l2, l3, kind, flags, h0, h1, id @ ..] = *header;
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        let fields = usize::from(u16::from_be_bytes([h0, h1]));
        let body = length as usize - 12 - fields;
        let (mut head, rest) = rest.split_at(fields);
        let mut kept = Vec::new();
        while let [tag, n0, n1, ..] = *head {
            let (field, others) = head.split_at(3 + usize::from(u16::from_be_bytes([n0, n1])));
            match *field {
                [0x81, 0, 2, high, low] if kind == 3 => {
                    loads.push((u64::from_be_bytes(id), u16::from_be_bytes([high, low])));
                }
                _ => kept.put_slice(field),
            }
            assert!(tag != 0x81 || kind == 3, "LOAD on something else");
            head = others;
        }
        out.put_u32(length - (fields - kept.len()) as u32);
        out.put_slice(&[kind, flags]);
        out.put_u16(kept.len() as u16);
        out.put_slice(&id);
        out.put_slice(&kept);
        let (body, rest) = rest.split_at(body.min(rest.len()));
        out.put_slice(body);
        bytes = rest;
    }
    out.put_slice(bytes);
    (out.freeze(), loads)
}

/// What native frames there seem to be in `bytes`, for messages.
pub(crate) fn parse(bytes: &Bytes) -> Vec<Wire> {
    let mut rest = bytes.clone();
    let mut frames = Vec::new();
    while rest.len() >= 16 {
        let length = u32::from_be_bytes(rest[..4].try_into().expect("four")) as usize + 4;
        let fields = 16 + usize::from(u16::from_be_bytes([rest[6], rest[7]]));
        if length > rest.len() || fields > length {
            break;
        }
        let one = rest.split_to(length);
        let id = u64::from_be_bytes(one[8..16].try_into().expect("eight"));
        let mut parsed = frame(one[4], id, one.slice(fields..)).flag(one[5]);
        parsed.fields = one[16..fields].to_vec();
        frames.push(parsed);
    }
    if !rest.is_empty() {
        frames.push(plain(rest));
    }
    frames
}
