//! A process that runs out of files. Alone in its own process, because the limit is for all of it.

#![cfg(unix)]

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::pin::Pin;

use async_std::task::block_on;
use futures::future::poll_fn;
use libp2p_core::Transport as _;
use libp2p_core::multiaddr::Protocol;
use libp2p_core::transport::{ListenerId, TransportEvent};
use pointsub_async_std::tcp::Transport;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The listener reports it and rests, and accepts who waited once there is room again.
#[test]
fn a_listener_survives_that_no_files_can_be_opened() {
    block_on(async {
        let mut transport = Transport::new();
        let any = "/ip4/127.0.0.1/tcp/0".parse().expect("a multiaddress");
        transport.listen_on(ListenerId::next(), any).expect("a free port");
        let mut next = async || poll_fn(|cx| Pin::new(&mut transport).poll(cx)).await;
        let TransportEvent::NewAddress { listen_addr, .. } = next().await else {
            panic!("no address")
        };
        let Some(Protocol::Tcp(port)) = listen_addr.iter().nth(1) else { panic!("no port") };
        let waiting = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port)));
        let waiting = waiting.expect("somebody listens");

        let before = getrlimit(Resource::Nofile);
        let free = File::open("/dev/null").expect("files can be opened").as_raw_fd();
        let none = Rlimit { current: u64::try_from(free).ok(), ..before };
        setrlimit(Resource::Nofile, none).expect("lowering is allowed");
        for _ in 0..2 {
            let event = next().await;
            assert!(matches!(event, TransportEvent::ListenerError { .. }), "{event:?}");
        }
        setrlimit(Resource::Nofile, before).expect("raising up to the maximum is allowed");
        let event = next().await;
        let TransportEvent::Incoming { send_back_addr, .. } = event else { panic!("{event:?}") };
        let port = waiting.local_addr().expect("it is bound").port();
        assert_eq!(send_back_addr.iter().nth(1), Some(Protocol::Tcp(port)));
    });
}
