//! Where handlers, streams and the swarm meet on the serving side.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Waker};

use futures::channel::oneshot;
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use pointsub_core::server::{CallId, Gate, ProtocolKey, RegisterError};
use pointsub_core::{Body, Format, ProtocolName, ServerConfig, Status};
use slotmap::{SlotMap, new_key_type};

use super::handler::Handler;
use crate::clock::Clock;
use crate::notify;
use crate::runtime::Executor;
use crate::upgrade::WireName;

new_key_type! {
    /// A stream that is served.
    pub(crate) struct LaneKey;
}

pub(crate) struct ServerHub {
    pub(crate) clock: Clock,
    pub(crate) config: ServerConfig,
    pub(crate) executor: Executor,
    pub(crate) gate: Mutex<Gate>,
    registry: Mutex<Registry>,
    lanes: Mutex<Lanes>,
    /// The task that polls the behaviour.
    swarm: AtomicWaker,
}

#[derive(Default)]
struct Registry {
    handlers: BTreeMap<ProtocolName, Arc<dyn Handler>>,
    /// Both names of every protocol, as negotiated; made anew at each change.
    names: Arc<[WireName]>,
}

#[derive(Default)]
struct Lanes {
    by_key: SlotMap<LaneKey, Arc<Lane>>,
    idle: Vec<oneshot::Sender<()>>,
}

/// What waits for one stream's driver.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    commands: Mutex<Vec<Command>>,
    driver: AtomicWaker,
}

#[derive(Debug)]
pub(crate) enum Command {
    /// A spawned handler has ended.
    Respond {
        call: CallId,
        answer: Result<Body, Status>,
    },
    /// A spawned handler was stopped.
    Abandoned {
        call: CallId,
    },
    Drain,
    Reset,
}

impl Lane {
    pub(crate) fn push(&self, command: Command) {
        self.commands.lock().push(command);
        self.driver.wake();
    }

    pub(crate) fn take(&self, into: &mut Vec<Command>, cx: &Context<'_>) {
        self.driver.register(cx.waker());
        std::mem::swap(&mut *self.commands.lock(), into);
    }
}

impl ServerHub {
    pub(crate) fn new(config: ServerConfig, clock: Clock, executor: Executor) -> Arc<Self> {
        let gate = Mutex::new(Gate::new(config.max_concurrent_conns()));
        Arc::new(Self {
            clock,
            config,
            executor,
            gate,
            registry: Mutex::default(),
            lanes: Mutex::default(),
            swarm: AtomicWaker::new(),
        })
    }

    pub(crate) fn register(
        &self,
        protocol: &ProtocolName,
        handler: Arc<dyn Handler>,
    ) -> Result<(), RegisterError> {
        self.gate.lock().register(protocol)?;
        self.registry.lock().change(|handlers| {
            handlers.insert(protocol.clone(), handler);
        });
        self.swarm.wake();
        Ok(())
    }

    pub(crate) fn unregister(&self, protocol: &ProtocolName) -> bool {
        let known = self.gate.lock().unregister(protocol.as_str());
        self.registry.lock().change(|handlers| {
            handlers.remove(protocol);
        });
        self.swarm.wake();
        known
    }

    /// The names to listen for now.
    pub(crate) fn names(&self) -> Arc<[WireName]> {
        self.registry.lock().names.clone()
    }

    pub(crate) fn register_swarm(&self, waker: &Waker) {
        self.swarm.register(waker);
    }

    /// The handler of a protocol, while it is registered and the server is not stopping.
    pub(crate) fn lookup(
        &self,
        protocol: &ProtocolName,
    ) -> Option<(ProtocolKey, Arc<dyn Handler>)> {
        let gate = self.gate.lock();
        let key = gate.protocol(protocol.as_str()).filter(|_| !gate.is_draining())?;
        drop(gate);
        let handler = self.registry.lock().handlers.get(protocol)?.clone();
        Some((key, handler))
    }

    pub(crate) fn add_lane(&self) -> (LaneKey, Arc<Lane>) {
        let lane = Arc::new(Lane::default());
        let key = self.lanes.lock().by_key.insert(lane.clone());
        if self.gate.lock().is_draining() {
            lane.push(Command::Drain);
        }
        (key, lane)
    }

    pub(crate) fn remove_lane(&self, key: LaneKey) {
        let mut lanes = self.lanes.lock();
        lanes.by_key.remove(key);
        if lanes.by_key.is_empty() {
            notify(&mut lanes.idle);
        }
    }

    /// Lets no further request in; the receiver hears when no stream is left.
    pub(crate) fn drain(&self) -> oneshot::Receiver<()> {
        self.gate.lock().drain();
        self.registry.lock().change(BTreeMap::clear);
        self.swarm.wake();
        self.tell_all(|| Command::Drain);
        let (sender, receiver) = oneshot::channel();
        let mut lanes = self.lanes.lock();
        lanes.idle.push(sender);
        if lanes.by_key.is_empty() {
            notify(&mut lanes.idle);
        }
        receiver
    }

    /// Cuts off what is still at work.
    pub(crate) fn reset(&self) {
        self.tell_all(|| Command::Reset);
    }

    fn tell_all(&self, command: impl Fn() -> Command) {
        let lanes: Vec<Arc<Lane>> = self.lanes.lock().by_key.values().cloned().collect();
        lanes.iter().for_each(|lane| lane.push(command()));
    }
}

impl Registry {
    fn change(&mut self, f: impl FnOnce(&mut BTreeMap<ProtocolName, Arc<dyn Handler>>)) {
        f(&mut self.handlers);
        let both = |protocol| {
            [WireName::new(protocol, Format::Native), WireName::new(protocol, Format::Plain)]
        };
        self.names = self.handlers.keys().flat_map(both).collect();
    }
}
