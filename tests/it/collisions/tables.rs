//! Puts beside changes of their table, and beside each other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array};
use pintail::error::Kind;

use super::{KEYED, OpenPut, run, texts};
use crate::support::batches::{batch, ids};
use crate::support::calls::{number, put, put_with, query_error, rows, wait_for_streams};
use crate::support::declarations::serve;
use crate::support::server::TestServer;

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
        wait_for_streams(&mut client, 1).await;
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
        wait_for_streams(&mut client, 0).await;
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

/// Two shapes of one group bring the same new column with different types: the second is refused or fits, and no value
/// is altered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_new_column_in_two_shapes() {
    let server = serve(&[("t", KEYED)]).await;
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
    let server = serve(&[("t", KEYED)]).await;
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
