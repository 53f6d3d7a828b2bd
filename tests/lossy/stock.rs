//! `libp2p-request-response` over `libp2p-quic`, with the settings that these crates have by themselves, and
//! time enough for each request.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p_core::Transport as _;
use libp2p_core::muxing::StreamMuxerBox;
use libp2p_identity::Keypair;
use libp2p_request_response::{
    Behaviour, Codec, Config, Event, Message, OutboundRequestId, ProtocolSupport,
};
use libp2p_swarm::{StreamProtocol, Swarm, SwarmEvent};
use pointsub_swarm::{Bytes, Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot};

use crate::Caller;

const TIMEOUT: Duration = Duration::from_secs(60);
const LONGEST: u64 = 32 * 1024 * 1024;
const ECHO: &str = "/echo/1.0.0";

/// A message is all that comes on a stream.
#[derive(Clone, Copy, Default)]
struct Whole;

async fn read(io: &mut (impl AsyncRead + Unpin + Send)) -> io::Result<Bytes> {
    let mut body = Vec::new();
    io.take(LONGEST).read_to_end(&mut body).await?;
    Ok(body.into())
}

impl Codec for Whole {
    type Protocol = StreamProtocol;
    type Request = Bytes;
    type Response = Bytes;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Bytes>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Bytes>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
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
        io.write_all(&body).await
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
        io.write_all(&body).await
    }
}

fn swarm() -> Swarm<Behaviour<Whole>> {
    let key = Keypair::generate_ed25519();
    let transport = libp2p_quic::tokio::Transport::new(libp2p_quic::Config::new(&key));
    let transport = transport.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))).boxed();
    let names = [(StreamProtocol::new(ECHO), ProtocolSupport::Full)];
    let behaviour = Behaviour::new(names, Config::default().with_request_timeout(TIMEOUT));
    let config = libp2p_swarm::Config::with_executor(|future| drop(tokio::spawn(future)))
        .with_idle_connection_timeout(Duration::from_secs(3600));
    Swarm::new(transport, behaviour, key.public().to_peer_id(), config)
}

/// Serves an echo, and returns where.
pub(crate) async fn serve() -> Multiaddr {
    let mut swarm = swarm();
    let at = "/ip4/127.0.0.1/udp/0/quic-v1".parse().expect("an address");
    swarm.listen_on(at).expect("a free port");
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address.with_p2p(*swarm.local_peer_id()).expect("no other peer's");
        }
    };
    tokio::spawn(async move {
        loop {
            let event = swarm.select_next_some().await;
            let SwarmEvent::Behaviour(Event::Message { message, .. }) = event else { continue };
            if let Message::Request { request, channel, .. } = message {
                _ = swarm.behaviour_mut().send_response(channel, request);
            }
        }
    });
    address
}

type Asked = (Bytes, oneshot::Sender<Result<Bytes, String>>);

/// A client's side.
#[derive(Clone)]
pub(crate) struct Stock {
    requests: mpsc::Sender<Asked>,
}

impl Stock {
    pub(crate) async fn connect(address: Multiaddr) -> Self {
        let mut swarm = swarm();
        swarm.dial(address).expect("a dial");
        let peer = loop {
            match swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { peer_id, .. } => break peer_id,
                SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{error}"),
                _ => {}
            }
        };
        let (requests, inbox) = mpsc::channel(64);
        tokio::spawn(live(swarm, peer, inbox));
        Self { requests }
    }
}

impl Caller for Stock {
    async fn call(&self, body: Bytes) -> Result<Bytes, String> {
        let (done, answer) = oneshot::channel();
        self.requests.send((body, done)).await.map_err(|error| error.to_string())?;
        answer.await.map_err(|error| error.to_string())?
    }
}

async fn live(swarm: Swarm<Behaviour<Whole>>, peer: PeerId, inbox: mpsc::Receiver<Asked>) {
    let (mut swarm, mut inbox) = (swarm, inbox);
    let mut waiting: HashMap<OutboundRequestId, oneshot::Sender<_>> = HashMap::new();
    loop {
        let event = tokio::select! {
            asked = inbox.recv() => {
                let Some((body, done)) = asked else { return };
                waiting.insert(swarm.behaviour_mut().send_request(&peer, body), done);
                continue;
            }
            event = swarm.select_next_some() => event,
        };
        let (request, outcome) = match event {
            SwarmEvent::Behaviour(Event::Message {
                message: Message::Response { request_id, response },
                ..
            }) => (request_id, Ok(response)),
            SwarmEvent::Behaviour(Event::OutboundFailure { request_id, error, .. }) => {
                (request_id, Err(error.to_string()))
            }
            _ => continue,
        };
        if let Some(done) = waiting.remove(&request) {
            _ = done.send(outcome);
        }
    }
}
