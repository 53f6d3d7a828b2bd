//! Services in one program, without a network.
use pointsub_service::{Bytes, CallError, Cx, Never, PeerId, Rejection, Rx, ServiceError, StatusCode, Stub, Tx, service};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, thiserror::Error, Serialize, Deserialize)]
enum StoreError {
    #[error("there is no key {key:?}")]
    NoKey { key: String },
    #[error("{0}")]
    #[serde(skip)]
    Call(String),
}

impl From<CallError> for StoreError {
    fn from(error: CallError) -> Self {
        Self::Call(error.to_string())
    }
}

impl ServiceError for StoreError {}

/// A store.
#[service("/store/1")]
trait Store {
    /// The value of a key.
    async fn get(&self, cx: &Cx, key: String) -> Result<u32, StoreError>;

    async fn watch(&self, cx: &Cx, mut_tx: Tx<u32>, up_to: u32) -> Result<String, StoreError>;
    async fn sum(&self, cx: &Cx, numbers: Rx<u32>) -> Result<u64, StoreError>;
    async fn echo(&self, cx: &Cx, rx: Rx<Bytes>, tx: Tx<Bytes>) -> Result<(), StoreError>;
    #[method(name = "Version", idempotent = false)]
    async fn version(&self, _cx: &Cx) -> Result<u32, StoreError> {
        Ok(1)
    }
}
struct Mine;
impl Store for Mine {
    async fn get(&self, _cx: &Cx, key: String) -> Result<u32, StoreError> {
        if key == "a" { Ok(1) } else { Err(StoreError::NoKey { key }) }
    }
    async fn watch(&self, _cx: &Cx, mut tx: Tx<u32>, up_to: u32) -> Result<String, StoreError> {
        for n in 0..up_to { tx.send(n).await?; }
        Ok("done".into())
    }
    async fn sum(&self, _cx: &Cx, mut numbers: Rx<u32>) -> Result<u64, StoreError> {
        let mut sum = 0;
        while let Some(n) = numbers.recv().await? { sum += u64::from(n); }
        Ok(sum)
    }
    async fn echo(&self, _cx: &Cx, mut rx: Rx<Bytes>, mut tx: Tx<Bytes>) -> Result<(), StoreError> {
        while let Some(n) = rx.recv().await? { tx.send(n).await?; }
        Ok(())
    }
}

#[test]
fn works() {
    futures::executor::block_on(async {
        let client = StoreClient::local(Mine);
        assert_eq!(client.get("a".into()).await.unwrap(), 1);
        let mut w = client.watch(100).await.unwrap();
        let mut n = 0;
        while let Some(x) = w.recv().await.unwrap() { assert_eq!(x, n); n += 1; }
        assert_eq!(n, 100);
        assert_eq!(w.finish().await.unwrap(), "done");
    });
    println!("{:#?}", StoreServer::<Mine>::DESCRIPTION);
}
