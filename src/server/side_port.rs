//! The HTTP port: `/livez`, `/readyz`, `/metrics`.
//! Runs on: the async runtime.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;

use super::parts::Parts;
use crate::error::{Error, Result};
use crate::metrics;

/// How long `/readyz` waits for its query.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

/// What the port answers.
///
/// Errors: when this process has another recorder of metrics already.
pub(super) fn router(parts: Arc<Parts>) -> Result<Router> {
    let recorder = metrics::install().map_err(Error::internal)?;
    let render = move |State(parts): State<Arc<Parts>>| {
        let recorder = recorder.clone();
        async move {
            metrics::levels(&metrics::Levels {
                ingest_inflight_bytes: parts.ingest.inflight_bytes(),
                ingest_streams: parts.ingest.streams_open(),
                queries_running: parts.query.running(),
                queries_queued: parts.query.queued(),
                wal_bytes: parts.database.wal_bytes(),
                database_bytes: parts.database.file_bytes(),
            });
            recorder.run_upkeep();
            recorder.render()
        }
    };
    Ok(Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(render))
        .with_state(parts))
}

/// 200 when a real query comes back in time; 503 with the reason otherwise.
async fn ready(State(parts): State<Arc<Parts>>) -> (StatusCode, String) {
    let unready = |why: &str| (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"));
    if parts.draining.load(Ordering::SeqCst) {
        return unready("draining");
    }
    match tokio::time::timeout(READY_TIMEOUT, parts.query.probe()).await {
        Ok(Ok(())) => (StatusCode::OK, "ok\n".into()),
        Ok(Err(error)) => unready(error.message()),
        Err(_) => unready("the engine did not answer a query in time"),
    }
}
