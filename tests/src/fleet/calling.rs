//! Clients: they call, their machines are driven, callers learn what came of it.

use bytes::Bytes;
use pointsub_core::{
    CallOptions, Cause, ClientEvent, ClientInput, ClientOutput, ClosestOptions, RequestError,
    StatusCode, StreamEvent, StreamId, StreamOp, Timestamp,
};

use super::client::Call;
use super::event::{Ask, Carried, Event, LinkKey};
use super::links::Link;
use super::server::{PROTOCOL, peer_of_server, server_of_peer};
use super::setup::Choice;
use super::world::World;

/// A caller waits for so long at most before it asks again.
const ASKS_AGAIN_WITHIN: u64 = 200_000_000;

impl World {
    /// Makes a call.
    pub(super) fn call(&mut self, ask: Ask) {
        let now = self.stamp();
        let deadline = self.setup.deadline.map(|wait| now + wait);
        let call = Call { ask, began: self.now, server: 0 };
        self.second.calls += 1;
        if self.is_measured() {
            self.report.measured.calls += 1;
        }
        let client = &mut self.clients[ask.client as usize];
        if client.hostile {
            let server = ask.client as usize % self.servers.len();
            return self.ask_server(call, server, None);
        }
        if self.setup.choice == Choice::OneServer {
            let server = ask.client as usize % self.servers.len();
            return self.ask_server(call, server, deadline);
        }
        if let Some(reference) = &mut client.reference {
            let server = reference.begin(self.now);
            return self.ask_server(call, server, deadline);
        }
        let (key, body) = self.keys.draw(&mut client.rng);
        let mut options = CallOptions::default().with_idempotent(self.setup.idempotent);
        options.deadline = deadline;
        let mut closest = ClosestOptions::default().with_call(options);
        closest.hedge = self.setup.hedge;
        match client.machine.send_closest(PROTOCOL, key, body, closest, now) {
            Ok(id) => _ = client.calls.insert(id, call),
            Err(refused) => self.call_failed(call, &refused.into()),
        }
    }

    /// Asks one server, and no other.
    fn ask_server(&mut self, mut call: Call, server: usize, deadline: Option<Timestamp>) {
        call.server = server as u32;
        let now = self.stamp();
        let client = &mut self.clients[call.ask.client as usize];
        let mut options = CallOptions::default().with_idempotent(self.setup.idempotent);
        options.deadline = deadline;
        let body = Bytes::from_static(b"16 bytes of body");
        match client.machine.send(&peer_of_server(server), PROTOCOL, body, options, now) {
            Ok(id) => {
                if let Some(reference) = &mut client.reference {
                    reference.asked(server);
                }
                client.requests.insert(id, call);
            }
            Err(refused) => self.call_failed(call, &refused.into()),
        }
    }

    /// Does what a client's machine wants done.
    pub(super) fn drive_client(&mut self, client: usize) {
        loop {
            match self.clients[client].machine.poll_output() {
                ClientOutput::Wait(due) => {
                    let due = due.map(Timestamp::as_nanos);
                    if let Some(at) = self.clients[client].timer.set(due) {
                        self.queue.plan(at, Event::ClientTimer(client as u32));
                    }
                    return;
                }
                ClientOutput::Stream(stream, op) => self.client_op(client, stream, op),
                ClientOutput::Event(event) => self.client_event(client, event),
                ClientOutput::Open { stream, peer, .. } => {
                    self.open(client, stream, server_of_peer(&peer));
                }
                ClientOutput::Abandon(stream) => {
                    self.client_is_done(client, stream, Carried::Reset);
                }
                ClientOutput::Dial { .. } | ClientOutput::AbandonDial(_) => {}
                ClientOutput::HangUp(_) => {}
            }
        }
    }

    fn client_op(&mut self, client: usize, stream: StreamId, op: StreamOp) {
        match op {
            StreamOp::Write(bytes) => {
                self.client_says(client, stream, Carried::Bytes(bytes));
                self.report.events += 1;
                let written = ClientInput::Stream(stream, StreamEvent::Written);
                let now = self.stamp();
                self.clients[client].machine.handle_input(written, now);
            }
            StreamOp::Finish => self.client_is_done(client, stream, Carried::Finished),
            StreamOp::Reset => self.client_is_done(client, stream, Carried::Reset),
        }
    }

    fn client_says(&mut self, client: usize, stream: StreamId, what: Carried) {
        let Some(key) = self.clients[client].links.get(stream).copied() else { return };
        let Some(link) = self.links.get(key) else { return };
        let at = self.now + self.links.way(link.client, link.server);
        self.queue.plan(at, Event::ToServer(key, what));
    }

    fn client_is_done(&mut self, client: usize, stream: StreamId, how: Carried) {
        self.client_says(client, stream, how);
        let Some(key) = self.clients[client].links.remove(stream) else { return };
        if let Some(link) = self.links.get_mut(key) {
            link.at_client = None;
        }
        self.links.settle(key);
    }

    fn open(&mut self, client: usize, stream: StreamId, server: usize) {
        self.second.opens += 1;
        if self.is_measured() {
            self.report.measured.opens += 1;
        }
        let (client32, server32) = (client as u32, server as u32);
        let life = self.servers[server].life;
        let link = Link {
            client: client32,
            server: server32,
            life,
            at_client: Some(stream),
            at_server: None,
            opening: true,
        };
        let key = self.links.add(link);
        self.clients[client].links.insert(stream, key);
        let way = self.links.way(client32, server32);
        // TCP and TLS take a round trip each; the negotiation of a stream one more.
        let ways = if *self.links.connected(client32, server32) { 1 } else { 5 };
        self.queue.plan(self.now + ways * way, Event::Opening(key));
    }

    /// The answer to an open is back.
    pub(super) fn opened(&mut self, key: LinkKey, there: bool) {
        let Some(link) = self.links.get_mut(key) else { return };
        link.opening = false;
        let Link { client, server, at_client, .. } = *link;
        let now = self.stamp();
        if let Some(stream) = at_client {
            let machine = &mut self.clients[client as usize].machine;
            if there {
                if !std::mem::replace(self.links.connected(client, server), true) {
                    machine.set_online(peer_of_server(server as usize), true);
                }
                let format = pointsub_core::Format::Native;
                machine.handle_input(ClientInput::Opened(stream, format), now);
            } else {
                if self.is_measured() {
                    self.report.measured.in_vain += 1;
                }
                let error = pointsub_core::StreamError::Unreachable("refused".into());
                let machine = &mut self.clients[client as usize].machine;
                machine.handle_input(ClientInput::OpenFailed(stream, error), now);
                self.clients[client as usize].links.remove(stream);
                if let Some(link) = self.links.get_mut(key) {
                    link.at_client = None;
                }
            }
        }
        self.links.settle(key);
        self.drive_client(client as usize);
    }

    /// Something of a server's has come.
    pub(super) fn reach_client(&mut self, key: LinkKey, what: Carried) {
        let Some(link) = self.links.get(key).copied() else { return };
        let Some(stream) = link.at_client else { return self.links.settle(key) };
        let now = self.stamp();
        let client = link.client as usize;
        let (event, ends) = match what {
            Carried::Bytes(bytes) => (StreamEvent::Received(bytes), false),
            Carried::Finished => (StreamEvent::Finished, true),
            Carried::Reset => (StreamEvent::Failed(pointsub_core::StreamError::Reset), true),
            Carried::Lost => {
                *self.links.connected(link.client, link.server) = false;
                let peer = peer_of_server(link.server as usize);
                self.clients[client].machine.set_online(peer, false);
                let lost = pointsub_core::StreamError::Lost("connection lost".into());
                (StreamEvent::Failed(lost), true)
            }
        };
        self.clients[client].machine.handle_input(ClientInput::Stream(stream, event), now);
        self.drive_client(client);
        if ends && let Some(link) = self.links.get_mut(key) {
            link.at_client = None;
            self.clients[client].links.remove(stream);
        }
        self.links.settle(key);
    }

    fn client_event(&mut self, client: usize, event: ClientEvent) {
        match event {
            ClientEvent::Closest { call: id, outcome } => {
                let Some(call) = self.clients[client].calls.remove(id) else {
                    return self.broken(format!("client {client} got a second outcome"));
                };
                match outcome {
                    Ok(_) => self.call_answered(call),
                    Err(failure) => self.call_failed(call, &failure.error),
                }
            }
            ClientEvent::Response { request, .. } => {
                let Some(call) = self.clients[client].requests.remove(&request) else { return };
                if let Some(reference) = &mut self.clients[client].reference {
                    reference.ended(call.server as usize, true, self.now);
                }
                self.call_answered(call);
            }
            ClientEvent::Failed { request, error } => {
                let Some(call) = self.clients[client].requests.remove(&request) else { return };
                self.try_failed(client, call, &error);
            }
            _ => {}
        }
    }

    /// A try of a reference has failed.
    fn try_failed(&mut self, client: usize, call: Call, error: &RequestError) {
        let Some(reference) = &mut self.clients[client].reference else {
            return self.call_failed(call, error);
        };
        reference.ended(call.server as usize, false, self.now);
        let deadline = self.setup.deadline.map(|wait| Timestamp::from_nanos(call.began) + wait);
        let in_time = deadline.is_none_or(|deadline| deadline > Timestamp::from_nanos(self.now));
        let further = if in_time && error.may_try_elsewhere(self.setup.idempotent) {
            reference.further(self.now, call.server as usize)
        } else {
            None
        };
        match further {
            Some(server) => self.ask_server(call, server, deadline),
            None => self.call_failed(call, error),
        }
    }

    fn call_answered(&mut self, call: Call) {
        let took = self.now - call.began;
        if u128::from(took) > self.setup.worth.as_nanos() {
            return self.call_vain(call);
        }
        self.ended += 1;
        self.trace(u64::from(call.ask.client) << 8 | 1);
        if self.clients[call.ask.client as usize].hostile {
            return;
        }
        self.second.good += 1;
        self.second.times.note(took);
        if self.is_measured() {
            self.report.measured.good += 1;
            self.report.measured.times.note(took);
        }
    }

    fn call_failed(&mut self, call: Call, error: &RequestError) {
        let expected = match &error.cause {
            Cause::Deadline | Cause::TimedOut(_) => true,
            Cause::Remote(status) => {
                matches!(status.code, StatusCode::Busy | StatusCode::DeadlineExceeded)
            }
            _ => false,
        };
        if !expected && self.is_measured() {
            self.report.measured.errors += 1;
        }
        self.call_vain(call);
    }

    fn call_vain(&mut self, call: Call) {
        self.ended += 1;
        let ask = call.ask;
        self.trace(u64::from(ask.client) << 8 | 2);
        if self.clients[ask.client as usize].hostile {
            return;
        }
        self.second.failed += 1;
        if self.is_measured() {
            self.report.measured.failed += 1;
        }
        if ask.times < self.setup.asks_again {
            let rng = &mut self.clients[ask.client as usize].rng;
            let at = self.now + rng.below(ASKS_AGAIN_WITHIN);
            self.queue.plan(at, Event::Again(Ask { times: ask.times + 1, ..ask }));
        }
    }
}
