//! Nodes on a runtime whose time the test decides: nothing waits, and everything comes at its time.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures::executor::LocalPool;
use futures::future::BoxFuture;
use futures::task::LocalSpawnExt;
use parking_lot::Mutex;
use pointsub_swarm::{
    ClientConfig, Discover, FinderTask, Found, Node, Policy, ProtocolName, Request, Runtime, Source,
};

const SLOW: ProtocolName = ProtocolName::from_static("/slow/1.0.0");
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A runtime on one thread whose time passes when there is nothing to do.
#[derive(Clone)]
struct Simulated(Arc<Mutex<State>>);

struct State {
    now: Instant,
    spawned: Vec<BoxFuture<'static, ()>>,
    /// Who sleeps, by when it ends and in which order they came.
    sleepers: BTreeMap<(Instant, u64), Waker>,
    count: u64,
}

impl Default for Simulated {
    fn default() -> Self {
        let (spawned, sleepers) = (Vec::new(), BTreeMap::new());
        Self(Arc::new(Mutex::new(State { now: Instant::now(), spawned, sleepers, count: 0 })))
    }
}

impl Runtime for Simulated {
    fn spawn(&self, future: BoxFuture<'static, ()>) {
        self.0.lock().spawned.push(future);
    }

    fn now(&self) -> Instant {
        self.0.lock().now
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        let state = &mut *self.0.lock();
        state.count += 1;
        Box::pin(Sleep { state: self.0.clone(), key: (deadline, state.count) })
    }
}

struct Sleep {
    state: Arc<Mutex<State>>,
    key: (Instant, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let state = &mut *self.state.lock();
        if self.key.0 <= state.now {
            return Poll::Ready(());
        }
        state.sleepers.insert(self.key, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let sleeper = self.state.lock().sleepers.remove(&self.key);
        // Without the lock, because with a waker goes what its task holds.
        drop(sleeper);
    }
}

impl Simulated {
    /// Runs a test to its end.
    fn run(&self, test: impl Future<Output = ()> + 'static) {
        let mut pool = LocalPool::new();
        let test = pool.spawner().spawn_local_with_handle(test).expect("the pool is there");
        let mut test = Box::pin(test);
        loop {
            let spawned = std::mem::take(&mut self.0.lock().spawned);
            for task in spawned {
                pool.spawner().spawn_local(task).expect("the pool is there");
            }
            pool.run_until_stalled();
            if futures::FutureExt::now_or_never(&mut test).is_some() {
                return;
            }
            if self.0.lock().spawned.is_empty() {
                self.pass_time();
            }
        }
    }

    /// Goes on to when the next sleeper wakes.
    fn pass_time(&self) {
        let waker = {
            let state = &mut *self.0.lock();
            let ((at, _), waker) = state.sleepers.pop_first().expect("somebody sleeps");
            state.now = state.now.max(at);
            waker
        };
        waker.wake();
    }
}

/// Two nodes in memory, one of which answers after an hour.
async fn nodes(on: &Simulated, policy: Policy) -> [Node<Simulated>; 2] {
    let node = || pointsub_swarm::NodeBuilder::on(on.clone()).in_memory();
    let server = node().listen("/memory/0".parse().expect("an address"));
    let server = server.build().await.expect("a node");
    let slow = on.clone();
    let handler = move |request: Request| {
        let slept = slow.sleep_until(slow.now() + HOUR);
        async move {
            slept.await;
            request.body
        }
    };
    server.server().register(&SLOW, handler).expect("the first");
    let client = node().policy(policy).build().await.expect("a node");
    client.connect(server.address().await.expect("it listens")).await.expect("it is there");
    [server, client]
}

#[test]
fn a_deadline_passes_at_its_time_and_an_answer_comes_at_its_own() {
    let on = Simulated::default();
    on.clone().run(async move {
        let [server, client] = nodes(&on, Policy::new()).await;
        let (peer, began) = (server.peer_id(), on.now());
        let error = client.client().send(peer, &SLOW, "x").timeout(10 * MINUTE).await;
        assert!(error.expect_err("too slow").is_timeout());
        assert_eq!(on.now() - began, 10 * MINUTE);
        let answer = client.client().send(peer, &SLOW, "x").timeout(2 * HOUR).await;
        assert_eq!(answer.expect("slow, and in time"), "x");
        assert_eq!(on.now() - began, 10 * MINUTE + HOUR);
        assert!(client.shutdown(MINUTE).await.is_clean());
    });
}

/// The grace of a stop is the runtime's time too, and its report says what was cut off.
#[test]
fn a_stop_waits_for_as_long_as_its_grace() {
    let on = Simulated::default();
    on.clone().run(async move {
        let [server, client] = nodes(&on, Policy::new().idempotent(false)).await;
        let (peer, began) = (server.peer_id(), on.now());
        let call = client.client().send(peer, &SLOW, "x").timeout(2 * HOUR);
        let stop = async {
            on.sleep_until(began + MINUTE).await;
            server.shutdown(10 * MINUTE).await
        };
        let (answer, went) = futures::join!(call, stop);
        assert!(answer.is_err());
        assert_eq!((went.server.cut_off, went.failed, went.is_clean()), (1, 0, false));
        assert!(on.now() - began >= 11 * MINUTE && on.now() - began < HOUR);
    });
}

/// What a call says comes before the policy of its protocol, and that before the client's.
#[test]
fn the_timeout_of_a_policy_holds_where_a_call_has_none() {
    let on = Simulated::default();
    on.clone().run(async move {
        let [server, client] = nodes(&on, Policy::new().timeout(MINUTE)).await;
        let peer = server.peer_id();
        let send = || client.client().send(peer, &SLOW, "x");
        let began = on.now();
        assert!(send().await.expect_err("too slow").is_timeout());
        assert_eq!(on.now() - began, MINUTE);
        assert!(send().timeout(2 * MINUTE).await.expect_err("too slow").is_timeout());
        assert_eq!(on.now() - began, 3 * MINUTE);

        let own = pointsub_swarm::NodeBuilder::on(on.clone()).in_memory();
        let own = own.policy(Policy::new().timeout(MINUTE));
        let own = own.protocol_policy(SLOW, Policy::new().timeout(5 * MINUTE));
        let own = own.build().await.expect("a node");
        own.connect(server.address().await.expect("it listens")).await.expect("it is there");
        let began = on.now();
        let error = own.client().send(peer, &SLOW, "x").await;
        assert!(error.expect_err("too slow").is_timeout());
        assert_eq!(on.now() - began, 5 * MINUTE);
    });
}

/// A protocol is looked for as long as somebody waits for a server of it, which may be longer than anything
/// is wanted otherwise.
#[test]
fn what_is_waited_for_is_looked_for_all_the_while() {
    let on = Simulated::default();
    on.clone().run(async move {
        let [server, _] = nodes(&on, Policy::new()).await;
        let (peer, at) = (server.peer_id(), server.address().await.expect("it listens"));
        let (clock, comes) = (on.clone(), on.now() + HOUR);
        let source = Discover::source(Source::Custom, move |mut finder| {
            let (clock, at) = (clock.clone(), at.clone());
            async move {
                while let Some(task) = finder.next_task().await {
                    assert_ne!(task, FinderTask::Forget(SLOW), "somebody waits");
                    if task == FinderTask::LookUp(SLOW) && clock.now() >= comes {
                        finder.found(Found::new(peer).serving(&SLOW).at([at.clone()]));
                    }
                }
            }
        });
        let node = pointsub_swarm::NodeBuilder::on(on.clone()).in_memory().discover(source);
        let node = node.client_config(ClientConfig::default().with_connect_timeout(2 * HOUR));
        let node = node.build().await.expect("a node");
        node.client().wait_for_server(&SLOW).await.expect("it is found");
        assert!(on.now() >= comes && on.now() < comes + 10 * MINUTE);
        assert_eq!(node.client().server_nodes(&SLOW), [peer]);
    });
}
