//! What is dialled, what is remembered, and what the log says.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::sync::Mutex;

use futures::executor::block_on;
use thiserror::Error;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

use super::*;

#[derive(Debug, Clone, PartialEq, Error)]
enum Failure {
    #[error("it does not speak that")]
    Refused,
    #[error("nobody is there")]
    Nobody,
    #[error(transparent)]
    Dialect(#[from] DialectError),
}

/// What a peer answers that is dialled in a dialect.
type Answers = fn(Dialect) -> Result<(), Failure>;

fn libp2p_alone(dialect: Dialect) -> Result<(), Failure> {
    if dialect == Dialect::Libp2p { Ok(()) } else { Err(Failure::Refused) }
}

fn dep2p_alone(dialect: Dialect) -> Result<(), Failure> {
    if dialect == Dialect::Dep2p { Ok(()) } else { Err(Failure::Refused) }
}

fn speaks(dialects: Dialects) -> Security {
    Security::with_dialects(&Keypair::generate_ed25519(), dialects).expect("the key can sign")
}

const DEP2P: Dialects = Dialects::Only(Dialect::Dep2p);

fn somewhere() -> Multiaddr {
    "/ip4/192.0.2.1/tcp/1".parse().expect("an address")
}

/// What comes of a dial, and in which dialects it was tried.
fn dial(
    security: &Security,
    peer: PeerId,
    answers: Answers,
) -> (Result<PeerId, Failure>, Vec<Dialect>) {
    let tried = RefCell::new(Vec::new());
    let attempt = |dialect| {
        tried.borrow_mut().push(dialect);
        let answer = answers(dialect).map(|()| (peer, dialect, ()));
        async { answer }
    };
    let refused = |error: &Failure| *error == Failure::Refused;
    let dialled = block_on(security.dial(&somewhere(), attempt, refused));
    (dialled.map(|(peer, ())| peer), tried.into_inner())
}

#[test]
fn the_other_dialect_is_tried_if_one_is_refused_and_found_at_once_then() {
    let (node, peer) = (speaks(Dialects::default()), PeerId::random());
    let [libp2p, dep2p] = Dialect::ALL;
    assert_eq!(dial(&node, peer, dep2p_alone), (Ok(peer), vec![libp2p, dep2p]));
    assert_eq!(dial(&node, peer, dep2p_alone), (Ok(peer), vec![dep2p]));
    // It is another host now.
    assert_eq!(dial(&node, peer, libp2p_alone), (Ok(peer), vec![dep2p, libp2p]));
    assert_eq!(dial(&node, peer, libp2p_alone), (Ok(peer), vec![libp2p]));
}

#[test]
fn nothing_else_is_tried_if_a_dial_fails_otherwise() {
    let node = speaks(Dialects::default());
    let nobody = |_| Err(Failure::Nobody);
    let tried = dial(&node, PeerId::random(), nobody);
    assert_eq!(tried, (Err(Failure::Nobody), vec![Dialect::Libp2p]));
    // What is known of the address stays known.
    dial(&node, PeerId::random(), dep2p_alone).0.expect("it speaks dep2p");
    assert_eq!(dial(&node, PeerId::random(), nobody).1, [Dialect::Dep2p]);
    assert_eq!(dial(&node, PeerId::random(), dep2p_alone).1, [Dialect::Dep2p]);
}

#[test]
fn nothing_else_is_tried_if_nothing_else_may_be_spoken() {
    for dialect in Dialect::ALL {
        let (node, peer) = (speaks(Dialects::Only(dialect)), PeerId::random());
        let answers = if dialect == Dialect::Libp2p { dep2p_alone } else { libp2p_alone };
        let error = DialectError::Refused(dialect).into();
        assert_eq!(dial(&node, peer, answers), (Err(error), vec![dialect]));
    }
}

#[test]
fn a_peer_that_speaks_neither_is_told_in_one_line_with_both_answers() {
    let told = |answers| {
        let (dialled, tried) = dial(&speaks(Dialects::default()), PeerId::random(), answers);
        assert_eq!(tried, Dialect::ALL);
        root(&io::Error::other(dialled.expect_err("there is no connection")))
    };
    assert_eq!(
        told(|_| Err(Failure::Refused)),
        "the peer does not speak libp2p; and as dep2p: the peer does not speak that either"
    );
    assert_eq!(
        told(|dialect| match dialect {
            Dialect::Libp2p => Err(Failure::Refused),
            Dialect::Dep2p => Err(Failure::Nobody),
        }),
        "the peer does not speak libp2p; and as dep2p: nobody is there"
    );
}

#[test]
fn what_a_peer_speaks_that_has_dialled_is_remembered() {
    let (node, peer) = (speaks(Dialects::default()), PeerId::random());
    let address = somewhere().with_p2p(peer).expect("no peer yet");
    node.accepted(&somewhere(), peer, Dialect::Dep2p);
    assert_eq!(node.0.memory.of(&address), Dialect::Dep2p);
    assert_eq!(node.0.memory.of(&somewhere()), Dialect::Libp2p, "others may come from there");
    node.accepted(&somewhere(), peer, Dialect::Libp2p);
    assert_eq!(node.0.memory.of(&address), Dialect::Libp2p);
}

/// Keeps what is logged at info or above.
#[derive(Debug, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _infallible = write!(self.0, " {field}={value:?}");
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().expect("no panic").push(line.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

fn logged(happens: impl FnOnce()) -> Vec<String> {
    let log = Log::default();
    let lines = log.0.clone();
    tracing::subscriber::with_default(log, happens);
    std::mem::take(&mut *lines.lock().expect("no panic"))
}

#[test]
fn a_peer_of_the_other_dialect_is_one_line_in_the_log() {
    let (peer, remote, both) = (PeerId::random(), somewhere(), speaks(Dialects::default()));
    let lines = logged(|| {
        both.accepted(&remote, peer, Dialect::Libp2p);
        both.accepted(&remote, peer, Dialect::Dep2p);
        speaks(DEP2P).accepted(&remote, peer, Dialect::Dep2p);
    });
    let at = "/ip4/192.0.2.1/tcp/1";
    let line =
        format!("INFO message=a peer that speaks dep2p has connected peer={peer} remote={at}");
    assert_eq!(lines, [line]);
}

#[test]
fn a_peer_that_is_refused_for_its_dialect_is_one_line_in_the_log() {
    let (remote, node) = (somewhere(), speaks(Dialects::Only(Dialect::Libp2p)));
    let lines = logged(|| {
        node.refused(&remote, &io::Error::from(DialectError::NotServed(Dialect::Dep2p)));
        let (expected, found) = (Dialect::Dep2p, Dialect::Libp2p);
        let mixed = CertificateError::OtherDialect { expected, found };
        node.refused(&remote, &io::Error::other(mixed));
        // Others are not worth it.
        node.refused(&remote, &io::Error::from(io::ErrorKind::UnexpectedEof));
        node.refused(&remote, &io::Error::other(CertificateError::Several));
    });
    let at = "/ip4/192.0.2.1/tcp/1";
    let line = |why: &str| format!("INFO message=a peer was refused: {why} remote={at}");
    assert_eq!(
        lines,
        [
            line(
                "the peer offers dep2p, which is not served: NodeBuilder::dialects would let it in"
            ),
            line("the peer's certificate is that of libp2p, where dep2p was agreed on"),
        ]
    );
}
