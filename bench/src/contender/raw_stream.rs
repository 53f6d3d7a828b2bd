//! `libp2p-stream` by hand: streams are kept and used again, one request at a time on each. No
//! library helps, and none is in the way.

use std::sync::Arc;

use bytes::Bytes;
use futures::io::{AsyncWriteExt, BufReader, BufWriter};
use futures::stream::{self, BoxStream, StreamExt};
use libp2p_identity::PeerId;
use libp2p_stream::Control;
use libp2p_swarm::{Stream, StreamProtocol};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::feed::{Feed, Pace};
use super::{Caller, ECHO, Failure, PUSH, framed, stack};

/// How much of messages that share a write goes into one.
const WRITE: usize = 16 * 1024;

/// Serves on tokio, each stream on a task of its own.
pub(super) async fn serve() -> Result<String, Failure> {
    let behaviour = libp2p_stream::Behaviour::new();
    let mut incoming = behaviour.new_control().accept(StreamProtocol::new(ECHO))?;
    let mut pushed = behaviour.new_control().accept(StreamProtocol::new(PUSH))?;
    let mut swarm = stack::swarm(behaviour)?;
    let address = stack::listen(&mut swarm).await?;
    tokio::spawn(stack::run(swarm));
    tokio::spawn(async move {
        while let Some((_, stream)) = incoming.next().await {
            tokio::spawn(echo(stream));
        }
    });
    tokio::spawn(async move {
        while let Some((_, stream)) = pushed.next().await {
            tokio::spawn(push(stream));
        }
    });
    Ok(address)
}

/// Answers until the stream ends.
async fn echo(mut stream: Stream) {
    while let Ok(body) = framed::read(&mut stream).await {
        if framed::write(&mut stream, &body).await.is_err() {
            return;
        }
    }
}

/// Sends messages until the stream ends. What comes as fast as it is taken shares writes.
async fn push(mut stream: Stream) -> Result<(), Failure> {
    let feed = Feed::decode(&framed::read(&mut stream).await?)?;
    let mut messages = feed.messages();
    let mut stream = BufWriter::with_capacity(WRITE, stream);
    while let Some(message) = messages.next().await {
        stream.write_all(&u32::try_from(message.len())?.to_be_bytes()).await?;
        stream.write_all(&message).await?;
        if feed.pace != Pace::Full {
            stream.flush().await?;
        }
    }
    Ok(())
}

/// Connects to all those servers; streams are opened when they are needed, at most so many to each.
pub(super) async fn connect(addresses: &[&str], streams: usize) -> Result<Vec<Streams>, Failure> {
    let behaviour = libp2p_stream::Behaviour::new();
    let control = behaviour.new_control();
    let mut swarm = stack::swarm(behaviour)?;
    let mut callers = Vec::new();
    for address in addresses {
        let peer = stack::dial(&mut swarm, address).await?;
        let (permits, control) = (Semaphore::new(streams), control.clone().into());
        callers.push(Streams(Arc::new(Pool { idle: Mutex::default(), permits, control, peer })));
    }
    tokio::spawn(stack::run(swarm));
    Ok(callers)
}

/// The streams to one server.
#[derive(Clone)]
pub(super) struct Streams(Arc<Pool>);

struct Pool {
    idle: Mutex<Vec<Stream>>,
    permits: Semaphore,
    /// A server drops streams that come faster than it takes them, without a word: the next one is
    /// opened when the one before has been used.
    control: tokio::sync::Mutex<Control>,
    peer: PeerId,
}

impl Caller for Streams {
    async fn call(&self, body: Bytes) -> Result<Bytes, Failure> {
        let _permit = self.0.permits.acquire().await?;
        let idle = self.0.idle.lock().pop();
        let (stream, answer) = match idle {
            Some(stream) => exchange(stream, &body).await?,
            None => {
                let mut control = self.0.control.lock().await;
                let stream = control.open_stream(self.0.peer, StreamProtocol::new(ECHO)).await?;
                exchange(stream, &body).await?
            }
        };
        self.0.idle.lock().push(stream);
        Ok(answer)
    }

    async fn subscribe(
        &self,
        feed: Feed,
    ) -> Result<BoxStream<'static, Result<Bytes, Failure>>, Failure> {
        let mut control = self.0.control.lock().await;
        let mut stream = control.open_stream(self.0.peer, StreamProtocol::new(PUSH)).await?;
        framed::write(&mut stream, &feed.encode()).await?;
        // Until it is there, the server may drop it without a word.
        let stream = BufReader::with_capacity(WRITE, stream);
        let next = |mut stream| async move {
            let message = framed::read(&mut stream).await?;
            Ok(Some((message, stream)))
        };
        Ok(stream::try_unfold(stream, next).boxed())
    }

    fn streams(&self) -> usize {
        // None is in use between loads.
        self.0.idle.lock().len()
    }
}

async fn exchange(mut stream: Stream, body: &[u8]) -> Result<(Stream, Bytes), Failure> {
    framed::write(&mut stream, body).await?;
    let answer = framed::read(&mut stream).await?;
    Ok((stream, answer))
}
