//! A key-value store whose prefixes can be watched, with tonic.

mod proto {
    tonic::include_proto!("store");
}

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Mutex;

use futures::stream::BoxStream;
use futures::{StreamExt, future};
use prost::Message;
use proto::store_client::StoreClient;
use proto::store_error::Kind;
use proto::store_server::{Store, StoreServer};
use proto::{Change, Done, Entry, Key, Prefix, StoreError, Value};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_stream::wrappers::{BroadcastStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status};

struct Memory {
    values: Mutex<BTreeMap<String, String>>,
    changes: broadcast::Sender<Change>,
}

impl From<Kind> for Status {
    fn from(kind: Kind) -> Self {
        let (code, text) = match kind {
            Kind::NoKey(_) => (Code::NotFound, "there is no such key".to_owned()),
            Kind::ReadOnly(_) => (Code::PermissionDenied, "the key cannot be written".to_owned()),
            Kind::TooLong(most) => {
                (Code::InvalidArgument, format!("values have {most} bytes at most"))
            }
        };
        let details = StoreError { kind: Some(kind) }.encode_to_vec();
        Status::with_details(code, text, details.into())
    }
}

#[tonic::async_trait]
impl Store for Memory {
    async fn get(&self, request: Request<Key>) -> Result<Response<Value>, Status> {
        let values = self.values.lock().unwrap();
        let value = values.get(&request.get_ref().key).cloned().ok_or(Kind::NoKey(true))?;
        Ok(Response::new(Value { value }))
    }

    async fn put(&self, request: Request<Entry>) -> Result<Response<Done>, Status> {
        let Entry { key, value } = request.into_inner();
        if key.starts_with("system/") {
            return Err(Kind::ReadOnly(true).into());
        }
        if value.len() > 1024 {
            return Err(Kind::TooLong(1024).into());
        }
        self.values.lock().unwrap().insert(key.clone(), value.clone());
        let _ = self.changes.send(Change { key, value: Some(value) });
        Ok(Response::new(Done {}))
    }

    async fn delete(&self, request: Request<Key>) -> Result<Response<Done>, Status> {
        let Key { key } = request.into_inner();
        self.values.lock().unwrap().remove(&key).ok_or(Kind::NoKey(true))?;
        let _ = self.changes.send(Change { key, value: None });
        Ok(Response::new(Done {}))
    }

    type WatchStream = BoxStream<'static, Result<Change, Status>>;

    async fn watch(&self, request: Request<Prefix>) -> Result<Response<Self::WatchStream>, Status> {
        let Prefix { prefix } = request.into_inner();
        let changes = BroadcastStream::new(self.changes.subscribe())
            .take_while(|change| future::ready(change.is_ok()))
            .filter_map(|change| future::ready(change.ok()))
            .filter(move |change| future::ready(change.key.starts_with(&prefix)))
            .map(Ok);
        Ok(Response::new(changes.boxed()))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let memory = Memory { values: Mutex::default(), changes: broadcast::Sender::new(256) };
    let server = Server::builder().add_service(StoreServer::new(memory));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));

    let mut store = StoreClient::connect(address).await?;
    let mut changes = store.watch(Prefix { prefix: "color/".into() }).await?.into_inner();
    store.put(Entry { key: "color/sky".into(), value: "blue".into() }).await?;
    println!("{}", store.get(Key { key: "color/sky".into() }).await?.get_ref().value);
    store.delete(Key { key: "color/sky".into() }).await?;
    println!("{:?} {:?}", changes.message().await?, changes.message().await?);
    for outcome in [
        store.delete(Key { key: "color/sky".into() }).await,
        store.put(Entry { key: "system/boot".into(), value: "no".into() }).await,
        store.put(Entry { key: "color/sea".into(), value: "deep ".repeat(1000) }).await,
    ] {
        let Err(status) = outcome else { continue };
        match StoreError::decode(status.details())?.kind {
            Some(Kind::NoKey(_)) => println!("no key"),
            Some(Kind::ReadOnly(_)) => println!("read only"),
            Some(Kind::TooLong(limit)) => println!("more than {limit} bytes"),
            None => return Err(status.into()),
        }
    }
    Ok(())
}
