//! Every metric name, and one function per event that moves it.
//! Runs on: any thread; a few atomic additions.
//! Never: labels with unbounded values (no SQL, no client names).
//!
//! Base units: seconds and bytes. Divide `_sum` by `_count` of a stage for its mean; divide rows by the
//! stage's seconds for its rate.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Upper bounds of the latency buckets, in seconds.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0];

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
    describe_gauge!("pintail_ingest_inflight_bytes", "Bytes of batches between the wire and the commit");
    describe_gauge!("pintail_ingest_streams", "Put streams open");
    describe_gauge!("pintail_queries_running", "Queries running");
    describe_gauge!("pintail_queries_queued", "Queries waiting for a place");
    describe_counter!("pintail_checkpoints_total", "Background checkpoints done");
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
    describe_gauge!("pintail_wal_bytes", "Bytes in the write-ahead log");
    describe_gauge!("pintail_database_bytes", "Bytes of the database file");
    describe_gauge!("process_resident_memory_bytes", "Resident memory of the process");
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
}

/// Values that are read when somebody asks, not moved by events.
pub struct Levels {
    /// Bytes of batches between the wire and the commit.
    pub ingest_inflight_bytes: u64,
    /// Put streams open.
    pub ingest_streams: u64,
    /// Queries running.
    pub queries_running: u64,
    /// Queries waiting.
    pub queries_queued: u64,
    /// Bytes in the write-ahead log.
    pub wal_bytes: u64,
    /// Bytes of the database file.
    pub database_bytes: u64,
}

/// Sets the gauges just before they are rendered.
pub fn levels(levels: &Levels) {
    gauge!("pintail_ingest_inflight_bytes").set(levels.ingest_inflight_bytes as f64);
    gauge!("pintail_ingest_streams").set(levels.ingest_streams as f64);
    gauge!("pintail_queries_running").set(levels.queries_running as f64);
    gauge!("pintail_queries_queued").set(levels.queries_queued as f64);
    gauge!("pintail_wal_bytes").set(levels.wal_bytes as f64);
    gauge!("pintail_database_bytes").set(levels.database_bytes as f64);
    gauge!("process_resident_memory_bytes").set(resident_bytes() as f64);
}

/// A statement was stopped because the process was above its memory limit.
pub fn sacrificed() {
    counter!("pintail_memory_sacrifices_total").increment(1);
}

/// Resident memory of this process in bytes; 0 where the system does not say.
pub fn resident_bytes() -> u64 {
    status_bytes("VmRSS:")
}

/// As [`resident_bytes`], and up to 100 ms old: asking the system takes as long as a small call.
pub fn recent_resident_bytes() -> u64 {
    static RECENT: Mutex<Option<(Instant, u64)>> = Mutex::new(None);
    let mut recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
    match *recent {
        Some((at, bytes)) if at.elapsed() < Duration::from_millis(100) => bytes,
        _ => recent.insert((Instant::now(), resident_bytes())).1,
    }
}

/// Highest resident memory of this process so far, in bytes; 0 where the system does not say.
pub fn peak_resident_bytes() -> u64 {
    status_bytes("VmHWM:")
}

fn status_bytes(key: &str) -> u64 {
    let Ok(text) = std::fs::read_to_string("/proc/self/status") else { return 0 };
    text.lines()
        .find_map(|line| line.strip_prefix(key))
        .and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}
