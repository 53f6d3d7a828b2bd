//! Calls that are opened here.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use libp2p_identity::PeerId;
use pointsub_core::connection::CallOpening;
use pointsub_core::wire::{CallRequest, Credit};
use pointsub_core::{
    Body, CallOptions, Metadata, MetadataError, Method, ProtocolName, RequestError, RequestId,
    SendError,
};

use super::channel::{Channel, End};
use super::halves::{CallReceiver, CallSender, Guard, Message};
use crate::api::client::lazy::Lazy;
use crate::api::client::shared::ClientShared;
use crate::api::client::{Client, InFlight, broken, gone};
use crate::api::message::Response;
use crate::peer;

/// How many messages of the server may wait here, unless it is said otherwise.
const MESSAGES: u32 = 32;
/// And how many bytes of them.
const BYTES: u32 = 64 * 1024;

impl Client {
    /// Opens a call: a request with messages beside it, in either direction. Await it for the call, which
    /// is there when a handler of the peer has accepted it; set options before.
    ///
    /// Calls need a peer of this library. Any other refuses them at once, as
    /// [`StatusCode::Unimplemented`](crate::StatusCode::Unimplemented).
    ///
    /// ```no_run
    /// # use pointsub_swarm::{Client, PeerId, ProtocolName, RequestError};
    /// # async fn follow(client: &Client, peer: PeerId) -> Result<(), RequestError> {
    /// const LOG: ProtocolName = ProtocolName::from_static("/log/1.0.0");
    /// let mut call = client.open(peer, &LOG, "from=100").await?;
    /// while let Some(line) = call.recv().await? {
    ///     println!("{}", String::from_utf8_lossy(&line));
    /// }
    /// let result = call.finish().await?;
    /// # let _ = result;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RequestError`], as for a request.
    pub fn open(
        &self,
        peer: PeerId,
        protocol: &ProtocolName,
        argument: impl Into<Bytes>,
    ) -> OpenCall {
        OpenCall(Lazy::New(Unopened {
            shared: self.shared.clone(),
            peer,
            protocol: protocol.clone(),
            request: CallRequest {
                argument: Body::uncompressed(argument.into()).into(),
                credit: Credit::new(BYTES, MESSAGES),
                ..CallRequest::default()
            },
            timeout: None,
            idle: None,
            idempotent: false,
            invalid: None,
        }))
    }
}

/// A call that is to be opened: [`Client::open`].
#[must_use = "a call is opened when it is awaited"]
pub struct OpenCall(Lazy<Unopened, Result<StreamingCall, RequestError>>);

struct Unopened {
    shared: Arc<ClientShared>,
    peer: PeerId,
    protocol: ProtocolName,
    request: CallRequest,
    timeout: Option<Duration>,
    idle: Option<Duration>,
    idempotent: bool,
    invalid: Option<MetadataError>,
}

impl OpenCall {
    /// How many messages and bytes of the server may be on their way or wait here. Default 32 messages
    /// and 64 KiB; 8 KiB at least. A message that is longer comes all the same, alone.
    pub fn window(self, messages: u32, bytes: u32) -> Self {
        self.with(|call| call.request.credit = Credit::new(bytes.max(8192), messages.max(1)))
    }

    /// The longest time that the whole call may take, with the opening. Without it, it may take any
    /// time.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|call| call.timeout = Some(timeout))
    }

    /// The call ends if for so long nothing comes and nothing that waits can be sent. The time in which
    /// this end does not read does not count.
    pub fn idle_timeout(self, idle: Duration) -> Self {
        self.with(|call| call.idle = Some(idle))
    }

    /// What is asked for within the protocol.
    pub fn method(self, method: &str) -> Self {
        self.with(|call| match Method::new(method) {
            Ok(method) => call.request.method = Some(method),
            Err(error) => call.invalid = Some(error),
        })
    }

    /// Tells the handler a key with its value.
    pub fn metadata(self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.with(|call| {
            if let Err(error) = call.request.metadata.insert(key, value.as_ref()) {
                call.invalid = Some(error);
            }
        })
    }

    /// No messages are sent from here, so that the server need not keep room for them.
    pub fn receive_only(self) -> Self {
        self.with(|call| call.request.silent = true)
    }

    /// Goes on behind the message with this cursor of a call that was open before.
    pub fn resume(self, cursor: impl Into<Bytes>) -> Self {
        self.with(|call| call.request.resume = Some(cursor.into()))
    }

    /// Whether it does no harm if two handlers get the call, of which one is told at once to stop. If
    /// so, the call is opened again after failures that may have come behind a handler. Default
    /// `false`.
    pub fn idempotent(self, idempotent: bool) -> Self {
        self.with(|call| call.idempotent = idempotent)
    }

    fn with(mut self, set: impl FnOnce(&mut Unopened)) -> Self {
        self.0.set(set);
        self
    }
}

impl Future for OpenCall {
    type Output = Result<StreamingCall, RequestError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(open, cx)
    }
}

impl fmt::Debug for OpenCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenCall").finish_non_exhaustive()
    }
}

/// A call whose opening drivers find under the request as which it travels.
struct Registered {
    shared: Arc<ClientShared>,
    id: RequestId,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.shared.openings.remove(self.id);
    }
}

async fn open(unopened: Unopened) -> Result<StreamingCall, RequestError> {
    let Unopened { shared, peer, protocol, request, timeout, idle, idempotent, invalid } = unopened;
    if let Some(error) = invalid {
        return Err(SendError::from(error).into());
    }
    let deadline = timeout.map(|timeout| shared.clock.now() + timeout);
    let mut options = CallOptions::default().with_idempotent(idempotent);
    options.deadline = deadline;
    let began = shared.clock.now();
    let channel = Channel::new(request.credit);
    // From here on, whoever gives up the call ends it.
    let guard = Guard(channel.clone());
    let opening = CallOpening { request, deadline, idle };
    let to = peer::to_core(&peer);
    let (id, outcome) = shared.open(&to, protocol.as_str(), (opening, channel.clone()), options)?;
    let registered = Registered { shared: shared.clone(), id };
    let outcome = InFlight::new(shared.clone(), id, outcome, deadline).await;
    drop(registered);
    outcome.ok_or_else(gone)??;
    let sender = CallSender::new(channel.clone(), false);
    let receiver = CallReceiver::new(channel, false).with_guard(guard);
    Ok(StreamingCall { peer, began, shared, sender, receiver })
}

/// A call that a handler of a peer has accepted. Dropping it cancels it: the handler is stopped.
///
/// It is a [`Stream`] of the server's messages.
#[derive(Debug)]
pub struct StreamingCall {
    peer: PeerId,
    began: pointsub_core::Timestamp,
    shared: Arc<ClientShared>,
    sender: CallSender,
    receiver: CallReceiver,
}

impl StreamingCall {
    /// Who has accepted the call.
    #[must_use]
    pub const fn peer(&self) -> PeerId {
        self.peer
    }

    /// What the handler has said before its first message.
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        self.receiver.channel.metadata()
    }

    /// Sends a message when the server takes it.
    ///
    /// # Errors
    /// Why the call is over.
    pub async fn send(&mut self, message: impl Into<Bytes>) -> Result<(), RequestError> {
        self.sender.send(message).await
    }

    /// The next message of the server; `None` if no more come. What came before a failure is received
    /// before it.
    ///
    /// # Errors
    /// Why the call is over.
    pub async fn recv(&mut self) -> Result<Option<Bytes>, RequestError> {
        self.receiver.recv().await
    }

    /// The same, with the message's cursor.
    ///
    /// # Errors
    /// Why the call is over.
    pub async fn recv_message(&mut self) -> Result<Option<Message>, RequestError> {
        self.receiver.recv_message().await
    }

    /// Says that no more messages come from here. The server's still do.
    pub fn finish_sending(&mut self) {
        self.sender.finish();
    }

    /// Waits until the server is shutting down, or the connection is given up for a better one: the
    /// call goes on for a while, and can be opened again elsewhere. Also ready when the call is over.
    pub async fn draining(&self) {
        self.sender.draining().await;
    }

    /// Says that no more messages come from here, and waits for the result. Messages of the server that
    /// were not received are thrown away.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn finish(mut self) -> Result<Response, RequestError> {
        self.sender.finish();
        while self.receiver.recv_message().await?.is_some() {}
        let end = poll_fn(|cx| self.receiver.channel.poll_end(cx)).await;
        let End::Answered(end) = end else { return Err(end.error()) };
        let body = match end.outcome {
            Ok(payload) => payload.into_bytes().map_err(broken)?,
            Err(_) => return Err(End::Answered(end).error()),
        };
        let elapsed = self.shared.clock.now().since(self.began);
        Ok(Response::new(self.peer, body).with_elapsed(elapsed))
    }

    /// Both halves, for two tasks. Dropping the receiver cancels the call; what is
    /// [sent](CallSender::send) after that fails.
    #[must_use]
    pub fn split(self) -> (CallSender, CallReceiver) {
        (self.sender, self.receiver)
    }
}

impl Stream for StreamingCall {
    type Item = Result<Bytes, RequestError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.receiver).poll_next(cx)
    }
}
