//! Raw streams: nothing but their beginnings and ends, since no machine sees their bytes.

use std::time::Duration;

use pointsub_core::endpoint::StreamKey;
use pointsub_core::{
    ClientInput, Delivery, DialId, PeerId, ProtocolName, RequestError, StreamError, Timestamp,
};

use super::event::Event;
use super::note::Who;
use super::peer::{CLIENT, peer_id};
use super::streams::lost;
use super::world::{Due, World};
use crate::coverage::Situation;
use crate::scenario::Refusal;

/// A raw stream, from the application's wish to its end.
#[derive(Debug, Default)]
pub struct RawLink {
    /// Who was dialled, once the client has said so.
    to: Option<(PeerId, ProtocolName)>,
    /// The peer's number and the server's name for it, once it is open.
    at_server: Option<(usize, StreamKey)>,
    open: bool,
}

impl RawLink {
    /// Whether it counts at the server of a peer.
    #[must_use]
    pub fn is_at(&self, peer: usize) -> bool {
        self.at_server.is_some_and(|(number, _)| number == peer)
    }
}

impl World {
    /// The application dials.
    pub(super) fn dial(
        &mut self,
        peer: usize,
        protocol: &str,
        deadline: Option<Timestamp>,
        life: Duration,
    ) {
        let now = self.client_now();
        match self.client.dial(&self.peers[peer].id, protocol, deadline, now) {
            Ok(dial) => {
                self.note(Who::Client, "dials peer {a}", peer as u64, 0);
                self.raws.insert(dial, RawLink::default());
                self.after(life, Due::HangUp(dial));
            }
            Err(_) => self.note(Who::Client, "does not dial peer {a}", peer as u64, 0),
        }
    }

    /// The client wants a raw stream.
    pub(super) fn open_raw(&mut self, dial: DialId, peer: PeerId, protocol: ProtocolName) {
        let number = self.number_of(&peer);
        let plan = self.peers[number].plan.link.clone();
        let Some(link) = self.raws.get_mut(&dial) else {
            // It was hung up before the client was asked what it wants.
            return;
        };
        if link.to.replace((peer, protocol)).is_some() {
            self.emit(&Event::Confused("a raw stream is opened twice"));
        }
        let mut draw = self.draw(&[13, number as u64, self.now.as_nanos()]);
        let pause = Duration::from_micros(plan.latency.into()) + draw.micros(plan.jitter);
        self.after(pause, Due::Dialed(dial));
    }

    pub(super) fn raw_arrives(&mut self, dial: DialId) {
        let Some((peer, protocol)) = self.raws.get(&dial).and_then(|link| link.to.clone()) else {
            return;
        };
        let number = self.number_of(&peer);
        let now = self.peer_now(number);
        let accepted = match self.peers[number].refuses {
            Some((Refusal::Silence, until)) if self.now < until => {
                return self.schedule(until, Due::Dialed(dial));
            }
            Some((_, until)) if self.now < until => None,
            _ => {
                let server = self.peers[number].server.as_mut();
                server.and_then(|s| s.accept_raw(peer_id(CLIENT), &protocol, now).ok())
            }
        };
        let input = match accepted {
            Some(key) => {
                if let Some(link) = self.raws.get_mut(&dial) {
                    link.at_server = Some((number, key));
                }
                self.note(Who::Peer(number), "takes a raw stream", 0, 0);
                ClientInput::Dialed(dial)
            }
            None => {
                let error: StreamError = lost("refused");
                self.note(Who::Peer(number), "does not take a raw stream", 0, 0);
                ClientInput::DialFailed(dial, error)
            }
        };
        self.client.handle_input(input, self.client_now());
    }

    /// The client says that a raw stream is open.
    pub(super) fn raw_is_open(&mut self, dial: DialId) {
        let Some(link) = self.raws.get_mut(&dial) else {
            return self.emit(&Event::Confused("a raw stream is open that nobody wants"));
        };
        if std::mem::replace(&mut link.open, true) {
            self.emit(&Event::Confused("a raw stream is open twice"));
        }
        self.hit(Situation::RawOpened);
    }

    /// The client says that there will be no raw stream.
    pub(super) fn raw_failed(&mut self, dial: DialId, error: &RequestError) {
        if error.delivery != Delivery::NotProcessed {
            self.emit(&Event::Confused("a raw stream cannot be processed"));
        }
        if self.raws.get(&dial).is_some_and(|link| link.open) {
            self.emit(&Event::Confused("a raw stream fails to open after it was open"));
        }
        self.hit(Situation::RawRefused);
        self.end_raw(dial);
    }

    /// Both ends of a raw stream are dropped, on whatever side it began.
    pub(super) fn end_raw(&mut self, dial: DialId) {
        let Some(link) = self.raws.remove(&dial) else { return };
        self.told = true;
        self.client.hang_up(dial, self.client_now());
        if let Some((peer, key)) = link.at_server {
            let now = self.peer_now(peer);
            if let Some(server) = &mut self.peers[peer].server {
                server.close_raw(key, now);
            }
        }
    }

    /// A server does not wait any longer.
    pub(super) fn server_hangs_up(&mut self, number: usize, key: StreamKey) {
        let at = Some((number, key));
        let dial = self.raws.iter().find(|(_, link)| link.at_server == at).map(|(dial, _)| *dial);
        if let Some(dial) = dial {
            self.end_raw(dial);
        }
    }
}
