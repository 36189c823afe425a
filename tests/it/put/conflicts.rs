//! Rows that meet a key, and small puts and statements that share a commit: everybody hears of their own rows.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use pintail::client::Client;
use pintail::error::Kind;

use crate::support::calls::{number, put_with, rows};
use crate::support::process::{Process, free_port};
use crate::support::server::{TestServer, http_get};

fn keyed(ids: &[i64], text: &str) -> RecordBatch {
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("v", DataType::Utf8, true),
    ]));
    let texts = StringArray::from_iter_values(ids.iter().map(|_| text));
    RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(ids.to_vec())), Arc::new(texts)]).unwrap()
}

/// Rows whose key is known are refused, left out or put in its place, and counted.
#[tokio::test]
async fn conflicts_are_handled_and_counted() {
    for group_commit_ms in [0, 2] {
        let server = TestServer::start_with(|config| config.ingest.group_commit_ms = group_commit_ms).await;
        let mut client = server.client().await;
        rows(&mut client, "CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR, w INTEGER DEFAULT 5)")
            .await
            .unwrap();
        rows(&mut client, "CREATE INDEX vi ON t (v)").await.unwrap();
        let put = async |client: &mut Client, batches: &[RecordBatch], choice: &'static str| {
            put_with(client, "t", batches, &[("pintail-on-conflict", choice)]).await
        };
        put(&mut client, &[keyed(&[1, 2, 3], "old")], "error").await.unwrap();
        let refused =
            put(&mut client, &[keyed(&[4], "new"), keyed(&[5, 4], "new")], "error").await.unwrap_err();
        assert!(refused.message().contains("row 3 of the stream"), "{refused}");
        assert!(refused.message().contains("first in row 1"), "{refused}");
        let done = put(&mut client, &[keyed(&[3, 4, 4, 5], "new")], "ignore").await.unwrap();
        assert_eq!((done.rows, done.inserted, done.ignored, done.replaced), (4, Some(2), Some(2), Some(0)));
        assert_eq!(number(&mut client, "SELECT count(*) FROM t WHERE v = 'old'").await, 3);
        rows(&mut client, "UPDATE t SET w = 9").await.unwrap();
        let done =
            put(&mut client, &[keyed(&[3, 6], "newer"), keyed(&[6, 7], "newest")], "replace").await.unwrap();
        assert_eq!((done.rows, done.inserted, done.ignored, done.replaced), (4, Some(2), Some(0), Some(2)));
        assert_eq!(number(&mut client, "SELECT count(*) FROM t WHERE id = 6 AND v = 'newest'").await, 1);
        // A replaced row is a new one: what the stream does not bring has its default.
        assert_eq!(number(&mut client, "SELECT count(*) FROM t WHERE id = 3 AND w = 5").await, 1);
        assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 7);
    }
}

/// Many clients' small puts share commits; one client's bad rows do not fail the others', and all are stored once.
#[tokio::test]
async fn small_puts_share_commits_and_fail_alone() {
    // Metrics are the process's.
    let directory = tempfile::tempdir().unwrap();
    let server = Process::start(directory.path(), free_port(), &[]);
    let mut client = Client::connect(&server.uri()).await.unwrap();
    rows(&mut client, "CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR)").await.unwrap();
    let mut writers = Vec::new();
    for writer in 0..8_i64 {
        let mut client = Client::connect(&server.uri()).await.unwrap();
        writers.push(tokio::spawn(async move {
            let mut stored = 0;
            for round in 0..50 {
                // Writer 0 sends every key twice.
                let id = if writer == 0 { round / 2 } else { writer * 1000 + round };
                match put_with(&mut client, "t", &[keyed(&[id], "x")], &[]).await {
                    Ok(answer) => stored += answer.rows,
                    Err(error) => {
                        assert!(writer == 0 && round % 2 == 1, "{error}");
                        assert_eq!(error.kind(), Kind::Conflict, "{error}");
                        assert!(error.message().contains("row 1 of the stream"), "{error}");
                    }
                }
            }
            stored
        }));
    }
    let mut stored = 0;
    for writer in writers {
        stored += writer.await.unwrap();
    }
    assert_eq!(stored, 7 * 50 + 25);
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 7 * 50 + 25);
    let (_, metrics) = http_get(&server.http(), "/metrics").await;
    assert!(metrics.contains("pintail_group_commit_puts"), "no group was committed");
}

/// INSERT statements of many clients share commits; one that fails does so alone, and the counts are each one's own.
#[tokio::test]
async fn small_statements_share_commits_and_fail_alone() {
    use arrow_flight::sql::client::FlightSqlServiceClient;
    let server = TestServer::start().await;
    let mut client = server.client().await;
    rows(&mut client, "CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR)").await.unwrap();
    let mut writers = Vec::new();
    for writer in 0..8_i64 {
        let mut client = server.client().await;
        writers.push(tokio::spawn(async move {
            let mut sql = FlightSqlServiceClient::new_from_inner(client.inner().clone());
            for round in 0..30 {
                let id = writer * 1000 + round * 2;
                let insert = format!("INSERT INTO t VALUES ({id}, 'a'), ({}, 'b')", id + 1);
                assert_eq!(sql.execute_update(insert, None).await.unwrap(), 2);
                if writer == 0 {
                    let again = format!("INSERT INTO t VALUES ({}, 'c'), ({id}, 'd')", id + 500_000);
                    let refused = sql.execute_update(again, None).await.unwrap_err();
                    assert!(refused.to_string().contains("uplicate key"), "{refused}");
                }
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 8 * 60);
    assert_eq!(number(&mut client, "SELECT count(*) FROM t WHERE v IN ('c', 'd')").await, 0);
}
