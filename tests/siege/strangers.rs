//! Many hostile peers, and peers that come again and again.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use futures::future::{join, join_all, select};
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use futures_timer::Delay;
use libp2p_core::multiaddr::Protocol;
use pointsub_swarm::{Multiaddr, PeerId};
use socket2::{Domain, Socket, Type};

use crate::attacks::{Attack, CANCEL, LONG, cut_off, flood};
use crate::raw::{NATIVE, REQUEST, RawPeer, SETTINGS, native, write};

const SLOW: &str = "/pointsub/1/slow/1.0.0";
const PUSH: &str = "/ipfs/id/push/1.0.0";

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        name: "silent connections",
        run: |_, _, address| silent(address, Ipv4Addr::LOCALHOST).boxed(),
        seen: |_| Ok("they made room".to_owned()),
        is_for_quic: false,
    },
    Attack {
        name: "silent connections from elsewhere",
        run: |_, _, address| silent(address, Ipv4Addr::new(127, 0, 9, 1)).boxed(),
        seen: |_| Ok("they made room".to_owned()),
        is_for_quic: false,
    },
    Attack {
        name: "many peers with slow requests",
        run: |_, _, address| crowd(address).boxed(),
        seen: |seen| Ok(format!("{} handlers, {} refused", seen.started, seen.no_place)),
        is_for_quic: true,
    },
    Attack {
        name: "a new name for each offence",
        run: |_, _, address| renamed(address).boxed(),
        seen: |seen| Ok(format!("{} breaches, {} cut off", seen.violations, seen.cut_off)),
        is_for_quic: true,
    },
    Attack {
        name: "who is cut off comes again",
        run: |peer, target, address| returning(peer, target, address).boxed(),
        seen: |seen| match seen.kept_out {
            0 => Err("it was let in"),
            _ => cut_off(seen),
        },
        is_for_quic: true,
    },
    Attack {
        name: "connections that break with requests at work",
        run: |_, _, address| broken(address).boxed(),
        seen: |seen| match seen.abandoned {
            0 => Err("no handler was at work"),
            stopped => Ok(format!("{stopped} handlers stopped, {} cut off", seen.cut_off)),
        },
        is_for_quic: true,
    },
    Attack {
        name: "streams under unknown names",
        run: |peer, target, _| unknown_names(peer, target).boxed(),
        seen: |_| Ok("none was agreed on".to_owned()),
        is_for_quic: true,
    },
    Attack {
        name: "flood of requests without time",
        run: |peer, target, _| {
            let late: Vec<u8> =
                (1..5000).flat_map(|id| native(REQUEST, id, &[1, 0, 4, 0, 0, 0, 0], &[])).collect();
            again(peer, target, late).boxed()
        },
        seen: cut_off,
        is_for_quic: true,
    },
    Attack {
        name: "flood of cancellations of nothing",
        run: |peer, target, _| {
            flood(peer, target, NATIVE, native(CANCEL, 7, &[], &[]).repeat(1000)).boxed()
        },
        seen: cut_off,
        is_for_quic: true,
    },
    Attack {
        name: "flood of settings",
        run: |peer, target, _| {
            flood(peer, target, NATIVE, native(SETTINGS, 0, &[], &[]).repeat(1000)).boxed()
        },
        seen: cut_off,
        is_for_quic: true,
    },
    Attack {
        name: "pushes of identify",
        run: |peer, target, _| pushes(peer, target).boxed(),
        seen: |_| Ok("they change nothing".to_owned()),
        is_for_quic: true,
    },
];

/// Connections that say nothing, and are made anew when they are closed.
async fn silent(address: Multiaddr, from: Ipv4Addr) {
    let Some(Protocol::Tcp(port)) = address.iter().nth(1) else { return };
    let began = Instant::now();
    let mut sockets: Vec<Option<TcpStream>> = (0..300).map(|_| socket(from, port)).collect();
    while began.elapsed() < LONG {
        for socket_of in &mut sockets {
            let is_open = socket_of.as_ref().is_some_and(|socket| {
                let peeked = socket.peek(&mut [0]);
                peeked.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
            });
            if !is_open {
                *socket_of = socket(from, port);
            }
        }
        Delay::new(Duration::from_millis(5)).await;
    }
}

fn socket(from: Ipv4Addr, port: u16) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
    socket.set_linger(Some(Duration::ZERO)).ok()?;
    socket.bind(&SocketAddr::from((from, 0)).into()).ok()?;
    socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).ok()?;
    socket.set_nonblocking(true).ok()?;
    Some(socket.into())
}

/// Connects, if that is possible within a while.
async fn connect(address: &Multiaddr) -> Option<(RawPeer, PeerId)> {
    let peer = RawPeer::client().await;
    let dialled = peer.dial(address.clone()).map(Some).boxed();
    let limit = Delay::new(LONG).map(|()| None);
    let target = select(dialled, limit).await.factor_first().0;
    target.map(|target| (peer, target))
}

/// Each with a few requests to a handler that never ends.
async fn crowd(address: Multiaddr) {
    let peers = join_all((0..60).map(|_| connect(&address))).await;
    let asked = peers.iter().flatten().map(|(peer, target)| async {
        let mut stream = peer.open(*target, SLOW).await.ok()?;
        for id in 1..=20 {
            write(&mut stream, &native(REQUEST, id, &[], b"x")).await.ok()?;
        }
        Some(stream)
    });
    let held = join_all(asked).await;
    Delay::new(LONG).await;
    drop(held);
}

async fn break_format(peer: &RawPeer, target: PeerId, times: usize) {
    for _ in 0..times {
        let Ok(mut stream) = peer.open(target, NATIVE).await else { return };
        let _gone = write(&mut stream, &[0xff; 64]).await;
        let _end = stream.read(&mut [0; 64]).await;
    }
}

async fn renamed(address: Multiaddr) {
    let began = Instant::now();
    while began.elapsed() < LONG {
        let Some((peer, target)) = connect(&address).await else { return };
        break_format(&peer, target, 100).await;
    }
}

async fn returning(peer: RawPeer, target: PeerId, address: Multiaddr) {
    break_format(&peer, target, 100).await;
    for _ in 0..10 {
        let dialled = peer.dial(address.clone()).boxed();
        select(dialled, Delay::new(LONG / 10)).await;
        break_format(&peer, target, 100).await;
        Delay::new(LONG / 20).await;
    }
}

async fn broken(address: Multiaddr) {
    let began = Instant::now();
    while began.elapsed() < LONG {
        let Some((peer, target)) = connect(&address).await else { return };
        let Ok(mut stream) = peer.open(target, SLOW).await else { return };
        let asks: Vec<u8> = (1..100).flat_map(|id| native(REQUEST, id, &[], b"x")).collect();
        let _gone = write(&mut stream, &asks).await;
        // Until they are at work.
        Delay::new(LONG / 20).await;
    }
}

async fn unknown_names(peer: RawPeer, target: PeerId) {
    let began = Instant::now();
    while began.elapsed() < LONG {
        join_all((0..50).map(|_| peer.open(target, "/nobody/1.0.0"))).await;
    }
}

/// The same bytes on one stream after the other.
async fn again(peer: RawPeer, target: PeerId, bytes: Vec<u8>) {
    let began = Instant::now();
    while began.elapsed() < LONG {
        let Ok(stream) = peer.open(target, NATIVE).await else { return };
        let (mut reader, mut writer) = stream.split();
        let send = async {
            let _gone = writer.write_all(&bytes).await;
            let _gone = writer.close().await;
        };
        let read = async {
            let mut sink = vec![0; 64 * 1024];
            while reader.read(&mut sink).await.is_ok_and(|n| n > 0) {}
        };
        select(join(send, read).boxed(), Delay::new(LONG)).await;
    }
}

/// Says that it sees the server at another long address each time.
async fn pushes(peer: RawPeer, target: PeerId) {
    let began = Instant::now();
    for n in 0_u64.. {
        if began.elapsed() > LONG {
            return;
        }
        let Ok(mut stream) = peer.open(target, PUSH).await else { return };
        let host = format!("{n:03000}");
        let address: Multiaddr = Multiaddr::empty().with(Protocol::Dns(host.into()));
        let observed = address.to_vec();
        // Field 4 of the message, a length in two bytes, and the whole behind a length as well.
        let length = |len: usize| [(len & 0x7f) as u8 | 0x80, (len >> 7) as u8];
        let message = [&[0x22], &length(observed.len())[..], &observed].concat();
        let _gone = stream.write_all(&[&length(message.len())[..], &message].concat()).await;
        let _gone = stream.close().await;
    }
}
