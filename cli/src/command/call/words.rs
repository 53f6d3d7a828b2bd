//! What the arguments without names stand for.

use pointsub_tokio::{Multiaddr, ProtocolName};

use crate::error::Failure;
use crate::target::{TargetArgs, is_address};

/// An example for those who have typed something else.
const EXAMPLES: &str = "`pointsub call /echo/1 hi` calls the closest server that is found, \
                        `pointsub call TICKET /echo/1 hi` the one that printed the ticket";

/// The arguments without names.
#[derive(Debug)]
pub(super) struct Words<'a> {
    /// `None` if the closest server is to answer.
    pub(super) target: Option<TargetArgs>,
    pub(super) protocol: ProtocolName,
    /// A body, or a method and its arguments, or nothing.
    pub(super) body: Vec<&'a str>,
}

impl<'a> Words<'a> {
    /// Tells a target from a protocol: names of protocols begin with `/`, and so do addresses alone of all
    /// targets.
    pub(super) fn of(words: &[&'a str], address: &[Multiaddr]) -> Result<Self, Failure> {
        let (target, rest) = match words {
            [] => return Err(Failure::usage("a protocol is required").next(EXAMPLES)),
            [first, ..] if is_protocol(first) => (None, words),
            [target, rest @ ..] => (Some(*target), rest),
        };
        if target.is_none() && !address.is_empty() {
            return Err(Failure::usage("--address says where a target is, and there is none")
                .next("name the peer before the protocol, by its Peer ID"));
        }
        let [protocol, body @ ..] = rest else {
            let text = "a protocol is required behind the target";
            return Err(Failure::usage(text).next(EXAMPLES));
        };
        if body.len() > 2 {
            return Err(Failure::usage("there are too many arguments").next(
                "quote a body that has spaces; a method of a typed service has one argument of JSON",
            ));
        }
        let protocol = protocol
            .parse()
            .map_err(|error| Failure::usage(format_args!("{error}")).next(EXAMPLES))?;
        let target = target.map(|target| TargetArgs::new(target.to_owned(), address.to_vec()));
        Ok(Self { target, protocol, body: body.to_vec() })
    }
}

fn is_protocol(word: &str) -> bool {
    word.starts_with('/') && !is_address(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X";

    fn of<'a>(words: &[&'a str]) -> Result<(bool, String, Vec<&'a str>), Failure> {
        let Words { target, protocol, body } = Words::of(words, &[])?;
        Ok((target.is_some(), protocol.to_string(), body))
    }

    #[test]
    fn a_word_with_a_slash_is_a_protocol_unless_it_is_an_address() {
        let relayed = format!("/dns4/relay.example.org/tcp/1/p2p/{PEER}/p2p-circuit/p2p/{PEER}");
        for target in ["psuaeta", "home", PEER, "/ip4/192.0.2.7/tcp/1", "/p2p/12D3", &relayed] {
            let wanted = (true, "/echo/1".to_owned(), vec!["hi"]);
            assert_eq!(of(&[target, "/echo/1", "hi"]).expect("a target"), wanted, "{target}");
        }
        for protocol in ["/echo/1", "/ip4x/1", "/p2p/id/delta/1.0.0", "/http", "/dnsx"] {
            for body in [vec![], vec!["hi"], vec!["/slash"], vec!["say", "{}"]] {
                let words = [&[protocol], &body[..]].concat();
                let wanted = (false, protocol.to_owned(), body);
                assert_eq!(of(&words).expect("a protocol"), wanted);
            }
        }
    }

    #[test]
    fn what_is_missing_or_too_much_is_said() {
        let failed = |words: &[&str]| {
            let failure = of(words).expect_err("it is wrong");
            let (text, next) = failure.lines();
            assert!(next.is_some(), "{text}");
            text.to_owned()
        };
        assert_eq!(failed(&[]), "a protocol is required");
        assert_eq!(failed(&["home"]), "a protocol is required behind the target");
        let address = format!("/ip4/192.0.2.7/tcp/1/p2p/{PEER}");
        assert_eq!(failed(&[&address]), "a protocol is required behind the target");
        assert!(failed(&["home", "echo"]).contains("cannot name a protocol"));
        assert_eq!(failed(&["/echo/1", "say", "{}", "more"]), "there are too many arguments");
        let address = [address.parse().expect("an address")];
        Words::of(&["/echo/1", "hi"], &address).expect_err("of whom is it the address?");
    }
}
