//! The messages of a call that are to be sent.

use alloc::collections::VecDeque;

use super::credit::{Balance, SEND_WINDOW};
use super::event::{CallError, CallKey, CallMessage};
use crate::wire::call::{self, FirstPart, MAX_CREDIT, MAX_PART, MIN_PART};
use crate::wire::{CallViolation, Credit, Outbox};

/// The sending direction of a call.
///
/// A message is taken when there is credit to begin with it. The last one may lack credit for its
/// later parts; until it has that, no other is taken.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    balance: Balance,
    /// Granted as well, and not to be used before some of what waits is written.
    withheld: Credit,
    /// Bytes of `queue` that were not written.
    waiting: usize,
    queue: VecDeque<CallMessage>,
    /// Bytes of the first message of `queue` that were written.
    written: usize,
    /// Bytes of the last one that there is no credit for.
    unpaid: u32,
    end: End,
}

#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
enum End {
    /// There may be more messages.
    #[default]
    Open,
    /// There are none behind those that wait.
    Asked,
    /// The peer was told.
    Told,
}

impl Outgoing {
    /// The peer grants more. How much of it can be used.
    pub(super) fn credit(&mut self, credit: Credit) -> Result<Credit, CallViolation> {
        let sum = self.balance.left() + self.withheld + credit;
        if sum.bytes > MAX_CREDIT || sum.messages > MAX_CREDIT {
            return Err(CallViolation::TooMuchCredit);
        }
        self.withheld += credit;
        Ok(self.release())
    }

    /// How much more can be used, since some of what waits was written.
    pub(super) fn release(&mut self) -> Credit {
        let messages = u32::try_from(self.queue.len()).unwrap_or(u32::MAX);
        // What is not paid for yet can be paid for whatever waits: the rest of the message waits for it.
        let paid = self.waiting.saturating_sub(self.unpaid as usize);
        let waiting = Credit::new(u32::try_from(paid).unwrap_or(u32::MAX), messages);
        let room = SEND_WINDOW.less(self.balance.left()).less(waiting);
        let released = self.withheld.min(room);
        self.withheld = self.withheld.less(released);
        // The sum was checked when it was granted.
        let _fits = self.balance.add(released);
        self.unpaid = self.balance.pay(self.unpaid);
        released
    }

    /// Bytes of messages that wait here.
    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }

    pub(super) const fn left(&self) -> Credit {
        self.balance.left()
    }

    /// Whether it waits for credit in the middle of a message.
    pub(super) const fn is_short(&self) -> bool {
        self.unpaid > 0
    }

    /// Whether there is not enough credit for any message that is not empty.
    pub(super) const fn is_exhausted(&self) -> bool {
        let left = self.balance.left();
        matches!(self.end, End::Open) && (left.messages == 0 || (left.bytes as usize) < MIN_PART)
    }

    /// Whether the peer is to be told that no more messages come, and was not.
    pub(super) const fn is_finishing(&self) -> bool {
        matches!(self.end, End::Asked)
    }

    pub(super) fn allows(&self, len: usize) -> bool {
        self.unpaid == 0 && self.end == End::Open && self.balance.allows(len)
    }

    pub(super) fn send(&mut self, message: CallMessage) -> Result<(), CallError> {
        if self.end != End::Open {
            return Err(CallError::Finished);
        }
        let len = message.payload.wire_len();
        if !self.allows(len) {
            return Err(CallError::NoCredit);
        }
        self.unpaid = self.balance.begin(len as u32);
        self.waiting += len;
        self.queue.push_back(message);
        Ok(())
    }

    /// No more messages come.
    pub(super) fn finish(&mut self) -> Result<(), CallError> {
        if self.end != End::Open {
            return Err(CallError::Finished);
        }
        self.end = End::Asked;
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether the peer is to be told now that no more messages come; once.
    pub(super) fn take_end(&mut self) -> bool {
        let due = self.end == End::Asked && self.queue.is_empty();
        if due {
            self.end = End::Told;
        }
        due
    }

    /// The peer knows from elsewhere that nothing more comes.
    pub(super) fn end(&mut self) {
        self.end = End::Told;
    }

    /// Drops what waits.
    pub(super) fn clear(&mut self) {
        self.queue = VecDeque::new();
        (self.written, self.unpaid, self.waiting) = (0, 0, 0);
    }

    /// Drops the message that lacks credit, if there is one.
    pub(super) fn drop_unpaid(&mut self) {
        if self.unpaid > 0
            && let Some(message) = self.queue.pop_back()
        {
            let written =
                if self.queue.is_empty() { core::mem::take(&mut self.written) } else { 0 };
            self.waiting -= message.payload.wire_len() - written;
            self.unpaid = 0;
        }
    }

    /// How many bytes of the first message can be written next.
    fn part(&self) -> Option<usize> {
        let first = self.queue.front()?;
        let rest = first.payload.wire_len() - self.written;
        let unpaid = if self.queue.len() == 1 { self.unpaid as usize } else { 0 };
        let part = (rest - unpaid).min(MAX_PART);
        (part == rest || part >= MIN_PART).then_some(part)
    }

    /// Whether a frame can be written.
    pub(super) fn is_ready(&self) -> bool {
        self.part().is_some()
    }

    /// Writes one frame. How many bytes its body has.
    pub(super) fn write(&mut self, key: CallKey, outbox: &mut Outbox) -> Option<usize> {
        let part = self.part()?;
        let message = self.queue.front_mut()?;
        let len = message.payload.wire_len();
        let begin = self.written;
        let end = begin + part;
        let body = &message.payload.bytes[begin..end];
        if begin == 0 {
            let length = (end < len).then_some(len as u32);
            let (original, cursor) = (message.payload.original, message.cursor.take());
            let first = FirstPart { length, original, cursor };
            match first == FirstPart::default() {
                true => outbox.message(key.0, body),
                false => call::first_part(outbox, key.0, &first, body),
            }
        } else {
            call::later_part(outbox, key.0, end < len, body);
        }
        self.written = end;
        self.waiting -= part;
        if end == len {
            self.queue.pop_front();
            self.written = 0;
        }
        Some(part)
    }
}
