//! Every contender answers, and the report says so.

use std::process::Command;

#[test]
fn a_small_run_has_a_sample_of_everybody() {
    let file = std::env::temp_dir().join(format!("pointsub-bench-{}.json", std::process::id()));
    let output = Command::new(env!("CARGO_BIN_EXE_pointsub-bench"))
        .args(["--cells", "512x4,1Mx2", "--rounds", "1", "--millis", "20", "--json"])
        .arg(&file)
        .output()
        .expect("the program starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let json = std::fs::read_to_string(&file).expect("it was asked for");
    std::fs::remove_file(&file).expect("it is there");
    let contenders = [
        "pointsub",
        "pointsub-async-std",
        "pointsub-quic",
        "pointsub-plain",
        "pointsub-composed",
        "pointsub-stock",
        "request-response",
        "raw-stream",
        "tonic",
        "tonic-tls",
        "tarpc",
    ];
    for contender in contenders {
        let name = format!("\"contender\": \"{contender}\",");
        assert_eq!(json.matches(&name).count(), 2, "{contender}: {errors}");
    }
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(report.contains("### 512x4") && report.contains("### 1Mx2"), "{report}");
}
