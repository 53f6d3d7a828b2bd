//! The calls of one stream.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::time::Duration;

use slab::Slab;

use super::call::{Call, Held, Phase};
use super::event::{CallError, CallEvent, CallKey, CallMessage};
use super::incoming::Room;
use super::incoming::copies::Copies;
use crate::time::Timestamp;
use crate::wire::call::MIN_WINDOW;
use crate::wire::{Credit, Settings};

/// Which end of the stream a table is at.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    Server,
}

/// What one stream may have of calls.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// Calls that have not ended.
    pub max_calls: usize,
    /// The longest message, before and after compression.
    pub max_message: usize,
    /// Bytes of messages that have come, or may come because they were granted. A call has 8 KiB
    /// whatever the limit says.
    pub max_memory: usize,
    /// How long a client waits for the server's word where it owes one: for the acceptance of a call
    /// without a deadline, and for the end of one that was cancelled.
    pub answer_within: Duration,
}

/// The calls of one stream, at the end that opened the stream or at the other.
///
/// It frames what the applications say to each other and checks what the peer says, call by call. It
/// does not know the stream: frames come [in](Self::handle) one by one, and it
/// [fills](Self::fill) an outbox when there is to be a write. Messages that cannot be written yet are
/// never in the outbox, so that whatever ends or regulates a call goes before them.
///
/// A message is sent when the peer has granted credit for it. What comes is granted again when the
/// application has [taken](Self::taken) it.
#[derive(Debug)]
pub struct Calls {
    pub(super) role: Role,
    pub(super) limits: CallLimits,
    /// The longest message that the peer takes.
    peer_max_message: usize,
    /// Boxed, since a slab that grows is half empty.
    pub(super) calls: Slab<Box<Call>>,
    index: BTreeMap<u64, usize>,
    /// The call that was looked up last, and where it is. No call has id 0.
    recent: Option<(u64, usize)>,
    pub(super) copies: Copies,
    /// Calls with frames that go before messages, and with messages, in turn.
    pub(super) control: VecDeque<u64>,
    pub(super) ready: VecDeque<u64>,
    events: VecDeque<(CallKey, CallEvent)>,
    pub(super) timers: BTreeSet<(Timestamp, u64)>,
    held: Held,
    /// The highest id that a client has used.
    pub(super) last_id: u64,
    pub(super) draining: bool,
    pub(super) now: Timestamp,
    /// What the peer did for nothing, in points.
    pub(super) offences: u32,
}

impl Calls {
    pub(super) fn new(role: Role, limits: CallLimits, now: Timestamp) -> Self {
        Self {
            role,
            limits,
            peer_max_message: Settings::ASSUMED.max_body as usize,
            calls: Slab::new(),
            index: BTreeMap::new(),
            recent: None,
            copies: Copies::default(),
            control: VecDeque::new(),
            ready: VecDeque::new(),
            events: VecDeque::new(),
            timers: BTreeSet::new(),
            held: Held::default(),
            last_id: 0,
            draining: false,
            now,
            offences: 0,
        }
    }

    /// The calls that have not ended, or whose end was not confirmed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether there is none of them.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Bytes of messages that have come or may come.
    #[must_use]
    pub fn reserved(&self) -> usize {
        self.held.incoming
    }

    /// Bytes of messages that wait to be written.
    #[must_use]
    pub fn unwritten(&self) -> usize {
        self.held.outgoing
    }

    /// Bytes of messages that wait for the peer: to send the rest of one, or to take one.
    #[must_use]
    pub fn stalled(&self) -> usize {
        self.held.stalled
    }

    /// The next event, with its call.
    pub fn poll_event(&mut self) -> Option<(CallKey, CallEvent)> {
        let event = self.events.pop_front();
        if event.is_none() {
            self.copies = Copies::default();
        }
        event
    }

    /// Whether there is an event.
    #[must_use]
    pub fn has_event(&self) -> bool {
        !self.events.is_empty()
    }

    /// What the peer did for nothing since this was last asked, in points of its penalty.
    pub fn take_offences(&mut self) -> u32 {
        core::mem::take(&mut self.offences)
    }

    /// The peer's settings say how long a message may be.
    pub fn set_peer_limit(&mut self, max_message: usize) {
        self.peer_max_message = max_message;
    }

    /// How much the peer takes in a call at the moment.
    #[must_use]
    pub fn credit(&self, key: CallKey) -> Credit {
        self.get(key.0).filter(|call| call.is_live()).map_or(Credit::NONE, |call| call.out.left())
    }

    /// Whether a message of so many bytes on the wire can be sent now.
    #[must_use]
    pub fn can_send(&self, key: CallKey, len: usize) -> bool {
        self.get(key.0).is_some_and(|call| call.is_live() && call.out.allows(len))
    }

    /// Sends a message. A handler that sends accepts its call.
    ///
    /// # Errors
    /// [`CallError`], and the message is not sent. With [`CallError::NoCredit`] it can be sent after
    /// [`CallEvent::Credit`].
    pub fn send(
        &mut self,
        key: CallKey,
        message: CallMessage,
        now: Timestamp,
    ) -> Result<(), CallError> {
        self.advance_clock(now);
        message.check(self.peer_max_message)?;
        self.live(key)?.out.send(message)?;
        self.sent(key);
        Ok(())
    }

    /// Sends several messages: see [`send`](Self::send).
    ///
    /// # Errors
    /// [`CallError`] of the first that is not sent. Those behind it are not sent either.
    pub fn send_all(
        &mut self,
        key: CallKey,
        messages: impl IntoIterator<Item = CallMessage>,
        now: Timestamp,
    ) -> Result<(), CallError> {
        self.advance_clock(now);
        let limit = self.peer_max_message;
        let call = self.live(key)?;
        let sent = messages.into_iter().try_for_each(|message| {
            message.check(limit)?;
            call.out.send(message)
        });
        self.sent(key);
        sent
    }

    /// Messages were added to what waits.
    fn sent(&mut self, key: CallKey) {
        self.account(key.0);
        self.ensure_accepted(key);
        self.schedule(key.0);
    }

    /// Says that no more messages come.
    ///
    /// # Errors
    /// [`CallError`] if that was said already, or the call is over.
    pub fn finish(&mut self, key: CallKey, now: Timestamp) -> Result<(), CallError> {
        self.advance_clock(now);
        self.live(key)?.out.finish()?;
        self.ensure_accepted(key);
        self.schedule(key.0);
        Ok(())
    }

    /// The application has taken messages that [cost](CallMessage::cost) so much together: the peer
    /// may send others.
    pub fn taken(&mut self, key: CallKey, credit: Credit, now: Timestamp) {
        self.advance_clock(now);
        let now = self.now;
        if let Some(call) = self.get_mut(key.0) {
            call.inc.taken(credit);
            call.moved = now;
            self.regulate(key.0);
        }
    }

    /// Tells everybody on the stream that it is not used any longer.
    pub(super) fn announce_drain(&mut self) {
        if !core::mem::replace(&mut self.draining, true) {
            let live = self.calls.iter().filter(|(_, call)| call.is_live());
            let ids: alloc::vec::Vec<u64> = live.map(|(_, call)| call.id).collect();
            for id in ids {
                self.push(id, CallEvent::Draining);
            }
        }
    }

    pub(super) fn advance_clock(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
    }

    fn slot(&self, id: u64) -> Option<usize> {
        match self.recent {
            Some((recent, slot)) if recent == id => Some(slot),
            _ => self.index.get(&id).copied(),
        }
    }

    pub(super) fn get(&self, id: u64) -> Option<&Call> {
        self.calls.get(self.slot(id)?).map(|call| &**call)
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut Call> {
        let slot = self.slot(id)?;
        self.recent = Some((id, slot));
        self.calls.get_mut(slot).map(|call| &mut **call)
    }

    /// A call, and where its messages are copied to.
    pub(super) fn get_with_copies(&mut self, id: u64) -> Option<(&mut Call, &mut Copies)> {
        let slot = self.slot(id)?;
        self.recent = Some((id, slot));
        let call = self.calls.get_mut(slot)?;
        Some((&mut **call, &mut self.copies))
    }

    /// Whether a call with this key has not ended.
    #[must_use]
    pub fn knows(&self, key: CallKey) -> bool {
        self.get(key.0).is_some()
    }

    /// Whether somebody here waits for the call or works on it.
    #[must_use]
    pub fn has(&self, key: CallKey) -> bool {
        self.get(key.0).is_some_and(Call::is_live)
    }

    pub(super) fn live(&mut self, key: CallKey) -> Result<&mut Call, CallError> {
        self.get_mut(key.0).filter(|call| call.is_live()).ok_or(CallError::Over)
    }

    pub(super) fn push(&mut self, id: u64, event: CallEvent) {
        self.events.push_back((CallKey(id), event));
    }

    /// So much more can be sent in a call.
    pub(super) fn push_credit(&mut self, id: u64, usable: Credit) {
        match self.events.back_mut() {
            Some((CallKey(last), CallEvent::Credit(credit))) if *last == id => *credit += usable,
            _ => self.push(id, CallEvent::Credit(usable)),
        }
    }

    /// Nobody wants to hear of the call any more.
    pub(super) fn forget_events(&mut self, id: u64) {
        self.events.retain(|(key, _)| key.0 != id);
    }

    pub(super) fn insert(&mut self, call: Call) {
        let id = call.id;
        self.last_id = self.last_id.max(id);
        let slot = self.calls.insert(Box::new(call));
        self.index.insert(id, slot);
        self.account(id);
        self.arm(id);
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<Call> {
        let slot = self.index.remove(&id)?;
        self.recent = None;
        let call = self.calls.try_remove(slot)?;
        self.held.replace(call.held, Held::default());
        if let Some(timer) = call.timer {
            self.timers.remove(&(timer, id));
        }
        if self.calls.is_empty() {
            // An idle stream holds nothing for calls.
            (self.calls, self.index) = (Slab::new(), BTreeMap::new());
            (self.control, self.ready) = (VecDeque::new(), VecDeque::new());
        }
        Some(*call)
    }

    /// Counts what is kept for a call.
    pub(super) fn account(&mut self, id: u64) {
        let Some(call) = self.get_mut(id) else { return };
        let after = call.holds();
        let before = core::mem::replace(&mut call.held, after);
        self.held.replace(before, after);
    }

    /// How much a window of a further call may have.
    pub(super) fn window(&self, wanted: Credit) -> Credit {
        let free = self.limits.max_memory.saturating_sub(self.held.incoming);
        let most = u32::try_from(free).unwrap_or(u32::MAX).max(MIN_WINDOW.bytes);
        Credit { bytes: wanted.bytes.min(most), ..wanted }
    }

    pub(super) fn room(&self, id: u64) -> Room {
        let free = self.limits.max_memory.saturating_sub(self.held.incoming);
        let own = self.get(id).map_or(0, |call| call.held.incoming);
        Room { max_message: self.limits.max_message, memory: free + own }
    }

    /// Grants what is due in a call, and counts what it holds.
    pub(super) fn regulate(&mut self, id: u64) {
        // Windows do not grow into what further calls begin with.
        let room = (self.limits.max_memory / 2).saturating_sub(self.held.incoming);
        let Some(call) = self.get_mut(id) else { return };
        let grant = call.inc.grant(room);
        call.todo.grant += grant;
        if grant != Credit::NONE {
            self.schedule(id);
        }
        self.account(id);
    }

    /// Puts a call into the queues in which it belongs.
    pub(super) fn schedule(&mut self, id: u64) {
        let Some(call) = self.get_mut(id) else { return };
        let control = !call.in_control && call.has_control();
        let ready = !call.in_ready && call.out.is_ready() && call.phase != Phase::Opening;
        call.in_control |= control;
        call.in_ready |= ready;
        if control {
            self.control.push_back(id);
        }
        if ready {
            self.ready.push_back(id);
        }
    }
}
