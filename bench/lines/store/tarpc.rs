//! A key-value store whose prefixes can be watched, with tarpc. It has no streams: who watches asks again and
//! again for what has changed.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tarpc::serde_transport::tcp;
use tarpc::server::{BaseChannel, Channel};
use tarpc::tokio_serde::formats::Bincode;
use tarpc::{client, context};
use tokio::sync::watch;
use tokio::time::timeout;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Change {
    key: String,
    value: Option<String>,
}

#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
enum StoreError {
    #[error("there is no such key")]
    NoKey,
    #[error("the key cannot be written")]
    ReadOnly,
    #[error("values have {0} bytes at most")]
    TooLong(u32),
}

#[tarpc::service]
trait Store {
    async fn get(key: String) -> Result<String, StoreError>;
    async fn put(key: String, value: String) -> Result<(), StoreError>;
    async fn delete(key: String) -> Result<(), StoreError>;
    /// How many changes there were so far.
    async fn now() -> usize;
    /// What has changed since then below a prefix, when something has, and how many changes there are now.
    async fn changes(prefix: String, since: usize) -> (Vec<Change>, usize);
}

#[derive(Clone, Default)]
struct Memory {
    values: Arc<Mutex<BTreeMap<String, String>>>,
    changes: watch::Sender<Vec<Change>>,
}

impl Store for Memory {
    async fn get(self, _: context::Context, key: String) -> Result<String, StoreError> {
        self.values.lock().unwrap().get(&key).cloned().ok_or(StoreError::NoKey)
    }

    async fn put(self, _: context::Context, key: String, value: String) -> Result<(), StoreError> {
        if key.starts_with("system/") {
            return Err(StoreError::ReadOnly);
        }
        if value.len() > 1024 {
            return Err(StoreError::TooLong(1024));
        }
        self.values.lock().unwrap().insert(key.clone(), value.clone());
        self.changes.send_modify(|all| all.push(Change { key, value: Some(value) }));
        Ok(())
    }

    async fn delete(self, _: context::Context, key: String) -> Result<(), StoreError> {
        self.values.lock().unwrap().remove(&key).ok_or(StoreError::NoKey)?;
        self.changes.send_modify(|all| all.push(Change { key, value: None }));
        Ok(())
    }

    async fn now(self, _: context::Context) -> usize {
        self.changes.borrow().len()
    }

    async fn changes(
        self,
        _: context::Context,
        prefix: String,
        since: usize,
    ) -> (Vec<Change>, usize) {
        let mut changes = self.changes.subscribe();
        // Less than the deadline of a call.
        let _ = timeout(Duration::from_secs(5), changes.wait_for(|all| all.len() > since)).await;
        let all = self.changes.borrow();
        let new = all.iter().skip(since).filter(|change| change.key.starts_with(&prefix));
        (new.cloned().collect(), all.len())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut listener = tcp::listen("127.0.0.1:0", Bincode::default).await?;
    let address = listener.local_addr();
    let memory = Memory::default();
    tokio::spawn(async move {
        while let Some(Ok(transport)) = listener.next().await {
            let requests = BaseChannel::with_defaults(transport).execute(memory.clone().serve());
            tokio::spawn(requests.for_each(|request| async {
                tokio::spawn(request);
            }));
        }
    });

    let transport = tcp::connect(address, Bincode::default).await?;
    let store = StoreClient::new(client::Config::default(), transport).spawn();
    let cx = context::current;
    let mut since = store.now(cx()).await?;
    store.put(cx(), "color/sky".into(), "blue".into()).await??;
    println!("{}", store.get(cx(), "color/sky".into()).await??);
    store.delete(cx(), "color/sky".into()).await??;
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let (new, now) = store.changes(cx(), "color/".into(), since).await?;
        seen.extend(new);
        since = now;
    }
    println!("{:?} {:?}", seen[0], seen[1]);
    for outcome in [
        store.delete(cx(), "color/sky".into()).await?,
        store.put(cx(), "system/boot".into(), "no".into()).await?,
        store.put(cx(), "color/sea".into(), "deep ".repeat(1000)).await?,
    ] {
        match outcome {
            Err(StoreError::NoKey) => println!("no key"),
            Err(StoreError::ReadOnly) => println!("read only"),
            Err(StoreError::TooLong(limit)) => println!("more than {limit} bytes"),
            Ok(()) => {}
        }
    }
    Ok(())
}
