//! The HTTP port: health, readiness and metrics.

use pintail::client::Client;

use crate::support::batches::wells;
use crate::support::calls::{put, rows};
use crate::support::process::{Process, free_port};
use crate::support::server::http_get;

#[tokio::test]
async fn the_side_port_tells_health_and_metrics() {
    // Metrics are the process's.
    let directory = tempfile::tempdir().unwrap();
    let server = Process::start(directory.path(), free_port(), &[]);
    let mut client = Client::connect(&server.uri()).await.unwrap();
    let http = server.http();
    put(&mut client, "wells", &[wells(0, 4321)], "create").await.unwrap();
    rows(&mut client, "SELECT * FROM wells").await.unwrap();
    assert_eq!(http_get(&http, "/livez").await.0, 200);
    assert_eq!(http_get(&http, "/readyz").await, (200, "ok\n".into()));
    let (status, text) = http_get(&http, "/metrics").await;
    assert_eq!(status, 200);
    for name in [
        "pintail_calls_total{method=\"DoPut\",code=\"OK\"}",
        "pintail_rows_total{direction=\"in\"}",
        "pintail_rows_total{direction=\"out\"}",
        "pintail_stage_seconds_bucket{stage=\"append\"",
        "pintail_stage_seconds_bucket{stage=\"first_batch\"",
        "pintail_ingest_inflight_bytes 0",
        "process_resident_memory_bytes",
    ] {
        assert!(text.contains(name), "{name} is missing in\n{text}");
    }
}
