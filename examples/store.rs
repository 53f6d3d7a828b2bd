//! A key-value store whose methods are those of a trait. Two nodes have it, and a client finds the closest.
//!
//! ```sh
//! cargo run --example store
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Mutex;
use std::time::Duration;

use pointsub_tokio::service::{Bytes, CallError, Cx, Rx, ServiceError, Tx};
use pointsub_tokio::{Node, StatusCode, service};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

/// A value with its version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Value {
    bytes: Bytes,
    version: u64,
}

/// A key whose value has changed.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Change {
    key: String,
    value: Value,
}

#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
enum StoreError {
    #[error("there is no key {key:?}")]
    NoKey { key: String },
    #[error("version {found} is there, and not {expected}")]
    Conflict { expected: u64, found: u64 },
    /// Its text is for the log of the server.
    #[error("the call is over: {0}")]
    #[serde(skip)]
    Over(#[from] CallError),
}

impl ServiceError for StoreError {
    fn code(&self) -> StatusCode {
        match self {
            Self::NoKey { .. } => StatusCode::NoSuchResource,
            _ => StatusCode::Application(1),
        }
    }
}

/// Keys with values.
#[service("/store/1")]
trait Store {
    /// The value of a key.
    async fn get(&self, cx: &Cx, key: String) -> Result<Value, StoreError>;

    /// Sets a value, if the one that is there has the expected version. Returns the new version.
    #[method(idempotent = false)]
    async fn set(
        &self,
        cx: &Cx,
        key: String,
        bytes: Bytes,
        expected: Option<u64>,
    ) -> Result<u64, StoreError>;

    /// Sets many values. Returns how many.
    async fn load(&self, cx: &Cx, values: Rx<(String, Bytes)>) -> Result<usize, StoreError>;

    /// What changes from now on, below a prefix.
    async fn watch(&self, cx: &Cx, prefix: String, changes: Tx<Change>) -> Result<(), StoreError>;
}

struct Memory {
    values: Mutex<BTreeMap<String, Value>>,
    changes: broadcast::Sender<Change>,
}

impl Memory {
    fn new() -> Self {
        Self { values: Mutex::default(), changes: broadcast::Sender::new(256) }
    }

    fn put(&self, key: String, bytes: Bytes, expected: Option<u64>) -> Result<u64, StoreError> {
        let mut values = self.values.lock().expect("nobody panics with it");
        let found = values.get(&key).map_or(0, |value| value.version);
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(StoreError::Conflict { expected, found });
        }
        let value = Value { bytes, version: found + 1 };
        values.insert(key.clone(), value.clone());
        // It fails where nobody watches.
        let _watched = self.changes.send(Change { key, value });
        Ok(found + 1)
    }
}

impl Store for Memory {
    async fn get(&self, _cx: &Cx, key: String) -> Result<Value, StoreError> {
        let values = self.values.lock().expect("nobody panics with it");
        values.get(&key).cloned().ok_or(StoreError::NoKey { key })
    }

    async fn set(
        &self,
        _cx: &Cx,
        key: String,
        bytes: Bytes,
        expected: Option<u64>,
    ) -> Result<u64, StoreError> {
        self.put(key, bytes, expected)
    }

    async fn load(&self, _cx: &Cx, mut values: Rx<(String, Bytes)>) -> Result<usize, StoreError> {
        let mut count = 0;
        while let Some((key, bytes)) = values.recv().await? {
            self.put(key, bytes, None)?;
            count += 1;
        }
        Ok(count)
    }

    async fn watch(
        &self,
        _cx: &Cx,
        prefix: String,
        mut changes: Tx<Change>,
    ) -> Result<(), StoreError> {
        let mut seen = self.changes.subscribe();
        // Whoever reads too slowly sees the end, and asks again.
        while let Ok(change) = seen.recv().await {
            if change.key.starts_with(&prefix) {
                changes.send(change).await?;
            }
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = Node::builder().listen("/ip4/127.0.0.1/tcp/0".parse()?).build().await?;
    StoreServer::new(Memory::new()).serve(server.server())?;

    let node = Node::builder().build().await?;
    node.connect(server.address().await.ok_or("it listens")?).await?;
    node.client().add_server_node(&StoreClient::PROTOCOL, server.peer_id())?;
    let store = StoreClient::closest(node.client());

    let mut changes = store.watch("color/".to_owned()).await?;
    let color = || "color/sky".to_owned();
    let version = store.set(color(), "blue".into(), None).timeout(Duration::from_secs(5)).await?;
    println!("set: version {version}");
    let value = store.get(color()).await?;
    println!("get: {:?}, version {}", value.bytes, value.version);
    let change = changes.recv().await?.ok_or("it goes on")?;
    println!("watched: {} is {:?}", change.key, change.value.bytes);

    match store.set(color(), "red".into(), Some(7)).await {
        Err(CallError::Service { error: error @ StoreError::Conflict { .. }, .. }) => {
            println!("refused: {error}");
        }
        other => println!("not as it should be: {other:?}"),
    }
    let mut load = store.load().await?;
    for (number, word) in ["one", "two", "three"].into_iter().enumerate() {
        load.send((format!("word/{number}"), word.into())).await?;
    }
    println!("loaded: {}", load.finish().await?);

    drop(changes);
    node.shutdown(Duration::from_secs(1)).await;
    server.shutdown(Duration::from_secs(1)).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No network, no runtime: a client that calls the service in the same program.
    #[tokio::test]
    async fn a_version_that_is_not_expected_is_refused() {
        let store = StoreClient::local(Memory::new());
        assert_eq!(store.set("a".to_owned(), "1".into(), None).await.expect("a version"), 1);
        let error = store.set("a".to_owned(), "2".into(), Some(5)).await.expect_err("it is 1");
        assert!(matches!(error.service(), Some(StoreError::Conflict { found: 1, .. })), "{error}");
    }
}
