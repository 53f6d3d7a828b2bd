//! What the halves of a call and the driver of its stream share.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use pointsub_core::connection::{Balance, CallEnd, CallEvent, CallKey, CallMessage, CallStop};
use pointsub_core::wire::{Credit, MAX_CURSOR};
use pointsub_core::{Cause, Delivery, Metadata, Phase, RequestError, SendError};

use crate::telemetry::{CallWatch, MessageBytes, Outcome};

/// More messages than these are taken out of a channel together.
const FEW: usize = 4;

/// Calls of one stream about which its driver has to do something.
#[derive(Debug, Default)]
pub(crate) struct CallMailbox {
    touched: Mutex<Vec<Arc<Channel>>>,
    driver: AtomicWaker,
}

impl CallMailbox {
    fn push(&self, channel: Arc<Channel>) {
        self.touched.lock().push(channel);
        self.driver.wake();
    }

    /// Takes them, and remembers how to wake the driver for more.
    pub(crate) fn take(&self, cx: &Context<'_>) -> Vec<Arc<Channel>> {
        self.driver.register(cx.waker());
        mem::take(&mut *self.touched.lock())
    }
}

/// One call, between its application and the driver of its stream.
#[derive(Debug)]
pub(crate) struct Channel {
    state: Mutex<State>,
    /// How much of the peer's messages may wait.
    window: Credit,
}

#[derive(Debug, Default)]
struct State {
    mailbox: Option<Arc<CallMailbox>>,
    key: Option<CallKey>,
    /// It lies in the mailbox.
    touched: bool,
    wishes: Wishes,
    /// The longest message that the peer takes, as far as it is known.
    max_message: Option<usize>,
    /// What the peer takes, and what of the last message it does not take yet.
    balance: Balance,
    unpaid: u32,
    finished: bool,
    inbox: VecDeque<CallMessage>,
    /// The peer sends no more.
    peer_finished: bool,
    accepted: Option<Metadata>,
    end: Option<End>,
    draining: bool,
    /// Bytes of messages.
    sent: u64,
    received: u64,
    /// At a client, if anybody wants to know of the call.
    watch: Option<Box<CallWatch>>,
    receiver: Option<Waker>,
    sender: Option<Waker>,
    drained: Option<Waker>,
}

/// Messages that a receiver has taken out of a channel together, so that it is not locked for each.
#[derive(Debug, Default)]
pub(super) struct Batch {
    messages: VecDeque<CallMessage>,
    /// Those of them that the application has, and the driver was not told of.
    taken: Credit,
    /// So many are worth telling.
    worth: u32,
}

/// What the application wants of the driver.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    /// The handler has the call.
    pub(crate) accept: Option<Metadata>,
    pub(crate) messages: Vec<CallMessage>,
    /// No more messages come.
    pub(crate) finish: bool,
    pub(crate) taken: Credit,
    /// Nobody wants the call any more.
    pub(crate) cancel: bool,
}

/// How a call ended here.
#[derive(Debug, Clone)]
pub(super) enum End {
    /// At a client.
    Answered(Box<CallEnd>),
    /// At a server.
    Stopped(CallStop),
    /// The application has ended it.
    Dropped,
}

impl End {
    /// As whoever waits sees it.
    pub(super) fn error(&self) -> RequestError {
        let (cause, delivery) = match self {
            Self::Answered(end) => match &end.outcome {
                Ok(_) => (Cause::RemoteClosed, Delivery::Processed),
                Err((cause, delivery)) => (cause.clone(), *delivery),
            },
            Self::Stopped(CallStop::Deadline) => (Cause::Deadline, Delivery::Processed),
            Self::Stopped(CallStop::Idle(idle)) => (Cause::TimedOut(*idle), Delivery::Processed),
            Self::Stopped(CallStop::Lost) => {
                (Cause::Lost(Arc::from("the stream ended")), Delivery::Processed)
            }
            Self::Stopped(_) | Self::Dropped => (Cause::Cancelled, Delivery::Processed),
        };
        RequestError::new(cause, Phase::Answer, delivery)
    }
}

/// Why a message is not sent.
pub(super) enum Unsent {
    /// The peer takes no more now.
    Blocked(CallMessage),
    /// The call is over, or this half of it, or the message is too long.
    Failed(RequestError),
}

/// A call that has ended, and is to be told of when nothing is locked.
struct Watched {
    watch: Box<CallWatch>,
    outcome: Outcome,
    sent: u64,
    received: u64,
}

impl Watched {
    fn end(self) {
        self.watch.end_streaming(self.outcome, self.sent, self.received);
    }
}

impl State {
    /// What is to be told of the call, if it is over.
    fn watched(&mut self) -> Option<Watched> {
        let outcome = match self.end.as_ref()? {
            End::Answered(end) if end.outcome.is_ok() => Outcome::OK,
            end => Outcome::of_error(&end.error()),
        };
        let (sent, received) = (self.sent, self.received);
        self.watch.take().map(|watch| Watched { watch, outcome, sent, received })
    }
}

impl Channel {
    pub(crate) fn new(window: Credit) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State::default()), window })
    }

    /// Somebody wants to know when the call ends.
    pub(super) fn watch(&self, watch: Option<CallWatch>) {
        self.state.lock().watch = watch.map(Box::new);
    }

    /// A call that nobody has accepted has failed.
    pub(super) fn refused(&self, error: &RequestError) {
        let watch = self.state.lock().watch.take();
        if let Some(watch) = watch {
            watch.end(Outcome::of_error(error), None);
        }
    }

    /// Bytes of messages so far.
    pub(crate) fn transferred(&self) -> MessageBytes {
        let state = self.state.lock();
        MessageBytes { sent: state.sent, received: state.received }
    }

    /// The call is on a stream with this mailbox. At a server it is known by a key later.
    pub(crate) fn attach(self: &Arc<Self>, mailbox: &Arc<CallMailbox>, key: Option<CallKey>) {
        let mut state = self.state.lock();
        state.mailbox = Some(mailbox.clone());
        state.key = key;
        let touched = state.touched;
        drop(state);
        if touched {
            mailbox.push(self.clone());
        }
    }

    pub(crate) fn key(&self) -> Option<CallKey> {
        self.state.lock().key
    }

    /// The peer takes no longer messages than that.
    pub(crate) fn limit(&self, max_message: usize) {
        self.state.lock().max_message = Some(max_message);
    }

    /// The peer takes so much from the beginning.
    pub(crate) fn grant(&self, credit: Credit, silent: bool) {
        let mut state = self.state.lock();
        // It was checked when it came.
        let _granted = state.balance.add(credit);
        state.peer_finished = silent;
    }

    /// What the application wants since this was last asked.
    pub(crate) fn take_wishes(&self) -> Wishes {
        let mut state = self.state.lock();
        state.touched = false;
        mem::take(&mut state.wishes)
    }

    /// Something has happened in the call.
    pub(crate) fn handle(&self, event: CallEvent) {
        let mut state = self.state.lock();
        match event {
            CallEvent::Accepted { metadata, .. } => state.accepted = Some(metadata),
            CallEvent::Message(message) => {
                state.received += message.payload.wire_len() as u64;
                state.inbox.push_back(message);
            }
            CallEvent::Credit(credit) => {
                // It was checked when it came.
                let _granted = state.balance.add(credit);
                let unpaid = state.unpaid;
                state.unpaid = state.balance.pay(unpaid);
            }
            CallEvent::Finished => state.peer_finished = true,
            CallEvent::Draining => state.draining = true,
            CallEvent::Ended(end) => state.end = Some(End::Answered(Box::new(end))),
            CallEvent::Stopped(why) => state.end = Some(End::Stopped(why)),
            CallEvent::Unopened => {}
        }
        let (receiver, sender) = (state.receiver.take(), state.sender.take());
        let over = state.draining || state.end.is_some();
        let drained = if over { state.drained.take() } else { None };
        let watched = state.watched();
        drop(state);
        watched.into_iter().for_each(Watched::end);
        receiver.into_iter().chain(sender).chain(drained).for_each(Waker::wake);
    }

    /// Messages have come in the call with this key, unless the channel has another one by now.
    pub(crate) fn receive(&self, key: CallKey, messages: &mut VecDeque<CallMessage>) {
        let mut state = self.state.lock();
        if state.key != Some(key) {
            return messages.clear();
        }
        let bytes = messages.iter().map(|message| message.payload.wire_len() as u64);
        state.received += bytes.sum::<u64>();
        if state.inbox.is_empty() && messages.len() > FEW {
            state.inbox = mem::take(messages);
        } else {
            state.inbox.append(messages);
        }
        let receiver = state.receiver.take();
        drop(state);
        receiver.into_iter().for_each(Waker::wake);
    }

    /// The call is over for this end, unless it was before.
    pub(crate) fn close(&self, why: CallStop) {
        if self.state.lock().end.is_none() {
            self.handle(CallEvent::Stopped(why));
        }
    }

    pub(super) fn metadata(&self) -> Metadata {
        self.state.lock().accepted.clone().unwrap_or_default()
    }

    /// Waits until the server is draining, or the call is over.
    pub(super) fn poll_draining(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.draining || state.end.is_some() {
            return Poll::Ready(());
        }
        state.drained = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The handler has the call, unless it said so before.
    pub(super) fn accept(self: &Arc<Self>, metadata: Metadata) -> bool {
        let mut state = self.state.lock();
        let first = state.accepted.is_none();
        if first {
            state.accepted = Some(metadata.clone());
            state.wishes.accept = Some(metadata);
            self.touch(state);
        }
        first
    }

    /// Sends a message if the peer takes one.
    pub(super) fn send(self: &Arc<Self>, message: CallMessage) -> Result<(), Unsent> {
        let mut state = self.state.lock();
        if let Some(end) = &state.end {
            return Err(Unsent::Failed(end.error()));
        }
        if state.finished {
            return Err(Unsent::Failed(End::Dropped.error()));
        }
        let len = message.payload.wire_len();
        let cursor = message.cursor.as_ref().map_or(0, Bytes::len);
        let most = state.max_message.unwrap_or(usize::MAX);
        for (len, limit) in [(len, most), (cursor, MAX_CURSOR)] {
            if len > limit {
                return Err(Unsent::Failed(SendError::TooLarge { len, limit }.into()));
            }
        }
        if state.unpaid > 0 || !state.balance.allows(len) {
            return Err(Unsent::Blocked(message));
        }
        state.unpaid = state.balance.begin(len as u32);
        state.sent += len as u64;
        state.wishes.messages.push(message);
        self.touch(state);
        Ok(())
    }

    /// Waits until the peer takes a message of that length, or the call is over.
    pub(super) fn poll_ready(&self, len: usize, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.end.is_some() || state.unpaid == 0 && state.balance.allows(len) {
            return Poll::Ready(());
        }
        state.sender = Some(cx.waker().clone());
        Poll::Pending
    }

    /// No more messages come from here.
    pub(super) fn finish(self: &Arc<Self>) {
        let mut state = self.state.lock();
        if !mem::replace(&mut state.finished, true) && state.end.is_none() {
            state.wishes.finish = true;
            self.touch(state);
        }
    }

    /// The next message; `None` if no more come. Takes several out of the channel if there are several.
    pub(super) fn poll_message(
        self: &Arc<Self>,
        batch: &mut Batch,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<CallMessage, RequestError>>> {
        if let Some(message) = batch.messages.pop_front() {
            batch.taken += message.cost();
            if batch.taken.messages >= batch.worth {
                let mut state = self.state.lock();
                state.wishes.taken += mem::take(&mut batch.taken);
                self.touch(state);
            }
            return Poll::Ready(Some(Ok(message)));
        }
        let mut state = self.state.lock();
        state.wishes.taken += mem::take(&mut batch.taken);
        if let Some(message) = state.inbox.pop_front() {
            state.wishes.taken += message.cost();
            let (taken, window) = (state.wishes.taken, self.window);
            let worth = window.messages.div_ceil(4);
            if state.inbox.len() > FEW {
                batch.messages = mem::take(&mut state.inbox);
                batch.worth = worth.max(batch.messages.len() as u32 / 2);
            }
            // A quarter of the window is not worth a word.
            if taken.bytes >= window.bytes / 4 || taken.messages >= worth {
                self.touch(state);
            }
            return Poll::Ready(Some(Ok(message)));
        }
        batch.messages = VecDeque::new();
        match &state.end {
            Some(End::Answered(end)) if end.outcome.is_ok() => return Poll::Ready(None),
            Some(end) => return Poll::Ready(Some(Err(end.error()))),
            None if state.peer_finished => return Poll::Ready(None),
            None => {}
        }
        state.receiver = Some(cx.waker().clone());
        if state.wishes.taken != Credit::NONE {
            self.touch(state);
        }
        Poll::Pending
    }

    /// How the call has ended.
    pub(super) fn poll_end(&self, cx: &Context<'_>) -> Poll<End> {
        let mut state = self.state.lock();
        match state.end.clone() {
            Some(end) => Poll::Ready(end),
            None => {
                state.receiver = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Nobody here wants the call any more.
    pub(super) fn cancel(self: &Arc<Self>) {
        let mut state = self.state.lock();
        if state.end.is_none() {
            state.end = Some(End::Dropped);
            state.wishes = Wishes { cancel: true, ..Wishes::default() };
            state.inbox = VecDeque::new();
            // Halves in other tasks.
            let waiting = [state.receiver.take(), state.sender.take(), state.drained.take()];
            let watched = state.watched();
            self.touch(state);
            watched.into_iter().for_each(Watched::end);
            waiting.into_iter().flatten().for_each(Waker::wake);
        }
    }

    /// Tells the driver, unless it is told already.
    fn touch(self: &Arc<Self>, mut state: parking_lot::MutexGuard<'_, State>) {
        if mem::replace(&mut state.touched, true) {
            return;
        }
        let mailbox = state.mailbox.clone();
        drop(state);
        if let Some(mailbox) = mailbox {
            mailbox.push(self.clone());
        }
    }
}
