//! Connections between the client and its peers. The machine of a [`Connection`] at each end decides
//! which streams a retired connection ends, and whether a peer may have another one.

use std::collections::BTreeSet;

use pointsub_core::StreamId;
use pointsub_core::connection::{Acceptance, Connection};
use pointsub_core::endpoint::StreamKey;
use slotmap::SlotMap;

use super::link::Link;
use super::note::Who;
use super::server::SimServer;
use super::world::{Due, World};
use crate::coverage::Situation;

/// Streams on a connection, where nobody says otherwise.
const MOST: usize = 128;

/// A connection of the client to a peer.
#[derive(Debug)]
pub struct Conn {
    peer: usize,
    client: Connection,
    server: Connection,
    /// The peer may have so many streams on it.
    pub max_inbound: usize,
    /// Streams that the server has, or tells that they are refused.
    inbound: SlotMap<StreamKey, StreamId>,
    /// Those that are served and were not told to make room.
    pub served: BTreeSet<StreamId>,
}

impl Conn {
    pub(super) fn closed(&mut self, stream: StreamId) {
        self.client.closed(stream);
    }

    /// Streams that the client has on it, and streams that the server has.
    #[must_use]
    pub fn streams(&self) -> (usize, usize) {
        (self.client.outbound().len(), self.server.inbound().len())
    }
}

impl World {
    /// The connection to a peer that takes what is new; one is made if there is none.
    pub(super) fn connection_to(&mut self, peer: usize) -> usize {
        if let Some(known) = self.current[peer] {
            return known;
        }
        let number = self.conns.len();
        let mut draw = self.draw(&[15, peer as u64, number as u64]);
        let few = !self.calm && draw.chance(40);
        let max_inbound = if few { 1 + draw.below(6) as usize } else { MOST };
        let now = self.now;
        self.conns.push(Conn {
            peer,
            client: Connection::new(MOST, now),
            server: Connection::new(max_inbound, now),
            max_inbound,
            inbound: SlotMap::with_key(),
            served: BTreeSet::new(),
        });
        self.current[peer] = Some(number);
        number
    }

    /// The client begins to open a stream on a connection.
    pub(super) fn opening_on(&mut self, conn: usize) {
        self.conns[conn].client.opening();
    }

    /// A stream of the client's is open, perhaps on a connection that was retired meanwhile.
    pub(super) fn opened_on(&mut self, conn: usize, stream: StreamId) {
        if self.conns[conn].client.opened(stream) {
            self.hit(Situation::OpenedRetired);
            let now = self.client_now();
            self.client.retire(stream, now);
        }
    }

    /// A stream of the client's has ended, or will not open.
    pub(super) fn closed_on(&mut self, link: &Link) {
        let (Some(conn), Some(stream)) = (link.conn, link.at_client()) else { return };
        if link.is_opening() {
            self.conns[conn].client.open_failed();
        } else {
            self.conns[conn].client.closed(stream);
        }
    }

    /// There is a better connection to a peer. Sometimes the old one is used again later.
    pub(super) fn retire(&mut self, peer: usize) {
        self.note(Who::Client, "retires its connection to peer {a}", peer as u64, 0);
        let Some(conn) = self.current[peer].take() else { return };
        let now = self.client_now();
        for stream in self.conns[conn].client.retire() {
            self.hit(Situation::Retired);
            self.client.retire(stream, now);
        }
        let mut draw = self.draw(&[16, conn as u64]);
        if draw.chance(30) {
            self.after(draw.micros(500_000), Due::Resume(conn));
        }
    }

    /// A connection that was retired is used again, if it is there.
    pub(super) fn resume_connection(&mut self, conn: usize) {
        let is_there = self.links.values().any(|link| link.conn == Some(conn));
        if is_there {
            self.hit(Situation::Resumed);
            self.conns[conn].client.resume();
            self.current[self.conns[conn].peer] = Some(conn);
        }
    }

    /// The connection to a peer breaks, and everything on it.
    pub(super) fn cut_connection(&mut self, peer: usize) {
        let Some(conn) = self.current[peer].take() else { return };
        self.note(Who::Net, "breaks the connection to peer {a}", peer as u64, 0);
        self.hit(Situation::ConnectionCut);
        if self.peers[peer].server.as_ref().is_some_and(|server| !server.is_quiet()) {
            self.hit(Situation::CutWhileAsking);
        }
        let dials: Vec<_> = self.raws.iter().filter(|(_, raw)| raw.is_at(peer)).collect();
        let dials: Vec<_> = dials.into_iter().map(|(dial, _)| *dial).collect();
        dials.into_iter().for_each(|dial| self.end_raw(dial));
        let links = self.links.iter().filter(|(_, link)| link.conn == Some(conn) && !link.broken);
        let links: Vec<u32> = links.map(|(number, _)| *number).collect();
        links.into_iter().for_each(|link| self.break_link(link, "the connection broke"));
    }

    /// Whether a peer may have another stream on a connection. An idle one makes room if need be.
    pub(super) fn has_room(&mut self, conn: usize) -> bool {
        let peer = self.conns[conn].peer;
        let raws = self.raws.values().filter(|raw| raw.is_at(peer)).count();
        let conn = &mut self.conns[conn];
        let room = match conn.server.admit(raws) {
            Acceptance::Accept => return true,
            Acceptance::Refuse => false,
            Acceptance::MakeRoom => {
                let among: Vec<StreamId> = conn
                    .server
                    .inbound()
                    .filter_map(|key| conn.inbound.get(key).copied())
                    .collect();
                let server = self.peers[peer].server.as_mut();
                let ends = server.and_then(|server| server.make_room(among));
                ends.inspect(|stream| _ = conn.served.remove(stream)).is_some()
            }
        };
        self.hit(if room { Situation::MadeRoom } else { Situation::NoRoom });
        room
    }

    /// A peer has another stream on a connection, which is served if there was room.
    pub(super) fn accepted_on(&mut self, conn: usize, stream: StreamId, room: bool) {
        let at = &mut self.conns[conn];
        let key = at.inbound.insert(stream);
        at.server.accepted(key);
        if room {
            at.served.insert(stream);
        }
        self.inbound.insert((at.peer, stream), (conn, key));
    }

    /// A server has closed a stream.
    pub(super) fn ended_on(&mut self, peer: usize, stream: StreamId) {
        let Some((conn, key)) = self.inbound.remove(&(peer, stream)) else { return };
        let at = &mut self.conns[conn];
        at.inbound.remove(key);
        at.server.ended(key);
        at.served.remove(&stream);
    }

    /// The process of a peer is gone, and its ends of connections.
    pub(super) fn lose_connections(&mut self, peer: usize) {
        self.current[peer] = None;
        let gone: Vec<_> = self.inbound.keys().filter(|(of, _)| *of == peer).copied().collect();
        gone.into_iter().for_each(|(_, stream)| self.ended_on(peer, stream));
    }

    /// Whether the server of a peer asks for each stream whether there is room. Only its parts do: the
    /// whole machine leaves that to its driver.
    pub(super) fn limits_streams(&self, peer: usize) -> bool {
        self.peers[peer].server.as_ref().is_some_and(SimServer::has_seam)
    }
}
