//! Names of what a client keeps, beside those that callers see.

use slotmap::new_key_type;

new_key_type! {
    /// A raw stream of a client, from [`Client::dial`](crate::client::Client::dial) until it is hung up.
    pub struct DialId;

    /// All that goes to one peer under one protocol.
    pub(crate) struct RouteKey;

    /// A peer to which there are streams, or for which requests wait.
    pub(crate) struct PeerKey;
}
