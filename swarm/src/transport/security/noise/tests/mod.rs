mod corpus;
mod dialects;
mod messages;
mod pipe;
mod refusals;
mod tampered;
mod vectors;
mod wire;
mod with_libp2p;

use std::future::Future;
use std::sync::LazyLock;

use futures::executor::block_on;
use futures::future::join;
use libp2p_identity::Keypair;
use zeroize::Zeroizing;

use self::pipe::{End, pipe};
use super::dh::{KeyPair, LEN};
use super::*;
use crate::transport::security::buffered_reader::BufferedReader;

const BOTH: [Dialect; 2] = [Dialect::Libp2p, Dialect::Dep2p];

type Secured = NoiseStream<BufferedReader<End>>;
type Dialled = Result<(PeerId, Dialect, Secured), Error>;
type Accepted = Result<(PeerId, Secured), Error>;

fn identity(seed: u8) -> Keypair {
    Keypair::ed25519_from_bytes([seed; 32]).expect("32 bytes are a key")
}

fn peer(seed: u8) -> PeerId {
    identity(seed).public().to_peer_id()
}

fn static_key(seed: u8) -> KeyPair {
    KeyPair::new(Zeroizing::new([seed; LEN]))
}

/// The keys of the node number `seed`, one of a few.
fn keys(seed: u8) -> Keys {
    static KEYS: LazyLock<[Keys; 5]> = LazyLock::new(|| {
        let seeds = [0, 1, 2, 3, 4];
        seeds.map(|n| Keys::with_static_key(&identity(n), static_key(n)).expect("it can sign"))
    });
    KEYS[usize::from(seed)].clone()
}

/// What the dialler and the listener make of each other.
fn meet<A, B>(dial: impl FnOnce(End) -> A, listen: impl FnOnce(End) -> B) -> (A::Output, B::Output)
where
    A: Future,
    B: Future,
{
    let (one, two) = pipe(usize::MAX);
    block_on(join(dial(one), listen(two)))
}

async fn dial(io: End, allowed: &[Dialect]) -> Dialled {
    connect(BufferedReader::new(io), &keys(1), allowed).await
}

async fn listen(io: End, dialect: Dialect) -> Accepted {
    accept(BufferedReader::new(io), &keys(2), dialect).await
}

/// Both ends of a connection, the dialler's first.
fn secured() -> (Secured, Secured) {
    let (dialled, accepted) = meet(|io| dial(io, &BOTH), |io| listen(io, Dialect::Libp2p));
    (dialled.expect("secured").2, accepted.expect("secured").1)
}

/// Why somebody was turned away.
fn why<T>(outcome: Result<T, Error>) -> Error {
    let Err(error) = outcome else { panic!("it was let in") };
    error
}

/// Bytes of which no two neighbouring pieces are alike.
fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n ^ (n >> 8) ^ (n >> 16)) as u8).collect()
}
