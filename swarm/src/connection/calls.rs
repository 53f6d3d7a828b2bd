//! The calls of one stream, in the task of its connection.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::Context;

use pointsub_core::connection::{
    CallAcceptance, CallError, CallEvent, CallId, CallKey, CallMessage, CallStop, CallTerms,
    ClientStream, ServerStream,
};
use pointsub_core::wire::Credit;
use pointsub_core::{Body, Status, Timestamp};

use crate::api::calls::channel::{CallMailbox, Channel, Wishes};
use crate::api::calls::server::{LARGEST_WINDOW, WINDOW};

/// What both ends of a stream can do for a call.
pub(super) trait CallMachine {
    fn poll_call_event(&mut self) -> Option<(CallKey, CallEvent)>;
    fn send(
        &mut self,
        key: CallKey,
        messages: Vec<CallMessage>,
        now: Timestamp,
    ) -> Result<(), CallError>;
    fn finish(&mut self, key: CallKey, now: Timestamp) -> Result<(), CallError>;
    fn taken(&mut self, key: CallKey, credit: Credit, now: Timestamp);
    fn max_message(&self) -> usize;
}

macro_rules! machines {
    ($($machine:ty)*) => {$(
        impl CallMachine for $machine {
            fn poll_call_event(&mut self) -> Option<(CallKey, CallEvent)> {
                Self::poll_call_event(self)
            }

            fn send(
                &mut self,
                key: CallKey,
                messages: Vec<CallMessage>,
                now: Timestamp,
            ) -> Result<(), CallError> {
                self.send_messages(key, messages, now)
            }

            fn finish(&mut self, key: CallKey, now: Timestamp) -> Result<(), CallError> {
                self.finish_messages(key, now)
            }

            fn taken(&mut self, key: CallKey, credit: Credit, now: Timestamp) {
                Self::taken(self, key, credit, now);
            }

            fn max_message(&self) -> usize {
                Self::max_message(self)
            }
        }
    )*};
}

machines!(ClientStream ServerStream);

/// The calls of one stream.
#[derive(Debug, Default)]
pub(super) struct StreamCalls {
    pub(super) mailbox: Arc<CallMailbox>,
    /// Those that are open.
    channels: HashMap<CallKey, Arc<Channel>>,
    /// At a server: calls that handlers work on and have not accepted.
    opening: HashMap<CallId, (Arc<Channel>, CallTerms)>,
    /// At a server: the names of those that were accepted.
    accepted: HashMap<CallId, CallKey>,
    names: HashMap<CallKey, CallId>,
}

impl StreamCalls {
    /// The calls about which something is to be done.
    pub(super) fn touched(&self, cx: &Context<'_>) -> Vec<Arc<Channel>> {
        self.mailbox.take(cx)
    }

    /// A call is open, or about to be, under this key.
    pub(super) fn insert(&mut self, key: CallKey, channel: Arc<Channel>) {
        channel.attach(&self.mailbox, Some(key));
        self.channels.insert(key, channel);
    }

    /// Does what the application of a call wants, but for its acceptance and its end. Whether nobody
    /// wants the call any more.
    pub(super) fn carry_out(
        machine: &mut impl CallMachine,
        key: CallKey,
        wishes: Wishes,
        now: Timestamp,
    ) -> bool {
        if wishes.cancel {
            return true;
        }
        if !wishes.messages.is_empty() {
            // There is credit: the channel has the same balance. If the call is over, its end is on
            // the way.
            let _sent = machine.send(key, wishes.messages, now);
        }
        if wishes.finish {
            let _finished = machine.finish(key, now);
        }
        if wishes.taken != Credit::NONE {
            machine.taken(key, wishes.taken, now);
        }
        false
    }

    /// Tells applications what has happened. Whether anything has, and the calls of handlers that are to
    /// stop.
    pub(super) fn deliver(&mut self, machine: &mut impl CallMachine) -> (bool, Vec<CallId>) {
        let (mut any, mut stopped) = (false, Vec::new());
        // Messages that follow each other in one call.
        let (mut whose, mut messages) = (None, VecDeque::new());
        while let Some((key, event)) = machine.poll_call_event() {
            any = true;
            if whose != Some(key) || !matches!(event, CallEvent::Message(_)) {
                self.hand_over(whose.take(), &mut messages);
            }
            let event = match event {
                CallEvent::Message(message) => {
                    messages.push_back(message);
                    whose = Some(key);
                    continue;
                }
                event => event,
            };
            if event == CallEvent::Unopened {
                // Its caller hears of that elsewhere, or it is opened again.
                self.channels.remove(&key);
                continue;
            }
            let ends = matches!(event, CallEvent::Ended(_) | CallEvent::Stopped(_));
            let channel = match ends {
                true => self.channels.remove(&key),
                false => self.channels.get(&key).cloned(),
            };
            if let CallEvent::Stopped(_) = event {
                stopped.extend(self.names.get(&key));
            }
            // One that was opened again elsewhere is not this one.
            if let Some(channel) = channel.filter(|channel| channel.key() == Some(key)) {
                if let CallEvent::Accepted { .. } = event {
                    channel.limit(machine.max_message());
                }
                channel.handle(event);
            }
        }
        self.hand_over(whose, &mut messages);
        (any, stopped)
    }

    /// Hands messages that have come to whoever has the call.
    fn hand_over(&self, call: Option<CallKey>, messages: &mut VecDeque<CallMessage>) {
        let Some(key) = call else { return };
        match self.channels.get(&key) {
            Some(channel) => channel.receive(key, messages),
            None => messages.clear(),
        }
    }

    /// Nobody here wants the call any more.
    pub(super) fn forget(&mut self, key: CallKey) {
        self.channels.remove(&key);
    }

    /// A handler begins to work on a call.
    pub(super) fn begin(&mut self, call: CallId, channel: &Arc<Channel>, terms: CallTerms) {
        channel.attach(&self.mailbox, None);
        self.opening.insert(call, (channel.clone(), terms));
    }

    /// The call of a channel that is not accepted, with its terms.
    pub(super) fn opening(&mut self, channel: &Arc<Channel>) -> Option<(CallId, CallTerms)> {
        let found = self.opening.iter().find(|(_, (other, _))| Arc::ptr_eq(other, channel));
        let call = found.map(|(call, _)| *call)?;
        self.opening.remove(&call).map(|(_, terms)| (call, terms))
    }

    /// A handler has accepted a call, which has this key from here on.
    pub(super) fn accepted(&mut self, call: CallId, key: CallKey, channel: Arc<Channel>) {
        self.accepted.insert(call, key);
        self.names.insert(key, call);
        self.insert(key, channel);
    }

    /// Does what a handler of a call wants.
    pub(super) fn apply(
        &mut self,
        machine: &mut ServerStream,
        channel: &Arc<Channel>,
        now: Timestamp,
    ) {
        let mut wishes = channel.take_wishes();
        if let Some(metadata) = wishes.accept.take()
            && let Some((call, terms)) = self.opening(channel)
        {
            let acceptance =
                CallAcceptance { metadata, window: WINDOW, grows_to: LARGEST_WINDOW, idle: None };
            // If nobody waits for it any more, the handler hears of that, or has.
            let Some(key) = machine.accept_call(call, &terms, acceptance, now) else { return };
            channel.limit(machine.max_message());
            self.accepted(call, key, channel.clone());
        }
        if let Some(key) = channel.key() {
            Self::carry_out(machine, key, wishes, now);
        }
    }

    /// A handler has ended: ends its call behind what it has sent. The answer is given back if the call
    /// was not accepted.
    pub(super) fn finish(
        &mut self,
        machine: &mut ServerStream,
        call: CallId,
        answer: Result<Body, Status>,
        now: Timestamp,
    ) -> Option<Result<Body, Status>> {
        if let Some(channel) = self.channel(call) {
            self.apply(machine, &channel, now);
            // For halves that the handler has given away.
            channel.close(CallStop::Cancelled);
        }
        let Some(key) = self.end(call) else { return Some(answer) };
        let beside = answer.as_ref().ok().and_then(Body::headers);
        let metadata = beside.map(|headers| headers.metadata.clone()).unwrap_or_default();
        machine.end_call(key, answer, metadata, now);
        None
    }

    /// The channel of a handler that has ended.
    pub(super) fn channel(&self, call: CallId) -> Option<Arc<Channel>> {
        let opening = self.opening.get(&call).map(|(channel, _)| channel);
        let open = || self.channels.get(self.accepted.get(&call)?);
        opening.or_else(open).cloned()
    }

    /// The stream is gone: halves of calls that handlers have given away are told.
    pub(super) fn lose(&mut self) {
        let opening = self.opening.drain().map(|(_, (channel, _))| channel);
        let open = self.channels.drain().map(|(_, channel)| channel);
        opening.chain(open).for_each(|channel| channel.close(CallStop::Lost));
    }

    /// The handler of a call has ended. The key of the call, if it was accepted.
    pub(super) fn end(&mut self, call: CallId) -> Option<CallKey> {
        self.opening.remove(&call);
        let key = self.accepted.remove(&call)?;
        self.names.remove(&key);
        self.channels.remove(&key);
        Some(key)
    }
}
