//! Hole punching, at the end that is dialled.
//!
//! Both ends are behind NATs, which let in what comes from where something was sent to. One end dials;
//! the other one sends noise to it, so that its own NAT lets the dial in, and takes the connection that
//! arrives for the one that it was to make.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{Either, select};
use libp2p_identity::PeerId;
use parking_lot::Mutex;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::{sleep, timeout};

use super::Error;
use super::address::Target;
use super::config::Config;
use super::connection::Connection;
use super::dial::Upgrade;

/// How much noise is sent at a time, as libp2p's specification of hole punching has it.
const NOISE: usize = 64;
/// The shortest pause between two times, in milliseconds. From the same specification, as is the next.
const SHORTEST: u64 = 10;
/// The longest.
const LONGEST: u64 = 200;

type Waiting = Mutex<HashMap<SocketAddr, oneshot::Sender<Upgrade>>>;

/// From where connections are expected.
#[derive(Clone, Default)]
pub(super) struct Punches(Arc<Waiting>);

/// Where a connection is handed over that comes from `from`. Nobody waits for one once this is dropped.
pub(super) struct Expected {
    from: SocketAddr,
    arrives: oneshot::Receiver<Upgrade>,
    punches: Punches,
}

impl Punches {
    /// Begins to wait for a connection.
    pub(super) fn expect(&self, from: SocketAddr) -> Result<Expected, Error> {
        let mut waiting = self.0.lock();
        if waiting.contains_key(&from) {
            return Err(Error::PunchingAlready(from));
        }
        let (sender, arrives) = oneshot::channel();
        waiting.insert(from, sender);
        Ok(Expected { from, arrives, punches: self.clone() })
    }

    /// Whether somebody waits for a connection that comes from there.
    pub(super) fn expects(&self, from: SocketAddr) -> bool {
        self.0.lock().contains_key(&from)
    }

    /// Gives a connection to whoever waits for it, and back if there is nobody.
    pub(super) fn hand_over(&self, from: SocketAddr, upgrade: Upgrade) -> Option<Upgrade> {
        let waiting = self.0.lock().remove(&from);
        match waiting {
            Some(waiting) => waiting.send(upgrade).err(),
            None => Some(upgrade),
        }
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        // While it waits the place is its own; afterwards somebody else's, who waits.
        self.arrives.close();
        let mut waiting = self.punches.0.lock();
        if waiting.get(&self.from).is_some_and(oneshot::Sender::is_canceled) {
            waiting.remove(&self.from);
        }
    }
}

/// Sends noise from a listener's socket until `to` has connected to it.
pub(super) async fn punch(
    socket: UdpSocket,
    to: Target,
    mut expected: Expected,
    config: Config,
) -> Result<(PeerId, Connection), Error> {
    let arrives = async {
        match select(&mut expected.arrives, pin!(make_noise(&socket, to.socket))).await {
            Either::Left((Ok(upgrade), _)) => Ok(upgrade),
            Either::Left((Err(oneshot::Canceled), _)) => Err(Error::HandshakeTimedOut),
            Either::Right((error, _)) => Err(Error::Io(error)),
        }
    };
    let upgrade = timeout(config.handshake, arrives).await;
    let (peer, connection) = upgrade.map_err(|_| Error::HandshakeTimedOut)??.await?;
    match to.peer {
        Some(expected) if expected != peer => {
            Err(Error::WrongPeer { expected, reason: format!("it is {peer}") })
        }
        _ => Ok((peer, connection)),
    }
}

/// Goes on until the socket fails.
async fn make_noise(socket: &UdpSocket, to: SocketAddr) -> io::Error {
    let random = SystemRandom::new();
    loop {
        let mut noise = [0; NOISE];
        if random.fill(&mut noise).is_err() {
            return io::Error::other("no random numbers");
        }
        match socket.send_to(&noise, to) {
            // There is no room at this moment; there will be at the next.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return error,
            Ok(_) => {}
        }
        let pause = SHORTEST + u64::from(noise[0]) * (LONGEST - SHORTEST) / u64::from(u8::MAX);
        sleep(Duration::from_millis(pause)).await;
    }
}
