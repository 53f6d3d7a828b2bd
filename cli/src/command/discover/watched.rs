//! Servers as they come and go.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pointsub_tokio::{Multiaddr, Node, PeerId, Protocol};
use tokio::time::timeout;

use super::server::Server;
use crate::error::Failure;
use crate::output::{Mark, Output};

/// How long a server is not shown because the way to it was not measured yet.
const UNMEASURED: Duration = Duration::from_millis(500);
/// How long after one dial of a server without a connection the next one comes.
const RECHECK: Duration = Duration::from_secs(5);
/// How long such a dial may take.
const DIAL: Duration = Duration::from_secs(2);

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Watched {
    servers: BTreeMap<PeerId, Entry>,
    pub(super) found_any: bool,
}

#[derive(Debug)]
struct Entry {
    server: Server,
    since: Instant,
    /// Whether the node has it among the servers, connected or not.
    is_known: bool,
    is_there: bool,
    /// Whether it was told to be there.
    told: bool,
    /// When it was dialled last because there was no connection.
    dialled: Option<Instant>,
}

impl Watched {
    pub(super) async fn update(&mut self, servers: Vec<Server>, node: &Node) {
        let is_known = |peer: &PeerId| servers.iter().any(|server| server.peer == *peer);
        for (peer, entry) in &mut self.servers {
            entry.is_known = is_known(peer);
            entry.is_there &= entry.is_known;
        }
        for server in servers {
            let entry = self.servers.entry(server.peer).or_insert_with(|| Entry {
                server: server.clone(),
                since: Instant::now(),
                is_known: true,
                is_there: true,
                told: false,
                dialled: None,
            });
            entry.update(server, node).await;
        }
    }

    pub(super) fn tell(&mut self, output: Output) -> Result<(), Failure> {
        for Entry { server, since, is_there, told, .. } in self.servers.values_mut() {
            let is_due = server.rtt.is_some() || since.elapsed() > UNMEASURED;
            let (event, mark) = match (*is_there, *told) {
                (true, false) if is_due => ("found", Mark::Good),
                (false, true) => ("lost", Mark::Bad),
                _ => continue,
            };
            *told = *is_there;
            self.found_any |= *told;
            if output.json {
                server.event(event, output)?;
                continue;
            }
            let event = output.mark(mark, format_args!("{event:<5}"));
            output.line(format_args!("{event}  {}", server.columns(output)))?;
        }
        self.servers.retain(|_, entry| entry.is_known);
        Ok(())
    }
}

impl Entry {
    async fn update(&mut self, server: Server, node: &Node) {
        if server.address.is_some() {
            self.server = server;
            (self.is_there, self.dialled) = (true, None);
        } else if self.dialled.is_none_or(|dialled| dialled.elapsed() > RECHECK) {
            self.dialled = Some(Instant::now());
            let address = self.server.address.clone().unwrap_or_else(Multiaddr::empty);
            let dial = node.connect(address.with(Protocol::P2p(server.peer)));
            self.is_there = matches!(timeout(DIAL, dial).await, Ok(Ok(_)));
        }
        if !self.is_there {
            self.since = Instant::now();
        }
    }
}
