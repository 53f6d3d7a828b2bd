//! Adds the connection driver to a transport that has encryption and streams already.

use libp2p_core::Transport;
use libp2p_core::muxing::{StreamMuxer, StreamMuxerBox};
use libp2p_core::transport::Boxed;
use libp2p_identity::PeerId;

use crate::connection::driver::MuxerProxy;

/// Adds the connection driver to a transport that has encryption and streams already, such as QUIC
/// or libp2p's stock upgrades. [`establish()`](crate::establish()) includes it.
///
/// The driver is a task that runs the muxer of a connection and the streams of its
/// [`Behaviour`](crate::Behaviour), on the executor of the behaviour. Without it, libp2p polls every
/// handler of the connection whenever the muxer reads or a stream writes. With it, the swarm is woken
/// only for what concerns the swarm: streams that are opened, and the end of the connection. Each
/// other behaviour in the swarm makes the difference larger.
///
/// In a swarm without a `Behaviour`, and for a transport that has the driver already, this changes
/// nothing.
///
/// ```
/// # use libp2p_core::{Transport, muxing::StreamMuxerBox, transport::{Boxed, MemoryTransport}};
/// # use libp2p_core::upgrade::Version;
/// # use libp2p_identity::{Keypair, PeerId};
/// # fn transport(keypair: &Keypair) -> Boxed<(PeerId, StreamMuxerBox)> {
/// # let tcp = MemoryTransport::default();
/// # let noise = libp2p_noise::Config::new(keypair).expect("an Ed25519 key");
/// # let yamux = libp2p_yamux::Config::default();
/// // In place of `.boxed()`:
/// pointsub_swarm::with_driver(tcp.upgrade(Version::V1).authenticate(noise).multiplex(yamux))
/// # }
/// ```
pub fn with_driver<T, M>(transport: T) -> Boxed<(PeerId, StreamMuxerBox)>
where
    T: Transport<Output = (PeerId, M)> + Send + Unpin + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
    T::Error: Send + Sync,
    M: StreamMuxer + Send + 'static,
    M::Substream: Send + 'static,
    M::Error: Send + Sync + 'static,
{
    transport.map(|(peer, muxer), _| (peer, MuxerProxy::wrap(StreamMuxerBox::new(muxer)))).boxed()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use futures::executor::block_on;
    use futures::future::{Either, select};
    use futures::{FutureExt, StreamExt};
    use libp2p_core::transport::MemoryTransport;
    use libp2p_core::upgrade::Version;
    use libp2p_identity::Keypair;
    use libp2p_swarm::{Config, Swarm, SwarmEvent};
    use pointsub_core::{ClientConfig, ProtocolName, ServerConfig};

    use super::*;
    use crate::{Behaviour, Executor, Request, establish};

    type Connections = Boxed<(PeerId, StreamMuxerBox)>;

    /// A swarm of one's own, whose behaviour has an executor that counts.
    fn swarm(
        transport: fn(&Keypair) -> Connections,
        spawned: &Arc<AtomicUsize>,
    ) -> Swarm<Behaviour> {
        let keypair = Keypair::generate_ed25519();
        let local = keypair.public().to_peer_id();
        let spawned = spawned.clone();
        let executor = Executor::new(move |future| {
            spawned.fetch_add(1, Ordering::SeqCst);
            thread::spawn(|| block_on(future));
        });
        let (client, server) = (ClientConfig::default(), ServerConfig::default());
        let behaviour =
            Behaviour::new(local, client, server, executor).expect("defaults are valid");
        Swarm::new(transport(&keypair), behaviour, local, Config::without_executor())
    }

    /// How many tasks both ends of a connection have started by the time that a request is answered
    /// whose handler needs none.
    fn tasks(transport: fn(&Keypair) -> Connections) -> usize {
        let (spawned, double) = (Arc::default(), ProtocolName::new("/double/1").expect("a name"));
        let [mut server, mut client] = [(); 2].map(|()| swarm(transport, &spawned));
        let handler =
            |request: Request| async move { Ok::<_, std::io::Error>(request.body.repeat(2)) };
        server.behaviour().server().register(&double, handler).expect("the first");
        server
            .listen_on("/memory/0".parse().expect("an address"))
            .expect("memory can be listened on");
        let answered = async {
            let peer = *server.local_peer_id();
            let address = loop {
                if let SwarmEvent::NewListenAddr { address, .. } = server.select_next_some().await {
                    break address;
                }
            };
            client.behaviour_mut().add_address(peer, address);
            let handle = client.behaviour().client();
            let swarms = async { futures::join!(server.for_each(never), client.for_each(never)) };
            match select(handle.send(peer, &double, "ab").into_future(), swarms.boxed()).await {
                Either::Left((answer, _)) => answer.expect("an answer"),
                Either::Right(_) => panic!("a swarm has ended"),
            }
        };
        assert_eq!(block_on(answered), "abab");
        spawned.load(Ordering::SeqCst)
    }

    /// Events do not matter.
    async fn never<E>(_: E) {}

    fn ours(keypair: &Keypair) -> Connections {
        establish(MemoryTransport::default(), keypair).expect("the key can sign")
    }

    /// libp2p's own upgrades.
    fn stock(keypair: &Keypair) -> Connections {
        let noise = libp2p_noise::Config::new(keypair).expect("an Ed25519 key");
        let memory = MemoryTransport::default().upgrade(Version::V1);
        memory.authenticate(noise).multiplex(libp2p_yamux::Config::default()).boxed()
    }

    #[test]
    fn a_swarm_of_ones_own_has_the_connection_driver_at_both_ends() {
        assert_eq!(tasks(ours), 2);
        assert_eq!(tasks(|keypair| with_driver(ours(keypair))), 2, "not twice");
        assert_eq!(tasks(|keypair| with_driver(stock(keypair))), 2);
        assert_eq!(tasks(stock), 0, "streams run in the handler");
    }
}
