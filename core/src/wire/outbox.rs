//! What waits to be written on one stream.

use alloc::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::native::whole;
use super::{Flags, Format, Head, Kind, Settings};

/// Bodies up to this size are copied behind their header, so that many frames go out in one
/// write; neither Noise nor Yamux writes vectored, and both copy anyway.
const COPY: usize = 16 * 1024;
/// A larger body's beginning fills up the write that carries its header.
const FIRST_WRITE: usize = 16 * 1024;

/// The most bytes of one write. A larger body is written in pieces, without a copy, so that it is
/// seen whether the other end takes anything: a slow link needs minutes for a large body. Each write
/// costs a turn of the stream, so that a piece has four frames of the muxer.
const SLICE: usize = 260_000;

/// The largest buffer that is allocated for the frames of one write before there are any: as much as
/// calls write together, with a last part that goes beyond that.
const BATCH: usize = 100 * 1024;

/// Frames on their way out, as the fewest and largest writes that order allows, of at most 260 000
/// bytes each.
///
/// Small frames gather in one buffer; a large body is handed out as it is, uncopied, except for
/// the beginning that shares a write with its header.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Whole buffers, in order, before `tail`.
    ready: VecDeque<Bytes>,
    /// The first of `ready` is the rest of a buffer, of which so much was handed out.
    begun: Option<usize>,
    /// Slices of the buffer written now that went before this one: while it is written, they are
    /// not freed.
    pinned: usize,
    /// Frames that gather. While it is empty it may hold a buffer of up to `keep` bytes, which is
    /// used again once the write that shares it is done.
    tail: BytesMut,
    len: usize,
    keep: usize,
    /// How much gathered for the last write: the next buffer begins with that, so that it need
    /// not grow.
    batch: usize,
}

impl Outbox {
    /// An empty outbox that keeps a buffer of at most `keep` bytes for the next frames. Without
    /// one (0, the default), every write takes its buffer along.
    #[must_use]
    pub fn new(keep: usize) -> Self {
        Self { keep, ..Self::default() }
    }

    /// Bytes that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of buffer that are kept for frames to come.
    #[must_use]
    pub fn spare(&self) -> usize {
        self.tail.capacity() - self.tail.len()
    }

    /// The next bytes to write; `None` if there are none.
    pub fn next_write(&mut self) -> Option<Bytes> {
        let mut write = match self.ready.pop_front() {
            Some(write) => write,
            None if self.tail.is_empty() => return None,
            None => self.take_tail(),
        };
        self.pinned = self.begun.take().unwrap_or(0);
        if write.len() > SLICE {
            self.ready.push_front(write.split_off(SLICE));
            self.begun = Some(self.pinned + SLICE);
        }
        self.len -= write.len();
        Some(write)
    }

    /// The last write is done.
    pub(crate) fn written(&mut self) {
        self.pinned = self.begun.unwrap_or(0);
    }

    /// Bytes that were written and cannot be freed, because they are a part of what waits.
    pub(crate) fn pinned(&self) -> usize {
        self.pinned
    }

    /// Forgets everything that waits.
    pub fn clear(&mut self) {
        *self = Self::new(self.keep);
    }

    /// Adds a plain frame.
    pub fn plain(&mut self, body: Bytes) {
        self.make_room(Format::Plain.header_len() + body.len().min(COPY));
        let before = self.tail.len();
        self.tail.extend_from_slice(&(body.len() as u32).to_be_bytes());
        self.len += self.tail.len() - before;
        self.body(body);
    }

    /// Adds a native frame; `fields` writes its fields.
    #[inline]
    pub fn native(
        &mut self,
        kind: Kind,
        flags: Flags,
        id: u64,
        body: Bytes,
        fields: impl FnOnce(&mut Head<'_>),
    ) {
        self.make_room(Format::Native.header_len() + body.len().min(COPY));
        let mut head = Head::new(&mut self.tail, kind, flags, id);
        fields(&mut head);
        self.len += head.finish(body.len());
        self.body(body);
    }

    /// Adds a message of a call, or a part of one: it is copied whatever its length, so that what one
    /// [`fill`](crate::connection::Calls::fill) adds is one write.
    pub(crate) fn data(
        &mut self,
        flags: Flags,
        id: u64,
        body: &[u8],
        fields: impl FnOnce(&mut Head<'_>),
    ) {
        self.make_room(Format::Native.header_len() + body.len());
        let mut head = Head::new(&mut self.tail, Kind::Data, flags, id);
        fields(&mut head);
        self.len += head.finish(body.len()) + body.len();
        self.tail.extend_from_slice(body);
    }

    /// The same for a message of one part, and of nothing but its body.
    pub(crate) fn message(&mut self, id: u64, body: &[u8]) {
        let header = whole(Kind::Data, id, body.len());
        self.make_room(header.len() + body.len());
        self.tail.extend_from_slice(&header);
        self.tail.extend_from_slice(body);
        self.len += header.len() + body.len();
    }

    /// Sees to it that so many bytes can be added without another allocation.
    fn make_room(&mut self, wanted: usize) {
        if !self.tail.is_empty() {
            self.tail.reserve(wanted);
        } else if !self.tail.try_reclaim(wanted) {
            self.tail = BytesMut::with_capacity(wanted.max(self.batch.min(BATCH)));
        }
    }

    /// What has gathered, with its buffer unless that is small enough to be kept.
    fn take_tail(&mut self) -> Bytes {
        self.batch = self.tail.len();
        if self.tail.capacity() > self.keep {
            core::mem::take(&mut self.tail).freeze()
        } else {
            self.tail.split().freeze()
        }
    }

    /// Adds a settings frame.
    pub fn settings(&mut self, settings: Settings) {
        self.native(Kind::Settings, Flags::default(), 0, Bytes::new(), |head| {
            settings.fields(head);
        });
    }

    fn body(&mut self, mut body: Bytes) {
        self.len += body.len();
        if body.len() > COPY {
            let room = FIRST_WRITE.saturating_sub(self.tail.len());
            self.tail.extend_from_slice(&body.split_to(room));
            let first = self.take_tail();
            self.ready.push_back(first);
            self.ready.push_back(body);
        } else {
            self.tail.extend_from_slice(&body);
        }
    }
}
