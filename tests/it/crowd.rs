//! Very many connections, and clients that are as slow as they can be, beside others.

use std::sync::Arc;
use std::time::{Duration, Instant as Moment};

use arrow_flight::Ticket;
use futures::future::{join_all, try_join_all};
use pintail::client::{Client, Instance, Producer, ProducerOptions, TableName};
use pintail::config::Bytes;
use pintail::error::Kind;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::support::batches::{well_batches, well_schema, wells};
use crate::support::calls::{number, put, rows, wait_for_streams};
use crate::support::process::{Process, free_port};
use crate::support::put_stream::{messages, open};
use crate::support::server::{TestServer, http_get};

const IDLE: usize = 1000;
const ACTIVE: usize = 64;
/// Calls of each active client.
const CALLS: usize = 5;

/// A thousand connections that do nothing, each with a session of its own, cost memory by the kilobyte and nobody an error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_idle_and_sixty_four_active_connections() {
    let directory = tempfile::tempdir().unwrap();
    let connections = (IDLE + ACTIVE + 8).to_string();
    let server = Process::start(directory.path(), free_port(), &[("SERVER__MAX_CONNECTIONS", &connections)]);
    let mut first = Client::connect(&server.uri()).await.unwrap();
    put(&mut first, "wells", &well_batches(10_000, 10_000), "create").await.unwrap();
    let resident = async |client: &mut Client| {
        let status = client.action("pintail.status").await.unwrap();
        status["memory"]["resident_bytes"].as_u64().unwrap() >> 20
    };
    let before = resident(&mut first).await;
    // All at once would be more than the system's own queue for a listener takes.
    let turns = Arc::new(Semaphore::new(64));
    let uri = server.uri();
    let idle = try_join_all((0..IDLE).map(|_| {
        let (turns, uri) = (Arc::clone(&turns), uri.clone());
        async move {
            let _turn = turns.acquire_owned().await.unwrap();
            let mut client = Client::connect(&uri).await?;
            rows(&mut client, "SELECT 1").await?;
            Ok::<_, pintail::error::Error>(client)
        }
    }));
    let mut idle = idle.await.unwrap();
    let with_idle = resident(&mut first).await;
    let active = join_all((0..ACTIVE).map(|number| {
        let uri = uri.clone();
        tokio::spawn(async move {
            let mut client = Client::connect(&uri).await.unwrap();
            for call in 0..CALLS {
                if number % 4 == 0 {
                    let key = i64::try_from(1_000_000 + number * CALLS + call).unwrap();
                    put(&mut client, "wells", &[wells(key * 1000, 100)], "append").await.unwrap();
                } else {
                    let found = rows(&mut client, "SELECT * FROM wells LIMIT 5000").await.unwrap();
                    assert_eq!(found.iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>(), 5000);
                }
            }
        })
    }));
    for done in active.await {
        done.unwrap();
    }
    let stored = i64::try_from(10_000 + ACTIVE / 4 * CALLS * 100).unwrap();
    assert_eq!(number(&mut first, "SELECT count(*) FROM wells").await, stored);
    // Those that did nothing are still there.
    for client in idle.iter_mut().step_by(97) {
        assert_eq!(number(client, "SELECT 1").await, 1);
    }
    let (after, peak) = (resident(&mut first).await, server.peak_memory_mib());
    println!(
        "resident: {before} MiB with one connection, {with_idle} MiB with {IDLE} idle ones, {after} MiB after {ACTIVE} \
         active ones, {peak} MiB at its peak"
    );
    assert!(with_idle < before + 300, "{IDLE} idle connections took {} MiB", with_idle - before);
}

/// How long a few reads of one client take.
async fn reads(client: &mut Client) -> Duration {
    let started = Moment::now();
    for _ in 0..20 {
        rows(client, "SELECT sum(n) FROM numbers").await.unwrap();
    }
    started.elapsed()
}

/// A writer that sends a byte now and then, one that sends nothing, and readers that never read, keep nobody waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_slowest_clients_hold_nobody_up() {
    let server = TestServer::start_with(|config| {
        config.query.max_concurrent = 8;
        config.query.busy_stall_timeout = "500 ms".parse().unwrap();
        config.ingest.memory_limit = Bytes::mib(64);
        config.ingest.stream_memory_limit = Bytes::mib(32);
    })
    .await;
    let mut client = server.client().await;
    rows(&mut client, "CREATE TABLE numbers AS SELECT range AS n FROM range(1000000)").await.unwrap();
    reads(&mut client).await;
    let alone = reads(&mut client).await;
    // Writers: the schema and a few rows, and then nothing for as long as the test lasts.
    let mut held = Vec::new();
    for number in 0..8 {
        let mut writer = server.client().await;
        let (sender, request) = open(&[]);
        let name = format!("slow_{number}");
        for message in messages(&name, &[(wells(0, 10), Value::Null)]).await {
            sender.send(message).await.unwrap();
        }
        let call = tokio::spawn(async move { writer.inner().do_put(request).await.map(|_| ()) });
        held.push((sender, call));
    }
    // Readers that take the head of a result and never read on.
    let mut stalled = Vec::new();
    for _ in 0..6 {
        let mut reader = server.client().await;
        let sql = "SELECT range AS n, repeat('x', 200) AS s FROM range(50000000)";
        let mut stream = reader.inner().do_get(Ticket::new(sql)).await.unwrap().into_inner();
        stream.message().await.unwrap();
        stalled.push((reader, stream));
    }
    // Others are served, also when more of them come than places are left.
    let others = (0..8).map(|_| async {
        let mut other = server.client().await;
        reads(&mut other).await
    });
    let crowd = tokio::time::timeout(Duration::from_secs(20), join_all(others));
    assert!(crowd.await.is_ok(), "clients wait for those that do not read");
    let beside = reads(&mut client).await;
    println!("20 reads: {alone:?} alone, {beside:?} beside slow writers and readers that do not read");
    assert!(beside < alone * 5 + Duration::from_secs(1), "{alone:?} alone, {beside:?} beside them");
    assert!(
        held.iter().all(|(_, call)| !call.is_finished()),
        "a slow writer was cut before ingest.idle_timeout"
    );
}

/// Refused puts of a server that is a process of its own.
async fn refused_puts(server: &Process) -> u64 {
    let (_, metrics) = http_get(&server.http(), "/metrics").await;
    let of = |line: &&str| line.starts_with("pintail_calls_total") && line.contains("RESOURCE_EXHAUSTED");
    metrics.lines().filter(of).filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// A limit that others leave again says when to come back, and the producer comes back then and not before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_turned_away_hears_for_how_long() {
    let directory = tempfile::tempdir().unwrap();
    let server = Process::start(directory.path(), free_port(), &[("INGEST__MAX_STREAMS", "1")]);
    let mut client = Client::connect(&server.uri()).await.unwrap();
    let mut writer = Client::connect(&server.uri()).await.unwrap();
    let (sender, request) = open(&[]);
    for message in messages("held", &[(wells(0, 10), Value::Null)]).await {
        sender.send(message).await.unwrap();
    }
    let held = tokio::spawn(async move { writer.inner().do_put(request).await.map(|_| ()) });
    wait_for_streams(&mut client, 1).await;
    let error = put(&mut client, "other", &[wells(0, 10)], "create").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.retry_after()),
        (Kind::Exhausted, Some(Duration::from_secs(1))),
        "{error}"
    );
    let before = refused_puts(&server).await;
    let uri = server.uri();
    let producer = tokio::spawn(async move {
        let options = ProducerOptions {
            backoff: Duration::from_millis(1),
            backoff_max: Duration::from_millis(5),
            ..ProducerOptions::default()
        };
        let table = TableName::from_text("produced").unwrap();
        Producer::open(&uri, Instance { producer: "p", epoch: 1 }, table, well_schema(), options).await
    });
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let refused = refused_puts(&server).await - before;
    assert!((1..=4).contains(&refused), "{refused} attempts in 2.5 s");
    drop(sender);
    held.await.unwrap().unwrap();
    let producer = tokio::time::timeout(Duration::from_secs(10), producer).await.unwrap().unwrap().unwrap();
    producer.send(wells(0, 10)).await.unwrap();
    assert_eq!(producer.close().await.unwrap().rows, 10);
}
