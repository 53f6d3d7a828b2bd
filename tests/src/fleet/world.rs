//! The fleet and what happens in it.

use pointsub_core::{ClientInput, Server, ServerInput, Timestamp};

use crate::sim::Rng;

use super::client::SimClient;
use super::event::{Ask, Event};
use super::keys::Keys;
use super::links::Links;
use super::measure::{Report, Second, Total};
use super::queue::Queue;
use super::server::SimServer;
use super::setup::Setup;
use super::{draw, faults};

/// How often a client without calls looks whether there are some to be made.
const LULL: u64 = 50_000_000;

/// A fleet.
#[derive(Debug)]
pub(super) struct World {
    pub(super) setup: Setup,
    pub(super) now: u64,
    pub(super) queue: Queue,
    pub(super) clients: Vec<SimClient>,
    pub(super) servers: Vec<SimServer>,
    pub(super) links: Links,
    pub(super) rng: Rng,
    pub(super) keys: Keys,
    pub(super) report: Report,
    /// What servers and clients had counted at the last look.
    pub(super) counted: Counted,
    pub(super) second: Second,
    pub(super) asked: u64,
    pub(super) ended: u64,
}

/// Counters of all machines.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) seen: Vec<(u64, u64)>,
    pub(super) tries: u64,
    pub(super) hedges: u64,
}

impl World {
    pub(super) fn new(setup: Setup) -> Self {
        let mut rng = Rng::of(setup.seed, &[2]);
        let servers: Vec<_> = (0..setup.servers).map(|_| SimServer::new(&setup.server)).collect();
        let clients: Vec<_> = (0..setup.clients).map(|n| SimClient::new(n, &setup)).collect();
        let links = Links::new(&setup, &mut rng);
        let counted = Counted { seen: vec![(0, 0); setup.servers], ..Counted::default() };
        let measured = Total { by_server: vec![0; setup.servers], ..Total::default() };
        let mut world = Self {
            now: 0,
            queue: Queue::new(),
            clients,
            servers,
            links,
            rng,
            keys: Keys::new(),
            report: Report { measured, ..Report::default() },
            counted,
            second: Second::default(),
            asked: 0,
            ended: 0,
            setup,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for client in 0..self.clients.len() {
            self.plan_arrival(client);
        }
        for (nth, (at, _)) in self.setup.faults.iter().enumerate() {
            self.queue.plan(at.as_nanos() as u64, Event::Fault(nth as u32));
        }
        self.queue.plan(1_000_000_000, Event::Watch);
    }

    /// Lets everything happen, until the end.
    pub(super) fn run(mut self) -> Report {
        let until = self.setup.until.as_nanos() as u64;
        while let Some((at, event)) = self.queue.next() {
            self.now = self.now.max(at);
            if at > until {
                break;
            }
            self.report.events += 1;
            self.happen(event);
        }
        self.check_end();
        self.report
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrival(client) => self.arrive(client as usize),
            Event::Again(ask) => self.ask(ask),
            Event::ToServer(link, carried) => self.reach_server(link, carried),
            Event::ToClient(link, carried) => self.reach_client(link, carried),
            Event::Opening(link) => self.opening(link),
            Event::Opened(link, there) => self.opened(link, there),
            Event::ClientTimer(client) => self.client_timer(client as usize),
            Event::ServerTimer(server) => self.server_timer(server as usize),
            Event::Done { server, life, job } => self.job_done(server as usize, life, job),
            Event::Fault(nth) => self.befall(self.setup.faults[nth as usize].1),
            Event::Restart(server) => faults::start(self, server as usize),
            Event::Watch => self.watch(),
        }
    }

    pub(super) fn stamp(&self) -> Timestamp {
        Timestamp::from_nanos(self.now)
    }

    pub(super) fn is_measured(&self) -> bool {
        self.now >= self.setup.from.as_nanos() as u64
    }

    fn plan_arrival(&mut self, client: usize) {
        let hostile = if self.clients[client].hostile { 100.0 } else { 1.0 };
        let rate = self.setup.rate(self.now) * hostile / self.clients.len() as f64;
        let pause =
            if rate > 0.0 { draw::exponential(&mut self.clients[client].rng, rate) } else { LULL };
        // A rate that changes meanwhile is looked at again.
        let (pause, event) =
            if pause > LULL * 20 { (LULL * 20, None) } else { (pause, (rate > 0.0).then_some(())) };
        let at = self.now + pause;
        let ask = Ask { client: client as u32, since: u64::MAX, times: 0 };
        let event = event.map_or(Event::Again(ask), |()| Event::Arrival(client as u32));
        self.queue.plan(at, event);
    }

    fn arrive(&mut self, client: usize) {
        self.plan_arrival(client);
        self.ask(Ask { client: client as u32, since: self.now, times: 0 });
    }

    fn ask(&mut self, ask: Ask) {
        if ask.since == u64::MAX {
            return self.plan_arrival(ask.client as usize);
        }
        self.asked += 1;
        self.call(ask);
        self.drive_client(ask.client as usize);
    }

    fn client_timer(&mut self, client: usize) {
        match self.clients[client].timer.rings(self.now) {
            Ok(true) => {
                let now = self.stamp();
                self.clients[client].machine.handle_input(ClientInput::Timeout, now);
                self.drive_client(client);
            }
            Ok(false) => {}
            Err(later) => self.queue.plan(later, Event::ClientTimer(client as u32)),
        }
    }

    fn server_timer(&mut self, server: usize) {
        match self.servers[server].timer.rings(self.now) {
            Ok(true) => {
                let now = self.stamp();
                if let Some(machine) = &mut self.servers[server].machine {
                    machine.handle_input(ServerInput::Timeout, now);
                }
                self.drive_server(server);
            }
            Ok(false) => {}
            Err(later) => self.queue.plan(later, Event::ServerTimer(server as u32)),
        }
    }

    /// A second is over.
    fn watch(&mut self) {
        self.queue.plan(self.now + 1_000_000_000, Event::Watch);
        let measured = self.now > self.setup.from.as_nanos() as u64;
        let mut second = std::mem::take(&mut self.second);
        for (server, seen) in self.counted.seen.iter_mut().enumerate() {
            let now = self.servers[server].seen();
            let (came, admitted) = (now.0 - seen.0, now.1 - seen.1);
            *seen = now;
            second.by_server.push(came as u32);
            second.arrivals += came;
            second.admitted += admitted;
            if measured {
                self.report.measured.by_server[server] += came;
            }
        }
        let (mut tries, mut hedges) = (0, 0);
        for client in self.clients.iter().filter(|client| !client.hostile) {
            let stats = client.machine.stats();
            tries += stats.started;
            hedges += stats.hedges;
        }
        if measured {
            self.report.measured.tries += tries - self.counted.tries;
            self.report.measured.hedges += hedges - self.counted.hedges;
        }
        (self.counted.tries, self.counted.hedges) = (tries, hedges);
        self.report.seconds.push(second);
    }

    /// What holds of every fleet.
    fn check_end(&mut self) {
        let open: usize = self.clients.iter().map(SimClient::open_calls).sum();
        if self.asked != self.ended + open as u64 {
            let (asked, ended) = (self.asked, self.ended);
            self.broken(format!("{asked} calls, {ended} outcomes, {open} under way"));
        }
        for number in 0..self.servers.len() {
            let Some(stats) = self.servers[number].machine.as_ref().map(Server::stats) else {
                continue;
            };
            if stats.started != stats.ok + stats.failed + stats.abandoned + stats.in_flight {
                self.broken(format!("server {number} lost count of its requests: {stats:?}"));
            }
        }
    }

    pub(super) fn broken(&mut self, what: String) {
        if self.report.broken.len() < 20 {
            self.report.broken.push(what);
        }
    }

    /// Notes something that callers saw.
    pub(super) fn trace(&mut self, what: u64) {
        let mixed =
            (self.report.trace ^ what ^ self.now.rotate_left(17)).wrapping_mul(0x0100_0000_01b3);
        self.report.trace = mixed ^ (mixed >> 29);
    }
}
