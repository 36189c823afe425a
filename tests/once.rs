//! Exactly once over a real socket: keys, producers, progress, shared commits, and what each mistake is answered with.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is a failed test")]

mod common;

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::{FlightData, FlightDescriptor};
use common::{TestServer, number, put_with, query_error, rows, wells};
use futures::{StreamExt, TryStreamExt, stream};
use pintail::client::{Client, from_status};
use pintail::error::{Kind, Result};
use serde_json::{Value, json};
use tonic::Request;

/// The messages of a put, each batch with its `app_metadata`.
async fn messages(name: &str, batches: &[(RecordBatch, Value)]) -> Vec<FlightData> {
    let descriptor = FlightDescriptor::new_path(vec![name.to_owned()]);
    let schema = batches.first().map_or_else(|| wells(0, 0).schema(), |(batch, _)| batch.schema());
    let items: Vec<_> = batches.iter().map(|(batch, _)| Ok(batch.clone())).collect();
    let mut messages: Vec<FlightData> = FlightDataEncoderBuilder::new()
        .with_schema(schema)
        .with_flight_descriptor(Some(descriptor))
        .with_max_flight_data_size(usize::MAX)
        .build(stream::iter(items))
        .try_collect()
        .await
        .unwrap();
    assert_eq!(messages.len(), batches.len() + 1);
    for (message, (_, metadata)) in messages[1..].iter_mut().zip(batches) {
        if !metadata.is_null() {
            message.app_metadata = metadata.to_string().into();
        }
    }
    messages
}

/// Sends numbered batches; every answer, or the first error.
async fn produce(
    client: &mut Client,
    name: &str,
    producer: &str,
    epoch: u64,
    batches: &[(RecordBatch, Value)],
    more: &[(&'static str, &'static str)],
) -> Result<Vec<Value>> {
    let mut request = Request::new(stream::iter(messages(name, batches).await));
    request.metadata_mut().insert("pintail-producer", producer.parse().unwrap());
    request.metadata_mut().insert("pintail-epoch", epoch.to_string().parse().unwrap());
    for (header, value) in more {
        request.metadata_mut().insert(*header, value.parse().unwrap());
    }
    let answers = client.inner().do_put(request).await.map_err(from_status)?.into_inner();
    let answers: Vec<_> = answers.map_err(from_status).try_collect().await?;
    Ok(answers.iter().map(|answer| serde_json::from_slice(&answer.app_metadata).unwrap()).collect())
}

fn seq(number: u64) -> Value {
    json!({ "seq": number })
}

async fn status(client: &mut Client, producer: &str) -> Value {
    client.action_with("pintail.ingest_status", json!({ "producer": producer }).to_string()).await.unwrap()
}

/// A stream sent again under its key is not stored again, is answered with the first answer, also after a restart.
#[tokio::test]
async fn a_key_is_applied_once() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let key = [("pintail-idempotency-key", "load-1")];
    for size in [10, 200_000] {
        let name = format!("t{size}");
        let key = [("pintail-idempotency-key", name.as_str())];
        let batches = [wells(0, size), wells(size as i64, 5)];
        let first = put_with(&mut client, &name, &batches, &key).await.unwrap();
        assert_eq!((first.rows, first.durable, first.duplicate), (size as u64 + 5, true, false));
        let again = put_with(&mut client, &name, &batches, &key).await.unwrap();
        assert_eq!((again.rows, again.durable, again.duplicate), (size as u64 + 5, true, true));
        assert_eq!(number(&mut client, &format!("SELECT count(*) FROM {name}")).await, size as i64 + 5);
        let refused = put_with(&mut client, &name, &[wells(7, 10)], &key).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Exists, "{refused}");
        let refused = put_with(&mut client, "elsewhere", &batches, &key).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Exists, "{refused}");
    }
    put_with(&mut client, "t", &[wells(0, 10)], &key).await.unwrap();
    let directory = server.stop().await;
    let server = TestServer::start_in(directory, |_| {}).await;
    let mut client = server.client().await;
    let again = put_with(&mut client, "t", &[wells(0, 10)], &key).await.unwrap();
    assert!(again.duplicate && again.rows == 10);
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 10);
}

/// Of two streams with one key at the same time, one is applied and the other is told so.
#[tokio::test]
async fn a_key_is_applied_once_at_the_same_time() {
    let server = TestServer::start().await;
    let mut puts = Vec::new();
    for _ in 0..8 {
        let mut client = server.client().await;
        puts.push(tokio::spawn(async move {
            put_with(&mut client, "t", &[wells(0, 5)], &[("pintail-idempotency-key", "k")]).await.unwrap()
        }));
    }
    let mut new = 0;
    for put in puts {
        new += usize::from(!put.await.unwrap().duplicate);
    }
    assert_eq!(new, 1);
    assert_eq!(number(&mut server.client().await, "SELECT count(*) FROM t").await, 5);
}

/// A stream that failed has not used its key up.
#[tokio::test]
async fn a_failed_stream_leaves_its_key_free() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    rows(&mut client, "CREATE TABLE t (id BIGINT PRIMARY KEY)").await.unwrap();
    rows(&mut client, "INSERT INTO t VALUES (3)").await.unwrap();
    let ids = |from: i64| {
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
        RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from_iter_values(from..from + 3))]).unwrap()
    };
    let key = [("pintail-idempotency-key", "k")];
    let refused = put_with(&mut client, "t", &[ids(2)], &key).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Conflict, "{refused}");
    for part in ["table t", "row 2 of the stream", "(\"id\") = (3)", "in the table"] {
        assert!(refused.message().contains(part), "{refused}");
    }
    let done = put_with(&mut client, "t", &[ids(10)], &key).await.unwrap();
    assert!(!done.duplicate);
}

#[tokio::test]
async fn keys_and_producers_that_cannot_be_are_refused() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let long = "k".repeat(257);
    for (headers, part) in [
        (vec![("pintail-idempotency-key", "")], "1 to 256 bytes"),
        (vec![("pintail-idempotency-key", long.as_str())], "found 257"),
        (vec![("pintail-producer", "")], "1 to 256 bytes"),
        (vec![("pintail-epoch", "1")], "pintail-producer"),
        (vec![("pintail-producer", "p"), ("pintail-epoch", "-1")], "whole number"),
        (vec![("pintail-producer", "p"), ("pintail-epoch", "99999999999999999999")], "whole number"),
        (vec![("pintail-producer", "p"), ("pintail-idempotency-key", "k")], "send one of them"),
        (vec![("pintail-producer", "p")], "{\"seq\": n}"),
        (vec![("pintail-commit", "sometimes")], "stream or progress"),
        (vec![("pintail-on-conflict", "merge")], "error, ignore or replace"),
        (vec![("pintail-on-conflict", "replace")], "no primary key"),
    ] {
        let refused = put_with(&mut client, "t", &[wells(0, 1)], &headers).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Invalid, "{headers:?}: {refused}");
        assert!(refused.message().contains(part), "{headers:?}: {refused}");
    }
    for metadata in [Value::Null, json!({}), json!({"seq": -1}), json!({"seq": "1"}), json!({"seq": 1.5})] {
        let refused =
            produce(&mut client, "t", "p", 0, &[(wells(0, 1), metadata.clone())], &[]).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Invalid, "{metadata}: {refused}");
    }
}

/// Numbered batches are stored once each; gaps, other content and old epochs are refused, also after a restart.
#[tokio::test]
async fn a_producers_batches_are_applied_once_and_in_order() {
    for group_commit_ms in [0, 2] {
        let server = TestServer::start_with(|config| config.ingest.group_commit_ms = group_commit_ms).await;
        let mut client = server.client().await;
        assert_eq!(status(&mut client, "p").await["seq"], Value::Null);
        let batch = |n: u64| (wells(n as i64 * 10, 10), seq(n));
        let answers = produce(&mut client, "t", "p", 1, &[batch(0), batch(1)], &[]).await.unwrap();
        assert_eq!(
            answers,
            [json!({"table": "t", "rows": 20, "durable": true, "duplicate": false, "seq": 1})]
        );
        // The acknowledgement was lost: everything again, and one more.
        let answers = produce(&mut client, "t", "p", 1, &[batch(0), batch(1), batch(2)], &[]).await.unwrap();
        assert_eq!(answers[0]["seq"], 2);
        assert_eq!(answers[0]["duplicate"], false);
        let answers = produce(&mut client, "t", "p", 1, &[batch(1), batch(2)], &[]).await.unwrap();
        assert_eq!((&answers[0]["seq"], &answers[0]["duplicate"]), (&json!(2), &json!(true)));
        let gap = produce(&mut client, "t", "p", 1, &[batch(5)], &[]).await.unwrap_err();
        assert_eq!(gap.kind(), Kind::Conflict);
        assert!(gap.message().contains("expected seq 3"), "{gap}");
        let other = produce(&mut client, "t", "p", 1, &[(wells(9, 10), seq(2))], &[]).await.unwrap_err();
        assert_eq!(other.kind(), Kind::Exists, "{other}");
        let directory = server.stop().await;
        let server = TestServer::start_in(directory, |_| {}).await;
        let mut client = server.client().await;
        let answers = produce(&mut client, "t", "p", 2, &[batch(2), batch(3)], &[]).await.unwrap();
        assert_eq!((&answers[0]["seq"], &answers[0]["rows"]), (&json!(3), &json!(20)));
        let other = produce(&mut client, "t", "p", 2, &[(wells(9, 10), seq(2))], &[]).await.unwrap_err();
        assert_eq!(other.kind(), Kind::Exists, "{other}");
        let fenced = produce(&mut client, "t", "p", 1, &[batch(4)], &[]).await.unwrap_err();
        assert_eq!(fenced.kind(), Kind::Aborted);
        assert!(fenced.message().contains("fenced"), "{fenced}");
        let now = status(&mut client, "p").await;
        assert_eq!((&now["seq"], &now["epoch"], &now["rows"]), (&json!(3), &json!(2), &json!(40)));
        assert_eq!(now["tables"]["main.t"]["seq"], 3);
        assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 40);
        assert_eq!(number(&mut client, "SELECT count(DISTINCT id) FROM t").await, 40);
        let fresh = produce(&mut client, "t", "q", 0, &[batch(7)], &[]).await.unwrap_err();
        assert!(fresh.message().contains("expected seq 0 or 1"), "{fresh}");
    }
}

/// A newer instance shuts the older one out while that one's stream is still open, and quiet.
#[tokio::test]
async fn a_newer_epoch_takes_over_at_once() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let first = messages("t", &[(wells(0, 10), seq(0))]).await;
    let (send, receive) = tokio::sync::mpsc::channel(8);
    let mut request = Request::new(tokio_stream::wrappers::ReceiverStream::new(receive));
    request.metadata_mut().insert("pintail-producer", "p".parse().unwrap());
    request.metadata_mut().insert("pintail-epoch", "1".parse().unwrap());
    let mut old = client.clone();
    for message in &first {
        send.send(message.clone()).await.unwrap();
    }
    let old = tokio::spawn(async move {
        let answers = old.inner().do_put(request).await?.into_inner();
        answers.try_collect::<Vec<_>>().await
    });
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let mut new = server.client().await;
    let answers = produce(&mut new, "t", "p", 2, &[(wells(100, 10), seq(0))], &[]).await.unwrap();
    assert_eq!(answers[0]["seq"], 0);
    let refused = from_status(old.await.unwrap().unwrap_err());
    assert_eq!(refused.kind(), Kind::Aborted, "{refused}");
    drop(send);
    assert_eq!(number(&mut client, "SELECT min(id) FROM t").await, 100);
}

/// An epoch counts from the moment its producer comes, also when the server ends before its first batch.
#[tokio::test]
async fn an_epoch_is_durable_before_its_first_batch() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let batch = |n: u64| (wells(n as i64 * 10, 10), seq(n));
    produce(&mut client, "t", "p", 1, &[batch(0)], &[]).await.unwrap();
    produce(&mut client, "t", "p", 5, &[], &[]).await.unwrap();
    produce(&mut client, "t", "q", 3, &[], &[]).await.unwrap();
    let directory = server.stop().await;
    let server = TestServer::start_in(directory, |_| {}).await;
    let mut client = server.client().await;
    for (producer, epoch, next) in [("p", 5, 1), ("q", 3, 0)] {
        let fenced = produce(&mut client, "t", producer, epoch - 1, &[batch(next)], &[]).await.unwrap_err();
        assert!(fenced.kind() == Kind::Aborted && fenced.message().contains("fenced"), "{fenced}");
        let answers = produce(&mut client, "t", producer, epoch, &[batch(next)], &[]).await.unwrap();
        assert_eq!((&answers[0]["seq"], &answers[0]["duplicate"]), (&json!(next), &json!(false)));
    }
    assert_eq!(status(&mut client, "p").await["epoch"], 5);
}

/// Every commit of a progress stream is acknowledged; its error says what is durable.
#[tokio::test]
async fn progress_is_acknowledged_and_a_failure_says_what_is_durable() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let batches =
        messages("t", &[(wells(0, 10), seq(0)), (wells(10, 10), seq(1)), (wells(20, 10), seq(7))]).await;
    let (send, receive) = tokio::sync::mpsc::channel(8);
    let mut request = Request::new(tokio_stream::wrappers::ReceiverStream::new(receive));
    for (name, value) in [("pintail-producer", "p"), ("pintail-commit", "progress")] {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    send.send(batches[0].clone()).await.unwrap();
    send.send(batches[1].clone()).await.unwrap();
    let mut answers = client.inner().do_put(request).await.unwrap().into_inner();
    let ack =
        |answer: arrow_flight::PutResult| -> Value { serde_json::from_slice(&answer.app_metadata).unwrap() };
    let first = ack(answers.next().await.unwrap().unwrap());
    assert_eq!(first, json!({"table": "t", "rows": 10, "durable": true, "duplicate": false, "seq": 0}));
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 10);
    send.send(batches[2].clone()).await.unwrap();
    let second = ack(answers.next().await.unwrap().unwrap());
    assert_eq!((&second["rows"], &second["seq"]), (&json!(20), &json!(1)));
    send.send(batches[3].clone()).await.unwrap();
    let failed = from_status(answers.next().await.unwrap().unwrap_err());
    assert_eq!(failed.kind(), Kind::Conflict);
    assert!(failed.message().contains("20 rows of this stream are durable, up to seq 1"), "{failed}");
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 20);
    // Without numbers: rows are cut where row groups end, and the last answer counts them all.
    let many: Vec<(RecordBatch, Value)> =
        (0..8).map(|n| (wells(n * 100_000, 100_000), Value::Null)).collect();
    let mut request = Request::new(stream::iter(messages("big", &many).await));
    request.metadata_mut().insert("pintail-commit", "progress".parse().unwrap());
    let answers: Vec<_> =
        client.inner().do_put(request).await.unwrap().into_inner().try_collect().await.unwrap();
    assert_eq!(ack(answers.last().unwrap().clone())["rows"], 800_000);
    assert_eq!(number(&mut client, "SELECT count(*) FROM big").await, 800_000);
}

/// A client that never reads its acknowledgements does not hold up its rows.
#[tokio::test]
async fn unread_acknowledgements_do_not_block() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let batches =
        messages("t", &(0..300).map(|n| (wells(n * 10, 10), seq(n as u64))).collect::<Vec<_>>()).await;
    let (send, receive) = tokio::sync::mpsc::channel(1);
    let mut request = Request::new(tokio_stream::wrappers::ReceiverStream::new(receive));
    for (name, value) in [("pintail-producer", "p"), ("pintail-commit", "progress")] {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    let mut sender = client.clone();
    let unread = tokio::spawn(async move { sender.inner().do_put(request).await.unwrap() });
    for batch in batches {
        send.send(batch).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    let answers = unread.await.unwrap();
    while status(&mut client, "p").await["seq"] != 299 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    drop(answers);
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 3000);
}

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
    let server = TestServer::start().await;
    let mut client = server.client().await;
    rows(&mut client, "CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR)").await.unwrap();
    let mut writers = Vec::new();
    for writer in 0..8_i64 {
        let mut client = server.client().await;
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
    let (_, metrics) = common::http_get(&server.http, "/metrics").await;
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

/// What the server remembers cannot be changed through it, and is not shown among the tables.
#[tokio::test]
async fn the_ledger_is_the_servers_own() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    put_with(&mut client, "t", &[wells(0, 5)], &[("pintail-idempotency-key", "k")]).await.unwrap();
    for sql in [
        "DELETE FROM pintail_internal.ingest_ledger",
        "DROP TABLE \"PINTAIL_INTERNAL\".ingest_ledger",
        "INSERT INTO t SELECT * FROM pintail_internal.ingest_ledger",
    ] {
        assert_eq!(query_error(&mut client, sql).await.kind(), Kind::Denied, "{sql}");
    }
    let refused = put_with(&mut client, "pintail_internal.x", &[wells(0, 1)], &[]).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Denied);
    assert_eq!(number(&mut client, "SELECT count(*) FROM pintail_internal.ingest_ledger").await, 1);
    rows(&mut client, "CREATE TABLE notes AS SELECT 'pintail_internal' AS t").await.unwrap();
}

/// A ledger that was changed while the server was away: other columns stop the start, odd rows are left out.
#[tokio::test]
async fn a_ledger_changed_by_hand_is_noticed() {
    use pintail::engine::Database;
    let server = TestServer::start().await;
    let mut client = server.client().await;
    produce(&mut client, "t", "p", 1, &[(wells(0, 10), seq(0))], &[]).await.unwrap();
    let directory = server.stop().await;
    let open = |directory: &std::path::Path| {
        let config = common::config(directory);
        Database::open(pintail::engine::Options {
            path: config.database.path,
            memory_limit_bytes: 1 << 30,
            threads: 2,
            temp_directory: None,
            max_temp_bytes: 1 << 30,
            checkpoint_bytes: 1 << 30,
            checkpoint_hold: std::time::Duration::from_secs(300),
            result_buffer_bytes: 8 << 20,
            icu_extension: None,
        })
        .unwrap()
    };
    {
        let database = open(directory.path());
        let connection = database.connection().unwrap();
        connection
            .execute("INSERT INTO pintail_internal.ingest_ledger (producer, seq) VALUES ('p', 99)")
            .unwrap();
        connection
            .execute(
                "INSERT INTO pintail_internal.ingest_ledger (table_name, key, row_count, checksum, answer) \
                 VALUES ('main.t', 'k', 1, 1, 'no json')",
            )
            .unwrap();
    }
    let server = TestServer::start_in(directory, |_| {}).await;
    let mut client = server.client().await;
    assert_eq!(status(&mut client, "p").await["seq"], 0);
    let directory = server.stop().await;
    {
        let database = open(directory.path());
        database
            .connection()
            .unwrap()
            .execute("ALTER TABLE pintail_internal.ingest_ledger DROP COLUMN seq")
            .unwrap();
    }
    let refused = pintail::server::Server::start(&common::config(directory.path())).await.err().unwrap();
    assert_eq!(refused.kind(), Kind::Invalid);
    assert!(refused.message().contains("changed by hand"), "{refused}");
}
