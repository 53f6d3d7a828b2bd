//! What is said of a dial that failed.

use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use libp2p_core::Multiaddr;
use libp2p_core::transport::TransportError;
use libp2p_swarm::DialError;
use pointsub_core::StreamError;
use pointsub_core::network::{self, ConnectFailure, Failure, OpenFailure, Place};

use super::Surplus;
use crate::node::addresses::multiaddr;
use crate::node::{ConnectError, Tried};
use crate::peer;

const NOWHERE: &str = "no transport leads there";
const ENDED: &str = "the peer closed the connection at once";
const GONE: &str = "it has gone, and no address of it is known";

/// Why the dial of a single address failed; `None` if there was nothing to dial.
pub(crate) fn of_dial(error: &DialError, place: &Place) -> Option<network::DialError> {
    Some(match (error, place) {
        (DialError::NoAddresses, Place::Elsewhere) => return None,
        (DialError::NoAddresses, Place::At(_)) => network::DialError::OwnAddress,
        (DialError::LocalPeerId { .. }, _) => network::DialError::OwnPeer,
        (DialError::WrongPeerId { obtained, .. }, _) => {
            network::DialError::WrongPeer(peer::to_core(obtained))
        }
        (DialError::Denied { cause }, _) => match cause.downcast_ref::<Surplus>() {
            Some(Surplus(peer)) => network::DialError::Surplus(peer::to_core(peer)),
            None => network::DialError::Denied(root(cause).into()),
        },
        (DialError::Transport(errors), Place::At(_)) => match errors.first() {
            Some((_, TransportError::MultiaddrNotSupported(_))) => network::DialError::NoTransport,
            Some((_, error)) => network::DialError::Transport(of_transport(error).into()),
            None => network::DialError::Transport("the dial failed".into()),
        },
        (DialError::Transport(errors), Place::Elsewhere) => {
            let each = errors.iter().map(|(at, error)| format!("{}: {at}", of_transport(error)));
            network::DialError::Transport(each.collect::<Vec<_>>().join("\n").into())
        }
        (DialError::Aborted, _) => network::DialError::Aborted,
        (DialError::DialPeerConditionFalse(_), _) => network::DialError::InProgress,
    })
}

/// What is told to somebody who named an address: first of that one, then of the others.
pub(crate) fn of_connect(address: Multiaddr, failure: &ConnectFailure) -> ConnectError {
    let (reason, tried) = match failure {
        ConnectFailure::SelfDial => return ConnectError::SelfDial,
        ConnectFailure::TimedOut(after) => {
            return ConnectError::TimedOut { address, after: *after };
        }
        ConnectFailure::Unreachable { named, others } => {
            let mut tried = Vec::new();
            let first = named.iter().cloned().map(|why| (Some(address.clone()), why));
            let others_too = others.iter().map(|one| (address_of(&one.address), one.why.clone()));
            tried.extend(first.chain(others_too).map(|(address, why)| Tried { address, why }));
            let named = named.as_ref().map_or_else(|| NOWHERE.to_owned(), ToString::to_string);
            match others.is_empty() {
                true => (named, tried),
                false => (format!("{named}\n{}", of_race(others)), tried),
            }
        }
        ConnectFailure::Ended(why) => (why.as_deref().unwrap_or(ENDED).to_owned(), Vec::new()),
    };
    ConnectError::Unreachable { address, reason, tried }
}

/// Why there is no connection for a stream.
pub(crate) fn of_open(failure: &OpenFailure) -> StreamError {
    match failure {
        OpenFailure::NoAddress => StreamError::NoAddress,
        OpenFailure::Gone => StreamError::Unreachable(Arc::from(GONE)),
        OpenFailure::Unreachable(failures) => {
            StreamError::Unreachable(Arc::from(of_race(failures)))
        }
    }
}

/// Why a transport cannot do something.
pub(crate) fn of_transport(error: &TransportError<io::Error>) -> String {
    match error {
        TransportError::MultiaddrNotSupported(_) => {
            "this node has no transport for such an address".to_owned()
        }
        TransportError::Other(error) => root(error),
    }
}

/// The innermost cause: transports wrap each other, and each repeats what is within.
pub(crate) fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut cause = error;
    loop {
        // An I/O error does not count what it wraps among its sources.
        let within = cause.downcast_ref::<io::Error>().and_then(|error| error.get_ref());
        match within.map(|within| within as &(dyn Error + 'static)).or_else(|| cause.source()) {
            Some(within) => cause = within,
            None => return cause,
        }
    }
}

/// What the innermost cause says, in one line.
pub(crate) fn root(error: &(dyn Error + 'static)) -> String {
    // Several addresses of a name fail in as many lines.
    let text = innermost(error).to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches([' ', '-']).to_owned()
}

fn address_of(place: &Place) -> Option<Multiaddr> {
    match place {
        Place::At(address) => Some(multiaddr::to_libp2p(address)),
        Place::Elsewhere => None,
    }
}

/// All that was tried, the cause before the address, a line for each.
fn of_race(failures: &[Failure]) -> String {
    let mut lines = String::new();
    for Failure { address, why } in failures {
        if !lines.is_empty() {
            lines.push('\n');
        }
        let _infallible = match address {
            Place::At(address) => write!(lines, "{why}: {}", multiaddr::to_libp2p(address)),
            Place::Elsewhere => write!(lines, "{why}"),
        };
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use thiserror::Error;

    use super::*;

    #[derive(Debug, Error)]
    #[error("transport: {0}")]
    struct Wrapped(#[source] io::Error);

    #[test]
    fn the_innermost_cause_is_told() {
        let refused = || io::Error::from_raw_os_error(111);
        let nested = io::Error::other(Wrapped(io::Error::other(Wrapped(refused()))));
        assert_eq!(root(&nested), refused().to_string());
        let list = io::Error::other("several:\n - one\n - Connection refused");
        assert_eq!(root(&list), "Connection refused");
    }

    #[test]
    fn each_address_has_a_line() {
        let at = |text: &str| {
            let address: Multiaddr = text.parse().expect("an address");
            Place::At(multiaddr::to_core(&address))
        };
        let refused = network::DialError::Transport("refused".into());
        let failures = [
            Failure { address: at("/ip4/192.0.2.1/tcp/1"), why: refused },
            Failure {
                address: at("/ip4/192.0.2.2/tcp/1"),
                why: network::DialError::TimedOut(Duration::from_secs(5)),
            },
        ];
        let expected =
            "refused: /ip4/192.0.2.1/tcp/1\nno connection within 5s: /ip4/192.0.2.2/tcp/1";
        assert_eq!(of_race(&failures), expected);
    }
}
