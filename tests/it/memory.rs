//! The memory of the whole process: statements that build large values are stopped, and nobody else notices.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use futures::TryStreamExt;
use pintail::client::{Client, from_status};
use pintail::error::{Error, Kind};
use serde_json::Value;

use crate::support::batches::well_batches;
use crate::support::calls::{number, put, query_error};
use crate::support::process::{Process, free_port};
use crate::support::put_stream::{messages, open};

const LIMIT_MIB: u64 = 640;
/// What malloc, stacks and the last look at the memory may add.
const PEAK_MIB: u64 = LIMIT_MIB + 160;

fn start(directory: &std::path::Path) -> Process {
    let limit = format!("{LIMIT_MIB} MiB");
    let settings = [("SERVER__MEMORY_LIMIT", limit.as_str()), ("DATABASE__MEMORY_LIMIT", "256 MiB")];
    Process::start(directory, free_port(), &settings)
}

/// What a statement fails with, wherever in its result.
async fn refused(client: &mut Client, sql: &str) -> Error {
    let error = query_error(client, sql).await;
    assert_eq!(error.kind(), Kind::Exhausted, "{sql}: {error}");
    error
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn huge_values_are_refused_and_the_others_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path());
    let mut other = Client::connect(&server.uri()).await.unwrap();
    put(&mut other, "kept", &well_batches(1000, 1000), "create").await.unwrap();
    let mut greedy = Client::connect(&server.uri()).await.unwrap();
    for sql in [
        // One value, folded before the statement runs.
        "SELECT length(repeat('x', 3000000000))",
        // A vector of them, in one call of the function that builds them.
        "SELECT max(length(repeat('x', 1000000 + range::INT))) FROM range(5000)",
        "SELECT length(string_agg(repeat(chr(65 + (range % 26)::INT), 1000000), '')) FROM range(5000)",
        "SELECT len(range(500000000 + range)) FROM range(3)",
        // Built as vectors and texts of C++.
        "SELECT lpad('x', 2000000000 + range::INT, 'y') FROM range(3)",
        "SELECT format('{:2000000000}', range) FROM range(2)",
    ] {
        let error = refused(&mut greedy, sql).await;
        let named = ["server.memory_limit", "database.memory_limit"];
        assert!(named.iter().any(|name| error.message().contains(name)), "{sql}: {error}");
        assert_eq!(number(&mut other, "SELECT count(*) FROM kept").await, 1000);
        let peak = server.peak_memory_mib();
        assert!(peak < PEAK_MIB, "{sql}: {peak} MiB");
    }
}

/// Rows that wait for the end of their put.
fn texts(rows: usize) -> RecordBatch {
    let column: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|_| "x".repeat(1000))));
    RecordBatch::try_from_iter([("s", column)]).unwrap()
}

/// Memory that nothing refuses, because it comes in small pieces: the statement that works for nothing is stopped from
/// outside, and the put, whose rows fill the memory, is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_makes_room_and_a_put_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let settings = [("SERVER__MEMORY_LIMIT", "200 MiB"), ("DATABASE__MEMORY_LIMIT", "96 MiB")];
    let server = Process::start(directory.path(), free_port(), &settings);
    let mut other = Client::connect(&server.uri()).await.unwrap();
    let mut endless = Client::connect(&server.uri()).await.unwrap();
    let endless = tokio::spawn(async move {
        refused(&mut endless, "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b").await
    });
    let mut writer = Client::connect(&server.uri()).await.unwrap();
    let (sender, request) = open(&[("pintail-mode", "create")]);
    let put = tokio::spawn(async move {
        let answers = writer.inner().do_put(request).await.map_err(from_status)?.into_inner();
        answers.try_collect::<Vec<_>>().await.map_err(from_status)
    });
    let batches: Vec<_> = (0..18).map(|_| (texts(10_000), Value::Null)).collect();
    for message in messages("texts", &batches).await {
        sender.send(message).await.unwrap();
    }
    let error = tokio::time::timeout(Duration::from_secs(20), endless).await.unwrap().unwrap();
    assert!(error.message().contains("(limit: server.memory_limit)"), "{error}");
    assert!(server.log().contains("a statement was stopped"), "{}", server.log());
    // Ends the put.
    drop(sender);
    put.await.unwrap().unwrap();
    assert_eq!(number(&mut other, "SELECT count(*) FROM texts").await, 180_000);
    let started = Instant::now();
    loop {
        let status = other.action("pintail.status").await.unwrap();
        let resident = status["memory"]["resident_bytes"].as_u64().unwrap() >> 20;
        if resident <= 200 {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "{resident} MiB are still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
