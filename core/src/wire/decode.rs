//! Bytes, split anywhere, into frames.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::{Buf, Bytes, BytesMut};

use super::buffers::{Buffers, body};
use super::go12;
use super::native::{self, HEADER_LEN, Header, Kind};
use super::{Flags, Format, FrameError};

/// Frames up to this size that arrive in two reads are put together in one small buffer.
const SMALL: usize = 64 * 1024;
/// The factor by which the buffer of a larger body grows, when it is full: a peer has to send at
/// least an eighth of what it makes this end allocate.
const GROWTH: usize = 8;

/// Whether there is room for a large body.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// For all of it.
    Whole,
    /// For as much as is needed next.
    Part,
    /// For less than that: the frame is refused.
    Lacking,
    /// That is not known yet: the decoder stops until it is asked for the frame again.
    Unknown,
}

/// One frame as it came from the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The header; in the plain format, flags and id are zero and the kind is `None`.
    pub header: Header,
    /// The fields, unparsed; empty in the plain format.
    pub head: Bytes,
    /// The body.
    pub body: Bytes,
}

/// An incremental decoder for one direction of one stream.
///
/// Push bytes as they come, then take frames until there is none. A frame that lies whole in one
/// push is a slice of it; one that straddles pushes is copied once into a buffer of its own size.
/// Of a body larger than 64 KiB the missing part can be read straight into its buffer, with
/// [`space`](Self::space) and [`filled`](Self::filled), without any copy.
///
/// After an error the decoder stays failed.
#[derive(Debug)]
pub struct Decoder {
    format: Format,
    max_body: usize,
    /// What was pushed and not yet looked at.
    input: Bytes,
    /// The beginning of a frame that straddles pushes.
    partial: BytesMut,
    large: Option<Large>,
    buffers: Option<Arc<dyn Buffers>>,
    failed: Option<FrameError>,
    /// It waits to be told whether there is room.
    waiting: bool,
}

/// A frame whose body is too large to be put together in `partial`.
#[derive(Debug)]
struct Large {
    header: Header,
    head: Bytes,
    /// Initialised to its length, filled with data up to `filled`.
    buffer: Vec<u8>,
    filled: usize,
    /// So much of `buffer` may be filled before more is asked for.
    room: usize,
}

impl Large {
    /// Where the next bytes belong, if there is room. Initialised in pieces, each just before data
    /// comes: to clear megabytes at once would keep others waiting, and the memory would have left
    /// the processor's cache when they come.
    fn space(&mut self) -> &mut [u8] {
        let end = self.room.min(self.filled + SMALL);
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        &mut self.buffer[self.filled..end]
    }

    /// Takes what it can from the input. Whether there is no more room.
    fn fill(&mut self, input: &mut Bytes) -> bool {
        while !input.is_empty() && self.filled < self.room {
            let space = self.space();
            let take = space.len().min(input.len());
            space[..take].copy_from_slice(&input[..take]);
            self.filled += take;
            input.advance(take);
        }
        self.filled == self.room
    }

    /// How much room there is to be next.
    fn next_room(&self) -> usize {
        self.room.saturating_mul(GROWTH).max(SMALL).min(self.header.body)
    }

    /// Makes room. A spare buffer, if one `may_be` used, has room for the whole body at once, and
    /// counts as that: what is held must not be more than what is counted.
    fn enlarge(&mut self, room: usize, buffers: Option<&Arc<dyn Buffers>>, may_be: bool) {
        let spare = buffers.filter(|_| may_be);
        let spare = spare.and_then(|buffers| buffers.take(self.header.body, room));
        self.room = if spare.is_some() { self.header.body } else { room };
        let mut larger = spare.unwrap_or_else(|| Vec::with_capacity(room));
        let filled = &self.buffer[..self.filled];
        match larger.get_mut(..filled.len()) {
            Some(begin) => begin.copy_from_slice(filled),
            None => {
                larger.clear();
                larger.extend_from_slice(filled);
            }
        }
        let smaller = core::mem::replace(&mut self.buffer, larger);
        if let Some(buffers) = buffers
            && smaller.capacity() > 0
        {
            buffers.give(smaller);
        }
    }
}

fn no_room(header: &Header) -> FrameError {
    let request = matches!(header.kind, None | Some(Kind::Request));
    FrameError::NoRoom { id: header.id, request, announced: header.body as u64 }
}

impl Decoder {
    /// A decoder that refuses bodies of more than `max_body` bytes.
    #[must_use]
    pub fn new(format: Format, max_body: usize) -> Self {
        Self {
            format,
            max_body,
            input: Bytes::new(),
            partial: BytesMut::new(),
            large: None,
            buffers: None,
            failed: None,
            waiting: false,
        }
    }

    /// The same decoder with the buffers of bodies larger than 64 KiB from there instead of new
    /// ones.
    #[must_use]
    pub fn with_buffers(mut self, buffers: Arc<dyn Buffers>) -> Self {
        self.buffers = Some(buffers);
        self
    }

    /// The largest body that is accepted, in bytes.
    #[must_use]
    pub fn max_body(&self) -> usize {
        self.max_body
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, data: Bytes) {
        if self.input.is_empty() {
            self.input = data;
        } else {
            // The caller did not take all frames of the last push first: correct, but a copy.
            let input = core::mem::take(&mut self.input);
            let mut joined =
                input.try_into_mut().unwrap_or_else(|input| BytesMut::from(&input[..]));
            joined.extend_from_slice(&data);
            self.input = joined.freeze();
        }
    }

    /// Where the next bytes of a large body belong, at most 64 KiB of them, if the decoder is inside
    /// one and has nothing else to look at: read into it and call [`filled`](Self::filled).
    pub fn space(&mut self) -> Option<&mut [u8]> {
        if !self.input.is_empty() {
            return None;
        }
        let large = self.large.as_mut()?;
        Some(large.space()).filter(|space| !space.is_empty())
    }

    /// Says that the first `n` bytes of [`space`](Self::space) now hold the next bytes of the
    /// stream. More than there is space for counts as all of it.
    pub fn filled(&mut self, n: usize) {
        if let Some(large) = &mut self.large {
            large.filled += n.min(large.space().len());
        }
    }

    /// Whether the bytes so far end inside a frame.
    #[must_use]
    pub fn mid_frame(&self) -> bool {
        self.large.is_some() || !self.partial.is_empty() || !self.input.is_empty()
    }

    /// Whether there are bytes that [`next_frame`](Self::next_frame) has not looked at.
    #[must_use]
    pub fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    /// Whether it has stopped because it is [not known](Room::Unknown) if there is room.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// How many whole small requests come next, up to so many, and how many bytes they have together:
    /// none that opens a call or is compressed, so that a request needs no more than these at work.
    pub(crate) fn requests_behind(&self, most: usize) -> (u32, usize) {
        let (mut requests, mut bytes) = (0, 0);
        if self.format != Format::Native || self.large.is_some() || !self.partial.is_empty() {
            return (requests, bytes);
        }
        let mut rest = &self.input[..];
        while (requests as usize) < most
            && let Some(length) = native::plain_request(rest)
            && let Some(next) = rest.get(length..)
        {
            requests += 1;
            bytes += length;
            rest = next;
        }
        (requests, bytes)
    }

    /// Bytes held: for a frame that is not complete, and those not looked at.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.input.len() + self.incomplete()
    }

    /// Bytes held for a frame that is not complete.
    pub(crate) fn incomplete(&self) -> usize {
        self.partial.len() + self.large.as_ref().map_or(0, |large| large.room)
    }

    /// Bytes that have come of a frame that is not complete.
    pub(crate) fn arrived(&self) -> usize {
        self.partial.len() + self.large.as_ref().map_or(0, |large| large.filled)
    }

    /// Whether what has come of a plain frame is a whole message of Go `PointSub` 1.2.
    pub(crate) fn looks_like_go12(&self) -> bool {
        let large = self.large.as_ref().filter(|_| self.format == Format::Plain);
        large.is_some_and(|large| {
            let arrived = large.buffer.get(..large.filled).unwrap_or_default();
            go12::looks_whole(large.header.body, arrived)
        })
    }

    /// The id of the frame that is not complete, if its header has come.
    pub(crate) fn arriving_id(&self) -> Option<u64> {
        let header = match &self.large {
            Some(large) => Some(large.header),
            None if self.partial.len() < self.format.header_len() => None,
            None => self.parse_header(&self.partial).ok(),
        };
        header.map(|header| header.id)
    }

    /// Forgets all bytes.
    pub(crate) fn clear(&mut self) {
        self.input = Bytes::new();
        self.partial = BytesMut::new();
        self.large = None;
        self.waiting = false;
    }

    /// The next complete frame, if its last byte has arrived.
    ///
    /// # Errors
    /// [`FrameError`] as soon as the bytes break the format; the same again at each later call.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        self.next_frame_within(|_, _| Room::Whole)
    }

    /// As [`next_frame`](Self::next_frame), for a receiver whose memory is limited. `room` is
    /// asked about a large body when that is announced, and before its buffer grows: how many bytes
    /// are needed next, and how long the body is.
    ///
    /// # Errors
    /// [`FrameError`], of which [`FrameError::NoRoom`] says that it did not fit.
    pub(crate) fn next_frame_within(
        &mut self,
        room: impl Fn(usize, usize) -> Room,
    ) -> Result<Option<Frame>, FrameError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.waiting = false;
        if self.input.is_empty() && self.large.is_none() {
            return Ok(None);
        }
        let frame = self.advance(room);
        if let Err(error) = &frame {
            self.failed = Some(error.clone());
            self.clear();
        } else if self.input.is_empty() {
            // An empty slice would keep the block alive that it is a slice of.
            self.input = Bytes::new();
        }
        frame
    }

    fn advance(
        &mut self,
        room: impl Fn(usize, usize) -> Room,
    ) -> Result<Option<Frame>, FrameError> {
        if self.large.is_some() {
            return self.advance_large(room);
        }
        let header_len = self.format.header_len();
        if self.partial.is_empty() {
            if self.input.len() < header_len {
                self.gather(header_len);
                return Ok(None);
            }
            let header = self.parse_header(&self.input)?;
            let total = header_len + header.head + header.body;
            if self.input.len() >= total {
                self.input.advance(header_len);
                let head = self.input.split_to(header.head);
                let body = self.input.split_to(header.body);
                return Ok(Some(Frame { header, head, body }));
            }
            return self.advance_straddling(&header, header_len, room);
        }
        self.gather(header_len);
        if self.partial.len() < header_len {
            return Ok(None);
        }
        let header = self.parse_header(&self.partial)?;
        self.advance_straddling(&header, header_len, room)
    }

    /// Puts together a frame that did not lie whole in one push.
    fn advance_straddling(
        &mut self,
        header: &Header,
        header_len: usize,
        room: impl Fn(usize, usize) -> Room,
    ) -> Result<Option<Frame>, FrameError> {
        let small = header_len + header.head + header.body <= SMALL;
        if !small {
            match room(header.body, header.body) {
                Room::Whole | Room::Part => {}
                Room::Lacking => return Err(no_room(header)),
                Room::Unknown => {
                    self.waiting = true;
                    return Ok(None);
                }
            }
        }
        let wanted = header_len + header.head + if small { header.body } else { 0 };
        self.gather(wanted);
        if self.partial.len() < wanted {
            return Ok(None);
        }
        let mut whole = core::mem::take(&mut self.partial).freeze();
        whole.advance(header_len);
        let head = whole.split_to(header.head);
        if small {
            return Ok(Some(Frame { header: *header, head, body: whole }));
        }
        let buffer = Vec::new();
        self.large = Some(Large { header: *header, head, buffer, filled: 0, room: 0 });
        self.advance_large(room)
    }

    /// Fills the buffer of a large body, and enlarges it when it is full.
    fn advance_large(
        &mut self,
        room: impl Fn(usize, usize) -> Room,
    ) -> Result<Option<Frame>, FrameError> {
        let Some(mut large) = self.large.take() else { return Ok(None) };
        while large.fill(&mut self.input) {
            if large.filled == large.header.body {
                let Large { header, head, buffer, .. } = large;
                let body = body(buffer, header.body, self.buffers.as_ref());
                return Ok(Some(Frame { header, head, body }));
            }
            let next = large.next_room();
            let may_be_spare = match room(next, large.header.body) {
                Room::Whole => true,
                Room::Part => false,
                Room::Lacking => return Err(no_room(&large.header)),
                Room::Unknown => {
                    self.waiting = true;
                    break;
                }
            };
            large.enlarge(next, self.buffers.as_ref(), may_be_spare);
        }
        self.large = Some(large);
        Ok(None)
    }

    /// Moves input to `partial` until that has `wanted` bytes or the input is used up.
    fn gather(&mut self, wanted: usize) {
        let missing = wanted.saturating_sub(self.partial.len());
        let take = missing.min(self.input.len());
        if take > 0 {
            // Room for what arrived twice over, not for whatever was announced.
            self.partial.reserve(missing.min(4096.max(2 * take)));
            self.partial.extend_from_slice(&self.input[..take]);
            self.input.advance(take);
        }
    }

    /// Reads the header at the start of `bytes`, which must be long enough.
    fn parse_header(&self, bytes: &[u8]) -> Result<Header, FrameError> {
        match self.format {
            Format::Plain => {
                let length = bytes.first_chunk().map_or(0, |b| u32::from_be_bytes(*b));
                if u64::from(length) > self.max_body as u64 {
                    return Err(FrameError::TooLarge {
                        id: 0,
                        request: true,
                        announced: u64::from(length),
                        limit: self.max_body as u64,
                    });
                }
                Ok(Header {
                    kind: None,
                    flags: Flags::default(),
                    id: 0,
                    head: 0,
                    body: length as usize,
                })
            }
            Format::Native => {
                let header = bytes.first_chunk::<HEADER_LEN>().ok_or(FrameError::Truncated)?;
                Header::parse(header, self.max_body)
            }
        }
    }
}
