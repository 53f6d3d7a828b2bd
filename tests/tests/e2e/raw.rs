//! A libp2p peer without this library, whose bare streams a test reads and writes by hand.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::channel::{mpsc, oneshot};
use futures::future::BoxFuture;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt};
use libp2p_core::transport::PortUse;
use libp2p_core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p_core::{Endpoint, Multiaddr};
use libp2p_identity::{Keypair, PeerId};
use libp2p_swarm::behaviour::FromSwarm;
use libp2p_swarm::dial_opts::DialOpts;
use libp2p_swarm::handler::{
    ConnectionEvent, ConnectionHandlerEvent, DialUpgradeError, FullyNegotiatedInbound,
    FullyNegotiatedOutbound,
};
use libp2p_swarm::{
    Config, ConnectionDenied, ConnectionHandler, ConnectionId, NetworkBehaviour, NotifyHandler,
    Stream, StreamProtocol, SubstreamProtocol, Swarm, SwarmEvent, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use pointsub_swarm::{Runtime, Security};

use crate::common::loopback;
use crate::support::rt;

/// The names of `echo` on the wire.
pub(crate) const PLAIN: &str = "/echo/1.0.0";
pub(crate) const NATIVE: &str = "/pointsub/1/echo/1.0.0";

pub(crate) const SETTINGS: u8 = 1;
pub(crate) const REQUEST: u8 = 2;
pub(crate) const RESPONSE: u8 = 3;
pub(crate) const DRAIN: u8 = 5;

/// What a raw peer does with a stream that was opened to it.
type Serve = Arc<dyn Fn(Stream) -> BoxFuture<'static, ()> + Send + Sync>;
type Opened = oneshot::Sender<io::Result<Stream>>;

pub(crate) struct RawPeer {
    pub(crate) id: PeerId,
    pub(crate) address: Multiaddr,
    commands: mpsc::UnboundedSender<Command>,
}

enum Command {
    Dial(Multiaddr, oneshot::Sender<PeerId>),
    Open(PeerId, StreamProtocol, Opened),
}

impl RawPeer {
    /// A peer that opens streams and accepts none.
    pub(crate) async fn client() -> Self {
        Self::start(&[], |_| async {}).await
    }

    /// A peer that serves streams under any of `names`.
    pub(crate) async fn start<F>(
        names: &[&'static str],
        serve: impl Fn(Stream) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let keypair = Keypair::generate_ed25519();
        let id = keypair.public().to_peer_id();
        let behaviour = Behaviour {
            names: names.iter().map(|name| StreamProtocol::new(name)).collect(),
            serve: Arc::new(move |stream| serve(stream).boxed()),
            connections: HashMap::new(),
            events: VecDeque::new(),
        };
        let config = Config::with_executor(|task| rt().spawn(task))
            .with_idle_connection_timeout(Duration::from_secs(600))
            .with_max_negotiating_inbound_streams(512);
        let security = Security::new(&keypair).expect("the key can sign");
        let transport = rt().transport(&security).expect("a transport");
        let mut swarm = Swarm::new(transport, behaviour, id, config);
        swarm.listen_on(loopback()).expect("loopback can be listened on");
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address.with_p2p(id).expect("the address has no peer id yet");
            }
        };
        let (commands, inbox) = mpsc::unbounded();
        rt().spawn(live(swarm, inbox).boxed());
        Self { id, address, commands }
    }

    pub(crate) async fn dial(&self, address: Multiaddr) -> PeerId {
        let (done, connected) = oneshot::channel();
        self.commands.unbounded_send(Command::Dial(address, done)).expect("the peer lives");
        connected.await.expect("somebody listens")
    }

    /// Opens a stream and waits until the name is agreed on.
    pub(crate) async fn open(&self, peer: PeerId, name: &'static str) -> io::Result<Stream> {
        let (done, opened) = oneshot::channel();
        let command = Command::Open(peer, StreamProtocol::new(name), done);
        self.commands.unbounded_send(command).expect("the peer lives");
        opened.await.unwrap_or_else(|_| Err(io::ErrorKind::NotConnected.into()))
    }
}

async fn live(mut swarm: Swarm<Behaviour>, mut inbox: mpsc::UnboundedReceiver<Command>) {
    let mut dials = HashMap::new();
    loop {
        futures::select! {
            event = swarm.select_next_some() => match event {
                SwarmEvent::ConnectionEstablished { connection_id, peer_id, .. } => {
                    if let Some(done) = dials.remove(&connection_id) {
                        let _gone = oneshot::Sender::send(done, peer_id);
                    }
                }
                SwarmEvent::OutgoingConnectionError { connection_id, .. } => {
                    dials.remove(&connection_id);
                }
                _ => {}
            },
            command = inbox.next() => match command {
                Some(Command::Dial(address, done)) => {
                    let opts = DialOpts::unknown_peer_id().address(address).build();
                    dials.insert(opts.connection_id(), done);
                    swarm.dial(opts).expect("an address was given");
                }
                Some(Command::Open(peer, name, done)) => swarm.behaviour_mut().open(peer, name, done),
                None => return,
            },
        }
    }
}

struct Behaviour {
    names: Arc<[StreamProtocol]>,
    serve: Serve,
    connections: HashMap<PeerId, ConnectionId>,
    events: VecDeque<ToSwarm<Infallible, Open>>,
}

#[derive(Debug)]
struct Open {
    name: StreamProtocol,
    done: Opened,
}

impl Behaviour {
    fn open(&mut self, peer_id: PeerId, name: StreamProtocol, done: Opened) {
        if let Some(connection) = self.connections.get(&peer_id) {
            let handler = NotifyHandler::One(*connection);
            let event = Open { name, done };
            self.events.push_back(ToSwarm::NotifyHandler { peer_id, handler, event });
        }
    }

    fn handler(&self) -> Handler {
        let (names, serve) = (self.names.clone(), self.serve.clone());
        Handler { names, serve, opens: VecDeque::new() }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ConnectionEstablished(established) = event {
            self.connections.insert(established.peer_id, established.connection_id);
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        self.events.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

struct Handler {
    names: Arc<[StreamProtocol]>,
    serve: Serve,
    opens: VecDeque<Open>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Open;
    type ToBehaviour = Infallible;
    type InboundProtocol = Names;
    type OutboundProtocol = Names;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Opened;

    fn listen_protocol(&self) -> SubstreamProtocol<Names> {
        SubstreamProtocol::new(Names(self.names.clone()), ())
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Names, Opened, Infallible>> {
        let Some(Open { name, done }) = self.opens.pop_front() else { return Poll::Pending };
        let protocol = SubstreamProtocol::new(Names([name].into()), done);
        Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol })
    }

    fn on_behaviour_event(&mut self, open: Open) {
        self.opens.push_back(open);
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Names, Names, (), Opened>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: stream,
                ..
            }) => rt().spawn((self.serve)(stream)),
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: stream,
                info: done,
            }) => drop(done.send(Ok(stream))),
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: done, error }) => {
                drop(done.send(Err(io::Error::other(error.to_string()))));
            }
            _ => {}
        }
    }
}

#[derive(Debug)]
struct Names(Arc<[StreamProtocol]>);

impl UpgradeInfo for Names {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        Vec::from_iter(self.0.iter().cloned()).into_iter()
    }
}

impl InboundUpgrade<Stream> for Names {
    type Output = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Stream, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, _: StreamProtocol) -> Self::Future {
        ready(Ok(stream))
    }
}

impl OutboundUpgrade<Stream> for Names {
    type Output = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Stream, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, _: StreamProtocol) -> Self::Future {
        ready(Ok(stream))
    }
}

/// One plain frame.
pub(crate) fn plain(body: &[u8]) -> Vec<u8> {
    let mut bytes = (body.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(body);
    bytes
}

/// The next plain frame's body; `None` at the end of the stream.
pub(crate) async fn read_plain(stream: &mut Stream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await.ok()?;
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut body).await.ok()?;
    Some(body)
}

/// A native frame, read by hand.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NativeFrame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) id: u64,
    pub(crate) fields: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

/// One native frame.
pub(crate) fn native(kind: u8, id: u64, fields: &[u8], body: &[u8]) -> Vec<u8> {
    let length = 12 + fields.len() + body.len();
    let mut bytes = (length as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(&[kind, 0]);
    bytes.extend_from_slice(&(fields.len() as u16).to_be_bytes());
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes.extend_from_slice(fields);
    bytes.extend_from_slice(body);
    bytes
}

/// The next native frame; `None` at the end of the stream.
pub(crate) async fn read_native(stream: &mut Stream) -> Option<NativeFrame> {
    let mut header = [0; 16];
    stream.read_exact(&mut header).await.ok()?;
    let [l0, l1, l2, l3, kind, flags, h0, h1, id @ ..] = header;
    let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    let mut fields = vec![0; usize::from(u16::from_be_bytes([h0, h1]))];
    stream.read_exact(&mut fields).await.ok()?;
    let mut body = vec![0; length - 12 - fields.len()];
    stream.read_exact(&mut body).await.ok()?;
    Some(NativeFrame { kind, flags, id: u64::from_be_bytes(id), fields, body })
}

/// The next native frame of one kind; others are skipped.
pub(crate) async fn next_of(stream: &mut Stream, kind: u8) -> Option<NativeFrame> {
    loop {
        let frame = read_native(stream).await?;
        if frame.kind == kind {
            return Some(frame);
        }
    }
}

pub(crate) async fn write(stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Reads until the other end closes or resets the stream; returns what came.
pub(crate) async fn read_to_end(stream: &mut Stream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _reset = stream.read_to_end(&mut bytes).await;
    bytes
}
