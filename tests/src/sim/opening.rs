//! Streams of the client as they are opened.

use std::time::Duration;

use pointsub_core::endpoint::Offer;
use pointsub_core::{ClientInput, Format, PeerId, ProtocolName, StreamError, StreamId};

use super::Rng;
use super::event::Event;
use super::link::{End, Link, Opener, Pipe, Side};
use super::note::Who;
use super::peer::{CLIENT, peer_id};
use super::streams::lost;
use super::world::{Due, World};
use crate::coverage::Situation;
use crate::scenario::Refusal;

impl World {
    /// A stream that a peer accepts, or will.
    pub(super) fn new_link(
        &mut self,
        peer: usize,
        opener: Opener,
        protocol: ProtocolName,
        format: Format,
    ) -> u32 {
        let number = self.next_link;
        self.next_link += 1;
        let nth = self.peers[peer].opened;
        self.peers[peer].opened += 1;
        let rng = |side: u64| Rng::of(self.scenario.seed, &[peer as u64, nth, side]);
        let (to_server, to_client) = (Pipe::new(rng(1)), Pipe::new(rng(2)));
        let conn = match opener {
            Opener::Client(_) => Some(self.connection_to(peer)),
            Opener::Intruder(_) => None,
        };
        let link = Link {
            peer,
            opener,
            conn,
            protocol,
            format,
            end: End::Opening,
            to_server,
            to_client,
            reset_after: None,
            broken: false,
            answers: 0,
        };
        self.links.insert(number, link);
        number
    }

    pub(super) fn open(
        &mut self,
        stream: StreamId,
        to: PeerId,
        protocol: ProtocolName,
        offer: Offer,
    ) {
        let peer = self.number_of(&to);
        let native = self.peers[peer].kind.is_native();
        let format = match offer {
            Offer::Both if native => Format::Native,
            Offer::Both => Format::Plain,
            Offer::Only(format) => {
                self.hit(Situation::OffersOne);
                format
            }
        };
        let link = self.new_link(peer, Opener::Client(stream), protocol, format);
        if let Some(conn) = self.links[&link].conn {
            self.opening_on(conn);
        }
        if self.by_client.insert(stream, link).is_some() {
            self.emit(&Event::Confused("a stream is opened twice"));
        }
        self.note(Who::Client, "opens stream {a} to peer {b}", link.into(), peer as u64);
        self.emit(&Event::Opening { link });
        let mut pause = self.delay(link, Side::Server);
        if let Some((by, until)) = self.peers[peer].slow_opens
            && self.now < until
        {
            pause += Duration::from_millis(by.into());
        }
        self.after(pause, Due::Opened(link));
    }

    /// How long something takes in one direction.
    pub(super) fn delay(&mut self, number: u32, to: Side) -> Duration {
        let Some(link) = self.links.get_mut(&number) else { return Duration::ZERO };
        let plan = &self.peers[link.peer].plan.link;
        let (latency, jitter) = (plan.latency, plan.jitter);
        Duration::from_micros(latency.into()) + link.pipe(to).rng.micros(jitter)
    }

    /// A stream has come to its peer.
    pub(super) fn opened(&mut self, number: u32) {
        let Some(link) = self.links.get(&number) else { return };
        let Some(stream) = link.at_client() else { return };
        let (peer, protocol, format) = (link.peer, link.protocol.clone(), link.format);
        let conn = link.conn;
        let at = &self.peers[peer];
        let blocked = at.blocked_until(Side::Server).max(at.blocked_until(Side::Client));
        if self.now < blocked {
            return self.schedule(blocked, Due::Opened(number));
        }
        let refusal = match at.refuses {
            Some((how, until)) if self.now < until => Some((how, until)),
            _ if at.down => Some((Refusal::Unreachable, self.now)),
            _ if format == Format::Native && !at.kind.is_native() => {
                Some((Refusal::Unsupported, self.now))
            }
            _ => None,
        };
        let error = match refusal {
            None => None,
            Some((Refusal::Silence, until)) => return self.schedule(until, Due::Opened(number)),
            Some((Refusal::Unreachable, _)) => Some(StreamError::Unreachable("refused".into())),
            Some((Refusal::Unsupported, _)) => Some(StreamError::Unsupported),
            Some((Refusal::Lost, _)) => Some(lost("the connection broke")),
        };
        if let Some(error) = error {
            self.note(Who::Peer(peer), "does not take stream {a}", number.into(), 0);
            return self.fail_open(number, error);
        }
        self.note(Who::Peer(peer), "takes stream {a}", number.into(), 0);
        self.accept(number, peer_id(CLIENT), &protocol, format);
        self.emit(&Event::Opened { link: number, format });
        self.client.handle_input(ClientInput::Opened(stream, format), self.client_now());
        if let Some(conn) = conn {
            self.opened_on(conn, stream);
        }
    }

    pub(super) fn fail_open(&mut self, number: u32, error: StreamError) {
        let Some(stream) = self.links.get(&number).and_then(Link::at_client) else { return };
        self.forget(number);
        self.emit(&Event::Gone { link: number });
        self.client.handle_input(ClientInput::OpenFailed(stream, error), self.client_now());
    }
}
