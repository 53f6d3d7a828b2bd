//! A TCP proxy that counts what passes: the bytes on the wire, with all that encryption and framing
//! add.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::contender::Failure;

/// Counts what passes through it, both ways together. It lives as long as the process.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    bytes: Arc<AtomicU64>,
}

impl Proxy {
    /// A proxy to a server.
    pub(crate) fn to(server: SocketAddr) -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let bytes = Arc::new(AtomicU64::new(0));
        let counter = bytes.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // An error ends one connection, which its client notices.
                let _gone = join(&client, server, &counter);
            }
        });
        Ok(Self { address, bytes })
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many bytes have passed.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::SeqCst)
    }
}

fn join(client: &TcpStream, server: SocketAddr, counter: &Arc<AtomicU64>) -> std::io::Result<()> {
    let server = TcpStream::connect(server)?;
    for (from, to) in [(client, &server), (&server, client)] {
        to.set_nodelay(true)?;
        let (from, to, counter) = (from.try_clone()?, to.try_clone()?, counter.clone());
        std::thread::spawn(move || copy(from, to, &counter));
    }
    Ok(())
}

fn copy(mut from: TcpStream, mut to: TcpStream, counter: &AtomicU64) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        counter.fetch_add(n as u64, Ordering::SeqCst);
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _closed = to.shutdown(Shutdown::Both);
}
