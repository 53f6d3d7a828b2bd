//! A key-value store whose prefixes can be watched, with irpc.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};

use irpc::channel::{mpsc, oneshot};
use irpc::rpc::{RemoteService, listen};
use irpc::util::{make_client_endpoint, make_server_endpoint};
use irpc::{Client, WithChannels, rpc_requests};
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

#[rpc_requests(message = StoreMessage)]
#[derive(Debug, Serialize, Deserialize)]
enum StoreProtocol {
    #[rpc(tx=oneshot::Sender<Result<String, StoreError>>)]
    #[wrap(Get)]
    Get { key: String },
    #[rpc(tx=oneshot::Sender<Result<(), StoreError>>)]
    #[wrap(Put)]
    Put { key: String, value: String },
    #[rpc(tx=oneshot::Sender<Result<(), StoreError>>)]
    #[wrap(Delete)]
    Delete { key: String },
    /// What changes from now on, below a prefix.
    #[rpc(tx=mpsc::Sender<Change>)]
    #[wrap(Watch)]
    Watch { prefix: String },
}

struct Memory {
    values: BTreeMap<String, String>,
    changes: broadcast::Sender<Change>,
}

impl Memory {
    async fn handle(&mut self, message: StoreMessage) {
        let _ = match message {
            StoreMessage::Get(WithChannels { inner, tx, .. }) => {
                tx.send(self.values.get(&inner.key).cloned().ok_or(StoreError::NoKey)).await
            }
            StoreMessage::Put(WithChannels { inner: Put { key, value }, tx, .. }) => {
                tx.send(self.put(key, value)).await
            }
            StoreMessage::Delete(WithChannels { inner, tx, .. }) => {
                tx.send(self.delete(inner.key)).await
            }
            StoreMessage::Watch(WithChannels { inner, tx, .. }) => {
                let mut changes = self.changes.subscribe();
                tokio::spawn(async move {
                    while let Ok(change) = changes.recv().await {
                        if change.key.starts_with(&inner.prefix) && tx.send(change).await.is_err() {
                            break;
                        }
                    }
                });
                Ok(())
            }
        };
    }

    fn put(&mut self, key: String, value: String) -> Result<(), StoreError> {
        if key.starts_with("system/") {
            return Err(StoreError::ReadOnly);
        }
        if value.len() > 1024 {
            return Err(StoreError::TooLong(1024));
        }
        self.values.insert(key.clone(), value.clone());
        let _ = self.changes.send(Change { key, value: Some(value) });
        Ok(())
    }

    fn delete(&mut self, key: String) -> Result<(), StoreError> {
        self.values.remove(&key).ok_or(StoreError::NoKey)?;
        let _ = self.changes.send(Change { key, value: None });
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    let (endpoint, certificate) = make_server_endpoint(any)?;
    let address = endpoint.local_addr()?;
    let (tx, mut rx) = tokio::sync::mpsc::channel(16);
    let mut memory = Memory { values: BTreeMap::new(), changes: broadcast::Sender::new(256) };
    tokio::spawn(async move {
        while let Some(message) = rx.recv().await {
            memory.handle(message).await;
        }
    });
    let local = Client::<StoreProtocol>::local(tx).as_local().ok_or("it is local")?;
    tokio::spawn(listen(endpoint, StoreProtocol::remote_handler(local)));

    let endpoint = make_client_endpoint(any, &[&certificate])?;
    let store = Client::<StoreProtocol>::noq(endpoint, address);
    let mut changes = store.server_streaming(Watch { prefix: "color/".into() }, 16).await?;
    store.rpc(Put { key: "color/sky".into(), value: "blue".into() }).await??;
    println!("{}", store.rpc(Get { key: "color/sky".into() }).await??);
    store.rpc(Delete { key: "color/sky".into() }).await??;
    println!("{:?} {:?}", changes.recv().await?, changes.recv().await?);
    for outcome in [
        store.rpc(Delete { key: "color/sky".into() }).await?,
        store.rpc(Put { key: "system/boot".into(), value: "no".into() }).await?,
        store.rpc(Put { key: "color/sea".into(), value: "deep ".repeat(1000) }).await?,
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
