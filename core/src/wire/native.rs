//! The native frame header and its fields: `WIRE.md` sections 2.2 to 2.4.

use bytes::{BufMut, Bytes, BytesMut};

use super::call::MAX_PART;
use super::{FrameError, MAX_HEAD};

/// Length, kind, flags, field length, id.
pub(super) const HEADER_LEN: usize = 16;
/// What `length` counts beside fields and body: kind, flags, field length, id.
const COUNTED: usize = 12;

/// What a native frame is.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Limits of the sender; first frame of each direction, repeatable.
    Settings = 0x01,
    /// A request, client to server.
    Request = 0x02,
    /// The one answer to a request, server to client.
    Response = 0x03,
    /// The client no longer wants the answer; the server still sends one.
    Cancel = 0x04,
    /// The server takes no requests beyond the id of this frame.
    Drain = 0x05,
    /// A message of a call, or a part of one.
    Data = 0x06,
    /// A handler has the call, server to client.
    Accept = 0x07,
    /// The sender takes so many more bytes and messages of the call.
    Credit = 0x08,
    /// The sender sends no more messages in the call.
    Finish = 0x09,
}

impl Kind {
    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0x01 => Self::Settings,
            0x02 => Self::Request,
            0x03 => Self::Response,
            0x04 => Self::Cancel,
            0x05 => Self::Drain,
            0x06 => Self::Data,
            0x07 => Self::Accept,
            0x08 => Self::Credit,
            0x09 => Self::Finish,
            _ => return None,
        })
    }
}

/// The flags of a native frame. Bits `0x01` to `0x20` must be understood by whoever acts on the
/// frame; `0x40` and `0x80` may be ignored.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Flags(pub u8);

impl Flags {
    /// The body is compressed; field [`tag::SIZE`] has the original length.
    pub const COMPRESSED: Self = Self(0x01);
    /// The request opens a call: messages follow in [`Kind::Data`] frames.
    pub const STREAM: Self = Self(0x02);
    /// The message goes on in the next [`Kind::Data`] frame of this id.
    pub const MORE: Self = Self(0x04);
    /// On a request that opens a call: the client sends no messages in it.
    pub const SILENT: Self = Self(0x08);
    /// On an answer: the handler surely never saw the request.
    pub const UNPROCESSED: Self = Self(0x40);

    /// Whether all bits of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Bits that must be understood, and are not on a request or response that belongs to no call.
    pub(crate) const fn unsupported(self) -> bool {
        self.has_beyond(Self::COMPRESSED)
    }

    /// Whether there are bits that must be understood beside `known`.
    pub(crate) const fn has_beyond(self, known: Self) -> bool {
        self.0 & 0x3f & !known.0 != 0
    }
}

impl core::ops::BitOr for Flags {
    type Output = Self;
    fn bitor(self, rhs: Self) -> Self {
        Self(self.0 | rhs.0)
    }
}

/// The fixed part of a native frame.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the frame is; `None` for a kind this version ignores.
    pub kind: Option<Kind>,
    /// Its flags.
    pub flags: Flags,
    /// The request it belongs to.
    pub id: u64,
    /// Bytes of fields.
    pub(super) head: usize,
    /// Bytes of body.
    pub(super) body: usize,
}

impl Header {
    /// Reads a header; checks every length before anyone acts on it.
    #[inline]
    pub(super) fn parse(bytes: &[u8; HEADER_LEN], max_body: usize) -> Result<Self, FrameError> {
        let [l0, l1, l2, l3, kind, flags, h0, h1, id @ ..] = *bytes;
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        let head = u16::from_be_bytes([h0, h1]);
        let id = u64::from_be_bytes(id);
        let body = u64::from(length).checked_sub(COUNTED as u64 + u64::from(head));
        let Some(body) = body.filter(|_| usize::from(head) <= MAX_HEAD) else {
            return Err(FrameError::Length { length, head });
        };
        if body > max_body as u64 {
            let request = kind == Kind::Request as u8;
            let limit = max_body as u64;
            return Err(FrameError::TooLarge { id, request, announced: body, limit });
        }
        if body > MAX_PART as u64 && kind == Kind::Data as u8 {
            let limit = MAX_PART as u64;
            return Err(FrameError::TooLarge { id, request: false, announced: body, limit });
        }
        let known = Kind::from_byte(kind);
        if known.is_none() && kind < 0x80 {
            return Err(FrameError::UnknownKind { kind });
        }
        let (head, body) = (usize::from(head), body as usize);
        Ok(Self { kind: known, flags: Flags(flags), id, head, body })
    }
}

/// The length of the frame at the start of `bytes`, all of it, if it is a request without flags.
/// The frame may not be there whole.
pub(super) fn plain_request(bytes: &[u8]) -> Option<usize> {
    let [l0, l1, l2, l3, kind, flags, ..] = *bytes.first_chunk::<HEADER_LEN>()?;
    let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    let plain = kind == Kind::Request as u8 && flags == 0;
    length.checked_add(HEADER_LEN - COUNTED).filter(|_| plain)
}

/// Tags of fields. Those below `0x80` must be understood, those from `0x80` may be ignored.
pub mod tag {
    /// `u32`: milliseconds that the caller will still wait.
    pub const TIMEOUT: u8 = 0x01;
    /// `u32`: length of the body before compression.
    pub const SIZE: u8 = 0x02;
    /// `u8`: outcome; absent means ok.
    pub const STATUS: u8 = 0x03;
    /// `u32`: the application's own error code.
    pub const APP_CODE: u8 = 0x04;
    /// UTF-8: what went wrong, for people.
    pub const MESSAGE: u8 = 0x05;
    /// `u32`: milliseconds to wait before asking again.
    pub const RETRY_AFTER: u8 = 0x06;
    /// UTF-8: what is asked for within the protocol.
    pub const METHOD: u8 = 0x07;
    /// `u32`: so many more bytes of messages the sender takes.
    pub const BYTES: u8 = 0x08;
    /// `u32`: so many more messages the sender takes.
    pub const MESSAGES: u8 = 0x09;
    /// `u32`: length of all parts of a message together.
    pub const LENGTH: u8 = 0x0a;
    /// The cursor behind which a call goes on.
    pub const RESUME: u8 = 0x0b;
    /// `u32`: the largest body the sender of SETTINGS accepts.
    pub const MAX_BODY: u8 = 0x11;
    /// `u32`: the most requests in flight on this stream.
    pub const MAX_IN_FLIGHT: u8 = 0x12;
    /// `u32`: the most calls that have not ended on this stream.
    pub const MAX_CALLS: u8 = 0x13;
    /// `u16`: the server's load in thousandths of its limit.
    pub const LOAD: u8 = 0x81;
    /// One key and value of metadata.
    pub const META: u8 = 0x82;
    /// What a call is opened with again to go on behind a message.
    pub const CURSOR: u8 = 0x83;
    /// `u32`: bits of what else the sender of SETTINGS understands.
    pub const FEATURES: u8 = 0x91;
}

/// The header of a frame without flags and fields.
pub(super) fn whole(kind: Kind, id: u64, body: usize) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[..4].copy_from_slice(&((COUNTED + body) as u32).to_be_bytes());
    header[4] = kind as u8;
    header[8..].copy_from_slice(&id.to_be_bytes());
    header
}

/// Writes one frame's header and fields. The lengths are patched in when the frame is finished.
#[derive(Debug)]
pub struct Head<'a> {
    buf: &'a mut BytesMut,
    start: usize,
}

impl<'a> Head<'a> {
    /// Begins a frame at the end of `buf`.
    #[inline]
    pub fn new(buf: &'a mut BytesMut, kind: Kind, flags: Flags, id: u64) -> Self {
        let start = buf.len();
        let mut header = [0; HEADER_LEN];
        header[4] = kind as u8;
        header[5] = flags.0;
        header[8..].copy_from_slice(&id.to_be_bytes());
        buf.put_slice(&header);
        Self { buf, start }
    }

    /// Adds a field of one byte.
    pub fn u8(&mut self, tag: u8, value: u8) {
        self.bytes(tag, &[value]);
    }

    /// Adds a field of two bytes.
    pub fn u16(&mut self, tag: u8, value: u16) {
        self.bytes(tag, &value.to_be_bytes());
    }

    /// Adds a field of four bytes.
    pub fn u32(&mut self, tag: u8, value: u32) {
        self.bytes(tag, &value.to_be_bytes());
    }

    /// Adds a field of any bytes. The fields of a frame stay within [`MAX_HEAD`] together; one
    /// that has no room any more is left out.
    pub fn bytes(&mut self, tag: u8, value: &[u8]) {
        let used = self.buf.len() - self.start - HEADER_LEN;
        if used + 3 + value.len() <= MAX_HEAD {
            self.buf.put_slice(&[tag, (value.len() >> 8) as u8, value.len() as u8]);
            self.buf.put_slice(value);
        }
    }

    /// Adds fields that are encoded already, within the same limit.
    pub(super) fn fields(&mut self, fields: &[u8]) {
        if self.buf.len() - self.start - HEADER_LEN + fields.len() <= MAX_HEAD {
            self.buf.put_slice(fields);
        }
    }

    /// Ends the fields; a body of `body` bytes follows. Returns the bytes written so far.
    #[inline]
    pub fn finish(self, body: usize) -> usize {
        let written = self.buf.len() - self.start;
        let head = (written - HEADER_LEN) as u16;
        let length = (COUNTED + usize::from(head) + body) as u32;
        self.buf[self.start..self.start + 4].copy_from_slice(&length.to_be_bytes());
        self.buf[self.start + 6..self.start + 8].copy_from_slice(&head.to_be_bytes());
        written
    }
}

/// Reads the fields of a frame in order.
#[derive(Debug)]
pub(crate) struct HeadReader<'a>(&'a [u8]);

impl<'a> HeadReader<'a> {
    pub(crate) fn new(head: &'a [u8]) -> Self {
        Self(head)
    }
}

impl<'a> Iterator for HeadReader<'a> {
    type Item = Result<Field<'a>, FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (&tag, rest) = self.0.split_first()?;
        // Whatever is malformed ends the iteration too.
        self.0 = &[];
        let Some((len, rest)) = rest.split_first_chunk::<2>() else {
            return Some(Err(FrameError::Field { tag }));
        };
        let Some((value, rest)) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
        else {
            return Some(Err(FrameError::Field { tag }));
        };
        self.0 = rest;
        Some(Ok(Field { tag, value }))
    }
}

/// One field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    pub(crate) tag: u8,
    pub(crate) value: &'a [u8],
}

impl Field<'_> {
    pub(crate) fn u8(self) -> Result<u8, FrameError> {
        match *self.value {
            [value] => Ok(value),
            _ => Err(FrameError::Field { tag: self.tag }),
        }
    }

    pub(crate) fn u16(self) -> Result<u16, FrameError> {
        let bytes = self.value.try_into().map_err(|_| FrameError::Field { tag: self.tag })?;
        Ok(u16::from_be_bytes(bytes))
    }

    pub(crate) fn u32(self) -> Result<u32, FrameError> {
        let bytes = self.value.try_into().map_err(|_| FrameError::Field { tag: self.tag })?;
        Ok(u32::from_be_bytes(bytes))
    }

    /// Whether this field may be skipped by who does not know it.
    pub(crate) const fn ignorable(self) -> bool {
        self.tag >= 0x80
    }
}

/// What one side accepts, as announced in [`Kind::Settings`] (section 2.5).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The largest body in bytes, before and after compression.
    pub max_body: u32,
    /// The most requests in flight on the stream; requests beyond are answered `busy`.
    pub max_in_flight: u32,
    /// The most calls on the stream that have not ended; calls beyond are answered `busy`.
    pub max_calls: u32,
    /// What else the sender understands.
    pub features: Features,
}

/// What a peer understands beyond requests, bit by bit (section 2.5).
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
pub struct Features(pub u32);

impl Features {
    /// Requests with [`Flags::STREAM`].
    pub const CALLS: Self = Self(1);
    /// Requests with [`tag::METHOD`] and [`tag::META`].
    pub const METHODS: Self = Self(2);

    /// Whether all bits of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl core::ops::BitOr for Features {
    type Output = Self;
    fn bitor(self, rhs: Self) -> Self {
        Self(self.0 | rhs.0)
    }
}

impl Settings {
    /// What is assumed until the peer's settings arrive (section 2.5).
    pub const ASSUMED: Self = Self {
        max_body: 32 * 1024 * 1024,
        max_in_flight: 128,
        max_calls: 128,
        features: Features(0),
    };

    /// Writes the fields of a settings frame.
    pub(super) fn fields(self, head: &mut Head<'_>) {
        head.u32(tag::MAX_BODY, self.max_body);
        head.u32(tag::MAX_IN_FLIGHT, self.max_in_flight);
        if self.features.contains(Features::CALLS) {
            head.u32(tag::MAX_CALLS, self.max_calls);
        }
        if self.features != Features::default() {
            head.u32(tag::FEATURES, self.features.0);
        }
    }

    /// Takes over what a settings frame says. Absent fields stay, unknown ones are ignored.
    ///
    /// # Errors
    /// [`FrameError::Field`] if a known field has the wrong size.
    pub fn update(&mut self, head: &Bytes) -> Result<(), FrameError> {
        for field in HeadReader::new(head) {
            let field = field?;
            match field.tag {
                tag::MAX_BODY => self.max_body = field.u32()?,
                // Zero would stop the stream for ever without saying so: DRAIN says so.
                tag::MAX_IN_FLIGHT => self.max_in_flight = field.u32()?.max(1),
                tag::MAX_CALLS => self.max_calls = field.u32()?,
                tag::FEATURES => self.features = Features(field.u32()?),
                _ => {}
            }
        }
        Ok(())
    }
}
