//! Two tables of calls and what lies between them.

mod events;
mod pipes;
mod turns;

use std::time::Duration;

use bytes::Bytes;
use pointsub_core::connection::{CallKey, CallLimits, Calls};
use pointsub_core::{Body, Payload, Timestamp};

use self::pipes::Side;
use super::app::{App, From};
use super::check;
use super::plan::{HEALED, MAX_MESSAGE, Plan, STOPPED};
use super::{Met, Planted};
use crate::sim::Rng;

/// Whoever has not ended by then never does.
const END: u64 = STOPPED + SOON;
/// Nor do those whose readers do not stop, after this.
const SOON: u64 = 8000;

#[derive(Debug)]
pub(super) struct World {
    plan: Plan,
    rng: Rng,
    now: u64,
    client: Side,
    server: Side,
    apps: Vec<App>,
    planted: Option<Planted>,
    /// How often the planted fault could have been made.
    chances: u64,
    met: Met,
}

/// The id of a call.
const fn key(call: usize) -> CallKey {
    CallKey(call as u64 + 1)
}

const fn number(key: CallKey) -> usize {
    key.0 as usize - 1
}

pub(super) fn payload(bytes: Bytes) -> Payload {
    Body::uncompressed(bytes).into()
}

impl World {
    pub(super) fn new(seed: u64, planted: Option<Planted>) -> Self {
        let mut plan = Plan::of_seed(seed);
        plan.calls.sort_by_key(|call| call.at);
        let limits = CallLimits {
            max_calls: plan.max_calls,
            max_message: MAX_MESSAGE,
            max_memory: plan.memory,
            answer_within: Duration::from_secs(10),
        };
        let apps = plan.calls.iter().map(|_| App::default()).collect();
        Self {
            plan,
            rng: Rng::of(seed, &[0x776f_726c]),
            now: 0,
            client: Side::new(Calls::client(limits, Timestamp::ZERO)),
            server: Side::new(Calls::server(limits, Timestamp::ZERO)),
            apps,
            planted,
            chances: 0,
            met: Met::default(),
        }
    }

    pub(super) fn live(&mut self) -> Result<Met, String> {
        while self.now < END {
            self.now += self.step();
            self.tick()?;
            if self.now == SOON {
                self.check_soon()?;
            }
            if self.now > HEALED && self.is_over() {
                break;
            }
        }
        self.check_end()?;
        Ok(self.met)
    }

    fn time(&self) -> Timestamp {
        Timestamp::ZERO + Duration::from_millis(self.now)
    }

    /// Until what may happen next. Nothing does while all that are left wait for a reader.
    fn step(&self) -> u64 {
        if self.now > SOON && self.client.is_quiet() && self.server.is_quiet() { 50 } else { 1 }
    }

    fn is_over(&self) -> bool {
        let over = |side: &Side| side.is_quiet() && side.calls.is_empty();
        over(&self.client) && over(&self.server) && self.apps.iter().all(App::is_over)
    }

    /// A reader that has stopped keeps nobody else waiting.
    fn check_soon(&self) -> Result<(), String> {
        for (call, app) in self.apps.iter().enumerate() {
            if !app.is_over() && self.plan.calls[call].stops.is_none() {
                return Err(format!("call {call} has not ended: {app:?}"));
            }
        }
        Ok(())
    }

    fn check_end(&self) -> Result<(), String> {
        for (call, app) in self.apps.iter().enumerate() {
            if !app.is_over() {
                return Err(format!("call {call} has not ended: {app:?}"));
            }
            check::ended(call, app)?;
        }
        for (name, side) in [("client", &self.client), ("server", &self.server)] {
            let (len, reserved) = (side.calls.len(), side.calls.reserved());
            if len > 0 || reserved > 0 || side.calls.next_deadline().is_some() {
                return Err(format!("the {name} is left with {len} calls and {reserved} bytes"));
            }
        }
        Ok(())
    }

    fn tick(&mut self) -> Result<(), String> {
        let now = self.time();
        for side in [&mut self.client, &mut self.server] {
            side.calls.handle_timeout(now).map_err(|_| "an end is not confirmed".to_owned())?;
        }
        self.deliver(From::Client)?;
        self.deliver(From::Server)?;
        self.events()?;
        for call in 0..self.apps.len() {
            self.client_turn(call)?;
            self.server_turn(call)?;
            check::cancelled(&self.apps[call], self.now, self.plan.latency)?;
        }
        self.write(From::Client)?;
        self.write(From::Server)?;
        self.events()?;
        self.check_memory()
    }

    fn check_memory(&self) -> Result<(), String> {
        let floor = 8192 * self.apps.len() + MAX_MESSAGE;
        for side in [&self.client, &self.server] {
            let reserved = side.calls.reserved();
            if reserved > self.plan.memory + floor {
                return Err(format!("{reserved} bytes are reserved"));
            }
        }
        Ok(())
    }

    /// Whether the planted fault is made now.
    fn plants(&mut self, fault: Planted) -> bool {
        let chance = self.planted == Some(fault);
        self.chances += u64::from(chance);
        chance && self.chances % 7 == 3
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.now > HEALED || self.rng.chance(percent)
    }
}
