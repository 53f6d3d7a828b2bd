//! Which dialects understand each other.

use futures::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::node::dialing::reason::innermost;

/// Says something in both directions.
async fn talk(mut one: Secured, mut two: Secured) {
    for said in [b"hello", b"again"] {
        one.write_all(said).await.expect("written");
        one.flush().await.expect("written");
        let mut heard = [0; 5];
        two.read_exact(&mut heard).await.expect("something is said");
        assert_eq!(&heard, said);
        std::mem::swap(&mut one, &mut two);
    }
}

#[test]
fn who_dials_answers_in_the_dialect_that_it_hears() {
    for spoken in BOTH {
        for allowed in [&[spoken][..], &BOTH, &[Dialect::Dep2p, Dialect::Libp2p]] {
            let (dialled, accepted) = meet(|io| dial(io, allowed), |io| listen(io, spoken));
            let ((listener, dialect, one), (dialler, two)) =
                (dialled.expect("secured"), accepted.expect("secured"));
            assert_eq!((listener, dialler, dialect), (peer(2), peer(1), spoken));
            block_on(talk(one, two));
        }
    }
}

#[test]
fn who_dials_says_which_dialect_the_peer_speaks_if_it_is_not_allowed() {
    for (spoken, allowed) in
        [(BOTH[0], &BOTH[1..]), (BOTH[1], &BOTH[..1]), (BOTH[0], &[]), (BOTH[1], &[])]
    {
        let (dialled, accepted) = meet(|io| dial(io, allowed), |io| listen(io, spoken));
        let error = why(dialled);
        assert!(matches!(error, Error::OtherDialect(other) if other == spoken), "{error:?}");
        // It has not said who it is.
        let Error::Io(error) = why(accepted) else { panic!("something was heard") };
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    }
}

#[test]
fn who_listens_wants_its_own_dialect() {
    for (own, theirs) in [(BOTH[0], BOTH[1]), (BOTH[1], BOTH[0])] {
        // Signs in one dialect whatever it hears.
        let stubborn = |mut io| async move {
            let keys = keys(1);
            let session = keys.builder().expect("a key").build_initiator().expect("a key");
            let mut handshake = Handshake::new(&mut io, session);
            handshake.send(&[]).await.expect("somebody listens");
            handshake.receive().await.expect("an answer");
            handshake.send(keys.payload(theirs)).await.expect("somebody listens");
        };
        let ((), accepted) = meet(stubborn, |io| listen(io, own));
        let error = why(accepted);
        assert!(matches!(error, Error::OtherDialect(other) if other == theirs), "{error:?}");
    }
}

#[test]
fn a_log_line_can_say_what_the_peer_speaks() {
    let (dialled, _) = meet(|io| dial(io, &BOTH[..1]), |io| listen(io, Dialect::Dep2p));
    let error = std::io::Error::from(why(dialled));
    let why = "the peer speaks dep2p's handshakes, which NodeBuilder::dialects would allow";
    assert_eq!(error.to_string(), why);
    // As it reaches whoever writes the log.
    assert!(crate::transport::security::is_other_dialect(innermost(&error)), "{error:?}");
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    assert!(matches!(inner, Some(Error::OtherDialect(Dialect::Dep2p))), "{inner:?}");
}
