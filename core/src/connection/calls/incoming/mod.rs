//! The messages of a call that come.

pub(super) mod copies;

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::credit::Window;
use super::event::CallMessage;
use crate::error::StatusCode;
use crate::wire::call::{FirstPart, Part};
use crate::wire::compress::Payload;
use crate::wire::{CallViolation, Credit};

/// A message of several parts begins with a buffer for so much of it.
const FIRST_BUFFER: usize = 64 * 1024;

/// The receiving direction of a call.
#[derive(Debug)]
pub(super) struct Incoming {
    window: Window,
    /// The message of which parts are missing.
    assembly: Option<Box<Assembly>>,
    /// The peer sends no more.
    finished: bool,
    /// Nobody wants what comes.
    ignored: bool,
}

#[derive(Debug)]
struct Assembly {
    first: FirstPart,
    length: u32,
    bytes: Vec<u8>,
}

impl Assembly {
    fn rest(&self) -> u32 {
        self.length - self.bytes.len() as u32
    }

    fn append(&mut self, part: &[u8]) {
        let wanted = self.bytes.len() + part.len();
        if wanted > self.bytes.capacity() {
            let capacity = wanted.max(2 * self.bytes.capacity()).max(FIRST_BUFFER);
            let capacity = capacity.min(self.length as usize);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(part);
    }
}

/// Why a part is not taken.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The peer broke the rules.
    Violation(CallViolation),
    /// The message is too long, or there is no memory for it: the call ends so.
    Refused(StatusCode),
}

impl From<CallViolation> for Fault {
    fn from(violation: CallViolation) -> Self {
        Self::Violation(violation)
    }
}

/// How long a message may be, and how much memory its call may have.
#[derive(Copy, Clone, Debug)]
pub(super) struct Room {
    pub(super) max_message: usize,
    pub(super) memory: usize,
}

impl Incoming {
    pub(super) fn new(size: Credit) -> Self {
        let window = Window::new(size);
        Self { window, assembly: None, finished: false, ignored: false }
    }

    /// The window may grow so far.
    pub(super) fn grow_to(&mut self, most: Credit) {
        self.window.grow_to(most);
    }

    pub(super) const fn window(&self) -> &Window {
        &self.window
    }

    /// Whether the peer can send something.
    pub(super) fn is_open(&self) -> bool {
        !self.finished && (self.window.is_open() || self.assembly.is_some())
    }

    /// Whether the rest of a message is to come.
    pub(super) const fn is_arriving(&self) -> bool {
        self.assembly.is_some() && !self.ignored
    }

    /// Whether parts of a message are missing.
    pub(super) const fn is_in_parts(&self) -> bool {
        self.assembly.is_some()
    }

    /// Whether a message waits for the application.
    pub(super) fn has_untaken(&self) -> bool {
        self.window.unread().messages > u32::from(self.assembly.is_some())
    }

    /// Bytes of memory that are to be kept for it.
    pub(super) fn reserved(&self) -> usize {
        if self.ignored {
            return 0;
        }
        let rest = self.assembly.as_ref().map_or(0, |assembly| assembly.rest());
        self.needed(rest)
    }

    /// The same while `rest` bytes of a message are missing.
    fn needed(&self, rest: u32) -> usize {
        let unread = self.window.unread().bytes;
        if self.finished {
            return unread as usize;
        }
        let may_come = self.window.given().bytes.max(rest);
        (unread as usize + may_come as usize).max(self.window.size().bytes as usize)
    }

    /// A part has come: the message, if it is complete.
    pub(super) fn take(
        &mut self,
        part: Part,
        room: Room,
        copy: impl FnOnce(&[u8]) -> Bytes,
    ) -> Result<Option<CallMessage>, Fault> {
        if self.finished {
            return Err(CallViolation::AfterFinish.into());
        }
        self.window.arrived(part.body.len() as u32, self.assembly.is_none())?;
        let Some(assembly) = &mut self.assembly else { return self.begin(part, room, copy) };
        let later = part.first == FirstPart::default();
        let rest = assembly.rest();
        let len = part.body.len() as u32;
        let fits = if part.more { len < rest } else { len == rest };
        if !later || !fits {
            return Err(CallViolation::Parts.into());
        }
        if self.ignored {
            // Counted, and not kept.
            assembly.length -= len;
        } else {
            assembly.append(&part.body);
        }
        if part.more {
            return Ok(None);
        }
        let assembly = self.assembly.take();
        let message = assembly.filter(|_| !self.ignored).map(|assembly| {
            let Assembly { first, bytes, .. } = *assembly;
            let payload = Payload::new(bytes.into(), first.original);
            CallMessage { payload, cursor: first.cursor }
        });
        Ok(message)
    }

    fn begin(
        &mut self,
        part: Part,
        room: Room,
        copy: impl FnOnce(&[u8]) -> Bytes,
    ) -> Result<Option<CallMessage>, Fault> {
        let Part { first, more, body } = part;
        let Some(length) = first.length else {
            if more {
                return Err(CallViolation::Parts.into());
            }
            if self.ignored {
                return Ok(None);
            }
            let payload = Payload::new(body, first.original);
            check(&payload, room)?;
            // It waits for its application, and must not keep the block that it was read in.
            let payload = Payload::new(copy(&payload.bytes), first.original);
            return Ok(Some(CallMessage { payload, cursor: first.cursor }));
        };
        if !more || length as usize <= body.len() {
            return Err(CallViolation::Parts.into());
        }
        let longest = length.max(first.original.unwrap_or(0)) as usize;
        let needed = self.needed(length - body.len() as u32);
        let mut assembly = Assembly { first, length, bytes: Vec::new() };
        assembly.append(&body);
        self.assembly = Some(Box::new(assembly));
        let refused = match longest > room.max_message {
            _ if self.ignored => None,
            true => Some(StatusCode::TooLarge),
            false if needed > room.memory => Some(StatusCode::Busy),
            false => None,
        };
        if self.ignored || refused.is_some() {
            // What is left of it comes all the same.
            self.ignore();
        }
        refused.map_or(Ok(None), |code| Err(Fault::Refused(code)))
    }

    /// The application has taken messages.
    pub(super) fn taken(&mut self, credit: Credit) {
        self.window.taken(credit);
    }

    /// What is to be granted to the peer now, where `room` bytes more may be kept for it.
    pub(super) fn grant(&mut self, room: usize) -> Credit {
        if self.finished || self.ignored {
            return Credit::NONE;
        }
        self.window.grow(room);
        self.window.grant(self.assembly.as_ref().map(|assembly| assembly.rest()))
    }

    /// The peer says that it sends no more.
    pub(super) fn finish(&mut self) -> Result<(), CallViolation> {
        if self.finished {
            return Err(CallViolation::AfterFinish);
        }
        if self.assembly.is_some() {
            return Err(CallViolation::Parts);
        }
        self.finished = true;
        Ok(())
    }

    /// The peer ends the call: whether that is allowed where it succeeded.
    pub(super) fn end(&mut self, success: bool) -> Result<(), CallViolation> {
        if success && self.assembly.is_some() {
            return Err(CallViolation::Parts);
        }
        self.assembly = None;
        self.finished = true;
        Ok(())
    }

    /// What comes from here on is checked and thrown away.
    pub(super) fn ignore(&mut self) {
        self.ignored = true;
        if let Some(assembly) = &mut self.assembly {
            assembly.length -= assembly.bytes.len() as u32;
            assembly.bytes = Vec::new();
        }
    }
}

/// Checks the announced length of a compressed message before anything is inflated.
fn check(payload: &Payload, room: Room) -> Result<(), Fault> {
    match payload.check(room.max_message) {
        Ok(()) if payload.wire_len() <= room.max_message => Ok(()),
        _ => Err(Fault::Refused(StatusCode::TooLarge)),
    }
}
