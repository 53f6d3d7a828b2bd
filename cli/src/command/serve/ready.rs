//! What a server says when it is ready.

use pointsub_tokio::service::CallError;
use pointsub_tokio::service::registry::RegistryClient;
use pointsub_tokio::{Cause, Node, Status, StatusCode};
use serde_json::{Value, json};

use crate::error::Failure;
use crate::node::{Places, Serving, with_peer};
use crate::output::{Mark, Output};
use crate::qr;
use crate::target::Target;

/// A protocol that a registry is asked for, to see whether it answers.
const REGISTRY: &str = "/pointsub-registry/1";

/// What is said of a server beside who it is and where.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    /// What to type elsewhere.
    example: String,
    /// Whether the ticket is shown as a QR code too.
    qr: bool,
    /// Where it is announced.
    places: Option<Places>,
    /// What is enough on the local network.
    on_lan: Option<String>,
    /// What is enough for those who know a registry.
    at_registries: Vec<String>,
    /// And for the members of a private network.
    in_network: Vec<String>,
}

impl Ready {
    /// That of a server which is announced nowhere; `example` is what to type elsewhere.
    pub(crate) fn new(example: String) -> Self {
        Self { example, ..Self::default() }
    }

    /// Shows the ticket as a QR code too.
    pub(crate) const fn with_qr(mut self, qr: bool) -> Self {
        self.qr = qr;
        self
    }

    /// The server is announced in these places; `words` are those with which it is called.
    pub(crate) fn announced(mut self, places: Places, words: &str) -> Self {
        let call = format!("pointsub call {words}");
        let of = |(named, _): &(String, Target)| format!("{call} --registry {named}");
        self.at_registries = places.registries.iter().map(of).collect();
        let network = places.network.iter().flat_map(|network| &network.nodes);
        self.in_network = network.map(|(named, _)| format!("{call} --kad {named}")).collect();
        self.on_lan = places.lan.then_some(call);
        self.places = Some(places);
        self
    }

    /// Says who this is, where, and what to type elsewhere.
    pub(crate) async fn announce(&self, serving: &Serving, output: Output) -> Result<(), Failure> {
        let Serving { node, ticket, key, .. } = serving;
        let of = Target { peer: ticket.peer(), addresses: ticket.addresses().to_vec() };
        let records = self.places.iter().flat_map(|places| places.records(&of));
        let records: Vec<(String, String)> = records.collect();
        if output.json {
            return output.value(&self.to_json(serving, &records).await);
        }
        let kept = key.as_ref().map_or("not kept".to_owned(), |key| key.display().to_string());
        let kept = output.mark(Mark::Faint, format_args!("(key: {kept})"));
        output.field("Peer ID", format_args!("{} {kept}", node.peer_id()))?;
        for (at, address) in ticket.addresses().iter().enumerate() {
            output.field(if at == 0 { "Address" } else { "" }, address)?;
        }
        output.field("Ticket", ticket)?;
        for (name, text) in records {
            output.field("Record", format_args!("{name} TXT \"{text}\""))?;
        }
        if let Some(on_lan) = &self.on_lan {
            let on_lan = output.mark(Mark::Good, on_lan);
            output.field("Nearby", format_args!("{on_lan}   (on this network)"))?;
        }
        for call in &self.at_registries {
            output.field("Registry", output.mark(Mark::Good, call))?;
        }
        for call in &self.in_network {
            let call = output.mark(Mark::Good, call);
            output.field("Network", format_args!("{call}   (with the same --kad-secret)"))?;
        }
        output.field("Call", output.mark(Mark::Good, &self.example))?;
        if self.qr {
            output.line(qr::code(ticket)?)?;
        }
        Ok(())
    }

    async fn to_json(&self, serving: &Serving, records: &[(String, String)]) -> Value {
        let Serving { node, ticket, key, .. } = serving;
        let addresses = node.addresses().await;
        let record = |(name, text): &(String, String)| json!({ "name": name, "text": text });
        let registries = self.places.iter().flat_map(|places| &places.registries);
        let network = self.places.iter().filter_map(|places| places.network.as_ref());
        let network = network.flat_map(|network| &network.nodes);
        json!({
            "event": "ready",
            "peer": node.peer_id().to_string(),
            "ticket": ticket.to_string(),
            "addresses": addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "key": key.as_ref().map(|key| key.display().to_string()),
            "lan": self.on_lan.is_some(),
            "registries": registries.map(|(_, at)| at.peer.to_string()).collect::<Vec<_>>(),
            "network": network.map(|(_, at)| at.peer.to_string()).collect::<Vec<_>>(),
            "records": records.iter().map(record).collect::<Vec<_>>(),
        })
    }

    /// Says beside the output which registries cannot be used. They are asked again all the while.
    pub(crate) fn check_registries(&self, node: &Node, output: Output) {
        for (named, registry) in self.places.iter().flat_map(|places| &places.registries) {
            let (named, registry, node) = (named.clone(), registry.clone(), node.clone());
            tokio::spawn(async move { check(&named, &registry, &node, output).await });
        }
    }
}

async fn check(named: &str, registry: &Target, node: &Node, output: Output) {
    for address in with_peer(registry) {
        node.add_address(registry.peer, address).await;
    }
    let client = RegistryClient::peer(node.client(), registry.peer);
    let asked = async {
        // Any protocol will do: a registry answers at once, whether it knows of servers or not.
        let mut watch = client.watch(REGISTRY.to_owned()).await?;
        watch.recv().await
    };
    match asked.await {
        Ok(_) => output.detail(format_args!("the registry {} answers", registry.peer)),
        Err(error) if is_no_registry(&error) => output.note(format_args!(
            "{named} serves no registry, and this server is not announced there; \
             `pointsub registry` serves one"
        )),
        Err(error) => output.note(format_args!(
            "the registry {named} cannot be used now, and is tried again: {error}"
        )),
    }
}

fn is_no_registry<E>(error: &CallError<E>) -> bool {
    let unknown = |status: &Status| status.code == StatusCode::NotFound;
    error.status().is_some_and(unknown)
        || error.request().is_some_and(|error| matches!(error.cause, Cause::Unsupported))
}
