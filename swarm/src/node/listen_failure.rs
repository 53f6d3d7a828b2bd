//! Why an address cannot be listened on.

use std::error::Error;
use std::io;
use std::time::Duration;

use libp2p_core::transport::TransportError;
use thiserror::Error;

use super::dialing::reason::root;

/// Why an address cannot be listened on: see [`NodeError::Listen`](super::NodeError::Listen).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ListenFailure {
    /// Another program, or another node of this one, listens there.
    #[error("it is in use. Is another program listening there?")]
    InUse,
    /// No network interface of this machine has the address.
    #[error("no network interface of this machine has such an address")]
    NotLocal,
    /// The system does not allow it: ports below 1024 are kept for the administrator on many systems.
    #[error("the system does not allow it. Ports below 1024 may need a right of their own")]
    Denied,
    /// The node has no transport for such addresses.
    #[error("this node has no transport for such an address")]
    NoTransport,
    /// The peer that should relay does not.
    #[error("the peer there does not relay")]
    NoRelay,
    /// No address came up within this time.
    #[error("no address within {0:?}")]
    TimedOut(Duration),
    /// Anything else, as the transport says it.
    #[error("{0}")]
    Transport(String),
}

impl ListenFailure {
    pub(super) fn of_transport(error: &TransportError<io::Error>) -> Self {
        match error {
            TransportError::MultiaddrNotSupported(_) => Self::NoTransport,
            TransportError::Other(error) => Self::of_io(error),
        }
    }

    /// The kind of an error that transports have wrapped, each in another one.
    pub(super) fn of_io(error: &io::Error) -> Self {
        #[cfg(feature = "relay")]
        if super::circuits::is_no_relay(error) {
            return Self::NoRelay;
        }
        let mut within: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(error) = within {
            let io = error.downcast_ref::<io::Error>();
            if let Some(failure) = io.and_then(|error| Self::of_kind(error.kind())) {
                return failure;
            }
            // An I/O error does not count what it wraps among its sources.
            let wrapped = io.and_then(io::Error::get_ref);
            within =
                wrapped.map(|error| error as &(dyn Error + 'static)).or_else(|| error.source());
        }
        Self::of_text(root(error))
    }

    fn of_kind(kind: io::ErrorKind) -> Option<Self> {
        match kind {
            io::ErrorKind::AddrInUse => Some(Self::InUse),
            io::ErrorKind::AddrNotAvailable => Some(Self::NotLocal),
            io::ErrorKind::PermissionDenied => Some(Self::Denied),
            _ => None,
        }
    }

    /// Some transports keep only the text of what the system said, which ends with the system's number.
    fn of_text(text: String) -> Self {
        let number = text.rsplit_once("(os error ").and_then(|(_, end)| end.strip_suffix(')'));
        let system =
            number.and_then(|number| number.parse().ok()).map(io::Error::from_raw_os_error);
        let failure = system.and_then(|error| Self::of_kind(error.kind()));
        failure.unwrap_or(Self::Transport(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Error)]
    #[error("transport: {0}")]
    struct Wrapped(#[source] io::Error);

    #[test]
    fn the_kind_is_found_however_deep_it_lies() {
        for (kind, failure) in [
            (io::ErrorKind::AddrInUse, ListenFailure::InUse),
            (io::ErrorKind::AddrNotAvailable, ListenFailure::NotLocal),
            (io::ErrorKind::PermissionDenied, ListenFailure::Denied),
        ] {
            let system = || io::Error::from(kind);
            assert_eq!(ListenFailure::of_io(&system()), failure);
            let nested = io::Error::other(Wrapped(io::Error::other(Wrapped(system()))));
            assert_eq!(ListenFailure::of_io(&nested), failure);
        }
    }

    #[test]
    fn what_has_no_kind_is_told_as_it_is() {
        let told = ListenFailure::of_io(&io::Error::other(Wrapped(io::Error::other("no luck"))));
        assert_eq!(told, ListenFailure::Transport("no luck".into()));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_number_of_the_system_is_found_in_a_text() {
        for (text, failure) in [
            ("Address already in use (os error 98)", ListenFailure::InUse),
            ("Cannot assign requested address (os error 99)", ListenFailure::NotLocal),
            ("Permission denied (os error 13)", ListenFailure::Denied),
        ] {
            assert_eq!(ListenFailure::of_io(&io::Error::other(text)), failure);
        }
    }
}
