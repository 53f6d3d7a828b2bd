//! What a peer says that it serves.

use std::collections::HashSet;

use libp2p_swarm::StreamProtocol;
use libp2p_swarm::handler::ProtocolsChange;
use pointsub_core::Format;

use super::negotiation::{MARK, Speaks, WireName};

/// What nodes of this library put before the name of a protocol for which they have a handler.
const NATIVE: &str = "/pointsub/";

/// The names that a peer lists (identify) and that tell what it does with a stream. libp2p reads lists
/// of 4 KiB at most.
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

    /// Whether the peer does something else with a stream than what was agreed on: raw streams and
    /// plain requests have the same name. A peer that says nothing may do either.
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
