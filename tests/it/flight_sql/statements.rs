//! Statements, prepared ones and their parameters.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Int32Array, Int64Array, RecordBatch, RunArray, StringArray,
};
use arrow::datatypes::{DataType, Int64Type};
use futures::TryStreamExt;

use super::{ask, count, fetch, parameters, sql, texts};
use crate::support::batches::joined;
use crate::support::server::TestServer;

/// DDL and DML run once in GetFlightInfo, prepared or not; what they did comes back as often as it is fetched.
#[tokio::test]
async fn changes_run_exactly_once_on_every_path() {
    let server = TestServer::start().await;
    let mut client = sql(&server).await;
    let created = client.execute("CREATE TABLE t (a INTEGER)".into(), None).await.unwrap();
    assert_eq!(created.total_records, 0);
    let inserted = client.execute("INSERT INTO t VALUES (1), (2)".into(), None).await.unwrap();
    assert_eq!(inserted.total_records, 2);
    for _ in 0..3 {
        let found = fetch(&mut client, inserted.clone()).await;
        assert_eq!(found[0].column(0).as_primitive::<Int64Type>().value(0), 2);
    }
    let mut prepared = client.prepare("INSERT INTO t VALUES (3)".into(), None).await.unwrap();
    assert!(prepared.dataset_schema().unwrap().fields().is_empty(), "an update has no columns");
    let info = prepared.execute().await.unwrap();
    assert_eq!(info.total_records, 1);
    fetch(&mut client, info).await;
    assert_eq!(count(&mut client, "t").await, 3);
    assert_eq!(prepared.execute_update().await.unwrap(), 1);
    prepared.close().await.unwrap();
    let returned = ask(&mut client, "DELETE FROM t WHERE a < 3 RETURNING a").await;
    assert_eq!(joined(&returned).num_rows(), 2);
    assert_eq!(count(&mut client, "t").await, 2);
}

/// Parameters are typed values, matched by position or by name, and checked before anything runs.
#[tokio::test]
async fn prepared_statements_take_typed_parameters() {
    let server = TestServer::start().await;
    let mut client = sql(&server).await;
    ask(&mut client, "CREATE TABLE t (id BIGINT, name VARCHAR, price DECIMAL(9, 2))").await;
    let insert = "INSERT INTO t VALUES ($id, $name, $price)";
    let mut prepared = client.prepare(insert.into(), None).await.unwrap();
    let fields = prepared.parameter_schema().unwrap().fields().clone();
    assert_eq!(fields.iter().map(|field| field.name().as_str()).collect::<Vec<_>>(), ["id", "name", "price"]);
    assert_eq!(fields[2].data_type(), &DataType::Decimal128(9, 2));
    let prices = Decimal128Array::from(vec![Some(105), None]).with_precision_and_scale(9, 2).unwrap();
    let rows = parameters(vec![
        ("price", Arc::new(prices)),
        ("id", Arc::new(Int64Array::from(vec![1, 2]))),
        ("name", Arc::new(StringArray::from(vec![Some("1; DROP TABLE t"), None]))),
    ]);
    prepared.set_parameters(rows).unwrap();
    assert_eq!(prepared.execute_update().await.unwrap(), 2);
    let found = joined(&ask(&mut client, "SELECT * FROM t ORDER BY id").await);
    assert_eq!(texts(&found, "name"), [Some("1; DROP TABLE t".into()), None]);
    let mut by_id = client.prepare("SELECT id, name FROM t WHERE id = ?".into(), None).await.unwrap();
    assert_eq!(by_id.dataset_schema().unwrap().fields().len(), 2);
    let unbound = by_id.execute().await.unwrap_err().to_string();
    assert!(unbound.contains("takes 1 parameters ($1), and none were bound"), "{unbound}");
    // One result for each bound row, one after the other.
    by_id.set_parameters(parameters(vec![("0", Arc::new(Int64Array::from(vec![2, 7, 1])))])).unwrap();
    let info = by_id.execute().await.unwrap();
    let found = joined(&fetch(&mut client, info).await);
    assert_eq!(found.column(0).as_primitive::<Int64Type>().values(), &[2, 1]);
    let two: ArrayRef = Arc::new(Int64Array::from(vec![2]));
    by_id.set_parameters(parameters(vec![("a", Arc::clone(&two)), ("b", two)])).unwrap();
    let wrong = by_id.execute().await.unwrap_err().to_string();
    assert!(wrong.contains("takes 1 parameters ($1), and 2 values were bound"), "{wrong}");
    by_id.set_parameters(parameters(vec![("a", Arc::new(StringArray::from(vec!["seven"])))])).unwrap();
    let failed = by_id.execute().await;
    let text = match failed {
        Err(error) => error.to_string(),
        Ok(info) => {
            let stream = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await;
            match stream {
                Err(error) => error.to_string(),
                Ok(stream) => stream.try_collect::<Vec<_>>().await.unwrap_err().to_string(),
            }
        }
    };
    assert!(text.contains("seven"), "{text}");
}

/// A result whose type depends on a parameter has the type of what was bound.
#[tokio::test]
async fn result_types_follow_the_bound_types() {
    let server = TestServer::start().await;
    let mut client = sql(&server).await;
    let mut prepared = client.prepare("SELECT ? AS x, 1 AS one".into(), None).await.unwrap();
    assert_eq!(prepared.dataset_schema().unwrap().field(1).data_type(), &DataType::Int32);
    let values: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![i64::MIN])),
        Arc::new(StringArray::from(vec!["ü"])),
        Arc::new(Decimal128Array::from(vec![7]).with_precision_and_scale(20, 3).unwrap()),
        arrow::compute::cast(&Int32Array::from(vec![3]), &DataType::Date32).unwrap(),
    ];
    for value in values {
        prepared.set_parameters(parameters(vec![("0", Arc::clone(&value))])).unwrap();
        let info = prepared.execute().await.unwrap();
        let found = joined(&fetch(&mut client, info).await);
        assert_eq!(found.column(0).to_data(), value.to_data());
    }
}

/// PIVOT knows its columns only once it runs; FlightInfo knows them all the same.
#[tokio::test]
async fn statements_that_expand_are_described_as_they_arrive() {
    let server = TestServer::start().await;
    let mut client = sql(&server).await;
    ask(&mut client, "CREATE TABLE t AS SELECT * FROM (VALUES ('x', 1), ('y', 2), ('x', 3)) v(k, n)").await;
    let pivot = "PIVOT t ON k USING sum(n)";
    let found = joined(&ask(&mut client, pivot).await);
    assert_eq!(
        found.schema().fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(),
        ["x", "y"]
    );
    let mut prepared = client.prepare(pivot.into(), None).await.unwrap();
    let info = prepared.execute().await.unwrap();
    assert_eq!(joined(&fetch(&mut client, info).await), found);
}

/// An INSERT bound with many rows goes in as a bulk load: the table has whole row groups, in the rows' order.
#[tokio::test]
async fn large_binds_go_down_the_bulk_path() {
    let server = TestServer::start().await;
    let mut client = sql(&server).await;
    ask(&mut client, "CREATE TABLE t (a BIGINT, twice BIGINT, s VARCHAR DEFAULT 'd')").await;
    let total = 200_000;
    let batch = parameters(vec![("0", Arc::new(Int64Array::from_iter_values(0..total)))]);
    ask(&mut client, "CREATE TABLE k (a BIGINT PRIMARY KEY)").await;
    for text in [
        "INSERT INTO t (a, twice) VALUES ($1, $1 * 2) -- values (?)",
        "insert into main.t(a, twice) values ($n, /* ? */ 2 * $n);",
        "INSERT INTO k VALUES (?) ON CONFLICT DO NOTHING",
    ] {
        let mut prepared = match client.prepare(text.into(), None).await {
            Ok(prepared) => prepared,
            Err(error) => panic!("{text}: {error}"),
        };
        prepared.set_parameters(batch.clone()).unwrap();
        let started = std::time::Instant::now();
        assert_eq!(prepared.execute_update().await.unwrap(), total, "{text}");
        // Row by row, 200,000 inserts take minutes.
        assert!(started.elapsed() < std::time::Duration::from_secs(20), "{text}");
    }
    assert_eq!(count(&mut client, "t WHERE twice = a * 2 AND s = 'd'").await, 2 * total);
    // DEFAULT has no place in a SELECT, so these go row by row.
    let mut prepared = client.prepare("INSERT INTO t VALUES (?, 1, DEFAULT)".into(), None).await.unwrap();
    prepared.set_parameters(batch.slice(0, 300)).unwrap();
    assert_eq!(prepared.execute_update().await.unwrap(), 300);
    ask(&mut client, "DELETE FROM k").await;
    let mut prepared = client.prepare("INSERT INTO k VALUES (?)".into(), None).await.unwrap();
    prepared
        .set_parameters(parameters(vec![("0", Arc::new(Int64Array::from_iter_values((0..100).chain([7]))))]))
        .unwrap();
    let refused = prepared.execute_update().await.unwrap_err().to_string();
    assert!(refused.contains("uplicate key"), "{refused}");
    assert_eq!(count(&mut client, "k").await, 0, "all rows or none");
}

/// Rows bound to a statement count until they are replaced and their tickets fetched, and no longer.
#[tokio::test]
async fn bound_rows_give_their_room_back() {
    let server = TestServer::start_with(|config| {
        config.session.bound_memory_limit = pintail::config::Bytes::mib(1);
    })
    .await;
    let mut client = sql(&server).await;
    let mut prepared =
        client.prepare("SELECT count(*) FROM range(2) WHERE range < ?".into(), None).await.unwrap();
    let rows = parameters(vec![("0", Arc::new(Int64Array::from_iter_values((0..50_000).map(|n| n % 2))))]);
    let mut first = None;
    for round in 0..2 {
        prepared.set_parameters(rows.clone()).unwrap();
        let info = prepared.execute().await.unwrap();
        let ticket = info.endpoint[0].ticket.clone().unwrap();
        if round == 0 {
            // The first row's result is enough; leaving stops the rest.
            let mut stream = client.do_get(ticket.clone()).await.unwrap();
            assert_eq!(stream.try_next().await.unwrap().unwrap().num_rows(), 1);
            first = Some(ticket);
        }
    }
    let again = client.do_get(first.unwrap()).await.err().map(|error| error.to_string());
    assert!(again.as_ref().is_some_and(|text| text.contains("expired ticket")), "{again:?}");
    // The second ticket waits with its rows and a third binding with it; a fourth does not fit.
    // (The first one's query may take a moment to stop.)
    let started = std::time::Instant::now();
    loop {
        prepared.set_parameters(rows.clone()).unwrap();
        match prepared.execute().await {
            Ok(_) => break,
            Err(error) => assert!(started.elapsed() < std::time::Duration::from_secs(10), "{error}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    prepared.set_parameters(rows).unwrap();
    let full = prepared.execute().await.unwrap_err().to_string();
    assert!(full.contains("session.bound_memory_limit"), "{full}");
}

/// Bound rows count as what they stand for: one run is a few bytes on the wire and any number of rows.
#[tokio::test]
async fn bound_rows_count_in_their_plain_form() {
    let server = TestServer::start_with(|config| {
        config.session.bound_memory_limit = pintail::config::Bytes::mib(1);
    })
    .await;
    let mut client = sql(&server).await;
    let runs = |rows: i32| {
        let run = RunArray::try_new(&Int32Array::from(vec![rows]), &Int64Array::from(vec![1])).unwrap();
        parameters(vec![("0", Arc::new(run))])
    };
    let mut prepared =
        client.prepare("SELECT count(*) FROM range(2) WHERE range < ?".into(), None).await.unwrap();
    prepared.set_parameters(runs(500_000_000)).unwrap();
    let full = prepared.execute().await.unwrap_err().to_string();
    assert!(full.contains("session.bound_memory_limit"), "{full}");
    prepared.set_parameters(runs(100)).unwrap();
    let info = prepared.execute().await.unwrap();
    let rows: usize = fetch(&mut client, info).await.iter().map(RecordBatch::num_rows).sum();
    assert_eq!(rows, 100);
}
