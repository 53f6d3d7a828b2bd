//! What holds for the requests of a client, or of one protocol, unless a call says otherwise.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pointsub_core::endpoint::RetryPolicy;
use pointsub_core::endpoint::closest::Strategy;
use pointsub_core::{CallOptions, Hedge, ProtocolName, Timestamp};

/// What holds for the requests of a client, or for those of one protocol:
/// [`NodeBuilder::policy`](crate::NodeBuilder::policy) and
/// [`NodeBuilder::protocol_policy`](crate::NodeBuilder::protocol_policy).
///
/// What a call says itself comes first, then the policy of its protocol, then that of the client, then
/// [`ClientConfig`](crate::ClientConfig).
///
/// ```
/// use std::time::Duration;
///
/// use pointsub_swarm::{Hedge, Node, NodeBuilder, Policy, ProtocolName, Runtime};
///
/// fn builder<R: Runtime + Default>() -> NodeBuilder<R> {
///     const PAY: ProtocolName = ProtocolName::from_static("/pay/1.0.0");
///     let quick = Policy::new().timeout(Duration::from_secs(2));
///     Node::<R>::builder()
///         .policy(quick.hedge(Hedge::after(Duration::from_millis(50))))
///         // Never twice, and with time to think.
///         .protocol_policy(PAY, Policy::new().timeout(Duration::from_secs(60)).idempotent(false))
/// }
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "a policy has no effect until a builder has it"]
pub struct Policy {
    pub(super) settings: Settings,
    pub(super) retry: Option<Arc<dyn RetryPolicy>>,
    pub(super) strategy: Option<Arc<dyn Strategy>>,
}

impl Policy {
    /// A policy that changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The longest time that a request may take: [`Call::timeout`](crate::Call::timeout).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = Some(timeout);
        self
    }

    /// Whether executing a request twice does no harm: [`Call::idempotent`](crate::Call::idempotent).
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.settings.idempotent = Some(idempotent);
        self
    }

    /// How often a request is tried again at most: [`Call::max_retries`](crate::Call::max_retries).
    pub fn max_retries(mut self, max_retries: u32) -> Self {
        self.settings.max_retries = Some(max_retries);
        self
    }

    /// The longest answer that is taken: [`Call::max_answer`](crate::Call::max_answer).
    pub fn max_answer(mut self, max_answer: usize) -> Self {
        self.settings.max_answer = Some(max_answer);
        self
    }

    /// Whether further servers are asked while one takes long:
    /// [`ClosestCall::hedge`](crate::ClosestCall::hedge).
    pub fn hedge(mut self, hedge: impl Into<Option<Hedge>>) -> Self {
        self.settings.hedge = Some(hedge.into());
        self
    }

    /// The policy that decides whether and when a failed request is tried again. Default:
    /// [`Backoff`](crate::Backoff), with the options of the client's configuration. It may use the
    /// client: no lock is held while it is asked.
    pub fn retry(mut self, policy: impl RetryPolicy + 'static) -> Self {
        self.retry = Some(Arc::new(policy));
        self
    }

    /// The strategy that chooses among the servers of [`send_closest`](crate::Client::send_closest). Default:
    /// [`NearFirst`](crate::closest::NearFirst). It may use the client: no lock is held while it is asked.
    pub fn strategy(mut self, strategy: impl Strategy + 'static) -> Self {
        self.strategy = Some(Arc::new(strategy));
        self
    }
}

/// The policies of a client.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    general: Settings,
    by_protocol: BTreeMap<ProtocolName, Settings>,
}

impl Policies {
    /// What holds for a call of this protocol that says so much itself.
    pub(super) fn of(&self, protocol: &ProtocolName, call: Settings) -> Settings {
        let own = self.by_protocol.get(protocol).copied().unwrap_or_default();
        call.or(own).or(self.general)
    }

    /// Adds what is said of one protocol, or of all that have nothing of their own.
    pub(super) fn set(&mut self, protocol: Option<&ProtocolName>, settings: Settings) {
        let known = match protocol {
            Some(protocol) => self.by_protocol.entry(protocol.clone()).or_default(),
            None => &mut self.general,
        };
        *known = settings.or(*known);
    }
}

/// What is said of a call, as far as it is said.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Settings {
    pub(super) timeout: Option<Duration>,
    pub(super) idempotent: Option<bool>,
    pub(super) max_retries: Option<u32>,
    pub(super) hedge: Option<Option<Hedge>>,
    pub(super) max_answer: Option<usize>,
}

impl Settings {
    fn or(self, other: Self) -> Self {
        Self {
            timeout: self.timeout.or(other.timeout),
            idempotent: self.idempotent.or(other.idempotent),
            max_retries: self.max_retries.or(other.max_retries),
            hedge: self.hedge.or(other.hedge),
            max_answer: self.max_answer.or(other.max_answer),
        }
    }

    /// The longest answer that is taken.
    pub(super) fn max_answer(self) -> usize {
        self.max_answer.unwrap_or(usize::MAX)
    }

    /// As the core wants it.
    pub(super) fn options(self, now: Timestamp) -> CallOptions {
        let mut options = CallOptions::default().with_idempotent(self.idempotent.unwrap_or(true));
        options.deadline = self.timeout.map(|timeout| now + timeout);
        options.max_retries = self.max_retries;
        options
    }
}
