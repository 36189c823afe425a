//! Where clients meet: each test is one way in which acknowledged rows could be lost, doubled or altered, or the server
//! be lost, and what happens instead.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is a failed test")]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Field, Schema};
use common::{TestServer, number, put, put_with, query_error, rows, table, wells};
use futures::{StreamExt, TryStreamExt, stream};
use pintail::client::{Client, PutAnswer};
use pintail::engine::{Database, Options};
use pintail::error::{Kind, Result};
use tokio::sync::mpsc;

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn ids(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

async fn run(client: &mut Client, sql: &str) {
    rows(client, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// A put whose batches are sent one by one while other things happen.
struct OpenPut {
    batches: mpsc::Sender<RecordBatch>,
    answer: tokio::task::JoinHandle<Result<PutAnswer>>,
}

impl OpenPut {
    async fn begin(
        server: &TestServer,
        name: &str,
        first: RecordBatch,
        headers: &[(&'static str, &str)],
    ) -> Self {
        let mut client = server.client().await;
        let (batches, mut sent) = mpsc::channel(16);
        let (name, schema) = (table(name), first.schema());
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let items = stream::poll_fn(move |context| sent.poll_recv(context)).map(Ok);
        let answer = tokio::spawn(async move { client.put(&name, schema, items, &headers).await });
        batches.send(first).await.unwrap();
        Self { batches, answer }
    }

    async fn send(&self, batch: RecordBatch) {
        // A put that has failed takes no more; its answer says why.
        let _ = self.batches.send(batch).await;
    }

    async fn end(self) -> Result<PutAnswer> {
        drop(self.batches);
        self.answer.await.unwrap()
    }
}

/// Waits until the server counts this many put streams.
async fn streams(client: &mut Client, count: u64) {
    let until = Instant::now() + Duration::from_secs(10);
    while client.action("pintail.status").await.unwrap()["ingest"]["streams"] != count {
        assert!(Instant::now() < until, "no {count} put streams are open");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A deadline that passes at any moment of a commit leaves no connection behind that cannot be used, and its client hears
/// what became of the change: what "was stopped" is not stored, now or later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadlines_in_commits_tell_the_truth_and_leave_clean_connections() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let mut other = server.client().await;
    run(&mut client, "CREATE TABLE t (a BIGINT)").await;
    for round in 0..160_u64 {
        let timeout = (1 + round % 3).to_string();
        let headers = [("pintail-timeout-ms", timeout)];
        let rows = [1, 20_000][round as usize % 2];
        let returning = if round % 4 == 3 { " RETURNING a" } else { "" };
        let sql = format!("INSERT INTO t SELECT {round} FROM range({rows}){returning}");
        let outcome = match client.query(&sql, &headers).await {
            Ok(result) => result.batches.collect::<Vec<_>>().await.into_iter().collect::<Result<Vec<_>>>(),
            Err(error) => Err(error),
        };
        let is_stored = match &outcome {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.kind(), Kind::Deadline, "{error}");
                error.message().contains("the change itself was made")
            }
        };
        let stored = number(&mut other, &format!("SELECT count(*) FROM t WHERE a = {round}")).await;
        assert_eq!(stored, if is_stored { rows } else { 0 }, "round {round}: {:?}", outcome.err());
    }
    let before = number(&mut other, "SELECT count(*) FROM t").await;
    for _ in 0..50 {
        // Every connection of the pool answers, and holds nothing open.
        run(&mut other, "INSERT INTO t VALUES (-1)").await;
    }
    assert_eq!(number(&mut other, "SELECT count(*) FROM t").await, before + 50);
}

/// The engine's own words for broken databases and full disks, as values, keys, names and SQL, are values.
#[tokio::test]
async fn words_of_the_engine_in_data_mean_nothing() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    run(&mut client, "CREATE TABLE t (k VARCHAR PRIMARY KEY, n INTEGER CHECK (n > 0))").await;
    for words in [
        "database has been invalidated because of a previous fatal error",
        "Database test has been invalidated because checkpointing failed.",
        "IO Error: Could not write file \"x\": No space left on device",
        "could not allocate block of size 1 KiB",
        "TransactionContext Error: Failed to commit: Conflict on update!",
        "NOT NULL constraint failed: t.n",
    ] {
        let one = || batch(vec![("k", texts(&[words])), ("n", Arc::new(Int32Array::from(vec![1])))]);
        put(&mut client, "t", &[one()], "append").await.unwrap();
        let again = put(&mut client, "t", &[one()], "append").await.unwrap_err();
        assert_eq!(again.kind(), Kind::Conflict, "{again}");
        assert!(again.message().contains(&words[..20]), "{again}");
        let quoted = words.replace('\'', "''");
        for (sql, kind) in [
            (format!("INSERT INTO t VALUES ('{quoted}', 1)"), Kind::Conflict),
            (format!("SELECT '{quoted}'::INTEGER"), Kind::Invalid),
            (format!("SELECT error('{quoted}')"), Kind::Invalid),
            (format!("FROM \"{}\"", words.replace('"', "\"\"")), Kind::NotFound),
        ] {
            let error = query_error(&mut client, &sql).await;
            assert_eq!(error.kind(), kind, "{sql}: {error}");
        }
    }
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 6);
}

/// Puts that fail and had made their table take nothing along of those that were acknowledged meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_put_leaves_the_rows_of_others() {
    let server = TestServer::start().await;
    for round in 0..8 {
        let name = format!("t{round}");
        let mut tasks = Vec::new();
        for number in 0..8_i64 {
            let (mut client, name) = (server.client().await, name.clone());
            tasks.push(tokio::spawn(async move {
                // Large ones have a writer of their own, small ones share a commit.
                let rows = if number % 4 < 2 { 200_000 } else { 3 };
                let items: Vec<Result<RecordBatch>> = vec![Ok(wells(number * 1_000_000, rows))];
                let items = stream::iter(items);
                if number % 2 == 0 {
                    let broken = stream::iter([Err(pintail::error::Error::invalid("broken on purpose"))]);
                    let items = items.chain(broken);
                    client.put(&table(&name), common::well_schema(), items, &[]).await.unwrap_err();
                    return 0;
                }
                match client.put(&table(&name), common::well_schema(), items, &[]).await {
                    Ok(answer) => answer.rows as i64,
                    // It met the one that took its table back, and can be sent again.
                    Err(error) => {
                        assert_eq!(error.kind(), Kind::Aborted, "{error}");
                        0
                    }
                }
            }));
        }
        let mut acknowledged = 0;
        for task in tasks {
            acknowledged += task.await.unwrap();
        }
        let mut client = server.client().await;
        let stored = if acknowledged == 0 {
            0
        } else {
            number(&mut client, &format!("SELECT count(*) FROM {name}")).await
        };
        assert_eq!(stored, acknowledged, "round {round}");
    }
}

/// What a table looks like is looked up where the rows go in: a change beside an open put refuses it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_changes_under_a_put_refuses_it() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let doubles = |from: i64, count: i64| {
        // ALTER rounds what is there: not up to the first number of the next batch.
        let values = (from..from + count).map(|n| n as f64 + 0.25);
        batch(vec![("a", Arc::new(Float64Array::from_iter_values(values)))])
    };
    for (commit, change) in [
        ("stream", "ALTER TABLE t ALTER a TYPE INTEGER"),
        ("progress", "ALTER TABLE t ALTER a TYPE INTEGER"),
        ("stream", "CREATE OR REPLACE TABLE t (a INTEGER)"),
        ("progress", "CREATE OR REPLACE TABLE t (a INTEGER)"),
    ] {
        run(&mut client, "CREATE OR REPLACE TABLE t (a DOUBLE)").await;
        let headers = [("pintail-commit", commit), ("pintail-mode", "append")];
        let open = OpenPut::begin(&server, "t", doubles(0, 300_000), &headers).await;
        streams(&mut client, 1).await;
        if commit == "progress" {
            let until = Instant::now() + Duration::from_secs(10);
            while number(&mut client, "SELECT count(*) FROM t").await == 0 {
                assert!(Instant::now() < until, "no slice was committed");
            }
        }
        // It may meet a slice that is being committed; the change is tried until it goes through.
        let until = Instant::now() + Duration::from_secs(10);
        while let Err(error) = rows(&mut client, change).await {
            assert!(error.kind() == Kind::Aborted && Instant::now() < until, "{change}: {error}");
        }
        open.send(doubles(300_000, 300_000)).await;
        let ended = open.end().await;
        streams(&mut client, 0).await;
        let stored = number(&mut client, "SELECT count(*) FROM t WHERE a >= 300000").await;
        match ended {
            // The first acknowledgement, of a slice before the change.
            Ok(answer) => assert!(commit == "progress" && answer.rows < 300_000, "{change}: {answer:?}"),
            Err(error) => {
                let is_told = matches!(error.kind(), Kind::Aborted | Kind::Invalid);
                assert!(is_told, "{commit}, {change}: {error}");
            }
        }
        assert_eq!(stored, 0, "{commit}, {change}");
    }
}

/// Small puts beside CREATE OR REPLACE: no value of theirs is rounded into another type, none that was acknowledged in
/// the last table is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_puts_beside_create_or_replace_alter_no_value() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    run(&mut client, "CREATE TABLE t (a DOUBLE)").await;
    let until = Instant::now() + Duration::from_secs(4);
    let mut writers = Vec::new();
    for _ in 0..4 {
        let mut client = server.client().await;
        writers.push(tokio::spawn(async move {
            let mut refused = 0;
            while Instant::now() < until {
                let one = batch(vec![("a", Arc::new(Float64Array::from(vec![0.5])))]);
                if let Err(error) = put(&mut client, "t", &[one], "append").await {
                    assert!(matches!(error.kind(), Kind::Invalid | Kind::Aborted), "{error}");
                    refused += 1;
                }
            }
            refused
        }));
    }
    let mut turns = 0;
    while Instant::now() < until {
        let kind = ["INTEGER", "DOUBLE"][turns % 2];
        match rows(&mut client, &format!("CREATE OR REPLACE TABLE t (a {kind})")).await {
            Ok(_) => turns += 1,
            Err(error) => assert_eq!(error.kind(), Kind::Aborted, "{error}"),
        }
        assert_eq!(
            number(&mut client, "SELECT count(*) FROM t WHERE a <> 0.5").await,
            0,
            "a value was rounded"
        );
    }
    let mut refused = 0;
    for writer in writers {
        refused += writer.await.unwrap();
    }
    assert!(turns > 10 && refused > 0, "{turns} turns, {refused} refused: nothing met");
}

async fn declared(text: &str) -> TestServer {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("schemas");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("t.toml"), text).unwrap();
    TestServer::start_in(directory, |config| config.schemas.dir = Some(folder)).await
}

const KEYED: &str = "primary_key = [\"id\"]\nmode = \"lenient\"\non_new_column = \"add\"\n[[field]]\nname = \"id\"\ntype = \"int64\"\n";

/// Two shapes of one group bring the same new column with different types: the second is refused or fits, and no value
/// is altered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_new_column_in_two_shapes() {
    let server = declared(KEYED).await;
    for round in 0..10_i64 {
        let name = format!("c{round}");
        let mut tasks = Vec::new();
        for number in 0..6_i64 {
            let (mut client, name) = (server.client().await, name.clone());
            tasks.push(tokio::spawn(async move {
                let id = round * 100 + number;
                let column: ArrayRef = if number % 2 == 0 {
                    Arc::new(Int32Array::from(vec![7]))
                } else {
                    Arc::new(Float64Array::from(vec![0.5]))
                };
                let one = batch(vec![("id", ids(&[id])), (&name, column)]);
                put(&mut client, "t", &[one], "append").await.is_ok()
            }));
        }
        let mut stored = 0;
        for task in tasks {
            stored += i64::from(task.await.unwrap());
        }
        let mut client = server.client().await;
        let sql = format!("SELECT count(*) FROM t WHERE id // 100 = {round} AND {name} IN (7, 0.5)");
        assert_eq!(number(&mut client, &sql).await, stored, "round {round}");
    }
}

/// Two puts that replace an empty declared table leave the rows of one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replacing_puts_take_turns() {
    let server = declared(KEYED).await;
    let mut client = server.client().await;
    for round in 0..10_i64 {
        run(&mut client, "DELETE FROM t").await;
        let mut tasks = Vec::new();
        for number in 0..4_i64 {
            let mut client = server.client().await;
            tasks.push(tokio::spawn(async move {
                let first = 1000 * (4 * round + number);
                let all = batch(vec![("id", ids(&(first..first + 10).collect::<Vec<_>>()))]);
                put(&mut client, "t", &[all], "replace").await.unwrap();
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 10, "round {round}");
        assert_eq!(number(&mut client, "SELECT count(DISTINCT id // 1000) FROM t").await, 1, "round {round}");
    }
}

/// A put that replaces a table keeps its key, indexes, defaults and triggers, or is refused.
#[tokio::test]
async fn replace_keeps_what_a_table_has() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    run(&mut client, "CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT DEFAULT 5)").await;
    run(&mut client, "CREATE INDEX i ON t (n)").await;
    run(&mut client, "INSERT INTO t VALUES (1, 1), (2, 2)").await;
    let same = batch(vec![("id", ids(&[2, 3])), ("n", ids(&[20, 30]))]);
    put(&mut client, "t", &[same], "replace").await.unwrap();
    assert_eq!(number(&mut client, "SELECT sum(n) FROM t").await, 50);
    let other = batch(vec![("id", ids(&[1])), ("m", ids(&[1]))]);
    let refused = put(&mut client, "t", &[other], "replace").await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Conflict, "{refused}");
    for part in ["PRIMARY KEY(id)", "index i", "default of column n", "DROP TABLE"] {
        assert!(refused.message().contains(part), "{refused}");
    }
    let duplicate = query_error(&mut client, "INSERT INTO t VALUES (2, 1)").await;
    assert_eq!(duplicate.kind(), Kind::Conflict, "{duplicate}");
    assert_eq!(number(&mut client, "SELECT count(*) FROM duckdb_indexes() WHERE index_name = 'i'").await, 1);
    // A plain table becomes what the stream says.
    put(&mut client, "p", &[batch(vec![("a", ids(&[1]))])], "create").await.unwrap();
    put(&mut client, "p", &[batch(vec![("b", texts(&["x"]))])], "replace").await.unwrap();
    assert_eq!(number(&mut client, "SELECT count(b) FROM p").await, 1);
}

/// `ignore` goes by the primary key: rows with NULL in another UNIQUE column are different rows.
#[tokio::test]
async fn ignore_counts_by_the_primary_key() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    run(&mut client, "CREATE TABLE t (id BIGINT PRIMARY KEY, u BIGINT UNIQUE)").await;
    let nulls = |from: i64, count: i64| {
        let u: ArrayRef = Arc::new(Int64Array::from_iter((0..count).map(|_| None::<i64>)));
        batch(vec![("id", ids(&(from..from + count).collect::<Vec<_>>())), ("u", u)])
    };
    for (from, stored) in [(0, 5), (3, 8)] {
        put_with(&mut client, "t", &[nulls(from, 5)], &[("pintail-on-conflict", "ignore")]).await.unwrap();
        assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, stored);
    }
}

/// An INSERT that shares commits, because no SELECT is in it, and runs for seconds.
const LONG_INSERT: &str = "VALUES (list_sum(list_transform(range(6000000), lambda x: x % 7)))";

/// Starts [`LONG_INSERT`] into `table` and waits until the server says that it runs.
async fn long_insert(server: &TestServer, table: &str) -> tokio::task::JoinHandle<()> {
    let mut client = server.client().await;
    let mut other = server.client().await;
    let sql = format!("INSERT INTO {table} {LONG_INSERT}");
    let slow = tokio::spawn(async move { run(&mut other, &sql).await });
    while client.action("pintail.status").await.unwrap()["query"]["running"] == 0 && !slow.is_finished() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    slow
}

/// A long statement into one table holds up no small INSERT into another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_inserts_wait_for_their_own_table_alone() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    run(&mut client, "CREATE TABLE slow (a BIGINT)").await;
    run(&mut client, "CREATE TABLE quick (a BIGINT)").await;
    let mut rounds = 0;
    let mut is_met = false;
    // On a busy machine the long statement may be over too soon.
    while !is_met && rounds < 20 {
        rounds += 1;
        let slow = long_insert(&server, "slow").await;
        run(&mut client, "INSERT INTO quick VALUES (1)").await;
        is_met = !slow.is_finished();
        slow.await.unwrap();
    }
    assert!(is_met, "the small INSERT came back after the long one, {rounds} times");
    assert_eq!(number(&mut client, "SELECT count(*) FROM quick").await, rounds);
    assert_eq!(number(&mut client, "SELECT count(*) FROM slow").await, rounds);
}

/// A small INSERT whose client has given up before its commit began is not stored later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_insert_can_be_taken_back() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    run(&mut client, "CREATE TABLE t (a BIGINT)").await;
    let headers = [("pintail-timeout-ms", "30".to_owned())];
    let (mut stored, mut taken_back) = (0, 0);
    // One that comes before the long statement has taken its table is stored, and says so.
    for _ in 0..20 {
        let slow = long_insert(&server, "t").await;
        for _ in 0..3 {
            let outcome = match client.query("INSERT INTO t VALUES (-1)", &headers).await {
                Ok(result) => result.batches.try_collect::<Vec<_>>().await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(_) => stored += 1,
                Err(error) if error.kind() == Kind::Deadline => taken_back += 1,
                Err(error) => panic!("{error}"),
            }
        }
        slow.await.unwrap();
        if taken_back >= 3 {
            break;
        }
    }
    run(&mut client, "INSERT INTO t VALUES (0)").await;
    assert!(taken_back >= 3, "{taken_back} were taken back");
    assert_eq!(number(&mut client, "SELECT count(*) FROM t WHERE a = -1").await, stored);
}

/// A quiet put that replaces rows keeps no checkpoint off; a transaction that does is named, and ends after a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_keeps_checkpoints_off_is_named_and_ends() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("schemas");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("t.toml"), KEYED).unwrap();
    let server = TestServer::start_in(directory, |config| {
        config.schemas.dir = Some(folder);
        config.database.checkpoint_bytes = pintail::config::Bytes(64 << 10);
        config.database.checkpoint_hold = "1 s".parse().unwrap();
    })
    .await;
    let mut client = server.client().await;
    put(&mut client, "t", &[batch(vec![("id", ids(&[1, 2, 3]))])], "append").await.unwrap();
    let quiet =
        OpenPut::begin(&server, "t", batch(vec![("id", ids(&[7]))]), &[("pintail-mode", "replace")]).await;
    streams(&mut client, 1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    client.action("pintail.checkpoint").await.unwrap();
    quiet.end().await.unwrap();
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 1);

    // An upsert stream that stays open holds the engine's lock.
    let many = |from: i64| batch(vec![("id", ids(&(from..from + 130_000).collect::<Vec<_>>()))]);
    let upsert = OpenPut::begin(&server, "t", many(0), &[("pintail-on-conflict", "replace")]).await;
    upsert.send(many(200_000)).await;
    upsert.send(many(400_000)).await;
    let until = Instant::now() + Duration::from_secs(20);
    let held = loop {
        let status = client.action("pintail.status").await.unwrap();
        if let Some(hold) = status["checkpoint"]["kept_off_by"].get(0) {
            break hold["what"].as_str().unwrap().to_owned();
        }
        assert!(Instant::now() < until, "nothing is named: {status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(held, "a put into table t");
    // The log grows beside it, and after a second the stream has to end.
    put(&mut client, "other", &common::well_batches(20_000, 2_000), "create").await.unwrap();
    let ended =
        tokio::time::timeout(Duration::from_secs(30), upsert.answer).await.unwrap().unwrap().unwrap_err();
    assert_eq!(ended.kind(), Kind::Aborted, "{ended}");
    assert!(ended.message().contains("database.checkpoint_hold"), "{ended}");
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 1);
}

fn options(directory: &std::path::Path) -> Options {
    Options {
        path: directory.join("test.duckdb").display().to_string(),
        memory_limit_bytes: 1 << 30,
        threads: 2,
        temp_directory: None,
        max_temp_bytes: 1 << 30,
        checkpoint_bytes: 1 << 30,
        checkpoint_hold: Duration::from_secs(300),
        result_buffer_bytes: 8 << 20,
        icu_extension: None,
    }
}

/// After a fatal error the database is opened anew in place, with everything that was committed.
#[test]
fn a_lost_database_is_opened_anew() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::open(options(directory.path())).unwrap();
    for round in 1..=3_u64 {
        let connection = database.connection().unwrap();
        connection.execute("CREATE TABLE IF NOT EXISTS t (a BIGINT)").unwrap();
        connection.execute("INSERT INTO t SELECT range FROM range(1000)").unwrap();
        drop(connection);
        let other = database.connection().unwrap();
        // The engine's own fail point: the checkpoint ends with a fatal error, as a failing disk would end it.
        other.execute("SET GLOBAL debug_checkpoint_abort = 'before_header'").unwrap();
        let fatal = database.checkpoint().unwrap_err();
        assert_eq!(fatal.kind(), Kind::Unavailable, "{fatal}");
        assert!(database.is_lost());
        assert_eq!(database.connection().err().map(|error| error.kind()), Some(Kind::Unavailable));
        // As long as a connection is in use, it cannot be.
        let busy = database.reopen(Duration::from_millis(50)).unwrap_err();
        assert_eq!(busy.kind(), Kind::Unavailable, "{busy}");
        drop(other);
        database.reopen(Duration::from_secs(5)).unwrap();
        assert!(!database.is_lost());
        let connection = database.connection().unwrap();
        let changed = connection.execute(&format!(
            "INSERT INTO t SELECT a FROM t WHERE (SELECT count(*) FROM t) = {} LIMIT 0",
            1000 * round
        ));
        assert_eq!(changed.unwrap(), 0);
        let counted =
            connection.execute(&format!("DELETE FROM t WHERE (SELECT count(*) FROM t) <> {}", 1000 * round));
        assert_eq!(counted.unwrap(), 0, "round {round}: rows are missing or doubled");
    }
}
