//! A queue of jobs whose progress is followed, also across a cut.
//!
//! ```sh
//! cargo run --example jobs
//! ```

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pointsub_tokio::service::{CallError, Cx, ServiceError, Tx};
use pointsub_tokio::{Node, StatusCode, service};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};

/// How many jobs are at work at a time.
const WORKERS: usize = 2;

/// What a job has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Progress {
    Waiting,
    Step { done: u32, of: u32 },
    Finished { sum: u64 },
}

#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
enum JobError {
    #[error("there is no job {id:?}")]
    NoJob { id: String },
    /// Its text is for the log of the server.
    #[error("the call is over: {0}")]
    #[serde(skip)]
    Over(#[from] CallError),
}

impl ServiceError for JobError {
    fn code(&self) -> StatusCode {
        match self {
            Self::NoJob { .. } => StatusCode::NoSuchResource,
            Self::Over(_) => StatusCode::Application(1),
        }
    }
}

/// Jobs that are named by whoever submits them.
#[service("/jobs/1")]
trait Jobs {
    /// Puts a job into the queue, once: whoever gets no answer submits it again. Says whether it is new.
    async fn submit(&self, cx: &Cx, id: String, steps: u32) -> Result<bool, JobError>;

    /// What the job comes to, step by step, until it is finished. Goes on behind a cursor.
    async fn follow(&self, cx: &Cx, id: String, out: Tx<Progress>) -> Result<u64, JobError>;
}

struct Queue {
    jobs: Mutex<HashMap<String, watch::Receiver<Vec<Progress>>>>,
    workers: Arc<Semaphore>,
}

impl Queue {
    fn new() -> Self {
        Self { jobs: Mutex::default(), workers: Arc::new(Semaphore::new(WORKERS)) }
    }
}

/// The job itself: adds numbers, with a pause after each.
async fn work(workers: Arc<Semaphore>, steps: u32, history: watch::Sender<Vec<Progress>>) {
    let Ok(_place) = workers.acquire().await else { return };
    let mut sum = 0;
    for done in 1..=steps {
        tokio::time::sleep(Duration::from_millis(20)).await;
        sum += u64::from(done);
        history.send_modify(|history| history.push(Progress::Step { done, of: steps }));
    }
    history.send_modify(|history| history.push(Progress::Finished { sum }));
}

impl Jobs for Queue {
    async fn submit(&self, _cx: &Cx, id: String, steps: u32) -> Result<bool, JobError> {
        let mut jobs = self.jobs.lock().expect("nobody panics with it");
        if jobs.contains_key(&id) {
            return Ok(false);
        }
        let (history, seen) = watch::channel(vec![Progress::Waiting]);
        jobs.insert(id, seen);
        tokio::spawn(work(self.workers.clone(), steps, history));
        Ok(true)
    }

    async fn follow(&self, cx: &Cx, id: String, mut out: Tx<Progress>) -> Result<u64, JobError> {
        let job = self.jobs.lock().expect("nobody panics with it").get(&id).cloned();
        let mut history = job.ok_or(JobError::NoJob { id })?;
        let cursor = cx.resume().and_then(|cursor| std::str::from_utf8(cursor).ok()?.parse().ok());
        let mut next: usize = cursor.unwrap_or(0);
        loop {
            let progress = history.borrow_and_update().get(next).copied();
            match progress {
                Some(progress) => {
                    next += 1;
                    // Waits for a reader that is slow; the job does not.
                    out.send_with_cursor(progress, next.to_string()).await?;
                    if let Progress::Finished { sum } = progress {
                        return Ok(sum);
                    }
                }
                // The sender is gone when the job is, and then there is all of it.
                None if history.changed().await.is_err() => return Ok(0),
                None => {}
            }
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = Node::builder().listen("/ip4/127.0.0.1/tcp/0".parse()?).build().await?;
    JobsServer::new(Queue::new()).serve(server.server())?;

    let node = Node::builder().build().await?;
    let peer = node.connect(server.address().await.ok_or("it listens")?).await?;
    let jobs = JobsClient::peer(node.client(), peer);
    for (id, steps) in [("short", 2), ("long", 5), ("last", 1)] {
        println!("{id} is new: {}", jobs.submit(id.to_owned(), steps).await?);
    }
    println!("long is new: {}", jobs.submit("long".to_owned(), 5).await?);

    // Two messages, and then the call is lost; another one goes on behind them.
    let mut progress = jobs.follow("long".to_owned()).await?;
    for _ in 0..2 {
        println!("long: {:?}", progress.recv().await?.ok_or("it goes on")?);
    }
    let cursor = progress.cursor().cloned().ok_or("it has a cursor")?;
    drop(progress);
    let mut progress = jobs.follow("long".to_owned()).resume(cursor).await?;
    while let Some(step) = progress.recv().await? {
        println!("long: {step:?}");
    }
    println!("the sum is {}", progress.finish().await?);

    // Refused as soon as it is opened, or when its end is asked for.
    let unknown = async { jobs.follow("none".to_owned()).await?.finish().await };
    match unknown.await {
        Err(CallError::Service { error: error @ JobError::NoJob { .. }, .. }) => {
            println!("refused: {error}");
        }
        other => println!("not as it should be: {other:?}"),
    }
    node.shutdown(Duration::from_secs(1)).await;
    server.shutdown(Duration::from_secs(1)).await;
    Ok(())
}
