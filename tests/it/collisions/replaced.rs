//! Tables that are dropped or replaced while others put rows into them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::Int64Array;
use arrow_flight::Ticket;
use futures::TryStreamExt;
use pintail::client::Client;
use pintail::error::Kind;
use tonic::{Code, Status};

use super::run;
use crate::support::batches::batch;
use crate::support::calls::{number, put, rows};
use crate::support::server::TestServer;
use crate::support::session::{COMMIT, ROLLBACK, begin, end, statement};

async fn put_one(client: &mut Client, table: &str, n: i64) -> pintail::error::Result<()> {
    let one = batch(vec![("n", Arc::new(Int64Array::from(vec![n])))]);
    put(client, table, &[one], "append").await.map(|_| ())
}

/// A table that is replaced by itself, again and again, keeps every row that was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_table_keeps_acknowledged_rows() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    run(&mut client, "CREATE TABLE t (n BIGINT)").await;
    let until = Instant::now() + Duration::from_secs(3);
    let mut writers = Vec::new();
    for writer in 0..4_i64 {
        let mut client = server.client().await;
        writers.push(tokio::spawn(async move {
            let (mut n, mut acknowledged) = (writer << 32, 0);
            while Instant::now() < until {
                n += 1;
                let sql = format!("INSERT INTO main.T VALUES ({n})");
                let stored = match writer {
                    0 => rows(&mut client, &sql).await.map(|_| ()),
                    _ => put_one(&mut client, "t", n).await,
                };
                match stored {
                    Ok(()) => acknowledged += 1,
                    Err(error) => assert_eq!(error.kind(), Kind::Aborted, "{error}"),
                }
            }
            acknowledged
        }));
    }
    let mut turns = 0;
    while Instant::now() < until {
        match rows(&mut client, "CREATE OR REPLACE TABLE t AS SELECT * FROM t").await {
            Ok(_) => turns += 1,
            Err(error) => assert_eq!(error.kind(), Kind::Aborted, "{error}"),
        }
    }
    let mut acknowledged = 0;
    for writer in writers {
        acknowledged += writer.await.unwrap();
    }
    assert!(turns > 5 && acknowledged > 50, "{turns} turns, {acknowledged} rows: nothing met");
    assert_eq!(number(&mut client, "SELECT count(DISTINCT n) FROM t").await, acknowledged);
}

async fn in_transaction(client: &mut Client, id: &bytes::Bytes, sql: &str) -> Result<(), Status> {
    let info = client.inner().get_flight_info(statement(sql, Some(id))).await?.into_inner();
    let ticket = info.endpoint[0].ticket.clone().unwrap_or_else(|| Ticket::new(""));
    client.inner().do_get(ticket).await?.into_inner().try_collect::<Vec<_>>().await.map(|_| ())
}

/// A transaction that drops or replaces a table over rows which came after its snapshot is refused, and they stay; one whose
/// tables nobody else wrote to is not, and neither is a rename.
#[tokio::test]
async fn a_transaction_drops_no_rows_that_it_has_not_seen() {
    let server = TestServer::start().await;
    let (mut client, mut other) = (server.client().await, server.client().await);
    let replaced: &[&str] = &["CREATE OR REPLACE TABLE t AS FROM t"];
    let copied: &[&str] = &["CREATE TABLE u AS FROM t", "DROP TABLE t", "ALTER TABLE u RENAME TO t"];
    let set_aside: &[&str] = &[
        "CREATE TABLE u AS FROM t",
        "ALTER TABLE t RENAME TO was",
        "ALTER TABLE u RENAME TO t",
        "DROP TABLE was",
    ];
    let renamed: &[&str] =
        &["ALTER TABLE t RENAME TO u", "ALTER TABLE u RENAME TO t", "DROP TABLE IF EXISTS was"];
    for (statements, writes_to, expected) in [
        (replaced, "t", Code::Aborted),
        (copied, "t", Code::Aborted),
        (set_aside, "t", Code::Aborted),
        (set_aside, "aside", Code::Ok),
        (copied, "aside", Code::Ok),
        (renamed, "t", Code::Ok),
    ] {
        run(&mut other, "CREATE OR REPLACE TABLE t AS SELECT 1::BIGINT AS n").await;
        run(&mut other, "CREATE OR REPLACE TABLE aside (n BIGINT)").await;
        let id = begin(&mut client).await;
        in_transaction(&mut client, &id, "FROM t").await.unwrap();
        put_one(&mut other, writes_to, 2).await.unwrap();
        run(&mut other, &format!("UPDATE {writes_to} SET n = n WHERE n = 2")).await;
        let mut outcome = Ok(());
        for sql in statements {
            outcome = in_transaction(&mut client, &id, sql).await;
            if outcome.is_err() {
                break;
            }
        }
        let ended = if outcome.is_ok() { COMMIT } else { ROLLBACK };
        let code = outcome
            .and(end(&mut client, &id, ended).await)
            .map_or_else(|status| status.code(), |()| Code::Ok);
        assert_eq!(code, expected, "{statements:?}, rows into {writes_to}");
        let sum = number(&mut other, &format!("SELECT count(*) FROM {writes_to} WHERE n = 2")).await;
        assert_eq!(sum, 1, "{statements:?}, rows into {writes_to}");
        run(&mut other, "DROP TABLE IF EXISTS was").await;
    }
}

/// Dropping a table takes whatever rows there are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drop_by_itself_is_meant() {
    let server = TestServer::start().await;
    let (mut client, mut other) = (server.client().await, server.client().await);
    for n in 0..20 {
        run(&mut client, "CREATE TABLE t (n BIGINT)").await;
        put_one(&mut other, "t", n).await.unwrap();
        run(&mut client, "DROP TABLE t").await;
    }
}
