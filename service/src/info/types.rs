//! What a node tells of itself.

use std::collections::BTreeMap;

use pointsub_swarm::{ServerStats, StatusCode};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::description::{MethodDescription, ServiceDescription};
use crate::error::{CallError, ServiceError};

/// Whether a protocol, or a node as a whole, takes requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Health {
    /// It does.
    Serving,
    /// It does not now, or soon will not: ask another one.
    NotServing,
    /// The protocol is not registered.
    Unknown,
}

/// Who a node is and what it serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NodeDescription {
    /// The name of this library and its version.
    pub software: String,
    /// What the application says of itself.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The names of all protocols that are registered.
    #[serde(default)]
    pub protocols: Vec<String>,
    /// The typed services that the application has described.
    #[serde(default)]
    pub services: Vec<DescribedService>,
}

/// A typed service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DescribedService {
    /// Its protocol.
    pub protocol: String,
    /// What its documentation says.
    #[serde(default)]
    pub documentation: String,
    /// Its methods, in the order in which they were declared.
    #[serde(default)]
    pub methods: Vec<DescribedMethod>,
}

/// A method of a typed service. Types are named as they are in the source of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DescribedMethod {
    /// Its name, as it travels.
    pub name: String,
    /// What its documentation says.
    #[serde(default)]
    pub documentation: String,
    /// The names and types of its arguments.
    #[serde(default)]
    pub arguments: Vec<(String, String)>,
    /// The type of the messages that the client sends, if it sends any.
    #[serde(default)]
    pub receives: Option<String>,
    /// The type of the messages that the server sends, if it sends any.
    #[serde(default)]
    pub sends: Option<String>,
    /// What it returns.
    #[serde(default)]
    pub returns: String,
    /// Whether executing it twice does no harm, if the service says so.
    #[serde(default)]
    pub idempotent: Option<bool>,
}

impl From<&ServiceDescription> for DescribedService {
    fn from(service: &ServiceDescription) -> Self {
        Self {
            protocol: service.protocol.clone().into_owned(),
            documentation: service.documentation.to_owned(),
            methods: service.methods.iter().map(DescribedMethod::from).collect(),
        }
    }
}

impl From<&MethodDescription> for DescribedMethod {
    fn from(method: &MethodDescription) -> Self {
        let arguments = method.arguments.iter();
        Self {
            name: method.name.to_owned(),
            documentation: method.documentation.to_owned(),
            arguments: arguments.map(|(name, kind)| ((*name).into(), (*kind).into())).collect(),
            receives: method.receives.map(str::to_owned),
            sends: method.sends.map(str::to_owned),
            returns: method.returns.to_owned(),
            idempotent: method.idempotent,
        }
    }
}

/// How much a server has to do, and what it has done so far: a part of [`ServerStats`], which says what each
/// of these is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ServerLoad {
    /// Requests at work.
    pub in_flight: u64,
    /// How many may be at work.
    pub limit: u64,
    /// Requests at work in thousandths of the limit.
    pub load: u32,
    /// Calls that are open.
    pub calls: u64,
    /// Streams that are open.
    pub streams: u64,
    /// Peers with a stream that is open.
    pub peers: u64,
    /// Bytes held.
    pub memory: u64,
    /// Requests that were handed to a handler.
    pub started: u64,
    /// Those that were answered with a response.
    pub ok: u64,
    /// Those that were answered with a failure.
    pub failed: u64,
    /// Requests and streams that no handler saw.
    pub refused: u64,
}

impl From<ServerStats> for ServerLoad {
    fn from(stats: ServerStats) -> Self {
        let ServerStats { in_flight, limit, load, calls, streams, peers, memory, .. } = stats;
        let ServerStats { started, ok, failed, refused, .. } = stats;
        Self { in_flight, limit, load, calls, streams, peers, memory, started, ok, failed, refused }
    }
}

/// Why a node tells nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum InfoError {
    /// The application does not let this peer ask.
    #[error("this peer may not ask")]
    NotAllowed,
    /// A watch is over. Its text is for the log of the server.
    #[error("the call is over: {0}")]
    #[serde(skip)]
    Over(String),
}

impl From<CallError> for InfoError {
    fn from(error: CallError) -> Self {
        Self::Over(error.to_string())
    }
}

impl ServiceError for InfoError {
    fn code(&self) -> StatusCode {
        match self {
            Self::NotAllowed => StatusCode::PermissionDenied,
            Self::Over(_) => StatusCode::Internal,
        }
    }
}
