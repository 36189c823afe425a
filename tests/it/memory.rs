//! The memory of the whole process: statements that build large values are stopped, and nobody else notices.

use std::time::{Duration, Instant};

use pintail::client::Client;
use pintail::error::{Error, Kind};

use crate::support::batches::well_batches;
use crate::support::calls::{number, put, query_error};
use crate::support::process::{Process, free_port};

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
        "SELECT lpad('x', 2000000000 + range::INT, 'y') FROM range(3)",
    ] {
        let error = refused(&mut greedy, sql).await;
        let named = ["server.memory_limit", "database.memory_limit"];
        assert!(named.iter().any(|name| error.message().contains(name)), "{sql}: {error}");
        assert_eq!(number(&mut other, "SELECT count(*) FROM kept").await, 1000);
        let peak = server.peak_memory_mib();
        assert!(peak < PEAK_MIB, "{sql}: {peak} MiB");
    }
}

/// Memory in small pieces, which no allocation tells of: the statement is stopped from outside, and one beside it is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_grows_is_stopped_and_gives_its_memory_back() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path());
    let mut other = Client::connect(&server.uri()).await.unwrap();
    let mut greedy = Client::connect(&server.uri()).await.unwrap();
    for _ in 0..2 {
        let error =
            refused(&mut greedy, "SELECT len(map_keys(histogram(range))) FROM range(100000000)").await;
        assert!(error.message().contains("limit: server.memory_limit"), "{error}");
        assert_eq!(number(&mut other, "SELECT 1 + 1").await, 2);
    }
    let peak = server.peak_memory_mib();
    assert!(peak < PEAK_MIB, "{peak} MiB");
    let started = Instant::now();
    loop {
        let status = other.action("pintail.status").await.unwrap();
        let resident = status["memory"]["resident_bytes"].as_u64().unwrap() >> 20;
        if resident < LIMIT_MIB / 2 {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "{resident} MiB are still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(server.log().contains("memory is above server.memory_limit"), "{}", server.log());
}
