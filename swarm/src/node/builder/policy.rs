//! Policies of the application's own, which are set when a client is made.

use pointsub_core::ProtocolName;
use pointsub_core::endpoint::RetryPolicy;
use pointsub_core::endpoint::closest::Strategy;

use super::NodeBuilder;
use crate::api::client::Policy;
use crate::node::behaviour::Behaviour;
use crate::runtime::Runtime;

impl<R: Runtime> NodeBuilder<R> {
    /// What holds for the requests of the client: timeout, retries, hedging, the choice of servers. What
    /// a later call does not say stays as it is.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policies.push((None, policy));
        self
    }

    /// The same for the requests of one protocol, before what [`policy`](Self::policy) says.
    pub fn protocol_policy(mut self, protocol: ProtocolName, policy: Policy) -> Self {
        self.policies.push((Some(protocol), policy));
        self
    }

    /// The same as [`policy`](Self::policy) with [`Policy::retry`].
    pub fn retry_policy(self, policy: impl RetryPolicy + 'static) -> Self {
        self.policy(Policy::new().retry(policy))
    }

    /// The same as [`policy`](Self::policy) with [`Policy::strategy`].
    pub fn strategy(self, strategy: impl Strategy + 'static) -> Self {
        self.policy(Policy::new().strategy(strategy))
    }
}

impl Behaviour {
    /// What holds for the requests of the client: see [`NodeBuilder::policy`].
    #[must_use]
    pub fn with_policy(self, policy: Policy) -> Self {
        self.client().set_policy(None, policy);
        self
    }

    /// What holds for the requests of one protocol: see [`NodeBuilder::protocol_policy`].
    #[must_use]
    pub fn with_protocol_policy(self, protocol: ProtocolName, policy: Policy) -> Self {
        self.client().set_policy(Some(protocol), policy);
        self
    }

    /// The same as [`with_policy`](Self::with_policy) with [`Policy::retry`].
    #[must_use]
    pub fn with_retry_policy(self, policy: impl RetryPolicy + 'static) -> Self {
        self.with_policy(Policy::new().retry(policy))
    }

    /// The same as [`with_policy`](Self::with_policy) with [`Policy::strategy`].
    #[must_use]
    pub fn with_strategy(self, strategy: impl Strategy + 'static) -> Self {
        self.with_policy(Policy::new().strategy(strategy))
    }
}
