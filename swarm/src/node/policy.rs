//! Rules of the application's own, which are set when a client is made.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use pointsub_core::ProtocolName;
use pointsub_core::endpoint::RetryPolicy;
use pointsub_core::endpoint::closest::Strategy;

use super::behaviour::Behaviour;
use super::builder::NodeBuilder;
use crate::api::client::Client;
use crate::runtime::Runtime;

/// Rules of a client, if they are not the defaults.
#[derive(Debug, Default)]
pub(super) struct Policies {
    retry: Option<Arc<dyn RetryPolicy>>,
    strategy: Option<Arc<dyn Strategy>>,
    answer_times: HashMap<ProtocolName, Duration>,
}

impl Policies {
    pub(super) fn apply(self, client: &Client) {
        if let Some(policy) = self.retry {
            client.set_retry_policy(policy);
        }
        if let Some(strategy) = self.strategy {
            client.set_strategy(strategy);
        }
        if !self.answer_times.is_empty() {
            client.set_answer_times(self.answer_times);
        }
    }
}

impl<R: Runtime> NodeBuilder<R> {
    /// The policy that decides whether and when a failed request is tried again. Default:
    /// [`Backoff`](crate::Backoff), with the options of the client's configuration. It may use the
    /// client: no lock is held while it is asked.
    pub fn retry_policy(mut self, policy: impl RetryPolicy + 'static) -> Self {
        self.policies.retry = Some(Arc::new(policy));
        self
    }

    /// The strategy that chooses among the servers of [`send_closest`](Client::send_closest). Default:
    /// [`Weighted`](crate::closest::Weighted). It may use the client: no lock is held while it is asked.
    pub fn strategy(mut self, strategy: impl Strategy + 'static) -> Self {
        self.policies.strategy = Some(Arc::new(strategy));
        self
    }
}

impl<R: Runtime> NodeBuilder<R> {
    /// The longest time that the calls of one protocol may take, connecting included, if they have no
    /// [`timeout`](crate::Call::timeout) of their own. An answer is waited for until then, even for longer
    /// than [`read_timeout`](crate::ClientConfig::with_read_timeout), so that a protocol whose handlers
    /// work for minutes needs no patience of all others. May be called for several protocols.
    pub fn answer_time(mut self, protocol: &ProtocolName, longest: Duration) -> Self {
        self.policies.answer_times.insert(protocol.clone(), longest);
        self
    }
}

impl Behaviour {
    /// The policy that decides whether and when a failed request is tried again: see
    /// [`NodeBuilder::retry_policy`].
    #[must_use]
    pub fn with_retry_policy(self, policy: impl RetryPolicy + 'static) -> Self {
        self.client().set_retry_policy(Arc::new(policy));
        self
    }

    /// The strategy that chooses among servers: see [`NodeBuilder::strategy`].
    #[must_use]
    pub fn with_strategy(self, strategy: impl Strategy + 'static) -> Self {
        self.client().set_strategy(Arc::new(strategy));
        self
    }
}
