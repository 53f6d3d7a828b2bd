//! PointSub on tokio.

use std::io;

use futures::future::BoxFuture;
use libp2p_core::Transport;
use libp2p_core::muxing::StreamMuxerBox;
use libp2p_core::transport::Boxed;
use libp2p_core::upgrade::Version;

pub use pointsub_swarm::*;

/// A libp2p node on tokio: TCP, Noise, Yamux.
pub type Node = pointsub_swarm::Node<Tokio>;

/// The tokio runtime. Its tasks run on the runtime in which a [`Node`] was built.
#[derive(Debug, Clone, Copy)]
pub struct Tokio;

impl Runtime for Tokio {
    fn spawn(future: BoxFuture<'static, ()>) {
        tokio::spawn(future);
    }

    fn transport(keypair: &Keypair) -> io::Result<Boxed<(PeerId, StreamMuxerBox)>> {
        let noise = libp2p_noise::Config::new(keypair).map_err(io::Error::other)?;
        let tcp = libp2p_tcp::Config::default().nodelay(true);
        Ok(libp2p_tcp::tokio::Transport::new(tcp)
            .upgrade(Version::V1Lazy)
            .authenticate(noise)
            .multiplex(libp2p_yamux::Config::default())
            .boxed())
    }
}
