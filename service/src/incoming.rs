//! Calls of a service on their way to a method.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::ready;
use pointsub_swarm::{
    CallReceiver, CallSender, HandlerError, IncomingCall, Reply, Request, Status, StatusCode,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::call::local::{LocalCall, Slot};
use crate::call::{Rx, Tx};
use crate::codec::Limits;
use crate::cx::{Acceptor, Cx};
use crate::description::ServiceDescription;
use crate::detail::{codec_of, of_error, of_rejection};
use crate::error::{Never, Rejection, ServiceError};
use crate::service::Handling;
use crate::wire::Wire;

/// A call on its way to a method of a [`Service`](crate::Service).
pub struct Incoming {
    cx: Cx,
    from: Source,
}

/// Where it comes from.
enum Source {
    /// Few calls have messages, and all are moved about until their method runs.
    Network {
        wire: Wire,
        arguments: Bytes,
        halves: Option<Box<(CallSender, CallReceiver)>>,
    },
    Local(LocalCall),
}

/// Where the outcome goes.
enum Destination {
    Network(Wire),
    Local(Slot),
}

/// A method that is given the two halves of its call, as far as it has them.
type Halves<R, S> = (Rx<R>, Tx<S>);

impl Incoming {
    pub(crate) fn of_request(request: Request, limits: Limits) -> Result<Self, HandlerError> {
        let Request { peer, body, remaining, metadata, .. } = request;
        let wire = Wire { codec: codec_of(&metadata)?, limits };
        let from = Source::Network { wire, arguments: body, halves: None };
        Ok(Self { cx: Cx::of(peer, metadata, remaining), from })
    }

    pub(crate) fn of_call(call: IncomingCall, limits: Limits) -> Result<Self, HandlerError> {
        let acceptor = Acceptor::Call(call.acceptor());
        let IncomingCall { peer, network, metadata, argument, resume, remaining, .. } = call;
        let (sender, receiver) = (call.sender, call.receiver);
        let wire = Wire { codec: codec_of(&metadata)?, limits };
        let halves = Some(Box::new((sender, receiver)));
        let from = Source::Network { wire, arguments: argument, halves };
        let cx = Cx::of(peer, metadata, remaining).with_network(network).of_call(acceptor, resume);
        Ok(Self { cx, from })
    }

    pub(crate) const fn of_local(cx: Cx, call: LocalCall) -> Self {
        Self { cx, from: Source::Local(call) }
    }

    /// Runs a method without messages.
    pub fn unary<S, A, T, E, F>(
        self,
        service: &Arc<S>,
        run: impl FnOnce(Arc<S>, Cx, A) -> F,
    ) -> Handling
    where
        A: DeserializeOwned + 'static,
        T: Serialize + Send + 'static,
        E: ServiceError,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let Self { cx, from } = self;
        match from.arguments() {
            Ok((arguments, to)) => {
                let told = cx.clone();
                let outcome = run(service.clone(), cx, arguments);
                outcome.map(move |outcome| to.tell(outcome, &told)).boxed()
            }
            Err(error) => ready(Err(error)).boxed(),
        }
    }

    /// Runs a method that sends messages.
    pub fn server_streaming<S, A, M, T, E, F>(
        self,
        service: &Arc<S>,
        run: impl FnOnce(Arc<S>, Cx, A, Tx<M>) -> F,
    ) -> Handling
    where
        A: DeserializeOwned + 'static,
        M: Serialize + Send + 'static,
        T: Serialize + Send + 'static,
        E: ServiceError,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.streaming(|cx, arguments, (_, sender): Halves<Never, M>| {
            run(service.clone(), cx, arguments, sender)
        })
    }

    /// Runs a method that receives messages.
    pub fn client_streaming<S, A, M, T, E, F>(
        self,
        service: &Arc<S>,
        run: impl FnOnce(Arc<S>, Cx, A, Rx<M>) -> F,
    ) -> Handling
    where
        A: DeserializeOwned + 'static,
        M: DeserializeOwned + Send + 'static,
        T: Serialize + Send + 'static,
        E: ServiceError,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.streaming(|cx, arguments, (receiver, _): Halves<M, Never>| {
            run(service.clone(), cx, arguments, receiver)
        })
    }

    /// Runs a method with messages in both directions.
    pub fn bidirectional<S, A, R, M, T, E, F>(
        self,
        service: &Arc<S>,
        run: impl FnOnce(Arc<S>, Cx, A, Rx<R>, Tx<M>) -> F,
    ) -> Handling
    where
        A: DeserializeOwned + 'static,
        R: DeserializeOwned + Send + 'static,
        M: Serialize + Send + 'static,
        T: Serialize + Send + 'static,
        E: ServiceError,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.streaming(|cx, arguments, (receiver, sender)| {
            run(service.clone(), cx, arguments, receiver, sender)
        })
    }

    fn streaming<A, R, M, T, E, F>(self, run: impl FnOnce(Cx, A, Halves<R, M>) -> F) -> Handling
    where
        A: DeserializeOwned + 'static,
        R: Send + 'static,
        M: Send + 'static,
        T: Serialize + Send + 'static,
        E: ServiceError,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let Self { cx, mut from } = self;
        let begun = from.halves().and_then(|halves| Ok((halves, from.arguments()?)));
        match begun {
            Ok((halves, (arguments, to))) => {
                let told = cx.clone();
                let outcome = run(cx, arguments, halves);
                outcome.map(move |outcome| to.tell(outcome, &told)).boxed()
            }
            Err(error) => ready(Err(error)).boxed(),
        }
    }

    /// Says that the service does not have the method.
    pub fn unknown_method(self, method: &str, service: &ServiceDescription) -> Handling {
        let (protocol, names) = (&service.protocol, service.names());
        let asked = match method {
            "" => "the request names no method".to_owned(),
            method => format!("there is no method {method:?}"),
        };
        let message = format!("{asked} in {protocol}, which has: {names}");
        ready(Err(of_rejection(Rejection::UnknownMethod, message))).boxed()
    }
}

impl Source {
    fn arguments<A: DeserializeOwned + 'static>(self) -> Result<(A, Destination), HandlerError> {
        match self {
            Self::Network { wire, arguments, .. } => match wire.decode(&arguments) {
                Ok(arguments) => Ok((arguments, Destination::Network(wire))),
                Err(error) => Err(of_rejection(Rejection::InvalidArguments, error.to_string())),
            },
            Self::Local(call) => {
                let arguments = call.arguments.downcast().map_err(|_| other_type())?;
                Ok((*arguments, Destination::Local(call.slot)))
            }
        }
    }

    fn halves<R: Send + 'static, M: Send + 'static>(
        &mut self,
    ) -> Result<Halves<R, M>, HandlerError> {
        let not_streaming =
            || of_rejection(Rejection::NotStreaming, "it was called without messages");
        match self {
            Self::Network { wire, halves, .. } => {
                let (sender, receiver) = *halves.take().ok_or_else(not_streaming)?;
                Ok((Rx::of_call(receiver, *wire), Tx::of_call(sender, *wire)))
            }
            Self::Local(call) => {
                let (receiver, sender) = call.halves.take().ok_or_else(not_streaming)?;
                let receiver = receiver.downcast().map_err(|_| other_type())?;
                let sender = sender.downcast().map_err(|_| other_type())?;
                Ok((Rx::of_local(*receiver), Tx::of_local(*sender)))
            }
        }
    }
}

/// A local client that was made by hand has another type than the service.
fn other_type() -> HandlerError {
    Status::new(StatusCode::BadRequest, "a local call with other types than the method has").into()
}

impl Destination {
    fn tell<T, E>(self, outcome: Result<T, E>, cx: &Cx) -> Result<Reply, HandlerError>
    where
        T: Serialize + Send + 'static,
        E: ServiceError,
    {
        match self {
            Self::Network(wire) => match outcome {
                Ok(value) => match wire.encode(&value) {
                    Ok(body) => Ok(Reply::new(body).with_metadata(cx.told())),
                    Err(error) => Err(HandlerError::internal(error)),
                },
                Err(error) => Err(of_error(error, wire.codec)),
            },
            Self::Local(slot) => {
                slot.put(Box::new(outcome) as Box<dyn Any + Send>);
                Ok(Reply::default().with_metadata(cx.told()))
            }
        }
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("cx", &self.cx).finish_non_exhaustive()
    }
}
