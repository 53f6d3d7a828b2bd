//! The key that a node keeps from one start to the next.

use libp2p_identity::Keypair;
use thiserror::Error;

/// Why bytes are no key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// There are none. The program that wrote them may have been stopped while it did so.
    #[error("the key is empty; restore it, or make a new one, which is a new peer id")]
    Empty,
    /// They are not what [`Keypair::to_protobuf_encoding`] writes.
    #[error("{len} bytes are no key in libp2p's protobuf encoding: {reason}")]
    Broken {
        /// How many bytes there are.
        len: usize,
        /// What is wrong with them.
        reason: String,
    },
}

/// Reads a key that was written with [`Keypair::to_protobuf_encoding`], such as the contents of a
/// file.
///
/// ```
/// use pointsub_swarm::{KeyError, Keypair, read_keypair};
///
/// let keypair = Keypair::generate_ed25519();
/// // What a program writes to a file that only its user may read.
/// let bytes = keypair.to_protobuf_encoding()?;
/// assert_eq!(read_keypair(&bytes)?.public(), keypair.public());
/// assert_eq!(read_keypair(&[]).unwrap_err(), KeyError::Empty);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`KeyError`]
pub fn read_keypair(bytes: &[u8]) -> Result<Keypair, KeyError> {
    // libp2p takes an empty key for one of RSA.
    if bytes.iter().all(|byte| byte.is_ascii_whitespace()) {
        return Err(KeyError::Empty);
    }
    let broken = |reason| KeyError::Broken { len: bytes.len(), reason };
    Keypair::from_protobuf_encoding(bytes)
        .map_err(|error| broken(super::dialing::reason::root(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_cut_short_is_broken() {
        let bytes = Keypair::generate_ed25519().to_protobuf_encoding().expect("it can be written");
        for cut in 1..bytes.len() {
            let error = read_keypair(&bytes[..cut]).expect_err("it is not whole");
            assert!(matches!(error, KeyError::Broken { len, .. } if len == cut), "{error}");
        }
        assert_eq!(read_keypair(b"\n").expect_err("nothing"), KeyError::Empty);
    }
}
