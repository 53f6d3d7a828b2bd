//! Whom calls go to, and how they are encoded: what generated clients are made of, and what there is
//! without the macro.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
#[cfg(feature = "tower")]
use pointsub_swarm::middleware::{OutgoingCall, OutgoingRequest};
use pointsub_swarm::{Client, PeerId, ProtocolName};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::local::Local;
use super::open::{self, OpenCall};
use super::unary::{self, UnaryCall};
use crate::codec::{Codec, CodecError, Limits};
use crate::cx::Cx;
use crate::error::{Never, ServiceError};
#[cfg(feature = "tower")]
use crate::middleware::Layers;
use crate::service::Service;
use crate::wire::Wire;

/// Calls methods of a service, by name. Cheap to clone. It is made of a [`Client`] or of a reference to one.
///
/// ```
/// use pointsub_service::{Client, Failure, PeerId, ProtocolName, Stub};
/// use serde::{Deserialize, Serialize};
///
/// const GREET: ProtocolName = ProtocolName::from_static("/greet/1");
///
/// #[derive(Serialize)]
/// struct Hello {
///     name: String,
/// }
///
/// #[derive(Deserialize)]
/// struct Greeting {
///     text: String,
/// }
///
/// async fn greet(client: &Client, peer: PeerId) -> Result<String, Box<dyn std::error::Error>> {
///     let hello = Hello { name: "bob".to_owned() };
///     let greeter = Stub::peer(client, peer, GREET);
///     let greeting = greeter.call::<Hello, Greeting, Failure>("hello", hello).await?;
///     Ok(greeting.text)
/// }
/// ```
///
/// The arguments of a method of a trait travel as one structure with their names: `Hello` is what
/// `async fn hello(&self, cx: &Cx, name: String) -> Result<Greeting, Failure>` takes.
#[derive(Clone)]
pub struct Stub {
    target: Target,
    protocol: ProtocolName,
    wire: Wire,
}

#[derive(Clone)]
enum Target {
    Remote(Remote),
    Local { service: Arc<dyn Service>, caller: PeerId, server: PeerId },
}

/// A service that is reached through a client.
#[derive(Clone)]
enum Remote {
    Peer(Client, PeerId),
    Closest(Client),
    #[cfg(feature = "tower")]
    Layers(Layers),
}

/// A call as it leaves.
enum Outgoing<'a> {
    /// With its encoded arguments.
    Remote(&'a Remote, Bytes),
    Local(Local),
    /// Its arguments cannot be encoded.
    Failed(CodecError),
}

impl Stub {
    /// Calls the service at this peer.
    #[must_use]
    pub fn peer(client: impl Borrow<Client>, peer: PeerId, protocol: ProtocolName) -> Self {
        Self::remote(Remote::Peer(client.borrow().clone(), peer), protocol)
    }

    /// Calls the service at the closest of its servers: [`Client::send_closest`].
    #[must_use]
    pub fn closest(client: impl Borrow<Client>, protocol: ProtocolName) -> Self {
        Self::remote(Remote::Closest(client.borrow().clone()), protocol)
    }

    #[cfg(feature = "tower")]
    pub(crate) fn of_layers(layers: Layers, protocol: ProtocolName) -> Self {
        Self::remote(Remote::Layers(layers), protocol)
    }

    fn remote(remote: Remote, protocol: ProtocolName) -> Self {
        Self { target: Target::Remote(remote), protocol, wire: Wire::default() }
    }

    /// Calls a service in the same program, for tests. There is no network, and nothing is encoded: the
    /// types of arguments, messages and results have to be those of the service.
    #[must_use]
    pub fn local(service: impl Service) -> Self {
        let (protocol, service) = (service.protocol(), Arc::new(service));
        let (caller, server) = (PeerId::random(), PeerId::random());
        let target = Target::Local { service, caller, server };
        Self { target, protocol, wire: Wire::default() }
    }

    /// Who calls, where the service is local. Otherwise that is the node of the client.
    #[must_use]
    pub const fn as_caller(mut self, peer: PeerId) -> Self {
        if let Target::Local { caller, .. } = &mut self.target {
            *caller = peer;
        }
        self
    }

    /// Encodes calls like this from now on. Default: [`Codec::Cbor`].
    #[must_use]
    pub const fn with_codec(mut self, codec: Codec) -> Self {
        self.wire.codec = codec;
        self
    }

    /// Sets how much is taken of what servers answer.
    #[must_use]
    pub const fn with_limits(mut self, limits: Limits) -> Self {
        self.wire.limits = limits;
        self
    }

    /// Calls a method without messages. Await it for the result; set options before.
    pub fn call<A, T, E>(&self, method: &str, arguments: A) -> UnaryCall<T, E>
    where
        A: Serialize + Send + 'static,
        T: DeserializeOwned + Send + 'static,
        E: ServiceError,
    {
        let (protocol, wire) = (&self.protocol, self.wire);
        let most = wire.limits.len();
        match self.outgoing(method, arguments) {
            Outgoing::Remote(Remote::Peer(client, peer), body) => {
                let call = client.send(*peer, protocol, body).method(method).max_answer(most);
                UnaryCall::new(unary::State::Peer(call, wire)).encoded(wire.codec)
            }
            Outgoing::Remote(Remote::Closest(client), body) => {
                let call = client.send_closest(protocol, body).method(method).max_answer(most);
                UnaryCall::new(unary::State::Closest(call, wire)).encoded(wire.codec)
            }
            #[cfg(feature = "tower")]
            Outgoing::Remote(Remote::Layers(layers), body) => {
                let request = OutgoingRequest::new(protocol, body).method(method).max_answer(most);
                UnaryCall::new(unary::State::Layers(layers.request(request), wire))
                    .encoded(wire.codec)
            }
            Outgoing::Local(call) => UnaryCall::new(unary::State::Local(Box::new(call))),
            Outgoing::Failed(error) => UnaryCall::new(unary::State::Failed(error)),
        }
    }

    /// Calls a method with messages: `S` are sent from here, and `R` come from the server. Await it for the
    /// open call; set options before.
    pub fn open<A, S, R, T, E>(&self, method: &str, arguments: A) -> OpenCall<S, R, T, E>
    where
        A: Serialize + Send + 'static,
        S: Send + 'static,
        R: Send + 'static,
        T: DeserializeOwned + Send + 'static,
        E: ServiceError,
    {
        let (protocol, wire) = (&self.protocol, self.wire);
        match self.outgoing(method, arguments) {
            Outgoing::Remote(Remote::Peer(client, peer), body) => {
                let call = client.open(*peer, protocol, body).method(method);
                OpenCall::new(open::State::Peer(call, wire)).encoded(wire.codec)
            }
            Outgoing::Remote(Remote::Closest(client), body) => {
                let call = client.open_closest(protocol, body).method(method);
                OpenCall::new(open::State::Closest(call, wire)).encoded(wire.codec)
            }
            #[cfg(feature = "tower")]
            Outgoing::Remote(Remote::Layers(layers), body) => {
                let call = OutgoingCall::new(protocol, body).method(method);
                OpenCall::new(open::State::Layers(layers.call(call), wire)).encoded(wire.codec)
            }
            Outgoing::Local(call) => OpenCall::new(open::State::Local(Box::new(call))),
            Outgoing::Failed(error) => OpenCall::new(open::State::Failed(error)),
        }
    }

    /// The same for a method to which no messages are sent.
    pub fn watch<A, R, T, E>(&self, method: &str, arguments: A) -> OpenCall<Never, R, T, E>
    where
        A: Serialize + Send + 'static,
        R: Send + 'static,
        T: DeserializeOwned + Send + 'static,
        E: ServiceError,
    {
        self.open(method, arguments).receive_only()
    }

    fn outgoing<A>(&self, method: &str, arguments: A) -> Outgoing<'_>
    where
        A: Serialize + Send + 'static,
    {
        match &self.target {
            Target::Remote(remote) => match self.wire.encode(&arguments) {
                Ok(body) => Outgoing::Remote(remote, body),
                Err(error) => Outgoing::Failed(error),
            },
            Target::Local { service, caller, server } => Outgoing::Local(Local {
                service: service.clone(),
                method: method.to_owned(),
                cx: Cx::new(*caller),
                server: *server,
                arguments: Box::new(arguments),
                timeout: None,
            }),
        }
    }
}

impl fmt::Debug for Stub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut stub = f.debug_struct("Stub");
        stub.field("protocol", &self.protocol).field("codec", &self.wire.codec);
        match &self.target {
            Target::Remote(Remote::Peer(_, peer)) => stub.field("peer", peer).finish(),
            Target::Remote(Remote::Closest(_)) => stub.field("closest", &true).finish(),
            #[cfg(feature = "tower")]
            Target::Remote(Remote::Layers(_)) => stub.field("layers", &true).finish(),
            Target::Local { .. } => stub.field("local", &true).finish(),
        }
    }
}
