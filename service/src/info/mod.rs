//! Health, load and description of a node, as a service that an application may offer: `/pointsub-info/1`.
//!
//! (Names that begin with `/pointsub/` are those of the native format.)
//!
//! Nothing is offered unless it is [served](InfoService::serve), and the application says who may ask.
//!
//! ```
//! use std::time::Duration;
//!
//! use pointsub_service::info::{Health, InfoClient, InfoService};
//! use pointsub_service::{Client, PeerId, RegisterError, Server};
//!
//! // At a node: its operator alone may ask.
//! fn serve(server: &Server, operator: PeerId) -> Result<InfoService, RegisterError> {
//!     let info = InfoService::new(server, move |peer| *peer == operator);
//!     info.serve()?;
//!     Ok(info)
//! }
//!
//! // Clients hear of it before anything is refused.
//! async fn stop(info: InfoService) {
//!     info.stop(Duration::from_secs(2), Duration::from_secs(30)).await;
//! }
//!
//! // At the operator's.
//! async fn watch(client: &Client, node: PeerId) -> Result<(), Box<dyn std::error::Error>> {
//!     let info = InfoClient::peer(client, node);
//!     println!("{} requests at work", info.load().await?.in_flight);
//!     let mut health = info.watch(Some("/chat/1".to_owned())).await?;
//!     while let Some(health) = health.recv().await? {
//!         println!("{health:?}");
//!     }
//!     Ok(())
//! }
//! ```
//!
//! From other languages: the methods are `ping`, `describe`, `load`, `health` and `watch`, and JSON is
//! understood as it is for every service.

mod types;

use std::collections::BTreeMap;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use event_listener::Event;
use futures::future::{Either, select};
use futures_timer::Delay;
use parking_lot::Mutex;
use pointsub_swarm::{PeerId, ProtocolName, RegisterError, Server, Stopped};

pub use self::types::{
    DescribedMethod, DescribedService, Health, InfoError, NodeDescription, ServerLoad,
};
use crate::call::Tx;
use crate::cx::Cx;
use crate::description::ServiceDescription;

/// How often a watch looks whether its protocol is registered.
const LOOK: Duration = Duration::from_secs(1);

/// What a node tells of itself.
#[crate::service("/pointsub-info/1")]
pub trait Info {
    /// Returns what it was given.
    #[method(idempotent = true)]
    async fn ping(&self, cx: &Cx, payload: Bytes) -> Result<Bytes, InfoError>;

    /// Who the node is and what it serves.
    #[method(idempotent = true)]
    async fn describe(&self, cx: &Cx) -> Result<NodeDescription, InfoError>;

    /// How much it has to do.
    #[method(idempotent = true)]
    async fn load(&self, cx: &Cx) -> Result<ServerLoad, InfoError>;

    /// Whether a protocol takes requests, or the node as a whole.
    #[method(idempotent = true)]
    async fn health(&self, cx: &Cx, protocol: Option<String>) -> Result<Health, InfoError>;

    /// The same now and whenever it changes: at once if the application or a stop of the server changes it,
    /// within a second if the protocol is registered or unregistered. It ends when the server stops.
    async fn watch(
        &self,
        cx: &Cx,
        protocol: Option<String>,
        changes: Tx<Health>,
    ) -> Result<(), InfoError>;
}

/// Serves [`Info`] for a [`Server`]. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct InfoService {
    shared: Arc<Shared>,
}

struct Shared {
    server: Server,
    may_ask: Box<dyn Fn(&PeerId) -> bool + Send + Sync>,
    told: Mutex<Told>,
    changed: Event,
}

/// What the application has said.
#[derive(Default)]
struct Told {
    stopping: bool,
    labels: BTreeMap<String, String>,
    services: Vec<DescribedService>,
    health: BTreeMap<String, Health>,
}

impl InfoService {
    /// For a server, and peers for whom `may_ask` is true. It is called for every request.
    pub fn new(
        server: impl std::borrow::Borrow<Server>,
        may_ask: impl Fn(&PeerId) -> bool + Send + Sync + 'static,
    ) -> Self {
        let server = server.borrow().clone();
        let (told, changed) = (Mutex::default(), Event::new());
        Self { shared: Arc::new(Shared { server, may_ask: Box::new(may_ask), told, changed }) }
    }

    /// Serves it from now on. To be called again when the server has been stopped and serves again.
    ///
    /// # Errors
    /// [`RegisterError`] if it is served already, or the server is stopping.
    pub fn serve(&self) -> Result<(), RegisterError> {
        self.shared.told.lock().stopping = false;
        InfoServer::new(self.clone()).serve(&self.shared.server)
    }

    /// Adds something that describes the node, such as `region` or `version`.
    pub fn set_label(&self, key: impl Into<String>, value: impl Into<String>) {
        self.shared.told.lock().labels.insert(key.into(), value.into());
    }

    /// Adds the description of a typed service: `NumbersServer::<Memory>::DESCRIPTION`, or
    /// [`Service::description`](crate::Service::description).
    pub fn describe_service(&self, description: &ServiceDescription) {
        self.shared.told.lock().services.push(description.into());
    }

    /// Sets the health of a protocol, whether it is registered or not. With `None`, it is serving while it is
    /// registered.
    pub fn set_health(&self, protocol: &ProtocolName, health: Option<Health>) {
        let name = protocol.as_str();
        match health {
            Some(health) => self.shared.told.lock().health.insert(name.to_owned(), health),
            None => self.shared.told.lock().health.remove(name),
        };
        self.shared.changed.notify(usize::MAX);
    }

    /// Tells everybody who watches that nothing is served soon, goes on serving for `notice`, and then
    /// [stops](Server::stop) the server with this grace. If it is dropped before, the server goes on, and says
    /// that it does not until it is [served](Self::serve) anew.
    pub async fn stop(&self, notice: Duration, grace: Duration) -> Stopped {
        self.shared.told.lock().stopping = true;
        self.shared.changed.notify(usize::MAX);
        Delay::new(notice).await;
        self.shared.server.stop(grace).await
    }
}

impl Shared {
    fn allow(&self, cx: &Cx) -> Result<(), InfoError> {
        (self.may_ask)(&cx.peer()).then_some(()).ok_or(InfoError::NotAllowed)
    }

    fn health(&self, protocol: Option<&str>) -> Health {
        let told = self.told.lock();
        let known = protocol.and_then(|protocol| told.health.get(protocol).copied());
        let stopping = told.stopping;
        drop(told);
        if stopping || !self.server.is_running() {
            return Health::NotServing;
        }
        let registered = |name| self.server.protocols().iter().any(|known| known.as_str() == name);
        match (protocol, known) {
            (_, Some(health)) => health,
            (Some(name), None) if !registered(name) => Health::Unknown,
            _ => Health::Serving,
        }
    }
}

impl Info for InfoService {
    async fn ping(&self, cx: &Cx, payload: Bytes) -> Result<Bytes, InfoError> {
        self.shared.allow(cx)?;
        Ok(payload)
    }

    async fn describe(&self, cx: &Cx) -> Result<NodeDescription, InfoError> {
        self.shared.allow(cx)?;
        let names = self.shared.server.protocols();
        let told = self.shared.told.lock();
        Ok(NodeDescription {
            software: concat!("pointsub/", env!("CARGO_PKG_VERSION")).to_owned(),
            labels: told.labels.clone(),
            protocols: names.iter().map(|name| name.as_str().to_owned()).collect(),
            services: told.services.clone(),
        })
    }

    async fn load(&self, cx: &Cx) -> Result<ServerLoad, InfoError> {
        self.shared.allow(cx)?;
        Ok(self.shared.server.stats().into())
    }

    async fn health(&self, cx: &Cx, protocol: Option<String>) -> Result<Health, InfoError> {
        self.shared.allow(cx)?;
        Ok(self.shared.health(protocol.as_deref()))
    }

    async fn watch(
        &self,
        cx: &Cx,
        protocol: Option<String>,
        mut changes: Tx<Health>,
    ) -> Result<(), InfoError> {
        self.shared.allow(cx)?;
        let mut last = None;
        loop {
            // What changes while it is looked at is heard too.
            let changed = self.shared.changed.listen();
            let health = self.shared.health(protocol.as_deref());
            if last != Some(health) {
                changes.send(health).await?;
                last = Some(health);
            }
            let changed = select(changed, Delay::new(LOOK));
            if let Either::Left(_) = select(pin!(changes.draining()), changed).await {
                break;
            }
        }
        if last != Some(Health::NotServing) {
            changes.send(Health::NotServing).await?;
        }
        Ok(())
    }
}

impl fmt::Debug for InfoService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InfoService").field("server", &self.shared.server).finish_non_exhaustive()
    }
}
