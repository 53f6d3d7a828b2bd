//! Servers: their machines are driven, their workers work.

use bytes::Bytes;
use pointsub_core::{
    Format, InboundId, ProtocolName, ServerEvent, ServerInput, ServerOutput, Status, StatusCode,
    StreamError, StreamEvent, StreamId, StreamOp, Timestamp,
};

use super::draw;
use super::event::{Carried, Event, LinkKey};
use super::faults;
use super::server::{PROTOCOL, peer_of_client};
use super::world::World;

impl World {
    /// A client's wish for a stream has come.
    pub(super) fn opening(&mut self, key: LinkKey) {
        let Some(link) = self.links.get(key).copied() else { return };
        let back = self.now + self.links.way(link.client, link.server);
        let now = self.stamp();
        let server = &mut self.servers[link.server as usize];
        if server.silent {
            if let Some(link) = self.links.get_mut(key) {
                link.opening = false;
            }
            return self.links.settle(key);
        }
        let Some(machine) = &mut server.machine else {
            return self.queue.plan(back, Event::Opened(key, false));
        };
        let protocol = ProtocolName::new(PROTOCOL).expect("a usable name");
        let from = peer_of_client(link.client as usize);
        let stream = machine.accept(from, &protocol, Format::Native, now);
        server.links.insert(stream, key);
        let life = server.life;
        if let Some(link) = self.links.get_mut(key) {
            link.at_server = Some(stream);
            link.life = life;
        }
        self.queue.plan(back, Event::Opened(key, true));
        self.drive_server(link.server as usize);
    }

    /// Something of a client's has come.
    pub(super) fn reach_server(&mut self, key: LinkKey, what: Carried) {
        let Some(link) = self.links.get(key).copied() else { return };
        let number = link.server as usize;
        let server = &mut self.servers[number];
        let Some(stream) = link.at_server.filter(|_| !server.silent) else {
            return self.links.settle(key);
        };
        let (event, ends) = match what {
            Carried::Bytes(bytes) => (StreamEvent::Received(bytes), false),
            Carried::Finished => (StreamEvent::Finished, false),
            Carried::Reset | Carried::Lost => (StreamEvent::Failed(StreamError::Reset), true),
        };
        let now = Timestamp::from_nanos(self.now);
        if let Some(machine) = &mut server.machine {
            machine.handle_input(ServerInput::Stream(stream, event), now);
        }
        self.drive_server(number);
        if ends {
            self.server_is_done(number, stream);
        }
    }

    /// Does what a server's machine wants done.
    pub(super) fn drive_server(&mut self, number: usize) {
        loop {
            let Some(machine) = &mut self.servers[number].machine else { return };
            match machine.poll_output() {
                ServerOutput::Wait(due) => {
                    let due = due.map(Timestamp::as_nanos);
                    if let Some(at) = self.servers[number].timer.set(due) {
                        self.queue.plan(at, Event::ServerTimer(number as u32));
                    }
                    return;
                }
                ServerOutput::Stream(stream, op) => self.server_op(number, stream, op),
                ServerOutput::Event(ServerEvent::Request { request, .. }) => {
                    self.begin_request(number, request);
                }
                ServerOutput::Event(ServerEvent::Abandon { request }) => {
                    let now = self.stamp();
                    let server = &mut self.servers[number];
                    if server.jobs.abandon(request)
                        && let Some(machine) = &mut server.machine
                    {
                        machine.abandoned(request, now);
                    }
                }
                ServerOutput::Event(ServerEvent::Drained) => {
                    if self.servers[number].draining {
                        faults::stop(self, number, true);
                        return;
                    }
                }
                ServerOutput::Event(_) | ServerOutput::HangUp(_) => {}
            }
        }
    }

    fn server_op(&mut self, number: usize, stream: StreamId, op: StreamOp) {
        match op {
            StreamOp::Write(bytes) => {
                self.server_says(number, stream, Carried::Bytes(bytes));
                self.report.events += 1;
                let now = self.stamp();
                if let Some(machine) = &mut self.servers[number].machine {
                    let written = ServerInput::Stream(stream, StreamEvent::Written);
                    machine.handle_input(written, now);
                }
            }
            StreamOp::Finish => {
                self.server_says(number, stream, Carried::Finished);
                self.server_is_done(number, stream);
            }
            StreamOp::Reset => {
                self.server_says(number, stream, Carried::Reset);
                self.server_is_done(number, stream);
            }
        }
    }

    fn server_says(&mut self, number: usize, stream: StreamId, what: Carried) {
        if self.servers[number].silent {
            return;
        }
        let Some(key) = self.servers[number].links.get(stream).copied() else { return };
        let Some(link) = self.links.get(key) else { return };
        let at = self.now + self.links.way(link.client, link.server);
        self.queue.plan(at, Event::ToClient(key, what));
    }

    fn server_is_done(&mut self, number: usize, stream: StreamId) {
        let Some(key) = self.servers[number].links.remove(stream) else { return };
        if let Some(link) = self.links.get_mut(key) {
            link.at_server = None;
        }
        self.links.settle(key);
    }

    /// A request was let in.
    fn begin_request(&mut self, number: usize, request: InboundId) {
        let now = self.stamp();
        let server = &mut self.servers[number];
        if server.erring {
            if let Some(machine) = &mut server.machine {
                let status = Status::new(StatusCode::Application(7), "");
                machine.respond(request, Err::<Bytes, _>(status), now);
            }
            return;
        }
        let takes = draw::lognormal(&mut self.rng, self.setup.service, self.setup.sigma);
        let takes = (takes as f64 * server.slowness) as u64;
        let starts = server.jobs.add(request, takes, self.setup.workers);
        if let Some(job) = starts {
            self.begin_job(number, job);
        }
    }

    fn begin_job(&mut self, number: usize, job: u32) {
        let server = &self.servers[number];
        let at = self.now + server.jobs.takes(job);
        let done = Event::Done { server: number as u32, life: server.life, job };
        self.queue.plan(at, done);
    }

    /// A worker is done.
    pub(super) fn job_done(&mut self, number: usize, life: u32, slot: u32) {
        let now = self.stamp();
        let measured = self.is_measured();
        let server = &mut self.servers[number];
        if server.life != life || server.machine.is_none() {
            return;
        }
        let job = server.jobs.done(slot);
        if measured {
            self.report.measured.worked += 1;
            self.report.measured.wasted += u64::from(job.gone);
        }
        if let Some(machine) = &mut server.machine {
            let answer = Bytes::from_static(b"16 bytes of body");
            machine.respond(job.request, Ok(answer), now);
        }
        if let Some(next) = server.jobs.start_next(self.setup.workers) {
            self.begin_job(number, next);
        }
        self.drive_server(number);
    }
}
