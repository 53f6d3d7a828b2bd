//! What streams report.

use super::Dispatcher;
use crate::connection::{Report, Slot};
use crate::endpoint::client::state::keys::RouteKey;
use crate::endpoint::client::state::memory::KeepAlive;
use crate::endpoint::client::state::pool::stream::Offer;
use crate::error::{Cause, Phase, RequestError, StatusCode};
use crate::id::{RequestId, StreamId};
use crate::time::Timestamp;
use crate::wire::compress::Payload;
use crate::wire::outcome::Answer;

impl Dispatcher {
    /// Takes in what a stream reports. What a stream reports that is not open is ignored.
    pub fn report(&mut self, stream: StreamId, report: Report, now: Timestamp) {
        self.now = self.now.max(now);
        let Some(pooled) = self.pool.get_mut(stream).filter(|pooled| !pooled.is_opening()) else {
            return;
        };
        let route = pooled.purpose().route;
        match report {
            Report::Answered { request, answer, load } => {
                let first = pooled.note_answer();
                self.note_answer(stream, route, first, load);
                self.on_answer(request, answer);
                self.vacate(stream);
            }
            Report::Accepted { request, load } => {
                let first = pooled.note_answer();
                self.note_answer(stream, route, first, load);
                self.succeed(request, Payload::default());
            }
            Report::Failed { request, error, slot } => {
                self.on_failure(stream, request, error, slot);
            }
            Report::Vacated => {
                pooled.note_sign();
                self.vacate(stream);
            }
            Report::Limit(limit) => {
                pooled.note_limit(limit);
                self.serve(route);
            }
            Report::Draining | Report::Retired => {
                if report == Report::Draining {
                    pooled.note_drained();
                }
                self.drain_stream(stream);
                self.open_needed(route);
            }
            Report::Closed => {
                if pooled.is_ready() {
                    self.end_trial(stream, KeepAlive::CLOSES);
                }
                self.drain_stream(stream);
                self.remove_stream(stream);
            }
        }
        self.finish_drain();
    }

    /// Remembers what an answer says about its peer.
    fn note_answer(&mut self, stream: StreamId, route: RouteKey, first: bool, load: Option<u16>) {
        if !first && load.is_none() {
            return;
        }
        let Some(name) = self.routes.get(route).map(|route| route.name()) else { return };
        if first && let Some(pooled) = self.pool.get(stream) {
            self.memory.learn_format(name, pooled.format());
        }
        if let Some(load) = load {
            self.endpoints.set_load(&name.protocol, &name.peer, load, self.now);
        }
    }

    fn on_answer(&mut self, request: RequestId, answer: Answer) {
        match answer {
            Ok(payload) => self.succeed(request, payload),
            Err((status, delivery)) => {
                let waits = match status.code {
                    StatusCode::Draining => self.requeue(request, delivery),
                    StatusCode::Busy => self.wait_for_window(request, &status, delivery),
                    _ => false,
                };
                if !waits {
                    let error = RequestError::new(Cause::Remote(status), Phase::Answer, delivery);
                    self.fail_try(request, error);
                }
            }
        }
    }

    /// A request has failed on a stream: it moves to another one, is tried again, or fails.
    fn on_failure(&mut self, stream: StreamId, id: RequestId, error: RequestError, slot: Slot) {
        let Some(pooled) = self.pool.get_mut(stream) else { return };
        let signs = self.requests.get(id).map(|request| request.signs());
        let suspicious = match error.cause {
            Cause::TimedOut(_) => true,
            // A handler that is slow for its caller, where others are answered, is no sign.
            Cause::Deadline => slot != Slot::Free && signs == Some(pooled.signs()),
            _ => false,
        };
        if suspicious {
            pooled.note_suspicion();
        }
        let route = pooled.purpose().route;
        let unsupported = error.cause == Cause::Unsupported;
        let moves = Moves {
            gone: slot == Slot::Gone,
            reused: pooled.answered() > 0,
            guessed: unsupported && pooled.purpose().offer != Offer::Both,
            // The stream had closed before the request was put on it.
            untried: slot == Slot::Gone && error.phase == Phase::Connect && !unsupported,
        };
        if unsupported && let Some(route) = self.routes.get(pooled.purpose().route) {
            self.memory.doubt(route.name());
        }
        if moves.gone {
            self.drain_stream(stream);
        }
        self.move_or_fail(id, error, moves);
        if slot != Slot::Taken {
            self.vacate(stream);
        } else if suspicious {
            // What waited for requests on it waits for them no longer.
            self.serve(route);
        }
    }

    fn move_or_fail(&mut self, id: RequestId, error: RequestError, moves: Moves) {
        let Some(request) = self.requests.get_mut(id) else { return };
        if moves.untried {
            request.was_not_tried();
        }
        // A stream may end by chance in the middle of a large request, but not twice.
        let again = matches!(error.cause, Cause::CutShort { .. }) && request.moves() > 0;
        let other = moves.reused || moves.guessed || moves.untried;
        if !(moves.gone && other && !again && self.requeue(id, error.delivery)) {
            self.fail_try(id, error);
        }
    }
}

/// What there is to say about a stream that let a request down: whether another one may do better.
struct Moves {
    /// It is gone.
    gone: bool,
    /// It had answered others.
    reused: bool,
    /// Its format was guessed, and refused.
    guessed: bool,
    /// The request never got onto it.
    untried: bool,
}
