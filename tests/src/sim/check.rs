//! What must hold after every step of a life, and at its end.

use std::hash::Hasher;

use super::calls::Asked;
use super::world::{PROTOCOLS, Summary, World};

impl World {
    /// What holds after every step.
    pub(super) fn check(&self) {
        let client = self.client.stats();
        let ended = client.ok + client.failed + client.cancelled;
        assert_eq!(client.started, ended + client.in_flight, "the client's counters");
        let plain = self.pending.keys().filter(|asked| matches!(asked, Asked::Request(_))).count();
        let calls = self.pending.len() - plain;
        let most = plain + calls * self.peers.len();
        let range = plain as u64..=most as u64;
        assert!(range.contains(&client.in_flight), "requests without an outcome: {client:?}");
        let most = self.peers.len() * self.config.max_streams_per_peer();
        // A raw stream does not wait for the one that makes room for it.
        let most = (most + self.peers.len()) as u64;
        assert!(client.streams + client.raw_streams <= most, "too many streams");
        assert!(client.idle_streams <= self.config.max_idle_conns() as u64, "too many idle");
        assert!(client.waiting <= client.in_flight, "the waiting");
        assert_eq!(client.raw_streams, self.raws.len() as u64, "raw streams");
        for (number, peer) in self.peers.iter().enumerate() {
            let server = peer.server.stats();
            let ended = server.ok + server.failed + server.abandoned;
            assert_eq!(server.started, ended + server.in_flight, "a server's counters");
            let raws = self.raws.values().filter(|raw| raw.is_at(number)).count();
            let at_work = peer.at_work.len() + raws;
            assert_eq!(server.in_flight, at_work as u64, "handlers at work");
            assert_eq!(server.violations, 0, "two of ours break each other's format");
            let streams = peer.server.connections_info(self.now);
            let memory: usize = streams.iter().map(|stream| stream.memory).sum();
            assert_eq!(server.memory, memory as u64, "bytes held");
            assert_eq!(server.streams, streams.len() as u64, "streams");
        }
    }

    /// What holds when nothing is left to happen.
    pub(super) fn end(mut self) -> Summary {
        assert!(self.pending.is_empty(), "requests without an outcome: {:?}", self.pending);
        let client = self.client.stats();
        assert_eq!((client.streams, client.waiting), (0, 0), "streams are left over");
        assert_eq!(client.raw_streams, 0, "raw streams are left over");
        assert_eq!(client.in_flight, 0, "requests are left over");
        assert_eq!(self.client.buffered(), 0, "the client still holds bytes");
        for protocol in PROTOCOLS {
            for node in self.client.server_nodes(protocol) {
                assert_eq!(node.in_flight(), 0, "a node counts as busy for ever");
            }
        }
        for peer in &self.peers {
            assert_eq!(peer.server.buffered(), 0, "a server still holds bytes");
            let server = peer.server.stats();
            assert_eq!((server.streams, server.memory), (0, 0), "a server's streams");
        }
        self.note(("end", client.ok, client.failed));
        self.summary.trace = self.trace.finish();
        self.summary
    }
}
