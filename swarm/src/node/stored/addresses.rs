//! The addresses of peers in a file.
//!
//! ```text
//! pointsub addresses 1 1790000000
//! 12D3KooW… /ip4/192.0.2.1/tcp/4001 application 17 0 31 120
//! ```
//!
//! The first line has the version and the time of writing, in seconds since 1970. Each other one has a
//! peer, an address, who named it, how often a dial there has succeeded and failed, how many
//! milliseconds it took, and how many seconds ago it succeeded last; `-` if that is not known. The
//! addresses of a peer stand in the order in which they are tried.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use pointsub_core::Timestamp;
use pointsub_core::network::{AddressBook, KnownAddress, Source};

use super::super::addresses::multiaddr;
use super::replace;
use crate::peer;

/// How many bytes of a file are read. What follows is not looked at.
const LONGEST: u64 = 16 * 1024 * 1024;
/// How long an address that somebody else than the application has named is of use.
const OF_USE: Duration = Duration::from_secs(7 * 24 * 3600);
const HEAD: &str = "pointsub addresses 1";

/// What a file says of an address, and of whose.
pub(in crate::node) type Stored = (pointsub_core::PeerId, KnownAddress);

/// All that is worth keeping: what the application has named, and where peers were reached.
pub(in crate::node) fn text(book: &AddressBook, now: Timestamp) -> String {
    let mut text = format!("{HEAD} {}\n", unix_time().as_secs());
    for peer in book.peers() {
        for known in book.known(&peer) {
            if known.source != Source::Application && known.successes == 0 {
                continue;
            }
            let source = match known.source {
                Source::Application => "application",
                Source::Peer => "peer",
                Source::Stranger => "stranger",
            };
            let (id, address) = (peer::to_libp2p(&peer), multiaddr::to_libp2p(&known.address));
            let took = known.took.map_or_else(dash, |took| took.as_millis().to_string());
            let ago = |reached| now.since(reached).as_secs().to_string();
            let ago = known.reached.map_or_else(dash, ago);
            let KnownAddress { successes, failures, .. } = known;
            let _infallible =
                writeln!(text, "{id} {address} {source} {successes} {failures} {took} {ago}");
        }
    }
    text
}

fn dash() -> String {
    "-".to_owned()
}

/// Writes such a text.
pub(in crate::node) fn save(path: &Path, text: &str) -> io::Result<()> {
    replace(path, text.as_bytes())
}

/// What is in a file, and how many lines of it are broken or out of date. Nothing, if it is not there.
pub(in crate::node) fn load(path: &Path) -> io::Result<(Vec<Stored>, usize)> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes)?;
    read(&String::from_utf8_lossy(&bytes), unix_time())
}

fn read(text: &str, now: Duration) -> io::Result<(Vec<Stored>, usize)> {
    let mut lines = text.lines();
    let head = lines.next().and_then(|line| line.strip_prefix(HEAD));
    let saved = head.and_then(|head| head.trim().parse().ok()).map(Duration::from_secs);
    let Some(saved) = saved else {
        let why = format!("the first line is not \"{HEAD} SECONDS\"");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    };
    // A clock that ran backwards since says nothing.
    let since = now.saturating_sub(saved);
    let (mut stored, mut skipped) = (Vec::new(), 0);
    for line in lines.filter(|line| !line.is_empty()) {
        match parse(line, since) {
            Some(one) => stored.push(one),
            None => skipped += 1,
        }
    }
    Ok((stored, skipped))
}

/// An address of a line that was written so long ago; `None` if it is broken or of no use any more.
fn parse(line: &str, since: Duration) -> Option<Stored> {
    let fields: Vec<&str> = line.split(' ').collect();
    let [id, address, source, successes, failures, took, ago] = fields.as_slice() else {
        return None;
    };
    let id: PeerId = id.parse().ok()?;
    let address: Multiaddr = address.parse().ok()?;
    let source = match *source {
        "application" => Source::Application,
        "peer" => Source::Peer,
        "stranger" => Source::Stranger,
        _ => return None,
    };
    let number = |text: &str| match text {
        "-" => Some(None),
        text => text.parse::<u64>().ok().map(Some),
    };
    let ago = number(ago)?.map(Duration::from_secs);
    let too_old = ago.is_none_or(|ago| ago.saturating_add(since) > OF_USE);
    if source != Source::Application && too_old {
        return None;
    }
    let known = KnownAddress {
        address: multiaddr::of_peer(&id, &address)?,
        source,
        successes: successes.parse().ok()?,
        failures: failures.parse().ok()?,
        took: number(took)?.map(Duration::from_millis),
        // Before this node began to count.
        reached: ago.map(|_| Timestamp::ZERO),
    };
    Some((peer::to_core(&id), known))
}

/// The time since the beginning of 1970.
pub(in crate::node) fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::tests::Folder;
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(seconds)
    }

    fn address(port: u16) -> pointsub_core::network::Address {
        let address: Multiaddr = format!("/ip4/192.0.2.1/tcp/{port}").parse().expect("an address");
        multiaddr::to_core(&address)
    }

    #[test]
    fn a_book_comes_back_as_it_was() {
        let (mut book, id) = (AddressBook::default(), PeerId::random());
        let peer = peer::to_core(&id);
        (1..4).for_each(|port| book.pin(peer, address(port)));
        assert!((4..7).all(|port| book.learn(peer, address(port), at(0))));
        for (port, millis) in [(3, 20), (5, 300)] {
            book.connected(peer, Some(&address(port)), at(10));
            book.measured(&peer, &address(port), Duration::from_millis(millis));
        }
        let folder = Folder::new();
        let path = folder.file("addresses");
        save(&path, &text(&book, at(20))).expect("it can be written");
        let (stored, skipped) = load(&path).expect("it can be read");
        assert_eq!((stored.len(), skipped), (4, 0), "not those that nobody was reached at");
        let mut again = AddressBook::default();
        for (peer, known) in stored {
            assert!(again.restore(peer, known, at(0)));
        }
        assert_eq!(again.of(&peer), [3, 5, 1, 2].map(address));
        assert_eq!(again.known(&peer)[0].took, Some(Duration::from_millis(20)));
        assert!(load(&folder.file("none")).expect("no file is no fault").0.is_empty());
    }

    #[test]
    fn what_is_broken_or_old_is_left_out() {
        let peer = PeerId::random();
        let good = format!("{peer} /ip4/192.0.2.1/tcp/1 peer 3 0 9 60");
        let stranger = PeerId::random();
        let broken = [
            good.replace("peer 3", "nobody 3"),
            good.replace(" 3 ", " -3 "),
            good.replace(" 3 ", " 99999999999999999999 "),
            good.replace("/tcp/1", "/tcp/99999"),
            good.replace("/tcp/1", &format!("/tcp/1/p2p/{stranger}")),
            good.replace(&peer.to_string(), "QmNobody"),
            good.replace(" 60", ""),
            format!("{good} 1"),
            good.replace(" 60", &format!(" {}", 8 * 24 * 3600)),
            "\u{fffd}\u{fffd}".to_owned(),
        ];
        let all = format!("{HEAD} 1000\n{good}\n{}\n{good}\n", broken.join("\n"));
        let (stored, skipped) = read(&all, Duration::from_secs(1000)).expect("it is a book");
        assert_eq!((stored.len(), skipped), (2, broken.len()));
        // Written in what is the future now.
        assert_eq!(read(&all, Duration::ZERO).expect("it is a book").0.len(), 2);
        let later = Duration::from_secs(8 * 24 * 3600);
        assert_eq!(read(&all, later).expect("it is a book").0.len(), 0);
        for head in ["", "pointsub addresses 2 1000\n", "pointsub addresses 1 soon\n"] {
            read(head, Duration::ZERO).expect_err(head);
        }
    }

    #[test]
    fn whatever_is_in_a_file_it_is_read_to_its_end_or_not_at_all() {
        let folder = Folder::new();
        let path = folder.file("addresses");
        fs::write(&path, [0xff; 4096]).expect("it can be written");
        load(&path).expect_err("it is none");
        let mut bytes = format!("{HEAD} 1\n").into_bytes();
        bytes.extend([0xff, b'\n'].repeat(100_000));
        fs::write(&path, &bytes).expect("it can be written");
        assert_eq!(load(&path).expect("the head is good").1, 100_000);
    }
}
