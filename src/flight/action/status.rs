//! `pintail.status`: sizes, memory, and what is running.

use serde_json::{Value, json};

use crate::flight::server::FlightServer;
use crate::metrics;

/// Sizes, memory, and what is running.
pub(in crate::flight) fn status(server: &FlightServer) -> Value {
    let FlightServer { database, declared_tables, infos, sessions, started, .. } = server;
    let (ingest, query) = (&infos.puts.ingest, &infos.results().query);
    let options = database.options();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": started.elapsed().as_secs(),
        "database": {
            "bytes": database.file_bytes(),
            "wal_bytes": database.wal_bytes(),
            "memory_limit_bytes": options.memory_limit_bytes,
            "threads": options.threads,
            "healthy": !database.is_lost(),
        },
        "checkpoint": {
            "kept_off_by": database.checkpoint_holds().iter().map(|hold| json!({
                "what": hold.what,
                "seconds": hold.age.as_secs_f64(),
            })).collect::<Vec<_>>(),
        },
        "backup": { "bytes": database.backup_bytes() },
        "memory": {
            "resident_bytes": metrics::resident_bytes(),
            "peak_resident_bytes": metrics::peak_resident_bytes(),
        },
        "ingest": {
            "streams": ingest.streams_open(),
            "inflight_bytes": ingest.inflight_bytes(),
        },
        "schemas": { "declared": declared_tables.in_force.all().len() },
        "query": { "running": query.running(), "queued": query.queued() },
        "session": {
            "sessions": sessions.sessions_open(),
            "transactions": sessions.transactions_open(),
        },
    })
}
