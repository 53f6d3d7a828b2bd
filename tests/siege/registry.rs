//! Hostile peers at a registry, beside an honest server that is listed again and again, and an honest watcher
//! that hears of it.
//!
//! All that connect through a [`Network`] come from an IPv4 /24 of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, join_all};
use libp2p_core::multiaddr::Protocol;
use pointsub_service::registry::{
    Announcement, Change, RegistryClient, RegistryError, RegistryLimits,
};
use pointsub_service::{Never, Streaming};
use pointsub_swarm::{ClientConfig, Keypair, Multiaddr, PeerId, PeerRecord};
use pointsub_tokio::Node;
use tokio::net::{TcpListener, TcpSocket};

use crate::MIB;
use crate::hordes::ATTACKS;
use crate::server::{CALL, ELSEWHERE, RegistrySeen, ServerProcess};

pub(crate) const ECHO: &str = "/echo/1.0.0";
/// What the honest ones may wait for.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a connection may hold beside what is counted: its buffers, and what its muxer keeps.
const CONNECTION: usize = 256 * 1024;
const CONNECTIONS: usize = 250;

pub(crate) type Watch = Streaming<Never, Change, (), RegistryError>;

/// Smaller than the defaults, so that an attack reaches every limit within a few seconds.
pub(crate) fn limits() -> RegistryLimits {
    let limits = RegistryLimits::new().with_entries(256).with_entries_per_network(64);
    let limits = limits.with_memory(2 * MIB).with_memory_per_network(MIB / 2);
    let limits = limits.with_watchers(2000).with_watchers_per_network(1000);
    limits.with_history(256).with_changes(16).with_changes_per_network(2)
}

/// What the registry may take, with the calls and the connections of those who attack it.
fn bound() -> usize {
    let limits = limits();
    let calls = (limits.watchers() + limits.entries()) * CALL;
    limits.worst_case() + calls + CONNECTIONS * CONNECTION + ELSEWHERE
}

/// How many events a watcher may get of hostile servers within so long: what the networks have after a quiet time,
/// and what comes after that; once for each that comes, and once for each that goes.
fn told_at_most(networks: usize, time: Duration) -> usize {
    let limits = limits();
    let seconds = time.as_secs() as usize + 1;
    let each = limits.changes_per_network() * (64 + seconds);
    let all = limits.changes() * (32 + seconds);
    2 * all.min(each * networks) + limits.entries()
}

/// From where peers come.
#[derive(Clone, Copy)]
pub(crate) struct Network(pub(crate) u8);

impl Network {
    /// Where the server is reached from there.
    pub(crate) async fn towards(self, server: &Multiaddr) -> Multiaddr {
        let Some(Protocol::Tcp(port)) = server.iter().nth(1) else { panic!("TCP") };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let at = listener.local_addr().expect("it listens").port();
        let from = SocketAddr::from((Ipv4Addr::new(127, 0, self.0, 1), 0));
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let socket = TcpSocket::new_v4()?;
                    socket.bind(from)?;
                    let mut far = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await?;
                    tokio::io::copy_bidirectional(&mut near, &mut far).await
                });
            }
        });
        let address = format!("/ip4/127.0.0.1/tcp/{at}").parse::<Multiaddr>();
        let address = address.expect("an address");
        match server.iter().last() {
            Some(peer @ Protocol::P2p(_)) => address.with(peer),
            _ => address,
        }
    }
}

/// Somebody who knows the registry.
pub(crate) struct Member {
    pub(crate) node: Node,
    pub(crate) keypair: Keypair,
    pub(crate) registry: RegistryClient,
}

impl Member {
    pub(crate) async fn connect(address: &Multiaddr, config: ClientConfig) -> Option<Self> {
        let keypair = Keypair::generate_ed25519();
        let node = Node::builder().keypair(keypair.clone()).client_config(config);
        let node = node.build().await.ok()?;
        let server = node.connect(address.clone()).await.ok()?;
        let registry = RegistryClient::peer(node.client(), server);
        Some(Self { node, keypair, registry })
    }

    pub(crate) fn peer(&self) -> PeerId {
        self.node.peer_id()
    }

    pub(crate) fn says(&self, protocols: Vec<String>) -> Announcement {
        let at = "/ip4/127.0.0.1/tcp/1".parse().expect("an address");
        let record = PeerRecord::new_interop(&self.keypair, vec![at]).expect("the key can sign");
        Announcement::new(protocols, &record)
    }
}

pub(crate) struct RegistryAttack {
    pub(crate) name: &'static str,
    /// What they do, from the address of the server on; each ends after a while.
    pub(crate) run: fn(Multiaddr) -> BoxFuture<'static, u64>,
    /// From how many networks.
    pub(crate) networks: usize,
    /// Whether they are to be refused something.
    pub(crate) is_refused: bool,
}

/// What the honest ones saw.
#[derive(Default)]
struct Heard {
    /// How often the server came, was heard of, went, and was heard of.
    rounds: u64,
    slowest: Duration,
    /// Events of others.
    others: usize,
    took: Duration,
    failed: Option<&'static str>,
}

struct Beside {
    server: Member,
    _watcher: Member,
    watch: Watch,
}

impl Beside {
    async fn start(server: &Multiaddr) -> Self {
        let from = |network| async move { Network(network).towards(server).await };
        let honest = ClientConfig::default;
        let watcher = Member::connect(&from(201).await, honest()).await.expect("it is let in");
        let server = Member::connect(&from(200).await, honest()).await.expect("it is let in");
        let watch = watcher.registry.watch(ECHO.to_owned()).await.expect("it may");
        Self { server, _watcher: watcher, watch }
    }

    async fn go_on(&mut self, over: Arc<AtomicBool>) -> Heard {
        let (mut heard, began) = (Heard::default(), Instant::now());
        while !over.load(Ordering::Relaxed) || heard.rounds == 0 {
            let round = Instant::now();
            let done = tokio::time::timeout(PATIENCE, self.round(&mut heard.others)).await;
            heard.slowest = heard.slowest.max(round.elapsed());
            match done {
                Ok(Some(())) => heard.rounds += 1,
                Ok(None) => heard.failed = Some("a call of the honest ones ended"),
                Err(_) => heard.failed = Some("the honest ones waited too long"),
            }
            if heard.failed.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        heard.took = began.elapsed();
        heard
    }

    /// The server comes and goes, and the watcher hears of both.
    async fn round(&mut self, others: &mut usize) -> Option<()> {
        let mut call = self.server.registry.announce().await.ok()?;
        call.send(self.server.says(vec![ECHO.to_owned()])).await.ok()?;
        call.recv().await.ok()??;
        let own = self.server.peer();
        while !matches!(self.next(others).await?, Some((peer, true)) if peer == own) {}
        drop(call);
        while !matches!(self.next(others).await?, Some((peer, false)) if peer == own) {}
        Some(())
    }

    /// Who is there or has gone.
    async fn next(&mut self, others: &mut usize) -> Option<Option<(PeerId, bool)>> {
        let told = match self.watch.recv().await.ok()?? {
            Change::Here(listed) => Some((listed.read().ok()?.0, true)),
            Change::Gone(peer) => Some((PeerId::from_bytes(&peer).ok()?, false)),
            _ => None,
        };
        *others += usize::from(told.is_some_and(|(peer, _)| peer != self.server.peer()));
        Some(told)
    }
}

/// Each attack; how many there were, and whether one has failed.
pub(crate) async fn sieges(server: &mut ServerProcess, wanted: Option<&str>) -> (u64, bool) {
    let bound = bound();
    println!("the registry may take {} MiB more than at rest", bound / MIB);
    let (mut done, mut failed) = (0, false);
    for attack in
        ATTACKS.iter().filter(|attack| wanted.is_none_or(|name| attack.name.contains(name)))
    {
        done += 1;
        server.forget_peak();
        let rest = server.resident();
        let mut beside = Beside::start(&server.address).await;
        let over = Arc::new(AtomicBool::new(false));
        let honest = tokio::spawn({
            let over = over.clone();
            async move { beside.go_on(over).await }
        });
        let refused = (attack.run)(server.address.clone()).await;
        let size = server.registry();
        over.store(true, Ordering::Relaxed);
        let heard = honest.await.expect("the honest ones go on");
        let grown = server.peak().saturating_sub(rest);
        let problem = problem(attack, &heard, (size, refused), (grown, bound));
        println!(
            "{:<38} {:<50} honest: {:>3} heard of, slowest {:>4.0?}, {:>4} events; server: +{:>3} MiB{}",
            attack.name,
            format!("{} listed, {} watches, {refused} refused", size.servers, size.watches),
            heard.rounds,
            heard.slowest,
            heard.others,
            grown / MIB,
            problem.map_or(String::new(), |problem| format!("  FAILED: {problem}")),
        );
        failed |= problem.is_some();
    }
    (done, failed)
}

fn problem(
    attack: &RegistryAttack,
    heard: &Heard,
    (size, refused): (RegistrySeen, u64),
    (grown, bound): (usize, usize),
) -> Option<&'static str> {
    let limits = limits();
    let of_networks = attack.networks * limits.entries_per_network() + 1;
    if heard.failed.is_some() {
        return heard.failed;
    }
    if size.servers > limits.entries().min(of_networks) || size.bytes > limits.memory() {
        return Some("more is listed than may be");
    }
    if heard.others > told_at_most(attack.networks, heard.took) {
        return Some("too much was told");
    }
    if grown > bound {
        return Some("more memory than stated");
    }
    (attack.is_refused && refused == 0).then_some("it got all that it asked for")
}

/// Whoever attacks asks again itself.
fn once() -> ClientConfig {
    ClientConfig::default().with_max_retries(0)
}

/// How often a network tries in vain to have another member let in, each time for as long as a
/// handshake may take.
const IN_VAIN: usize = 3;

/// Members of one network, as many as are let in.
pub(crate) async fn members(network: u8, count: usize, server: &Multiaddr) -> Vec<Member> {
    let address = Network(network).towards(server).await;
    let (mut all, mut in_vain) = (Vec::new(), 0);
    while all.len() < count && in_vain < IN_VAIN {
        let wanted = (count - all.len()).min(20);
        let some = join_all((0..wanted).map(|_| Member::connect(&address, once()))).await;
        let before = all.len();
        all.extend(some.into_iter().flatten());
        in_vain = if all.len() == before { in_vain + 1 } else { 0 };
    }
    all
}
