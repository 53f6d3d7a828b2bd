//! What is said of a dial that failed.

use std::error::Error;
use std::fmt::Write as _;
use std::io;

use libp2p_core::transport::TransportError;
use libp2p_swarm::DialError;

use super::Place;
use super::race::{Failure, Why};

/// Why the dial of a single address failed, in one line; `None` if there was nothing to dial.
pub(super) fn of_dial(error: &DialError, place: &Place) -> Option<String> {
    Some(match (error, place) {
        (DialError::NoAddresses, Place::Elsewhere) => return None,
        (DialError::NoAddresses, Place::At(_)) => "this node itself listens there".to_owned(),
        (DialError::LocalPeerId { .. }, _) => "this node itself answers there".to_owned(),
        (DialError::WrongPeerId { obtained, .. }, _) => format!("another peer answers, {obtained}"),
        (DialError::Denied { cause }, _) => root(cause),
        (DialError::Transport(errors), Place::At(_)) => match errors.first() {
            Some((_, error)) => of_transport(error),
            None => "the dial failed".to_owned(),
        },
        (DialError::Transport(errors), Place::Elsewhere) => {
            let each = errors.iter().map(|(at, error)| format!("{}: {at}", of_transport(error)));
            each.collect::<Vec<_>>().join("\n")
        }
        (DialError::Aborted, _) => "the dial was given up".to_owned(),
        (DialError::DialPeerConditionFalse(_), _) => "it is being dialled already".to_owned(),
    })
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

/// All that was tried, the cause before the address, a line for each.
pub(super) fn of_race(failures: &[Failure<Place>]) -> String {
    let mut lines = String::new();
    for Failure { address, why } in failures {
        if !lines.is_empty() {
            lines.push('\n');
        }
        let _infallible = match address {
            Place::At(address) => write!(lines, "{}: {address}", of_attempt(why)),
            Place::Elsewhere => write!(lines, "{}", of_attempt(why)),
        };
    }
    lines
}

pub(super) fn of_attempt(why: &Why) -> String {
    match why {
        Why::TimedOut(limit) => format!("no connection within {limit:?}"),
        Why::Said(said) => said.clone(),
    }
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
        let at = |address: &str| Place::At(address.parse().expect("an address"));
        let failures = [
            Failure { address: at("/ip4/192.0.2.1/tcp/1"), why: Why::Said("refused".into()) },
            Failure {
                address: at("/ip4/192.0.2.2/tcp/1"),
                why: Why::TimedOut(Duration::from_secs(5)),
            },
        ];
        let expected =
            "refused: /ip4/192.0.2.1/tcp/1\nno connection within 5s: /ip4/192.0.2.2/tcp/1";
        assert_eq!(of_race(&failures), expected);
    }
}
