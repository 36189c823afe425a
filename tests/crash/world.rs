//! What the clients of one database share with the checks: tables, rows, and what was acknowledged.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use pintail::client::Client;
use pintail::error::{Error, Kind};

use super::changes;

/// Ids of one producer, and of one batch of it.
pub(super) const WHO: i64 = 1_000_000_000_000;
pub(super) const BATCH: i64 = 1_000_000;

/// How a producer makes sure that its rows are stored once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// The client library's producer: numbered batches, commit=progress.
    Library,
    /// One small put per batch, each with an idempotency key, into the two tables by turns.
    Keys,
    /// Streams of numbered batches, commit=stream: a stream is stored whole or not at all.
    Streams,
}

pub(super) const PRODUCERS: [(How, [&str; 2]); 4] = [
    (How::Library, ["plain", "plain"]),
    (How::Library, ["keyed", "keyed"]),
    (How::Keys, ["plain", "keyed"]),
    (How::Streams, ["plain", "plain"]),
];

/// What the producers of one database share with the checks.
pub(super) struct World {
    pub(super) uri: String,
    pub(super) seed: u64,
    /// Rows acknowledged per producer; its batches are numbered from 0, so these are the first ones.
    pub(super) acknowledged: [AtomicU64; PRODUCERS.len()],
    /// Transactions whose COMMIT was answered.
    pub(super) committed: Mutex<BTreeSet<i64>>,
    pub(super) attempts: AtomicU64,
    /// Single rows put without key or number: tried once each, and acknowledged.
    pub(super) loose: AtomicU64,
    pub(super) loose_acknowledged: Mutex<BTreeSet<i64>>,
    pub(super) changes: changes::Told,
    pub(super) stop: AtomicBool,
}

pub(super) fn mix(a: u64, b: u64, c: u64) -> u64 {
    let mut x = a ^ b.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ c.wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

impl World {
    /// Rows of a batch: mostly a few, sometimes more than a row group.
    pub(super) fn size(&self, who: usize, batch: u64) -> u64 {
        let random = mix(self.seed, who as u64, batch);
        let (kind, size) = (random % 100, random >> 8);
        match (PRODUCERS[who].0, kind) {
            (How::Keys, _) => 1 + size % 20,
            (_, 0..70) => 1 + size % 50,
            (_, 70..94) => 1 + size % 3000,
            (_, 94..99) => 5000 + size % 25_000,
            _ if PRODUCERS[who].1[0] == "keyed" => 30_000,
            _ => 122_000 + size % 3000,
        }
    }

    pub(super) fn rows(&self, who: usize, batch: u64) -> RecordBatch {
        let size = self.size(who, batch) as i64;
        let ids = || (0..size).map(|row| who as i64 * WHO + batch as i64 * BATCH + row);
        let same = |value: i64| Arc::new(Int64Array::from_iter_values((0..size).map(|_| value)));
        let texts = ids().map(|id| (id % 5 != 0).then(|| format!("text of row {id}")));
        RecordBatch::try_new(
            schema(),
            vec![
                Arc::new(Int64Array::from_iter_values(ids())),
                same(who as i64),
                same(batch as i64),
                same(size),
                Arc::new(Int64Array::from_iter_values(ids().map(|id| id / 3))),
                Arc::new(StringArray::from_iter(texts)),
            ],
        )
        .unwrap()
    }

    /// The first batch after `rows` rows.
    pub(super) fn batch_after(&self, who: usize, rows: u64) -> u64 {
        let (mut batch, mut sum) = (0, 0);
        while sum < rows {
            sum += self.size(who, batch);
            batch += 1;
        }
        assert_eq!(sum, rows, "producer {who}: the durable rows end inside a batch");
        batch
    }

    pub(super) fn acknowledge(&self, who: usize, rows: u64) {
        self.acknowledged[who].fetch_max(rows, Ordering::SeqCst);
    }

    pub(super) fn stops(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}

pub(super) fn schema() -> SchemaRef {
    let field = |name: &str, kind, nullable| Field::new(name, kind, nullable);
    Arc::new(Schema::new(vec![
        field("id", DataType::Int64, false),
        field("who", DataType::Int64, false),
        field("batch", DataType::Int64, false),
        field("size", DataType::Int64, false),
        field("v", DataType::Int64, false),
        field("text", DataType::Utf8, true),
    ]))
}

/// Tables, and what makes them.
pub(super) const TABLES: [(&str, &str); 4] = [
    (
        "plain",
        "CREATE TABLE plain (id BIGINT, who BIGINT, batch BIGINT, size BIGINT, v BIGINT, text VARCHAR)",
    ),
    (
        "keyed",
        "CREATE TABLE keyed (id BIGINT PRIMARY KEY, who BIGINT, batch BIGINT, size BIGINT, v BIGINT, text VARCHAR); \
         CREATE INDEX keyed_v ON keyed (v)",
    ),
    ("pair_b", "CREATE TABLE pair_b (n BIGINT, part BIGINT)"),
    ("churn", "CREATE TABLE churn (n BIGINT PRIMARY KEY, v BIGINT); CREATE INDEX churn_v ON churn (v)"),
];

/// What a killed server and a restarted one look like to a client. Everything else is a broken promise.
pub(super) fn is_outage(error: &Error) -> bool {
    matches!(error.kind(), Kind::Unavailable | Kind::Cancelled | Kind::Aborted)
        || (error.kind() == Kind::Internal
            && ["transport", "h2", "connection", "reading a body"]
                .iter()
                .any(|part| error.message().contains(part)))
}

pub(super) async fn connected(world: &World) -> Client {
    loop {
        if let Ok(client) = Client::connect(&world.uri).await {
            return client;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
