//! How the context of a trace travels in metadata.

use std::fmt;

use opentelemetry::Context;
use opentelemetry::global;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use pointsub_swarm::Metadata;
use pointsub_swarm::telemetry::Propagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Carries the context of traces in the metadata of requests, as `traceparent` and `tracestate` if that is
/// what its propagator writes.
///
/// Spans are those of `tracing`, which a layer of `tracing-opentelemetry` makes into spans of
/// OpenTelemetry. It has to let through the targets `pointsub::rpc` at the level DEBUG.
pub struct TracePropagator(Option<Box<dyn TextMapPropagator + Send + Sync>>);

impl TracePropagator {
    /// With the propagator that the program has set by
    /// [`set_text_map_propagator`](global::set_text_map_propagator). Without one, nothing is carried.
    #[must_use]
    pub const fn global() -> Self {
        Self(None)
    }

    /// With a propagator of its own, such as `TraceContextPropagator` of `opentelemetry_sdk`.
    pub fn new(propagator: impl TextMapPropagator + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(propagator)))
    }

    fn with<T>(&self, mut then: impl FnMut(&dyn TextMapPropagator) -> T) -> T {
        match &self.0 {
            Some(propagator) => then(&**propagator),
            None => global::get_text_map_propagator(|propagator| then(propagator)),
        }
    }
}

impl Propagator for TracePropagator {
    fn inject(&self, span: &Span, metadata: &mut Metadata) {
        let context = span.context();
        let mut written = Written::default();
        self.with(|propagator| propagator.inject_context(&context, &mut written));
        written.replace_in(metadata);
    }

    fn extract(&self, span: &Span, metadata: &Metadata) {
        let context = self.with(|propagator| {
            // Not within what this task is about: it serves many peers.
            propagator.extract_with_context(&Context::new(), &Read(metadata))
        });
        // A span that no layer of OpenTelemetry has seen has no context to be set.
        let _not_seen = span.set_parent(context);
    }
}

impl fmt::Debug for TracePropagator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TracePropagator").field("is_global", &self.0.is_none()).finish()
    }
}

/// What a propagator writes.
#[derive(Default)]
struct Written(Vec<(String, String)>);

impl Written {
    /// Puts it into metadata, in place of what is there under the same keys.
    fn replace_in(self, metadata: &mut Metadata) {
        if self.0.is_empty() {
            return;
        }
        let mut replaced = Metadata::new();
        let is_kept = |key: &str| self.0.iter().all(|(written, _)| written != key);
        let kept = metadata.iter().filter(|(key, _)| is_kept(key));
        let written = self.0.iter().map(|(key, value)| (key.as_str(), value.as_bytes()));
        // What there is no room for does not travel.
        kept.chain(written).for_each(|(key, value)| drop(replaced.insert(key, value)));
        *metadata = replaced;
    }
}

impl Injector for Written {
    fn set(&mut self, key: &str, value: String) {
        if !value.is_empty() {
            self.0.push((key.to_ascii_lowercase(), value));
        }
    }
}

/// What a propagator reads.
struct Read<'a>(&'a Metadata);

impl Extractor for Read<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        str::from_utf8(self.0.get(key)?).ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|(key, _)| key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_is_replaced() {
        let mut metadata = Metadata::new();
        for (key, value) in [("traceparent", "old"), ("tenant", "blue"), ("traceparent", "older")] {
            metadata.insert(key, value).expect("a key");
        }
        let mut written = Written::default();
        written.set("traceparent", "new".to_owned());
        written.set("tracestate", String::new());
        written.replace_in(&mut metadata);
        let found: Vec<(&str, &[u8])> = metadata.iter().collect();
        assert_eq!(found, [("tenant", &b"blue"[..]), ("traceparent", &b"new"[..])]);
    }
}
