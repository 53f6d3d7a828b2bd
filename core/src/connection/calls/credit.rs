//! Both ends of the credit of one direction of a call.

use crate::wire::call::{MAX_CREDIT, MIN_PART, MIN_WINDOW};
use crate::wire::{CallViolation, Credit};

/// How far ahead of what has arrived the rest of a long message is granted.
const AHEAD: u32 = 1024 * 1024;

/// So much of a call's messages waits at its sender at most, however much the peer grants: what is
/// granted beyond that can be used when some of it is written.
pub const SEND_WINDOW: Credit = Credit { bytes: 256 * 1024, messages: 1024 };

/// What may be sent: the peer has granted it.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Balance(Credit);

impl Balance {
    /// Nothing may be sent yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Credit::NONE)
    }

    /// What is left.
    #[must_use]
    pub const fn left(self) -> Credit {
        self.0
    }

    /// The peer grants more.
    ///
    /// # Errors
    /// [`CallViolation::TooMuchCredit`] if that is more than a balance can hold.
    pub fn add(&mut self, credit: Credit) -> Result<(), CallViolation> {
        let sum = self.0 + credit;
        if sum.bytes > MAX_CREDIT || sum.messages > MAX_CREDIT {
            return Err(CallViolation::TooMuchCredit);
        }
        self.0 = sum;
        Ok(())
    }

    /// Whether a message of so many bytes may begin: a part of it at least may be sent.
    #[must_use]
    pub fn allows(self, len: usize) -> bool {
        self.0.messages > 0 && self.0.bytes as usize >= len.min(MIN_PART)
    }

    /// A message of `len` bytes begins. How many of its bytes are not paid for yet.
    pub fn begin(&mut self, len: u32) -> u32 {
        self.0.messages = self.0.messages.saturating_sub(1);
        self.pay(len)
    }

    /// Pays for what is lacking, as far as there is credit. How much is lacking still.
    pub fn pay(&mut self, lacking: u32) -> u32 {
        let paid = lacking.min(self.0.bytes);
        self.0.bytes -= paid;
        lacking - paid
    }
}

/// What the peer may send: this end has granted it.
///
/// At any time, what was granted and has not come, and what has come and was not taken by the
/// application, are not more than the size together, unless a message is longer than that.
#[derive(Copy, Clone, Debug)]
pub(super) struct Window {
    size: Credit,
    /// How far it may grow.
    most: Credit,
    /// The peer has used up what it was granted since it last grew.
    exhausted: bool,
    /// Granted, and not used by the peer.
    given: Credit,
    /// What has come and the application has not taken.
    unread: Credit,
}

impl Window {
    /// A window that is granted whole at once. One of nothing stays so; any other has room for two
    /// of the grants that section 2.9 asks for.
    pub(super) fn new(size: Credit) -> Self {
        let size = match size {
            Credit { bytes: 0, .. } | Credit { messages: 0, .. } => Credit::NONE,
            size => Credit {
                bytes: size.bytes.clamp(2 * MIN_WINDOW.bytes, MAX_CREDIT / 2),
                messages: size.messages.min(MAX_CREDIT / 2),
            },
        };
        Self { size, most: size, exhausted: false, given: size, unread: Credit::NONE }
    }

    /// It may grow so far. One of nothing does not.
    pub(super) fn grow_to(&mut self, most: Credit) {
        if self.size != Credit::NONE {
            self.most = self.size.max(most.min(Credit::new(MAX_CREDIT / 2, MAX_CREDIT / 2)));
        }
    }

    pub(super) const fn size(&self) -> Credit {
        self.size
    }

    pub(super) const fn given(&self) -> Credit {
        self.given
    }

    pub(super) const fn unread(&self) -> Credit {
        self.unread
    }

    /// Whether the peer may send anything.
    pub(super) const fn is_open(&self) -> bool {
        self.given.bytes > 0 && self.given.messages > 0
    }

    /// A part of a message has come.
    pub(super) fn arrived(&mut self, bytes: u32, first: bool) -> Result<(), CallViolation> {
        let messages = u32::from(first);
        if bytes > self.given.bytes || messages > self.given.messages {
            return Err(CallViolation::NoCredit);
        }
        self.given.bytes -= bytes;
        self.given.messages -= messages;
        self.unread += Credit::new(bytes, messages);
        self.exhausted |= self.is_exhausted();
        Ok(())
    }

    /// Whether the peer lacks credit for any message that is not empty.
    const fn is_exhausted(&self) -> bool {
        self.given.messages == 0 || (self.given.bytes as usize) < MIN_PART
    }

    /// Doubles, if the peer has used up what it was granted and the application has taken all of that:
    /// then nothing but the window keeps messages from coming faster. At most `room` bytes more.
    pub(super) fn grow(&mut self, room: usize) {
        if !self.exhausted || self.unread != Credit::NONE {
            return;
        }
        self.exhausted = false;
        let Credit { bytes, messages } = self.size;
        let doubled = Credit::new(bytes.saturating_mul(2), messages.saturating_mul(2));
        let doubled = doubled.min(self.most);
        if (doubled.bytes - bytes) as usize <= room {
            self.size = doubled;
        }
    }

    /// The application has taken so much.
    pub(super) fn taken(&mut self, credit: Credit) {
        self.unread.bytes = self.unread.bytes.saturating_sub(credit.bytes);
        self.unread.messages = self.unread.messages.saturating_sub(credit.messages);
    }

    /// What is to be granted now, where `rest` bytes are missing of a message that has begun:
    /// nothing until half of the window is used up, so that grants are few.
    pub(super) fn grant(&mut self, rest: Option<u32>) -> Credit {
        let (size, given, unread) = (self.size, self.given, self.unread);
        let room = |size: u32, given: u32, unread: u32| size.saturating_sub(given + unread);
        let mut due = Credit {
            bytes: room(size.bytes, given.bytes, unread.bytes),
            messages: room(size.messages, given.messages, unread.messages),
        };
        if due.bytes < size.bytes / 2 && due.messages < size.messages.div_ceil(2) {
            due = Credit::NONE;
        }
        if let Some(rest) = rest {
            // The message cannot wait for the application: it is taken whole or not at all.
            let wanted = rest.min(AHEAD);
            if given.bytes + due.bytes < wanted.div_ceil(2).max(rest.min(MIN_WINDOW.bytes)) {
                due.bytes = wanted - given.bytes;
            }
        }
        self.given += due;
        due
    }
}
