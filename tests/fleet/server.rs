//! A server process: workers behind a real node.

use std::sync::{Arc, Mutex};

use pointsub_swarm::{Keypair, ProtocolName, Request, Spawned};
use pointsub_tests::fleet::{Setup, draw};
use pointsub_tests::sim::Rng;
use pointsub_tokio::Node;
use tokio::sync::Semaphore;

pub(crate) fn protocol() -> ProtocolName {
    ProtocolName::new("/fleet/1").expect("a usable name")
}

/// Equal servers have equal identities, so that one that was killed comes back as itself.
pub(crate) fn identity(number: u8) -> Keypair {
    let mut seed = [number; 32];
    Keypair::ed25519_from_bytes(&mut seed).expect("32 bytes")
}

/// Serves until the process is killed. Says its port when it listens.
pub(crate) async fn serve(setup: &Setup, number: u8, port: u16) {
    let listen = format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("an address");
    let node = Node::builder()
        .keypair(identity(number))
        .server_config(setup.server.clone())
        .listen(listen)
        .build()
        .await
        .expect("a node");
    let workers = Arc::new(Semaphore::new(setup.workers));
    let rng = Arc::new(Mutex::new(Rng::of(setup.seed, &[3, u64::from(number)])));
    let (mean, sigma) = (setup.service, setup.sigma);
    let handler = move |_: Request| {
        let (workers, rng) = (workers.clone(), rng.clone());
        async move {
            let _worker = workers.acquire_owned().await.expect("it stays open");
            let takes = draw::lognormal(&mut rng.lock().expect("nobody panics"), mean, sigma);
            tokio::time::sleep(std::time::Duration::from_nanos(takes)).await;
            "16 bytes of body"
        }
    };
    node.server().register(&protocol(), Spawned(handler)).expect("the first one");
    let addresses = node.addresses().await;
    println!("{}", addresses.first().expect("it listens"));
    std::future::pending::<()>().await;
}
