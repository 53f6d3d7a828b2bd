//! Raw streams: nothing but their beginnings and ends, since no machine sees their bytes.

use std::sync::Arc;
use std::time::Duration;

use pointsub_core::server::ConnectionKey;
use pointsub_core::{DialId, PeerId, ProtocolName, StreamError};

use super::world::{Due, PROTOCOLS, World, peer_id};

/// A raw stream, from the application's wish to its end.
#[derive(Debug, Default)]
pub(super) struct RawLink {
    /// Who was dialled, once the client has said so.
    to: Option<(PeerId, ProtocolName)>,
    /// The peer's number and the server's name for it, once it is open.
    at_server: Option<(usize, ConnectionKey)>,
    open: bool,
}

impl RawLink {
    pub(super) fn is_at(&self, peer: usize) -> bool {
        self.at_server.is_some_and(|(number, _)| number == peer)
    }
}

impl World {
    /// The application dials.
    pub(super) fn dial(&mut self) {
        let peer = self.peers[self.rng.below(self.peers.len() as u64) as usize].id;
        let protocol = PROTOCOLS[self.rng.below(2) as usize];
        let deadline = self.rng.chance(20).then(|| {
            let left = self.rng.duration(Duration::from_millis(100));
            self.now + left
        });
        match self.client.dial(&peer, protocol, deadline, self.now) {
            Ok(dial) => {
                self.raws.insert(dial, RawLink::default());
                let life = self.rng.duration(Duration::from_millis(800));
                self.at(life, Due::HangUp(dial));
            }
            Err(error) => self.note(error.to_string()),
        }
    }

    /// The client wants a raw stream.
    pub(super) fn open_raw(&mut self, dial: DialId, peer: PeerId, protocol: ProtocolName) {
        let link = self.raws.get_mut(&dial).expect("asked for");
        assert!(link.to.replace((peer, protocol)).is_none(), "dialled twice");
        let after = self.latency() * if self.rng.chance(5) { 100 } else { 1 };
        self.at(after, Due::Dialed(dial));
    }

    pub(super) fn raw_arrives(&mut self, dial: DialId) {
        let Some(link) = self.raws.get(&dial) else { return };
        let (peer, protocol) = link.to.clone().expect("dialled before");
        let number = self.number_of(peer);
        let refused = self.faults && self.rng.chance(5);
        let accepted = if refused {
            None
        } else {
            let server = &mut self.peers[number].server;
            server.accept_raw(peer_id(99), &protocol, self.now).ok()
        };
        let input = match accepted {
            Some(key) => {
                if let Some(link) = self.raws.get_mut(&dial) {
                    link.at_server = Some((number, key));
                }
                pointsub_core::ClientInput::Dialed(dial)
            }
            None => {
                let error = StreamError::Lost(Arc::from("refused"));
                pointsub_core::ClientInput::DialFailed(dial, error)
            }
        };
        self.note((dial, accepted.is_some()));
        self.client.handle_input(input, self.now);
    }

    /// The client says that a raw stream is open.
    pub(super) fn raw_is_open(&mut self, dial: DialId) {
        let link = self.raws.get_mut(&dial).expect("asked for");
        assert!(!std::mem::replace(&mut link.open, true), "open twice");
        self.summary.raws += 1;
    }

    /// Both ends of a raw stream are dropped, on whatever side it began.
    pub(super) fn end_raw(&mut self, dial: DialId) {
        let Some(link) = self.raws.remove(&dial) else { return };
        self.client.hang_up(dial, self.now);
        if let Some((peer, key)) = link.at_server {
            self.peers[peer].server.close_raw(key, self.now);
        }
        self.told = true;
    }

    /// A server does not wait any longer.
    pub(super) fn server_hangs_up(&mut self, number: usize, key: ConnectionKey) {
        let at = Some((number, key));
        let dial = self.raws.iter().find(|(_, link)| link.at_server == at).map(|(dial, _)| *dial);
        if let Some(dial) = dial {
            self.end_raw(dial);
        }
    }
}
