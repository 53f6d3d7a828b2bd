//! Who is told of what a node does.

use std::fmt;
use std::sync::Arc;

use super::NodeBuilder;
use crate::node::behaviour::Behaviour;
use crate::runtime::Runtime;
use crate::telemetry::{Propagator, Recorder};

/// Who is told, as it is set when a node is made.
#[derive(Default)]
pub(super) struct Observers {
    recorder: Option<Arc<dyn Recorder>>,
    propagator: Option<Arc<dyn Propagator>>,
}

impl Observers {
    pub(super) fn apply(self, behaviour: Behaviour) -> Behaviour {
        let behaviour = match self.recorder {
            Some(recorder) => behaviour.with_recorder(recorder),
            None => behaviour,
        };
        match self.propagator {
            Some(propagator) => behaviour.with_propagator(propagator),
            None => behaviour,
        }
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observers").finish_non_exhaustive()
    }
}

impl<R: Runtime> NodeBuilder<R> {
    /// Who counts and measures calls, at both ends of them, and connections. Default: nobody, at no cost.
    ///
    /// `pointsub-metrics` has recorders for Prometheus and OpenTelemetry.
    pub fn recorder(mut self, recorder: Arc<dyn Recorder>) -> Self {
        self.observers.recorder = Some(recorder);
        self
    }

    /// How the context of a trace travels with requests. Default: it travels if the application puts it
    /// into the metadata, and as a typed service hands it on.
    pub fn propagator(mut self, propagator: Arc<dyn Propagator>) -> Self {
        self.observers.propagator = Some(propagator);
        self
    }
}

impl Behaviour {
    /// Who counts and measures: see [`NodeBuilder::recorder`]. The first one that is set stays.
    #[must_use]
    pub fn with_recorder(self, recorder: Arc<dyn Recorder>) -> Self {
        let (client, server) = self.telemetry();
        client.set_recorder(recorder.clone());
        server.set_recorder(recorder);
        self
    }

    /// How the context of a trace travels: see [`NodeBuilder::propagator`]. The first one that is set stays.
    #[must_use]
    pub fn with_propagator(self, propagator: Arc<dyn Propagator>) -> Self {
        let (client, server) = self.telemetry();
        client.set_propagator(propagator.clone());
        server.set_propagator(propagator);
        self
    }
}
