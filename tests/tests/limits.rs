//! `LIMITS.md`: every limit, its default, what happens beyond it. Generated from the sources, so
//! that it cannot say anything that is not there: options from `core/src/config`, and every constant
//! of the core, the libp2p half and the tokio adapter, which is a limit or is listed here as none.
//! `UPDATE_LIMITS=1 cargo test -p pointsub-tests --test limits` writes the file anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use pointsub_core::ServerConfig;
use pointsub_tests::sources::{self, root};

/// Constants that are limits, and what happens beyond them.
const FIXED: &[(&str, &str, &str)] = &[
    (
        "core/src/wire/compress/mod.rs",
        "MAX_RATIO",
        "a body that claims more is refused, without inflating it",
    ),
    (
        "core/src/wire/compress/mod.rs",
        "ONE_STEP",
        "it is done in steps of 8 KiB, with other tasks in between",
    ),
    (
        "core/src/wire/compress/gain.rs",
        "PROTOCOLS",
        "the bodies of others are taken to shrink as text does",
    ),
    ("core/src/wire/mod.rs", "MAX_HEAD", "the frame breaks the format, and its stream is reset"),
    (
        "core/src/wire/decode.rs",
        "SMALL",
        "a larger body is asked for, and gets a buffer of its own",
    ),
    ("core/src/wire/decode.rs", "GROWTH", "a buffer grows no faster, whatever was announced"),
    ("core/src/wire/outbox.rs", "SLICE", "the rest goes with the next write"),
    ("core/src/wire/outbox.rs", "BATCH", "the rest goes with the next write"),
    ("core/src/wire/call.rs", "MAX_PART", "the stream is reset; a longer message goes in parts"),
    ("core/src/wire/call.rs", "MIN_PART", "a shorter one breaks the stream"),
    ("core/src/wire/call.rs", "MAX_ARGUMENT", "the call is refused, or ends"),
    ("core/src/wire/call.rs", "MAX_CURSOR", "the message is not sent"),
    ("core/src/wire/call.rs", "MAX_CREDIT", "the stream is reset"),
    ("core/src/wire/metadata.rs", "MAX_METADATA", "it is not sent; what comes beyond is left out"),
    (
        "core/src/wire/metadata.rs",
        "MAX_NAME",
        "it is not sent; the request is answered `bad request`",
    ),
    (
        "core/src/connection/calls/credit.rs",
        "AHEAD",
        "the rest is granted when half of it has come",
    ),
    ("core/src/connection/calls/copies.rs", "SHARED", "messages go into another one"),
    ("core/src/connection/calls/writing.rs", "TURN", "other calls come first"),
    (
        "core/src/connection/server/streaming.rs",
        "LEAST_WINDOW",
        "a window is no smaller, whatever memory is left",
    ),
    ("swarm/src/api/calls/open.rs", "LEAST_BYTES", "a window that is asked for is no smaller"),
    ("core/src/connection/client/calls.rs", "FILL", "the rest goes with the next write"),
    (
        "core/src/connection/client/calls.rs",
        "MEMORY",
        "windows are 8 KiB each, and a message that is longer ends its call",
    ),
    ("core/src/connection/server/streaming.rs", "FILL", "the rest goes with the next write"),
    ("core/src/connection/link.rs", "MIN_RATE", "the stream is reset"),
    (
        "core/src/connection/link.rs",
        "OTHER_FORMAT",
        "the stream is reset, if what has come is of Go 1.2",
    ),
    ("core/src/id.rs", "MAX_PEER_ID", "no such peer id is accepted"),
    ("core/src/wire/outcome.rs", "MAX_MESSAGE", "the text is cut"),
    (
        "core/src/connection/client/batch.rs",
        "BULK",
        "the request travels on a stream for large ones",
    ),
    (
        "core/src/endpoint/client/state/memory.rs",
        "CAPACITY",
        "the peer that was met first is forgotten, and asked again",
    ),
    (
        "core/src/endpoint/client/state/stream.rs",
        "MAX_PLAIN_USES",
        "it is closed, and another opened",
    ),
    (
        "core/src/endpoint/client/dispatcher/windows.rs",
        "FRESH",
        "requests that came later are placed before it, while there are any",
    ),
    (
        "core/src/endpoint/client/state/window.rs",
        "SOON",
        "it is asked again after that pause, as after any failure",
    ),
    ("core/src/endpoint/client/state/requests.rs", "MAX_MOVES", "it counts as a failed try"),
    (
        "core/src/endpoint/client/state/retry.rs",
        "FULL",
        "with half of it gone, there are neither retries nor hedges",
    ),
    (
        "core/src/endpoint/client/state/retry.rs",
        "MAX_PAUSE",
        "longer pauses that a server asks for end the tries",
    ),
    (
        "core/src/endpoint/client/state/failover.rs",
        "MAX_LOG",
        "further attempts are made, and not listed",
    ),
    ("core/src/connection/client/answers.rs", "MAX_UNASKED", "the stream is reset"),
    ("core/src/connection/client/waiting.rs", "QUEUED", "there is no more time for more"),
    ("core/src/endpoint/closest/nodes.rs", "MAX_NODES", "adding fails with a typed error"),
    (
        "core/src/endpoint/closest/health.rs",
        "BACKOFF_MAX",
        "a node backs off no longer, and is half-open",
    ),
    ("core/src/endpoint/closest/latency.rs", "MAX_SAMPLE", "longer answers count as this long"),
    ("core/src/endpoint/server/penalty.rs", "FULL", "a peer that has used them up is cut off"),
    ("core/src/endpoint/server/penalty.rs", "FIRST_BAN", "the peer is let in again"),
    ("core/src/endpoint/server/penalty.rs", "LONGEST_BAN", "the peer is let in again"),
    ("core/src/endpoint/server/penalty.rs", "FORGIVEN", "the next time is shorter"),
    (
        "core/src/endpoint/server/penalty.rs",
        "GROUP_FULL",
        "peers of the network that come later begin with fewer points",
    ),
    (
        "core/src/endpoint/server/shares/budget.rs",
        "SMALL",
        "what is kept for such peers is not for it",
    ),
    ("core/src/endpoint/server/memory.rs", "STILL", "it is reset, if others lack memory"),
    ("core/src/endpoint/server/rate.rs", "BUCKETS", "they share one limit"),
    ("core/src/endpoint/server/notice.rs", "WAITING", "further ones are not told"),
    (
        "core/src/endpoint/server/penalty.rs",
        "REMEMBERED",
        "further ones begin anew when they come back",
    ),
    ("core/src/connection/server/batch.rs", "MOST_ANSWERS", "they are written"),
    (
        "core/src/connection/server/admission.rs",
        "MAX_RENEWALS",
        "the stream asks for another place",
    ),
    ("swarm/src/api/server/shared.rs", "ALLOWANCE", "the stream asks for more room"),
    ("swarm/src/api/server/shared.rs", "LAST_WORDS", "calls that are left are ended"),
    (
        "core/src/endpoint/server/shares/places.rs",
        "MULTIPLE",
        "further requests are answered `busy`",
    ),
    (
        "core/src/connection/server/stream.rs",
        "OUTBOX_HIGH",
        "nothing more is read from the stream until then",
    ),
    (
        "core/src/network/book.rs",
        "ADDRESSES",
        "of the application's, the least promising is forgotten; others are not kept",
    ),
    ("core/src/network/book.rs", "PINNED_PEERS", "the peer that it named longest ago is forgotten"),
    ("core/src/network/book.rs", "LEARNED_PEERS", "the peer that went first is forgotten"),
    ("core/src/network/book.rs", "LEARNED_BYTES_OF_PEER", "further ones are not kept"),
    ("core/src/network/book.rs", "LEARNED_BYTES", "further ones are not kept"),
    ("core/src/network/book.rs", "REMEMBERED", "it is forgotten"),
    ("core/src/network/book.rs", "PROVEN_REMEMBERED", "it is forgotten"),
    (
        "core/src/network/candidates/machine.rs",
        "SERVICES",
        "the one that was wanted longest ago is not looked for any more",
    ),
    (
        "core/src/network/candidates/machine.rs",
        "WANTED",
        "servers of it are not looked for any more",
    ),
    ("core/src/network/candidates/machine.rs", "LONGEST", "it counts for this long"),
    (
        "core/src/network/candidates/machine.rs",
        "PEERS",
        "those that connect later are not looked at",
    ),
    ("core/src/network/candidates/machine.rs", "NAMES", "the rest is not looked at"),
    (
        "core/src/network/candidates/table.rs",
        "CANDIDATES",
        "one that has failed is forgotten for a new one",
    ),
    (
        "core/src/network/candidates/table.rs",
        "OF_SOURCE",
        "one that has failed is forgotten for a new one",
    ),
    (
        "core/src/network/candidates/table.rs",
        "OF_NETWORK",
        "one that has failed is forgotten for a new one",
    ),
    ("core/src/network/candidates/table.rs", "FAILURES", "it is forgotten"),
    ("core/src/network/candidates/table.rs", "LONGEST_PAUSE", "it is dialled again"),
    ("core/src/network/candidates/lookups.rs", "LONGEST_PAUSE", "the source is asked again"),
    ("core/src/network/candidates/verifying.rs", "AT_A_TIME", "further ones wait"),
    ("core/src/network/candidates/verifying.rs", "STRANGERS", "further ones wait"),
    (
        "core/src/network/candidates/verifying.rs",
        "REMEMBERED",
        "the one that may be dialled first is forgotten",
    ),
    ("swarm/src/discovery/shared.rs", "ADDRESSES", "the rest is not looked at"),
    ("swarm/src/discovery/shared.rs", "WAITING_ADDRESSES", "further ones are not kept"),
    ("core/src/network/crowd.rs", "PER_PEER", "one that is idle makes room"),
    ("core/src/network/crowd.rs", "ANSWER", "those that do not answer are not closed"),
    (
        "core/src/network/dialing.rs",
        "DIALS",
        "further ones wait in line until one has succeeded or failed",
    ),
    ("core/src/network/dialing.rs", "CROWDED", "each peer has one dial at a time"),
    ("core/src/network/dialing.rs", "BUSY", "no dial begins for which nobody waits"),
    ("core/src/network/dialing.rs", "LONGEST_REST", "the address is dialled again"),
    ("core/src/network/finder.rs", "CANDIDATES", "one that has failed is forgotten for a new one"),
    ("core/src/network/finder.rs", "LONGEST_PAUSE", "the relay is asked again"),
    ("core/src/network/dns/entry.rs", "MAX_RECORD", "the record is ignored"),
    ("core/src/network/dns/entry.rs", "MAX_PEER_TEXT", "the record is ignored"),
    ("core/src/network/dns/name.rs", "MAX_NAME", "it is no name of a list"),
    ("core/src/network/dns/name.rs", "MAX_LABEL", "it is no name of a list"),
    ("core/src/network/dns/round.rs", "QUERIES", "further lists are not read"),
    (
        "core/src/network/dns/round.rs",
        "AT_A_TIME",
        "further ones are asked for when one is answered",
    ),
    ("core/src/network/dns/round.rs", "DEPTH", "further lists are not read"),
    ("core/src/network/dns/round.rs", "RECORDS", "others of them are ignored, by chance"),
    ("core/src/network/dns/round.rs", "PEERS", "further ones are ignored"),
    ("core/src/network/dns/round.rs", "ADDRESSES", "further ones are ignored"),
    (
        "core/src/network/dns/round.rs",
        "LONGEST_ROUND",
        "names that were not answered count as failed",
    ),
    ("core/src/network/dns/round.rs", "MOST_TTL", "the list is read again"),
    ("core/src/network/dns/machine.rs", "LONGEST_PAUSE", "the list is read again"),
    (
        "swarm/src/discovery/dns/resolver.rs",
        "MAX_PACKET",
        "the answer is not read, or asked for by TCP",
    ),
    (
        "swarm/src/discovery/dns/resolver.rs",
        "TIMEOUT",
        "it is asked again, or another name server is",
    ),
    ("core/src/network/lan/link.rs", "BURST", "further packets of that sender are not looked at"),
    ("core/src/network/lan/link.rs", "SENDERS", "further senders share the allowance of another"),
    ("core/src/network/lan/link.rs", "LONGEST_PAUSE", "the link is asked again"),
    ("core/src/network/lan/machine.rs", "LINKS", "further ones are not used"),
    ("core/src/network/lan/machine.rs", "PEERS", "further ones are ignored"),
    ("swarm/src/discovery/lan/packet.rs", "MAX_PACKET", "the packet is ignored"),
    ("swarm/src/discovery/lan/packet.rs", "RECORDS", "the packet is ignored"),
    ("swarm/src/discovery/lan/packet.rs", "PEERS", "further ones are ignored"),
    (
        "swarm/src/discovery/lan/packet.rs",
        "ADDRESSES",
        "further ones are ignored, and not announced",
    ),
    (
        "swarm/src/discovery/lan/packet.rs",
        "PROTOCOLS",
        "what the peer serves is asked on a connection",
    ),
    (
        "swarm/src/discovery/lan/packet.rs",
        "ANNOUNCED",
        "further addresses are left out, or all protocols",
    ),
    ("swarm/src/discovery/lan/task.rs", "TURN", "other tasks come first"),
    ("swarm/src/node/autonat/candidates.rs", "OF_A_PEER", "further ones are not tested"),
    ("swarm/src/node/autonat/candidates.rs", "AT_ONCE", "further ones are not tested"),
    (
        "swarm/src/node/autonat/candidates.rs",
        "KEPT",
        "all are forgotten, and those that follow are tested",
    ),
    ("swarm/src/node/autonat/server.rs", "PER_MINUTE", "further dial-backs are refused"),
    ("swarm/src/node/autonat/server.rs", "PER_MINUTE_AND_PEER", "further dial-backs are refused"),
    ("core/src/network/race.rs", "AT_A_TIME", "the next has its turn when one has failed"),
    ("swarm/src/api/server/error_log.rs", "LINES", "further errors are counted, and not logged"),
    ("swarm/src/api/client/expiry.rs", "MARGIN", "the call ends, whatever becomes of the swarm"),
    ("swarm/src/connection/handler.rs", "INBOUND_NEGOTIATION", "the stream is dropped"),
    ("swarm/src/connection/handler.rs", "TELLING", "the peer is not told"),
    ("swarm/src/transport/muxer/unread.rs", "UNREAD", "the connection that holds most of it ends"),
    ("swarm/src/transport/muxer/mod.rs", "FRAME", "the rest goes in further frames"),
    ("swarm/src/transport/muxer/mod.rs", "STREAMS", "the connection ends"),
    ("swarm/src/transport/muxer/mod.rs", "GROWTH", "the sender waits"),
    ("swarm/src/transport/muxer/mod.rs", "SHORT_GROWTH", "the sender waits"),
    ("core/src/connection/streams.rs", "ENDING", "a new stream is refused"),
    ("swarm/src/connection/buffers.rs", "POOLED", "the oldest are freed"),
    ("swarm/src/transport/muxer/mod.rs", "INBOUND", "the stream is reset"),
    ("swarm/src/api/server/semaphore.rs", "WAITING", "the answer is sent without compression"),
    ("swarm/src/node/builder.rs", "IDLE_CONNECTION", "the connection is closed"),
    ("swarm/src/node/builder.rs", "NEGOTIATING", "libp2p drops the stream"),
    (
        "swarm/src/node/addresses/announced.rs",
        "MESSAGE",
        "peers drop the message; the node logs a warning",
    ),
    (
        "swarm/src/node/builder.rs",
        "HANDSHAKES",
        "one makes room: of the same network or the largest, one that has said nothing, the oldest",
    ),
    ("swarm/src/node/builder.rs", "HANDSHAKE", "the connection is closed"),
    ("swarm/src/node/builder.rs", "INCOMING", "the connection is closed"),
    ("swarm/src/node/builder.rs", "COMMANDS", "callers wait"),
    (
        "swarm/src/node/event_loop.rs",
        "LISTENING",
        "building fails with a typed error; relays are waited for in the background",
    ),
    (
        "core/src/connection/liveness.rs",
        "TOLERANCE",
        "the connection is suspect: what is new goes elsewhere",
    ),
    ("core/src/connection/liveness.rs", "LONGEST_RTT", "longer ones count as this long"),
    ("core/src/connection/liveness.rs", "LONGEST_ANSWER", "the connection is suspect"),
    ("core/src/connection/liveness.rs", "SUSPECT", "the connection is closed"),
    (
        "core/src/network/confirmation.rs",
        "ANSWER",
        "the peer is dialled again, unless it has just been dialled",
    ),
    ("core/src/network/confirmation.rs", "REACHED", "it is slow at worst, and counts as connected"),
    ("swarm/src/transport/muxer/socket.rs", "LINGER", "the connection is dropped"),
    (
        "swarm/src/transport/muxer/socket.rs",
        "OVERFLOW",
        "the connection is read when the peer reads",
    ),
    ("swarm/src/transport/muxer/socket.rs", "READS", "other connections come first"),
    ("swarm/src/node/events.rs", "WAITING", "the oldest is dropped, and counted as missed"),
    ("swarm/src/node/mod.rs", "CLOSING", "connections are dropped"),
    ("swarm/src/connection/driver/mod.rs", "CLOSING", "the connection is dropped"),
    ("swarm/src/connection/server.rs", "PLAIN_END", "the server does not wait for it any longer"),
    ("swarm/src/node/addresses/ip.rs", "MULTIPLE", "as beyond the limit that is shared"),
    ("swarm/src/node/limits/handshakes.rs", "UNHEARD", "further ones wait until it had"),
    ("swarm/src/node/limits/mod.rs", "PER_PEER", "one that is idle is closed"),
    ("swarm/src/node/limits/mod.rs", "PER_PEER_AT_ONCE", "the connection is closed"),
    ("swarm/src/node/limits/mod.rs", "PER_NETWORK", "the connection is closed"),
    ("core/src/network/reservations.rs", "LONGEST_PAUSE", "the relay is asked again"),
    ("core/src/network/machine.rs", "LOOKED_AT", "the rest is not looked at"),
    ("swarm/src/connection/driver/mod.rs", "ROUNDS", "other connections come first"),
    (
        "swarm/src/transport/security/coalescing_writer.rs",
        "PIECE",
        "the rest goes with the next write",
    ),
    (
        "swarm/src/transport/security/memory.rs",
        "MOST",
        "the oldest is forgotten, and costs a second connection when it is dialled again",
    ),
    (
        "swarm/src/transport/security/noise/handshake.rs",
        "MAX_HANDSHAKE",
        "the connection is dropped",
    ),
    ("swarm/src/transport/security/buffered_reader.rs", "TURN", "the rest is read next"),
    ("swarm/src/connection/stream_io.rs", "BLOCK", "the rest is read next"),
    (
        "swarm/src/connection/stream_io.rs",
        "READS_PER_POLL",
        "other streams of the connection come first",
    ),
    ("runtime-tokio/src/quic/config.rs", "STREAMS", "the peer waits"),
    ("runtime-tokio/src/quic/config.rs", "WINDOW", "the sender waits"),
    ("runtime-tokio/src/quic/config.rs", "SEND", "writers wait"),
    ("runtime-tokio/src/quic/config.rs", "IDLE", "the connection is lost"),
    ("swarm/src/system.rs", "UNACKNOWLEDGED", "the connection is lost"),
    ("swarm/src/system.rs", "IDLE", "the peer is asked whether it is there"),
    ("swarm/src/node/stored/addresses.rs", "LONGEST", "the rest is not looked at"),
    ("swarm/src/node/stored/addresses.rs", "OF_USE", "it is left out"),
    ("swarm/src/node/stored/key_file.rs", "LONGEST", "the rest is not looked at"),
    ("swarm/src/node/event_loop.rs", "SAVING", "the node ends without it"),
    ("runtime-tokio/src/quic/config.rs", "HANDSHAKE", "there is no connection"),
    ("runtime-tokio/src/quic/config.rs", "UNPROVEN", "the peer is asked to come again"),
    ("runtime-tokio/src/quic/config.rs", "WAITING", "the connection is refused"),
    ("runtime-tokio/src/quic/config.rs", "EARLY", "it is dropped, and the peer sends it again"),
    ("runtime-tokio/src/quic/connection.rs", "LINGER", "what is left of them is lost"),
    ("runtime-tokio/src/quic/listener.rs", "TURN", "other tasks come first"),
    ("runtime-tokio/src/quic/stream.rs", "LAST_WORDS", "the peer may not get to read it"),
    (
        "service/src/codec/limits.rs",
        "LEN",
        "the request is answered `bad request`; the answer is an error",
    ),
    (
        "service/src/codec/limits.rs",
        "DEPTH",
        "the request is answered `bad request`; the answer is an error",
    ),
    ("service/src/codec/guard.rs", "MOST_IN_ADVANCE", "a list grows as its elements come"),
    ("service/src/codec/guard.rs", "FREE_ELEMENTS", "the value is refused"),
    ("service/src/call/local.rs", "MESSAGES", "the sender waits"),
    ("service/src/registry/types.rs", "MAX_ADDRESSES", "the record is refused"),
    ("service/src/registry/types.rs", "MAX_RECORD", "the record is refused, and not decoded"),
    ("service/src/registry/source.rs", "REGISTRIES", "`registry::discover` fails"),
    (
        "service/src/registry/source.rs",
        "PROTOCOLS",
        "the others are not announced; the log says so",
    ),
    ("service/src/registry/source.rs", "FACTS", "calls to registries wait"),
    ("service/src/registry/calls.rs", "FORGED", "the call ends; the log says so"),
    ("service/src/registry/serving.rs", "PACE", "the next one waits"),
    (
        "core/src/network/registry/named.rs",
        "OF_REGISTRY",
        "further ones are not remembered; networks take turns in what a registry tells first",
    ),
    ("core/src/network/registry/named.rs", "TURN", "others have their turn when it asks again"),
    ("core/src/network/registry/registries.rs", "SERVICES", "further ones are not watched"),
    (
        "core/src/network/registry/registries.rs",
        "LONGEST_PAUSE",
        "a registry is asked again, as long as the node lives",
    ),
    ("metrics/src/table.rs", "MOST", "they are counted as `_OTHER`"),
];

/// Constants that limit nothing: units, rules, sizes of buffers, parts of the wire.
const NO_LIMITS: &[&str] = &[
    "ACK",
    "ADDRESS",
    "AFTER_LAST_WORDS",
    "AGAIN",
    "ALL",
    "BACKOFF",
    "BACKOFF_BASE",
    "BEST",
    "BETWEEN_ANNOUNCEMENTS",
    "BUFFER",
    "BYTES",
    "CALM",
    "CANCELLED",
    "CEILING",
    "CHUNK",
    "COMPRESSED",
    "COPY",
    "COUNTED",
    "DAY",
    "DEFAULT",
    "DELAY",
    "DRAWS",
    "EACH",
    "EARNED",
    "ELSEWHERE",
    "ENOUGH",
    "ENOUGH_WORK",
    "ERRORS",
    "EVERY",
    "FAILING",
    "FAILURES",
    "FAR_EVERY",
    "FAST",
    "FEW",
    "FIN",
    "FINE",
    "FINE_BITS",
    "FIRST",
    "FIRST_ANSWERS",
    "FIRST_BUFFER",
    "FIRST_PAUSE",
    "FIRST_REST",
    "FIRST_WRITE",
    "FOUND",
    "FRACTION",
    "FRAME_COST",
    "FRESH",
    "GIB",
    "GROUP_REFILL",
    "GROUP_V4",
    "GROUP_V6",
    "GUESSED",
    "HALF_LIFE",
    "HALF_OPEN_EVERY",
    "HALVING",
    "HEADER",
    "HEADER_LEN",
    "HEAD_START",
    "HEAD_START_BEFORE_LAST",
    "HEDGES",
    "HELD",
    "HISTORY",
    "HOPS",
    "HOUR",
    "INITIAL",
    "INITIAL_PEAK",
    "INLINE_BODY",
    "INLINE_COMPRESS",
    "INSIDE_A_FRAME",
    "INTERVAL",
    "JITTER",
    "KEEP_ALIVE",
    "KEPT",
    "KEPT_CALLS",
    "KEY",
    "KEYS",
    "KIB",
    "KINDS",
    "LARGE",
    "LARGEST_WINDOW",
    "LATENCY_FRESH",
    "LEAST",
    "LEAST_HEAD_START",
    "LEAST_REFRESH",
    "LEAST_TTL",
    "LEAST_WHILE",
    "LEN",
    "LEVEL",
    "LEVELS",
    "LIE",
    "LISTENER_KEEP_ALIVE",
    "LOADED",
    "LOADED_FOR",
    "LOAD_AGE",
    "LOAD_FRESH",
    "LOAD_STEP",
    "LONG",
    "LONGEST",
    "LONGEST_SILENCE",
    "LONG_LEN",
    "LOOK",
    "LOOKED_THROUGH",
    "LOOKS",
    "LOOK_AFTER",
    "LOOK_AFTER_AT_MOST",
    "LOOK_FROM",
    "LOST",
    "MANY",
    "MARGIN",
    "MARKED",
    "MARKS",
    "MAX",
    "MAX_LEN",
    "MAX_PLAIN",
    "MAX_STRING",
    "MESSAGES",
    "MIB",
    "MILLISECOND",
    "MIN",
    "MINUTE",
    "MIN_IDLE",
    "MIN_SAMPLES",
    "MIN_SIZE",
    "MOST",
    "MOST_ERRORS",
    "MOST_LEFT",
    "MOST_PRICED",
    "NATIVE_PREFIX",
    "NESTED",
    "NEUTRAL",
    "NEWCOMER",
    "NOBODY",
    "NOISE",
    "NO_INTERFACE",
    "NO_RELAY",
    "ONE",
    "OTHER",
    "OTHERS",
    "OVERHEAD",
    "PAIRS",
    "PATIENCE",
    "PEAK_HALF_LIFE",
    "PEER",
    "PEERS",
    "PER_PACKET",
    "PER_STEP",
    "PLAIN_THRESHOLD",
    "PORT",
    "PREFIX",
    "PROBE",
    "PROTOCOL",
    "QUEUED_RATE",
    "QUICK",
    "READ",
    "READINGS",
    "RECHECK",
    "REPEATS",
    "RESERVE",
    "RESERVED",
    "REST",
    "REST_BASE",
    "RETRIES",
    "RETRY_AFTER",
    "ROOM",
    "RST",
    "RTTS",
    "SAMPLE",
    "SAMPLED_FROM",
    "SAMPLES",
    "SAVE",
    "SECOND",
    "SERVICE",
    "SERVICES",
    "SETTLE",
    "SHARE",
    "SHORT",
    "SHORTEST",
    "SHORT_LEN",
    "SILENCES",
    "SILENT",
    "SIZE",
    "SLOT_BITS",
    "SLOT_MASK",
    "SLOW",
    "SLOWEST",
    "SPARE",
    "STARTING",
    "STEP",
    "SUBSET",
    "SUSPECT_TIMES",
    "SYN",
    "TAG",
    "THRESHOLD",
    "TOGETHER",
    "TOLERATED",
    "TRIAL",
    "TRIAL_TIMES",
    "TTL",
    "UNANSWERED",
    "USED",
    "WARM_UP",
    "WHOLE",
    "WINDOW",
    "WORTH",
];

/// A declaration with the documentation above it, on one line.
struct Documented {
    doc: String,
    line: String,
}

/// Every line of code in a file with its doc comment, if it has one.
fn documented(text: &str) -> Vec<Documented> {
    let (mut doc, mut found) = (String::new(), Vec::new());
    for line in text.lines().map(str::trim) {
        if let Some(more) = line.strip_prefix("///") {
            doc = format!("{doc} {}", more.trim()).trim().to_owned();
        } else if !line.starts_with("#[") && !line.starts_with("//") {
            found.push(Documented { doc: std::mem::take(&mut doc), line: line.to_owned() });
        }
    }
    found
}

/// Links as plain code: they lead nowhere outside the documentation.
fn plain(doc: &str) -> String {
    let mut text = String::new();
    let mut rest = doc;
    while let Some((before, link)) = rest.split_once('[') {
        let Some((label, after)) = link.split_once(']') else { break };
        text.push_str(before);
        text.push_str(label);
        rest = match after.strip_prefix('(').and_then(|target| target.split_once(')')) {
            Some((_, after)) => after,
            None => after,
        };
    }
    (text + rest).replace('|', "\\|")
}

/// The options that a file declares: name, and what its documentation says.
fn options(file: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join(file)).expect("a readable source file");
    let setter = |found: Documented| {
        let line = found.line.strip_prefix("pub fn ").unwrap_or(&found.line).to_owned();
        let name = line.strip_prefix("with_")?.split('(').next()?.to_owned();
        assert!(found.doc.contains("Default"), "{name} does not say its default");
        Some((name, plain(&found.doc)))
    };
    documented(&text).into_iter().filter_map(setter).collect()
}

/// All constants below a folder, by file and name: value and documentation.
fn constants(place: &str) -> BTreeMap<(String, String), (String, String)> {
    let (root, mut files, mut found) = (root(), Vec::new(), BTreeMap::new());
    match root.join(place) {
        path if path.is_dir() => sources::below(&path, &mut files),
        file => files.push(file),
    }
    for file in files {
        let text = fs::read_to_string(&file).expect("a readable source file");
        let code = text.split("#[cfg(test)]").next().expect("at least one part");
        let short = file.strip_prefix(&root).expect("below the root").display().to_string();
        for Documented { doc, line } in documented(code) {
            let Some((_, declared)) = line.split_once("const ") else { continue };
            let Some((name, rest)) = declared.split_once(": ") else { continue };
            if !name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_') {
                continue;
            }
            let Some((of_type, value)) = rest.split_once(" = ") else { continue };
            // The wire has numbers of eight bits; the rest are no numbers.
            if !["usize", "u64", "u32", "u16", "i32", "Duration"].contains(&of_type) {
                continue;
            }
            let value = value.trim_end_matches(';').to_owned();
            found.insert((short.clone(), name.to_owned()), (value, doc));
        }
    }
    found
}

/// `64 * 1024` as a person writes it.
fn readable(value: &str) -> String {
    let text = value.replace(" * 1024 * 1024", " MiB").replace(" * 1024", " KiB");
    let text = text.replace("Duration::from_secs(15 * 60)", "15 min").replace('_', " ");
    match text.strip_prefix("Duration::from") {
        Some(duration) if duration.ends_with(')') => {
            let (unit, number) = duration.trim_end_matches(')').split_once('(').expect("a number");
            format!("{number} {}", if unit.trim() == "secs" { "s" } else { "ms" })
        }
        _ => text,
    }
}

/// What a relay keeps for others, if its application says nothing else.
fn relay() -> String {
    let config = pointsub_swarm::RelayConfig::default();
    let minutes = |duration: std::time::Duration| duration.as_secs() / 60;
    format!(
        "\n## A relay's limits\n\n\
         The defaults of `RelayConfig`, for `relay_server`. Beyond them a relay refuses, and says why.\n\n\
         | limit | value |\n|---|---|\n\
         | places in all | {} |\n| places of one peer | {} |\n| how long a place is kept without being renewed | {} min |\n\
         | connections through the relay at a time | {} |\n| those of one peer | {} |\n\
         | how long such a connection may last | {} min |\n| what it may carry | {} KiB |\n",
        config.max_reservations,
        config.max_reservations_per_peer,
        minutes(config.reservation_duration),
        config.max_circuits,
        config.max_circuits_per_peer,
        minutes(config.max_circuit_duration),
        config.max_circuit_bytes / 1024,
    )
}

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

fn worst_case() -> String {
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
    text
}

/// What a limit is about, by where it is.
const AREAS: [(&str, &[&str]); 9] = [
    ("Messages on the wire", &["core/src/wire/", "core/src/id.rs"]),
    (
        "Streams of requests and answers",
        &["core/src/connection/client/", "core/src/connection/link.rs"],
    ),
    (
        "The client",
        &[
            "core/src/endpoint/client/",
            "core/src/endpoint/closest/",
            "swarm/src/api/client/",
            "swarm/src/api/calls/",
        ],
    ),
    (
        "The server",
        &[
            "core/src/endpoint/server/",
            "core/src/connection/server/",
            "swarm/src/api/server/",
            "swarm/src/connection/server.rs",
        ],
    ),
    (
        "Connections",
        &[
            "core/src/connection/",
            "swarm/src/connection/",
            "swarm/src/system.rs",
            "swarm/src/transport/",
        ],
    ),
    (
        "Peers and their addresses",
        &[
            "core/src/network/",
            "swarm/src/discovery/",
            "swarm/src/node/addresses/",
            "swarm/src/node/autonat/",
        ],
    ),
    ("The node", &["swarm/src/node/"]),
    ("TCP and QUIC, on tokio", &["runtime-tokio/src/"]),
    ("Typed services and metrics", &["service/src/", "metrics/src/"]),
];

const HEAD: &str = "| limit | value | beyond it | where |\n|---|---|---|---|\n";

/// The number of the area that a file belongs to.
fn area(file: &str) -> usize {
    let is_there = |(_, places): &(&str, &[&str])| places.iter().any(|at| file.starts_with(at));
    AREAS.iter().position(is_there).unwrap_or_else(|| panic!("{file} belongs to no area of AREAS"))
}

fn page() -> String {
    let mut text = String::from(
        "# Limits\n\n\
         Generated from the sources and checked by a test (`tests/tests/limits.rs`): every option \
         with its default and range, and every fixed limit. What happens beyond a limit never \
         harms other peers.\n\n\
         ## Memory at worst\n\n",
    );
    text.push_str(&worst_case());
    text.push_str(
        "\nTo this come:\n\n\
         * for a connection whose peer stops in the middle of a record, two buffers of 64 KiB, or four \
         with Noise, beside what libp2p holds; an idle connection has none, and each thread keeps two;\n\
         * for a connection with a hostile peer, unread bytes: up to 128 MiB over QUIC, and 132 MiB over \
         Yamux; over QUIC nothing limits that for all connections together but their number and how many \
         one network may have;\n\
         * while a stream is open, up to 32 MiB of buffers for large bodies that wait to be used again; a \
         buffer that is used again can be an eighth larger than its body;\n\
         * to compress answers, some 300 KiB for each core and each thread, however many answers \
         wait, and 8 MiB of answers that wait for a core;\n\
         * what handlers allocate themselves, at most `concurrency_ceiling` of them at a time.\n\n\
         Of its 8 KiB, an idle call takes 1.3 KiB at its server, with a handler that keeps nothing, and 1 KiB \
         at its client (`tests/tests/calls_memory.rs`).\n\n\
         A client holds the bodies that its callers gave it, and `max_block_size` for each stream on which \
         an answer arrives.\n",
    );
    for (title, file) in [
        ("The server's options", "core/src/config/server.rs"),
        ("The client's options", "core/src/config/mod.rs"),
    ] {
        let _ok = write!(text, "\n## {title}\n\n| option | meaning, default, range |\n|---|---|\n");
        for (name, doc) in options(file) {
            let _ok = writeln!(text, "| `{name}` | {doc} |");
        }
    }
    text.push_str(&relay());
    text.push_str("\n## Fixed limits\n");
    let mut tables: BTreeMap<usize, String> = BTreeMap::new();
    let mut constants = constants("core/src");
    constants.append(&mut self::constants("swarm/src"));
    constants.append(&mut self::constants("runtime-tokio/src"));
    constants.append(&mut self::constants("service/src"));
    constants.append(&mut self::constants("metrics/src/table.rs"));
    for (file, name, beyond) in FIXED {
        let key = ((*file).to_owned(), (*name).to_owned());
        let Some((value, doc)) = constants.remove(&key) else {
            panic!("{name} in {file} is gone: mend the list");
        };
        assert!(!doc.is_empty(), "{name} in {file} is not documented");
        let (doc, value) = (plain(&doc), readable(&value));
        let table = tables.entry(area(file)).or_default();
        let _ok = writeln!(table, "| {doc} | {value} | {beyond} | `{file}` |");
    }
    for (area, rows) in tables {
        let _ok = write!(text, "\n### {}\n\n{HEAD}{rows}", AREAS[area].0);
    }
    constants.retain(|(_, name), _| !NO_LIMITS.contains(&name.as_str()));
    let unknown: Vec<_> = constants.keys().collect();
    assert!(unknown.is_empty(), "limits or none? Add them to one of the lists: {unknown:?}");
    text
}

#[test]
fn every_limit_is_listed() {
    let (path, page) = (root().join("LIMITS.md"), page());
    if std::env::var_os("UPDATE_LIMITS").is_some() {
        fs::write(&path, &page).expect("a writable file");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == page, "LIMITS.md is old: run this test with UPDATE_LIMITS=1");
}
