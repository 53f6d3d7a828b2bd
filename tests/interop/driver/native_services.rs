//! What this library serves to a peer of the native format. The peer serves the same.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use futures_timer::Delay;
use pointsub_swarm::{
    HandlerError, IncomingCall, Metadata, Method, Reply, Request, RequestError, Server, Status,
    StatusCode,
};
use tokio::sync::watch;

use crate::checks::name;
use crate::native::{Receipts, messages};

/// How many requests are answered together.
pub(crate) const GATHERED: usize = 64;

/// How many handlers were dropped before they returned, or returned because their call had ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stopped(Arc<AtomicUsize>);

impl Stopped {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    fn guard(&self) -> Guard {
        Guard(self.clone())
    }
}

/// Counts the handler that drops it.
struct Guard(Stopped);

impl Guard {
    fn disarm(self) {
        std::mem::forget(self);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::SeqCst);
    }
}

pub(crate) fn serve(server: &Server) -> Stopped {
    let stopped = Stopped::default();
    requests(server, &stopped);
    calls(server, &stopped);
    stopped
}

fn requests(server: &Server, stopped: &Stopped) {
    let echo = |request: Request| async { request.body };
    let fail = |_: Request| async {
        Err::<&[u8], _>(HandlerError::new(7, "no").with_detail(vec![1, 2, 3]))
    };
    let stopped = stopped.clone();
    let slow = move |request: Request| {
        let guard = stopped.guard();
        async move {
            // On whatever runtime the node is.
            Delay::new(Duration::from_millis(number(&request.body) as u64)).await;
            guard.disarm();
            request.body
        }
    };
    let gathering = watch::Sender::new(GATHERED);
    let gather = move |request: Request| {
        let (gathering, turn) = (gathering.clone(), number(&request.body));
        async move {
            let mut answered = gathering.subscribe();
            answered.wait_for(|answered| *answered == turn + 1).await.expect("the sender is here");
            gathering.send_replace(turn);
            request.body
        }
    };
    server.register(&name("echo"), echo).expect("the first");
    server.register(&name("fail"), fail).expect("the first");
    server.register(&name("slow"), slow).expect("the first");
    server.register(&name("status"), status).expect("the first");
    server.register(&name("gather"), gather).expect("the first");
    server.register(&name("mirror"), mirror).expect("the first");
}

fn calls(server: &Server, stopped: &Stopped) {
    server.register_call(&name("count"), count).expect("the first");
    server.register_call(&name("sum"), sum).expect("the first");
    server.register_call(&name("talk"), talk).expect("the first");
    server.register_call(&name("breaks"), breaks).expect("the first");
    server.register_call(&name("hold"), stoppable(stopped, hold)).expect("the first");
    server.register_call(&name("flood"), stoppable(stopped, flood)).expect("the first");
}

fn number(body: &[u8]) -> usize {
    str::from_utf8(body).expect("text").parse().expect("a number")
}

/// Fails with the status that the request names.
async fn status(request: Request) -> Result<Reply, HandlerError> {
    let code = match number(&request.body) {
        2 => StatusCode::NotFound,
        3 => StatusCode::Busy,
        7 => StatusCode::Internal,
        10 => StatusCode::BadRequest,
        12 => StatusCode::Unauthenticated,
        13 => StatusCode::PermissionDenied,
        14 => StatusCode::NoSuchResource,
        other => panic!("status {other} is none of a handler's"),
    };
    Err(Status::new(code, "asked-for").into())
}

/// Returns the metadata of the request, and its method.
async fn mirror(request: Request) -> Result<Reply, HandlerError> {
    let method = request.method.as_ref().map_or("", Method::as_str);
    let mut metadata = Metadata::new();
    for (key, value) in request.metadata.iter() {
        metadata.insert(key, value).expect("it came like this");
    }
    metadata.insert("method", method).expect("a key");
    Ok(Reply::new(request.body).with_metadata(metadata))
}

/// Sends as many messages as the argument says, of the size that it says.
async fn count(call: IncomingCall) -> Result<Reply, HandlerError> {
    let IncomingCall { argument, metadata, mut sender, .. } = call;
    let (count, size) = str::from_utf8(&argument)?.split_once('/').expect("two numbers");
    for message in messages(count.parse()?, size.parse()?, "count,") {
        sender.send(message).await?;
    }
    Ok(Reply::new(argument).with_metadata(metadata))
}

/// Says what it has received.
async fn sum(call: IncomingCall) -> Result<String, HandlerError> {
    let (mut receiver, mut receipts) = (call.receiver, Receipts::default());
    while let Some(message) = receiver.recv().await? {
        receipts.add(&message);
    }
    Ok(receipts.say())
}

/// Sends back what it receives.
async fn talk(call: IncomingCall) -> Result<Reply, RequestError> {
    let IncomingCall { argument, mut sender, mut receiver, .. } = call;
    while let Some(message) = receiver.recv().await? {
        sender.send(message).await?;
    }
    Ok(Reply::new(argument))
}

/// Fails behind three messages.
async fn breaks(call: IncomingCall) -> Result<(), HandlerError> {
    let mut sender = call.sender;
    for message in messages(3, 10, "breaks,") {
        sender.send(message).await?;
    }
    Err(HandlerError::new(7, "no").with_detail(vec![1, 2, 3]))
}

/// Counts the handlers of calls that are dropped.
fn stoppable<F, Fut>(
    stopped: &Stopped,
    handler: F,
) -> impl Fn(IncomingCall) -> BoxFuture<'static, Result<&'static str, HandlerError>> + use<F, Fut>
where
    F: Fn(IncomingCall) -> Fut,
    Fut: Future<Output = Result<&'static str, HandlerError>> + Send + 'static,
{
    let stopped = stopped.clone();
    move |call| {
        let (guard, handled) = (stopped.guard(), handler(call));
        Box::pin(async move {
            let outcome = handled.await;
            // A handler may hear of the end of its call before it is dropped.
            if outcome.is_ok() {
                guard.disarm();
            }
            outcome
        })
    }
}

/// Says that it has begun by a message, and ends when it is told to, or when the server ends.
async fn hold(call: IncomingCall) -> Result<&'static str, HandlerError> {
    let IncomingCall { mut sender, mut receiver, .. } = call;
    sender.send("begun").await?;
    let told = async {
        if receiver.recv().await?.is_none() {
            pending::<()>().await;
        }
        Ok::<_, RequestError>(())
    };
    tokio::select! {
        told = told => told.map(|()| "told").map_err(Into::into),
        () = sender.draining() => {
            sender.send("drains").await?;
            Ok("drained")
        }
    }
}

/// Sends messages until the call ends.
async fn flood(call: IncomingCall) -> Result<&'static str, HandlerError> {
    let mut sender = call.sender;
    loop {
        sender.send(vec![0; 1000]).await?;
    }
}
