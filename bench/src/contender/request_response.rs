//! `libp2p-request-response` with the least of a codec, driven as its users do: a task has the
//! swarm, requests come in through a channel, and each answer goes out through one of its own.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{AsyncRead, AsyncWrite, StreamExt};
use libp2p_identity::PeerId;
use libp2p_request_response::{
    Behaviour, Codec, Config, Event, Message, OutboundRequestId, ProtocolSupport,
};
use libp2p_swarm::{StreamProtocol, Swarm, SwarmEvent};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{Caller, ECHO, Failure, STREAMS, framed, stack};

/// As for the others: what a busy machine needs.
const TIMEOUT: Duration = Duration::from_secs(30);
const QUEUE: usize = 64;

#[derive(Clone, Copy, Default)]
struct Lengths;

impl Codec for Lengths {
    type Protocol = StreamProtocol;
    type Request = Bytes;
    type Response = Bytes;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Bytes>
    where
        T: AsyncRead + Unpin + Send,
    {
        framed::read(io).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Bytes>
    where
        T: AsyncRead + Unpin + Send,
    {
        framed::read(io).await
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        body: Bytes,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        framed::write(io, &body).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        body: Bytes,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        framed::write(io, &body).await
    }
}

fn swarm() -> Result<Swarm<Behaviour<Lengths>>, Failure> {
    // Twice what the client uses at once: the two ends do not forget a stream at the same moment,
    // and one too many is dropped without a word.
    let config =
        Config::default().with_request_timeout(TIMEOUT).with_max_concurrent_streams(2 * STREAMS);
    let names = [(StreamProtocol::new(ECHO), ProtocolSupport::Full)];
    stack::swarm(Behaviour::new(names, config))
}

/// Serves on tokio.
pub(super) async fn serve() -> Result<String, Failure> {
    let mut swarm = swarm()?;
    let address = stack::listen(&mut swarm).await?;
    tokio::spawn(async move {
        loop {
            let event = swarm.select_next_some().await;
            let SwarmEvent::Behaviour(Event::Message { message, .. }) = event else { continue };
            if let Message::Request { request, channel, .. } = message {
                let _gone = swarm.behaviour_mut().send_response(channel, request);
            }
        }
    });
    Ok(address)
}

/// Connects.
pub(super) async fn connect(address: &str) -> Result<impl Caller, Failure> {
    let mut swarm = swarm()?;
    let peer = stack::dial(&mut swarm, address).await?;
    let (requests, inbox) = mpsc::channel(QUEUE);
    tokio::spawn(live(swarm, peer, inbox));
    // Beyond its limit of streams it fails requests, so whoever uses it has to count them.
    Ok(Requests { requests, permits: Arc::new(Semaphore::new(STREAMS)) })
}

#[derive(Clone)]
struct Requests {
    requests: mpsc::Sender<Asked>,
    permits: Arc<Semaphore>,
}

struct Asked {
    body: Bytes,
    done: oneshot::Sender<Result<Bytes, Failure>>,
}

impl Caller for Requests {
    async fn call(&self, body: Bytes) -> Result<Bytes, Failure> {
        let _permit = self.permits.acquire().await?;
        let (done, answer) = oneshot::channel();
        self.requests.send(Asked { body, done }).await?;
        answer.await?
    }
}

async fn live(
    mut swarm: Swarm<Behaviour<Lengths>>,
    peer: PeerId,
    mut inbox: mpsc::Receiver<Asked>,
) {
    let mut waiting: HashMap<OutboundRequestId, oneshot::Sender<_>> = HashMap::new();
    loop {
        let event = tokio::select! {
            asked = inbox.recv() => {
                let Some(Asked { body, done }) = asked else { return };
                waiting.insert(swarm.behaviour_mut().send_request(&peer, body), done);
                continue;
            }
            event = swarm.select_next_some() => event,
        };
        let SwarmEvent::Behaviour(event) = event else { continue };
        let (request, outcome) = match event {
            Event::Message { message: Message::Response { request_id, response }, .. } => {
                (request_id, Ok(response))
            }
            Event::OutboundFailure { request_id, error, .. } => (request_id, Err(error.into())),
            _ => continue,
        };
        if let Some(done) = waiting.remove(&request) {
            let _gone = done.send(outcome);
        }
    }
}
