//! Where handlers, streams and the swarm meet on the serving side.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Waker};

use futures::channel::oneshot;
use futures::task::AtomicWaker;
use libp2p_identity::PeerId;
use parking_lot::Mutex;
use pointsub_core::server::{CallId, ConnectionKey, Gate, RegisterError, ServerStream};
use pointsub_core::{Body, Format, ProtocolName, ServerConfig, Status};
use slotmap::SecondaryMap;

use super::handler::Handler;
use crate::clock::Clock;
use crate::runtime::Executor;
use crate::upgrade::WireName;
use crate::{notify, peer};

pub(crate) struct ServerHub {
    pub(crate) clock: Clock,
    pub(crate) config: ServerConfig,
    pub(crate) executor: Executor,
    /// Held for fractions of a microsecond, never while a handler runs.
    pub(crate) state: Mutex<State>,
    /// The task that polls the behaviour.
    swarm: AtomicWaker,
}

pub(crate) struct State {
    pub(crate) gate: Gate,
    /// Of every protocol that the gate knows.
    handlers: BTreeMap<ProtocolName, Arc<dyn Handler>>,
    /// Both names of every protocol, as negotiated; made anew at each change.
    names: Arc<[WireName]>,
    /// The streams that are served; not those that are only told that they are not.
    lanes: SecondaryMap<ConnectionKey, Arc<Lane>>,
    /// Who waits until no stream is left.
    stopping: Vec<oneshot::Sender<()>>,
}

/// What waits for one stream's driver.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    commands: Mutex<Vec<Command>>,
    driver: AtomicWaker,
}

#[derive(Debug)]
pub(crate) enum Command {
    /// A handler has ended.
    Respond {
        call: CallId,
        answer: Result<Body, Status>,
    },
    /// A handler was stopped.
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

/// A stream that was taken on.
pub(crate) struct Accepted {
    pub(crate) machine: ServerStream,
    /// Who answers its requests; nobody if it is refused.
    pub(crate) handler: Option<Arc<dyn Handler>>,
    pub(crate) lane: Arc<Lane>,
}

impl ServerHub {
    pub(crate) fn new(config: ServerConfig, clock: Clock, executor: Executor) -> Arc<Self> {
        let state = Mutex::new(State {
            gate: Gate::new(&config),
            handlers: BTreeMap::new(),
            names: Arc::default(),
            lanes: SecondaryMap::new(),
            stopping: Vec::new(),
        });
        Arc::new(Self { clock, config, executor, state, swarm: AtomicWaker::new() })
    }

    pub(crate) fn register(
        &self,
        protocol: &ProtocolName,
        handler: Arc<dyn Handler>,
    ) -> Result<(), RegisterError> {
        let mut state = self.state.lock();
        state.gate.register(protocol)?;
        state.handlers.insert(protocol.clone(), handler);
        state.rename();
        drop(state);
        self.swarm.wake();
        Ok(())
    }

    pub(crate) fn unregister(&self, protocol: &ProtocolName) -> bool {
        let mut state = self.state.lock();
        let known = state.gate.unregister(protocol.as_str());
        let handler = state.handlers.remove(protocol);
        state.rename();
        // What a handler owns may ask the server something as it is dropped.
        drop(state);
        drop(handler);
        self.swarm.wake();
        known
    }

    /// The names to listen for now.
    pub(crate) fn names(&self) -> Arc<[WireName]> {
        self.state.lock().names.clone()
    }

    pub(crate) fn register_swarm(&self, waker: &Waker) {
        self.swarm.register(waker);
    }

    /// Takes on a stream; refuses it if its connection has too many or nobody serves the protocol.
    pub(crate) fn accept(
        &self,
        peer: &PeerId,
        protocol: &ProtocolName,
        format: Format,
        has_room: bool,
    ) -> Accepted {
        let (now, peer, lane) = (self.clock.now(), peer::to_core(peer), Arc::<Lane>::default());
        let State { gate, handlers, lanes, .. } = &mut *self.state.lock();
        let handler = handlers.get(protocol).filter(|_| has_room).cloned();
        let machine = if handler.is_some() {
            let machine = ServerStream::new(peer, protocol, format, &self.config, gate, now);
            lanes.insert(machine.key(), lane.clone());
            machine
        } else {
            ServerStream::refused(peer, protocol, format, &self.config, gate, now)
        };
        Accepted { machine, handler, lane }
    }

    /// Forgets a stream whose handlers have been stopped.
    pub(crate) fn close(&self, machine: &mut ServerStream) {
        let now = self.clock.now();
        let state = &mut *self.state.lock();
        machine.close(&mut state.gate, now);
        state.lanes.remove(machine.key());
        state.finish_stop();
    }

    /// Lets no further request in; the receiver hears when no stream is left, and the server can
    /// serve again.
    pub(crate) fn stop(&self) -> oneshot::Receiver<()> {
        let mut state = self.state.lock();
        state.gate.drain();
        let handlers = std::mem::take(&mut state.handlers);
        state.rename();
        let (sender, receiver) = oneshot::channel();
        state.stopping.push(sender);
        let lanes = state.lanes();
        state.finish_stop();
        drop(state);
        drop(handlers);
        lanes.iter().for_each(|lane| lane.push(Command::Drain));
        self.swarm.wake();
        receiver
    }

    /// Cuts off what is still at work.
    pub(crate) fn reset(&self) {
        let state = self.state.lock();
        // Unless it has stopped, and what is at work now is at work for the next life.
        let lanes = if state.gate.is_draining() { state.lanes() } else { Vec::new() };
        drop(state);
        lanes.iter().for_each(|lane| lane.push(Command::Reset));
    }
}

impl State {
    /// Makes the names anew.
    fn rename(&mut self) {
        let both = |protocol| {
            [WireName::new(protocol, Format::Native), WireName::new(protocol, Format::Plain)]
        };
        self.names = self.handlers.keys().flat_map(both).collect();
    }

    /// To be told something when the state is not locked any more: that wakes tasks.
    fn lanes(&self) -> Vec<Arc<Lane>> {
        self.lanes.values().cloned().collect()
    }

    fn finish_stop(&mut self) {
        if self.lanes.is_empty() && self.gate.is_draining() {
            self.gate.reopen();
            notify(&mut self.stopping);
        }
    }
}
