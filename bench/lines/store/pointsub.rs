//! A key-value store whose prefixes can be watched, with PointSub.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Mutex;

use pointsub_tokio::service::{Cx, ServiceError, Tx};
use pointsub_tokio::{Node, service};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

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

impl ServiceError for StoreError {}

#[service("/store/1")]
trait Store {
    async fn get(&self, cx: &Cx, key: String) -> Result<String, StoreError>;
    async fn put(&self, cx: &Cx, key: String, value: String) -> Result<(), StoreError>;
    async fn delete(&self, cx: &Cx, key: String) -> Result<(), StoreError>;
    /// What changes from now on, below a prefix.
    async fn watch(&self, cx: &Cx, prefix: String, out: Tx<Change>) -> Result<(), StoreError>;
}

struct Memory {
    values: Mutex<BTreeMap<String, String>>,
    changes: broadcast::Sender<Change>,
}

impl Store for Memory {
    async fn get(&self, _cx: &Cx, key: String) -> Result<String, StoreError> {
        self.values.lock().unwrap().get(&key).cloned().ok_or(StoreError::NoKey)
    }

    async fn put(&self, _cx: &Cx, key: String, value: String) -> Result<(), StoreError> {
        if key.starts_with("system/") {
            return Err(StoreError::ReadOnly);
        }
        if value.len() > 1024 {
            return Err(StoreError::TooLong(1024));
        }
        self.values.lock().unwrap().insert(key.clone(), value.clone());
        let _ = self.changes.send(Change { key, value: Some(value) });
        Ok(())
    }

    async fn delete(&self, _cx: &Cx, key: String) -> Result<(), StoreError> {
        self.values.lock().unwrap().remove(&key).ok_or(StoreError::NoKey)?;
        let _ = self.changes.send(Change { key, value: None });
        Ok(())
    }

    async fn watch(&self, _: &Cx, prefix: String, mut out: Tx<Change>) -> Result<(), StoreError> {
        let mut changes = self.changes.subscribe();
        while let Ok(change) = changes.recv().await {
            if change.key.starts_with(&prefix) && out.send(change).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = Node::builder().listen("/ip4/127.0.0.1/tcp/0".parse()?).build().await?;
    let memory = Memory { values: Mutex::default(), changes: broadcast::Sender::new(256) };
    StoreServer::new(memory).serve(server.server())?;

    let node = Node::builder().build().await?;
    let peer = node.connect(server.address().await.ok_or("no address")?).await?;
    let store = StoreClient::peer(node.client(), peer);
    let mut changes = store.watch("color/".into()).await?;
    store.put("color/sky".into(), "blue".into()).await?;
    println!("{}", store.get("color/sky".into()).await?);
    store.delete("color/sky".into()).await?;
    println!("{:?} {:?}", changes.recv().await?, changes.recv().await?);
    for outcome in [
        store.delete("color/sky".into()).await,
        store.put("system/boot".into(), "no".into()).await,
        store.put("color/sea".into(), "deep ".repeat(1000)).await,
    ] {
        match outcome.as_ref().err().and_then(|error| error.service()) {
            Some(StoreError::NoKey) => println!("no key"),
            Some(StoreError::ReadOnly) => println!("read only"),
            Some(StoreError::TooLong(limit)) => println!("more than {limit} bytes"),
            None => outcome?,
        }
    }
    Ok(())
}
