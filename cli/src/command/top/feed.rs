//! What a node tells of how it is, asked again and again.

use std::time::{Duration, Instant};

use pointsub_tokio::service::info::InfoClient;
use pointsub_tokio::service::{CallError, Failure as Refusal, Stub};
use pointsub_tokio::{Cause, Node, PeerId, StatusCode};

use crate::error::{Exit, Failure};
use crate::node::activity::{MAX_PEERS, MAX_PROTOCOLS, PROTOCOL, SNAPSHOT, Snapshot};

/// How much of a text of the node is shown.
const TEXT: usize = 200;

/// How much the node tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tells {
    Unknown,
    /// All: this peer is an operator.
    Everything,
    /// Its load, as it does everybody.
    Load,
}

/// The node, and what it tells.
#[derive(Debug)]
pub(super) struct Feed {
    activity: Stub,
    info: InfoClient,
    tells: Tells,
    timeout: Duration,
    began: Instant,
}

impl Feed {
    pub(super) fn new(node: &Node, peer: PeerId, timeout: Duration) -> Self {
        Self {
            activity: Stub::peer(node.client(), peer, PROTOCOL),
            info: InfoClient::peer(node.client(), peer),
            tells: Tells::Unknown,
            timeout,
            began: Instant::now(),
        }
    }

    /// Whether it tells its load alone.
    pub(super) fn is_load_alone(&self) -> bool {
        self.tells == Tells::Load
    }

    /// How it is now.
    pub(super) async fn next(&mut self) -> Result<Snapshot, Failure> {
        if self.tells != Tells::Load {
            let call = self.activity.call::<(), Snapshot, Refusal>(SNAPSHOT, ());
            match call.timeout(self.timeout).idempotent(true).await {
                Ok(snapshot) => {
                    self.tells = Tells::Everything;
                    return Ok(limited(snapshot));
                }
                Err(error) if self.tells == Tells::Unknown && tells_less(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let load = self.info.load().timeout(self.timeout).await;
        let load = load.map_err(|error| match tells_less(&error) {
            true => Failure::new(Exit::Refused, "the node does not say how it is").next(
                "its user sees it on the same machine; at another one, start the node with \
                 --operator and the Peer ID that `pointsub top --verbose` prints",
            ),
            false => error.into(),
        })?;
        self.tells = Tells::Load;
        let uptime_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Snapshot { uptime_ms, load, ..Snapshot::default() })
    }
}

/// Whether the node may tell less to somebody who asks for less.
fn tells_less<E>(error: &CallError<E>) -> bool {
    match error {
        CallError::Service { .. } | CallError::Rejected { .. } => true,
        CallError::Request(error) => match &error.cause {
            Cause::Unsupported => true,
            Cause::Remote(status) => {
                matches!(status.code, StatusCode::NotFound | StatusCode::PermissionDenied)
            }
            _ => false,
        },
        _ => false,
    }
}

/// What is shown of what a node tells: it may be a stranger's.
fn limited(mut snapshot: Snapshot) -> Snapshot {
    let clean = |text: &mut String| {
        *text = text.chars().filter(|letter| !letter.is_control()).take(TEXT).collect();
    };
    snapshot.protocols.truncate(MAX_PROTOCOLS);
    snapshot.peers.truncate(MAX_PEERS);
    snapshot.protocols.iter_mut().for_each(|protocol| clean(&mut protocol.name));
    for peer in &mut snapshot.peers {
        [&mut peer.peer, &mut peer.path, &mut peer.address].into_iter().for_each(clean);
    }
    let reasons = std::mem::take(&mut snapshot.refusals).into_iter().take(16);
    snapshot.refusals = reasons
        .map(|(mut reason, count)| {
            clean(&mut reason);
            (reason, count)
        })
        .collect();
    snapshot
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::activity::PeerActivity;

    #[test]
    fn what_a_stranger_tells_is_limited() {
        let peer = PeerActivity { peer: "\u{1b}[2Jx".repeat(500), ..PeerActivity::default() };
        let told = Snapshot { peers: vec![peer; 5000], ..Snapshot::default() };
        let shown = limited(told);
        assert_eq!(shown.peers.len(), MAX_PEERS);
        assert!(shown.peers[0].peer.len() <= TEXT && !shown.peers[0].peer.contains('\u{1b}'));
    }
}
