//! A TCP proxy that counts what passes: the bytes on the wire, with all that encryption and framing
//! add. It can be a slow link, too.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::contender::Failure;

/// Counts what passes through it, both ways together. It lives as long as the process.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    bytes: Arc<AtomicU64>,
}

impl Proxy {
    /// Starts a client that goes to its server through a proxy, which carries at most so many bytes a
    /// second each way.
    pub(crate) fn before<T>(
        rate: u64,
        start: impl FnOnce(&mut dyn FnMut(String) -> Result<String, Failure>) -> Result<T, Failure>,
    ) -> Result<(T, Self), Failure> {
        let mut proxy = None;
        let started = start(&mut |address| {
            let through = Self::to(socket(&address)?, rate)?;
            let port = format!("/tcp/{}/", through.address.port());
            let there = format!("/tcp/{}/", socket(&address)?.port());
            proxy = Some(through);
            Ok(address.replace(&there, &port))
        })?;
        Ok((started, proxy.ok_or("nobody asked for the address")?))
    }

    /// A proxy to a server.
    fn to(server: SocketAddr, rate: u64) -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let bytes = Arc::new(AtomicU64::new(0));
        let counter = bytes.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // An error ends one connection, which its client notices.
                let _gone = join(&client, server, &counter, rate);
            }
        });
        Ok(Self { address, bytes })
    }

    /// How many bytes have passed.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::SeqCst)
    }
}

/// The socket in `/ip4/127.0.0.1/tcp/PORT/p2p/PEER`.
fn socket(address: &str) -> Result<SocketAddr, Failure> {
    let port = address.split('/').nth(4).ok_or("an address of TCP was expected")?;
    Ok(SocketAddr::from(([127, 0, 0, 1], port.parse()?)))
}

fn join(
    client: &TcpStream,
    server: SocketAddr,
    counter: &Arc<AtomicU64>,
    rate: u64,
) -> std::io::Result<()> {
    let server = TcpStream::connect(server)?;
    for (from, to) in [(client, &server), (&server, client)] {
        to.set_nodelay(true)?;
        let (from, to, counter) = (from.try_clone()?, to.try_clone()?, counter.clone());
        std::thread::spawn(move || copy(from, to, &counter, rate));
    }
    Ok(())
}

fn copy(mut from: TcpStream, mut to: TcpStream, counter: &AtomicU64, rate: u64) {
    // Small pieces make a slow link smooth.
    let mut buffer = vec![0; if rate == u64::MAX { 64 * 1024 } else { 16 * 1024 }];
    let mut free = Instant::now();
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        counter.fetch_add(n as u64, Ordering::SeqCst);
        if rate < u64::MAX {
            free = free.max(Instant::now()) + Duration::from_secs(1) * n as u32 / rate as u32;
            std::thread::sleep(free.saturating_duration_since(Instant::now()));
        }
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _closed = to.shutdown(Shutdown::Both);
}
