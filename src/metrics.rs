//! Every metric name, and one function per event that moves it.
//! Runs on: any thread; a few atomic additions.
//! Never: labels with unbounded values (no SQL, no client names).
//!
//! Base units: seconds and bytes. Divide `_sum` by `_count` of a stage for its mean; divide rows by the
//! stage's seconds for its rate.

mod process;

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

pub use process::{open_files_max, peak_resident_bytes, recent_resident_bytes, resident_bytes};

/// Upper bounds of the latency buckets, in seconds.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0];

/// Values that are looked up when somebody asks.
const GAUGES: [(&str, &str); 29] = [
    ("pintail_build_info", "1, with the versions of the server and of the engine as labels"),
    ("pintail_connections", "Connections open, by port (flight, http)"),
    ("pintail_connections_max", "Connections that may be open on each port"),
    ("pintail_sessions", "Sessions of clients"),
    ("pintail_transactions", "Transactions of clients that are open"),
    ("pintail_transactions_max", "Transactions that may be open"),
    ("pintail_prepared_statements", "Prepared statements that sessions keep"),
    ("pintail_ingest_inflight_bytes", "Bytes of batches between the wire and the commit"),
    ("pintail_ingest_waiting_bytes", "Bytes of messages that wait for room"),
    ("pintail_ingest_memory_limit_bytes", "Bytes that batches in flight may take"),
    ("pintail_ingest_streams", "Put streams open"),
    ("pintail_ingest_streams_max", "Put streams that may be open"),
    ("pintail_queries_running", "Queries running"),
    ("pintail_queries_max", "Queries that may run"),
    ("pintail_queries_queued", "Queries waiting for a place"),
    ("pintail_wal_bytes", "Bytes in the write-ahead log"),
    ("pintail_database_bytes", "Bytes of the database file"),
    ("pintail_checkpoint_due_bytes", "Bytes of the log at which a checkpoint is due"),
    ("pintail_last_checkpoint_timestamp_seconds", "When the last checkpoint ended, or the server started"),
    ("pintail_database_lost", "1 while the database is lost to a fatal error, else 0"),
    ("pintail_engine_answer_age_seconds", "How long ago the engine answered a query of the server's own"),
    ("pintail_engine_memory_bytes", "Memory of the engine, by what it is for"),
    ("pintail_engine_temp_bytes", "What the engine has spilled to disk, by what it is for"),
    ("pintail_engine_memory_limit_bytes", "Memory that the engine may take"),
    ("process_resident_memory_bytes", "Resident memory of the process"),
    ("process_threads", "Threads of the process"),
    ("process_open_fds", "Files that the process has open"),
    ("process_max_fds", "Files that it may have open"),
    ("process_start_time_seconds", "When the server started"),
];

static RECORDER: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();

/// Installs the recorder of this process, once, and describes every metric.
///
/// Errors: a text when another recorder is installed already.
pub fn install() -> Result<PrometheusHandle, String> {
    RECORDER.get_or_init(install_first).clone()
}

fn install_first() -> Result<PrometheusHandle, String> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|error| error.to_string())?;
    describe_counter!("pintail_calls_total", "Flight calls ended, by method and gRPC code");
    describe_histogram!("pintail_call_seconds", "Length of a call, stream included, by method");
    describe_counter!("pintail_rows_total", "Rows acknowledged (direction=in) or sent (direction=out)");
    describe_counter!("pintail_bytes_total", "Arrow bytes taken (direction=in) or sent (direction=out)");
    describe_histogram!(
        "pintail_stage_seconds",
        "Time of a call's stage: queue, decode, plain, conform, append, commit; prepare, first_batch, stream"
    );
    describe_histogram!(
        "pintail_group_commit_puts",
        "Small puts that shared a commit; divide _sum by _count for the mean"
    );
    describe_counter!(
        "pintail_put_rows_total",
        "Rows of puts that were acknowledged, by what became of them (inserted, replaced, ignored, rejected, duplicate)"
    );
    describe_counter!("pintail_duplicate_puts_total", "Puts of which all had been stored before");
    describe_counter!("pintail_checkpoints_total", "Background checkpoints done");
    describe_counter!(
        "pintail_checkpointed_bytes_total",
        "Bytes of the log that checkpoints wrote to the file"
    );
    describe_histogram!(
        "pintail_checkpoint_seconds",
        "Length of a background checkpoint; commits wait for it"
    );
    describe_counter!(
        "pintail_recoveries_total",
        "Times the database was opened anew after a fatal engine error"
    );
    describe_counter!(
        "pintail_memory_sacrifices_total",
        "Statements stopped because the process was above its memory limit"
    );
    describe_counter!("pintail_logins_total", "Passwords and tokens checked, by outcome (ok, refused)");
    describe_counter!(
        "pintail_renewal_failures_total",
        "Times that changed certificates or key sets could not be taken"
    );
    describe_counter!("process_cpu_seconds_total", "Processor time of the process");
    // Those that may not move for months are there from the start, so that an alert on them is not on nothing.
    for name in [
        "pintail_duplicate_puts_total",
        "pintail_checkpoints_total",
        "pintail_checkpointed_bytes_total",
        "pintail_recoveries_total",
        "pintail_renewal_failures_total",
    ] {
        counter!(name).increment(0);
    }
    for outcome in ["inserted", "ignored", "replaced", "rejected", "duplicate"] {
        counter!("pintail_put_rows_total", "outcome" => outcome).increment(0);
    }
    for outcome in ["ok", "refused"] {
        counter!("pintail_logins_total", "outcome" => outcome).increment(0);
    }
    for direction in ["in", "out"] {
        counter!("pintail_rows_total", "direction" => direction).increment(0);
        counter!("pintail_bytes_total", "direction" => direction).increment(0);
    }
    gauge!("pintail_last_checkpoint_timestamp_seconds").set(timestamp(SystemTime::now()));
    for (name, about) in GAUGES {
        describe_gauge!(name, about);
    }
    Ok(handle)
}

/// The database was opened anew.
pub fn recovered() {
    counter!("pintail_recoveries_total").increment(1);
}

/// Changed certificates or keys could not be taken.
pub fn renewal_failed() {
    counter!("pintail_renewal_failures_total").increment(1);
}

/// A password or token was checked.
pub fn login(is_right: bool) {
    counter!("pintail_logins_total", "outcome" => if is_right { "ok" } else { "refused" }).increment(1);
}

/// A call ended, stream included.
pub fn call(method: &'static str, code: &'static str, took: Duration) {
    counter!("pintail_calls_total", "method" => method, "code" => code).increment(1);
    histogram!("pintail_call_seconds", "method" => method).record(took.as_secs_f64());
}

/// A stage of a call took this long.
pub fn stage(stage: &'static str, took: Duration) {
    histogram!("pintail_stage_seconds", "stage" => stage).record(took.as_secs_f64());
}

/// Rows were committed and acknowledged.
pub fn rows_in(rows: u64, bytes: u64) {
    counter!("pintail_rows_total", "direction" => "in").increment(rows);
    counter!("pintail_bytes_total", "direction" => "in").increment(bytes);
}

/// What became of the rows of a put that was acknowledged, by name.
pub fn put_rows(outcomes: [(&'static str, u64); 5]) {
    for (outcome, rows) in outcomes {
        if rows > 0 {
            counter!("pintail_put_rows_total", "outcome" => outcome).increment(rows);
        }
    }
}

/// All of a put had been stored before.
pub fn duplicate_put() {
    counter!("pintail_duplicate_puts_total").increment(1);
}

/// Small puts shared one commit.
pub fn group_commit(puts: usize) {
    histogram!("pintail_group_commit_puts").record(puts as f64);
}

/// Rows were handed to the socket.
pub fn rows_out(rows: u64, bytes: u64) {
    counter!("pintail_rows_total", "direction" => "out").increment(rows);
    counter!("pintail_bytes_total", "direction" => "out").increment(bytes);
}

/// A background checkpoint emptied a log of `wal_bytes`.
pub fn checkpoint(wal_bytes: u64, took: Duration) {
    counter!("pintail_checkpoints_total").increment(1);
    counter!("pintail_checkpointed_bytes_total").increment(wal_bytes);
    histogram!("pintail_checkpoint_seconds").record(took.as_secs_f64());
    gauge!("pintail_last_checkpoint_timestamp_seconds").set(timestamp(SystemTime::now()));
}

/// Values that are read when somebody asks, not moved by events.
#[derive(Debug, Default)]
pub struct Levels {
    /// Gauges without labels, by their names.
    pub plain: Vec<(&'static str, f64)>,
    /// Connections by port.
    pub connections: Vec<(&'static str, u64)>,
    /// The engine's memory and its spilled bytes by tag.
    pub engine_memory: Vec<(String, u64, u64)>,
    /// The engine's version.
    pub engine_version: String,
}

/// Sets the gauges just before they are rendered.
pub fn levels(levels: Levels) {
    for (name, value) in levels.plain {
        gauge!(name).set(value);
    }
    for (port, open) in levels.connections {
        gauge!("pintail_connections", "port" => port).set(open as f64);
    }
    // The engine has two dozen tags, and no others come.
    for (tag, memory, temp) in levels.engine_memory {
        gauge!("pintail_engine_memory_bytes", "tag" => tag.clone()).set(memory as f64);
        gauge!("pintail_engine_temp_bytes", "tag" => tag).set(temp as f64);
    }
    let (version, engine) = (env!("CARGO_PKG_VERSION"), levels.engine_version);
    gauge!("pintail_build_info", "version" => version, "engine" => engine).set(1.0);
    let (cpu, threads) = process::cpu_and_threads();
    counter!("process_cpu_seconds_total").absolute(cpu as u64);
    gauge!("process_threads").set(threads as f64);
    gauge!("process_open_fds").set(process::open_files() as f64);
    gauge!("process_max_fds").set(open_files_max() as f64);
    gauge!("process_resident_memory_bytes").set(resident_bytes() as f64);
}

/// A statement was stopped because the process was above its memory limit.
pub fn sacrificed() {
    counter!("pintail_memory_sacrifices_total").increment(1);
}

/// Seconds since 1970, as gauges of times have it.
pub fn timestamp(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
