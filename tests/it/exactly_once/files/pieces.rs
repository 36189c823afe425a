//! Pieces of files are stored once, with as many rows as they declare.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow_flight::FlightData;
use futures::{StreamExt, stream};
use pintail::error::Kind;
use serde_json::{Value, json};
use tokio::sync::Barrier;

use super::{LEDGER, count, load, load_with, piece, remembered, says, send, sources};
use crate::support::batches::wells;
use crate::support::calls::{number, put_with, query_error, wait_for_streams};
use crate::support::declarations::serve;
use crate::support::put_stream::{self, messages};
use crate::support::server::TestServer;

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
    let (endless, seen) = put_stream::endless(whole);
    let mut leaving = server.client().await;
    tokio::select! {
        answer = send(&mut leaving, endless, &[("pintail-sources", "once")]) => panic!("{answer:?}"),
        seen = seen => seen.unwrap(),
    }
    drop(leaving);
    wait_for_streams(&mut client, 0).await;
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
        let server = serve(&[("t", &text)]).await;
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
