//! Rules of the application's own, which are set when a client is made.

use std::sync::Arc;

use pointsub_core::endpoint::closest::Strategy;
use pointsub_core::endpoint::{RateLimit, RateScope, RetryPolicy};

use super::behaviour::Behaviour;
use super::builder::NodeBuilder;
use crate::api::admission::Admission;
use crate::api::client::Client;
use crate::api::server::Server;
use crate::runtime::Runtime;

/// Rules of a client, if they are not the defaults.
#[derive(Default)]
pub(super) struct Policies {
    retry: Option<Arc<dyn RetryPolicy>>,
    strategy: Option<Arc<dyn Strategy>>,
    admission: Option<Arc<dyn Admission>>,
    rates: Vec<(RateScope, RateLimit)>,
}

impl std::fmt::Debug for Policies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { retry, strategy, rates, .. } = self;
        let mut fields = f.debug_struct("Policies");
        fields.field("retry", retry).field("strategy", strategy).field("rates", rates);
        fields.finish_non_exhaustive()
    }
}

impl Policies {
    pub(super) fn apply(self, client: &Client, server: &Server) {
        if let Some(rules) = self.admission {
            server.set_admission(rules);
        }
        for (scope, limit) in self.rates {
            server.set_rate_limit(scope, limit);
        }
        if let Some(policy) = self.retry {
            client.set_retry_policy(policy);
        }
        if let Some(strategy) = self.strategy {
            client.set_strategy(strategy);
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
    /// Who may come, and what for: [`Admission`]. Default: everybody.
    pub fn admission(mut self, rules: impl Admission) -> Self {
        self.policies.admission = Some(Arc::new(rules));
        self
    }

    /// Limits how much may come in a while: see [`Server::set_rate_limit`]. To be called once for each
    /// limit. Default: no limit.
    pub fn rate_limit(mut self, scope: RateScope, limit: RateLimit) -> Self {
        self.policies.rates.push((scope, limit));
        self
    }
}

impl Behaviour {
    /// Who may come, and what for: see [`NodeBuilder::admission`]. The first one that is set stays.
    #[must_use]
    pub fn with_admission(self, rules: impl Admission) -> Self {
        self.server().set_admission(Arc::new(rules));
        self
    }

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
