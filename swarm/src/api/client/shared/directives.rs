//! Carries out what the dispatcher decides: at once what concerns the state, and as [`Effects`] what has to
//! wait until it is not locked any more.

use std::sync::Arc;

use pointsub_core::connection::StreamCommand;
use pointsub_core::endpoint::Directive;
use pointsub_core::{ClientEvent, RequestId, StreamId};

use super::effects::{Answered, Effects, Outcome};
use super::{ClientShared, OpenCommand, State};
use crate::api::client::ticket::{OpenTicket, Wanted};
use crate::connection::negotiation::Names;

impl State {
    /// Carries out what the dispatcher decided.
    pub(super) fn apply(&mut self, shared: &Arc<ClientShared>, effects: &mut Effects) {
        let ticket = |wanted, peer, protocol, names| {
            let timeout = shared.config.connect_timeout();
            OpenTicket::new(shared.clone(), timeout, wanted, peer, protocol, names)
        };
        while let Some(directive) = self.dispatcher.poll_directive() {
            match directive {
                Directive::Command { stream, command } => {
                    self.command(stream, command, effects);
                }
                Directive::Open { stream, peer, protocol, offer } => {
                    let wanted = Wanted::Pooled(stream);
                    let names = Names::offered(&protocol, offer);
                    self.open(ticket(wanted, peer, protocol, names), effects);
                }
                Directive::Dial { dial, peer, protocol } => {
                    let names = Names::raw(&protocol);
                    let wanted = Wanted::Raw(dial);
                    self.open(ticket(wanted, peer, protocol, names), effects);
                }
                Directive::Abandon { stream } => self.abandon(Wanted::Pooled(stream), effects),
                Directive::AbandonDial { dial } => self.abandon(Wanted::Raw(dial), effects),
                Directive::Ask(question) => effects.questions.push(*question),
                Directive::HangUp { dial } => {
                    effects.hang_up.extend(self.cancel_handles.remove(dial));
                }
                Directive::Event(ClientEvent::DialFailed { dial, error }) => {
                    let waiter = self.dial_waiters.remove(dial);
                    effects.answer_dials.extend(waiter.map(|waiter| (waiter, Err(error))));
                }
                Directive::Event(ClientEvent::Response { request, payload }) => {
                    let at = self.dispatcher.now();
                    self.answer(request, Ok(Answered { payload, at }), effects);
                }
                Directive::Event(ClientEvent::Failed { request, error }) => {
                    self.answer(request, Err(error), effects);
                }
                Directive::Event(ClientEvent::Closest { call, outcome }) => {
                    if let Some(waiter) = self.closest_waiters.remove(call) {
                        effects.answer_closest.push((waiter, outcome));
                    }
                }
                Directive::Event(ClientEvent::Drained) => {
                    effects.drained.append(&mut self.drained);
                }
                Directive::Event(_) => {}
            }
        }
        let due = self.dispatcher.next_deadline();
        if due.is_some_and(|due| self.swarm_due.is_none_or(|known| due < known)) {
            self.swarm_due = due;
            effects.wake_swarm = true;
        }
    }

    fn open(&mut self, ticket: OpenTicket, effects: &mut Effects) {
        self.opens.push_back(OpenCommand::Open(ticket));
        effects.wake_swarm = true;
    }

    fn abandon(&mut self, wanted: Wanted, effects: &mut Effects) {
        self.opens.push_back(OpenCommand::Abandon(wanted));
        effects.wake_swarm = true;
    }

    fn command(&mut self, stream: StreamId, command: StreamCommand, effects: &mut Effects) {
        let mailbox = self.mailboxes.get_mut(stream);
        effects.wake.extend(mailbox.and_then(|mailbox| mailbox.push(command)));
    }

    fn answer(&mut self, request: RequestId, outcome: Outcome, effects: &mut Effects) {
        if let Some(waiter) = self.waiters.remove(request) {
            effects.answer.push((waiter, outcome));
        }
    }
}
