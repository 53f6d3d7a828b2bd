//! Calls that are opened again when they are lost.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, Stream};
use libp2p_identity::PeerId;
use pointsub_core::endpoint::{ResumePolicy, Resumption};
use pointsub_core::{Metadata, RequestError, Timestamp};

use super::channel::End;
use super::client::StreamingCall;
use super::halves::Message;
use super::open::{Closest, OpenCall, OpenClosest, Unopened, open, open_closest};
use crate::api::client::gone;
use crate::api::client::shared::{ClientShared, seed};
use crate::api::failover::ClosestError;
use crate::api::message::Response;
use crate::clock::Wait;

/// A call that is to be opened, and opened again when it is lost: [`OpenCall::resumable`].
#[must_use = "a call is opened when it is awaited"]
pub struct OpenResumable<E>(BoxFuture<'static, Result<ResumableCall, E>>);

impl<E> Future for OpenResumable<E> {
    type Output = Result<ResumableCall, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_unpin(cx)
    }
}

impl<E> fmt::Debug for OpenResumable<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenResumable").finish_non_exhaustive()
    }
}

impl OpenCall {
    /// A call of which this end only receives messages, and which goes on when its connection breaks,
    /// its server drains, or a better connection to the peer is there: it is opened again behind the last
    /// message with a cursor that was received.
    ///
    /// The handler gives cursors
    /// ([`send_with_cursor`](crate::CallSender::send_with_cursor)) and goes on behind
    /// [`IncomingCall::resume`](crate::IncomingCall::resume). If each message has a cursor, none is
    /// received twice and none is left out, as far as the handler keeps to that. Messages without one
    /// behind the last cursor come again, and a call whose messages have no cursors is not opened again.
    ///
    /// ```no_run
    /// # use pointsub_swarm::{Client, PeerId, ProtocolName, RequestError, ResumePolicy};
    /// # async fn follow(client: &Client, peer: PeerId) -> Result<(), RequestError> {
    /// const LOG: ProtocolName = ProtocolName::from_static("/log/1.0.0");
    /// let mut call = client.open(peer, &LOG, "").resumable(ResumePolicy::default()).await?;
    /// while let Some(line) = call.recv().await? {
    ///     println!("{}", String::from_utf8_lossy(&line));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn resumable(self, policy: ResumePolicy) -> OpenResumable<RequestError> {
        let options = self.receive_only().into_options();
        let opening = async move {
            let (peer, unopened) = options.ok_or_else(gone)?;
            Target::Peer(peer, unopened).start(policy).await
        };
        OpenResumable(opening.boxed())
    }
}

impl OpenClosest {
    /// The same for whichever server of the protocol is the closest when it is opened:
    /// [`OpenCall::resumable`]. The cursors of one have to mean the same to the others.
    pub fn resumable(self, policy: ResumePolicy) -> OpenResumable<ClosestError> {
        let options = self.receive_only().into_options();
        let opening = async move {
            let closest = options.ok_or_else(|| ClosestError::before(gone()))?;
            let first = open_closest(closest.clone()).await?;
            Ok(Target::Closest(closest).started(policy, first))
        };
        OpenResumable(opening.boxed())
    }
}

/// Where a call is opened, and how.
enum Target {
    Peer(PeerId, Unopened),
    Closest(Closest),
}

impl Target {
    async fn start(self, policy: ResumePolicy) -> Result<ResumableCall, RequestError> {
        let first = self.open().await?;
        Ok(self.started(policy, first))
    }

    fn started(mut self, policy: ResumePolicy, first: StreamingCall) -> ResumableCall {
        let elsewhere = matches!(self, Self::Closest(_));
        let (began, shared) = (first.receiving.began, first.receiving.shared.clone());
        let unopened = self.unopened();
        let deadline = unopened.deadline(began);
        let cursor = unopened.resume_later();
        let resumption = Resumption::new(policy, cursor, deadline, seed());
        let mut resumption = if elsewhere { resumption.elsewhere() } else { resumption };
        resumption.opened(shared.clock.now());
        let peer = first.peer();
        let (state, call) = (State::Open, Some(first));
        let (moves, resumed) = (None, 0);
        let target = self;
        ResumableCall { target, shared, deadline, resumption, state, call, moves, peer, resumed }
    }

    const fn unopened(&mut self) -> &mut Unopened {
        match self {
            Self::Peer(_, unopened) => unopened,
            Self::Closest(closest) => &mut closest.unopened,
        }
    }

    fn open(&self) -> Opening {
        match self {
            Self::Peer(peer, unopened) => open(*peer, unopened.clone()).boxed(),
            Self::Closest(closest) => {
                open_closest(closest.clone()).map(|opened| opened.map_err(|e| e.error)).boxed()
            }
        }
    }
}

type Opening = BoxFuture<'static, Result<StreamingCall, RequestError>>;

enum State {
    /// The call is open.
    Open,
    /// It is, and another one is being opened to take its place.
    Moving(Opening),
    /// It was lost for that reason, and is opened again when that time has come.
    Waiting(Wait, RequestError),
    /// It is being opened again.
    Opening(Opening),
    /// It is over.
    Over,
}

/// A call of which this end only receives messages, and which is opened again when it is lost:
/// [`OpenCall::resumable`]. Dropping it cancels it.
///
/// It is a [`Stream`] of the server's messages.
pub struct ResumableCall {
    target: Target,
    shared: Arc<ClientShared>,
    deadline: Option<Timestamp>,
    resumption: Resumption,
    state: State,
    /// The one that is open.
    call: Option<StreamingCall>,
    /// It drains, and moves when that time has come.
    moves: Option<Wait>,
    peer: PeerId,
    resumed: u64,
}

impl ResumableCall {
    /// Who has accepted the call, when it was last opened.
    #[must_use]
    pub const fn peer(&self) -> PeerId {
        self.peer
    }

    /// How often it was accepted again.
    #[must_use]
    pub const fn resumed(&self) -> u64 {
        self.resumed
    }

    /// The last cursor that was received.
    #[must_use]
    pub const fn cursor(&self) -> Option<&Bytes> {
        self.resumption.cursor()
    }

    /// What the handler has said before its first message, when the call was last opened. Empty while it is
    /// lost.
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        self.call.as_ref().map(StreamingCall::metadata).unwrap_or_default()
    }

    /// The next message of the server; `None` if no more come, and from then on. Waits while the call is
    /// opened again. It can be dropped and called again.
    ///
    /// # Errors
    /// Why the call is over: a failure that would be the same the next time, or the last one when it was
    /// tried as often, or for as long, as the policy has it.
    pub async fn recv(&mut self) -> Result<Option<Bytes>, RequestError> {
        Ok(self.recv_message().await?.map(|message| message.body))
    }

    /// The same, with the message's cursor.
    ///
    /// # Errors
    /// Why the call is over.
    pub async fn recv_message(&mut self) -> Result<Option<Message>, RequestError> {
        poll_fn(|cx| self.poll_message(cx)).await.transpose()
    }

    /// Waits for the result. Messages that were not received are thrown away. If the call is lost before
    /// the result is there, nobody knows what it led to, also where the server has said that no more
    /// messages come: it is opened again behind the last cursor.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn finish(mut self) -> Result<Response, RequestError> {
        while self.recv_message().await?.is_some() {}
        poll_fn(|cx| self.poll_result(cx)).await?;
        self.call.take().ok_or_else(gone)?.finish().await
    }

    /// Waits until the call has ended with a result.
    fn poll_result(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RequestError>> {
        loop {
            match ready!(self.poll_any_message(cx)) {
                // The application was told that no more come.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => {
                    let Some(call) = &self.call else { return Poll::Ready(Err(gone())) };
                    let end = ready!(call.receiving.receiver.channel.poll_end(cx));
                    if matches!(end, End::Answered(end) if end.outcome.is_ok()) {
                        return Poll::Ready(Ok(()));
                    }
                    // It was lost since: a failure is the next thing that is received.
                }
            }
        }
    }

    fn poll_message(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Message, RequestError>>> {
        if self.resumption.is_finished() {
            return Poll::Ready(None);
        }
        let message = ready!(self.poll_any_message(cx));
        if message.is_none() {
            self.resumption.finished();
        }
        Poll::Ready(message)
    }

    /// A message, also where it is known that no further ones are wanted.
    fn poll_any_message(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Message, RequestError>>> {
        loop {
            let lost = match &mut self.state {
                State::Open => match self.poll_open(cx) {
                    Poll::Ready(Some(Err(error))) => error,
                    Poll::Pending if matches!(self.state, State::Moving(_)) => continue,
                    polled => return polled,
                },
                State::Moving(opening) => {
                    match ready!(opening.poll_unpin(cx)) {
                        Ok(call) => self.go_on_with(call),
                        Err(_) => self.resumption.stay(),
                    }
                    self.state = State::Open;
                    continue;
                }
                State::Waiting(wait, error) => {
                    ready!(wait.poll_unpin(cx));
                    let (error, now) = (error.clone(), self.shared.clock.now());
                    if self.resumption.is_charged()
                        && !self.shared.with_dispatcher(|d| d.take_retry(now))
                    {
                        let due = self.resumption.postpone(now);
                        if let Some(over) = self.wait_until(due, error) {
                            return Poll::Ready(Some(Err(over)));
                        }
                    } else {
                        self.state = State::Opening(self.open_again());
                    }
                    continue;
                }
                State::Opening(opening) => match ready!(opening.poll_unpin(cx)) {
                    Ok(call) => {
                        self.go_on_with(call);
                        self.state = State::Open;
                        continue;
                    }
                    Err(error) => error,
                },
                State::Over => return Poll::Ready(None),
            };
            self.call = None;
            let due = self.resumption.lost(&lost, self.shared.clock.now());
            if let Some(over) = self.wait_until(due, lost) {
                return Poll::Ready(Some(Err(over)));
            }
        }
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, RequestError>>> {
        let Some(call) = &mut self.call else { return Poll::Ready(None) };
        if let Poll::Ready(received) = call.receiving.receiver.poll_message(cx) {
            if let Some(Ok(message)) = &received {
                self.resumption.took(message.cursor.as_ref());
            }
            return Poll::Ready(received);
        }
        // What has come is taken. What comes from here on comes again if the call moves.
        if self.resumption.may_move() && call.sender.channel.poll_draining(cx).is_ready() {
            let clock = &self.shared.clock;
            if self.moves.is_none() {
                let at = self.resumption.moves_at(clock.now());
                self.moves = at.map(|at| clock.wait_until(at));
            }
            if self.moves.as_mut().is_some_and(|wait| wait.poll_unpin(cx).is_ready()) {
                self.moves = None;
                self.state = State::Moving(self.open_again());
            }
        }
        Poll::Pending
    }

    /// Waits for the next try, or gives up, with the reason.
    fn wait_until(&mut self, due: Option<Timestamp>, error: RequestError) -> Option<RequestError> {
        match due {
            Some(due) => {
                self.state = State::Waiting(self.shared.clock.wait_until(due), error);
                None
            }
            None => {
                self.state = State::Over;
                Some(error)
            }
        }
    }

    fn open_again(&mut self) -> Opening {
        let (cursor, now) = (self.resumption.cursor().cloned(), self.shared.clock.now());
        let remaining = self.deadline.map(|deadline| deadline.since(now));
        self.target.unopened().resume_at(cursor, remaining);
        self.target.open()
    }

    /// The call is open again, perhaps elsewhere. The one before is cancelled.
    fn go_on_with(&mut self, call: StreamingCall) {
        self.peer = call.peer();
        (self.call, self.moves) = (Some(call), None);
        self.resumed += 1;
        self.resumption.opened(self.shared.clock.now());
    }
}

impl Stream for ResumableCall {
    type Item = Result<Bytes, RequestError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let message = ready!(self.poll_message(cx));
        Poll::Ready(message.map(|message| message.map(|message| message.body)))
    }
}

impl fmt::Debug for ResumableCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResumableCall")
            .field("peer", &self.peer)
            .field("resumed", &self.resumed)
            .field("resumption", &self.resumption)
            .finish_non_exhaustive()
    }
}
