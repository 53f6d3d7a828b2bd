//! Whom calls go to, and how they are encoded: what generated clients are made of, and what there is
//! without the macro.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

#[cfg(feature = "tower")]
use pointsub_swarm::middleware::{OutgoingCall, OutgoingRequest};
use pointsub_swarm::{Client, PeerId, ProtocolName};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::call::OpenCall;
use crate::call::UnaryCall;
use crate::call::local::Local;
use crate::codec::{Codec, Limits};
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
    Peer(Client, PeerId),
    Closest(Client),
    #[cfg(feature = "tower")]
    Layers(Layers),
    Local {
        service: Arc<dyn Service>,
        caller: PeerId,
        server: PeerId,
    },
}

impl Stub {
    /// Calls the service at this peer.
    #[must_use]
    pub fn peer(client: impl Borrow<Client>, peer: PeerId, protocol: ProtocolName) -> Self {
        let target = Target::Peer(client.borrow().clone(), peer);
        Self { target, protocol, wire: Wire::default() }
    }

    /// Calls the service at the closest of its servers: [`Client::send_closest`].
    #[must_use]
    pub fn closest(client: impl Borrow<Client>, protocol: ProtocolName) -> Self {
        let target = Target::Closest(client.borrow().clone());
        Self { target, protocol, wire: Wire::default() }
    }

    #[cfg(feature = "tower")]
    pub(crate) fn of_layers(layers: Layers, protocol: ProtocolName) -> Self {
        Self { target: Target::Layers(layers), protocol, wire: Wire::default() }
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
        match &self.target {
            Target::Peer(client, peer) => match wire.encode(&arguments) {
                Ok(body) => {
                    let call = client.send(*peer, protocol, body).method(method);
                    let call = call.max_answer(wire.limits.len());
                    UnaryCall::to_peer(call, wire).encoded(wire.codec)
                }
                Err(error) => UnaryCall::failed(error),
            },
            Target::Closest(client) => match wire.encode(&arguments) {
                Ok(body) => {
                    let call = client.send_closest(protocol, body).method(method);
                    let call = call.max_answer(wire.limits.len());
                    UnaryCall::to_closest(call, wire).encoded(wire.codec)
                }
                Err(error) => UnaryCall::failed(error),
            },
            #[cfg(feature = "tower")]
            Target::Layers(layers) => match wire.encode(&arguments) {
                Ok(body) => {
                    let request = OutgoingRequest::new(protocol, body).method(method);
                    let request = request.max_answer(wire.limits.len());
                    UnaryCall::of_layers(layers.request(request), wire).encoded(wire.codec)
                }
                Err(error) => UnaryCall::failed(error),
            },
            Target::Local { service, caller, server } => {
                UnaryCall::local(local(service, method, [*caller, *server], arguments))
            }
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
        match &self.target {
            Target::Peer(client, peer) => match wire.encode(&arguments) {
                Ok(body) => {
                    let call = client.open(*peer, protocol, body).method(method);
                    OpenCall::to_peer(call, wire).encoded(wire.codec)
                }
                Err(error) => OpenCall::failed(error),
            },
            Target::Closest(client) => match wire.encode(&arguments) {
                Ok(body) => {
                    let call = client.open_closest(protocol, body).method(method);
                    OpenCall::to_closest(call, wire).encoded(wire.codec)
                }
                Err(error) => OpenCall::failed(error),
            },
            #[cfg(feature = "tower")]
            Target::Layers(layers) => match wire.encode(&arguments) {
                Ok(body) => {
                    let call = OutgoingCall::new(protocol, body).method(method);
                    OpenCall::of_layers(layers.call(call), wire).encoded(wire.codec)
                }
                Err(error) => OpenCall::failed(error),
            },
            Target::Local { service, caller, server } => {
                OpenCall::local(local(service, method, [*caller, *server], arguments))
            }
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
}

fn local<A: Send + 'static>(
    service: &Arc<dyn Service>,
    method: &str,
    [caller, server]: [PeerId; 2],
    arguments: A,
) -> Local {
    Local {
        service: service.clone(),
        method: method.to_owned(),
        cx: Cx::new(caller),
        server,
        arguments: Box::new(arguments),
        timeout: None,
    }
}

impl fmt::Debug for Stub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut stub = f.debug_struct("Stub");
        stub.field("protocol", &self.protocol).field("codec", &self.wire.codec);
        match &self.target {
            Target::Peer(_, peer) => stub.field("peer", peer).finish(),
            Target::Closest(_) => stub.field("closest", &true).finish(),
            #[cfg(feature = "tower")]
            Target::Layers(_) => stub.field("layers", &true).finish(),
            Target::Local { .. } => stub.field("local", &true).finish(),
        }
    }
}
