//! Where callers, sources and the swarm meet: the machine of candidates behind a short lock.
//!
//! Callers and sources tell the machine what they want and know on their own tasks. What it orders is
//! done at once, but for dials, which the behaviour takes. The lock of the dispatcher is taken while
//! this one is held, and never the other way round.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;
use libp2p_core::Multiaddr;
use libp2p_identity::{Keypair, PeerId};
use parking_lot::Mutex;
use pointsub_core::network::Source as NamedBy;
use pointsub_core::network::candidates::{
    Candidate, CandidateFact, CandidateOrder, Candidates, Found as FoundPeer, Source, Sources,
};
use pointsub_core::{ProtocolName, Timestamp};

use super::callers::Callers;
use super::finder::{FinderTask, Found};
use crate::api::client::shared::ClientShared;
use crate::node::addresses::ip::network;
use crate::peer;
use crate::random::random;

/// How many addresses of somebody who was found are looked at.
const ADDRESSES: usize = 16;
/// How many of them wait for the behaviour.
const WAITING_ADDRESSES: usize = 1024;

/// All that is known of servers that nobody has named.
#[derive(Debug)]
pub(crate) struct Discovery {
    pub(super) state: Mutex<State>,
    /// Signs what others are told of this node.
    keypair: OnceLock<Keypair>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) candidates: Candidates,
    /// Callers that wait for a server.
    pub(super) waiting: Callers,
    finders: Vec<(Source, Arc<TaskQueue>)>,
    /// For the behaviour: who is to be dialled.
    verify: VecDeque<PeerId>,
    /// And where those are who were found.
    addresses: VecDeque<(PeerId, Multiaddr, NamedBy)>,
    /// What others are to be told of this node.
    served: Vec<ProtocolName>,
    listens: Vec<Multiaddr>,
    /// Somebody is being dialled, for whatever reason.
    pub(super) dialling: bool,
    /// The deadline that the behaviour knows of.
    due: Option<Timestamp>,
    pub(super) ended: bool,
}

/// What a source is to do, each thing once.
#[derive(Debug, Default)]
pub(crate) struct TaskQueue {
    tasks: Mutex<Tasks>,
    waker: AtomicWaker,
}

#[derive(Debug, Default)]
struct Tasks {
    look_up: BTreeSet<ProtocolName>,
    forget: BTreeSet<ProtocolName>,
    changed: bool,
    ended: bool,
}

impl TaskQueue {
    fn push(&self, task: FinderTask) {
        let mut tasks = self.tasks.lock();
        match task {
            FinderTask::LookUp(protocol) => {
                tasks.forget.remove(&protocol);
                tasks.look_up.insert(protocol);
            }
            FinderTask::Forget(protocol) => {
                tasks.look_up.remove(&protocol);
                tasks.forget.insert(protocol);
            }
            FinderTask::Changed => tasks.changed = true,
        }
        drop(tasks);
        self.waker.wake();
    }

    fn end(&self) {
        self.tasks.lock().ended = true;
        self.waker.wake();
    }

    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<Option<FinderTask>> {
        self.waker.register(cx.waker());
        let mut tasks = self.tasks.lock();
        if tasks.ended {
            return Poll::Ready(None);
        }
        if std::mem::take(&mut tasks.changed) {
            return Poll::Ready(Some(FinderTask::Changed));
        }
        if let Some(protocol) = tasks.look_up.pop_first() {
            return Poll::Ready(Some(FinderTask::LookUp(protocol)));
        }
        match tasks.forget.pop_first() {
            Some(protocol) => Poll::Ready(Some(FinderTask::Forget(protocol))),
            None => Poll::Pending,
        }
    }
}

impl Discovery {
    pub(crate) fn new(local: PeerId) -> Self {
        let sources = Sources::NONE.with(Source::Connected);
        let state = Mutex::new(State {
            candidates: Candidates::new(sources, Some(peer::to_core(&local)), random()),
            waiting: Callers::default(),
            finders: Vec::new(),
            verify: VecDeque::new(),
            addresses: VecDeque::new(),
            served: Vec::new(),
            listens: Vec::new(),
            dialling: false,
            due: None,
            ended: false,
        });
        Self { state, keypair: OnceLock::new() }
    }

    /// The first one stays.
    pub(crate) fn set_keypair(&self, keypair: Keypair) {
        let _another = self.keypair.set(keypair);
    }

    pub(super) fn keypair(&self) -> Option<&Keypair> {
        self.keypair.get()
    }

    /// What others are to be told of this node.
    pub(super) fn advertised(&self) -> (Vec<ProtocolName>, Vec<Multiaddr>) {
        let state = self.state.lock();
        (state.served.clone(), state.listens.clone())
    }

    /// What this node serves is something else now.
    pub(crate) fn set_served(&self, served: Vec<ProtocolName>) {
        let mut state = self.state.lock();
        state.served = served;
        state.changed();
    }

    /// Where it is reached is somewhere else.
    pub(crate) fn set_addresses(&self, addresses: Vec<Multiaddr>) {
        let mut state = self.state.lock();
        if state.listens != addresses {
            state.listens = addresses;
            state.changed();
        }
    }

    /// The candidates for a protocol that is wanted.
    pub(crate) fn candidates(&self, protocol: &str) -> Vec<Candidate> {
        self.state.lock().candidates.candidates(protocol).collect()
    }

    /// An address that was found, for the behaviour.
    pub(crate) fn take_address(&self) -> Option<(PeerId, Multiaddr, NamedBy)> {
        self.state.lock().addresses.pop_front()
    }

    /// Who is to be dialled, for the behaviour.
    pub(crate) fn take_verification(&self) -> Option<PeerId> {
        self.state.lock().verify.pop_front()
    }

    /// When the behaviour is to let time pass.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        let mut state = self.state.lock();
        state.due = state.candidates.next_deadline();
        state.due
    }

    /// The swarm is gone.
    pub(crate) fn end(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        state.finders.drain(..).for_each(|(_, tasks)| tasks.end());
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        drop(waiting);
    }
}

impl State {
    fn changed(&self) {
        self.finders.iter().for_each(|(_, tasks)| tasks.push(FinderTask::Changed));
    }

    /// Does what is ordered. Whether the behaviour has something to do.
    pub(super) fn carry_out(&mut self, shared: &ClientShared, now: Timestamp) -> bool {
        while let Some(order) = self.candidates.poll_order() {
            match order {
                CandidateOrder::LookUp(protocol, source) => {
                    for (_, tasks) in self.finders.iter().filter(|(of, _)| *of == source) {
                        tasks.push(FinderTask::LookUp(protocol.clone()));
                    }
                }
                CandidateOrder::Forget(protocol) => {
                    for (_, tasks) in &self.finders {
                        tasks.push(FinderTask::Forget(protocol.clone()));
                    }
                }
                CandidateOrder::Verify(peer) => self.verify.push_back(peer::to_libp2p(&peer)),
                CandidateOrder::Add(protocol, peer, source) => {
                    let added =
                        shared.with_dispatcher(|d| d.add_found_node(&protocol, peer, source, now));
                    tracing::debug!(
                        target: "pointsub::discovery", %protocol, %peer, %source, added, "found"
                    );
                    if added {
                        self.waiting.found(&protocol);
                    }
                }
                CandidateOrder::Remove(protocol, peer) => {
                    tracing::debug!(target: "pointsub::discovery", %protocol, %peer, "lost");
                    shared.with_dispatcher(|d| d.remove_found_node(protocol.as_str(), &peer));
                }
            }
        }
        if !self.dialling {
            self.waiting.give_up(|protocol| self.candidates.looks_for(protocol.as_str()));
        }
        let due = self.candidates.next_deadline();
        let earlier = due.is_some_and(|due| self.due.is_none_or(|known| due < known));
        earlier || !self.verify.is_empty() || !self.addresses.is_empty()
    }

    /// There is a server of this protocol now.
    pub(super) fn tell_found(&mut self, protocol: &ProtocolName) {
        self.waiting.found(protocol);
    }

    /// What is used or waited for stays wanted.
    fn keep_wanted(&mut self, shared: &ClientShared, now: Timestamp) {
        let is_needed = |name: &&ProtocolName| {
            self.waiting.wait_for(name)
                || shared.with_dispatcher(|d| d.was_used(name.as_str(), now))
        };
        let kept: Vec<_> = self.candidates.expiring(now).filter(is_needed).cloned().collect();
        for name in kept {
            self.candidates.handle(CandidateFact::Wanted(name), now);
        }
    }
}

impl ClientShared {
    /// Tells the machine something, and does what it orders.
    pub(crate) fn tell_discovery(&self, fact: CandidateFact) {
        self.with_discovery(|state, now| state.candidates.handle(fact, now));
    }

    pub(super) fn with_discovery<T>(&self, f: impl FnOnce(&mut State, Timestamp) -> T) -> T {
        let now = self.clock.now();
        let mut state = self.discovery.state.lock();
        // Before anything else: whatever the machine is told, it forgets what has expired.
        state.keep_wanted(self, now);
        let result = f(&mut state, now);
        let wake = state.carry_out(self, now);
        drop(state);
        if wake {
            self.wake_swarm();
        }
        result
    }

    /// Somebody is being dialled, or nobody is any more.
    pub(crate) fn set_dialling(&self, dialling: bool) {
        self.with_discovery(|state, _| state.dialling = dialling);
    }

    /// Time has passed.
    pub(crate) fn tick_discovery(&self) {
        self.tell_discovery(CandidateFact::Tick);
    }

    /// Looks in these places from now on, and not in others.
    pub(crate) fn discover(&self, sources: Sources) {
        self.with_discovery(|state, now| state.candidates.set_sources(sources, now));
    }

    pub(super) fn add_finder(&self, source: Source) -> Arc<TaskQueue> {
        let tasks = Arc::<TaskQueue>::default();
        self.with_discovery(|state, now| {
            if state.ended {
                return tasks.end();
            }
            state.finders.push((source, tasks.clone()));
            tasks.push(FinderTask::Changed);
            let sources = state.candidates.sources().with(source);
            state.candidates.set_sources(sources, now);
        });
        tasks
    }

    pub(super) fn remove_finder(&self, tasks: &Arc<TaskQueue>) {
        self.with_discovery(|state, now| {
            let Some(at) = state.finders.iter().position(|(_, one)| Arc::ptr_eq(one, tasks)) else {
                return;
            };
            let (source, _) = state.finders.remove(at);
            if !state.finders.iter().any(|(other, _)| *other == source) {
                let sources = state.candidates.sources().without(source);
                state.candidates.set_sources(sources, now);
            }
        });
    }

    pub(crate) fn found(&self, source: Source, found: Found) {
        let Found { peer, protocol, addresses, ttl } = found;
        self.with_discovery(|state, now| {
            let network = addresses.iter().find_map(network);
            let until = ttl.map(|ttl| now + ttl);
            let found =
                FoundPeer { peer: peer::to_core(&peer), service: protocol, source, until, network };
            for address in addresses.into_iter().take(ADDRESSES) {
                if state.addresses.len() < WAITING_ADDRESSES {
                    state.addresses.push_back((peer, address, NamedBy::Stranger));
                }
            }
            state.candidates.handle(CandidateFact::Found(found), now);
        });
    }

    /// An address that a source itself needs.
    pub(super) fn add_address(&self, peer: PeerId, address: Multiaddr) {
        self.with_discovery(|state, _| {
            state.addresses.push_front((peer, address, NamedBy::Application));
            state.addresses.truncate(WAITING_ADDRESSES);
        });
    }

    pub(super) fn lost(&self, source: Source, peer: PeerId, protocol: Option<&ProtocolName>) {
        let (peer, service) = (peer::to_core(&peer), protocol.cloned());
        self.tell_discovery(CandidateFact::Lost { peer, service, source });
    }
}
