//! The calls of a node to registries.

use std::pin::pin;
use std::sync::Arc;

use event_listener::Event;
use futures::SinkExt;
use futures::channel::mpsc::Sender;
use futures::future::{Either, select};
use parking_lot::Mutex;
use pointsub_core::network::registry::{
    RegistriesFact, RegistryEvent, RegistryId, RegistryRefusal,
};
use pointsub_swarm::{Multiaddr, PeerId, ProtocolName};

use super::RegistryClient;
use super::types::{Announcement, Change, RegistryError};
use crate::error::CallError;

/// How many records that are not signed a call survives: each costs time.
const FORGED: usize = 16;

pub(super) type Fact = RegistriesFact<Vec<Multiaddr>>;

/// Where a call tells what happens: which call it is, and what.
pub(super) type Facts = Sender<(u64, Fact)>;

/// What this node says of itself at a registry, and that it has changed.
#[derive(Debug, Default)]
pub(super) struct Said {
    announcement: Mutex<Option<Announcement>>,
    changed: Event,
}

impl Said {
    pub(super) fn set(&self, announcement: Option<Announcement>) {
        let mut said = self.announcement.lock();
        if *said != announcement {
            *said = announcement;
            self.changed.notify(usize::MAX);
        }
    }

    fn get(&self) -> Option<Announcement> {
        self.announcement.lock().clone()
    }
}

/// Announces this node until the call ends, which is the last fact.
pub(super) async fn announce(
    client: RegistryClient,
    (registry, peer): (RegistryId, PeerId),
    said: Arc<Said>,
    (call, mut facts): (u64, Facts),
) {
    let ended = hold(&client, registry, &said, (call, &mut facts)).await;
    if let Err(error) = &ended {
        tracing::debug!(target: "pointsub::registry", registry = %peer, %error, "not announced");
    }
    let replaced = matches!(ended, Err(CallError::Service { error: RegistryError::Replaced, .. }));
    let why = replaced.then_some(RegistryRefusal::Replaced);
    let _ended = facts.send((call, Fact::AnnounceEnded(registry, why))).await;
}

async fn hold(
    client: &RegistryClient,
    registry: RegistryId,
    said: &Said,
    (call, facts): (u64, &mut Facts),
) -> Result<(), CallError<RegistryError>> {
    let mut open = client.announce().await?;
    let mut told = None;
    loop {
        // What changes while it is told is told too.
        let changed = said.changed.listen();
        let news = said.get();
        if let Some(announcement) = news.clone().filter(|_| news != told) {
            open.send(announcement).await?;
            if open.recv().await?.is_none() {
                return Ok(());
            }
            told = news;
            let _ended = facts.send((call, Fact::Accepted(registry))).await;
        }
        if let Either::Left((answer, _)) = select(pin!(open.recv()), changed).await
            && answer?.is_none()
        {
            return Ok(());
        }
    }
}

/// Watches a protocol until the call ends, which is the last fact.
pub(super) async fn watch(
    client: RegistryClient,
    (registry, peer): (RegistryId, PeerId),
    protocol: ProtocolName,
    (call, mut facts): (u64, Facts),
) {
    let ended = follow(&client, (registry, peer), &protocol, (call, &mut facts)).await;
    if let Err(error) = ended {
        tracing::debug!(
            target: "pointsub::registry", registry = %peer, %protocol, %error, "not watched"
        );
    }
    let _ended = facts.send((call, Fact::WatchEnded(registry, protocol))).await;
}

async fn follow(
    client: &RegistryClient,
    (registry, peer): (RegistryId, PeerId),
    protocol: &ProtocolName,
    (call, facts): (u64, &mut Facts),
) -> Result<(), CallError<RegistryError>> {
    let mut changes = client.watch(protocol.as_str().to_owned()).await?;
    let mut forged = 0;
    while let Some(change) = changes.recv().await? {
        if let Some(event) = believed(change) {
            let told = Fact::Told(registry, protocol.clone(), event);
            let _ended = facts.send((call, told)).await;
            continue;
        }
        forged += 1;
        if forged > FORGED {
            tracing::warn!(
                target: "pointsub::registry", registry = %peer, "it lists what nobody has signed"
            );
            return Ok(());
        }
    }
    Ok(())
}

/// What a registry says, as far as it is signed by whom it concerns.
fn believed(change: Change) -> Option<RegistryEvent<Vec<Multiaddr>>> {
    Some(match change {
        Change::Begin => RegistryEvent::Begin,
        Change::Complete => RegistryEvent::Complete,
        Change::Gone(peer) => RegistryEvent::Gone(pointsub_core::PeerId::from_bytes(&peer).ok()?),
        Change::Here(listed) => {
            let (peer, addresses) = listed.read().ok()?;
            RegistryEvent::Here(to_core(peer)?, addresses)
        }
    })
}

pub(super) fn to_core(peer: PeerId) -> Option<pointsub_core::PeerId> {
    pointsub_core::PeerId::from_bytes(&peer.to_bytes()).ok()
}
