//! Whom a call is for: a peer that was named, or the closest server that is found.

use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use pointsub_tokio::middleware::{OutgoingCall, OutgoingRequest, Service};
use pointsub_tokio::{
    Cause, Client, ClosestError, NodeAttempt, PeerId, Phase, RequestError, Response, Source,
    Sources, StreamingCall,
};
use serde_json::{Value, json};

use crate::output::{Output, source_name};

/// Who answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answered {
    pub(super) peer: PeerId,
    /// How it was found, if nobody has named it.
    pub(super) source: Option<Source>,
}

impl Answered {
    /// The values of `peer` and `source` in JSON.
    pub(super) fn values(self) -> [Value; 2] {
        [json!(self.peer.to_string()), json!(self.source.map(source_name))]
    }
}

/// Whom a call is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Whom {
    Peer(PeerId),
    /// The closest server that is found in these places.
    Closest(Sources),
}

/// Sends requests to whom they are for, and remembers who answered first.
#[derive(Debug, Clone)]
pub(super) struct Callee {
    client: Client,
    whom: Whom,
    answered: Arc<OnceLock<Answered>>,
}

impl Callee {
    pub(super) fn new(client: Client, whom: Whom) -> Self {
        Self { client, whom, answered: Arc::default() }
    }

    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    /// Who answered first, if somebody has.
    pub(super) fn answered(&self) -> Option<Answered> {
        self.answered.get().copied()
    }

    /// Tells who was found, where nobody was named.
    pub(super) fn tell(&self, output: Output) {
        if let Some(Answered { peer, source: Some(source) }) = self.answered() {
            output.detail(format_args!("{peer} was found in {source}"));
        }
    }

    fn note(&self, peer: PeerId, source: Option<Source>) {
        let _first = self.answered.set(Answered { peer, source });
    }
}

impl Service<OutgoingRequest> for Callee {
    type Response = Response;
    type Error = RequestError;
    type Future = BoxFuture<'static, Result<Response, RequestError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), RequestError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: OutgoingRequest) -> Self::Future {
        let this = self.clone();
        async move {
            let answer = match this.whom {
                Whom::Peer(peer) => this.client.to_peer(peer).call(request).await?,
                Whom::Closest(asked) => {
                    let called = this.client.to_closest().call(request).await;
                    called.map_err(|error| last(error, asked))?
                }
            };
            this.note(answer.peer(), answer.source());
            Ok(answer)
        }
        .boxed()
    }
}

impl Service<OutgoingCall> for Callee {
    type Response = StreamingCall;
    type Error = RequestError;
    type Future = BoxFuture<'static, Result<StreamingCall, RequestError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), RequestError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: OutgoingCall) -> Self::Future {
        let this = self.clone();
        async move {
            let call = match this.whom {
                Whom::Peer(peer) => this.client.to_peer(peer).call(call).await?,
                Whom::Closest(asked) => {
                    let called = this.client.to_closest().call(call).await;
                    called.map_err(|error| last(error, asked))?
                }
            };
            let of_peer = |attempt: &&NodeAttempt| attempt.node == call.peer();
            let source = call.attempts().iter().rfind(of_peer).map(|attempt| attempt.source);
            this.note(call.peer(), source);
            Ok(call)
        }
        .boxed()
    }
}

/// Why the last server that was asked has failed, or why there was none. The time of the call may be over
/// before that which a server may take to be found: that there was none is the cause then, too.
fn last(error: ClosestError, asked: Sources) -> RequestError {
    let mut error = error.error;
    if error.phase == Phase::Discover && error.cause == Cause::Deadline {
        error.cause = Cause::NoServerFound { asked };
    }
    error
}
