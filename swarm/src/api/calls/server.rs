//! Calls that peers open.

use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use libp2p_identity::PeerId;
use pointsub_core::connection::CallTerms;
use pointsub_core::endpoint::{GroupId, RegisterError};
use pointsub_core::wire::Credit;
use pointsub_core::{Body, Headers, Metadata, Method, ProtocolName, Status, StatusCode};

use super::channel::Channel;
use super::halves::{CallReceiver, CallSender};
use crate::api::message::{IntoResponse, Reply, Request};
use crate::api::server::error::HandlerError;
use crate::api::server::error_log::ErrorLog;
use crate::api::server::mailbox::Answer;
use crate::api::server::{Handler, Server};

/// How much of a client's messages may wait for a handler.
pub(crate) const WINDOW: Credit = Credit { bytes: 64 * 1024, messages: 32 };
/// How far a window grows, at either end, where the application takes messages faster than it lets them
/// come, unless it has said how large it is.
pub(crate) const LARGEST_WINDOW: Credit = Credit { bytes: 2 * 1024 * 1024, messages: 1024 };

/// A call as its handler gets it.
#[derive(Debug)]
#[non_exhaustive]
pub struct IncomingCall {
    /// Who has opened it; authenticated by the connection.
    pub peer: PeerId,
    /// The network from which it is connected: in IPv4 the /24, in IPv6 the /48. All that come through
    /// relays, or from no IP address, are one network.
    pub network: Option<GroupId>,
    /// Under which protocol.
    pub protocol: ProtocolName,
    /// What is asked for within the protocol.
    pub method: Option<Method>,
    /// What the client says beside the argument.
    pub metadata: Metadata,
    /// The argument.
    pub argument: Bytes,
    /// The cursor behind which the client wants to go on.
    pub resume: Option<Bytes>,
    /// How long the client still waits for the end, if it said so.
    pub remaining: Option<Duration>,
    /// Sends messages to the client.
    pub sender: CallSender,
    /// Receives those of the client.
    pub receiver: CallReceiver,
}

impl IncomingCall {
    /// Accepts the call, and tells the client something before the first message. A handler accepts when
    /// it first sends, receives or waits; one that fails before has refused the call. Whether it was not
    /// accepted before.
    pub fn accept(&self, metadata: Metadata) -> bool {
        self.sender.channel.accept(metadata)
    }

    /// What [accepts](Self::accept) the call, for whoever does not have the call itself.
    #[must_use]
    pub fn acceptor(&self) -> CallAcceptor {
        CallAcceptor(self.sender.channel.clone())
    }
}

/// Accepts a call: [`IncomingCall::acceptor`]. Cheap to clone.
#[derive(Clone)]
pub struct CallAcceptor(Arc<Channel>);

impl CallAcceptor {
    /// Accepts the call, and tells the client something before the first message. Whether it was not
    /// accepted before.
    pub fn accept(&self, metadata: Metadata) -> bool {
        self.0.accept(metadata)
    }
}

impl fmt::Debug for CallAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallAcceptor").finish_non_exhaustive()
    }
}

/// Handles the calls of one protocol. Implemented by every
/// `Fn(IncomingCall) -> impl Future<Output = impl IntoResponse>`. What it returns is the call's result
/// and end.
///
/// When the client cancels, runs out of time, or disappears, the future is dropped.
pub trait CallHandler: Send + Sync + 'static {
    /// Begins to handle a call.
    fn handle(&self, call: IncomingCall) -> BoxFuture<'static, Result<Reply, HandlerError>>;
}

impl<F, Fut> CallHandler for F
where
    F: Fn(IncomingCall) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoResponse> + Send + 'static,
{
    fn handle(&self, call: IncomingCall) -> BoxFuture<'static, Result<Reply, HandlerError>> {
        self(call).map(IntoResponse::into_response).boxed()
    }
}

/// Who handles the calls of a stream, and whose they are.
pub(crate) struct CallService {
    pub(crate) handler: Arc<dyn CallHandler>,
    pub(crate) peer: PeerId,
    pub(crate) network: Option<GroupId>,
    pub(crate) protocol: ProtocolName,
    pub(crate) log: Arc<ErrorLog>,
}

/// A protocol of calls among those of requests.
pub(crate) struct Calls(pub(crate) Arc<dyn CallHandler>);

impl Handler for Calls {
    fn handle(&self, _: Request) -> BoxFuture<'static, Result<Reply, HandlerError>> {
        let status = Status::new(StatusCode::Unimplemented, "the protocol has calls alone");
        futures::future::ready(Err(status.into())).boxed()
    }

    fn calls(&self) -> Option<Arc<dyn CallHandler>> {
        Some(self.0.clone())
    }
}

impl Server {
    /// Serves a protocol of calls: requests with messages beside them, in either direction. Peers that
    /// are not of this library are told that they cannot have them.
    ///
    /// ```
    /// use pointsub_swarm::{IncomingCall, ProtocolName, RegisterError, RequestError, Server};
    ///
    /// fn serve(server: &Server) -> Result<(), RegisterError> {
    ///     const ECHO: ProtocolName = ProtocolName::from_static("/echo-call/1.0.0");
    ///     server.register_call(&ECHO, |call: IncomingCall| async move {
    ///         let IncomingCall { mut sender, mut receiver, .. } = call;
    ///         let mut count = 0;
    ///         while let Some(message) = receiver.recv().await? {
    ///             sender.send(message).await?;
    ///             count += 1;
    ///         }
    ///         Ok::<_, RequestError>(format!("{count} messages"))
    ///     })
    /// }
    /// ```
    ///
    /// # Errors
    /// [`RegisterError`] if the protocol has a handler already, or the server is stopping.
    pub fn register_call(
        &self,
        protocol: &ProtocolName,
        handler: impl CallHandler,
    ) -> Result<(), RegisterError> {
        self.register(protocol, Calls(Arc::new(handler)))
    }
}

/// A handler at work on a call: its future, which accepts the call when it first waits, and the channel.
pub(crate) fn begin(
    service: &Arc<CallService>,
    (argument, headers): (Bytes, Headers),
    terms: &CallTerms,
    remaining: Option<Duration>,
    channel: &Arc<Channel>,
) -> BoxFuture<'static, Answer> {
    let Headers { method, metadata } = headers;
    // A handler may keep it for as long as the call is open, but not the block that it was read in.
    let argument = Bytes::copy_from_slice(&argument);
    let resume = terms.resume.clone();
    let sender = CallSender::new(channel.clone(), true);
    let receiver = CallReceiver::new(channel.clone(), true);
    let call = IncomingCall {
        peer: service.peer,
        network: service.network,
        protocol: service.protocol.clone(),
        method,
        metadata,
        argument,
        resume,
        remaining,
        sender,
        receiver,
    };
    let (service, channel) = (service.clone(), channel.clone());
    // Boxed, or the task would have room for it as long as it lives.
    let call = Box::new(call);
    async move {
        let begun = catch_unwind(AssertUnwindSafe(|| service.handler.handle(*call)));
        let caught = match begun {
            Ok(work) => {
                let mut work = AssertUnwindSafe(work).catch_unwind();
                poll_fn(|cx| {
                    let polled = work.poll_unpin(cx);
                    if polled.is_pending() {
                        channel.accept(Metadata::new());
                    }
                    polled
                })
                .await
            }
            Err(panic) => Err(panic),
        };
        match caught {
            Ok(Ok(reply)) => {
                let (body, metadata) = reply.into_parts();
                Ok(Body::uncompressed(body).with_headers(metadata.into()))
            }
            Ok(Err(error)) => {
                Err(error.tell(&service.log, &service.peer, &service.protocol).into())
            }
            Err(_) => Err(Status::new(StatusCode::Internal, "the handler panicked").into()),
        }
    }
    .boxed()
}
