//! Who may come, and how much in a while, as it is set when a node is made.

use std::fmt;
use std::sync::Arc;

use pointsub_core::endpoint::{RateLimit, RateScope};

use super::NodeBuilder;
use crate::api::admission::Admission;
use crate::api::server::Server;
use crate::node::behaviour::Behaviour;
use crate::runtime::Runtime;

/// Rules of a server, if there are any.
#[derive(Default)]
pub(super) struct Rules {
    admission: Option<Arc<dyn Admission>>,
    rates: Vec<(RateScope, RateLimit)>,
}

impl Rules {
    pub(super) fn apply(self, server: &Server) {
        if let Some(rules) = self.admission {
            server.set_admission(rules);
        }
        for (scope, limit) in self.rates {
            server.set_rate_limit(scope, limit);
        }
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules").field("rates", &self.rates).finish_non_exhaustive()
    }
}

impl<R: Runtime> NodeBuilder<R> {
    /// Who may come, and what for: [`Admission`]. Default: everybody.
    pub fn admission(mut self, rules: impl Admission) -> Self {
        self.rules.admission = Some(Arc::new(rules));
        self
    }

    /// Limits how much may come in a while: see [`Server::set_rate_limit`]. To be called once for each
    /// limit. Default: no limit.
    pub fn rate_limit(mut self, scope: RateScope, limit: RateLimit) -> Self {
        self.rules.rates.push((scope, limit));
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
}
