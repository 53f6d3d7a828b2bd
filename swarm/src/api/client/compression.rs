//! Which requests are compressed.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use pointsub_core::connection::CompressionChoice;
use pointsub_core::wire::compress::{Gains, MIN_SIZE};
use pointsub_core::{Body, Payload, PeerId, ProtocolName};

use super::broken;
use super::shared::ClientShared;
use crate::RequestError;
use crate::compress;
use crate::connection::activity::Activity;

/// The links of so many nodes are looked at for a request to the closest of them, however many there are.
const FEW: usize = 16;

/// What a client knows of compression.
#[derive(Debug, Default)]
pub(crate) struct Compression {
    /// What it is worth.
    gains: Mutex<Gains>,
    /// The connection of the stream to each peer that was opened last.
    links: Mutex<HashMap<PeerId, Weak<Activity>>>,
}

impl Compression {
    /// A stream to a peer was opened on this connection.
    pub(crate) fn note_link(&self, peer: PeerId, link: &Arc<Activity>) {
        self.links.lock().insert(peer, Arc::downgrade(link));
    }

    /// There is no connection to the peer any more.
    fn forget(&self, peer: &PeerId) {
        self.links.lock().remove(peer);
    }

    fn link(&self, peer: &PeerId) -> Option<Arc<Activity>> {
        self.links.lock().get(peer)?.upgrade()
    }

    /// The connections to these peers, if compression of a body of so many bytes is worth it for any of
    /// them. Without any, the body is for a connection of which nothing is known.
    fn worth_it(&self, peers: &[PeerId], protocol: &str, len: usize) -> Option<Vec<Arc<Activity>>> {
        let gain = self.gains.lock().of(protocol);
        let links: Vec<Arc<Activity>> = peers.iter().filter_map(|peer| self.link(peer)).collect();
        let wanting = if links.is_empty() {
            usize::from(CompressionChoice::default().compresses(len, &gain))
        } else {
            links.iter().filter(|link| link.compresses(len, &gain)).count()
        };
        (wanting > 0).then_some(links)
    }
}

impl ClientShared {
    /// Whether there is a connection to a peer.
    pub(crate) fn set_online(&self, peer: PeerId, online: bool) {
        if !online {
            self.compression.forget(&peer);
        }
        self.with_dispatcher(|dispatcher| dispatcher.set_online(peer, online));
    }
}

/// A body that is to be compressed.
pub(super) struct Compressing {
    shared: Arc<ClientShared>,
    protocol: ProtocolName,
    links: Vec<Arc<Activity>>,
    body: Bytes,
}

impl Compressing {
    /// `Err` with a body that is sent as it is. Without a peer, any node of the protocol may get it.
    pub(super) fn of(
        body: Bytes,
        shared: &Arc<ClientShared>,
        peer: Option<&PeerId>,
        protocol: &ProtocolName,
    ) -> Result<Self, Bytes> {
        if body.len() < MIN_SIZE || !shared.compresses_for(peer.map(|p| (p, protocol)), body.len())
        {
            return Err(body);
        }
        let peers = match peer {
            Some(peer) => vec![*peer],
            None => shared.with_dispatcher(|dispatcher| {
                let nodes = dispatcher.server_nodes(protocol.as_str());
                nodes.take(FEW).map(|node| *node.peer()).collect()
            }),
        };
        match shared.compression.worth_it(&peers, protocol.as_str(), body.len()) {
            None => Err(body),
            Some(links) => {
                let (shared, protocol) = (shared.clone(), protocol.clone());
                Ok(Self { shared, protocol, links, body })
            }
        }
    }

    /// The body, compressed if it shrinks.
    pub(super) async fn finish(self) -> Body {
        let (body, took) = compress::deflate(self.body, &self.shared.clock).await;
        let (raw, left) = (body.raw().len(), body.wire_len());
        let mut gains = self.shared.compression.gains.lock();
        gains.note(&self.protocol, |gain| gain.deflated(raw, left, took));
        drop(gains);
        self.links.iter().for_each(|link| link.note_compressed(left));
        body
    }
}

/// Takes the bytes of an answer, on the caller's task. The protocol learns how long that takes.
pub(super) async fn inflate(
    payload: Payload,
    shared: &ClientShared,
    protocol: Option<&ProtocolName>,
) -> Result<Bytes, RequestError> {
    let is_compressed = payload.is_compressed();
    let (raw, took) = compress::inflate(payload, &shared.clock).await;
    let raw = raw.map_err(broken)?;
    if is_compressed && let Some(protocol) = protocol {
        let mut gains = shared.compression.gains.lock();
        gains.note(protocol, |gain| gain.inflated(raw.len(), took));
    }
    Ok(raw)
}
