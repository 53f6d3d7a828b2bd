//! What limits are about.

/// What a limit is about, by where it is.
pub(crate) const AREAS: [(&str, &[&str]); 9] = [
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
            "swarm/src/node/kademlia/",
        ],
    ),
    ("The node", &["swarm/src/node/"]),
    ("TCP and QUIC, on tokio", &["runtime-tokio/src/"]),
    ("Typed services and metrics", &["service/src/", "metrics/src/"]),
];

/// The number of the area that a file belongs to.
pub(crate) fn area(file: &str) -> usize {
    let is_there = |(_, places): &(&str, &[&str])| places.iter().any(|at| file.starts_with(at));
    AREAS.iter().position(is_there).unwrap_or_else(|| panic!("{file} belongs to no area of AREAS"))
}
