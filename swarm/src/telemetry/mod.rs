#![doc = include_str!("telemetry.md")]

mod attempts;
mod call;
mod handler;
mod outcome;
mod propagator;
mod recorder;

use std::fmt;
use std::sync::{Arc, OnceLock};

pub(crate) use self::attempts::Attempts;
pub(crate) use self::call::{CallSpans, CallWatch, finish};
pub(crate) use self::handler::HandlerMark;
pub(crate) use self::outcome::status_name;
pub use self::propagator::Propagator;
pub use self::recorder::{
    AttemptEnd, CallEnd, ConnectionLabels, HandlerEnd, MessageBytes, Outcome, Recorder, RpcMethod,
    Side, Transferred,
};

/// OpenTelemetry's `rpc.system.name` of this library.
pub const SYSTEM: &str = "pointsub";

/// Who is told of calls, at one end. What was set first stays.
#[derive(Default)]
pub(crate) struct Telemetry {
    recorder: OnceLock<Arc<dyn Recorder>>,
    propagator: OnceLock<Arc<dyn Propagator>>,
}

impl Telemetry {
    pub(crate) fn set_recorder(&self, recorder: Arc<dyn Recorder>) {
        let _first = self.recorder.set(recorder);
    }

    pub(crate) fn set_propagator(&self, propagator: Arc<dyn Propagator>) {
        let _first = self.propagator.set(propagator);
    }

    #[inline]
    pub(crate) fn recorder(&self) -> Option<&Arc<dyn Recorder>> {
        self.recorder.get()
    }

    fn propagator(&self) -> Option<&Arc<dyn Propagator>> {
        self.propagator.get()
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry")
            .field("records", &self.recorder.get().is_some())
            .field("propagates", &self.propagator.get().is_some())
            .finish()
    }
}

/// Says in a span how its call ended.
fn record(span: &tracing::Span, outcome: Outcome) {
    if span.is_disabled() {
        return;
    }
    if let Some(status) = outcome.status {
        span.record("rpc.status_code", status);
    }
    if let Some(error) = outcome.error {
        span.record("error.type", error);
        span.record("otel.status_code", "ERROR");
    }
}
