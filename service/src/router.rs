//! Services without the macro: names of methods with functions.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use pointsub_swarm::ProtocolName;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::call::{Rx, Tx};
use crate::codec::Limits;
use crate::cx::Cx;
use crate::description::{MethodDescription, ServiceDescription};
use crate::error::ServiceError;
use crate::incoming::Incoming;
use crate::service::{Handling, Service};

/// A service of functions, each under the name of a method.
///
/// ```
/// use pointsub_service::{Cx, Failure, ProtocolName, RegisterError, Router, Server, Service, Stub, Tx};
///
/// const COUNT: ProtocolName = ProtocolName::from_static("/count/1");
///
/// async fn double(_cx: Cx, number: u32) -> Result<u32, Failure> {
///     number.checked_mul(2).ok_or_else(|| Failure::new(1, "too large"))
/// }
///
/// async fn up_to(_cx: Cx, last: u32, mut numbers: Tx<u32>) -> Result<(), Failure> {
///     for number in 1..=last {
///         numbers.send(number).await.map_err(|error| Failure::new(2, error.to_string()))?;
///     }
///     Ok(())
/// }
///
/// fn service() -> Router {
///     Router::new(COUNT).method("double", double).server_streaming("up-to", up_to)
/// }
///
/// fn serve(server: &Server) -> Result<(), RegisterError> {
///     service().serve(server)
/// }
///
/// # futures::executor::block_on(async {
/// // In a test, without a network.
/// let client = Stub::local(service());
/// let doubled = client.call::<u32, u32, Failure>("double", 21).await;
/// assert_eq!(doubled.unwrap(), 42);
/// # });
/// ```
#[must_use = "it has no effect until it is served"]
pub struct Router {
    protocol: ProtocolName,
    methods: BTreeMap<&'static str, Box<Run>>,
    limits: Limits,
}

type Run = dyn Fn(Incoming) -> Handling + Send + Sync;

impl Router {
    /// A service of this protocol without methods.
    pub const fn new(protocol: ProtocolName) -> Self {
        Self { protocol, methods: BTreeMap::new(), limits: Limits::DEFAULT }
    }

    /// Sets how much is taken of what callers send.
    pub const fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Adds a method without messages. One that is there under this name is replaced.
    pub fn method<A, T, E, F, Fut>(self, name: &'static str, method: F) -> Self
    where
        A: DeserializeOwned + 'static,
        T: Serialize + Send + 'static,
        E: ServiceError,
        F: Fn(Cx, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let method = Arc::new(method);
        self.with(name, move |call| {
            call.unary(&method, |method, cx, argument| method(cx, argument))
        })
    }

    /// Adds a method that sends messages.
    pub fn server_streaming<A, M, T, E, F, Fut>(self, name: &'static str, method: F) -> Self
    where
        A: DeserializeOwned + 'static,
        M: Serialize + Send + 'static,
        T: Serialize + Send + 'static,
        E: ServiceError,
        F: Fn(Cx, A, Tx<M>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let method = Arc::new(method);
        self.with(name, move |call| {
            call.server_streaming(&method, |method, cx, argument, tx| method(cx, argument, tx))
        })
    }

    /// Adds a method that receives messages.
    pub fn client_streaming<A, M, T, E, F, Fut>(self, name: &'static str, method: F) -> Self
    where
        A: DeserializeOwned + 'static,
        M: DeserializeOwned + Send + 'static,
        T: Serialize + Send + 'static,
        E: ServiceError,
        F: Fn(Cx, A, Rx<M>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let method = Arc::new(method);
        self.with(name, move |call| {
            call.client_streaming(&method, |method, cx, argument, rx| method(cx, argument, rx))
        })
    }

    /// Adds a method with messages in both directions.
    pub fn bidirectional<A, R, M, T, E, F, Fut>(self, name: &'static str, method: F) -> Self
    where
        A: DeserializeOwned + 'static,
        R: DeserializeOwned + Send + 'static,
        M: Serialize + Send + 'static,
        T: Serialize + Send + 'static,
        E: ServiceError,
        F: Fn(Cx, A, Rx<R>, Tx<M>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let method = Arc::new(method);
        self.with(name, move |call| {
            call.bidirectional(&method, |method, cx, argument, rx, tx| method(cx, argument, rx, tx))
        })
    }

    fn with(
        mut self,
        name: &'static str,
        run: impl Fn(Incoming) -> Handling + Send + Sync + 'static,
    ) -> Self {
        self.methods.insert(name, Box::new(run));
        self
    }
}

impl Service for Router {
    fn protocol(&self) -> ProtocolName {
        self.protocol.clone()
    }

    fn description(&self) -> ServiceDescription {
        let methods = self.methods.keys().map(|name| MethodDescription::new(name)).collect();
        ServiceDescription {
            protocol: Cow::Owned(self.protocol.as_str().to_owned()),
            documentation: "",
            methods: Cow::Owned(methods),
        }
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    fn dispatch(&self, method: &str, call: Incoming) -> Handling {
        match self.methods.get(method) {
            Some(run) => run(call),
            None => call.unknown_method(method, &self.description()),
        }
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let methods: Vec<_> = self.methods.keys().collect();
        f.debug_struct("Router")
            .field("protocol", &self.protocol)
            .field("methods", &methods)
            .finish()
    }
}
