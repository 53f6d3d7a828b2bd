//! Peer ids as libp2p has them and as the core has them.

use libp2p_identity::PeerId;

/// The longest libp2p peer id: the multihash of an inlined key.
const MAX_LEN: usize = 44;

pub(crate) fn to_core(peer: &PeerId) -> pointsub_core::PeerId {
    let mut bytes = [0; MAX_LEN];
    let hash: &multihash::Multihash<64> = peer.as_ref();
    hash.write(&mut bytes[..])
        .ok()
        .and_then(|len| pointsub_core::PeerId::from_bytes(&bytes[..len]).ok())
        .expect("a libp2p peer id is a multihash of 1 to 44 bytes, or it could not be made")
}

pub(crate) fn to_libp2p(peer: &pointsub_core::PeerId) -> PeerId {
    PeerId::from_bytes(peer.as_bytes()).expect("the core's peer ids come from to_core, unchanged")
}
