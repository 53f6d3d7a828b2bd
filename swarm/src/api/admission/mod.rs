//! Rules of the application's own: who may come, and what for.

mod file;
mod list;

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use pointsub_core::{ProtocolName, Status, StatusCode};

pub use self::file::AccessFileError;
pub use self::list::{Access, AccessList, IpNet};

/// Decides who may come. A node asks at three points, each earlier than the next one costs anything:
///
/// 1. [`address`](Self::address), before the handshake of a connection that somebody else makes;
/// 2. [`peer`](Self::peer), when the handshake of such a connection has proved who it is;
/// 3. [`protocol`](Self::protocol), for each stream that a peer opens, on whichever connection, before
///    the body of its first request is read.
///
/// No lock of the library is held meanwhile, so that a rule may use the node. It is asked on the tasks
/// of connections, and has to answer at once. Rules that have changed are applied to what is open
/// already by [`Server::recheck`](crate::Server::recheck).
///
/// [`AccessList`] is a ready-made one.
///
/// ```
/// use pointsub_swarm::{Admission, Multiaddr, PeerId, ProtocolName, Verdict};
///
/// struct Members(Vec<PeerId>);
///
/// impl Admission for Members {
///     fn protocol(&self, peer: &PeerId, protocol: &ProtocolName) -> Verdict {
///         match protocol.as_str() {
///             "/public/1" => Verdict::Allow,
///             _ if self.0.contains(peer) => Verdict::Allow,
///             _ => Verdict::permission_denied("members only"),
///         }
///     }
/// }
/// ```
pub trait Admission: Send + Sync + 'static {
    /// May somebody connect from this address? Nothing else is known yet, and the address of whoever
    /// comes over QUIC is not proved.
    fn address(&self, address: &Multiaddr) -> Verdict {
        let _ = address;
        Verdict::Allow
    }

    /// May this peer be connected, which has come from this address?
    fn peer(&self, peer: &PeerId, address: &Multiaddr) -> Verdict {
        let _ = (peer, address);
        Verdict::Allow
    }

    /// May this peer use this protocol?
    fn protocol(&self, peer: &PeerId, protocol: &ProtocolName) -> Verdict {
        let _ = (peer, protocol);
        Verdict::Allow
    }

    /// Whether this peer may cost what it likes: it is neither cut off nor kept out for what it does.
    /// Limits hold for it all the same.
    fn trusts(&self, peer: &PeerId) -> bool {
        let _ = peer;
        false
    }
}

/// What an [`Admission`] decides.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Come in.
    Allow,
    /// This is not done for whoever asks. A request is answered [`StatusCode::PermissionDenied`].
    PermissionDenied(String),
    /// Whoever asks has to say first who that is. A request is answered
    /// [`StatusCode::Unauthenticated`].
    Unauthenticated(String),
}

impl Verdict {
    /// A refusal with a text. A peer is told the text in answer to a request, and nothing when it
    /// connects.
    pub fn permission_denied(text: impl Into<String>) -> Self {
        Self::PermissionDenied(text.into())
    }

    /// A refusal with a text. A peer is told the text in answer to a request, and nothing when it
    /// connects.
    pub fn unauthenticated(text: impl Into<String>) -> Self {
        Self::Unauthenticated(text.into())
    }

    /// Whether it is [`Allow`](Self::Allow).
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow)
    }

    /// What a request is answered; `None` if it is served.
    pub(crate) fn into_status(self) -> Option<Status> {
        match self {
            Self::Allow => None,
            Self::PermissionDenied(text) => Some(Status::new(StatusCode::PermissionDenied, text)),
            Self::Unauthenticated(text) => Some(Status::new(StatusCode::Unauthenticated, text)),
        }
    }
}

/// Everybody may come, for everything.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Everybody;

impl Admission for Everybody {}
