//! Lists of who may come, from a file.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use ipnet::IpNet;
use libp2p_identity::PeerId;
use pointsub_core::ProtocolName;
use thiserror::Error;

use super::list::{Access, AccessList, Lists};

/// Why a file of lists was not taken. The lists are what they were.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum AccessFileError {
    /// It cannot be read.
    #[error("cannot read the access list {path}: {error}")]
    Read {
        /// The file.
        path: String,
        /// What the system says.
        error: Arc<std::io::Error>,
    },
    /// A line is not understood.
    #[error("line {line} of the access list is not understood: {reason}")]
    Line {
        /// Its number, from 1 on.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

impl AccessList {
    /// Replaces the lists by those of a file, at one instant; to be called again when the file has
    /// changed. If the file cannot be used, the lists stay what they are.
    ///
    /// Each line is one of these, or empty. What follows a `#` is a comment.
    ///
    /// ```text
    /// default block
    /// allow peer 12D3KooWNvSZnPi3RrhrTwEY4LuuBeB6K6facKUCJcyWG1aoDd2p
    /// block peer 12D3KooWNvSZnPi3RrhrTwEY4LuuBeB6K6facKUCJcyWG1aoDd2p
    /// trust peer 12D3KooWNvSZnPi3RrhrTwEY4LuuBeB6K6facKUCJcyWG1aoDd2p
    /// allow net 192.0.2.0/24
    /// block net 2001:db8::/32
    /// allow protocol /admin/1 12D3KooWNvSZnPi3RrhrTwEY4LuuBeB6K6facKUCJcyWG1aoDd2p
    /// ```
    ///
    /// # Errors
    /// [`AccessFileError`] if the file cannot be read, or has a line that is none of these.
    pub fn load(&self, path: impl AsRef<Path>) -> Result<(), AccessFileError> {
        let path = path.as_ref();
        let text = fs::read_to_string(path).map_err(|error| AccessFileError::Read {
            path: path.display().to_string(),
            error: Arc::new(error),
        })?;
        self.load_text(&text)
    }

    /// Replaces the lists by those of a text: see [`load`](Self::load).
    ///
    /// # Errors
    /// [`AccessFileError::Line`] if it has a line that is not understood.
    pub fn load_text(&self, text: &str) -> Result<(), AccessFileError> {
        let mut lists = Lists::default();
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.split('#').next().unwrap_or_default();
            let words: Vec<&str> = text.split_whitespace().collect();
            take(&mut lists, &words).map_err(|reason| AccessFileError::Line { line, reason })?;
        }
        self.replace(lists);
        Ok(())
    }
}

fn take(lists: &mut Lists, words: &[&str]) -> Result<(), String> {
    match *words {
        [] => {}
        ["default", access] => lists.default = access_of(access)?,
        ["trust", "peer", peer] => {
            let peer = peer_of(peer)?;
            lists.peers.insert(peer, Access::Allow);
            lists.trusted.insert(peer);
        }
        [access, "peer", peer] => {
            lists.peers.insert(peer_of(peer)?, access_of(access)?);
        }
        [access, "net", network] => {
            let parsed = network.parse::<IpNet>();
            let network =
                parsed.map_err(|_| format!("`{network}` is not a network like 192.0.2.0/24"))?;
            lists.networks.insert(network.trunc(), access_of(access)?);
        }
        ["allow", "protocol", protocol, peer] => {
            let name = ProtocolName::new(protocol).map_err(|error| error.to_string())?;
            lists.protocols.entry(name).or_default().insert(peer_of(peer)?);
        }
        _ => {
            return Err("a line is `allow peer …`, `block net …`, `default block` and so on".into());
        }
    }
    Ok(())
}

fn access_of(word: &str) -> Result<Access, String> {
    match word {
        "allow" => Ok(Access::Allow),
        "block" => Ok(Access::Block),
        other => Err(format!("`{other}` is neither `allow` nor `block`")),
    }
}

fn peer_of(word: &str) -> Result<PeerId, String> {
    word.parse().map_err(|_| format!("`{word}` is not a peer id"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::admission::Admission;

    const PEER: &str = "12D3KooWNvSZnPi3RrhrTwEY4LuuBeB6K6facKUCJcyWG1aoDd2p";

    #[test]
    fn a_file_says_who_may_come() {
        let (list, peer) = (AccessList::open(), PEER.parse().expect("a peer id"));
        list.set_peer(PeerId::random(), Access::Block);
        let text = format!(
            "# who may come\n\n default block\nallow peer {PEER} # a friend\n\
             allow net 192.0.2.0/24\nallow protocol /admin/1 {PEER}\ntrust peer {PEER}"
        );
        list.load_text(&text).expect("it is understood");
        let [near, far] = ["/ip4/192.0.2.9/tcp/1", "/ip4/192.0.3.9/tcp/1"];
        let [near, far] = [near, far].map(|text| text.parse().expect("an address"));
        let stranger = PeerId::random();
        assert!(list.peer(&peer, &far).is_allowed() && list.trusts(&peer));
        assert!(list.peer(&stranger, &near).is_allowed());
        assert!(!list.peer(&stranger, &far).is_allowed());
        let admin = ProtocolName::from_static("/admin/1");
        assert!(list.protocol(&peer, &admin).is_allowed());
        assert!(!list.protocol(&stranger, &admin).is_allowed());
    }

    #[test]
    fn a_line_that_is_not_understood_changes_nothing() {
        let list = AccessList::closed();
        for (text, number) in [
            ("allow", 1),
            ("\npermit peer x", 2),
            ("allow net 192.0.2.0", 1),
            ("default maybe", 1),
            ("allow peer me", 1),
            ("block protocol /a/1 x", 1),
            ("default allow\nallow protocol chat x", 2),
        ] {
            let error = list.load_text(text).expect_err(text);
            let line = matches!(error, AccessFileError::Line { line, .. } if line == number);
            assert!(line, "{text:?}: {error}");
        }
        let from = "/ip4/192.0.2.9/tcp/1".parse().expect("an address");
        assert!(!list.peer(&PeerId::random(), &from).is_allowed(), "it is closed as before");
        let missing = list.load("/does/not/exist").expect_err("no file");
        assert!(missing.to_string().contains("/does/not/exist"), "{missing}");
    }
}
