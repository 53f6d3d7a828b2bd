//! The protocols that a peer lists in identify.

use std::collections::HashSet;

use libp2p_swarm::StreamProtocol;
use libp2p_swarm::handler::ProtocolsChange;
use pointsub_core::{Format, ProtocolName};

use super::negotiation::{MARK, Speaks, WireName};

/// The prefix of a protocol's native name. Nodes of this library list that for each handler.
const NATIVE: &str = "/pointsub/";

/// The names in a peer's list that say what it does with a stream. libp2p reads lists of 4 KiB at most.
#[derive(Debug, Default)]
pub(crate) struct Remote {
    native: HashSet<StreamProtocol>,
    /// Of peers that do not run this library, what they list may be what they serve.
    others: HashSet<StreamProtocol>,
}

impl Remote {
    pub(crate) fn update(&mut self, change: ProtocolsChange<'_>) {
        match change {
            ProtocolsChange::Added(names) => {
                for name in names {
                    let is_native = name.as_ref().starts_with(NATIVE);
                    let set = if is_native { &mut self.native } else { &mut self.others };
                    set.insert(name.clone());
                }
            }
            ProtocolsChange::Removed(names) => {
                for name in names {
                    let _known = self.native.remove(name) || self.others.remove(name);
                }
            }
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

    /// The protocols that the peer serves, so far as it says. One that runs this library has a native
    /// name for each.
    pub(crate) fn serves(&self) -> Vec<ProtocolName> {
        if self.native.iter().any(|listed| listed.as_ref() == MARK) {
            let names = self.native.iter().filter_map(|name| name.as_ref().strip_prefix(MARK));
            return names.filter_map(|name| ProtocolName::new(name).ok()).collect();
        }
        self.others.iter().filter_map(|name| ProtocolName::new(name.as_ref()).ok()).collect()
    }
}
