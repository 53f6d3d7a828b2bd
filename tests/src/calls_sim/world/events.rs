//! What the machines tell the applications.

use std::time::Duration;

use bytes::Bytes;
use pointsub_core::connection::{CallEvent, CallKey, CallStart, CallStop};
use pointsub_core::wire::{CallRequest, Flags, Frame, Kind, Outbox, tag};
use pointsub_core::{Cause, Status, StatusCode};

use super::super::app::{ClientState, From, ServerState, message};
use super::super::check;
use super::super::plan::MAX_MESSAGE;
use super::{World, number};

impl World {
    pub(super) fn take_request(&mut self, frame: Frame) -> Result<(), String> {
        let (now, key) = (self.time(), CallKey(frame.header.id));
        let call = number(key);
        let argument = frame.body.clone();
        let request = self.server.calls.read(frame).map_err(|error| error.to_string())?;
        self.server.calls.saw(key.0);
        let app = &mut self.apps[call];
        let plan = &self.plan.calls[call];
        let request = match request {
            Ok(request) => request,
            Err(status) => {
                refuse(&mut self.server.outbox, key, &status);
                app.at_server = ServerState::Done;
                return Ok(());
            }
        };
        if argument != message(call, From::Client, 1000, plan.argument) {
            return Err(format!("call {call} has another argument"));
        }
        let CallRequest { credit, silent, timeout, .. } = request;
        let deadline = timeout.map(|ms| now + Duration::from_millis(u64::from(ms)));
        let (window, grows_to, idle) = (plan.server_window, plan.grows_to, plan.idle);
        let start = CallStart { window, grows_to, credit, silent, deadline, idle, kept: 0 };
        self.server.calls.begin(key, start, now).map_err(|error| error.to_string())?;
        (app.at_server, app.begun) = (ServerState::Working, self.now);
        app.server.peer_finished = silent;
        Ok(())
    }

    /// What the machines say to their applications.
    pub(super) fn events(&mut self) -> Result<(), String> {
        while let Some((key, event)) = self.client.calls.poll_event() {
            self.client_event(number(key), event)?;
        }
        while let Some((key, event)) = self.server.calls.poll_event() {
            self.server_event(number(key), event)?;
        }
        Ok(())
    }

    fn client_event(&mut self, call: usize, event: CallEvent) -> Result<(), String> {
        let (app, plan) = (&mut self.apps[call], &self.plan.calls[call]);
        if app.at_client != ClientState::Open {
            return Err(format!("call {call}, which is {:?}, hears {event:?}", app.at_client));
        }
        match event {
            CallEvent::Accepted { .. } if app.accepted => {
                return Err(format!("call {call} is accepted twice"));
            }
            CallEvent::Accepted { .. } => app.accepted = true,
            CallEvent::Message(message) => {
                app.client.inbox.push_back(message);
                check::arrived(&app.client, plan.client_window.max(plan.grows_to), MAX_MESSAGE)?;
            }
            CallEvent::Credit(_) | CallEvent::Draining => {}
            CallEvent::Finished => app.client.peer_finished = true,
            CallEvent::Ended(end) => {
                match &end.outcome {
                    Ok(_) => self.met.ok += 1,
                    Err((Cause::Deadline | Cause::TimedOut(_), _)) => self.met.expired += 1,
                    Err((Cause::Violation(_), _)) => self.met.refused += 1,
                    Err(_) => self.met.failed += 1,
                }
                app.at_client = ClientState::Ended(Box::new(end));
            }
            _ => return Err(format!("the client of call {call} hears what is for handlers")),
        }
        Ok(())
    }

    fn server_event(&mut self, call: usize, event: CallEvent) -> Result<(), String> {
        let now = self.now;
        let (app, plan) = (&mut self.apps[call], &self.plan.calls[call]);
        if app.at_server != ServerState::Working {
            return Err(format!("handler {call}, which is {:?}, hears {event:?}", app.at_server));
        }
        match event {
            CallEvent::Message(message) => {
                app.server.inbox.push_back(message);
                check::arrived(&app.server, plan.server_window.max(plan.grows_to), MAX_MESSAGE)?;
            }
            CallEvent::Credit(_) | CallEvent::Draining => {}
            CallEvent::Finished => app.server.peer_finished = true,
            CallEvent::Stopped(why) => {
                if why == CallStop::Cancelled && app.cancelled.is_some() {
                    self.met.cancelled += 1;
                }
                if let CallStop::Refused(_) = why {
                    self.met.refused += 1;
                }
                app.at_server = ServerState::Stopping(now);
            }
            _ => return Err(format!("handler {call} hears what is for clients")),
        }
        Ok(())
    }
}

/// Answers a call that is not let in.
fn refuse(outbox: &mut Outbox, key: CallKey, status: &Status) {
    let code = match status.code {
        StatusCode::Busy => 3,
        _ => 9,
    };
    outbox.native(Kind::Response, Flags::UNPROCESSED, key.0, Bytes::new(), |head| {
        head.u8(tag::STATUS, code);
    });
}
