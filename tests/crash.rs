//! kill -9 at random moments, again and again: what was acknowledged is stored, nothing is stored twice or in part.
//!
//! Four producers, a client with transactions, two that put single rows and one whose changes hide in CTEs and triggers write while the
//! server is killed and started on the same file, sometimes while it still recovers, and sometimes the clients die as well. `PINTAIL_CRASH_ROUNDS` says how often,
//! `PINTAIL_CRASH_SEED` repeats a run's choices (moments still differ from machine to machine).
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is a failed test")]

#[path = "crash/changes.rs"]
mod changes;
mod common;
#[path = "common/process.rs"]
mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::sql::{ActionEndTransactionRequest, Any, ProstMessageExt};
use arrow_flight::{Action, FlightData, FlightDescriptor};
use common::{number, rows, table};
use futures::{TryStreamExt, stream};
use pintail::client::{Client, Producer, ProducerOptions, from_status};
use pintail::error::{Error, Kind, Result};
use process::{Process, free_port};
use prost::Message;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinHandle;
use tonic::Request;

/// Rounds on one database before a new one is begun.
const ROUNDS_PER_DATABASE: u64 = 8;
/// Ids of one producer, and of one batch of it.
const WHO: i64 = 1_000_000_000_000;
const BATCH: i64 = 1_000_000;

/// How a producer makes sure that its rows are stored once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// The client library's producer: numbered batches, commit=progress.
    Library,
    /// One small put per batch, each with an idempotency key, into the two tables by turns.
    Keys,
    /// Streams of numbered batches, commit=stream: a stream is stored whole or not at all.
    Streams,
}

const PRODUCERS: [(How, [&str; 2]); 4] = [
    (How::Library, ["plain", "plain"]),
    (How::Library, ["keyed", "keyed"]),
    (How::Keys, ["plain", "keyed"]),
    (How::Streams, ["plain", "plain"]),
];

/// What the producers of one database share with the checks.
struct World {
    uri: String,
    seed: u64,
    /// Rows acknowledged per producer; its batches are numbered from 0, so these are the first ones.
    acknowledged: [AtomicU64; PRODUCERS.len()],
    /// Transactions whose COMMIT was answered.
    committed: Mutex<BTreeSet<i64>>,
    attempts: AtomicU64,
    /// Single rows put without key or number: tried once each, and acknowledged.
    loose: AtomicU64,
    loose_acknowledged: Mutex<BTreeSet<i64>>,
    changes: changes::Told,
    stop: AtomicBool,
}

fn mix(a: u64, b: u64, c: u64) -> u64 {
    let mut x = a ^ b.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ c.wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

impl World {
    /// Rows of a batch: mostly a few, sometimes more than a row group.
    fn size(&self, who: usize, batch: u64) -> u64 {
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

    fn rows(&self, who: usize, batch: u64) -> RecordBatch {
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
    fn batch_after(&self, who: usize, rows: u64) -> u64 {
        let (mut batch, mut sum) = (0, 0);
        while sum < rows {
            sum += self.size(who, batch);
            batch += 1;
        }
        assert_eq!(sum, rows, "producer {who}: the durable rows end inside a batch");
        batch
    }

    fn acknowledge(&self, who: usize, rows: u64) {
        self.acknowledged[who].fetch_max(rows, Ordering::SeqCst);
    }

    fn stops(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}

fn schema() -> SchemaRef {
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
const TABLES: [(&str, &str); 4] = [
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
fn is_outage(error: &Error) -> bool {
    matches!(error.kind(), Kind::Unavailable | Kind::Cancelled | Kind::Aborted)
        || (error.kind() == Kind::Internal
            && ["transport", "h2", "connection", "reading a body"]
                .iter()
                .any(|part| error.message().contains(part)))
}

async fn connected(world: &World) -> Client {
    loop {
        if let Ok(client) = Client::connect(&world.uri).await {
            return client;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// One producer until it is told to stop; `first` is the batch it begins with, for those that ask nobody.
async fn produce(world: Arc<World>, who: usize, epoch: u64) {
    match PRODUCERS[who].0 {
        How::Library => library(&world, who, epoch).await,
        How::Keys => keys(&world, who).await,
        How::Streams => streams(&world, who, epoch).await,
    }
}

async fn library(world: &World, who: usize, epoch: u64) {
    let options = ProducerOptions {
        linger: Duration::from_millis(mix(world.seed, epoch, 7) % 4),
        backoff: Duration::from_millis(10),
        backoff_max: Duration::from_millis(80),
        give_up: Duration::from_secs(60),
        buffer_bytes: 4 << 20,
        batch_rows: 200_000,
        batch_bytes: 32 << 20,
        ..ProducerOptions::default()
    };
    let (name, into) = (format!("library-{who}"), table(PRODUCERS[who].1[0]));
    let producer = Producer::open(&world.uri, &name, epoch, into, schema(), options).await.unwrap();
    let mut batch = world.batch_after(who, producer.durable().rows);
    while !world.stops() {
        producer.send(world.rows(who, batch)).await.unwrap();
        batch += 1;
        if batch.is_multiple_of(7) {
            producer.flush().await.unwrap();
        }
        world.acknowledge(who, producer.durable().rows);
    }
    let durable = producer.close().await.unwrap();
    world.acknowledge(who, durable.rows);
    assert_eq!(world.batch_after(who, durable.rows), batch);
}

async fn keys(world: &World, who: usize) {
    let mut acknowledged = world.acknowledged[who].load(Ordering::SeqCst);
    let mut batch = world.batch_after(who, acknowledged);
    let mut client = connected(world).await;
    while !world.stops() {
        let rows = world.rows(who, batch);
        let count = rows.num_rows() as u64;
        let into = table(PRODUCERS[who].1[(batch % 2) as usize]);
        let key = [("pintail-idempotency-key", format!("key-{who}-{batch}"))];
        match client.put(&into, schema(), stream::iter([Ok(rows)]), &key).await {
            Ok(answer) => {
                assert_eq!((answer.rows, answer.durable), (count, true));
                acknowledged += count;
                world.acknowledge(who, acknowledged);
                batch += 1;
            }
            Err(error) => {
                assert!(is_outage(&error), "producer {who}, batch {batch}: {error:?}");
                client = connected(world).await;
            }
        }
    }
}

/// How many numbered batches stream number `stream` of producer `who` has.
fn parts(world: &World, who: usize, stream: u64) -> u64 {
    (1 + mix(world.seed, who as u64 + 100, stream) % 4).min(world.size(who, stream))
}

async fn streams(world: &World, who: usize, epoch: u64) {
    let mut client = connected(world).await;
    let name = format!("streams-{who}");
    let mut position = None;
    while !world.stops() {
        let (batch, seq, acknowledged) = match position {
            Some(position) => position,
            None => match resume(world, who, &mut client, &name).await {
                Ok(at) => at,
                Err(error) => {
                    assert!(is_outage(&error), "producer {who}: {error:?}");
                    client = connected(world).await;
                    continue;
                }
            },
        };
        let rows = world.rows(who, batch);
        let count = rows.num_rows() as u64;
        let parts = parts(world, who, batch);
        match send_stream(&mut client, PRODUCERS[who].1[0], &name, epoch, seq, rows, parts).await {
            Ok(answer) => {
                assert_eq!(
                    (answer["rows"].as_u64(), answer["seq"].as_u64()),
                    (Some(count), Some(seq + parts - 1))
                );
                world.acknowledge(who, acknowledged + count);
                position = Some((batch + 1, seq + parts, acknowledged + count));
            }
            Err(error) => {
                assert!(is_outage(&error), "producer {who}, stream {batch}: {error:?}");
                client = connected(world).await;
                // Half of the time ask where to go on, half of the time send the same again.
                position = position.filter(|_| seq.is_multiple_of(2));
            }
        }
    }
}

/// Stream, first number and rows before it, from what the server says is durable.
async fn resume(world: &World, who: usize, client: &mut Client, name: &str) -> Result<(u64, u64, u64)> {
    let status = client
        .action_with("pintail.ingest_status", serde_json::json!({ "producer": name }).to_string())
        .await?;
    let next = status["seq"].as_u64().map_or(0, |seq| seq + 1);
    let (mut stream, mut seq, mut rows) = (0, 0, 0);
    while seq < next {
        seq += parts(world, who, stream);
        rows += world.size(who, stream);
        stream += 1;
    }
    assert_eq!(seq, next, "producer {who}: a stream was stored in part");
    assert_eq!(status["rows"].as_u64(), Some(rows));
    Ok((stream, seq, rows))
}

async fn send_stream(
    client: &mut Client,
    into: &str,
    name: &str,
    epoch: u64,
    seq: u64,
    rows: RecordBatch,
    parts: u64,
) -> Result<serde_json::Value> {
    let cut = |part: u64| rows.num_rows() * part as usize / parts as usize;
    let batches: Vec<_> =
        (0..parts).map(|part| Ok(rows.slice(cut(part), cut(part + 1) - cut(part)))).collect();
    let mut messages: Vec<FlightData> = FlightDataEncoderBuilder::new()
        .with_schema(schema())
        .with_flight_descriptor(Some(FlightDescriptor::new_path(vec![into.to_owned()])))
        .with_max_flight_data_size(usize::MAX)
        .build(stream::iter(batches))
        .try_collect()
        .await
        .unwrap();
    assert_eq!(messages.len() as u64, parts + 1);
    for (message, seq) in messages[1..].iter_mut().zip(seq..) {
        message.app_metadata = serde_json::json!({ "seq": seq }).to_string().into();
    }
    let mut request = Request::new(stream::iter(messages));
    request.metadata_mut().insert("pintail-producer", name.parse().unwrap());
    request.metadata_mut().insert("pintail-epoch", epoch.to_string().parse().unwrap());
    let answers = client.inner().do_put(request).await.map_err(from_status)?.into_inner();
    let answers: Vec<_> = answers.map_err(from_status).try_collect().await?;
    Ok(serde_json::from_slice(&answers.last().unwrap().app_metadata).unwrap())
}

/// Rows that transactions leave in `churn`; each deletes the older ones.
const CHURN: i64 = 20;

/// Transactions over three tables, written by puts and by SQL, each tried once.
async fn pairs(world: Arc<World>) {
    let mut client = connected(&world).await;
    while !world.stops() {
        let n = world.attempts.fetch_add(1, Ordering::SeqCst) as i64;
        match pair(&mut client, n).await {
            Ok(()) => {
                world.committed.lock().unwrap().insert(n);
            }
            Err(error) => {
                assert!(is_outage(&error), "transaction {n}: {error:?}");
                client = connected(&world).await;
            }
        }
    }
}

async fn act(client: &mut Client, name: &str, body: Vec<u8>) -> Result<Vec<u8>> {
    let answers = client.inner().do_action(Action::new(name, body)).await.map_err(from_status)?;
    let answer = answers.into_inner().message().await.map_err(from_status)?;
    Ok(answer.map(|answer| answer.body.to_vec()).unwrap_or_default())
}

async fn pair(client: &mut Client, n: i64) -> Result<()> {
    let begun = Any::decode(act(client, "BeginTransaction", Vec::new()).await?.as_slice()).unwrap();
    let begun: arrow_flight::sql::ActionBeginTransactionResult = begun.unpack().unwrap().unwrap();
    for part in 0..2 {
        let batch = RecordBatch::try_from_iter([
            ("n", Arc::new(Int64Array::from(vec![n; 3])) as _),
            ("part", Arc::new(Int64Array::from(vec![part; 3])) as _),
        ])?;
        client.put(&table("pair_a"), batch.schema(), stream::iter([Ok(batch)]), &[]).await?;
        rows(client, &format!("INSERT INTO pair_b SELECT {n}, {part} FROM range(2)")).await?;
    }
    rows(client, &format!("INSERT INTO churn VALUES ({n}, {n})")).await?;
    rows(client, &format!("DELETE FROM churn WHERE n < {}", n - CHURN)).await?;
    let end = ActionEndTransactionRequest { transaction_id: begun.transaction_id, action: 1 };
    act(client, "EndTransaction", end.as_any().encode_to_vec()).await.map(|_| ())
}

/// Single rows that are never sent again: two of these share commits of one INSERT each.
async fn loose(world: Arc<World>) {
    let mut client = connected(&world).await;
    while !world.stops() {
        let n = world.loose.fetch_add(1, Ordering::SeqCst) as i64;
        let row = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![n])) as _)]).unwrap();
        match client.put(&table("loose"), row.schema(), stream::iter([Ok(row)]), &[]).await {
            Ok(answer) => {
                assert_eq!((answer.rows, answer.durable), (1, true));
                world.loose_acknowledged.lock().unwrap().insert(n);
            }
            Err(error) => {
                assert!(is_outage(&error), "row {n}: {error:?}");
                client = connected(&world).await;
            }
        }
    }
}

/// Single rows that were acknowledged are there, and none is there twice.
async fn check_loose(client: &mut Client, acknowledged: &BTreeSet<i64>) {
    let found = match rows(client, "SELECT n, count(*)::BIGINT FROM loose GROUP BY n").await {
        Ok(found) => found,
        // Made by the first of them.
        Err(error) if error.message().contains("loose") && acknowledged.is_empty() => return,
        Err(error) => panic!("{error}"),
    };
    let mut seen = BTreeSet::new();
    numbers(&found, &mut |row| {
        assert_eq!(row[1], 1, "single row {} is stored twice", row[0]);
        seen.insert(row[0]);
    });
    let lost: Vec<_> = acknowledged.difference(&seen).collect();
    assert!(lost.is_empty(), "single rows acknowledged and lost: {lost:?}");
}

/// What is stored of every batch: rows, different ids, smallest and largest size told, and the sum of ids.
type Stored = BTreeMap<(usize, u64), (String, [i64; 5])>;

fn numbers(batches: &[RecordBatch], into: &mut dyn FnMut(Vec<i64>)) {
    for batch in batches {
        let columns: Vec<_> =
            batch.columns().iter().map(|column| column.as_primitive::<Int64Type>().clone()).collect();
        for row in 0..batch.num_rows() {
            into(columns.iter().map(|column| column.value(row)).collect());
        }
    }
}

async fn stored(client: &mut Client) -> Stored {
    let mut stored = Stored::new();
    // One statement, one snapshot: producers are at work again, and one of them writes into both tables.
    let part = |index: usize, name: &str| {
        format!(
            "SELECT {index}::BIGINT, who, batch, count(*)::BIGINT, count(DISTINCT id)::BIGINT, min(size), max(size), \
             sum(id % {BATCH})::BIGINT FROM {name} GROUP BY who, batch"
        )
    };
    let sql = format!("{} UNION ALL {}", part(0, TABLES[0].0), part(1, TABLES[1].0));
    let batches = rows(client, &sql).await.unwrap();
    numbers(&batches, &mut |row| {
        let name = TABLES[row[0] as usize].0.to_owned();
        let before = stored.insert((row[1] as usize, row[2] as u64), (name, row[3..].try_into().unwrap()));
        assert!(before.is_none(), "batch {} of producer {} is in two tables", row[2], row[1]);
    });
    stored
}

/// Rows acknowledged and stored.
#[derive(Debug, Default, Clone, Copy)]
struct Totals {
    acknowledged: u64,
    stored: u64,
    transactions: u64,
    loose: u64,
    changes: u64,
}

/// Everything that is promised, for the state in front of us. `is_settled`: nobody writes, so equal, not just above.
async fn check(world: &World, rng: &mut StdRng, is_settled: bool) -> Totals {
    let mut client = connected(world).await;
    let acknowledged: Vec<u64> = world.acknowledged.iter().map(|rows| rows.load(Ordering::SeqCst)).collect();
    let committed = world.committed.lock().unwrap().clone();
    let loose_acknowledged = world.loose_acknowledged.lock().unwrap().clone();
    let told = changes::told(world);
    let stored = stored(&mut client).await;
    let mut totals = Totals { transactions: committed.len() as u64, ..Totals::default() };
    for (who, (_, tables)) in PRODUCERS.iter().enumerate() {
        let own = stored.range((who, 0)..(who + 1, 0));
        let mut rows = 0;
        for (expected, ((_, batch), (name, found))) in (0..).zip(own) {
            assert_eq!(*batch, expected, "producer {who}: batch {expected} is missing, {batch} is there");
            assert_eq!(
                name,
                tables[(batch % 2) as usize],
                "producer {who}: batch {batch} is in another table"
            );
            let size = world.size(who, *batch) as i64;
            let whole = [size, size, size, size, size * (size - 1) / 2];
            assert_eq!(*found, whole, "producer {who}: batch {batch} is stored in part, or twice");
            rows += size as u64;
        }
        assert!(
            rows >= acknowledged[who] && (!is_settled || rows == acknowledged[who]),
            "producer {who}: {} rows acknowledged, {rows} stored",
            acknowledged[who]
        );
        totals.acknowledged += acknowledged[who];
        totals.stored += rows;
    }
    check_pairs(&mut client, &committed).await;
    check_loose(&mut client, &loose_acknowledged).await;
    totals.loose = loose_acknowledged.len() as u64;
    totals.changes = changes::check(world, told).await;
    check_indexes(&mut client, &stored, world, rng).await;
    totals
}

/// A transaction is in both tables, whole, or in neither.
async fn check_pairs(client: &mut Client, committed: &BTreeSet<i64>) {
    // One statement, one snapshot: the client with transactions is at work again.
    let sql = "SELECT n, sum(a)::BIGINT, sum(b)::BIGINT, sum(p)::BIGINT, sum(c)::BIGINT FROM (
        SELECT n, 1 AS a, 0 AS b, part AS p, 0 AS c FROM pair_a UNION ALL SELECT n, 0, 1, part, 0 FROM pair_b
        UNION ALL SELECT n, 0, 0, 0, 1 FROM churn) GROUP BY n ORDER BY n DESC";
    let found = match rows(client, sql).await {
        Ok(found) => found,
        // Made by the first put of the first transaction.
        Err(error) if error.message().contains("pair_a") && committed.is_empty() => return,
        Err(error) => panic!("{error}"),
    };
    let mut seen = BTreeSet::new();
    let mut newest = None;
    numbers(&found, &mut |row| {
        let newest = *newest.get_or_insert(row[0]);
        let churn = i64::from(row[0] >= newest - CHURN);
        assert_eq!(
            row[1..],
            [6, 4, 5, churn],
            "transaction {} is stored in part, the newest is {newest}",
            row[0]
        );
        seen.insert(row[0]);
    });
    if let Some(n) = newest {
        for n in [n, n - CHURN - 1] {
            // A newer one may have deleted it by now, so both are looked for in one statement.
            let sql = format!(
                "SELECT abs((SELECT count(*) FROM churn WHERE n = {n}) - (SELECT count(*) FROM churn WHERE n + 0 = {n}))
                 + abs((SELECT count(*) FROM churn WHERE v = {n}) - (SELECT count(*) FROM churn WHERE v + 0 = {n}))"
            );
            assert_eq!(number(client, &sql).await, 0, "an index of churn and a scan differ on {n}");
        }
    }
    let lost: Vec<_> = committed.difference(&seen).collect();
    assert!(lost.is_empty(), "transactions committed and lost: {lost:?}");
}

/// Both indexes of `keyed` find what a scan finds, and the primary key still refuses what is there.
async fn check_indexes(client: &mut Client, stored: &Stored, world: &World, rng: &mut StdRng) {
    let batches: Vec<(usize, u64)> =
        stored.iter().filter(|(_, (name, _))| name == "keyed").map(|(batch, _)| *batch).collect();
    if batches.is_empty() {
        return;
    }
    for sample in 0..6 {
        // The newest batches have lived through the fewest checkpoints, so they are always looked at.
        let (who, batch) = match sample {
            0 => batches[batches.len() - 1],
            _ => batches[rng.random_range(0..batches.len())],
        };
        let row = rng.random_range(0..world.size(who, batch)) as i64;
        let id = who as i64 * WHO + batch as i64 * BATCH + row;
        let by_index = number(client, &format!("SELECT count(*) FROM keyed WHERE id = {id}")).await;
        assert_eq!(by_index, 1, "the primary key's index does not find row {id}");
        // With the columns wrapped the engine has to scan. Both in one statement: rows may be added meanwhile.
        let v = id / 3;
        let found = number(
            client,
            &format!(
                "SELECT (SELECT count(*) FROM keyed WHERE v = {v}) * 1000 + (SELECT count(*) FROM keyed WHERE v + 0 = {v})"
            ),
        )
        .await;
        if found == 0 || found / 1000 != found % 1000 {
            let near =
                format!("SELECT * FROM keyed WHERE id + 0 BETWEEN {} AND {} ORDER BY id", id - 3, id + 3);
            let near = rows(client, &near).await.unwrap();
            let near = arrow::util::pretty::pretty_format_batches(&near).unwrap();
            panic!("v = {v}, of row {id}: {} by index, {} by scan\n{near}", found / 1000, found % 1000);
        }
        if sample == 0 {
            let again = world.rows(who, batch).slice(row as usize, 1);
            let refused =
                client.put(&table("keyed"), schema(), stream::iter([Ok(again)]), &[]).await.unwrap_err();
            assert_eq!(refused.kind(), Kind::Conflict, "row {id} was taken a second time: {refused}");
        }
    }
}

/// The clients of one database.
struct Clients {
    world: Arc<World>,
    tasks: Vec<JoinHandle<()>>,
    epoch: u64,
}

impl Clients {
    fn start(world: Arc<World>) -> Self {
        let mut clients = Self { world, tasks: Vec::new(), epoch: 0 };
        clients.begin();
        clients
    }

    /// Every producer with a higher epoch, as after a crash of its process.
    fn begin(&mut self) {
        self.epoch += 1;
        for task in self.tasks.drain(..) {
            task.abort();
        }
        for who in 0..PRODUCERS.len() {
            self.tasks.push(tokio::spawn(produce(Arc::clone(&self.world), who, self.epoch)));
        }
        self.tasks.push(tokio::spawn(pairs(Arc::clone(&self.world))));
        for _ in 0..2 {
            self.tasks.push(tokio::spawn(loose(Arc::clone(&self.world))));
        }
        let world = Arc::clone(&self.world);
        self.tasks.push(tokio::spawn(async move { changes::client(&world).await }));
    }

    /// A client that ended by itself met something it must not.
    async fn look(&mut self) {
        if let Some(ended) = self.tasks.iter().position(JoinHandle::is_finished) {
            self.tasks.swap_remove(ended).await.unwrap();
            panic!("a client ended before it was told to");
        }
    }

    async fn finish(self) {
        self.world.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            tokio::time::timeout(Duration::from_secs(60), task)
                .await
                .expect("a client does not end")
                .unwrap();
        }
    }
}

/// Some rounds on one database file, and everything settled at the end.
async fn rounds_on_one_database(rounds: u64, seed: u64, totals: &mut Totals) {
    let mut rng = StdRng::seed_from_u64(seed);
    // Kept when something is found.
    let mut directory = tempfile::tempdir().unwrap();
    directory.disable_cleanup(true);
    let port = free_port();
    let group_commit = if rng.random_bool(0.5) { "0" } else { "2" };
    // With a small log, checkpoints come in the middle of everything; with a large one, recovery has more to do.
    let checkpoint = ["256 KiB", "2 MiB", "64 MiB"][rng.random_range(0..3)];
    let settings = [("INGEST__GROUP_COMMIT_MS", group_commit), ("DATABASE__CHECKPOINT_BYTES", checkpoint)];
    println!("  in {}", directory.path().display());
    let mut server = Process::start(directory.path(), port, &settings);
    let world = Arc::new(World {
        uri: server.uri(),
        seed,
        acknowledged: Default::default(),
        committed: Mutex::default(),
        attempts: AtomicU64::new(0),
        loose: AtomicU64::new(0),
        loose_acknowledged: Mutex::default(),
        changes: changes::Told::default(),
        stop: AtomicBool::new(false),
    });
    let mut client = connected(&world).await;
    for sql in TABLES.iter().flat_map(|(_, sql)| sql.split("; ")).chain(changes::TABLES) {
        rows(&mut client, sql).await.unwrap();
    }
    let mut clients = Clients::start(Arc::clone(&world));
    let mut found = Totals::default();
    for round in 0..rounds {
        let pause =
            |rng: &mut StdRng, longest: u64| Duration::from_micros(rng.random_range(0..longest * 1000));
        if rng.random_bool(0.15) {
            // The clients die and the server lives: the new ones shut the old ones out.
            tokio::time::sleep(pause(&mut rng, 100)).await;
            clients.begin();
        }
        tokio::time::sleep(pause(&mut rng, 500)).await;
        server.kill();
        clients.look().await;
        if rng.random_bool(0.3) {
            clients.begin();
        }
        while rng.random_bool(0.25) {
            // Killed again while it recovers.
            let mut early = Process::spawn(directory.path(), port, &settings);
            tokio::time::sleep(pause(&mut rng, 80)).await;
            early.kill();
        }
        server = Process::start(directory.path(), port, &settings);
        found = check(&world, &mut rng, false).await;
        clients.look().await;
        println!(
            "  round {round}: {} rows acknowledged, {} stored, {} transactions",
            found.acknowledged, found.stored, found.transactions
        );
    }
    clients.finish().await;
    server.kill();
    let mut server = Process::start(directory.path(), port, &settings);
    let settled = check(&world, &mut rng, true).await;
    assert!(settled.acknowledged >= found.stored && settled.acknowledged > 0);
    server.kill();
    assert!(!server.log().contains("panicked"), "{}", server.log());
    directory.disable_cleanup(false);
    totals.acknowledged += settled.acknowledged;
    totals.stored += settled.stored;
    totals.transactions += settled.transactions;
    totals.loose += settled.loose;
    totals.changes += settled.changes;
    println!(
        "seed {seed}: {rounds} rounds, group commit {group_commit} ms, checkpoint at {checkpoint}: {settled:?}"
    );
}

/// Acknowledged rows are stored, once, in whole batches, and indexes agree with scans, whenever the server is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_or_doubled() {
    let setting = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let rounds = setting("PINTAIL_CRASH_ROUNDS").unwrap_or(6);
    let seed = setting("PINTAIL_CRASH_SEED").unwrap_or_else(|| u64::from(rand::random::<u32>()));
    println!("seed {seed} (PINTAIL_CRASH_SEED), {rounds} rounds (PINTAIL_CRASH_ROUNDS)");
    let started = Instant::now();
    let mut totals = Totals::default();
    let (mut done, mut databases) = (0, 0);
    // A short run still sees two databases.
    let per_database = ROUNDS_PER_DATABASE.min(rounds.div_ceil(2)).max(1);
    while done < rounds {
        let now = per_database.min(rounds - done);
        rounds_on_one_database(now, seed.wrapping_add(databases), &mut totals).await;
        done += now;
        databases += 1;
    }
    println!(
        "crash: {done} rounds of kill -9 on {databases} databases in {:.0} s: {} rows acknowledged, {} stored once, \
         {} transactions over three tables, {} single rows without a key, {} batches through RETURNING, CTEs and triggers; nothing lost, doubled or partial, indexes equal scans",
        started.elapsed().as_secs_f64(),
        totals.acknowledged,
        totals.stored,
        totals.transactions,
        totals.loose,
        totals.changes
    );
}

/// Not a check but a measurement: how long a start after kill -9 takes by the size of the log, and what it needs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; run it with: make recovery"]
async fn recovery_time_by_log_size() {
    let setting = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let memory = setting("PINTAIL_RECOVERY_MEMORY", "1 GiB");
    println!("database.memory_limit {memory}");
    println!(
        "{:>9} {:>6} {:>9} {:>9} {:>9} {:>8} {:>9}",
        "log MiB", "keyed", "commits", "rows", "ready s", "MiB/s", "peak MiB"
    );
    for mib in setting("PINTAIL_RECOVERY_MIB", "64,256,1024").split(',') {
        let target = mib.parse::<u64>().unwrap() << 20;
        for keyed in [false, true] {
            let directory = tempfile::tempdir().unwrap();
            let port = free_port();
            let settings =
                |memory| [("DATABASE__CHECKPOINT_BYTES", "1 TiB"), ("DATABASE__MEMORY_LIMIT", memory)];
            let mut server = Process::start(directory.path(), port, &settings("3 GiB"));
            let mut client = Client::connect(&server.uri()).await.unwrap();
            for sql in TABLES.iter().flat_map(|(_, sql)| sql.split("; ")) {
                rows(&mut client, sql).await.unwrap();
            }
            let log = directory.path().join("test.duckdb.wal");
            let name = if keyed { "keyed" } else { "plain" };
            let (mut commits, mut count) = (0, 0);
            // Never quiet for long enough that the maintenance thread would write the log into the file.
            while std::fs::metadata(&log).map_or(0, |log| log.len()) < target {
                let many = logged(count, 5000);
                count += many.num_rows() as i64;
                commits += 1;
                client.put(&table(name), schema(), stream::iter([Ok(many)]), &[]).await.unwrap();
            }
            server.kill();
            let size = std::fs::metadata(&log).unwrap().len() as f64 / f64::from(1 << 20);
            let started = Instant::now();
            let mut server = Process::start(directory.path(), port, &settings(&memory));
            let ready = started.elapsed().as_secs_f64();
            let peak = server.peak_memory_mib();
            let mut client = Client::connect(&server.uri()).await.unwrap();
            assert_eq!(number(&mut client, &format!("SELECT count(*) FROM {name}")).await, count);
            println!(
                "{size:>9.0} {keyed:>6} {commits:>9} {count:>9} {ready:>9.2} {:>8.0} {peak:>9}",
                size / ready
            );
            server.kill();
        }
    }
}

fn logged(first: i64, count: i64) -> RecordBatch {
    let ids = || first..first + count;
    let same = || Arc::new(Int64Array::from_iter_values(ids().map(|_| 0)));
    let texts = ids().map(|id| format!("text of row {id} and so on"));
    let columns: Vec<arrow::array::ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(ids())),
        same(),
        same(),
        same(),
        Arc::new(Int64Array::from_iter_values(ids().map(|id| id / 3))),
        Arc::new(StringArray::from_iter_values(texts)),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}
