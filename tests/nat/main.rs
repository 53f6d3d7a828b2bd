//! Two nodes behind NATs meet through a relay, and servers on a local network are found: `bash
//! tests/nat/run`.
//!
//! Without arguments, or with `lan` for local networks alone, this program makes the networks, in namespaces of the machine, and starts
//! itself in them with the arguments of [`peer`].

mod lan;
mod network;
mod peer;
mod program;
mod subscription;

use std::process::ExitCode;

use network::{Ip, Nat, Network, RELAY_IP};
use peer::Expect;
use program::Program;

/// What the relay lets a connection carry: less than is sent over direct connections.
const RELAY_BYTES: u64 = 128 * 1024;
const RELAY_SECONDS: u64 = 4;

/// Runtimes of the node that serves and of the one that asks.
const PAIRS: [(&str, &str); 4] = [
    ("tokio", "tokio"),
    ("async-std", "async-std"),
    ("tokio", "async-std"),
    ("async-std", "tokio"),
];

/// Local networks, and the runtime of the node that looks for servers there.
const LANS: [(Ip, &str); 4] =
    [(Ip::V4, "tokio"), (Ip::V4, "async-std"), (Ip::V6, "tokio"), (Ip::V6, "async-std")];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        None => {}
        Some("lan") => {
            return if look_on_lans() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
        Some(_) => return peer::run(&arguments),
    }
    let mut failed = 0;
    let mut check = |nat, pair, transport, expect| {
        let (served, asks) = pair;
        let title = format!("{nat:?} NATs, {transport}, {served} serves, {asks} asks");
        match meet(nat, pair, transport, expect) {
            Ok(found) => println!("ok: {title}: {found}"),
            Err(why) => {
                println!("FAILED: {title}: {why}");
                failed += 1;
            }
        }
    };
    for pair in PAIRS {
        check(Nat::Cone, pair, "tcp", Expect::Direct);
    }
    check(Nat::Cone, PAIRS[0], "quic", Expect::Direct);
    for pair in PAIRS {
        check(Nat::Symmetric, pair, "tcp", Expect::Relayed);
    }
    failed += look_on_lans();
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Returns how many networks there were on which not all servers were found.
fn look_on_lans() -> usize {
    let mut failed = 0;
    for (ip, runtime) in LANS {
        match lan::find_all(ip, runtime) {
            Ok(found) => println!("ok: a network of {ip:?}, {runtime} looks for servers: {found}"),
            Err(why) => {
                println!("FAILED: a network of {ip:?}, {runtime} looks for servers: {why}");
                failed += 1;
            }
        }
    }
    failed
}

/// One pair of nodes in networks of their own; returns what the asking one found.
fn meet(
    nat: Nat,
    (serves, asks): (&str, &str),
    transport: &str,
    expect: Expect,
) -> Result<String, String> {
    let network = Network::new(nat)?;
    let (at, anywhere) = match transport {
        "quic" => (format!("/ip4/{RELAY_IP}/udp/4001/quic-v1"), "/ip4/0.0.0.0/udp/0/quic-v1"),
        _ => (format!("/ip4/{RELAY_IP}/tcp/4001"), "/ip4/0.0.0.0/tcp/0"),
    };
    let (bytes, seconds) = (RELAY_BYTES.to_string(), RELAY_SECONDS.to_string());
    let relay = Program::start(&network.public(), &["relay", &at, &bytes, &seconds])?;
    let relay_address = relay.line()?;
    let serve = ["serve", serves, anywhere, &relay_address];
    let server = Program::start(&network.behind(0), &serve)?;
    let circuit = server.line()?;
    let ask = ["ask", asks, anywhere, &circuit, expect.as_str()];
    Program::start(&network.behind(1), &ask)?.line()
}
