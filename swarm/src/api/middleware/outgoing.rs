//! What clients send, as layers see it.

use std::time::Duration;

use bytes::Bytes;
use libp2p_identity::PeerId;
use pointsub_core::{Headers, Hedge, ProtocolName};

use crate::api::calls::{OpenCall, OpenClosest};
use crate::api::client::{Beside, Call, Client, ClosestCall};
use crate::api::message::Request;

/// A request on its way out, with its options: what [`ToPeer`](super::ToPeer) and
/// [`ToClosest`](super::ToClosest) take. Options are those of [`Call`] and of [`ClosestCall`]; where none is
/// set, the client's [`Policy`](crate::Policy) holds. [`AnyRequest::head`](super::AnyRequest::head) has its
/// method and its metadata.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OutgoingRequest {
    /// Under which protocol.
    pub protocol: ProtocolName,
    /// The body.
    pub body: Bytes,
    /// [`Call::timeout`].
    pub timeout: Option<Duration>,
    /// [`Call::idempotent`].
    pub idempotent: Option<bool>,
    /// [`Call::max_retries`].
    pub max_retries: Option<u32>,
    /// [`Call::max_answer`].
    pub max_answer: Option<usize>,
    /// [`ClosestCall::hedge`]; of no effect to one peer.
    pub hedge: Option<Option<Hedge>>,
    /// [`ClosestCall::key`]; of no effect to one peer.
    pub key: Option<Bytes>,
    /// [`ClosestCall::exclude`]; of no effect to one peer.
    pub exclude: Vec<PeerId>,
    pub(super) beside: Beside,
}

/// A call that is to be opened, with its options: what [`ToPeer`](super::ToPeer) and
/// [`ToClosest`](super::ToClosest) take. Options are those of [`OpenCall`] and of [`OpenClosest`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OutgoingCall {
    /// Under which protocol.
    pub protocol: ProtocolName,
    /// The argument.
    pub argument: Bytes,
    /// [`OpenCall::timeout`].
    pub timeout: Option<Duration>,
    /// [`OpenCall::idle_timeout`].
    pub idle_timeout: Option<Duration>,
    /// [`OpenCall::window`]: messages and bytes.
    pub window: Option<(u32, u32)>,
    /// [`OpenCall::receive_only`].
    pub receive_only: bool,
    /// [`OpenCall::resume`].
    pub resume: Option<Bytes>,
    /// [`OpenCall::idempotent`].
    pub idempotent: bool,
    /// [`OpenClosest::key`]; of no effect to one peer.
    pub key: Option<Bytes>,
    /// [`OpenClosest::exclude`]; of no effect to one peer.
    pub exclude: Vec<PeerId>,
    pub(super) beside: Beside,
}

/// Sets those options of a call that are set here.
macro_rules! set {
    ($call:expr, $from:ident: $($option:ident)*) => {{
        let call = $call;
        $(let call = match $from.$option {
            Some(value) => call.$option(value),
            None => call,
        };)*
        call
    }};
}

/// What both have.
macro_rules! options {
    ($($of:ident)*) => {$(
        impl $of {
            /// The longest time that all of it may take: [`Call::timeout`], [`OpenCall::timeout`].
            #[must_use]
            pub const fn timeout(mut self, timeout: Duration) -> Self {
                self.timeout = Some(timeout);
                self
            }

            /// What is asked for within the protocol: [`Call::method`].
            #[must_use]
            pub fn method(mut self, method: &str) -> Self {
                self.beside.method(method);
                self
            }

            /// Tells the handler a key with its value: [`Call::metadata`].
            #[must_use]
            pub fn metadata(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
                self.beside.metadata(key, value.as_ref());
                self
            }

            /// What the distance of servers is measured from: [`ClosestCall::key`].
            #[must_use]
            pub fn key(mut self, key: &[u8]) -> Self {
                self.key = Some(Bytes::copy_from_slice(key));
                self
            }

            /// Servers that are not asked: [`ClosestCall::exclude`].
            #[must_use]
            pub fn exclude(mut self, nodes: impl IntoIterator<Item = PeerId>) -> Self {
                self.exclude.extend(nodes);
                self
            }
        }
    )*};
}

options!(OutgoingRequest OutgoingCall);

impl OutgoingRequest {
    /// A request with this body, and without options.
    pub fn new(protocol: &ProtocolName, body: impl Into<Bytes>) -> Self {
        Self {
            protocol: protocol.clone(),
            body: body.into(),
            timeout: None,
            idempotent: None,
            max_retries: None,
            max_answer: None,
            hedge: None,
            key: None,
            exclude: Vec::new(),
            beside: Beside::default(),
        }
    }

    /// Whether executing it twice does no harm: [`Call::idempotent`].
    #[must_use]
    pub const fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = Some(idempotent);
        self
    }

    /// How often it is tried again at most: [`Call::max_retries`].
    #[must_use]
    pub const fn max_retries(mut self, max_retries: u32) -> Self {
        self.max_retries = Some(max_retries);
        self
    }

    /// The longest answer in bytes: [`Call::max_answer`].
    #[must_use]
    pub const fn max_answer(mut self, max_answer: usize) -> Self {
        self.max_answer = Some(max_answer);
        self
    }

    /// Asks further servers while one takes long: [`ClosestCall::hedge`].
    #[must_use]
    pub fn hedge(mut self, hedge: impl Into<Option<Hedge>>) -> Self {
        self.hedge = Some(hedge.into());
        self
    }

    pub(super) fn send_to(self, client: &Client, peer: PeerId) -> Call {
        let call = client.send(peer, &self.protocol, self.body).beside(self.beside);
        set!(call, self: timeout idempotent max_retries max_answer)
    }

    pub(super) fn send_to_closest(self, client: &Client) -> ClosestCall {
        let call = client.send_closest(&self.protocol, self.body).beside(self.beside);
        let call = call.exclude(self.exclude);
        let call = set!(call, self: timeout idempotent max_retries max_answer hedge);
        match self.key {
            Some(key) => call.key(&key),
            None => call,
        }
    }
}

/// A request that came in, to be sent on: protocol, body, method, metadata, and the time that was left.
impl From<Request> for OutgoingRequest {
    fn from(request: Request) -> Self {
        let Request { protocol, body, remaining, method, metadata, .. } = request;
        let mut onward = Self::new(&protocol, body);
        onward.timeout = remaining;
        onward.beside = Headers { method, metadata }.into();
        onward
    }
}

impl OutgoingCall {
    /// A call with this argument, and without options.
    pub fn new(protocol: &ProtocolName, argument: impl Into<Bytes>) -> Self {
        Self {
            protocol: protocol.clone(),
            argument: argument.into(),
            timeout: None,
            idle_timeout: None,
            window: None,
            receive_only: false,
            resume: None,
            idempotent: false,
            key: None,
            exclude: Vec::new(),
            beside: Beside::default(),
        }
    }

    /// The call ends if for so long nothing comes and nothing that waits can be sent:
    /// [`OpenCall::idle_timeout`].
    #[must_use]
    pub const fn idle_timeout(mut self, idle: Duration) -> Self {
        self.idle_timeout = Some(idle);
        self
    }

    /// How many messages and bytes of the server may be on their way or wait: [`OpenCall::window`].
    #[must_use]
    pub const fn window(mut self, messages: u32, bytes: u32) -> Self {
        self.window = Some((messages, bytes));
        self
    }

    /// No messages are sent from here: [`OpenCall::receive_only`].
    #[must_use]
    pub const fn receive_only(mut self) -> Self {
        self.receive_only = true;
        self
    }

    /// Goes on behind the message with this cursor: [`OpenCall::resume`].
    #[must_use]
    pub fn resume(mut self, cursor: impl Into<Bytes>) -> Self {
        self.resume = Some(cursor.into());
        self
    }

    /// Whether it does no harm if two handlers get the call: [`OpenCall::idempotent`].
    #[must_use]
    pub const fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = idempotent;
        self
    }

    pub(super) fn open_at(self, client: &Client, peer: PeerId) -> OpenCall {
        let call = client.open(peer, &self.protocol, self.argument).beside(self.beside);
        let call = call.idempotent(self.idempotent);
        let call = set!(call, self: timeout idle_timeout resume);
        let call = match self.window {
            Some((messages, bytes)) => call.window(messages, bytes),
            None => call,
        };
        if self.receive_only { call.receive_only() } else { call }
    }

    pub(super) fn open_at_closest(self, client: &Client) -> OpenClosest {
        let call = client.open_closest(&self.protocol, self.argument).beside(self.beside);
        let call = call.idempotent(self.idempotent).exclude(self.exclude);
        let call = set!(call, self: timeout idle_timeout resume);
        let call = match self.window {
            Some((messages, bytes)) => call.window(messages, bytes),
            None => call,
        };
        let call = match self.key {
            Some(key) => call.key(&key),
            None => call,
        };
        if self.receive_only { call.receive_only() } else { call }
    }
}
