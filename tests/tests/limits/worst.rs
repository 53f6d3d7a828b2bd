//! What a server holds for its peers at worst.

use std::fmt::Write as _;
use std::fs;

use pointsub_core::ServerConfig;
use pointsub_tests::sources::root;

/// What a server holds for its peers at worst, as a sum: what, how it comes about, how much that is for
/// some options, and the attack that tries it (`tests/siege`).
const SUMMANDS: [Summand; 5] = [
    Summand {
        what: "messages that are incomplete or at work, and answers that are not written",
        formula: "`max_memory`",
        bytes: |config| config.max_memory(),
        attack: "answers that nobody takes",
    },
    Summand {
        what: "what a stream holds before it asks: 64 KiB that were read, 16 KiB of fields, its buffer",
        formula: "`max_streams × (80 KiB + buffer_pool_size)`",
        bytes: |config| config.max_streams() * (80 * 1024 + config.buffer_pool_size()),
        attack: "as many streams as there may be",
    },
    Summand {
        what: "what lies unread in the muxers of all connections, but those of QUIC",
        formula: "512 MiB for the process",
        bytes: |_| 512 * 1024 * 1024,
        attack: "raw streams full of bytes",
    },
    Summand {
        what: "blocks that requests at work were read in, and pin",
        formula: "`concurrency_ceiling × 64 KiB`",
        bytes: |config| config.concurrency_ceiling() * 64 * 1024,
        attack: "many peers with slow requests",
    },
    Summand {
        what: "what a call that is open is known by, its least window, and the ends of small messages",
        formula: "`max_open_calls × 8 KiB`",
        bytes: |config| config.max_open_calls() * 8 * 1024,
        attack: "calls that are held",
    },
];

struct Summand {
    what: &'static str,
    formula: &'static str,
    bytes: fn(&ServerConfig) -> usize,
    attack: &'static str,
}

/// The sum as a table, and what comes beside it.
pub(crate) fn worst_case() -> String {
    let siege = ["attacks", "holders", "strangers"].map(|file| {
        fs::read_to_string(root().join(format!("tests/siege/{file}.rs"))).expect("a source file")
    });
    let (siege, config) = (siege.concat(), ServerConfig::default());
    let mut text = String::from(
        "What a server holds for its peers is at most this sum, with the share of one network, peer or \
         protocol as the options below say. Each part is attacked by a hostile peer of `tests/siege`, \
         which checks the memory of the process against the sum.\n\n\
         | what | at most | by default | attack |\n|---|---|---:|---|\n",
    );
    let mib = |bytes: usize| format!("{} MiB", bytes / (1024 * 1024));
    let mut sum = 0;
    for Summand { what, formula, bytes, attack } in SUMMANDS {
        assert!(siege.contains(&format!("\"{attack}\"")), "there is no attack {attack}");
        sum += bytes(&config);
        let _ok = writeln!(text, "| {what} | {formula} | {} | {attack} |", mib(bytes(&config)));
    }
    let _ok = writeln!(text, "| all | | {} | |", mib(sum));
    text.push_str(BESIDE);
    text
}

/// What comes beside the sum.
const BESIDE: &str = "\nTo this come:\n\n\
    * for a connection whose peer stops in the middle of a record, two buffers of 64 KiB, or four \
    with Noise, beside what libp2p holds; an idle connection has none, and each thread keeps two;\n\
    * for a connection with a hostile peer, unread bytes: up to 128 MiB over QUIC, and 132 MiB over \
    Yamux; over QUIC nothing limits that for all connections together but their number and how many \
    one network may have;\n\
    * while a stream is open, up to 32 MiB of buffers for large bodies that wait to be used again; a \
    buffer that is used again can be an eighth larger than its body;\n\
    * to compress answers, some 300 KiB for each core and each thread, however many answers \
    wait, and 8 MiB of answers that wait for a core;\n\
    * what handlers allocate themselves, at most `concurrency_ceiling` of them at a time;\n\
    * of a node that serves a registry: 50.5 MiB by default, beside its open calls, by the options of a \
    registry below. Attacks: those of `tests/siege/hordes.rs`;\n\
    * of a node that keeps a part of the table of a private network: some 14 MiB for whom it lists.\n\n\
    Of its 8 KiB, an idle call takes 1.3 KiB at its server, with a handler that keeps nothing, and 1 KiB \
    at its client (`tests/tests/calls_memory.rs`).\n\n\
    A client holds the bodies that its callers gave it, and `max_block_size` for each stream on which \
    an answer arrives.\n";
