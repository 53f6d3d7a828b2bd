//! Places of requests, streams, raw streams and calls, for whoever has a fair share left.

use super::admission::Admission;
use super::share::{Flow, Places};
use super::streams::{Kind, StreamKey};

impl Admission {
    /// Takes a place for a stream, if there is a fair one. One of a protocol that is not registered
    /// gets none.
    pub(super) fn share(&mut self, stream: StreamKey, kind: Kind, places: Places) -> bool {
        let known = self.protocols.len();
        let Some(connection) = self.connections.open.get(stream) else { return false };
        let (peer, groups) = (connection.peer, connection.groups);
        let Some(protocol) = self.protocols.get_mut(connection.protocol) else { return false };
        let (shares, has) = match kind {
            Kind::Stream => (&mut self.streams, &mut protocol.streams),
            Kind::Request => (&mut self.requests, &mut protocol.requests),
            Kind::Raw => (&mut self.raws, &mut protocol.raws),
            Kind::Call => (&mut self.calls, &mut protocol.calls),
        };
        let of_protocol = Some(Flow { has: *has, known });
        let admitted = shares.admit(places, &self.connections.flows(connection, kind, of_protocol));
        if admitted {
            shares.take(self.connections.counts(peer, groups, kind, Some(has)));
        }
        admitted
    }

    /// Gives a place of a stream back.
    pub(super) fn give(&mut self, stream: StreamKey, kind: Kind) {
        let Some(connection) = self.connections.open.get(stream) else { return };
        let (peer, groups) = (connection.peer, connection.groups);
        let protocol = self.protocols.get_mut(connection.protocol);
        let (shares, has) = match kind {
            Kind::Stream => (&mut self.streams, protocol.map(|one| &mut one.streams)),
            Kind::Request => (&mut self.requests, protocol.map(|one| &mut one.requests)),
            Kind::Raw => (&mut self.raws, protocol.map(|one| &mut one.raws)),
            Kind::Call => (&mut self.calls, protocol.map(|one| &mut one.calls)),
        };
        shares.give(1, self.connections.counts(peer, groups, kind, has));
    }

    /// Gives a stream a place among all streams, if there is one for it.
    pub(super) fn place(&mut self, stream: StreamKey) -> bool {
        let free = self.max_streams.saturating_sub(self.streams.taken());
        let places = Places { limit: self.max_streams, free, room: free };
        let placed = self.share(stream, Kind::Stream, places);
        if let Some(connection) = self.connections.open.get_mut(stream) {
            connection.placed = placed;
        }
        self.counters.no_stream += u64::from(!placed);
        placed
    }
}
