//! What a node proves itself with.

use std::sync::{Arc, LazyLock};

use libp2p_identity::Keypair;
use snow::Builder;
use snow::params::NoiseParams;

use super::dh::{KeyPair, Resolver};
use super::error::Error;
use super::payload;
use crate::transport::security::Dialect;

static PARAMS: LazyLock<NoiseParams> = LazyLock::new(|| {
    "Noise_XX_25519_ChaChaPoly_SHA256".parse().expect("a protocol that snow knows")
});

/// A node's static key for Noise, and what its identity key says about it in each dialect. As in
/// `libp2p-noise`, a node draws the static key when it starts and uses it for all connections.
#[derive(Clone)]
pub(crate) struct Keys(Arc<Signed>);

struct Signed {
    static_key: KeyPair,
    libp2p: Vec<u8>,
    dep2p: Vec<u8>,
}

impl Keys {
    /// # Errors
    /// If the identity key cannot sign, or there is no randomness.
    pub(crate) fn new(identity: &Keypair) -> Result<Self, Error> {
        Self::with_static_key(identity, KeyPair::random()?)
    }

    pub(super) fn with_static_key(identity: &Keypair, key: KeyPair) -> Result<Self, Error> {
        let libp2p = payload::sign(identity, key.public(), Dialect::Libp2p)?;
        let dep2p = payload::sign(identity, key.public(), Dialect::Dep2p)?;
        Ok(Self(Arc::new(Signed { static_key: key, libp2p, dep2p })))
    }

    /// What proves to a peer that speaks `dialect` who we are.
    pub(super) fn payload(&self, dialect: Dialect) -> &[u8] {
        match dialect {
            Dialect::Libp2p => &self.0.libp2p,
            Dialect::Dep2p => &self.0.dep2p,
        }
    }

    /// Either end of a handshake with these keys.
    pub(super) fn builder(&self) -> Result<Builder<'_>, snow::Error> {
        let builder = Builder::with_resolver(PARAMS.clone(), Box::new(Resolver));
        builder.local_private_key(self.0.static_key.secret())
    }
}
