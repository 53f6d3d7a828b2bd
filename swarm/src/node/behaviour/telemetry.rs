//! What is told of connections.

use libp2p_core::ConnectedPoint;
use libp2p_identity::PeerId;

use crate::node::peers::{Path, TransportKind};
use crate::telemetry::{ConnectionLabels, Telemetry};

fn labels(endpoint: &ConnectedPoint) -> ConnectionLabels {
    let path = if endpoint.is_relayed() { Path::Relayed } else { Path::Direct };
    let transport = TransportKind::of(endpoint.get_remote_address());
    ConnectionLabels::new(path, transport, endpoint.is_dialer())
}

/// There is a connection.
pub(super) fn connected(telemetry: &Telemetry, peer: &PeerId, endpoint: &ConnectedPoint) {
    let labels = labels(endpoint);
    tracing::info!(
        target: "pointsub::connection",
        %peer,
        path = labels.path(),
        transport = labels.transport(),
        dialled = labels.dialled,
        address = %endpoint.get_remote_address(),
        "a connection is up"
    );
    if let Some(recorder) = telemetry.recorder() {
        recorder.connection_opened(labels);
    }
}

/// A connection has ended, for this reason if not in good order.
pub(super) fn closed(
    telemetry: &Telemetry,
    peer: &PeerId,
    endpoint: &ConnectedPoint,
    reason: Option<&str>,
) {
    let labels = labels(endpoint);
    tracing::info!(
        target: "pointsub::connection",
        %peer,
        path = labels.path(),
        transport = labels.transport(),
        dialled = labels.dialled,
        address = %endpoint.get_remote_address(),
        reason,
        "a connection is down"
    );
    if let Some(recorder) = telemetry.recorder() {
        recorder.connection_closed(labels);
    }
}
