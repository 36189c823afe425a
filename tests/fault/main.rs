//! A full disk, a sync that fails, a connection cut inside a frame, a checkpoint that stops half way: what was
//! acknowledged is stored, and the server says clearly what is wrong or ends.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is a failed test")]

mod checkpoint;
mod connection;
mod disk;
mod producer;
#[path = "../support/mod.rs"]
mod support;
mod sync;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use pintail::client::{Client, Durable, Instance, Producer, ProducerOptions};
use pintail::error::Result;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::support::calls::{number, table};
use crate::support::process::Process;

/// Rows of a batch, and columns of random numbers in each: about 4 KiB that do not compress for every 64 rows.
const BATCH_ROWS: i64 = 1000;

fn schema() -> SchemaRef {
    let names = ["id", "batch", "a", "b", "c", "d", "e", "f"];
    Arc::new(Schema::new(names.map(|name| Field::new(name, DataType::Int64, false)).to_vec()))
}

/// Batch number `batch`, the same each time.
fn batch(batch: i64, count: i64) -> RecordBatch {
    let random = |salt: i64| {
        let mix = move |row: i64| {
            let mut x = (row as u64).wrapping_add(salt as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB) as i64
        };
        Int64Array::from_iter_values((batch * count..(batch + 1) * count).map(mix))
    };
    let ids = Int64Array::from_iter_values(batch * count..(batch + 1) * count);
    let mut columns: Vec<arrow::array::ArrayRef> =
        vec![Arc::new(ids), Arc::new(Int64Array::from_iter_values((0..count).map(|_| batch)))];
    columns.extend((1..=6).map(|salt| Arc::new(random(salt << 40)) as _));
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn options(give_up: Duration) -> ProducerOptions {
    ProducerOptions {
        linger: Duration::ZERO,
        backoff: Duration::from_millis(10),
        backoff_max: Duration::from_millis(100),
        buffer_bytes: 4 << 20,
        batch_rows: 200_000,
        batch_bytes: 64 << 20,
        give_up,
        ..ProducerOptions::default()
    }
}

/// Sends batches of `count` rows until there are `until` of them, or the producer fails. Gives what is durable.
async fn send(uri: &str, epoch: u64, count: i64, until: i64) -> (Durable, Result<()>) {
    let opened = Producer::open(
        uri,
        Instance { producer: "p", epoch },
        table("t"),
        schema(),
        options(Duration::from_secs(3)),
    )
    .await;
    let producer = match opened {
        Ok(producer) => producer,
        Err(error) => return (Durable::default(), Err(error)),
    };
    let first = producer.durable().rows as i64 / count;
    let work = async {
        for number in first..until {
            producer.send(batch(number, count)).await?;
        }
        producer.flush().await
    };
    let outcome = work.await;
    (producer.durable(), outcome)
}

/// Whole batches, each once, from the first to the last; gives their number.
async fn stored_batches(client: &mut Client, count: i64) -> i64 {
    let sql = format!(
        "SELECT CASE WHEN count(*) = count(DISTINCT id) AND count(*) % {count} = 0 \
         AND count(*) / {count} = count(DISTINCT batch) AND coalesce(max(id) + 1, 0) = count(*) \
         THEN count(DISTINCT batch) ELSE -1 END FROM t"
    );
    let batches = number(client, &sql).await;
    assert!(batches >= 0, "rows are stored in part or twice");
    batches
}

/// Goes through the health that a server tells, until its connection ends.
async fn watch_health(uri: String) -> Vec<ServingStatus> {
    let endpoint = tonic::transport::Endpoint::from_shared(uri.replace("grpc://", "http://")).unwrap();
    let mut client = HealthClient::new(endpoint.connect().await.unwrap());
    let mut seen = Vec::new();
    let mut changes = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    while let Ok(Some(change)) = changes.message().await {
        seen.push(change.status());
    }
    seen
}

/// The server has met a fatal error: it says so in its health, ends with a failure and one clear line.
async fn ended_clearly(server: &mut Process, health: tokio::task::JoinHandle<Vec<ServingStatus>>) {
    let ended = server.wait_for_end(Duration::from_secs(20));
    let log = server.log();
    let ended = ended.unwrap_or_else(|| panic!("the server did not end:\n{log}"));
    assert_eq!(ended.code(), Some(1), "{log}");
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains("fatal error") && last.contains("start again to recover"), "{log}");
    assert!(!log.contains("panicked"), "{log}");
    let seen = health.await.unwrap();
    assert_eq!(seen.last(), Some(&ServingStatus::NotServing), "{seen:?}");
}
