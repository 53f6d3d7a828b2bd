//! Whether what a node tells its peers of itself fits into a message.

use libp2p_core::Multiaddr;

/// How long the message may be with which a node tells its protocols and addresses (identify). Peers
/// drop a longer one, and learn neither.
const MESSAGE: usize = 4096;
/// What is in it beside them: the key, versions, the address at which the peer is seen, and the
/// protocols of libp2p itself. An RSA key takes 300 bytes of that.
const OTHERS: usize = 900;

/// By how many bytes the message is too long; `None` if it fits.
pub(in crate::node) fn excess<'a, N: AsRef<str> + 'a>(
    names: impl IntoIterator<Item = &'a N>,
    addresses: impl IntoIterator<Item = &'a Multiaddr>,
) -> Option<usize> {
    let names: usize = names.into_iter().map(|name| field(name.as_ref().len())).sum();
    let addresses: usize = addresses.into_iter().map(|address| field(address.len())).sum();
    (OTHERS + names + addresses).checked_sub(MESSAGE + 1).map(|excess| excess + 1)
}

/// The size of a field of so many bytes, with its tag and length.
fn field(len: usize) -> usize {
    let len_of_len = if len < 128 { 1 } else { 2 };
    1 + len_of_len + len
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_forty_protocols_of_forty_bytes_fit() {
        // Each has two names.
        let names = |protocols: usize| vec!["x".repeat(38); 2 * protocols];
        let address: Multiaddr = "/ip4/192.0.2.1/tcp/4001".parse().expect("an address");
        let excess = |protocols, addresses| excess(&names(protocols), vec![&address; addresses]);
        assert_eq!(excess(0, 0), None);
        assert_eq!(excess(38, 4), None);
        assert!(excess(45, 4).is_some_and(|excess| excess > 300));
        assert!(excess(38, 100).is_some(), "addresses count too");
    }

    #[test]
    fn the_limit_is_exact() {
        let names = |len: usize| ["x".repeat(len)];
        let fits = MESSAGE - OTHERS - 3;
        assert_eq!(excess(&names(fits), []), None);
        assert_eq!(excess(&names(fits + 1), []), Some(1));
    }
}
