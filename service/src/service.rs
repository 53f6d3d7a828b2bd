//! What a server needs of a service.

use std::borrow::Borrow;
use std::sync::Arc;

use futures::future::BoxFuture;
use pointsub_swarm::{
    CallHandler, Handler, HandlerError, IncomingCall, ProtocolName, RegisterError, Reply, Request,
    Server,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::Limits;
use crate::description::ServiceDescription;
use crate::error::ServiceError;
use crate::incoming::Incoming;

/// The outcome of a method, on its way to the caller.
pub type Handling = BoxFuture<'static, Result<Reply, HandlerError>>;

/// A service that can be served: what [`#[service]`](macro@crate::service) makes of a trait, and what a
/// [`Router`](crate::Router) is.
pub trait Service: Send + Sync + 'static {
    /// Its protocol.
    fn protocol(&self) -> ProtocolName;

    /// What it offers.
    fn description(&self) -> ServiceDescription;

    /// How much is taken of what callers send.
    fn limits(&self) -> Limits {
        Limits::default()
    }

    /// Runs a method.
    fn dispatch(&self, method: &str, call: Incoming) -> Handling;

    /// Serves it from now on: [`Server::register`].
    ///
    /// # Errors
    /// [`RegisterError`] if the protocol has a handler already, or the server is stopping.
    fn serve(self, server: impl Borrow<Server>) -> Result<(), RegisterError>
    where
        Self: Sized,
    {
        let protocol = self.protocol();
        server.borrow().register(&protocol, Served::new(Arc::new(self)))
    }
}

/// What a method may return: a `Result` of a value and an error of the service, of types that travel.
pub trait MethodResult: private::Sealed {
    /// The value.
    type Value: Serialize + DeserializeOwned + Send + 'static;
    /// The error.
    type Error: ServiceError;
}

impl<T, E> MethodResult for Result<T, E>
where
    T: Serialize + DeserializeOwned + Send + 'static,
    E: ServiceError,
{
    type Value = T;
    type Error = E;
}

mod private {
    pub trait Sealed {}
    impl<T, E> Sealed for Result<T, E> {}
}

/// A service as the handler of its protocol, for requests and for calls.
pub(crate) struct Served {
    service: Arc<dyn Service>,
    pub(crate) calls: Arc<Calls>,
    pub(crate) methods: Vec<&'static str>,
}

pub(crate) struct Calls(Arc<dyn Service>);

impl Served {
    pub(crate) fn new(service: Arc<dyn Service>) -> Self {
        let methods = service.description().methods.iter().map(|method| method.name).collect();
        Self { methods, calls: Arc::new(Calls(service.clone())), service }
    }
}

impl Handler for Served {
    fn handle(&self, request: Request) -> Handling {
        let method = request.method.clone();
        let call = Incoming::of_request(request, self.service.limits());
        dispatch(&*self.service, method.as_ref().map(|method| method.as_str()), call)
    }

    fn knows_method(&self, method: &str) -> bool {
        self.methods.contains(&method)
    }

    fn calls(&self) -> Option<Arc<dyn CallHandler>> {
        Some(self.calls.clone())
    }
}

impl CallHandler for Calls {
    fn handle(&self, call: IncomingCall) -> Handling {
        let method = call.method.clone();
        let call = Incoming::of_call(call, self.0.limits());
        dispatch(&*self.0, method.as_ref().map(|method| method.as_str()), call)
    }
}

fn dispatch(
    service: &dyn Service,
    method: Option<&str>,
    call: Result<Incoming, HandlerError>,
) -> Handling {
    match call {
        Ok(call) => service.dispatch(method.unwrap_or_default(), call),
        Err(error) => Box::pin(futures::future::ready(Err(error))),
    }
}
