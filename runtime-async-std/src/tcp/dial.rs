//! From an address or a name to a connection.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use async_io::Async;
use futures::StreamExt;
use futures::future::{Either, select};
use futures::stream::FuturesUnordered;
use futures_timer::Delay;
use libp2p_core::transport::PortUse;

use super::address::{Family, Target};
use super::ports::Ports;
use super::socket;
use super::stream::Stream;

/// How long one address of a name is tried alone (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);
/// How many addresses of a name are tried: whoever answers for it may list thousands.
const MAX_ADDRESSES: usize = 16;

/// Connects to whoever is there. Does nothing until it is polled.
pub(super) async fn dial(target: Target, port_use: PortUse, ports: Ports) -> io::Result<Stream> {
    let source = move |remote: IpAddr| match port_use {
        PortUse::Reuse => ports.towards(remote),
        PortUse::New => None,
    };
    match target {
        Target::Socket(socket) => connect(socket, source(socket.ip())).await,
        Target::Name { host, port, family } => {
            let addresses = resolve(host, port, family).await?;
            first_of(addresses, |address| connect(address, source(address.ip()))).await
        }
    }
}

/// Asks the operating system, on a thread for calls that block. async-std and smol do the same.
async fn resolve(host: String, port: u16, family: Family) -> io::Result<Vec<SocketAddr>> {
    let name = host.clone();
    let found = blocking::unblock(move || (name, port).to_socket_addrs()).await?;
    let fitting = found.filter(|address| family.has(address.ip()));
    let addresses: Vec<_> = fitting.take(MAX_ADDRESSES).collect();
    if addresses.is_empty() {
        let reason = format!("{host} has no address of the family asked for");
        return Err(io::Error::new(io::ErrorKind::NotFound, reason));
    }
    Ok(addresses)
}

/// Connects to the first address that answers. The next one is tried as well when one has failed
/// or had its head start, so that one which swallows packets does not hide those that work.
async fn first_of<T, F: Future<Output = io::Result<T>>>(
    addresses: Vec<SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<T> {
    let mut addresses = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failure = io::ErrorKind::NotFound.into();
    loop {
        attempts.extend(addresses.next().map(&connect));
        let head_start = (addresses.len() > 0).then(|| Delay::new(HEAD_START));
        let over = async {
            match head_start {
                Some(head_start) => head_start.await,
                None => std::future::pending().await,
            }
        };
        match select(attempts.next(), std::pin::pin!(over)).await {
            Either::Left((Some(Ok(connection)), _)) => return Ok(connection),
            Either::Left((Some(Err(error)), _)) => failure = error,
            Either::Left((None, _)) => return Err(failure),
            Either::Right(_) => {}
        }
    }
}

async fn connect(to: SocketAddr, from: Option<SocketAddr>) -> io::Result<Stream> {
    let socket = match (socket::connect(to, from), from) {
        // The port was a wish. From there, a connection to the same place may exist already.
        (Err(error), Some(from)) if is_taken(&error) => {
            tracing::debug!(
                target: "pointsub::transport",
                %to,
                %from,
                %error,
                "another port is used to dial"
            );
            socket::connect(to, None)?
        }
        (outcome, _) => outcome?,
    };
    let stream = Async::new(socket)?;
    stream.writable().await?;
    match stream.get_ref().take_error()? {
        Some(error) => Err(error),
        None => Stream::new(stream),
    }
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use async_io::block_on;
    use futures::FutureExt;
    use futures::future::{pending, ready};

    use super::*;

    fn addresses(ports: &[u16]) -> Vec<SocketAddr> {
        ports.iter().map(|port| ([192, 0, 2, 7], *port).into()).collect()
    }

    /// Port 1 refuses, port 2 never answers, others are connected to.
    fn attempt(to: SocketAddr) -> futures::future::BoxFuture<'static, io::Result<u16>> {
        match to.port() {
            1 => ready(Err(io::ErrorKind::ConnectionRefused.into())).boxed(),
            2 => pending().boxed(),
            port => ready(Ok(port)).boxed(),
        }
    }

    #[test]
    fn the_first_address_that_answers_is_used() {
        for (ports, answers) in [
            (&[3][..], 3),
            (&[3, 4], 3),
            (&[1, 3], 3),
            (&[1, 1, 4, 3], 4),
            (&[2, 3], 3),
            (&[2, 1, 2, 1, 3], 3),
        ] {
            let outcome = block_on(first_of(addresses(ports), attempt));
            assert_eq!(outcome.expect("one answers"), answers, "{ports:?}");
        }
    }

    #[test]
    fn the_others_are_left_alone() {
        let tried = RefCell::new(Vec::new());
        let outcome = first_of(addresses(&[1, 3, 4]), |to| {
            tried.borrow_mut().push(to.port());
            attempt(to)
        });
        block_on(outcome).expect("one answers");
        assert_eq!(*tried.borrow(), [1, 3]);
    }

    #[test]
    fn when_none_answers_the_failure_is_told() {
        let error = block_on(first_of(addresses(&[1, 1]), attempt)).expect_err("none answers");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        // One that may still answer is waited for.
        let mut waiting = std::pin::pin!(first_of(addresses(&[2, 1]), attempt));
        let enough = Delay::new(HEAD_START * 2);
        assert!(matches!(block_on(select(waiting.as_mut(), enough)), Either::Right(_)));
    }
}
