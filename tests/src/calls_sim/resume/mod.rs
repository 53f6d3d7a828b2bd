//! A call that is opened again whenever it is lost: to servers that stop, refuse, and come back, over
//! connections that break. Its driver does what the libp2p half does; when and where the call is opened
//! again is decided by [`Resumption`].

mod link;
mod plan;

use std::time::Duration;

use bytes::Bytes;
use pointsub_core::connection::CallMessage;
use pointsub_core::endpoint::Resumption;
use pointsub_core::{RequestError, StatusCode, Timestamp};

use self::link::{Link, Welcome, position};
use self::plan::{HEALED, LATENCY, Plan};
use super::app::{From, message};
use super::{Met, Planted};
use crate::sim::Rng;

/// Whoever has not ended by then never does.
const END: u64 = 60_000;
/// Longer than a round trip takes.
const MOVED: u64 = 2 * LATENCY + 4;

/// Where the call is. Numbers are those of links.
#[derive(Debug)]
enum State {
    Open(usize),
    /// From the one to the other.
    Moving(usize, usize),
    Waiting(Timestamp, RequestError),
    Opening(usize),
    Done,
    GaveUp,
}

/// A server, and until when it is away or stopping.
#[derive(Debug, Default)]
struct Server {
    down: u64,
    stops: u64,
}

#[derive(Debug)]
pub(super) struct World {
    plan: Plan,
    rng: Rng,
    now: u64,
    servers: Vec<Server>,
    links: Vec<Link>,
    state: State,
    resumption: Resumption,
    /// The message that comes next, and where the last cursor was.
    next: usize,
    covered: usize,
    /// The next message may be one that came before, behind the last cursor.
    reopened: bool,
    /// The application was told on that link that no more messages come.
    told: Option<usize>,
    /// When the call moves from where it is open.
    moves: Option<Timestamp>,
    /// Openings since a cursor was taken, and when the call was lost.
    row: u32,
    lost: Option<u64>,
    /// What the call has moved from, and when.
    left: Option<(usize, u64)>,
    planted: Option<Planted>,
    chances: u64,
    met: Met,
}

impl World {
    pub(super) fn new(seed: u64, planted: Option<Planted>) -> Self {
        let plan = Plan::of_seed(seed);
        let resumption = Resumption::new(plan.policy, None, None, seed);
        let resumption = if plan.elsewhere { resumption.elsewhere() } else { resumption };
        Self {
            rng: Rng::of(seed, &[0x6167_6169]),
            now: 0,
            servers: (0..plan.servers).map(|_| Server::default()).collect(),
            links: Vec::new(),
            state: State::Done,
            resumption,
            plan,
            next: 0,
            covered: 0,
            reopened: false,
            told: None,
            moves: None,
            row: 0,
            lost: None,
            left: None,
            planted,
            chances: 0,
            met: Met::default(),
        }
    }

    pub(super) fn live(&mut self) -> Result<Met, String> {
        self.state = State::Opening(self.open(None)?);
        while self.now < END {
            self.now += 1;
            self.faults();
            for number in 0..self.links.len() {
                let welcome = self.welcome(self.links[number].server);
                self.links[number].tick(&self.plan, welcome, self.now)?;
            }
            self.turn()?;
            self.check_left()?;
            let over = matches!(self.state, State::Done | State::GaveUp);
            if over && self.now > HEALED && self.links.iter().all(Link::is_gone) {
                return self.check_end().map(|()| self.met);
            }
        }
        Err(format!("it never ends: {:?}, message {}", self.state, self.next))
    }

    /// A call that has moved is cancelled within a round trip where it was.
    fn check_left(&self) -> Result<(), String> {
        match self.left {
            Some((from, at)) if self.links[from].works() && self.now > at + MOVED => {
                Err(format!("a handler works at {}, and its call moved at {at}", self.now))
            }
            _ => Ok(()),
        }
    }

    fn check_end(&self) -> Result<(), String> {
        match self.state {
            // What came last was for nobody, if the end was told before.
            State::Done if self.told.is_none() => self.check_all_taken(),
            _ => Ok(()),
        }
    }

    fn check_all_taken(&self) -> Result<(), String> {
        let (next, all) = (self.next, self.plan.messages);
        if next == all { Ok(()) } else { Err(format!("it ends well behind {next} of {all}")) }
    }

    fn time(&self) -> Timestamp {
        Timestamp::ZERO + Duration::from_millis(self.now)
    }

    fn is_healed(&self) -> bool {
        self.now > HEALED
    }

    /// Whether the planted fault is made now.
    fn plants(&mut self, fault: Planted) -> bool {
        let chance = self.planted == Some(fault);
        self.chances += u64::from(chance);
        chance && self.chances % 3 == 1
    }

    fn faults(&mut self) {
        if self.is_healed() {
            return;
        }
        let now = self.now;
        for number in 0..self.links.len() {
            if self.rng.below(10_000) < self.plan.cuts {
                self.links[number].cut();
            }
            // Another connection is better.
            if self.rng.below(20_000) < self.plan.drains {
                self.links[number].drain(now);
            }
        }
        for number in 0..self.servers.len() {
            if self.rng.below(10_000) < self.plan.crashes {
                self.servers[number].down = now + self.rng.below(200);
            }
            if self.rng.below(20_000) < self.plan.drains {
                self.servers[number].stops = now + 1 + self.rng.below(200);
                self.on(number).for_each(|link| link.drain(now));
            }
            if self.servers[number].stops == now {
                self.on(number).for_each(|link| link.stop(now));
                self.servers[number].down = now + self.rng.below(200);
            }
        }
    }

    fn on(&mut self, server: usize) -> impl Iterator<Item = &mut Link> {
        self.links.iter_mut().filter(move |link| link.server == server)
    }

    fn welcome(&mut self, server: usize) -> Welcome {
        let Server { down, stops } = self.servers[server];
        if self.is_healed() {
            Welcome::Accepts
        } else if down > self.now {
            Welcome::Down
        } else if stops > self.now {
            Welcome::Refuses(StatusCode::Draining)
        } else if self.rng.chance(self.plan.busy) {
            Welcome::Refuses(StatusCode::Busy)
        } else {
            Welcome::Accepts
        }
    }

    fn open(&mut self, cursor: Option<Bytes>) -> Result<usize, String> {
        let server = if self.plan.elsewhere { self.rng.below(self.plan.servers as u64) } else { 0 };
        let latency = self.rng.below(LATENCY);
        let link = Link::open(server as usize, latency, self.plan.window, cursor, self.now)?;
        self.links.push(link);
        Ok(self.links.len() - 1)
    }

    fn open_again(&mut self) -> Result<usize, String> {
        let mut cursor = self.resumption.cursor().cloned();
        if self.plants(Planted::ResumedStale) && self.covered > 0 {
            cursor = Some(link::cursor(self.covered - 1));
        }
        if self.plants(Planted::ResumedAhead) && self.covered < self.plan.messages {
            cursor = Some(link::cursor(self.covered + 1));
        }
        self.open(cursor)
    }

    /// The turn of the client.
    fn turn(&mut self) -> Result<(), String> {
        match self.state {
            State::Open(link) => self.turn_open(link),
            State::Moving(from, to) => self.turn_moving(from, to),
            State::Waiting(due, _) if due <= self.time() => self.turn_due(),
            State::Opening(link) => match &self.links[link].ended {
                Some(Err(error)) if !self.links[link].accepted => {
                    let error = error.clone();
                    self.lose(error)
                }
                _ => {
                    if self.links[link].accepted {
                        self.go_on_with(link);
                    }
                    Ok(())
                }
            },
            State::Waiting(..) | State::Done | State::GaveUp => Ok(()),
        }
    }

    fn turn_open(&mut self, link: usize) -> Result<(), String> {
        if !self.is_healed() && !self.rng.chance(self.plan.reads) {
            return Ok(());
        }
        if let Some(message) = self.links[link].inbox.pop_front() {
            if self.told.is_some() && !self.plants(Planted::ToldBehindEnd) {
                return self.throw_away(link, &message);
            }
            return self.take(link, message);
        }
        match self.links[link].ended.clone() {
            Some(Ok(())) => {
                self.met.results += u64::from(self.told.is_some_and(|told| told != link));
                self.state = State::Done;
            }
            Some(Err(error)) => return self.lose(error),
            None if self.links[link].finished && self.told.is_none() => {
                self.told = Some(link);
                self.resumption.finished();
                return self.check_all_taken();
            }
            None if self.links[link].draining && self.resumption.may_move() => {
                return self.turn_draining(link);
            }
            None => {}
        }
        Ok(())
    }

    fn turn_draining(&mut self, link: usize) -> Result<(), String> {
        let now = self.time();
        if self.moves.is_none() {
            self.moves = self.resumption.moves_at(now);
        }
        if self.moves.is_some_and(|at| at <= now) {
            self.moves = None;
            let to = self.open_again()?;
            self.state = State::Moving(link, to);
        }
        Ok(())
    }

    fn turn_moving(&mut self, from: usize, to: usize) -> Result<(), String> {
        if self.plants(Planted::MovedUnread)
            && let Some(message) = self.links[from].inbox.pop_front()
        {
            return self.take(from, message);
        }
        if self.links[to].accepted {
            if !self.plants(Planted::LeftBehind) {
                let now = self.now;
                self.links[from].cancel(now);
            }
            self.met.moved += 1;
            self.left = Some((from, self.now));
            self.go_on_with(to);
        } else if self.links[to].ended.is_some() {
            self.resumption.stay();
            self.state = State::Open(from);
        }
        Ok(())
    }

    fn turn_due(&mut self) -> Result<(), String> {
        let State::Waiting(_, error) = &self.state else { return Ok(()) };
        let (error, now) = (error.clone(), self.time());
        if self.resumption.is_charged() && !self.is_healed() && self.rng.chance(self.plan.unpaid) {
            let due = self.resumption.postpone(now);
            self.wait_until(due, error);
            return Ok(());
        }
        self.row += 1;
        let (most, patience) = (self.plan.policy.max_tries, self.plan.policy.patience);
        let since = self.lost.unwrap_or(self.now);
        if self.row > most || Duration::from_millis(self.now - since) > patience {
            return Err(format!("try {} in a row, {} ms late", self.row, self.now - since));
        }
        let link = self.open_again()?;
        self.state = State::Opening(link);
        Ok(())
    }

    fn go_on_with(&mut self, link: usize) {
        self.met.resumed += u64::from(self.links.len() > 1);
        (self.reopened, self.moves) = (true, None);
        self.resumption.opened(self.time());
        self.state = State::Open(link);
    }

    fn lose(&mut self, error: RequestError) -> Result<(), String> {
        self.lost.get_or_insert(self.now);
        let forgotten = self.told.is_some() && self.plants(Planted::ResultForgotten);
        let due = self.resumption.lost(&error, self.time()).filter(|_| !forgotten);
        let begins_anew = self.covered == 0 && self.next > 0;
        if due.is_none() && self.row == 0 && !begins_anew {
            return Err(format!("it gives up at once, after {error}"));
        }
        self.wait_until(due, error);
        Ok(())
    }

    fn wait_until(&mut self, due: Option<Timestamp>, error: RequestError) {
        let forever = due.is_none() && self.plants(Planted::TriedForever);
        let due = if forever { Some(self.time()) } else { due };
        self.state = match due {
            Some(due) => State::Waiting(due, error),
            None => {
                self.met.gave_up += 1;
                State::GaveUp
            }
        };
    }

    /// A message comes behind the end that was told.
    fn throw_away(&mut self, link: usize, found: &CallMessage) -> Result<(), String> {
        let now = self.now;
        self.links[link].taken(found, now);
        self.resumption.took(found.cursor.as_ref());
        if let Some(cursor) = &found.cursor {
            self.covered = position(cursor)?;
            (self.row, self.lost) = (0, None);
        }
        Ok(())
    }

    /// The application takes a message: the next one, or behind a new opening the one behind the last
    /// cursor.
    fn take(&mut self, link: usize, found: CallMessage) -> Result<(), String> {
        if self.told.is_some() {
            return Err("a message comes behind the end".to_owned());
        }
        let now = self.now;
        self.links[link].taken(&found, now);
        self.resumption.took(found.cursor.as_ref());
        if std::mem::take(&mut self.reopened) {
            self.next = self.covered;
        }
        let (number, len) = (self.next, self.plan.len);
        let bytes = found.payload.into_bytes().map_err(|error| error.to_string())?;
        if bytes != message(0, From::Server, number, len) {
            return Err(format!(
                "another message than {number}, the last cursor is {}",
                self.covered
            ));
        }
        self.next += 1;
        if let Some(cursor) = &found.cursor {
            self.covered = position(cursor)?;
            (self.row, self.lost) = (0, None);
            if self.covered != self.next {
                return Err(format!("message {number} has the cursor {}", self.covered));
            }
        }
        Ok(())
    }
}
