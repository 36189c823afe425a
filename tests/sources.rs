//! Puts that declare what files their rows are from: stored once, remembered with the rows, forgotten with them.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is a failed test")]

mod common;
#[path = "common/session.rs"]
mod session;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::{FlightData, FlightDescriptor};
use common::{TestServer, number, put_with, query_error, rows, wells};
use futures::{StreamExt, TryStreamExt, stream};
use pintail::client::{Client, from_status};
use pintail::error::{Error, Kind, Result};
use serde_json::{Value, json};
use session::{COMMIT, ROLLBACK, act, begin, end, exchange, ingest, ingest_command, set};
use tokio::sync::Barrier;
use tonic::Request;

const LEDGER: &str = "pintail_internal.load_ledger";

fn piece(file: &str, piece: u64, rows: usize) -> Value {
    json!({ "file": file, "piece": format!("{piece:016x}"), "rows": rows })
}

fn sources(pieces: &[Value]) -> Value {
    json!({ "sources": pieces })
}

/// The messages of a put into `name`, its parts set apart by dots; each batch with its `app_metadata`.
async fn messages(name: &str, batches: &[(RecordBatch, Value)]) -> Vec<FlightData> {
    let descriptor = FlightDescriptor::new_path(name.split('.').map(str::to_owned).collect());
    let schema = batches.first().map_or_else(common::well_schema, |(batch, _)| batch.schema());
    // The encoder leaves batches without rows out, so they become messages without a batch.
    let items: Vec<_> = batches
        .iter()
        .filter(|(batch, _)| batch.num_rows() > 0)
        .map(|(batch, _)| Ok(batch.clone()))
        .collect();
    let encoded: Vec<FlightData> = FlightDataEncoderBuilder::new()
        .with_schema(schema)
        .with_flight_descriptor(Some(descriptor))
        .with_max_flight_data_size(usize::MAX)
        .build(stream::iter(items))
        .try_collect()
        .await
        .unwrap();
    let mut encoded = encoded.into_iter();
    let mut messages = vec![encoded.next().unwrap()];
    for (batch, metadata) in batches {
        let mut message = if batch.num_rows() > 0 { encoded.next().unwrap() } else { FlightData::new() };
        if !metadata.is_null() {
            message.app_metadata = metadata.to_string().into();
        }
        messages.push(message);
    }
    assert!(encoded.next().is_none());
    messages
}

/// Sends messages with headers and gives the answer.
async fn send(
    client: &mut Client,
    messages: impl futures::Stream<Item = FlightData> + Send + 'static,
    headers: &[(&'static str, &str)],
) -> Result<Value> {
    let mut request = Request::new(messages);
    for (header, value) in headers {
        request.metadata_mut().insert(*header, value.parse().unwrap());
    }
    let answers = client.inner().do_put(request).await.map_err(from_status)?.into_inner();
    let answers: Vec<_> = answers.map_err(from_status).try_collect().await?;
    assert_eq!(answers.len(), 1);
    Ok(serde_json::from_slice(&answers[0].app_metadata).unwrap())
}

/// Puts batches, each with its `app_metadata`.
async fn load_with(
    client: &mut Client,
    name: &str,
    headers: &[(&'static str, &str)],
    batches: &[(RecordBatch, Value)],
) -> Result<Value> {
    send(client, stream::iter(messages(name, batches).await), headers).await
}

/// Puts `count` rows from `first` as one piece of a file.
async fn load(
    client: &mut Client,
    name: &str,
    how: &str,
    (file, number): (&str, u64),
    (first, count): (i64, usize),
) -> Result<Value> {
    let batch = (wells(first, count), sources(&[piece(file, number, count)]));
    load_with(client, name, &[("pintail-sources", how)], &[batch]).await
}

async fn count(client: &mut Client, name: &str) -> i64 {
    number(client, &format!("SELECT count(*) FROM {name}")).await
}

/// Pieces that are remembered of a table.
async fn remembered(client: &mut Client, table: &str) -> i64 {
    number(client, &format!("SELECT count(*) FROM {LEDGER} WHERE table_name = '{table}'")).await
}

fn says(error: &Error, kind: Kind, parts: &[&str]) {
    assert_eq!(error.kind(), kind, "{error}");
    for part in parts {
        assert!(error.message().contains(part), "{error} lacks {part:?}");
    }
}

/// A piece is stored once, whatever it comes with, and also after a restart.
#[tokio::test]
async fn a_piece_is_stored_once() {
    let mut server = TestServer::start().await;
    for size in [10, 200_000] {
        let mut client = server.client().await;
        let table = format!("t{size}");
        let done = load(&mut client, &table, "once", ("a.csv", 1), (0, size)).await.unwrap();
        assert_eq!(
            (&done["rows"], &done["durable"], &done["duplicate"]),
            (&json!(size), &json!(true), &json!(false))
        );
        let written = format!(
            "SELECT count(*) FROM {LEDGER} WHERE table_name = 'main.{table}' AND file = 'a.csv' AND piece = 1 \
             AND row_count = {size} AND \"at\" > now()::TIMESTAMP - INTERVAL 1 HOUR"
        );
        assert_eq!(number(&mut client, &written).await, 1);
        let refused = load(&mut client, &table, "once", ("a.csv", 1), (0, size)).await.unwrap_err();
        says(&refused, Kind::Aborted, &["1 of these pieces of file a.csv", "run it again", &table]);
        let mixed = [
            (wells(0, size), sources(&[piece("a.csv", 1, size), piece("a.csv", 2, 0)])),
            (wells(0, 5), sources(&[piece("b.csv", 1, 5)])),
        ];
        let refused =
            load_with(&mut client, &table, &[("pintail-sources", "once")], &mixed).await.unwrap_err();
        says(&refused, Kind::Aborted, &["1 of these pieces of file a.csv"]);
        load(&mut client, &table, "once", ("b.csv", 1), (0, 5)).await.unwrap();
        // The same file in another table is another matter.
        load(&mut client, &format!("other{size}"), "once", ("a.csv", 1), (0, size)).await.unwrap();
        assert_eq!(count(&mut client, &table).await, size as i64 + 5);
        assert_eq!(remembered(&mut client, &format!("main.{table}")).await, 2);
        drop(client);
        server = TestServer::start_in(server.stop().await, |_| {}).await;
        let mut client = server.client().await;
        let mixed = [(wells(0, 15), sources(&[piece("a.csv", 1, 10), piece("b.csv", 1, 5)]))];
        let refused =
            load_with(&mut client, &table, &[("pintail-sources", "once")], &mixed).await.unwrap_err();
        says(&refused, Kind::Aborted, &["1 of these pieces of file a.csv and some of another file"]);
        assert_eq!(count(&mut client, &table).await, size as i64 + 5);
    }
}

/// Pieces that are alike are counted, in a stream and over several.
#[tokio::test]
async fn equal_pieces_are_counted() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let once = [("pintail-sources", "once")];
    let twice = [(wells(0, 10), sources(&[piece("a", 7, 5), piece("a", 7, 5)]))];
    load_with(&mut client, "t", &once, &twice).await.unwrap();
    assert_eq!(remembered(&mut client, "main.t").await, 2);
    let known = |stored: u64| {
        let mut piece = piece("a", 7, 5);
        piece["stored"] = stored.into();
        [(wells(0, 5), sources(&[piece]))]
    };
    let refused = load_with(&mut client, "t", &once, &known(1)).await.unwrap_err();
    says(&refused, Kind::Aborted, &["1 of these pieces of file a"]);
    load_with(&mut client, "t", &once, &known(2)).await.unwrap();
    load_with(&mut client, "t", &once, &known(2)).await.unwrap_err();
    assert_eq!((remembered(&mut client, "main.t").await, count(&mut client, "t").await), (3, 15));
}

#[tokio::test]
async fn again_stores_again_and_anew_forgets_what_an_empty_table_held() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    for table in ["t", "u"] {
        for how in ["once", "again"] {
            load(&mut client, table, how, ("a", 1), (0, 10)).await.unwrap();
        }
        load(&mut client, table, "once", ("a", 2), (0, 10)).await.unwrap();
        assert_eq!(remembered(&mut client, &format!("main.{table}")).await, 3);
    }
    // Rows are there, so nothing is forgotten: another load may just have stored them.
    let refused = load(&mut client, "T", "anew", ("a", 1), (0, 10)).await.unwrap_err();
    says(&refused, Kind::Aborted, &["of these pieces of file a"]);
    assert_eq!((remembered(&mut client, "main.t").await, count(&mut client, "t").await), (3, 30));
    rows(&mut client, "DELETE FROM t").await.unwrap();
    // One that fails has forgotten nothing.
    let wrong = [(wells(0, 3), sources(&[piece("a", 3, 4)]))];
    load_with(&mut client, "t", &[("pintail-sources", "anew")], &wrong).await.unwrap_err();
    assert_eq!(remembered(&mut client, "main.t").await, 3);
    load(&mut client, "T", "anew", ("a", 1), (0, 10)).await.unwrap();
    assert_eq!((remembered(&mut client, "main.t").await, count(&mut client, "t").await), (1, 10));
    assert_eq!(remembered(&mut client, "main.u").await, 3);
    load(&mut client, "t", "once", ("a", 2), (0, 10)).await.unwrap();
    load(&mut client, "t", "once", ("a", 1), (0, 10)).await.unwrap_err();
    rows(&mut client, "DELETE FROM t").await.unwrap();
    load_with(&mut client, "t", &[("pintail-sources", "anew")], &[]).await.unwrap();
    assert_eq!(remembered(&mut client, "main.t").await, 0);
}

/// Rows and pieces that do not match leave nothing behind, neither rows nor pieces nor a table.
#[tokio::test]
async fn as_many_rows_as_declared_or_none() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let once = [("pintail-sources", "once")];
    for (batches, parts) in [
        (vec![(wells(0, 9), sources(&[piece("a", 1, 10)]))], ["have 10 rows", "9 rows arrived"]),
        (vec![(wells(0, 10), sources(&[piece("a", 1, 9)]))], ["have 9 rows", "10 rows arrived"]),
        (vec![(wells(0, 10), Value::Null)], ["have 0 rows", "10 rows arrived"]),
        (
            vec![(wells(0, 10), sources(&[piece("a", 1, 10)])), (wells(0, 1), Value::Null)],
            ["have 10 rows", "11 rows"],
        ),
        (
            vec![
                (wells(0, 200_000), sources(&[piece("a", 1, 200_000)])),
                (wells(0, 0), sources(&[piece("a", 2, 1)])),
            ],
            ["have 200001 rows", "200000 rows arrived"],
        ),
    ] {
        let refused = load_with(&mut client, "t", &once, &batches).await.unwrap_err();
        says(&refused, Kind::Invalid, &parts);
        says(&refused, Kind::Invalid, &["table t", "nothing was stored"]);
        assert_eq!(query_error(&mut client, "SELECT * FROM t").await.kind(), Kind::NotFound);
        assert_eq!(count(&mut client, LEDGER).await, 0);
    }
    // A stream of nothing makes the table; pieces without rows are pieces.
    load_with(&mut client, "t", &once, &[]).await.unwrap();
    assert_eq!((count(&mut client, "t").await, count(&mut client, LEDGER).await), (0, 0));
    load(&mut client, "t", "once", ("empty", 1), (0, 0)).await.unwrap();
    load(&mut client, "t", "once", ("empty", 1), (0, 0)).await.unwrap_err();
    assert_eq!((count(&mut client, "t").await, remembered(&mut client, "main.t").await), (0, 1));
    let refused =
        load_with(&mut client, "t", &once, &[(wells(0, 1), json!({ "seq": 1 }))]).await.unwrap_err();
    says(&refused, Kind::Invalid, &["pintail-sources", "{\"seq\":1}"]);
    // What is said before the schema is not lost without a word.
    let mut early = messages("t", &[(wells(0, 1), Value::Null)]).await;
    let descriptor = early[0].flight_descriptor.take().unwrap();
    let said = sources(&[piece("a", 1, 1)]).to_string();
    early.insert(0, FlightData::new().with_descriptor(descriptor).with_app_metadata(said));
    says(
        &send(&mut client, stream::iter(early), &once).await.unwrap_err(),
        Kind::Invalid,
        &["before their schema"],
    );
    assert_eq!(count(&mut client, "t").await, 0);
}

/// A client that is cut off, or says nothing of what it read last, has stored nothing.
#[tokio::test]
async fn a_client_that_leaves_stores_nothing() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    load_with(&mut client, "t", &[("pintail-sources", "once")], &[]).await.unwrap();
    let whole = messages("t", &[(wells(0, 10), sources(&[piece("a", 1, 10)]))]).await;
    let (sent, seen) = tokio::sync::oneshot::channel();
    let endless = stream::iter(whole).chain(stream::once(async move {
        sent.send(()).unwrap();
        std::future::pending().await
    }));
    let mut leaving = server.client().await;
    tokio::select! {
        answer = send(&mut leaving, endless, &[("pintail-sources", "once")]) => panic!("{answer:?}"),
        seen = seen => seen.unwrap(),
    }
    drop(leaving);
    let started = Instant::now();
    while client.action("pintail.status").await.unwrap()["ingest"]["streams"] != 0 {
        assert!(started.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!((count(&mut client, "t").await, count(&mut client, LEDGER).await), (0, 0));
    load(&mut client, "t", "once", ("a", 1), (0, 10)).await.unwrap();
}

/// Of streams with the same piece whose transactions are all open at the same time, one is stored.
#[tokio::test]
async fn one_of_many_at_the_same_time() {
    const CLIENTS: usize = 6;
    for (is_there, size) in [(true, 10), (true, 150_000), (false, 10)] {
        let server = TestServer::start().await;
        let mut watcher = server.client().await;
        if is_there {
            put_with(&mut watcher, "t", &[wells(0, 0)], &[]).await.unwrap();
        }
        let barrier = Arc::new(Barrier::new(CLIENTS));
        let mut puts = Vec::new();
        for client in 0..CLIENTS {
            let (barrier, mut connection) = (Arc::clone(&barrier), server.client().await);
            puts.push(tokio::spawn(async move {
                let own = piece(&format!("of {client}"), 1, 5);
                let batches = [
                    (wells(0, size), sources(&[piece("a", 1, size)])),
                    (wells(0, 5), sources(&[own])),
                    (wells(0, 0), Value::Null),
                ];
                let mut begun = messages("t", &batches).await;
                let last = begun.pop().unwrap();
                let messages = stream::iter(begun).chain(stream::once(async move {
                    barrier.wait().await;
                    last
                }));
                send(&mut connection, messages, &[("pintail-sources", "once")]).await
            }));
        }
        let mut stored = 0;
        for put in puts {
            match put.await.unwrap() {
                Ok(_) => stored += 1,
                Err(error) => says(&error, Kind::Aborted, &["1 of these pieces of file a"]),
            }
        }
        assert_eq!(stored, 1);
        assert_eq!(count(&mut watcher, "t").await, size as i64 + 5);
        assert_eq!(remembered(&mut watcher, "main.t").await, 2);
    }
}

/// Whatever puts new rows in the place of old ones forgets what files those were from, in the same transaction.
#[tokio::test]
async fn what_replaces_a_table_forgets_its_files() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    rows(&mut client, "CREATE TABLE kept (id BIGINT)").await.unwrap();
    rows(&mut client, "CREATE UNIQUE INDEX kept_id ON kept (id)").await.unwrap();
    let ids = |from: i64| {
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
        RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from_iter_values(from..from + 5)) as ArrayRef])
            .unwrap()
    };
    let of = |from: i64, number: u64| [(ids(from), sources(&[piece("a", number, 5)]))];
    let (once, replace) = (("pintail-sources", "once"), ("pintail-mode", "replace"));
    for table in ["kept", "plain"] {
        let name = format!("main.{table}");
        load_with(&mut client, table, &[once], &of(10, 1)).await.unwrap();
        load_with(&mut client, table, &[once], &of(20, 2)).await.unwrap();
        // With the piece that is stored: it takes its own place.
        load_with(&mut client, table, &[once, replace], &of(30, 1)).await.unwrap();
        assert_eq!((count(&mut client, table).await, remembered(&mut client, &name).await), (5, 1));
        load_with(&mut client, table, &[once], &of(40, 1)).await.unwrap_err();
        load_with(&mut client, table, &[once], &of(50, 2)).await.unwrap();
        // A put that replaces and fails forgets nothing.
        let wrong = [(ids(60), sources(&[piece("a", 3, 6)]))];
        load_with(&mut client, table, &[once, replace], &wrong).await.unwrap_err();
        assert_eq!((count(&mut client, table).await, remembered(&mut client, &name).await), (10, 2));
        // Rows of nobody in particular.
        put_with(&mut client, table, &[ids(70)], &[replace]).await.unwrap();
        assert_eq!((count(&mut client, table).await, remembered(&mut client, &name).await), (5, 0));
        load_with(&mut client, table, &[once], &of(80, 1)).await.unwrap();
        // In a transaction of the client's.
        for (action, left) in [(ROLLBACK, 1), (COMMIT, 0)] {
            let transaction = begin(&mut client).await;
            put_with(&mut client, table, &[ids(90)], &[replace]).await.unwrap();
            end(&mut client, &transaction, action).await.unwrap();
            assert_eq!(remembered(&mut client, &name).await, left, "{table}");
        }
    }
}

/// Who makes a table forgets what files an earlier one of that name held.
#[tokio::test]
async fn what_makes_a_table_forgets_its_files() {
    for group_commit_ms in [0, 2] {
        let server = TestServer::start_with(|config| config.ingest.group_commit_ms = group_commit_ms).await;
        let mut client = server.client().await;
        let once = ("pintail-sources", "once");
        for mode in ["create", "create_append", "replace"] {
            load(&mut client, "t", "once", ("a", 1), (0, 10)).await.unwrap();
            load(&mut client, "other", "again", ("a", 1), (0, 10)).await.unwrap();
            rows(&mut client, "DROP TABLE t").await.unwrap();
            let mode = ("pintail-mode", mode);
            let batch = [(wells(0, 10), sources(&[piece("a", 1, 10)]))];
            load_with(&mut client, "t", &[once, mode], &batch).await.unwrap();
            assert_eq!((count(&mut client, "t").await, remembered(&mut client, "main.t").await), (10, 1));
            rows(&mut client, "DROP TABLE t").await.unwrap();
            put_with(&mut client, "t", &[wells(0, 3)], &[mode]).await.unwrap();
            assert_eq!((count(&mut client, "t").await, remembered(&mut client, "main.t").await), (3, 0));
            load(&mut client, "t", "once", ("a", 1), (0, 10)).await.unwrap();
            rows(&mut client, "DROP TABLE t").await.unwrap();
            for (action, left) in [(ROLLBACK, 1), (COMMIT, 0)] {
                let transaction = begin(&mut client).await;
                put_with(&mut client, "t", &[wells(0, 3)], &[mode]).await.unwrap();
                end(&mut client, &transaction, action).await.unwrap();
                assert_eq!(remembered(&mut client, "main.t").await, left, "{mode:?}");
            }
            rows(&mut client, "DROP TABLE t").await.unwrap();
        }
        load(&mut client, "t", "once", ("a", 1), (0, 10)).await.unwrap();
        // Temporary tables of that name are others.
        ingest(&mut client, ingest_command("t", None, true), vec![wells(0, 3)]).await.unwrap();
        assert_eq!(remembered(&mut client, "main.t").await, 1);
        assert_eq!(remembered(&mut client, "main.other").await, 3);
    }
}

/// A load that ends while its table is being replaced is either before that, and gone and forgotten, or after it.
#[tokio::test]
async fn a_load_beside_a_put_that_replaces() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    load(&mut client, "t", "once", ("a", 1), (0, 10)).await.unwrap();
    let begun = messages("t", &[(wells(0, 200_000), Value::Null), (wells(0, 3), Value::Null)]).await;
    let (go_on, goes_on) = tokio::sync::oneshot::channel::<()>();
    let mut replacing = server.client().await;
    let replaced = tokio::spawn(async move {
        let messages = stream::iter(begun).chain(stream::once(async move {
            goes_on.await.unwrap();
            FlightData::new()
        }));
        send(&mut replacing, messages, &[("pintail-mode", "replace")]).await
    });
    let started = Instant::now();
    while client.action("pintail.status").await.unwrap()["checkpoint"]["kept_off_by"]
        .as_array()
        .unwrap()
        .is_empty()
    {
        assert!(started.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut loading = server.client().await;
    let mut beside = tokio::spawn(async move { load(&mut loading, "t", "once", ("b", 2), (0, 7)).await });
    assert!(
        tokio::time::timeout(Duration::from_millis(500), &mut beside).await.is_err(),
        "it did not wait its turn"
    );
    go_on.send(()).unwrap();
    replaced.await.unwrap().unwrap();
    let stored = beside.await.unwrap().is_ok();
    assert_eq!(remembered(&mut client, "main.t").await, i64::from(stored));
    assert_eq!(count(&mut client, "t").await, 200_003 + if stored { 7 } else { 0 });
}

#[tokio::test]
async fn loads_are_forgotten_on_request() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let forget = async |client: &mut Client, table: &str| {
        client.action_with("pintail.forget_loads", json!({ "table": table }).to_string()).await
    };
    let done = forget(&mut client, "nowhere").await.unwrap();
    assert_eq!(done, json!({ "table": "main.nowhere", "forgotten": 0 }));
    rows(&mut client, "CREATE SCHEMA s").await.unwrap();
    for table in ["t", "s.t", "s.\"a 'b'\""] {
        let name = table.replace('"', "");
        for number in 0..3 {
            load(&mut client, &name, "once", ("a", number), (0, 10)).await.unwrap();
        }
    }
    assert_eq!(forget(&mut client, "nowhere").await.unwrap()["forgotten"], 0);
    for (table, name) in [("T", "main.t"), ("s.t", "s.t"), ("s.\"a 'b'\"", "s.a 'b'")] {
        let done = forget(&mut client, table).await.unwrap();
        assert_eq!(done, json!({ "table": name, "forgotten": 3 }));
        assert_eq!(forget(&mut client, table).await.unwrap()["forgotten"], 0);
    }
    load(&mut client, "t", "once", ("a", 1), (0, 10)).await.unwrap();
    assert_eq!(count(&mut client, "t").await, 40);
    set(&mut client, "schema", Some("s")).await;
    assert_eq!(forget(&mut client, "t").await.unwrap(), json!({ "table": "s.t", "forgotten": 0 }));
    for body in ["", "{}", "[]", "{\"table\": 3}"] {
        let refused = client.action_with("pintail.forget_loads", body.to_owned()).await.unwrap_err();
        says(&refused, Kind::Invalid, &["pintail.forget_loads", "\"table\""]);
    }
    says(&forget(&mut client, "temp.main.t").await.unwrap_err(), Kind::Invalid, &["temporary"]);
    let listed: Vec<_> = client
        .inner()
        .list_actions(arrow_flight::Empty {})
        .await
        .unwrap()
        .into_inner()
        .try_collect()
        .await
        .unwrap();
    assert!(listed.iter().any(|action| action.r#type == "pintail.forget_loads"));
}

/// Where sources cannot be declared, the header is refused, and nothing is stored.
#[tokio::test]
async fn where_sources_are_refused() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    put_with(&mut client, "t", &[wells(0, 1)], &[]).await.unwrap();
    let batch = || [(wells(0, 10), sources(&[piece("a", 1, 10)]))];
    for (header, value, part) in [
        ("pintail-idempotency-key", "k", "pintail-idempotency-key"),
        ("pintail-producer", "p", "pintail-producer"),
        ("pintail-commit", "progress", "pintail-commit"),
        ("pintail-sources", "twice", "expected once, again or anew, found \"twice\""),
    ] {
        let headers = [("pintail-sources", "once"), (header, value)];
        let refused = load_with(&mut client, "t", &headers, &batch()).await.unwrap_err();
        says(&refused, Kind::Invalid, &["pintail-sources", part]);
    }
    let transaction = begin(&mut client).await;
    let refused = load(&mut client, "t", "once", ("a", 1), (0, 10)).await.unwrap_err();
    says(&refused, Kind::Invalid, &["pintail-sources", "transaction"]);
    end(&mut client, &transaction, COMMIT).await.unwrap();
    let refused = load(&mut client, "temp.main.t", "once", ("a", 1), (0, 10)).await.unwrap_err();
    says(&refused, Kind::Invalid, &["pintail-sources", "temporary table"]);
    let refused = load(&mut client, LEDGER, "once", ("a", 1), (0, 10)).await.unwrap_err();
    says(&refused, Kind::Denied, &["the server's own"]);
    // Flight SQL: ingest, statements, rows for parameters.
    use arrow_flight::sql::{CommandStatementUpdate, ProstMessageExt};
    use prost::Message;
    let update =
        CommandStatementUpdate { query: "INSERT INTO t SELECT * FROM t".into(), transaction_id: None };
    for command in
        [ingest_command("t", None, false).as_any().encode_to_vec(), update.as_any().encode_to_vec()]
    {
        let mut messages = messages("t", &batch()).await;
        messages[0].flight_descriptor = Some(FlightDescriptor::new_cmd(command));
        let refused =
            send(&mut client, stream::iter(messages), &[("pintail-sources", "once")]).await.unwrap_err();
        says(&refused, Kind::Invalid, &["pintail-sources", "path"]);
    }
    let refused = set(&mut client, "pintail-sources", Some("once")).await;
    assert_eq!(refused.len(), 1);
    let mut request =
        Request::new(stream::iter(
            [FlightData::new().with_descriptor(FlightDescriptor::new_cmd("SELECT 1"))],
        ));
    request.metadata_mut().insert("pintail-sources", "once".parse().unwrap());
    let refused = from_status(client.inner().do_exchange(request).await.unwrap_err());
    says(&refused, Kind::Invalid, &["pintail-sources", "DoExchange"]);
    assert_eq!(count(&mut client, "t").await, 1);
    assert_eq!(exchange(&mut client, "SELECT 1 AS a", Vec::new()).await.unwrap()[0].num_rows(), 1);
    // Without the header app_metadata means nothing, as before.
    load_with(&mut client, "t", &[], &batch()).await.unwrap();
    assert_eq!(count(&mut client, "t").await, 11);
    assert_eq!(count(&mut client, LEDGER).await, 0);
}

/// Thousands of pieces in one stream, beside many that other loads have stored.
#[tokio::test]
async fn thousands_of_pieces_in_a_stream() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let many = |from: u64, files: u64| {
        let of = |file: u64| piece(&format!("/data/lake/part-{file:08}.parquet"), file << 32, 1);
        let halves = [from..from + files / 2, from + files / 2..from + files];
        halves.map(|files| {
            let pieces: Vec<Value> = files.map(of).collect();
            (wells(0, pieces.len()), sources(&pieces))
        })
    };
    let headers = [("pintail-sources", "once")];
    load_with(&mut client, "t", &headers, &many(0, 100_000)).await.unwrap();
    let started = Instant::now();
    load_with(&mut client, "t", &headers, &many(100_000, 3000)).await.unwrap();
    let taken = started.elapsed();
    let refused = load_with(&mut client, "t", &headers, &many(102_000, 3000)).await.unwrap_err();
    says(&refused, Kind::Aborted, &["1 of these pieces of file", "part-00102000.parquet", "999 more files"]);
    println!("3,000 pieces beside 100,000 took {taken:?}, a refusal {:?}", started.elapsed() - taken);
    assert!(taken < Duration::from_secs(3), "{taken:?}");
    assert_eq!(count(&mut client, "t").await, 103_000);
    assert_eq!(
        number(&mut client, &format!("SELECT count(DISTINCT (file, piece)) FROM {LEDGER}")).await,
        103_000
    );
}

const STRICT: &str = r#"
primary_key = ["id"]
[[field]]
name = "id"
type = "int64"
[[field]]
name = "name"
type = "string"
nullable = false
"#;

/// Rows that are left out or set aside are rows of their file as well.
#[tokio::test]
async fn rows_that_are_not_stored_count_as_received() {
    for (text, headers, expected) in [
        (
            STRICT.to_owned(),
            &[("pintail-sources", "once"), ("pintail-on-conflict", "ignore")][..],
            json!({ "rows": 4, "inserted": 2, "ignored": 2 }),
        ),
        (
            format!("mode = \"lenient\"\ndead_letters = true\n{STRICT}"),
            &[("pintail-sources", "once")][..],
            json!({ "rows": 4, "inserted": 2, "rejected": 2 }),
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let schemas = directory.path().join("schemas");
        std::fs::create_dir_all(&schemas).unwrap();
        std::fs::write(schemas.join("t.toml"), text).unwrap();
        let server = TestServer::start_in(directory, |config| config.schemas.dir = Some(schemas)).await;
        let mut client = server.client().await;
        let batch = |ids: &[i64]| {
            let schema = Schema::new(vec![
                Field::new("id", DataType::Int64, true),
                Field::new("name", DataType::Utf8, true),
            ]);
            let names = StringArray::from_iter_values(ids.iter().map(|id| format!("row {id}")));
            let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(ids.to_vec())), Arc::new(names)];
            RecordBatch::try_new(Arc::new(schema), columns).unwrap()
        };
        let first = [(batch(&[1, 2]), sources(&[piece("a", 1, 2)]))];
        load_with(&mut client, "t", headers, &first).await.unwrap();
        let second = [(batch(&[2, 3]), Value::Null), (batch(&[4, 4]), sources(&[piece("a", 2, 4)]))];
        let done = load_with(&mut client, "t", headers, &second).await.unwrap();
        for (what, value) in expected.as_object().unwrap() {
            assert_eq!(&done[what], value, "{what} of {done}");
        }
        let short = [(batch(&[2, 5]), sources(&[piece("a", 3, 1)]))];
        says(
            &load_with(&mut client, "t", headers, &short).await.unwrap_err(),
            Kind::Invalid,
            &["2 rows arrived"],
        );
        let refused = load_with(&mut client, "t", headers, &second).await.unwrap_err();
        says(&refused, Kind::Aborted, &["1 of these pieces of file a"]);
        assert_eq!((count(&mut client, "t").await, remembered(&mut client, "main.t").await), (4, 2));
    }
}

/// What is remembered is the server's own: clients read it, backups hold it, and other columns stop a start.
#[tokio::test]
async fn the_load_ledger_is_the_servers_own() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    load(&mut client, "t", "once", ("a", 1), (0, 10)).await.unwrap();
    for sql in [
        format!("DELETE FROM {LEDGER}"),
        format!("UPDATE {LEDGER} SET file = ''"),
        format!("DROP TABLE {LEDGER}"),
    ] {
        assert_eq!(query_error(&mut client, &sql).await.kind(), Kind::Denied, "{sql}");
    }
    let to = json!({ "to": "copy.duckdb" }).to_string();
    act(&mut client, "pintail.backup", to.into_bytes()).await.unwrap();
    load(&mut client, "t", "once", ("a", 2), (0, 10)).await.unwrap();
    let directory = server.stop().await;
    let copy = directory.path().join("copy.duckdb").display().to_string();
    let opened = copy.clone();
    let server = TestServer::start_in(directory, |config| config.database.path = opened).await;
    let mut client = server.client().await;
    load(&mut client, "t", "once", ("a", 1), (0, 10)).await.unwrap_err();
    load(&mut client, "t", "once", ("a", 2), (0, 10)).await.unwrap();
    assert_eq!((count(&mut client, "t").await, remembered(&mut client, "main.t").await), (20, 2));
    let directory = server.stop().await;
    let mut config = common::config(directory.path());
    config.database.path = copy;
    {
        let database = pintail::engine::Database::open(pintail::engine::Options {
            path: config.database.path.clone(),
            memory_limit_bytes: 1 << 30,
            threads: 2,
            temp_directory: None,
            max_temp_bytes: 1 << 30,
            checkpoint_bytes: 1 << 30,
            checkpoint_hold: Duration::from_secs(300),
            result_buffer_bytes: 8 << 20,
            icu_extension: None,
        })
        .unwrap();
        database
            .connection()
            .unwrap()
            .execute(&format!("ALTER TABLE {LEDGER} DROP COLUMN row_count"))
            .unwrap();
    }
    let refused = pintail::server::Server::start(&config).await.err().unwrap();
    says(&refused, Kind::Invalid, &["load_ledger", "changed by hand"]);
}
