//! Relays: reaching peers through them, being one, and leaving them for a direct connection.

use std::io;

use libp2p_core::Transport;
use libp2p_core::muxing::StreamMuxerBox;
use libp2p_core::transport::Boxed;
#[cfg(feature = "dcutr")]
use libp2p_dcutr as dcutr;
use libp2p_identity::PeerId;
use libp2p_relay as relay;
use libp2p_swarm::NetworkBehaviour;
use libp2p_swarm::behaviour::toggle::Toggle;
use multistream_select::NegotiationError;

use super::dialing::reason::root;
use crate::RelayConfig;
use crate::transport::security::Security;

type Muxed = Boxed<(PeerId, StreamMuxerBox)>;

#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p_swarm::derive_prelude")]
pub(super) struct Relaying {
    client: relay::client::Behaviour,
    server: Toggle<relay::Behaviour>,
    #[cfg(feature = "dcutr")]
    dcutr: dcutr::Behaviour,
}

impl Relaying {
    /// Adds connections through relays, which are encrypted from end to end like all others, to those
    /// that are direct. `server` is there if the node relays itself.
    pub(super) fn new(
        peer: PeerId,
        server: Option<RelayConfig>,
        direct: Muxed,
        security: &Security,
    ) -> (Self, Muxed) {
        let (circuits, client) = relay::client::new(peer);
        let server = server.map(|config| relay::Behaviour::new(peer, config)).into();
        let relaying = Self {
            client,
            server,
            #[cfg(feature = "dcutr")]
            dcutr: dcutr::Behaviour::new(peer),
        };
        let both = security.establish(circuits).or_transport(direct);
        (relaying, both.map(|either, _| either.into_inner()).boxed())
    }
}

/// Whether listening at a relay ended because the peer there is none. The protocol is proposed lazily,
/// so that a refusal may show as late as in the answer.
pub(super) fn is_no_relay(error: &io::Error) -> bool {
    let why = root(error);
    why == relay::outbound::hop::ReserveError::Unsupported.to_string()
        || why == NegotiationError::Failed.to_string()
}
