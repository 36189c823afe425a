//! Commits that end early, fail, wait for each other, or lose the database.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Int32Array, RecordBatch};
use futures::{StreamExt, TryStreamExt, stream};
use pintail::error::{Kind, Result};

use super::{KEYED, OpenPut, run, texts};
use crate::support::batches::{batch, ids, well_batches, well_schema, wells};
use crate::support::calls::{number, put, query_error, table, wait_for_streams};
use crate::support::database::{file, open};
use crate::support::declarations::serve_with;
use crate::support::server::TestServer;

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
                    client.put(&table(&name), well_schema(), items, &[]).await.unwrap_err();
                    return 0;
                }
                match client.put(&table(&name), well_schema(), items, &[]).await {
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
    let server = serve_with(&[("t", KEYED)], |config| {
        config.database.checkpoint_bytes = pintail::config::Bytes(64 << 10);
        config.database.checkpoint_hold = "1 s".parse().unwrap();
    })
    .await;
    let mut client = server.client().await;
    put(&mut client, "t", &[batch(vec![("id", ids(&[1, 2, 3]))])], "append").await.unwrap();
    let quiet =
        OpenPut::begin(&server, "t", batch(vec![("id", ids(&[7]))]), &[("pintail-mode", "replace")]).await;
    wait_for_streams(&mut client, 1).await;
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
    put(&mut client, "other", &well_batches(20_000, 2_000), "create").await.unwrap();
    let ended =
        tokio::time::timeout(Duration::from_secs(30), upsert.answer).await.unwrap().unwrap().unwrap_err();
    assert_eq!(ended.kind(), Kind::Aborted, "{ended}");
    assert!(ended.message().contains("database.checkpoint_hold"), "{ended}");
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 1);
}

/// After a fatal error the database is opened anew in place, with everything that was committed.
#[test]
fn a_lost_database_is_opened_anew() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(file(directory.path()));
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
