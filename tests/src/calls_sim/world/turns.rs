//! The turns of the applications: what they open, send, read, cancel and answer.

use std::time::Duration;

use bytes::Bytes;
use pointsub_core::connection::{CallError, CallMessage, CallOpening};
use pointsub_core::wire::CallRequest;
use pointsub_core::{Metadata, Status, StatusCode};

use super::super::Planted;
use super::super::app::{ClientState, From, ServerState, message};
use super::super::check;
use super::super::plan::{CallPlan, STOPPED};
use super::{World, key, payload};

impl World {
    pub(super) fn client_turn(&mut self, call: usize) -> Result<(), String> {
        let (now, plan) = (self.time(), self.plan.calls[call].clone());
        match self.apps[call].at_client {
            ClientState::Unopened if self.now >= plan.at => self.open(call, &plan),
            ClientState::Open => {
                let due = self.apps[call].opened + plan.cancel.unwrap_or(u64::MAX / 2);
                if self.now >= due {
                    self.client.calls.cancel(key(call), now);
                    let app = &mut self.apps[call];
                    (app.at_client, app.cancelled) = (ClientState::Cancelled, Some(self.now));
                    return Ok(());
                }
                self.send(call, From::Client, &plan);
                self.read(call, From::Client, &plan)
            }
            // What has come before the end is read all the same.
            ClientState::Ended(_) => self.read(call, From::Client, &plan),
            _ => Ok(()),
        }
    }

    fn open(&mut self, call: usize, plan: &CallPlan) -> Result<(), String> {
        let now = self.time();
        let request = CallRequest {
            argument: payload(message(call, From::Client, 1000, plan.argument)),
            credit: plan.client_window,
            silent: plan.silent,
            ..CallRequest::default()
        };
        let deadline = plan.deadline.map(|ms| now + Duration::from_millis(ms));
        let (grows_to, idle) = (plan.grows_to, plan.idle);
        let opening = CallOpening { request, grows_to, deadline, idle };
        let app = &mut self.apps[call];
        app.opened = self.now;
        app.client.finished = plan.silent;
        match self.client.calls.open(key(call), opening, now) {
            Ok(()) => app.at_client = ClientState::Open,
            Err(CallError::TooManyCalls { .. }) => {
                (app.at_client, app.at_server) = (ClientState::Refused, ServerState::Done);
            }
            Err(error) => return Err(error.to_string()),
        }
        Ok(())
    }

    /// Sends what there is credit for, at most a few messages.
    fn send(&mut self, call: usize, from: From, plan: &CallPlan) {
        if !self.chance(plan.writes) {
            return;
        }
        let now = self.time();
        let lengths = if from == From::Client { &plan.to_server } else { &plan.to_client };
        for _ in 0..10 {
            let app = &mut self.apps[call];
            let (half, calls) = match from {
                From::Client => (&mut app.client, &mut self.client.calls),
                From::Server => (&mut app.server, &mut self.server.calls),
            };
            if half.finished {
                return;
            }
            let Some(len) = lengths.get(half.sent) else {
                // A handler that is done may say so, or just end.
                if from == From::Client || call.is_multiple_of(2) {
                    half.finished = calls.finish(key(call), now).is_ok();
                }
                return;
            };
            let bytes = message(call, from, half.sent, *len);
            match calls.send(key(call), CallMessage::from(bytes), now) {
                Ok(()) => half.sent += 1,
                Err(_) => {
                    self.met.waited += 1;
                    return;
                }
            }
        }
    }

    /// Reads some of what has come.
    fn read(&mut self, call: usize, to: From, plan: &CallPlan) -> Result<(), String> {
        let stopped = plan.stops.filter(|(who, _)| *who == to).map(|(_, at)| at..at + STOPPED);
        if stopped.as_ref().is_some_and(|when| when.contains(&self.now)) {
            return Ok(());
        }
        if !self.chance(plan.reads) {
            return Ok(());
        }
        let now = self.time();
        loop {
            let (from, lengths) = match to {
                From::Client => (From::Server, &plan.to_client),
                From::Server => (From::Client, &plan.to_server),
            };
            let app = &mut self.apps[call];
            let half = if to == From::Client { &mut app.client } else { &mut app.server };
            let Some(message) = half.inbox.pop_front() else { return Ok(()) };
            let cost = message.cost();
            check::taken(call, from, half, lengths, message)?;
            half.taken += 1;
            self.met.messages += 1;
            self.met.late += u64::from(stopped.as_ref().is_some_and(|when| when.end <= self.now));
            self.met.long += u64::from(cost.bytes > 32 * 1024);
            let never = self.plants(Planted::TakenNever);
            let twice = self.plants(Planted::TakenTwice);
            let times = if never { 0 } else { 1 + usize::from(twice) };
            let side = if to == From::Client { &mut self.client } else { &mut self.server };
            for _ in 0..times {
                side.calls.taken(key(call), cost, now);
            }
            if !self.chance(plan.reads) {
                return Ok(());
            }
        }
    }

    pub(super) fn server_turn(&mut self, call: usize) -> Result<(), String> {
        let (now, plan) = (self.time(), self.plan.calls[call].clone());
        match self.apps[call].at_server {
            ServerState::Working => self.handler_turn(call, &plan),
            ServerState::Stopping(since) if self.now >= since + plan.sluggish => {
                self.apps[call].at_server = ServerState::Done;
                if !self.plants(Planted::StopUnsaid) {
                    let status = Status::new(StatusCode::Internal, "");
                    self.server.calls.respond(key(call), Err(status), Metadata::new(), now);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn handler_turn(&mut self, call: usize, plan: &CallPlan) -> Result<(), String> {
        let now = self.time();
        if self.server.calls.is_opening(key(call)) {
            if self.now < self.apps[call].begun + plan.sluggish {
                return Ok(());
            }
            if !call.is_multiple_of(3) || plan.to_client.is_empty() {
                let accepted = self.server.calls.accept(key(call), Metadata::new(), None, now);
                accepted.map_err(|error| error.to_string())?;
            }
        }
        self.send(call, From::Server, plan);
        self.read(call, From::Server, plan)?;
        let app = &mut self.apps[call];
        let sent = app.server.sent == plan.to_client.len();
        let read = app.server.peer_finished && app.server.inbox.is_empty();
        if sent && (read || plan.early) {
            if read && !plan.early && app.server.taken != app.client.sent {
                return Err(format!("handler {call} has not got all messages: {app:?}"));
            }
            let outcome = match plan.fails {
                true => Err(Status::new(StatusCode::Application(7), "as planned")),
                false => Ok(payload(Bytes::from_static(b"done"))),
            };
            app.succeeded = Some(!plan.fails);
            app.at_server = ServerState::Done;
            self.server.calls.respond(key(call), outcome, Metadata::new(), now);
        }
        Ok(())
    }
}
