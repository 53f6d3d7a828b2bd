//! The frames of calls: `WIRE.md` section 2.9.

use core::ops::{Add, AddAssign};

use bytes::Bytes;
use thiserror::Error;

use super::compress::Payload;
use super::metadata::{Metadata, Method};
use super::{Flags, Frame, FrameError, Head, HeadReader, Kind, Outbox, tag};

/// The longest body of a [`Kind::Data`] frame.
pub const MAX_PART: usize = 32 * 1024;
/// The shortest body of a part behind which others follow.
pub const MIN_PART: usize = 1024;
/// The longest argument or result of a call: they take no credit.
pub const MAX_ARGUMENT: usize = 64 * 1024;
/// The longest cursor.
pub const MAX_CURSOR: usize = 1024;
/// The highest balance of credit.
pub(crate) const MAX_CREDIT: u32 = i32::MAX as u32;
/// What a receiver has granted at least when its application has taken everything.
pub(crate) const MIN_WINDOW: Credit = Credit { bytes: 4096, messages: 1 };

/// How much of a call's messages may be sent.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Credit {
    /// Bytes of bodies on the wire.
    pub bytes: u32,
    /// Messages that may begin.
    pub messages: u32,
}

impl Credit {
    /// None at all.
    pub const NONE: Self = Self { bytes: 0, messages: 0 };

    /// Credit of so many bytes and messages.
    #[must_use]
    pub const fn new(bytes: u32, messages: u32) -> Self {
        Self { bytes, messages }
    }

    /// The lesser of both, of bytes and of messages.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self { bytes: self.bytes.min(other.bytes), messages: self.messages.min(other.messages) }
    }

    /// The greater of both, of bytes and of messages.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { bytes: self.bytes.max(other.bytes), messages: self.messages.max(other.messages) }
    }

    /// What is left of it without `other`.
    #[must_use]
    pub const fn less(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(other.bytes),
            messages: self.messages.saturating_sub(other.messages),
        }
    }
}

impl Add for Credit {
    type Output = Self;
    fn add(self, rhs: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(rhs.bytes),
            messages: self.messages.saturating_add(rhs.messages),
        }
    }
}

impl AddAssign for Credit {
    fn add_assign(&mut self, rhs: Self) {
        *self = *self + rhs;
    }
}

/// What a peer did in a call that section 2.9 does not allow. Its stream is broken.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum CallViolation {
    /// More bytes or messages than there was credit for.
    #[error("a message beyond the credit of its call")]
    NoCredit,
    /// A message, or another end, after the end of the messages.
    #[error("a message after the end of messages in its call")]
    AfterFinish,
    /// A frame of a call that was never opened, or that the sender has ended itself.
    #[error("a frame of a call that is not open")]
    NotOpen,
    /// A frame of a call that no handler has accepted, or a second acceptance.
    #[error("a frame of a call that was not accepted, or accepted before")]
    Acceptance,
    /// Parts of a message that do not belong together, or are too short.
    #[error("parts of a message that do not fit together")]
    Parts,
    /// More credit than a balance can hold.
    #[error("more credit than a call may have")]
    TooMuchCredit,
    /// A result longer than [`MAX_ARGUMENT`].
    #[error("the result of a call is longer than 65536 bytes")]
    Result,
}

/// What a client asks for with a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallRequest {
    /// Which handler of the protocol is meant.
    pub method: Option<Method>,
    /// What the handler is told beside the argument.
    pub metadata: Metadata,
    /// The argument, at most [`MAX_ARGUMENT`] bytes.
    pub argument: Payload,
    /// What the server may send at once.
    pub credit: Credit,
    /// The client sends no messages.
    pub silent: bool,
    /// The cursor behind which the call goes on.
    pub resume: Option<Bytes>,
    /// Milliseconds that the caller will wait for the end of the call.
    pub timeout: Option<u32>,
}

/// A request that opens a call, as a server reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    pub(crate) request: CallRequest,
    /// It has something that must be understood and is not.
    pub(crate) unknown: bool,
    /// A value in it is not what it has to be.
    pub(crate) malformed: bool,
}

fn flags_of(payload: &Payload) -> Flags {
    if payload.is_compressed() { Flags::COMPRESSED } else { Flags::default() }
}

/// Adds the request that opens a call.
pub(crate) fn request(outbox: &mut Outbox, id: u64, request: CallRequest) {
    let CallRequest { method, metadata, argument, credit, silent, resume, timeout } = request;
    let mut flags = Flags::STREAM | flags_of(&argument);
    if silent {
        flags = flags | Flags::SILENT;
    }
    outbox.native(Kind::Request, flags, id, argument.bytes, |head| {
        if let Some(timeout) = timeout {
            head.u32(tag::TIMEOUT, timeout);
        }
        if let Some(original) = argument.original {
            head.u32(tag::SIZE, original);
        }
        if let Some(method) = &method {
            head.bytes(tag::METHOD, method.as_str().as_bytes());
        }
        write_credit(head, credit);
        if let Some(cursor) = &resume {
            head.bytes(tag::RESUME, cursor);
        }
        metadata.write(head);
    });
}

fn write_credit(head: &mut Head<'_>, credit: Credit) {
    if credit.bytes > 0 {
        head.u32(tag::BYTES, credit.bytes);
    }
    if credit.messages > 0 {
        head.u32(tag::MESSAGES, credit.messages);
    }
}

/// Reads the request that opens a call.
pub(crate) fn parse_request(frame: Frame) -> Result<Opening, FrameError> {
    let flags = frame.header.flags;
    let silent = flags.contains(Flags::SILENT);
    let mut request = CallRequest { silent, ..CallRequest::default() };
    let (mut original, mut malformed, mut metadata) = (None, false, false);
    let mut unknown = flags.has_beyond(Flags::STREAM | Flags::COMPRESSED | Flags::SILENT);
    for field in HeadReader::new(&frame.head) {
        let field = field?;
        match field.tag {
            tag::TIMEOUT => request.timeout = Some(field.u32()?),
            tag::SIZE => original = Some(field.u32()?),
            tag::BYTES => request.credit.bytes = field.u32()?,
            tag::MESSAGES => request.credit.messages = field.u32()?,
            tag::METHOD => {
                request.method = Method::read(field.value);
                malformed |= request.method.is_none();
            }
            tag::RESUME => {
                malformed |= field.value.len() > MAX_CURSOR;
                request.resume = Some(Bytes::copy_from_slice(field.value));
            }
            tag::META => metadata = true,
            _ => unknown |= !field.ignorable(),
        }
    }
    if flags.contains(Flags::COMPRESSED) != original.is_some() {
        return Err(FrameError::Field { tag: tag::SIZE });
    }
    if metadata {
        request.metadata = Metadata::read(&frame.head);
    }
    request.argument = Payload::new(frame.body, original);
    Ok(Opening { request, unknown, malformed })
}

/// What an ACCEPT says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Acceptance {
    pub(crate) metadata: Metadata,
    pub(crate) credit: Credit,
    pub(crate) load: Option<u16>,
}

pub(crate) fn accept(outbox: &mut Outbox, id: u64, acceptance: &Acceptance) {
    outbox.native(Kind::Accept, Flags::default(), id, Bytes::new(), |head| {
        write_credit(head, acceptance.credit);
        if let Some(load) = acceptance.load {
            head.u16(tag::LOAD, load);
        }
        acceptance.metadata.write(head);
    });
}

pub(crate) fn parse_accept(frame: &Frame) -> Result<Acceptance, FrameError> {
    let (mut acceptance, mut metadata) = (Acceptance::default(), false);
    for field in HeadReader::new(&frame.head) {
        let field = field?;
        match field.tag {
            tag::BYTES => acceptance.credit.bytes = field.u32()?,
            tag::MESSAGES => acceptance.credit.messages = field.u32()?,
            tag::LOAD => acceptance.load = Some(field.u16()?),
            tag::META => metadata = true,
            _ if field.ignorable() => {}
            tag => return Err(FrameError::Field { tag }),
        }
    }
    if metadata {
        acceptance.metadata = Metadata::read(&frame.head);
    }
    Ok(acceptance)
}

pub(crate) fn credit(outbox: &mut Outbox, id: u64, credit: Credit) {
    outbox.native(Kind::Credit, Flags::default(), id, Bytes::new(), |head| {
        write_credit(head, credit);
    });
}

pub(crate) fn parse_credit(frame: &Frame) -> Result<Credit, FrameError> {
    let mut credit = Credit::NONE;
    for field in HeadReader::new(&frame.head) {
        let field = field?;
        match field.tag {
            tag::BYTES => credit.bytes = field.u32()?,
            tag::MESSAGES => credit.messages = field.u32()?,
            _ => {}
        }
    }
    Ok(credit)
}

/// A frame without fields and body.
pub(crate) fn bare(outbox: &mut Outbox, kind: Kind, id: u64) {
    outbox.native(kind, Flags::default(), id, Bytes::new(), |_| {});
}

/// What the first frame of a message says beside its body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FirstPart {
    /// Length of all parts, if there are several.
    pub(crate) length: Option<u32>,
    pub(crate) original: Option<u32>,
    pub(crate) cursor: Option<Bytes>,
}

/// Adds the first or only part of a message.
pub(crate) fn first_part(outbox: &mut Outbox, id: u64, first: &FirstPart, body: &[u8]) {
    let mut flags = Flags::default();
    if first.length.is_some() {
        flags = flags | Flags::MORE;
    }
    if first.original.is_some() {
        flags = flags | Flags::COMPRESSED;
    }
    outbox.data(flags, id, body, |head| {
        if let Some(length) = first.length {
            head.u32(tag::LENGTH, length);
        }
        if let Some(original) = first.original {
            head.u32(tag::SIZE, original);
        }
        if let Some(cursor) = &first.cursor {
            head.bytes(tag::CURSOR, cursor);
        }
    });
}

/// Adds a later part of a message.
pub(crate) fn later_part(outbox: &mut Outbox, id: u64, more: bool, body: &[u8]) {
    let flags = if more { Flags::MORE } else { Flags::default() };
    outbox.data(flags, id, body, |_| {});
}

/// A message, or a part of one, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) first: FirstPart,
    /// Others follow.
    pub(crate) more: bool,
    pub(crate) body: Bytes,
}

pub(crate) fn parse_data(frame: Frame) -> Result<Part, FrameError> {
    let flags = frame.header.flags;
    if flags.has_beyond(Flags::COMPRESSED | Flags::MORE) {
        return Err(FrameError::Unexpected("a message with flags that were not agreed on"));
    }
    let mut first = FirstPart::default();
    if !frame.head.is_empty() {
        for field in HeadReader::new(&frame.head) {
            let field = field?;
            match field.tag {
                tag::LENGTH => first.length = Some(field.u32()?),
                tag::SIZE => first.original = Some(field.u32()?),
                tag::CURSOR if field.value.len() <= MAX_CURSOR => {
                    first.cursor = Some(Bytes::copy_from_slice(field.value));
                }
                _ if field.ignorable() => {}
                tag => return Err(FrameError::Field { tag }),
            }
        }
    }
    if flags.contains(Flags::COMPRESSED) != first.original.is_some() {
        return Err(FrameError::Field { tag: tag::SIZE });
    }
    let more = flags.contains(Flags::MORE);
    if more && frame.body.len() < MIN_PART {
        return Err(FrameError::Call(CallViolation::Parts));
    }
    Ok(Part { first, more, body: frame.body })
}

/// Adds the result of a call.
pub(crate) fn result(outbox: &mut Outbox, id: u64, result: Payload, metadata: &Metadata) {
    outbox.native(Kind::Response, flags_of(&result), id, result.bytes, |head| {
        if let Some(original) = result.original {
            head.u32(tag::SIZE, original);
        }
        metadata.write(head);
    });
}
