//! What a test expects of a client.

use super::ClientScript;
use crate::support::wire::Wire;
use crate::support::{PROTOCOL, join, ms, next, peer, wire};
use bytes::Bytes;
use pointsub_core::endpoint::Offer;
use pointsub_core::{
    Cause, ClientEvent, ClientOutput, ClientStats, ClosestAnswer, ClosestFailure, ClosestId,
    Delivery, Phase, RequestError, RequestId, StreamEvent, StreamId, StreamOp,
};

/// What comes out.
impl ClientScript {
    /// An open to peer 1 under [`PROTOCOL`].
    #[track_caller]
    pub(crate) fn expect_open(&mut self, offer: Offer) -> StreamId {
        self.expect_open_to(1, PROTOCOL, offer)
    }

    #[track_caller]
    pub(crate) fn expect_open_to(&mut self, to: u8, protocol: &str, offer: Offer) -> StreamId {
        self.pump();
        let (stream, whom, what, formats) = next(&mut self.opens, "an open");
        assert_eq!((whom, what.as_str(), formats), (peer(to), protocol, offer));
        stream
    }

    /// An open to one of these peers under [`PROTOCOL`], and to which.
    #[track_caller]
    pub(crate) fn expect_open_either(&mut self, to: &[u8]) -> (StreamId, u8) {
        self.pump();
        let (stream, whom, ..) = next(&mut self.opens, "an open");
        let number = to.iter().find(|n| peer(**n) == whom).expect("one of these");
        (stream, *number)
    }

    /// At `millis` the one open that is under way is given up.
    #[track_caller]
    pub(crate) fn run_to_abandon(&mut self, millis: u64) {
        self.expires_at(millis);
        self.pump();
        next(&mut self.abandons, "an abandoned open");
    }

    #[track_caller]
    pub(crate) fn expect_abandon(&mut self, stream: StreamId) {
        self.pump();
        assert_eq!(next(&mut self.abandons, "an abandoned open"), stream);
    }

    /// Something to be done about a raw stream.
    #[track_caller]
    pub(crate) fn expect_raw(&mut self, output: ClientOutput) {
        self.pump();
        assert_eq!(next(&mut self.raws, "an output of a raw stream"), output);
    }

    /// One write of exactly these frames; it stays outstanding.
    #[track_caller]
    pub(crate) fn expect_write<const N: usize>(&mut self, stream: StreamId, frames: [Wire; N]) {
        self.expect_write_bytes(stream, &join(frames));
    }

    #[track_caller]
    pub(crate) fn expect_write_bytes(&mut self, stream: StreamId, bytes: &[u8]) {
        self.pump();
        let write = self.streams.get_mut(&stream).and_then(|io| io.write.take());
        let write = write.expect("a write");
        let wanted = Bytes::copy_from_slice(bytes);
        assert!(
            write == wanted,
            "{:?}\n instead of {:?}",
            wire::parse(&write),
            wire::parse(&wanted)
        );
    }

    /// One write, whatever it is; it stays outstanding.
    #[track_caller]
    pub(crate) fn expect_some_write(&mut self, stream: StreamId) -> Bytes {
        self.pump();
        let write = self.streams.get_mut(&stream).and_then(|io| io.write.take());
        write.expect("a write")
    }

    /// Exactly these frames, in as many writes as it takes, each confirmed at once.
    #[track_caller]
    pub(crate) fn expect_sent<const N: usize>(&mut self, stream: StreamId, frames: [Wire; N]) {
        let wanted = join(frames);
        let mut sent = Vec::new();
        loop {
            self.pump();
            let Some(io) = self.streams.get_mut(&stream) else { break };
            let Some(write) = io.write.take() else { break };
            sent.extend_from_slice(&write);
            io.outstanding = false;
            self.event(stream, StreamEvent::Written);
            if sent.len() >= wanted.len() {
                break;
            }
        }
        let sent = Bytes::from(sent);
        assert!(sent == wanted, "{:?}\n instead of {:?}", wire::parse(&sent), wire::parse(&wanted));
    }

    #[track_caller]
    pub(crate) fn expect_finish(&mut self, stream: StreamId) {
        self.expect_end(stream, StreamOp::Finish);
    }

    #[track_caller]
    pub(crate) fn expect_reset(&mut self, stream: StreamId) {
        self.expect_end(stream, StreamOp::Reset);
    }

    #[track_caller]
    fn expect_end(&mut self, stream: StreamId, end: StreamOp) {
        self.pump();
        let got = self.streams.get_mut(&stream).and_then(|io| io.end.take());
        assert_eq!(got, Some(end));
    }

    #[track_caller]
    pub(crate) fn expect_event(&mut self) -> ClientEvent {
        self.pump();
        next(&mut self.events, "an event")
    }

    #[track_caller]
    pub(crate) fn expect_response(&mut self, request: RequestId, body: impl Into<Bytes>) {
        match self.expect_event() {
            ClientEvent::Response { request: got, payload } => {
                assert_eq!(got, request);
                assert_eq!(payload.into_bytes(), Ok(body.into()));
            }
            other => panic!("{other:?} instead of a response"),
        }
    }

    /// The failure of a request, as it is.
    #[track_caller]
    pub(crate) fn expect_error(&mut self, request: RequestId) -> RequestError {
        match self.expect_event() {
            ClientEvent::Failed { request: got, error } => {
                assert_eq!(got, request, "{error}");
                error
            }
            other => panic!("{other:?} instead of a failure"),
        }
    }

    #[track_caller]
    pub(crate) fn expect_failed(
        &mut self,
        request: RequestId,
        cause: Cause,
        phase: Phase,
        delivery: Delivery,
    ) {
        let error = self.expect_error(request);
        assert_eq!((&error.cause, error.phase, error.delivery), (&cause, phase, delivery));
    }

    #[track_caller]
    pub(crate) fn expect_closest(
        &mut self,
        call: ClosestId,
    ) -> Result<ClosestAnswer, ClosestFailure> {
        match self.expect_event() {
            ClientEvent::Closest { call: got, outcome } => {
                assert_eq!(got, call);
                outcome
            }
            other => panic!("{other:?} instead of the outcome of a call"),
        }
    }

    #[track_caller]
    pub(crate) fn expect_drained(&mut self) {
        assert_eq!(self.expect_event(), ClientEvent::Drained);
    }

    /// Nothing to do until `millis`.
    #[track_caller]
    pub(crate) fn expect_wait(&mut self, millis: u64) {
        self.expect_quiet();
        assert_eq!(self.pump(), Some(ms(millis)), "the next timer");
    }

    /// Nothing to do ever.
    #[track_caller]
    pub(crate) fn expect_rest(&mut self) {
        self.expect_quiet();
        assert_eq!(self.pump(), None, "the next timer");
    }

    /// Nothing to do that was not expected.
    #[track_caller]
    pub(crate) fn expect_quiet(&mut self) {
        self.pump();
        let left = self.leftovers();
        assert!(left.is_empty(), "unexpected: {left:#?}");
    }

    pub(crate) fn stats(&mut self) -> ClientStats {
        self.pump();
        self.client.stats()
    }
}
