//! The registry that a node serves.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use event_listener::{Event, EventListener};
use futures::channel::oneshot;
use futures::future::{Either, select};
use futures::lock::Mutex as AsyncMutex;
use futures_timer::Delay;
use parking_lot::Mutex;
use pointsub_core::Timestamp;
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
    /// What the servers take of [`RegistryLimits::memory`].
    pub bytes: usize,
}

impl RegistryService {
    /// A registry for everybody, with the default limits.
    pub fn new(server: impl std::borrow::Borrow<Server>) -> Self {
        let rule: Arc<Rule> = Arc::new(|_, _| true);
        let serving = Serving { rule, shared: Shared::new(RegistryLimits::new()) };
        Self { server: server.borrow().clone(), serving }
    }

    /// Sets how much it holds. To be called before it is served.
    pub fn with_limits(mut self, limits: RegistryLimits) -> Self {
        self.serving.shared = Shared::new(limits);
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
        let state = self.serving.shared.state.lock();
        let ((servers, watches), bytes) = (state.table.sizes(), state.table.memory());
        RegistrySize { servers, watches, bytes }
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
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    began: Instant,
    /// Held by the call that lets time pass for the table.
    clock: AsyncMutex<()>,
    /// The table waits for a time.
    waits: Event,
}

struct State {
    table: Table<Listed>,
    watchers: BTreeMap<WatcherId, Arc<Event>>,
    /// How calls are told that their entry is gone.
    entries: BTreeMap<EntryId, oneshot::Sender<RegistryRefusal>>,
}

impl Shared {
    fn new(limits: RegistryLimits) -> Arc<Self> {
        let (watchers, entries) = (BTreeMap::new(), BTreeMap::new());
        let state = Mutex::new(State { table: Table::new(limits), watchers, entries });
        let (clock, waits) = (AsyncMutex::new(()), Event::new());
        Arc::new(Self { state, began: Instant::now(), clock, waits })
    }

    fn now(&self) -> Timestamp {
        Timestamp::ZERO + self.began.elapsed()
    }

    /// Does something with the table, and what it orders.
    fn with<T>(&self, run: impl FnOnce(&mut State, Timestamp) -> T) -> T {
        let mut state = self.state.lock();
        let done = run(&mut state, self.now());
        state.carry_out();
        if state.table.next_deadline().is_some() {
            self.waits.notify(1);
        }
        done
    }

    /// Does something until it is done. Meanwhile it lets time pass for the table, if no other call does.
    async fn during<T>(&self, done: impl Future<Output = T>) -> T {
        match select(pin!(done), pin!(self.pass_time())).await {
            Either::Left((done, _)) => done,
            Either::Right((never, _)) => match never {},
        }
    }

    async fn pass_time(&self) -> Infallible {
        let _alone = self.clock.lock().await;
        loop {
            let waits = self.waits.listen();
            let due = self.state.lock().table.next_deadline();
            match due {
                Some(due) => {
                    Delay::new(due.since(self.now())).await;
                    self.with(|state, now| state.table.tick(now));
                }
                None => waits.await,
            }
        }
    }
}

impl State {
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
    shared: Arc<Shared>,
    id: EntryId,
    /// What its server has signed, as the table has it.
    record: Bytes,
    ended: oneshot::Receiver<RegistryRefusal>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.shared.with(|state, now| {
            state.entries.remove(&self.id);
            state.table.withdraw(self.id, now);
        });
    }
}

/// Somebody who watches, until this is dropped.
struct Watching {
    shared: Arc<Shared>,
    id: WatcherId,
    changed: Arc<Event>,
}

impl Watching {
    fn changed(&self) -> EventListener {
        self.changed.listen()
    }

    fn next(&self) -> Option<Change> {
        let event = self.shared.state.lock().table.next_event(self.id)?;
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
        let mut state = self.shared.state.lock();
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
        let mut said = said(announced)?;
        let record = said.record.record.clone();
        // An entry that is not listed any more is dropped when the table is free again.
        let Some(mut entry) = entry else {
            let listed = self.shared.with(|state, now| {
                let id = state.table.announce(id(cx.peer()), network(cx), said, now)?;
                let (end, ended) = oneshot::channel();
                state.entries.insert(id, end);
                Ok::<_, RegistryRefusal>((id, ended))
            });
            let (id, ended) = listed?;
            return Ok(Entry { shared: self.shared.clone(), id, record, ended });
        };
        said.may_be_late = record == entry.record;
        self.shared.with(|state, now| state.table.update(entry.id, said, now))?;
        entry.record = record;
        Ok(entry)
    }

    async fn hold(
        &self,
        cx: &Cx,
        mut announcements: Rx<Announcement>,
        mut accepted: Tx<Accepted>,
    ) -> Result<(), RegistryError> {
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

    async fn tell(
        &self,
        cx: &Cx,
        service: ProtocolName,
        mut changes: Tx<Change>,
    ) -> Result<(), RegistryError> {
        let watching = self.shared.with(|state, _| {
            let id = state.table.watch(id(cx.peer()), network(cx), service)?;
            let changed = Arc::<Event>::default();
            state.watchers.insert(id, changed.clone());
            Ok::<_, RegistryRefusal>(Watching { shared: self.shared.clone(), id, changed })
        })?;
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

/// An announcement as the table takes it. Of the message that it came in nothing is kept.
fn said(announced: Announcement) -> Result<Said<Listed>, RegistryError> {
    let Announcement { protocols, record, load } = announced;
    let services = protocols.into_iter().map(name).collect::<Result<_, _>>()?;
    let (size, record) = (record.len(), Listed::new(Bytes::copy_from_slice(&record), load));
    Ok(Said { services, record, size, may_be_late: false })
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
        announcements: Rx<Announcement>,
        accepted: Tx<Accepted>,
    ) -> Result<(), RegistryError> {
        self.allow(cx, RegistryUse::Announce)?;
        self.shared.during(self.hold(cx, announcements, accepted)).await
    }

    async fn watch(
        &self,
        cx: &Cx,
        protocol: String,
        changes: Tx<Change>,
    ) -> Result<(), RegistryError> {
        self.allow(cx, RegistryUse::Watch)?;
        let service = name(protocol)?;
        self.shared.during(self.tell(cx, service, changes)).await
    }
}
