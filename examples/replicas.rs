//! A key-value store on three servers, each of which has everything. Servers are restarted one after the
//! other while clients ask, and no call fails.
//!
//! ```sh
//! cargo run --example replicas -- key FOLDER           # prints the Peer ID of the server in this folder
//! cargo run --example replicas -- serve FOLDER ADDRESS ADDRESS ADDRESS
//! cargo run --example replicas -- put KEY VALUE ADDRESS ADDRESS ADDRESS
//! cargo run --example replicas -- get KEY ADDRESS ADDRESS ADDRESS
//! cargo run --example replicas -- load ADDRESS ADDRESS ADDRESS     # until its input ends
//! ```
//!
//! The addresses are those of all servers, like `/ip4/127.0.0.1/tcp/4001/p2p/12D3Koo…`. A value counts as
//! kept when two servers have it. A server that starts gets what it has missed from another one. A read may
//! be behind a write that has just been made elsewhere: this is an example, and no consensus.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use pointsub_tokio::service::{CallError, Cx, Failure, Tx};
use pointsub_tokio::{Client, Multiaddr, Node, PeerId, Protocol, service};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;

/// How long what is at work may take when a server ends.
const GRACE: Duration = Duration::from_secs(5);

/// A value. Of two, the one with the later version counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Entry {
    /// How often the key was written, and by whom last.
    version: (u64, String),
    value: String,
}

#[service("/replicas/1")]
trait Replica {
    /// What is kept under a key, as far as this server knows.
    async fn get(&self, cx: &Cx, key: String) -> Result<Option<Entry>, Failure>;
    /// Keeps a value here and at another server at least. Doing it twice is harmless.
    async fn put(&self, cx: &Cx, key: String, value: String) -> Result<(), Failure>;
    /// Takes what another server has, where it is later.
    async fn merge(&self, cx: &Cx, key: String, entry: Entry) -> Result<(), Failure>;
    /// Everything.
    async fn all(&self, cx: &Cx, out: Tx<(String, Entry)>) -> Result<(), Failure>;
}

struct Replicated {
    entries: Mutex<BTreeMap<String, Entry>>,
    name: String,
    client: Client,
    others: Vec<PeerId>,
}

impl Replicated {
    fn take(&self, key: String, entry: Entry) {
        let mut entries = self.entries.lock().expect("nobody panics with it");
        if entries.get(&key).is_none_or(|known| known.version < entry.version) {
            entries.insert(key, entry);
        }
    }

    /// Makes the next version of a key.
    fn write(&self, key: &str, value: String) -> Entry {
        let mut entries = self.entries.lock().expect("nobody panics with it");
        let written = entries.get(key).map_or(0, |known| known.version.0);
        let entry = Entry { version: (written + 1, self.name.clone()), value };
        entries.insert(key.to_owned(), entry.clone());
        entry
    }

    /// Gets what others have. One that is away is not waited for.
    async fn catch_up(&self, node: &Node, servers: &Servers) {
        for other in &self.others {
            let Ok(peer) = node.connect(servers[other].clone()).await else { continue };
            let all = ReplicaClient::peer(&self.client, peer).all();
            let Ok(mut all) = all.await else { continue };
            while let Ok(Some((key, entry))) = all.recv().await {
                self.take(key, entry);
            }
        }
    }
}

impl Replica for std::sync::Arc<Replicated> {
    async fn get(&self, _cx: &Cx, key: String) -> Result<Option<Entry>, Failure> {
        Ok(self.entries.lock().expect("nobody panics with it").get(&key).cloned())
    }

    async fn put(&self, cx: &Cx, key: String, value: String) -> Result<(), Failure> {
        let entry = self.write(&key, value);
        let mut merges: FuturesUnordered<_> = self
            .others
            .iter()
            .map(|other| {
                let other = ReplicaClient::peer(&self.client, *other);
                // It keeps the caller's deadline.
                other.merge(key.clone(), entry.clone()).child_of(cx)
            })
            .map(tokio::spawn)
            .collect();
        while let Some(merged) = merges.next().await {
            if matches!(merged, Ok(Ok(()))) {
                // The slower one goes on by itself.
                return Ok(());
            }
        }
        Err(Failure::new(1, "no other server can be reached"))
    }

    async fn merge(&self, _cx: &Cx, key: String, entry: Entry) -> Result<(), Failure> {
        self.take(key, entry);
        Ok(())
    }

    async fn all(&self, _cx: &Cx, mut out: Tx<(String, Entry)>) -> Result<(), Failure> {
        let all = self.entries.lock().expect("nobody panics with it").clone();
        for entry in all {
            out.send(entry).await?;
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["key", folder] => {
            let node = Node::builder().key_file(key_file(folder.as_ref())?).build().await?;
            println!("{}", node.peer_id());
            Ok(())
        }
        ["serve", folder, servers @ ..] => serve(folder.as_ref(), &addresses(servers)?).await,
        ["put", key, value, servers @ ..] => {
            let (_node, store) = connect(&addresses(servers)?).await?;
            store.put((*key).to_owned(), (*value).to_owned()).await?;
            Ok(())
        }
        ["get", key, servers @ ..] => {
            let (_node, store) = connect(&addresses(servers)?).await?;
            let entry = store.get((*key).to_owned()).await?.ok_or("there is no such key")?;
            println!("{}", entry.value);
            Ok(())
        }
        ["load", servers @ ..] => load(&addresses(servers)?).await,
        _ => Err("usage: replicas key|serve|put|get|load … (see the top of its source)".into()),
    }
}

fn key_file(folder: &Path) -> std::io::Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    Ok(folder.join("key"))
}

type Servers = BTreeMap<PeerId, Multiaddr>;

/// Where each server is.
fn addresses(servers: &[&str]) -> Result<Servers, Box<dyn Error>> {
    let mut found = BTreeMap::new();
    for server in servers {
        let address: Multiaddr = server.parse()?;
        match address.iter().last() {
            Some(Protocol::P2p(peer)) => found.insert(peer, address),
            _ => return Err(format!("{server} ends without /p2p/ and a Peer ID").into()),
        };
    }
    Ok(found)
}

async fn serve(folder: &Path, servers: &Servers) -> Result<(), Box<dyn Error>> {
    let node = Node::builder().key_file(key_file(folder)?).build().await?;
    let name = node.peer_id();
    let address = servers.get(&name).ok_or("none of the addresses is that of this folder's key")?;
    let others: Vec<PeerId> = servers.keys().copied().filter(|peer| *peer != name).collect();
    for other in &others {
        node.add_address(*other, servers[other].clone()).await;
    }
    let entries = Mutex::default();
    let replicated = Replicated { entries, name: name.to_string(), client: node.client(), others };
    let replicated = std::sync::Arc::new(replicated);
    // Once before anybody asks, and once more for what was written meanwhile.
    replicated.catch_up(&node, servers).await;
    ReplicaServer::new(replicated.clone()).serve(node.server())?;
    node.listen(address.clone()).await?;
    replicated.catch_up(&node, servers).await;
    println!("serving as {name}");
    tokio::signal::ctrl_c().await?;
    // Whoever asks is told to go elsewhere, and what is at work ends: handlers, and then what they have sent
    // to other servers without waiting for it.
    node.server().stop(GRACE).await;
    let _late = tokio::time::timeout(GRACE, node.client().drain()).await;
    let shutdown = node.shutdown(GRACE).await;
    match shutdown.is_clean() {
        true => println!("ended, clean"),
        false => println!("ended, with something left: {shutdown:?}"),
    }
    Ok(())
}

/// A client of whichever server is closest.
async fn connect(servers: &Servers) -> Result<(Node, ReplicaClient), Box<dyn Error>> {
    let node = Node::builder().build().await?;
    for (peer, address) in servers {
        node.add_address(*peer, address.clone()).await;
        node.client().add_server_node(&ReplicaClient::PROTOCOL, *peer)?;
    }
    let store = ReplicaClient::closest(node.client());
    Ok((node, store))
}

/// Writes and reads with eight callers until the input ends, and says how many calls failed.
async fn load(servers: &Servers) -> Result<(), Box<dyn Error>> {
    let (_node, store) = connect(servers).await?;
    let (asked, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let count = |result: Result<(), CallError<Failure>>| {
        let number = asked.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = result {
            failed.fetch_add(1, Ordering::Relaxed);
            eprintln!("call {number}: {error}");
        } else if number == 0 {
            println!("the first call is answered");
        }
    };
    let callers = futures::future::join_all((0..8).map(|caller| {
        let (store, count) = (&store, &count);
        async move {
            for number in 0_u64.. {
                let key = format!("{caller}/{}", number % 100);
                count(store.put(key.clone(), number.to_string()).await);
                count(store.get(key).await.map(drop));
            }
        }
    }));
    let (mut stdin, mut input) = (tokio::io::stdin(), Vec::new());
    tokio::select! {
        _ = callers => {}
        ended = stdin.read_to_end(&mut input) => { ended?; }
    }
    println!("{} calls, {} failed", asked.into_inner(), failed.into_inner());
    Ok(())
}
