//! What files a table holds is forgotten with its rows, in the same transaction.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use arrow_flight::FlightData;
use futures::{StreamExt, TryStreamExt, stream};
use pintail::client::Client;
use pintail::error::Kind;
use serde_json::{Value, json};

use super::{count, load, load_with, piece, remembered, says, send, sources};
use crate::support::batches::wells;
use crate::support::calls::{put_with, rows};
use crate::support::put_stream::messages;
use crate::support::server::TestServer;
use crate::support::session::{COMMIT, ROLLBACK, begin, end, ingest, ingest_command, set};

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
            for (action, left) in [(ROLLBACK, 0), (COMMIT, 0)] {
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
