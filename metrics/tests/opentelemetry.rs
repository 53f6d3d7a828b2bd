//! What OpenTelemetry's exporters get.
#![cfg(feature = "opentelemetry")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::{SpanKind, TracerProvider as _};
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use pointsub_metrics::opentelemetry::{OpenTelemetryRecorder, TracePropagator, observe_stats};
use pointsub_swarm::telemetry::Propagator;
use pointsub_tokio::{Client, PeerId, Reply, Request};
use support::{ECHO, connect, node, until};
use tracing_subscriber::layer::SubscriberExt;

/// The values of all series: counts of histograms, and sums of the others.
fn values(exported: &[ResourceMetrics]) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    let last = exported.iter().flat_map(ResourceMetrics::scope_metrics);
    for metric in last.flat_map(|scope| scope.metrics()) {
        let mut add = |attributes: Vec<&KeyValue>, value: u64| {
            let mut labels: Vec<String> =
                attributes.iter().map(|one| format!("{}={}", one.key, one.value)).collect();
            labels.sort();
            found.insert(
                format!("{}[{}] {}", metric.name(), metric.unit(), labels.join(" ")),
                value,
            );
        };
        match metric.data() {
            AggregatedMetrics::F64(MetricData::Histogram(data)) => {
                data.data_points().for_each(|of| add(of.attributes().collect(), of.count()));
            }
            AggregatedMetrics::U64(MetricData::Histogram(data)) => {
                data.data_points().for_each(|of| add(of.attributes().collect(), of.count()));
            }
            AggregatedMetrics::U64(MetricData::Sum(data)) => {
                data.data_points().for_each(|of| add(of.attributes().collect(), of.value()));
            }
            AggregatedMetrics::U64(MetricData::Gauge(data)) => {
                data.data_points().for_each(|of| add(of.attributes().collect(), of.value()));
            }
            AggregatedMetrics::I64(MetricData::Sum(data)) => data
                .data_points()
                .for_each(|of| add(of.attributes().collect(), of.value().unsigned_abs())),
            _ => {}
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_meter_has_all_that_was_recorded() {
    let exporter = InMemoryMetricExporter::default();
    let provider = SdkMeterProvider::builder().with_periodic_exporter(exporter.clone()).build();
    let meter = provider.meter("pointsub");
    let recorder = Arc::new(OpenTelemetryRecorder::new(&meter));
    let server = node(Some(recorder.clone()), None).await;
    let client = node(Some(recorder), None).await;
    observe_stats(&meter, &client.client(), &server.server());
    server.server().register(&ECHO, |request: Request| async { request.body }).expect("first");
    connect(&client, &server).await;
    client.client().send(server.peer_id(), &ECHO, "hello").await.expect("an echo");
    client.client().send(PeerId::random(), &ECHO, "hello").await.expect_err("nobody");
    let collected = || {
        exporter.reset();
        provider.force_flush().expect("it is exported");
        values(&exporter.get_finished_metrics().expect("metrics"))
    };
    let call = "rpc.method=echo/1.0.0";
    let ok = format!("{call} rpc.status_code=ok rpc.system.name=pointsub");
    let attempt = format!("pointsub.client.attempt.duration[s] {ok}");
    until(|| collected().contains_key(&attempt)).await;
    let found = collected();
    let expected = [
        (format!("rpc.client.call.duration[s] {ok}"), 1),
        (
            format!(
                "rpc.client.call.duration[s] error.type=no_address {call} rpc.system.name=pointsub"
            ),
            1,
        ),
        (format!("rpc.server.call.duration[s] {ok}"), 1),
        (attempt, 1),
        (format!("pointsub.client.attempt.started[1] {call} rpc.system.name=pointsub"), 1),
        (format!("pointsub.client.attempt.sent_total_compressed_message_size[By] {ok}"), 1),
        ("pointsub.server.call.started[1] ".to_owned(), 1),
        ("pointsub.server.refused[1] pointsub.reason=rate".to_owned(), 0),
        (
            "pointsub.connections[1] network.transport=other pointsub.direction=out \
             pointsub.path=direct"
                .to_owned(),
            1,
        ),
    ];
    for (series, expected) in expected {
        assert_eq!(found.get(&series), Some(&expected), "{series} in\n{found:#?}");
    }
}

/// A handler that asks the next node.
fn ask(next: Client, peer: PeerId) -> impl pointsub_tokio::Handler {
    move |request: Request| {
        let next = next.clone();
        async move {
            // In a task of its own from here on.
            tokio::task::yield_now().await;
            let answer = next.send(peer, &ECHO, request.body).method("pass").await;
            answer.map(|answer| Reply::new(answer.into_body()))
        }
    }
}

/// Item by item: each span has its parent, through three nodes that share nothing but what they send.
#[tokio::test(flavor = "multi_thread")]
async fn one_trace_goes_through_three_nodes() {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("pointsub"));
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::set_global_default(subscriber).expect("the first in this process");

    let propagator = || -> Option<Arc<dyn Propagator>> {
        Some(Arc::new(TracePropagator::new(TraceContextPropagator::new())))
    };
    let first = node(None, propagator()).await;
    let second = node(None, propagator()).await;
    let third = node(None, propagator()).await;
    third.server().register(&ECHO, |request: Request| async { request.body }).expect("first");
    let handler = ask(second.client(), third.peer_id());
    second.server().register(&ECHO, handler).expect("first");
    connect(&first, &second).await;
    connect(&second, &third).await;
    // Another test has spans as well.
    let method = "echo/1.0.0/begin";
    let answer = first.client().send(second.peer_id(), &ECHO, "hello").method("begin").await;
    assert_eq!(answer.expect("an answer"), "hello");

    let finished = || exporter.get_finished_spans().expect("spans");
    let named = |spans: &[SpanData], name: &str, kind: SpanKind| -> Option<SpanData> {
        spans.iter().find(|span| span.name == name && span.span_kind == kind).cloned()
    };
    let trace = || {
        let spans = finished();
        let root = named(&spans, method, SpanKind::Client)?.span_context.trace_id();
        Some(spans.into_iter().filter(|span| span.span_context.trace_id() == root).collect())
    };
    until(|| trace().is_some_and(|spans: Vec<SpanData>| spans.len() == 6)).await;
    let spans: Vec<SpanData> = trace().expect("it is there");
    let child_of = |parent: &SpanData, kind: SpanKind| -> SpanData {
        let parent = parent.span_context.span_id();
        let is = |span: &&SpanData| span.parent_span_id == parent && span.span_kind == kind;
        spans.iter().find(is).unwrap_or_else(|| panic!("no {kind:?} in {spans:#?}")).clone()
    };
    let call = named(&spans, method, SpanKind::Client).expect("it is there");
    assert_eq!(call.parent_span_id, opentelemetry::SpanId::INVALID);
    let attempt = child_of(&call, SpanKind::Internal);
    assert_eq!(attempt.name, "attempt");
    let handler = child_of(&call, SpanKind::Server);
    assert!(handler.parent_span_is_remote, "it came with the request");
    let onward = child_of(&handler, SpanKind::Client);
    assert_eq!(onward.name, "echo/1.0.0/pass");
    assert_eq!(child_of(&onward, SpanKind::Internal).name, "attempt");
    let last = child_of(&onward, SpanKind::Server);
    // The handler knows no methods, and those that peers name are not repeated.
    assert_eq!(last.name, "echo/1.0.0");
    let attributes = |span: &SpanData, key: &str| {
        let found = span.attributes.iter().find(|one| one.key.as_str() == key);
        found.map(|one| one.value.to_string())
    };
    for span in [&call, &handler, &onward, &last] {
        assert_eq!(attributes(span, "rpc.status_code").as_deref(), Some("ok"));
        assert_eq!(attributes(span, "rpc.system.name").as_deref(), Some("pointsub"));
    }
    assert_eq!(attributes(&call, "server.address"), Some(second.peer_id().to_string()));
    assert_eq!(attributes(&attempt, "pointsub.peer"), Some(second.peer_id().to_string()));
    assert_eq!(attributes(&attempt, "pointsub.attempt").as_deref(), Some("1"));
    assert_eq!(attributes(&last, "client.address"), Some(second.peer_id().to_string()));
}
