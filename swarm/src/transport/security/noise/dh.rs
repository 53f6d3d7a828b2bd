//! What Noise computes with.

use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, RingResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};
use zeroize::Zeroizing;

/// Bytes of a key, a secret one as well as a public one.
pub(super) const LEN: usize = 32;

/// A pair of keys of X25519. The secret one is wiped when it is dropped.
#[derive(Clone)]
pub(super) struct KeyPair {
    secret: Zeroizing<[u8; LEN]>,
    public: [u8; LEN],
}

impl KeyPair {
    pub(super) fn new(secret: Zeroizing<[u8; LEN]>) -> Self {
        let public = x25519(*secret, X25519_BASEPOINT_BYTES);
        Self { secret, public }
    }

    pub(super) fn random() -> Result<Self, snow::Error> {
        // A resolver that has none says so as one whose source of randomness fails.
        let mut random = RingResolver.resolve_rng().ok_or(snow::Error::Rng)?;
        Self::drawn(&mut *random)
    }

    fn drawn(random: &mut dyn Random) -> Result<Self, snow::Error> {
        let mut secret = Zeroizing::new([0; LEN]);
        random.try_fill_bytes(&mut *secret)?;
        Ok(Self::new(secret))
    }

    pub(super) fn secret(&self) -> &[u8; LEN] {
        &self.secret
    }

    pub(super) fn public(&self) -> &[u8; LEN] {
        &self.public
    }
}

impl Dh for KeyPair {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        LEN
    }

    fn priv_len(&self) -> usize {
        LEN
    }

    fn set(&mut self, secret: &[u8]) {
        let mut copy = Zeroizing::new([0; LEN]);
        copy.copy_from_slice(secret);
        *self = Self::new(copy);
    }

    fn generate(&mut self, random: &mut dyn Random) -> Result<(), snow::Error> {
        *self = Self::drawn(random)?;
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        &*self.secret
    }

    fn dh(&self, public: &[u8], out: &mut [u8]) -> Result<(), snow::Error> {
        // Behind the key, `snow` has room for the longest that it knows.
        let public = public.first_chunk().ok_or(snow::Error::Dh)?;
        let out = out.first_chunk_mut().ok_or(snow::Error::Dh)?;
        *out = x25519(*self.secret, *public);
        // What comes of a point of low order does not depend on our key. No honest peer sends one, and
        // Go's X25519 refuses it.
        if *out == [0; LEN] { Err(snow::Error::Dh) } else { Ok(()) }
    }
}

/// The same as in `libp2p-noise`: `ring`, which has no X25519 that suits, and `x25519-dalek` for that.
pub(super) struct Resolver;

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        RingResolver.resolve_rng()
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        let unset = || KeyPair { secret: Zeroizing::default(), public: [0; LEN] };
        matches!(choice, DHChoice::Curve25519).then(|| Box::new(unset()) as Box<dyn Dh>)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        RingResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        RingResolver.resolve_cipher(choice)
    }
}
