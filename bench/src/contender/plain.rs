//! This library with a server that hides the native format, so that a client of it speaks the
//! plain one, as it does with peers that use the Go library.

use std::task::{Context, Poll};

use libp2p_core::transport::PortUse;
use libp2p_core::upgrade::{InboundUpgrade, UpgradeInfo};
use libp2p_core::{Endpoint, Multiaddr};
use libp2p_swarm::handler::{
    ConnectionEvent, ConnectionHandlerEvent, FullyNegotiatedInbound, ListenUpgradeError,
};
use libp2p_swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionId, FromSwarm, NetworkBehaviour, Stream,
    SubstreamProtocol, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use pointsub_tokio::{Behaviour, PeerId, ServerConfig};

use super::{Failure, composed};

/// What the names of the native format begin with.
const NATIVE: &str = "/pointsub/";

/// Serves on tokio.
pub(super) async fn serve(config: &ServerConfig) -> Result<String, Failure> {
    composed::serve(config, PlainOnly).await
}

type Handler = <Behaviour as NetworkBehaviour>::ConnectionHandler;
type Inbound = <Handler as ConnectionHandler>::InboundProtocol;
type Outbound = <Handler as ConnectionHandler>::OutboundProtocol;
type Ticket = <Handler as ConnectionHandler>::OutboundOpenInfo;

/// The same, but for the names that it listens for.
struct PlainOnly<T>(T);

impl UpgradeInfo for PlainOnly<Inbound> {
    type Info = <Inbound as UpgradeInfo>::Info;
    type InfoIter = Vec<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        let names = self.0.protocol_info();
        names.filter(|name| !name.as_ref().starts_with(NATIVE)).collect()
    }
}

impl InboundUpgrade<Stream> for PlainOnly<Inbound> {
    type Output = <Inbound as InboundUpgrade<Stream>>::Output;
    type Error = <Inbound as InboundUpgrade<Stream>>::Error;
    type Future = <Inbound as InboundUpgrade<Stream>>::Future;

    fn upgrade_inbound(self, stream: Stream, name: Self::Info) -> Self::Future {
        self.0.upgrade_inbound(stream, name)
    }
}

impl ConnectionHandler for PlainOnly<Handler> {
    type FromBehaviour = THandlerInEvent<Behaviour>;
    type ToBehaviour = <Handler as ConnectionHandler>::ToBehaviour;
    type InboundProtocol = PlainOnly<Inbound>;
    type OutboundProtocol = Outbound;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Ticket;

    fn listen_protocol(&self) -> SubstreamProtocol<PlainOnly<Inbound>> {
        self.0.listen_protocol().map_upgrade(PlainOnly)
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Outbound, Ticket, Self::ToBehaviour>> {
        self.0.poll(cx)
    }

    fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
        self.0.on_behaviour_event(event);
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, PlainOnly<Inbound>, Outbound, (), Ticket>,
    ) {
        self.0.on_connection_event(match event {
            ConnectionEvent::FullyNegotiatedInbound(event) => {
                let FullyNegotiatedInbound { protocol, info } = event;
                ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, info })
            }
            ConnectionEvent::ListenUpgradeError(ListenUpgradeError { info, error }) => {
                ConnectionEvent::ListenUpgradeError(ListenUpgradeError { info, error })
            }
            ConnectionEvent::FullyNegotiatedOutbound(event) => {
                ConnectionEvent::FullyNegotiatedOutbound(event)
            }
            ConnectionEvent::DialUpgradeError(event) => ConnectionEvent::DialUpgradeError(event),
            ConnectionEvent::AddressChange(event) => ConnectionEvent::AddressChange(event),
            ConnectionEvent::LocalProtocolsChange(event) => {
                ConnectionEvent::LocalProtocolsChange(event)
            }
            ConnectionEvent::RemoteProtocolsChange(event) => {
                ConnectionEvent::RemoteProtocolsChange(event)
            }
            _ => return,
        });
    }
}

impl NetworkBehaviour for PlainOnly<Behaviour> {
    type ConnectionHandler = PlainOnly<Handler>;
    type ToSwarm = <Behaviour as NetworkBehaviour>::ToSwarm;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<Self::ConnectionHandler, ConnectionDenied> {
        self.0.handle_established_inbound_connection(id, peer, local, remote).map(PlainOnly)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<Self::ConnectionHandler, ConnectionDenied> {
        self.0.handle_established_outbound_connection(id, peer, address, role, port).map(PlainOnly)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.0.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.0.on_connection_handler_event(peer, id, event);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.0.poll(cx)
    }
}
