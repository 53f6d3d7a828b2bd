//! The registry that a node serves.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use event_listener::{Event, EventListener};
use futures::channel::oneshot;
use futures::future::{Either, select};
use futures_timer::Delay;
use parking_lot::Mutex;
use pointsub_core::network::registry::{
    Announcement as Said, EntryId, Registry as Table, RegistryEvent, RegistryLimits, RegistryOrder,
    RegistryRefusal, WatcherId,
};
use pointsub_swarm::{GroupId, PeerId, ProtocolName, RegisterError, Server};

use super::types::{Accepted, Announcement, Change, Listed, RegistryError, RegistryUse, check};
use super::{MESSAGE, Registry, RegistryServer};
use crate::call::{Rx, Tx};
use crate::cx::Cx;

/// How long after an announcement the next one of the same call is looked at. What a server says
/// is told to everybody who watches.
const PACE: Duration = Duration::from_millis(100);

type Rule = dyn Fn(&PeerId, RegistryUse) -> bool + Send + Sync;

/// Serves a [`Registry`] at a node: see the [module](super). Cheap to clone; clones share everything.
#[derive(Clone)]
#[must_use = "serve it"]
pub struct RegistryService {
    server: Server,
    serving: Serving,
}

/// How much a registry holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegistrySize {
    /// Servers that are listed.
    pub servers: usize,
    /// Protocols that peers watch, each counted for each peer.
    pub watches: usize,
}

impl RegistryService {
    /// A registry for everybody, with the default limits.
    pub fn new(server: impl std::borrow::Borrow<Server>) -> Self {
        let rule: Arc<Rule> = Arc::new(|_, _| true);
        let serving = Serving { rule, state: State::new(RegistryLimits::new()) };
        Self { server: server.borrow().clone(), serving }
    }

    /// Sets how much it holds. To be called before it is served.
    pub fn with_limits(mut self, limits: RegistryLimits) -> Self {
        self.serving.state = State::new(limits);
        self
    }

    /// Lets those peers use it for whom `rule` is true. It is called for every call. To be set before it is
    /// served.
    pub fn with_rule(
        mut self,
        rule: impl Fn(&PeerId, RegistryUse) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.serving.rule = Arc::new(rule);
        self
    }

    /// Serves it from now on. To be called again when the server has been stopped and serves again.
    ///
    /// # Errors
    /// [`RegisterError`] if it is served already, or the server is stopping.
    pub fn serve(&self) -> Result<(), RegisterError> {
        // It does not hold the server, which holds it.
        RegistryServer::new(self.serving.clone()).with_limits(MESSAGE).serve(&self.server)
    }

    /// How much it holds now.
    #[must_use]
    pub fn size(&self) -> RegistrySize {
        let (servers, watches) = self.serving.state.lock().table.sizes();
        RegistrySize { servers, watches }
    }
}

impl fmt::Debug for RegistryService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryService").field("size", &self.size()).finish_non_exhaustive()
    }
}

/// What its calls share.
#[derive(Clone)]
struct Serving {
    rule: Arc<Rule>,
    state: Arc<Mutex<State>>,
}

struct State {
    table: Table<Listed>,
    watchers: BTreeMap<WatcherId, Arc<Event>>,
    /// How calls are told that their entry is gone.
    entries: BTreeMap<EntryId, oneshot::Sender<RegistryRefusal>>,
}

impl State {
    fn new(limits: RegistryLimits) -> Arc<Mutex<Self>> {
        let (watchers, entries) = (BTreeMap::new(), BTreeMap::new());
        Arc::new(Mutex::new(Self { table: Table::new(limits), watchers, entries }))
    }

    fn carry_out(&mut self) {
        while let Some(order) = self.table.poll_order() {
            match order {
                RegistryOrder::Wake(watcher) => {
                    if let Some(changed) = self.watchers.get(&watcher) {
                        changed.notify(usize::MAX);
                    }
                }
                RegistryOrder::End(entry, why) => {
                    if let Some(ended) = self.entries.remove(&entry) {
                        let _over = ended.send(why);
                    }
                }
            }
        }
    }
}

/// The entry of a call that announces. It is gone when this is dropped.
struct Entry {
    state: Arc<Mutex<State>>,
    id: EntryId,
    ended: oneshot::Receiver<RegistryRefusal>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        state.entries.remove(&self.id);
        state.table.withdraw(self.id);
        state.carry_out();
    }
}

/// Somebody who watches, until this is dropped.
struct Watching {
    state: Arc<Mutex<State>>,
    id: WatcherId,
    changed: Arc<Event>,
}

impl Watching {
    fn changed(&self) -> EventListener {
        self.changed.listen()
    }

    fn next(&self) -> Option<Change> {
        let event = self.state.lock().table.next_event(self.id)?;
        Some(match event {
            RegistryEvent::Begin => Change::Begin,
            RegistryEvent::Here(_, listed) => Change::Here(listed),
            RegistryEvent::Gone(peer) => Change::Gone(peer.as_bytes().to_vec().into()),
            RegistryEvent::Complete => Change::Complete,
        })
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        state.watchers.remove(&self.id);
        state.table.unwatch(self.id);
    }
}

impl Serving {
    fn allow(&self, cx: &Cx, how: RegistryUse) -> Result<(), RegistryError> {
        (self.rule)(&cx.peer(), how).then_some(()).ok_or(RegistryError::NotAllowed)
    }

    /// Lists what a server says of itself.
    fn list(
        &self,
        cx: &Cx,
        entry: Option<Entry>,
        announced: Announcement,
    ) -> Result<Entry, RegistryError> {
        check(&announced.record, cx.peer())?;
        let said = said(announced)?;
        let mut state = self.state.lock();
        let listed = match entry {
            Some(entry) => state.table.update(entry.id, said).map(|()| entry),
            None => state.table.announce(id(cx.peer()), network(cx), said).map(|id| {
                let (end, ended) = oneshot::channel();
                state.entries.insert(id, end);
                Entry { state: self.state.clone(), id, ended }
            }),
        };
        state.carry_out();
        drop(state);
        Ok(listed?)
    }
}

/// An announcement as the table takes it.
fn said(announced: Announcement) -> Result<Said<Listed>, RegistryError> {
    let Announcement { protocols, record, load } = announced;
    let services = protocols.into_iter().map(name).collect::<Result<_, _>>()?;
    let (size, record) = (record.len(), Listed::new(record, load));
    Ok(Said { services, record, size })
}

fn name(name: String) -> Result<ProtocolName, RegistryError> {
    ProtocolName::new(&name).map_err(|_| RegistryError::Name { name })
}

fn id(peer: PeerId) -> pointsub_core::PeerId {
    let id = pointsub_core::PeerId::from_bytes(&peer.to_bytes());
    id.expect("a libp2p peer id has at most as many bytes as one of the core")
}

/// Those of whom nothing is known are of one network.
fn network(cx: &Cx) -> GroupId {
    cx.network().unwrap_or(GroupId::new(0))
}

impl Registry for Serving {
    async fn announce(
        &self,
        cx: &Cx,
        mut announcements: Rx<Announcement>,
        mut accepted: Tx<Accepted>,
    ) -> Result<(), RegistryError> {
        self.allow(cx, RegistryUse::Announce)?;
        let Some(first) = announcements.recv().await? else { return Ok(()) };
        let mut entry = self.list(cx, None, first)?;
        loop {
            accepted.send(Accepted {}).await?;
            let next = async {
                Delay::new(PACE).await;
                announcements.recv().await
            };
            let draining = pin!(accepted.draining());
            let over = select(draining, &mut entry.ended);
            let said = match select(pin!(next), over).await {
                Either::Left((said, _)) => said?,
                Either::Right((Either::Left(_), _)) => return Ok(()),
                Either::Right((Either::Right((why, _)), _)) => {
                    return Err(why.unwrap_or(RegistryRefusal::Replaced).into());
                }
            };
            let Some(said) = said else { return Ok(()) };
            entry = self.list(cx, Some(entry), said)?;
        }
    }

    async fn watch(
        &self,
        cx: &Cx,
        protocol: String,
        mut changes: Tx<Change>,
    ) -> Result<(), RegistryError> {
        self.allow(cx, RegistryUse::Watch)?;
        let service = name(protocol)?;
        let watching = {
            let mut state = self.state.lock();
            let id = state.table.watch(id(cx.peer()), network(cx), service)?;
            let changed = Arc::<Event>::default();
            state.watchers.insert(id, changed.clone());
            Watching { state: self.state.clone(), id, changed }
        };
        loop {
            // What changes while it is told is heard too.
            let changed = watching.changed();
            while let Some(change) = watching.next() {
                changes.send(change).await?;
            }
            if let Either::Left(_) = select(pin!(changes.draining()), changed).await {
                return Ok(());
            }
        }
    }
}
