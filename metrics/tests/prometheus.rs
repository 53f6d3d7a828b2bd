//! What Prometheus reads.
#![cfg(feature = "prometheus")]

mod support;

use pointsub_metrics::prometheus::{PrometheusRecorder, encode, register_stats};
use pointsub_tokio::{HandlerError, Reply, Request};
use prometheus_client::registry::Registry;
use support::{ECHO, connect, node, until};

/// The value of a line of the text that begins like this.
fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.rsplit_once(' ').is_some_and(|(of, _)| of == series));
    line?.rsplit_once(' ')?.1.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_has_all_that_was_recorded() {
    let mut registry = Registry::with_prefix("app");
    let recorder = PrometheusRecorder::register(&mut registry);
    let server = node(Some(recorder.clone()), None).await;
    let client = node(Some(recorder), None).await;
    register_stats(&mut registry, &client.client(), &server.server());
    let handler = |request: Request| async move {
        match &request.body[..] {
            b"fail" => Err(HandlerError::invalid_request("as you wish")),
            _ => Ok(Reply::new(request.body)),
        }
    };
    server.server().register(&ECHO, handler).expect("first");
    connect(&client, &server).await;
    for _ in 0..3 {
        client.client().send(server.peer_id(), &ECHO, "hello").await.expect("an echo");
    }
    client.client().send(server.peer_id(), &ECHO, "fail").await.expect_err("it fails");
    let call = "rpc_system_name=\"pointsub\",rpc_method=\"echo/1.0.0\"";
    let ok = format!("{call},rpc_status_code=\"ok\"");
    let failed = format!("{call},rpc_status_code=\"bad_request\",error_type=\"bad_request\"");
    // Attempts are told of after the callers.
    let attempts = format!("app_pointsub_client_attempt_duration_seconds_count{{{failed}}}");
    until(|| value(&encode(&registry).expect("text"), &attempts) == Some(1.0)).await;
    let text = encode(&registry).expect("text");
    let expected = [
        (format!("app_rpc_client_call_duration_seconds_count{{{ok}}}"), 3.0),
        (format!("app_rpc_client_call_duration_seconds_count{{{failed}}}"), 1.0),
        (format!("app_rpc_client_call_duration_seconds_bucket{{le=\"+Inf\",{ok}}}"), 3.0),
        (format!("app_rpc_server_call_duration_seconds_count{{{ok}}}"), 3.0),
        (format!("app_rpc_server_call_duration_seconds_count{{{failed}}}"), 1.0),
        (format!("app_pointsub_client_attempt_started_total{{{call}}}"), 4.0),
        (attempts, 1.0),
        (
            format!(
                "app_pointsub_client_attempt_sent_total_compressed_message_size_bytes_sum{{{ok}}}"
            ),
            15.0,
        ),
        (
            format!(
                "app_pointsub_server_call_rcvd_total_compressed_message_size_bytes_sum{{{ok}}}"
            ),
            15.0,
        ),
        ("app_pointsub_server_call_started_total".to_owned(), 4.0),
        ("app_pointsub_client_pool_streams{pointsub_state=\"idle\"}".to_owned(), 1.0),
        ("app_pointsub_server_refused_total{pointsub_reason=\"limit\"}".to_owned(), 0.0),
        (
            "app_pointsub_connections{pointsub_path=\"direct\",network_transport=\"other\",\
             pointsub_direction=\"in\"}"
                .to_owned(),
            1.0,
        ),
    ];
    for (series, expected) in expected {
        assert_eq!(value(&text, &series), Some(expected), "{series} in\n{text}");
    }
    let io = "app_pointsub_io_bytes_total{rpc_method=\"echo/1.0.0\",pointsub_side=\"server\",\
              pointsub_direction=\"received\"}";
    assert!(value(&text, io).is_some_and(|bytes| bytes > 19.0), "{text}");
    assert!(!text.contains("12D3Koo"), "no peer is named:\n{text}");
    assert!(text.ends_with("# EOF\n"));
}
