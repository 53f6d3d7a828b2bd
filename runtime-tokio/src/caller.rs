//! Who connects to a guest: axum, hyper or tonic.

use crate::PeerId;

/// Who is at the other end of a connection, authenticated by it.
///
/// In handlers of axum it is `ConnectInfo<Caller>`. In those of tonic, and in responses that hyper's
/// client got, it is among the extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller(pub PeerId);
