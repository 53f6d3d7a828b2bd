//! The protocols that a peer lists in identify.

use std::collections::HashSet;

use libp2p_swarm::StreamProtocol;
use libp2p_swarm::handler::ProtocolsChange;
use pointsub_core::Format;

use super::negotiation::{MARK, Speaks, WireName};

/// The prefix of a protocol's native name. Nodes of this library list that for each handler.
const NATIVE: &str = "/pointsub/";

/// The names in a peer's list that say what it does with a stream. libp2p reads lists of 4 KiB at most.
#[derive(Debug, Default)]
pub(crate) struct Remote {
    native: HashSet<StreamProtocol>,
}

impl Remote {
    pub(crate) fn update(&mut self, change: ProtocolsChange<'_>) {
        match change {
            ProtocolsChange::Added(names) => {
                self.native.extend(names.filter(|n| n.as_ref().starts_with(NATIVE)).cloned());
            }
            ProtocolsChange::Removed(names) => names.for_each(|name| _ = self.native.remove(name)),
        }
    }

    /// Whether the peer uses a stream for something else than this end does: raw streams and plain
    /// requests have the same name. A peer that lists nothing may do either.
    pub(crate) fn takes_for_another(&self, name: &WireName) -> bool {
        let has_handler = || {
            let native = name.protocol.native_name();
            self.native.iter().any(|listed| listed.as_ref() == native)
        };
        match name.speaks {
            Speaks::Raw => has_handler(),
            Speaks::Messages(Format::Plain) => {
                self.native.iter().any(|listed| listed.as_ref() == MARK) && !has_handler()
            }
            _ => false,
        }
    }
}
