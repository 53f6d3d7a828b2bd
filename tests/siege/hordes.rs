//! What hostile peers do to a registry.

use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::join_all;
use pointsub_service::registry::Announcement;
use pointsub_swarm::{Keypair, Multiaddr, PeerRecord};

use crate::attacks::LONG;
use crate::registry::{ECHO, Member, RegistryAttack, members};

pub(crate) const ATTACKS: &[RegistryAttack] = &[
    RegistryAttack {
        name: "registry: one that announces all it can",
        run: |server| alone(server).boxed(),
        networks: 1,
        is_refused: true,
    },
    RegistryAttack {
        name: "registry: 200 peers of one network",
        run: |server| crowd(server, 1, 200).boxed(),
        networks: 1,
        is_refused: true,
    },
    RegistryAttack {
        name: "registry: peers of 25 networks",
        run: |server| crowd(server, 25, 5).boxed(),
        networks: 25,
        is_refused: true,
    },
    RegistryAttack {
        name: "registry: watchers that never read",
        run: |server| watchers(server, None).boxed(),
        networks: 2,
        is_refused: true,
    },
    RegistryAttack {
        name: "registry: watchers that take little",
        run: |server| watchers(server, Some(Duration::from_millis(100))).boxed(),
        networks: 2,
        is_refused: true,
    },
    RegistryAttack {
        name: "registry: servers that come and go",
        run: |server| flapping(server).boxed(),
        networks: 1,
        is_refused: false,
    },
    RegistryAttack {
        name: "registry: forged and long records",
        run: |server| forged(server).boxed(),
        networks: 1,
        is_refused: true,
    },
    RegistryAttack {
        name: "registry: names without end",
        run: |server| names(server).boxed(),
        networks: 1,
        is_refused: false,
    },
];

/// Protocols that nobody else has.
fn unheard_of(count: usize, from: usize) -> Vec<String> {
    (from..from + count).map(|n| format!("/{n:040}")).collect()
}

/// Announces something in a call of its own; the call, if it is taken.
async fn announce(member: &Member, says: Announcement) -> Option<impl Sized + use<>> {
    let mut call = member.registry.announce().await.ok()?;
    call.send(says).await.ok()?;
    call.recv().await.ok()??;
    Some(call)
}

/// One peer with calls without end, each of which says as much as it may, and then more.
async fn alone(server: Multiaddr) -> u64 {
    let began = Instant::now();
    let Some(member) = members(10, 1, &server).await.pop() else { return 0 };
    let (mut held, mut refused) = (Vec::new(), 0);
    for n in 0.. {
        if began.elapsed() > LONG {
            break;
        }
        let count = if n % 10 == 9 { 500 } else { 128 };
        match announce(&member, member.says(unheard_of(count, n * 500))).await {
            Some(call) => held.push(call),
            None => refused += 1,
        }
        held.truncate(200);
    }
    refused
}

/// Peers of so many networks, each with names of its own beside the one that all look for: half of them
/// fill the registry.
async fn crowd(server: Multiaddr, networks: u8, of_each: usize) -> u64 {
    let groups = (0..networks).map(|n| members(10 + n, of_each, &server));
    let all: Vec<Member> = join_all(groups).await.into_iter().flatten().collect();
    let announced = all.iter().enumerate().map(|(n, member)| async move {
        let protocols = [vec![ECHO.to_owned()], unheard_of(100, n * 100)].concat();
        announce(member, member.says(protocols)).await
    });
    let announced = join_all(announced).await;
    let refused = announced.iter().filter(|call| call.is_none()).count() as u64;
    tokio::time::sleep(LONG).await;
    drop(announced);
    refused
}

/// Peers that watch as much as they may and take nothing, or an event now and then; and servers that change.
async fn watchers(server: Multiaddr, pace: Option<Duration>) -> u64 {
    let all = members(10, 6, &server).await;
    let busy = flapping_from(server, 11, 20);
    let watching = all.iter().map(|member| async move {
        let open = (0..300).map(|n| {
            let watch = member.registry.watch(ECHO.to_owned());
            // One message and the least of bytes at a time.
            let watch = if pace.is_some() { watch.window(1, 1) } else { watch };
            async move { (n, watch.await) }
        });
        let mut refused = 0;
        let mut held = Vec::new();
        for (_, watch) in join_all(open).await {
            match watch {
                Ok(mut watch) => {
                    if pace.is_none() || matches!(watch.recv().await, Ok(Some(_))) {
                        held.push(watch);
                    } else {
                        refused += 1;
                    }
                }
                Err(_) => refused += 1,
            }
        }
        let began = Instant::now();
        while began.elapsed() < LONG {
            tokio::time::sleep(pace.unwrap_or(LONG)).await;
            let taken = held.iter_mut().map(|watch| watch.recv());
            if pace.is_some() {
                let _slow = tokio::time::timeout(LONG / 10, join_all(taken)).await;
            }
        }
        refused
    });
    let (refused, _) = futures::future::join(join_all(watching), busy).await;
    refused.into_iter().sum()
}

async fn flapping(server: Multiaddr) -> u64 {
    flapping_from(server, 10, 50).await
}

/// Peers that come, change, go and come again as fast as they can.
async fn flapping_from(server: Multiaddr, network: u8, count: usize) -> u64 {
    let all = members(network, count, &server).await;
    let flapping = all.iter().map(|member| async move {
        let (began, mut refused) = (Instant::now(), 0);
        while began.elapsed() < LONG {
            let Ok(mut call) = member.registry.announce().await else {
                refused += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            for load in 0..3 {
                // A new record each time, with another sequence number.
                let says = member.says(vec![ECHO.to_owned()]).with_load(load);
                if call.send(says).await.is_err() || !matches!(call.recv().await, Ok(Some(_))) {
                    refused += 1;
                    break;
                }
            }
        }
        refused
    });
    join_all(flapping).await.into_iter().sum()
}

/// Records of others, records that nobody has signed, and long ones.
async fn forged(server: Multiaddr) -> u64 {
    let all = members(10, 5, &server).await;
    let other = Keypair::generate_ed25519();
    let at: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().expect("an address");
    let of_other = PeerRecord::new_interop(&other, vec![at.clone()]).expect("the key can sign");
    let forging = all.iter().map(|member| {
        let of_other = &of_other;
        let many = PeerRecord::new_interop(&member.keypair, vec![at.clone(); 17]);
        let many = many.expect("the key can sign");
        async move {
            let echo = || vec![ECHO.to_owned()];
            let (began, mut refused) = (Instant::now(), 0);
            for n in 0_usize.. {
                if began.elapsed() > LONG {
                    break;
                }
                let mut says = member.says(echo());
                match n % 5 {
                    0 => says = Announcement::new(echo(), of_other),
                    1 => says.record = says.record.iter().rev().copied().collect(),
                    2 => says.record = vec![7; 5000].into(),
                    3 => says.record = vec![7; 60_000].into(),
                    _ => says = Announcement::new(echo(), &many),
                }
                match announce(member, says).await {
                    Some(_) => panic!("it is believed"),
                    None => refused += 1,
                }
            }
            refused
        }
    });
    join_all(forging).await.into_iter().sum()
}

/// New names all the time, of what is served and of what is looked for.
async fn names(server: Multiaddr) -> u64 {
    let all = members(10, 10, &server).await;
    let naming = all.iter().enumerate().map(|(of, member)| async move {
        let (began, mut refused, mut held) = (Instant::now(), 0, Vec::new());
        for n in 0_usize.. {
            if began.elapsed() > LONG {
                break;
            }
            let from = (of * 1000 + n) * 100;
            match announce(member, member.says(unheard_of(100, from))).await {
                Some(call) => held = vec![call],
                None => refused += 1,
            }
            let watched = unheard_of(20, from).into_iter().map(|name| member.registry.watch(name));
            let watched = join_all(watched.map(IntoFuture::into_future)).await;
            refused += watched.iter().filter(|watch| watch.is_err()).count() as u64;
        }
        drop(held);
        refused
    });
    join_all(naming).await.into_iter().sum()
}
